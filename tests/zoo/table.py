"""Every architecture of the zoo, by family."""

from tests.zoo.audio import AUDIO
from tests.zoo.decoders import DECODERS
from tests.zoo.dense_vision import DENSE_VISION
from tests.zoo.encoder_decoders import ENCODER_DECODERS
from tests.zoo.encoders import ENCODERS
from tests.zoo.entry import Entry
from tests.zoo.handwritten import HANDWRITTEN
from tests.zoo.multimodal import MULTIMODAL
from tests.zoo.vision import VISION

FAMILIES: dict[str, dict[str, Entry]] = {
    "text encoders": ENCODERS,
    "text decoders": DECODERS,
    "encoder-decoders": ENCODER_DECODERS,
    "images": VISION,
    "detection, segmentation, depth": DENSE_VISION,
    "sound and series": AUDIO,
    "text with images": MULTIMODAL,
    "written by hand": HANDWRITTEN,
}

ARCHITECTURES: dict[str, Entry] = {
    name: entry for entries in FAMILIES.values() for name, entry in entries.items()
}

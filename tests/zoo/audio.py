"""Sound and series of numbers."""

from tests.zoo.encoder_decoders import TARGET, WORDS
from tests.zoo.encoders import SMALL
from tests.zoo.entry import Entry

WAVE = ("input_values=float32[batch=1..3,samples=400..800]:-1..1",)
CONV = SMALL | {
    "conv_dim": [16, 16, 16],
    "conv_kernel": [10, 3, 3],
    "conv_stride": [5, 2, 2],
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}

AUDIO = {
    "hubert": Entry("HubertModel", CONV, WAVE),
    "wav2vec2": Entry("Wav2Vec2ForCTC", CONV, WAVE),
    "wav2vec2_conformer": Entry(
        "Wav2Vec2ConformerModel", CONV | {"conv_depthwise_kernel_size": 5}, WAVE
    ),
    "wavlm": Entry("WavLMModel", CONV, WAVE, cause="Cannot view a tensor"),
    "whisper": Entry(
        "WhisperForConditionalGeneration",
        WORDS
        | {
            "num_mel_bins": 8,
            "max_source_positions": 32,
            "max_target_positions": 32,
            "suppress_tokens": None,
            "begin_suppress_tokens": None,
        },
        ("input_features=float32[batch=1..3,8,64]", TARGET),
    ),
}

"""Text with images or sound."""

from tests.zoo.encoders import IDS, MASK, SMALL
from tests.zoo.entry import Entry
from tests.zoo.vision import VIT

PICTURE = "pixel_values=float32[images=1..3,3,32,32]"
PICTURES = "pixel_values=float32[batch,3,32,32]"
CLIP_TEXT = SMALL | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 59}
CLIP = {"text_config": CLIP_TEXT, "vision_config": VIT, "projection_dim": 16}

MULTIMODAL = {
    "blip": Entry(
        "BlipModel",
        {"text_config": CLIP_TEXT, "vision_config": VIT, "projection_dim": 16},
        (IDS, MASK, PICTURE),
    ),
    "clip": Entry("CLIPModel", CLIP, (IDS, MASK, PICTURE)),
    "git": Entry(
        "GitForCausalLM",
        SMALL | {"vision_config": VIT, "use_cache": False},
        (IDS, MASK, PICTURES),
    ),
    "lxmert": Entry(
        "LxmertModel",
        {
            "vocab_size": 60,
            "hidden_size": 32,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "l_layers": 1,
            "x_layers": 1,
            "r_layers": 1,
            "visual_feat_dim": 16,
        },
        (
            IDS,
            MASK,
            "visual_feats=float32[batch,boxes=2..6,16]",
            "visual_pos=float32[batch,boxes,4]:0..1",
        ),
    ),
    "siglip": Entry(
        "SiglipModel",
        {"text_config": SMALL | {"projection_size": 32}, "vision_config": VIT},
        (IDS, MASK, PICTURE),
    ),
    "trocr": Entry(
        "TrOCRForCausalLM",
        {
            "vocab_size": 60,
            "d_model": 32,
            "decoder_layers": 2,
            "decoder_attention_heads": 4,
            "decoder_ffn_dim": 64,
            "max_position_embeddings": 64,
            "cross_attention_hidden_size": 32,
            "use_cache": False,
        },
        (IDS, MASK, "encoder_hidden_states=float32[batch,patches=2..9,32]"),
    ),
    "vilt": Entry(
        "ViltModel",
        SMALL | VIT | {"max_image_length": 16},
        (IDS, MASK, PICTURES),
        cause="Could not guard on data-dependent expression",
    ),
}

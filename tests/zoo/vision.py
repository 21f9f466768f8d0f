"""Images: encoders and classifiers."""

from tests.zoo.entry import Entry

VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
SWIN = {
    "image_size": 32,
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
}
FIXED = ("pixel_values=float32[batch=1..4,3,32,32]",)
FREE = ("pixel_values=float32[batch=1..3,3,height=32..64,width=32..64]",)

VISION: dict[str, Entry] = {
    "audio_spectrogram_transformer": Entry(
        "ASTModel",
        VIT
        | {
            "max_length": 32,
            "num_mel_bins": 16,
            "frequency_stride": 4,
            "time_stride": 4,
            "patch_size": 8,
        },
        ("input_values=float32[batch=1..4,32,16]",),
    ),
    "beit": Entry(
        "BeitModel",
        VIT
        | {
            "use_relative_position_bias": True,
            "use_mask_token": False,
            "attn_implementation": "eager",
            "layer_scale_init_value": 0.1,
        },
        FIXED,
    ),
    "bit": Entry(
        "BitForImageClassification",
        {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 2], "num_groups": 4},
        FREE,
    ),
    "convnext": Entry(
        "ConvNextForImageClassification",
        {"hidden_sizes": [16, 32], "depths": [1, 2], "num_stages": 2},
        FREE,
    ),
    "convnextv2": Entry(
        "ConvNextV2ForImageClassification",
        {"hidden_sizes": [16, 32], "depths": [1, 2], "num_stages": 2},
        FREE,
    ),
    "deit": Entry("DeiTForImageClassificationWithTeacher", VIT, FIXED),
    "dinov2": Entry("Dinov2Model", VIT, FREE),
    "hiera": Entry(
        "HieraModel",
        {
            "embed_dim": 16,
            "image_size": [32, 32],
            "patch_stride": [4, 4],
            "depths": [1, 1, 1],
            "num_heads": [1, 2, 4],
            "masked_unit_size": [4, 4],
            "mlp_ratio": 2.0,
            "num_query_pool": 2,
        },
        FIXED,
    ),
    "levit": Entry(
        "LevitForImageClassification",
        {
            "image_size": 64,
            "hidden_sizes": [16, 32, 48],
            "num_attention_heads": [2, 2, 2],
            "depths": [1, 1, 1],
            "key_dim": [8, 8, 8],
            "mlp_ratio": [2, 2, 2],
            "attention_ratio": [2, 2, 2],
        },
        ("pixel_values=float32[batch=1..4,3,64,64]",),
    ),
    "mobilenet_v2": Entry("MobileNetV2ForImageClassification", {"depth_multiplier": 0.35}, FIXED),
    "mobilevit": Entry(
        "MobileViTForImageClassification",
        {
            "image_size": 64,
            "hidden_sizes": [16, 24, 32],
            "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32],
            "num_attention_heads": 4,
        },
        ("pixel_values=float32[batch=1..4,3,64,64]",),
    ),
    "poolformer": Entry(
        "PoolFormerForImageClassification",
        {
            "hidden_sizes": [16, 32],
            "depths": [1, 2],
            "num_encoder_blocks": 2,
            "patch_sizes": [7, 3],
            "strides": [4, 2],
            "padding": [2, 1],
            "mlp_ratio": 2.0,
        },
        FREE,
    ),
    "regnet": Entry(
        "RegNetForImageClassification",
        {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 2], "groups_width": 8},
        FREE,
    ),
    "resnet": Entry(
        "ResNetForImageClassification",
        {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 2]},
        FREE,
    ),
    "siglip_vision": Entry("SiglipVisionModel", VIT, FIXED),
    "swin": Entry(
        "SwinForImageClassification",
        SWIN,
        FIXED,
    ),
    "swinv2": Entry(
        "Swinv2ForImageClassification",
        SWIN,
        FIXED,
    ),
    "videomae": Entry(
        "VideoMAEModel", VIT | {"num_frames": 4}, ("pixel_values=float32[batch=1..3,4,3,32,32]",)
    ),
    "vit": Entry("ViTForImageClassification", VIT, FIXED),
    "vivit": Entry(
        "VivitModel",
        VIT | {"num_frames": 4, "tubelet_size": [2, 8, 8]},
        ("pixel_values=float32[batch=1..3,4,3,32,32]",),
    ),
}

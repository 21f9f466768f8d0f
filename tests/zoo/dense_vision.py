"""Images: detection, segmentation, depth, larger images."""

from tests.zoo.encoder_decoders import STACKS
from tests.zoo.entry import Entry
from tests.zoo.vision import FIXED, VIT

BACKBONE = {
    "model_type": "resnet",
    "embedding_size": 16,
    "hidden_sizes": [16, 32],
    "depths": [1, 1],
    "out_features": ["stage2"],
}
DETR = STACKS | {
    "use_timm_backbone": False,
    "backbone": None,
    "use_pretrained_backbone": False,
    "backbone_config": BACKBONE,
    "num_queries": 6,
    "num_labels": 5,
}
MASKED = ("pixel_values=float32[batch=1..3,3,64,64]", "pixel_mask=int64[batch,64,64]:1..1")
IMAGE64 = ("pixel_values=float32[batch=1..3,3,64,64]",)
STAGES = {
    "model_type": "convnext",
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}

DENSE_VISION = {
    "detr": Entry("DetrForObjectDetection", DETR, IMAGE64),
    "segformer": Entry(
        "SegformerForSemanticSegmentation",
        {
            "num_encoder_blocks": 4,
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 1, 2, 4],
            "mlp_ratios": [2, 2, 2, 2],
            "decoder_hidden_size": 16,
            "num_labels": 5,
        },
        IMAGE64,
    ),
    "yolos": Entry(
        "YolosForObjectDetection",
        VIT
        | {
            "image_size": [32, 32],
            "num_detection_tokens": 6,
            "num_labels": 5,
            "use_mid_position_embeddings": False,
        },
        FIXED,
    ),
}

"""Text encoders."""

from tests.zoo.entry import Entry

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 60,
    "max_position_embeddings": 64,
}
IDS = "input_ids=int64[batch=1..4,time=2..16]:2..59"
MASK = "attention_mask=int64[batch,time]:0..1"
TYPES = "token_type_ids=int64[batch,time]:0..1"
TEXT = (IDS, MASK)

ENCODERS = {
    "albert": Entry("AlbertModel", SMALL | {"embedding_size": 16}, TEXT),
    "bert": Entry("BertForMaskedLM", SMALL, (IDS, MASK, TYPES)),
    "deberta_v2": Entry(
        "DebertaV2Model",
        SMALL | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8},
        TEXT,
    ),
    "distilbert": Entry(
        "DistilBertForSequenceClassification",
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 60},
        TEXT,
    ),
    "electra": Entry("ElectraForTokenClassification", SMALL | {"embedding_size": 16}, TEXT),
    "fnet": Entry("FNetModel", SMALL, (IDS,)),
    "layoutlm": Entry(
        "LayoutLMModel",
        SMALL | {"max_2d_position_embeddings": 64},
        (IDS, "bbox=int64[batch,time,4]:0..0", MASK),
    ),
    "longformer": Entry(
        "LongformerModel",
        SMALL | {"attention_window": [4, 4]},
        TEXT,
        cause="Could not guard on data-dependent expression",
    ),
    "perceiver": Entry(
        "PerceiverModel",
        {
            "num_latents": 8,
            "d_latents": 32,
            "d_model": 16,
            "num_self_attends_per_block": 1,
            "num_self_attention_heads": 4,
            "num_cross_attention_heads": 4,
        },
        ("inputs=float32[batch=1..4,time=2..16,16]", MASK),
    ),
    "roberta": Entry("RobertaForSequenceClassification", SMALL, TEXT),
    "squeezebert": Entry("SqueezeBertModel", SMALL | {"embedding_size": 32}, TEXT),
}

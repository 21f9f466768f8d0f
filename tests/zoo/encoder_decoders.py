"""Encoders with decoders: translation, summaries."""

from tests.zoo.encoders import TEXT
from tests.zoo.entry import Entry

TARGET = "decoder_input_ids=int64[batch,target=2..12]:2..59"
PAIR = (*TEXT, TARGET)
T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "vocab_size": 60,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 16,
    "use_cache": False,
}
STACKS = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}
WORDS = STACKS | {
    "vocab_size": 60,
    "use_cache": False,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "decoder_start_token_id": 1,
}
BART = WORDS | {"max_position_embeddings": 64, "forced_eos_token_id": 1}
ENCODER_DECODERS = {
    "bart": Entry("BartForConditionalGeneration", BART, PAIR),
    "marian": Entry("MarianMTModel", BART, PAIR),
    "mt5": Entry("MT5ForConditionalGeneration", T5, PAIR),
    "pegasus": Entry("PegasusForConditionalGeneration", BART, PAIR),
    "t5": Entry("T5ForConditionalGeneration", T5, PAIR),
}

"""Text decoders, each without its cache."""

from tests.zoo.encoders import SMALL, TEXT
from tests.zoo.entry import Entry

PLAIN = SMALL | {"use_cache": False, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
GROUPED = PLAIN | {"num_key_value_heads": 2}
GPT = {
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "vocab_size": 60,
    "use_cache": False,
    "bos_token_id": 1,
    "eos_token_id": 1,
}

DECODERS = {
    "biogpt": Entry("BioGptForCausalLM", PLAIN, TEXT),
    "ctrl": Entry(
        "CTRLLMHeadModel",
        {
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 64,
            "dff": 64,
            "vocab_size": 60,
            "use_cache": False,
        },
        TEXT,
    ),
    "gemma2": Entry("Gemma2ForCausalLM", GROUPED | {"head_dim": 8, "sliding_window": 4}, TEXT),
    "gpt2": Entry("GPT2LMHeadModel", GPT, TEXT),
    "gpt_bigcode": Entry("GPTBigCodeForCausalLM", GPT, TEXT),
    "llama": Entry("LlamaForCausalLM", GROUPED, TEXT),
    "mistral": Entry("MistralForCausalLM", GROUPED | {"sliding_window": 4}, TEXT),
    "mixtral": Entry(
        "MixtralForCausalLM",
        GROUPED | {"num_local_experts": 4},
        TEXT,
        cause="Could not guard on data-dependent expression",
    ),
    "mpt": Entry(
        "MptForCausalLM",
        {
            "d_model": 32,
            "n_heads": 4,
            "n_layers": 2,
            "max_seq_len": 64,
            "vocab_size": 60,
            "use_cache": False,
        },
        TEXT,
    ),
    "opt": Entry("OPTForCausalLM", PLAIN | {"ffn_dim": 64, "word_embed_proj_dim": 32}, TEXT),
    "qwen2": Entry("Qwen2ForCausalLM", GROUPED, TEXT),
}

"""Sound and series of numbers."""

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
TARGET = "decoder_input_ids=int64[batch,target=2..12]:2..59"
SPEECH = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "vocab_size": 60,
    "use_cache": False,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "decoder_start_token_id": 1,
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
        SPEECH
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

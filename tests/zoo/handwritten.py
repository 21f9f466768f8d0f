"""Networks written by hand, without a library of models."""

from tests.zoo.entry import Entry


def _own(name: str, *inputs: str, cause: str = "") -> Entry:
    return Entry(name, {}, inputs, cause, code=f"handwritten_models:{name}")


_EDGES = ("nodes=float32[nodes=4..12,6]", "edges=int64[2,edges=3..20]:0..3")
_NOISE = "noise=float32[batch=1..4,12]"

HANDWRITTEN = {
    "conv_lstm": _own("ConvLstm", "film=float32[batch=1..3,4,3,16,16]"),
    "crnn": _own("Crnn", "image=float32[batch=1..3,1,16,width=16..48]"),
    "gan_discriminator": _own("GanDiscriminator", "image=float32[batch=1..4,3,16,16]:-1..1"),
    "gan_generator": _own("GanGenerator", _NOISE),
    "graph_attention": _own("GraphAttention", *_EDGES, cause="reduction 'max'"),
    "graph_convolution": _own("GraphConvolution", *_EDGES),
    "gru_tagger": _own("GruTagger", "ids=int64[batch=1..4,time=1..12]:0..59"),
    "lstm_language_model": _own(
        "LstmLanguageModel",
        "ids=int64[batch=1..4,time=1..12]:0..59",
        "hidden=float32[3,batch,24]:-1..1",
        "cell=float32[3,batch,24]:-2..2",
    ),
    "point_cloud": _own("PointCloud", "cloud=float32[batch=1..4,points=8..64,3]"),
    "recommender": _own(
        "Recommender", "numbers=float32[batch=1..8,5]", "categories=int64[batch,3]:0..29"
    ),
    "seq2seq": _own(
        "Seq2Seq",
        "source=int64[batch=1..4,time=2..12]:0..59",
        "target=int64[batch,steps=1..9]:0..59",
    ),
    "style_generator": _own("StyleGenerator", _NOISE),
    "super_resolution": _own(
        "SuperResolution", "image=float32[batch=1..3,3,height=8..24,width=8..24]:0..1"
    ),
    "torch_transformer": _own(
        "TorchTransformer",
        "ids=int64[batch=1..4,time=2..12]:0..59",
        "mask=int64[batch,time]:0..1",
    ),
    "unet": _own("UNet", "x=float32[batch=1..3,1,16,16]"),
    "variational_encoder": _own(
        "VariationalEncoder", "image=float32[batch=1..4,1,16,16]:0..1", "noise=float32[batch,6]"
    ),
    "wavenet": _own(
        "WaveNet",
        "wave=float32[batch=1..3,1,samples=20..60]:-1..1",
    ),
}

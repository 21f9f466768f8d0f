"""RXNMapper (NLP, chemistry): an ALBERT whose twelve layers share one set of weights."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from torch import nn


def albert() -> nn.Module:
    """The masked language model, with the attention that exporters can follow."""
    transformers = import_module("transformers")
    found = find_spec("rxnmapper")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "models/transformers/albert_heads_8_uspto_all_1310k"
    config = transformers.AlbertConfig.from_pretrained(folder)
    config._attn_implementation = "eager"
    model: nn.Module = transformers.AlbertForMaskedLM(config)
    return model

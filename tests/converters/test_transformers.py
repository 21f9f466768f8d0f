"""Models of the transformers library, small and random: both graphs say what torch says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.converters.exporting import (
    MINDSPORE,
    ONNXRUNTIME,
    Original,
    all_sizes,
    arrays,
    export,
    feeds,
    specs,
)
from tests.converters.oracle import run_onnx
from torch import nn

from ascend_migrate.converters import onnx_to_mindir
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.mindspore_runner import MindSporeRunner

pytestmark = [pytest.mark.zoo, pytest.mark.mindspore]

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 60,
}
TOKENS = (
    "input_ids=int64[batch=1..4,time=2..16]:0..59",
    "attention_mask=int64[batch,time]:0..1",
)
IMAGE = ("pixel_values=float32[batch=1..4,3,64,64]",)


def bert(library: Any, attention: str) -> nn.Module:
    config = library.BertConfig(**SMALL, attn_implementation=attention)
    return library.BertModel(config)  # type: ignore[no-any-return]


def llama(library: Any, attention: str) -> nn.Module:
    grouped = {"num_key_value_heads": 2, "use_cache": False}
    config = library.LlamaConfig(**SMALL, **grouped, attn_implementation=attention)
    return library.LlamaForCausalLM(config)  # type: ignore[no-any-return]


def gpt2(library: Any, attention: str) -> nn.Module:
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 60}
    config = library.GPT2Config(**sizes, use_cache=False, attn_implementation=attention)
    return library.GPT2LMHeadModel(config)  # type: ignore[no-any-return]


def resnet(library: Any, _: str) -> nn.Module:
    config = library.ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[1, 2])
    model: nn.Module = library.ResNetForImageClassification(config)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    return model


BOTH = ("eager", "sdpa")
FAMILIES: list[tuple[Callable[[Any, str], nn.Module], str, tuple[str, ...]]] = [
    *((bert, attention, TOKENS) for attention in BOTH),
    *((llama, attention, TOKENS) for attention in BOTH),
    *((gpt2, attention, TOKENS) for attention in BOTH),
    (resnet, "eager", IMAGE),
]


@pytest.mark.parametrize(
    ("family", "attention", "inputs"), FAMILIES, ids=[f"{f.__name__}-{a}" for f, a, _ in FAMILIES]
)
def test_same_answers(
    family: Callable[[Any, str], nn.Module],
    attention: str,
    inputs: tuple[str, ...],
    tmp_path: Path,
    mindspore_process: MindSporeProcess,
) -> None:
    import transformers

    torch.manual_seed(2)
    model, declared = family(transformers, attention), specs(inputs)
    onnx = export(model, declared, tmp_path)
    mindir = onnx_to_mindir.convert(onnx.path, tmp_path, inputs=declared, parent=onnx.digest)
    runner, original = MindSporeRunner(mindir, process=mindspore_process), Original(model)
    for sizes in all_sizes(declared):
        tensors = feeds(declared, sizes)
        original.assert_close(tensors, run_onnx(onnx.path, arrays(tensors)), ONNXRUNTIME)
        original.assert_close(tensors, list(runner.run(arrays(tensors)).values()), MINDSPORE)

"""The command line of ATC, against the pages of its options."""

from pathlib import Path

import pytest

from ascend_migrate.converters.atc.command import MAX_OM, arguments, size_arguments
from ascend_migrate.pipeline.cann.om_request import OmRequest
from ascend_migrate.pipeline.errors import SpecError
from ascend_migrate.pipeline.inputs import InputSpec, parse_inputs

REQUEST = OmRequest("Ascend910B3", "8.1")

SIZES = {
    "fixed": (["x=float32[1,3,224,224]"], ["--input_shape=x:1,3,224,224", "--input_format=ND"]),
    "two inputs": (
        ["ids=int64[2,16]", "mask=int64[2,16]"],
        ["--input_shape=ids:2,16;mask:2,16", "--input_format=ND"],
    ),
    "scalar": (["n=float32[]"], ["--input_shape=n:", "--input_format=ND"]),
    "range": (["x=float32[b=1..8,3]"], ["--input_shape=x:1~8,3", "--input_format=ND"]),
    "one size": (["x=float32[b=4..4,3]"], ["--input_shape=x:4,3", "--input_format=ND"]),
    "listed batch": (
        ["x=float32[b=1|2|4,3]", "y=float32[b,5]"],
        ["--input_shape=x:-1,3;y:-1,5", "--dynamic_batch_size=1,2,4"],
    ),
    "listed length": (
        ["ids=int64[1,t=16|32]"],
        ["--input_shape=ids:1,-1", "--input_format=ND", "--dynamic_dims=16;32"],
    ),
    # One number for each -1, in the order in which they stand.
    "listed twice": (
        ["ids=int64[b=1|2,t=16|32]", "mask=int64[b,t]"],
        [
            "--input_shape=ids:-1,-1;mask:-1,-1",
            "--input_format=ND",
            "--dynamic_dims=1,16,1,16;1,32,1,32;2,16,2,16;2,32,2,32",
        ],
    ),
}


def parsed(texts: list[str]) -> tuple[InputSpec, ...]:
    inputs, faults = parse_inputs(texts)
    assert not faults
    return inputs


@pytest.mark.parametrize("case", SIZES)
def test_sizes(case: str) -> None:
    texts, wanted = SIZES[case]
    assert size_arguments(parsed(texts)) == wanted


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["x=float32[b=1|2,t=1..8]"], "list the sizes of t, such as t=1|5|8"),
        (["x=float32[b=2..8/2]"], "not every 2th"),
        (["x=float32[a=1|2|3|4|5,b=1|2|3|4|5,c=1|2|3|4|5]"], "125 combinations"),
    ],
)
def test_sizes_that_atc_cannot_be_told(texts: list[str], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        size_arguments(parsed(texts))


def test_the_precision_is_always_said() -> None:
    found = arguments("model.onnx", "model", parsed(["x=float32[1]"]), REQUEST, 0)
    assert found == [
        "--framework=5",
        "--model=model.onnx",
        "--output=model",
        "--soc_version=Ascend910B3",
        "--input_shape=x:1",
        "--input_format=ND",
        "--precision_mode_v2=origin",
        "--deterministic=1",
        "--log=error",
    ]


def test_everything_that_can_be_asked_for() -> None:
    request = OmRequest(
        "Ascend310P3",
        "8.1",
        precision_mode="mixed_float16",
        keep_dtype=Path("keep.txt"),
        mixlist=Path("mix.json"),
        aipp=Path("aipp.cfg"),
        output_type="FP32",
        host_cpu="aarch64",
        deterministic=False,
    )
    found = arguments("m.onnx", "m", parsed(["x=float32[1]"]), request, MAX_OM + 1)
    assert {
        "--precision_mode_v2=mixed_float16",
        "--keep_dtype=keep.txt",
        "--modify_mixlist=mix.json",
        "--insert_op_conf=aipp.cfg",
        "--output_type=FP32",
        "--host_env_os=linux",
        "--host_env_cpu=aarch64",
        "--external_weight=1",
        "--deterministic=0",
    } <= set(found)
    assert request.faults("Ascend310P") == []


def test_weights_that_fit_stay_in_the_file() -> None:
    found = arguments("m.onnx", "m", parsed(["x=float32[1]"]), REQUEST, MAX_OM)
    assert not [option for option in found if "external_weight" in option]


@pytest.mark.parametrize(
    ("options", "family", "said"),
    [
        ({"precision_mode": "exact"}, "Ascend910B", "'exact' is none of origin"),
        ({"precision_mode": "mixed_bfloat16"}, "Ascend310P", "has no bfloat16"),
        ({"keep_dtype": Path("k")}, "Ascend910B", "has no effect with the precision mode origin"),
        ({"mixlist": Path("m"), "precision_mode": "fp16"}, "Ascend910B", "mixed precision modes"),
        ({"host_cpu": "riscv"}, "Ascend910B", "'riscv' is none of x86_64"),
    ],
)
def test_requests_that_contradict_themselves(
    options: dict[str, object], family: str, said: str
) -> None:
    faults = OmRequest("Ascend910B3", "8.1", **options).faults(family)  # type: ignore[arg-type]
    assert len(faults) == 1
    assert said in faults[0]

"""The tables of a specification file and the types of their keys, checked by pydantic."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ascend_migrate.pipeline.cann.om_request import DEFAULT_CANN, PRECISION_MODES, OmRequest
from ascend_migrate.pipeline.limits import DEFAULT_TIMEOUT, GIB, Limits
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.spec import DEFAULT_CASES, DEFAULT_OPSET

# The length is the registry's limit: better said here than after all the work.
_Name = Annotated[str, StringConstraints(max_length=200, pattern=r"^[a-z0-9]+(?:[._-][a-z0-9]+)*$")]
_Device = Annotated[str, StringConstraints(pattern=r"^(cpu|cuda(:\d{1,3})?)$")]
_Target = Annotated[str, StringConstraints(pattern=r"^[\w.]+:[\w.]+$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Source(_Table):
    path: str
    key: str | None = None
    drop: list[str] = []
    rename: dict[str, str] = {}
    unpack: list[Literal["sparse", "quantized", "fp8_blocks"]] = []
    trust: Literal["pickle"] | None = None
    allow_missing: list[str] = []
    allow_unexpected: list[str] = []


class _Model(_Table):
    callable: _Target
    args: list[Any] = []
    kwargs: dict[str, Any] = {}


class _Onnx(_Table):
    opset: int = Field(default=DEFAULT_OPSET, ge=13, le=17)


class _Precision(_Table):
    type: Literal["float16", "bfloat16"]
    keep_float32: list[str] = []

    def policy(self) -> Precision:
        return Precision(self.type, tuple(self.keep_float32))


class _Validation(_Table):
    cases: int = Field(default=DEFAULT_CASES, ge=1, le=1000)
    seed: int = Field(default=0, ge=0)
    device: _Device = "cpu"
    samples: list[str] = []
    timeout: float = Field(default=DEFAULT_TIMEOUT, gt=0, strict=False)
    memory: float | None = Field(default=None, gt=0, allow_inf_nan=False, strict=False)
    threads: int | None = Field(default=None, ge=1, le=1024)

    def limits(self) -> Limits:
        memory = None if self.memory is None else int(self.memory * GIB)
        return Limits(self.timeout, memory, self.threads)

    waive_kernels: list[str] = []


class _Om(_Table):
    soc: str
    cann: str = DEFAULT_CANN
    precision_mode: str = PRECISION_MODES[0]
    keep_from: str | None = None
    keep_dtype: str | None = None
    op_precision: str | None = None
    mixlist: str | None = None
    host_cpu: str | None = None

    def request(self, located: Callable[[str], Path]) -> OmRequest:
        files = ("keep_from", "keep_dtype", "op_precision", "mixlist")
        paths: dict[str, Any] = {
            name: located(text) for name in files if (text := getattr(self, name))
        }
        return OmRequest(self.soc, self.cann, self.precision_mode, host_cpu=self.host_cpu, **paths)


class _Safetensors(_Table):
    max_shard_size: str | None = None
    store_as: Literal["float16", "bfloat16"] | None = None


class File(_Table):
    """A specification file."""

    name: _Name
    to: list[str] = Field(min_length=1)
    inputs: list[str] = []
    registry: str = "registry"
    source: _Source
    model: _Model | None = None
    onnx: _Onnx = _Onnx()
    precision: _Precision | None = None
    safetensors: _Safetensors = _Safetensors()
    om: _Om | None = None
    validation: _Validation = _Validation()


class FaultyTablesError(Exception):
    """A key that is missing, unknown, or of another type.

    Attributes:
        faults: a line for each.
    """

    def __init__(self, faults: list[str]) -> None:
        super().__init__(*faults)
        self.faults = faults


def tables(data: Mapping[str, Any]) -> File:
    """Returns the tables with their defaults filled in.

    Raises:
        FaultyTablesError: lists every fault.
    """
    try:
        return File.model_validate(dict(data))
    except ValidationError as error:
        raise FaultyTablesError([_fault(item) for item in error.errors()]) from error


def _fault(item: Any) -> str:
    """Says one pydantic fault in our words: key first."""
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{key}: no such key"
    if item["type"] == "missing":
        return f"{key}: is required"
    if item["type"] == "string_pattern_mismatch":
        wanted = {
            "name": "lower-case letters, digits and single . _ - between them",
            "callable": "MODULE:CALLABLE",
            "device": "cpu, cuda or cuda:NUMBER",
        }[str(item["loc"][-1])]
        return f"{key}: {item['input']!r} is not {wanted}"
    return f"{key}: {item['msg'][0].lower()}{item['msg'][1:]}, got {item['input']!r}"

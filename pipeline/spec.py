"""migration.toml -> MigrationSpec; every fault of the request is reported at once.

The file is documented, with a complete commented example, in docs/spec.md.
"""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ascend_migrate.pipeline.errors import SpecError
from ascend_migrate.pipeline.inputs import InputSpec, parse_inputs
from ascend_migrate.pipeline.records import Form

DEFAULT_OPSET = 17
"""The newest ONNX opset for which CANN's parser registers nearly every operator."""

DEFAULT_CASES = 8
"""Random cases beside the structured ones: enough for two at each end of each dynamic size."""

DEFAULT_TIMEOUT = 600.0
"""Seconds that one judgement on one runtime may take before it is stopped."""


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Where the code of the original model is.

    Attributes:
        target: ``MODULE:CALLABLE``; the callable returns a ``torch.nn.Module``.
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.
        search: folder that is searched for ``MODULE`` before the installed packages.
    """

    target: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    search: Path | None = None


@dataclass(frozen=True, slots=True)
class MigrationSpec:
    """One migration, as asked for.

    Attributes:
        name: name in the registry.
        source: the checkpoint or ONNX file.
        to: forms to publish, without repetition, in the order of `Form`.
        model: the original's code; None when the source is an ONNX file or only weights are moved.
        inputs: what the model is fed.
        samples: files with real inputs (.npz or .safetensors) that are judged as well.
        key: dotted path of the state dict inside the checkpoint; None finds it.
        drop: name patterns of tensors left out on purpose.
        allow_missing: name patterns that the model has and the checkpoint may lack.
        allow_unexpected: name patterns that the checkpoint has and the model may lack.
        opset: ONNX opset of the exported graph.
        cases: number of random cases in the judgement.
        seed: seed of everything random.
        timeout: seconds that one runtime may take for the judgement.
        registry: folder of the registry.
    """

    name: str
    source: Path
    to: tuple[Form, ...]
    model: ModelRef | None
    inputs: tuple[InputSpec, ...]
    samples: tuple[Path, ...] = ()
    key: str | None = None
    drop: tuple[str, ...] = ()
    allow_missing: tuple[str, ...] = ()
    allow_unexpected: tuple[str, ...] = ()
    opset: int = DEFAULT_OPSET
    cases: int = DEFAULT_CASES
    seed: int = 0
    timeout: float = DEFAULT_TIMEOUT
    registry: Path = Path("registry")

    @property
    def is_onnx(self) -> bool:
        """Whether the source is itself an ONNX file."""
        return self.source.suffix == ".onnx"


# The length is the registry's limit: better said here than after all the work.
_Name = Annotated[str, StringConstraints(max_length=200, pattern=r"^[a-z0-9]+(?:[._-][a-z0-9]+)*$")]
_Target = Annotated[str, StringConstraints(pattern=r"^[\w.]+:[\w.]+$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Source(_Table):
    path: str
    key: str | None = None
    drop: list[str] = []
    allow_missing: list[str] = []
    allow_unexpected: list[str] = []


class _Model(_Table):
    callable: _Target
    args: list[Any] = []
    kwargs: dict[str, Any] = {}


class _Onnx(_Table):
    opset: int = Field(default=DEFAULT_OPSET, ge=17, le=17)


class _Validation(_Table):
    cases: int = Field(default=DEFAULT_CASES, ge=1, le=1000)
    seed: int = Field(default=0, ge=0)
    samples: list[str] = []
    timeout: float = Field(default=DEFAULT_TIMEOUT, gt=0, strict=False)


class _File(_Table):
    name: _Name
    to: list[str] = Field(min_length=1)
    inputs: list[str] = []
    registry: str = "registry"
    source: _Source
    model: _Model | None = None
    onnx: _Onnx = _Onnx()
    validation: _Validation = _Validation()


def read_spec(path: Path) -> MigrationSpec:
    """Reads a specification file; paths in it are relative to its folder.

    Raises:
        SpecError: the file cannot be read or is at fault; lists every fault with its key or line.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(str(path), [f"is not TOML: {error}"]) from error
    return make_spec(data, subject=str(path), base=path.resolve().parent)


def make_spec(data: Mapping[str, Any], *, subject: str, base: Path) -> MigrationSpec:
    """Checks a request given as the tables of a specification file.

    Args:
        data: the tables.
        subject: what to call the request in an error, such as the file's name.
        base: folder that relative paths start from, and that the model's module is searched in.

    Raises:
        SpecError: lists every fault.
    """
    try:
        file = _File.model_validate(dict(data))
    except ValidationError as error:
        faults = [_fault(item) for item in error.errors()]
        raise SpecError(subject, faults + _other_faults(data, base)) from error
    inputs, _ = parse_inputs(file.inputs)
    faults = _other_faults(data, base)
    if faults:
        raise SpecError(subject, faults)
    asked = set(file.to)
    model = None
    if file.model is not None:
        code = file.model
        model = ModelRef(code.callable, tuple(code.args), code.kwargs, base)
    return MigrationSpec(
        name=file.name,
        source=_located(base, file.source.path),
        to=tuple(form for form in Form if form in asked),
        model=model,
        inputs=inputs,
        samples=tuple(_located(base, sample) for sample in file.validation.samples),
        key=file.source.key,
        drop=tuple(file.source.drop),
        allow_missing=tuple(file.source.allow_missing),
        allow_unexpected=tuple(file.source.allow_unexpected),
        opset=file.onnx.opset,
        cases=file.validation.cases,
        seed=file.validation.seed,
        timeout=file.validation.timeout,
        registry=_located(base, file.registry),
    )


def with_forms(spec: MigrationSpec, forms: Collection[Form], *, subject: str) -> MigrationSpec:
    """Returns the same request for other forms.

    Raises:
        SpecError: the request lacks what these forms need.
    """
    faults = _graph_faults(
        forms,
        is_onnx=spec.is_onnx,
        has_model=spec.model is not None,
        has_inputs=bool(spec.inputs),
    )
    if faults:
        raise SpecError(subject, faults)
    return replace(spec, to=tuple(form for form in Form if form in forms))


def _located(base: Path, text: str) -> Path:
    """Returns the path without ``..``; a link keeps its own name, which says what it is."""
    path = base / text
    return path.resolve() if path.name == ".." else path.parent.resolve() / path.name


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
        }[str(item["loc"][-1])]
        return f"{key}: {item['input']!r} is not {wanted}"
    return f"{key}: {item['msg'][0].lower()}{item['msg'][1:]}, got {item['input']!r}"


def _other_faults(data: Mapping[str, Any], base: Path) -> list[str]:
    """Returns the faults that types alone do not show; tolerates data of any shape."""
    source = data.get("source")
    validation = data.get("validation")
    path = source.get("path") if isinstance(source, Mapping) else None
    samples = validation.get("samples") if isinstance(validation, Mapping) else None
    faults = _form_faults(_strings(data.get("to")))
    faults += parse_inputs(_strings(data.get("inputs")))[1]
    if isinstance(path, str) and not _is_there(base / path):
        faults.append(f"source.path: {path} does not exist")
    faults += [
        f"validation.samples: {sample} does not exist"
        for sample in _strings(samples)
        if not _is_there(base / sample) or (base / sample).is_dir()
    ]
    onnx_source = isinstance(path, str) and path.endswith(".onnx")
    if onnx_source:
        faults += _checkpoint_keys(source)
    return faults + _graph_faults(
        _strings(data.get("to")),
        is_onnx=onnx_source,
        has_model=data.get("model") is not None,
        has_inputs=bool(data.get("inputs")),
    )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, or a folder that may not be entered
        return False


def _form_faults(names: Sequence[str]) -> list[str]:
    known = ", ".join(Form)
    return [f"to: no form {name!r}; forms: {known}" for name in names if name not in set(Form)]


def _graph_faults(
    forms: Collection[str], *, is_onnx: bool, has_model: bool, has_inputs: bool
) -> list[str]:
    """A graph can be exported only with code and inputs, unless the source is a graph already."""
    faults = []
    graphs = [str(form) for form in forms if form in (Form.ONNX, Form.MINDIR)]
    if is_onnx:
        if has_model:
            faults.append("model: an ONNX source needs no model; leave it out")
        if Form.SAFETENSORS in forms:
            faults.append(
                "to: safetensors cannot be made from an ONNX file, whose small tensors belong to "
                "the graph; ask for onnx, which keeps the large ones in model.safetensors"
            )
        return faults
    if graphs and not has_model:
        faults.append(f"model: is required for {', '.join(graphs)} (--model MODULE:CALLABLE)")
    if graphs and not has_inputs:
        faults.append(f"inputs: are required for {', '.join(graphs)} (--input NAME=DTYPE[DIMS])")
    return faults


def _checkpoint_keys(source: Any) -> list[str]:
    """Keys that would be ignored without a word, because a graph has no names to choose from."""
    return [
        f"source.{key}: belongs to checkpoints; an ONNX file is taken as a whole"
        for key in ("key", "drop", "allow_missing", "allow_unexpected")
        if source.get(key)
    ]


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

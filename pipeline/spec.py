"""migration.toml -> MigrationSpec; every fault of the request is reported at once.

The file is documented, with a complete commented example, in docs/spec.md.
"""

import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.errors import SpecError
from ascend_migrate.pipeline.inputs import InputSpec, parse_inputs
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import GRAPH_FORMS, ONNX_FORMS, Form
from ascend_migrate.pipeline.reference import check_name
from ascend_migrate.pipeline.renames import Rename, rename_faults
from ascend_migrate.pipeline.sizes import parse_size

DEFAULT_OPSET = 17
"""The newest ONNX opset for which CANN's parser registers nearly every operator."""

DEFAULT_CASES = 8
"""Random cases beside the structured ones: enough for one of each size at least."""


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
        samples: files with real inputs (.npz, .npy, .safetensors or .json) that are judged as well.
        key: dotted path of the state dict inside the checkpoint; None finds it.
        drop: name patterns of tensors left out on purpose.
        rename: rules for new names of tensors.
        unpack: kinds of tensors that are turned into plain ones.
        trust: folder with the modules of the checkpoint's Python objects, whose code may be
            run where it cannot be read otherwise; None refuses it.
        allow_missing: name patterns that the model has and the checkpoint may lack.
        allow_unexpected: name patterns that the checkpoint has and the model may lack.
        opset: ONNX opset of the exported graph.
        precision: what the graphs are lowered to; None leaves them in the model's own types.
        cases: number of random cases in the judgement.
        seed: seed of everything random.
        device: where the original runs while its answers are recorded, as torch names it.
        limits: what one runtime may take for one request of the judgement.
        waive_kernels: forms to publish by their weights alone where the judging runtime lacks a
            kernel that they need.
        max_shard_size: bytes of tensors in one safetensors file; None makes one file of them all.
        store_as: type that float32 tensors are cast to in the safetensors form; None keeps them.
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
    rename: tuple[Rename, ...] = ()
    unpack: tuple[str, ...] = ()
    trust: Path | None = None
    allow_missing: tuple[str, ...] = ()
    allow_unexpected: tuple[str, ...] = ()
    opset: int = DEFAULT_OPSET
    precision: Precision | None = None
    cases: int = DEFAULT_CASES
    seed: int = 0
    device: str = "cpu"
    limits: Limits = DEFAULT_LIMITS
    waive_kernels: tuple[Form, ...] = ()
    max_shard_size: int | None = None
    store_as: str | None = None
    registry: Path = Path("registry")

    @property
    def is_onnx(self) -> bool:
        """Whether the source is itself an ONNX file."""
        return self.source.suffix == ".onnx"


def read_spec(path: Path) -> MigrationSpec:
    """Reads a specification file; paths in it are relative to its folder.

    Raises:
        SpecError: the file cannot be read or is at fault; lists every fault with its key or line.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(str(path), [f"cannot be read: {error.strerror}"]) from error
    # ValueError: also no UTF-8, and numbers of thousands of digits.
    except (ValueError, RecursionError) as error:
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
    # pydantic takes longer to start than a small checkpoint takes to be converted.
    from ascend_migrate.pipeline.spec_tables import FaultyTablesError, tables

    try:
        file = tables(data)
    except FaultyTablesError as error:
        raise SpecError(subject, error.faults + _other_faults(data, base)) from error
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
        rename=tuple(Rename(*rule) for rule in file.source.rename.items()),
        unpack=tuple(file.source.unpack),
        trust=base if file.source.trust == "pickle" else None,
        allow_missing=tuple(file.source.allow_missing),
        allow_unexpected=tuple(file.source.allow_unexpected),
        opset=file.onnx.opset,
        precision=file.precision.policy() if file.precision else None,
        cases=file.validation.cases,
        seed=file.validation.seed,
        device=file.validation.device,
        limits=file.validation.limits(),
        waive_kernels=tuple(Form(form) for form in file.validation.waive_kernels),
        store_as=file.safetensors.store_as,
        max_shard_size=parse_size(limit) if (limit := file.safetensors.max_shard_size) else None,
        registry=_located(base, file.registry),
    )


def plain_spec(source: Path, forms: Collection[str], *, name: str, base: Path) -> MigrationSpec:
    """Returns the request to take a source as it is; what `make_spec` makes of nothing else.

    Args:
        source: an existing file or folder.
        forms: to publish.
        name: in the registry.
        base: folder that relative paths start from.

    Raises:
        SpecError: lists every fault.
    """
    faults = _other_faults({"to": list(forms), "source": {"path": str(source)}}, base)
    if faults:
        raise SpecError(str(source), faults)
    return MigrationSpec(
        name=check_name(name),
        source=_located(base, str(source)),
        to=tuple(form for form in Form if form in forms),
        model=None,
        inputs=(),
        registry=_located(base, "registry"),
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
    if spec.precision is not None and GRAPH_FORMS.intersection(forms):
        faults += _precision_faults(forms, spec.precision.dtype)
    if faults:
        raise SpecError(subject, faults)
    return replace(spec, to=tuple(form for form in Form if form in forms))


def _precision_faults(forms: Collection[str], dtype: Any) -> list[str]:
    """A policy needs a graph to lower, and a runtime that can judge what it makes."""
    if not GRAPH_FORMS.intersection(forms):
        return ["precision: lowers graphs; safetensors keeps the checkpoint's own types"]
    if dtype == "bfloat16" and ONNX_FORMS.intersection(forms):
        return [
            "precision.type: ONNX of opset 17 has no bfloat16 convolution, and onnxruntime no "
            "bfloat16 kernels to judge one with; ask for mindir alone, or for float16"
        ]
    return []


def _located(base: Path, text: str) -> Path:
    """Returns the path without ``..``; a link keeps its own name, which says what it is."""
    path = base / text
    return path.resolve() if path.name == ".." else path.parent.resolve() / path.name


def _other_faults(data: Mapping[str, Any], base: Path) -> list[str]:
    """Returns the faults that types alone do not show; tolerates data of any shape."""
    source = data.get("source")
    validation = data.get("validation")
    path = source.get("path") if isinstance(source, Mapping) else None
    samples = validation.get("samples") if isinstance(validation, Mapping) else None
    faults = _form_faults("to", _strings(data.get("to")), Form)
    if isinstance(validation, Mapping):
        waived = _strings(validation.get("waive_kernels"))
        faults += _form_faults("validation.waive_kernels", waived, sorted(GRAPH_FORMS))
    faults += parse_inputs(_strings(data.get("inputs")))[1]
    if isinstance(path, str) and not _is_there(base / path):
        faults.append(f"source.path: {path} does not exist")
    faults += [
        f"validation.samples: {sample} does not exist"
        for sample in _strings(samples)
        if not _is_there(base / sample) or (base / sample).is_dir()
    ]
    rules = source.get("rename") if isinstance(source, Mapping) else None
    if isinstance(rules, Mapping) and all(isinstance(new, str) for new in rules.values()):
        faults += [f"source.rename: {fault}" for fault in rename_faults(rules)]
    policy = data.get("precision")
    if isinstance(policy, Mapping):
        faults += _precision_faults(_strings(data.get("to")), policy.get("type"))
    layout = data.get("safetensors")
    if isinstance(layout, Mapping):
        faults += _layout_faults(layout, _strings(data.get("to")))
    onnx_source = isinstance(path, str) and path.endswith(".onnx")
    if onnx_source:
        faults += _checkpoint_keys(source)
    return faults + _graph_faults(
        _strings(data.get("to")),
        is_onnx=onnx_source,
        has_model=data.get("model") is not None,
        has_inputs=bool(data.get("inputs")),
    )


def _layout_faults(layout: Mapping[str, Any], forms: Collection[str]) -> list[str]:
    if GRAPH_FORMS.intersection(forms):
        return [
            f"safetensors.{key}: a graph points into one file with the checkpoint's own types; "
            "publish it alone"
            for key in ("max_shard_size", "store_as")
            if layout.get(key)
        ]
    try:
        if isinstance(layout.get("max_shard_size"), str):
            parse_size(layout["max_shard_size"])
    except ValueError as error:
        return [f"safetensors.max_shard_size: {error}"]
    return []


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, or a folder that may not be entered
        return False


def _form_faults(key: str, names: Sequence[str], forms: Iterable[Form]) -> list[str]:
    known = [str(form) for form in forms]
    said = ", ".join(known)
    return [f"{key}: no form {name!r}; forms: {said}" for name in names if name not in known]


def _graph_faults(
    forms: Collection[str], *, is_onnx: bool, has_model: bool, has_inputs: bool
) -> list[str]:
    """A graph can be exported only with code and inputs, unless the source is a graph already."""
    faults = []
    graphs = [str(form) for form in forms if form in GRAPH_FORMS]
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


_CHECKPOINT_KEYS = (
    *("key", "drop", "rename", "unpack", "trust"),
    *("allow_missing", "allow_unexpected"),
)


def _checkpoint_keys(source: Any) -> list[str]:
    """Keys that would be ignored without a word, because a graph has no names to choose from."""
    return [
        f"source.{key}: belongs to checkpoints; an ONNX file is taken as a whole"
        for key in _CHECKPOINT_KEYS
        if source.get(key)
    ]


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

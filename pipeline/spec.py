"""migration.toml -> MigrationSpec; every fault of the request is reported at once.

The file is documented, with a complete commented example, in docs/spec.md.
"""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.cann.om_request import OmRequest
from ascend_migrate.pipeline.errors import SpecError
from ascend_migrate.pipeline.inputs import InputSpec, parse_inputs
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import GRAPH_FORMS, Form
from ascend_migrate.pipeline.reference import check_name
from ascend_migrate.pipeline.renames import Rename
from ascend_migrate.pipeline.sizes import parse_size
from ascend_migrate.pipeline.spec_faults import graph_faults, other_faults, precision_faults

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
        om: what is asked of ATC; None where nothing is.
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
    om: OmRequest | None = None
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
        raise SpecError(subject, error.faults + other_faults(data, base)) from error
    inputs, _ = parse_inputs(file.inputs)
    faults = other_faults(data, base)
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
        om=file.om.request(partial(_located, base)) if file.om else None,
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
    faults = other_faults({"to": list(forms), "source": {"path": str(source)}}, base)
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
    faults = graph_faults(
        forms,
        is_onnx=spec.is_onnx,
        has_model=spec.model is not None,
        has_inputs=bool(spec.inputs),
        has_om=spec.om is not None,
    )
    if spec.precision is not None and GRAPH_FORMS.intersection(forms):
        faults += precision_faults(forms, spec.precision.dtype)
    if faults:
        raise SpecError(subject, faults)
    return replace(spec, to=tuple(form for form in Form if form in forms))


def _located(base: Path, text: str) -> Path:
    """Returns the path without ``..``; a link keeps its own name, which says what it is."""
    path = base / text
    return path.resolve() if path.name == ".." else path.parent.resolve() / path.name

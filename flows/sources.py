"""The two kinds of source, behind one face: a checkpoint with the code of its model, or a graph."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ascend_migrate.pipeline.apart import Doing
from ascend_migrate.pipeline.checkpoint import Checkpoint, open_checkpoint
from ascend_migrate.pipeline.digest import file_digest
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.limits import give_back
from ascend_migrate.pipeline.records import ONNX_FORMS, Artifact
from ascend_migrate.pipeline.spec import MigrationSpec, ModelRef

if TYPE_CHECKING:
    import torch

    from ascend_migrate.validators.original import Original

WEIGHTS = "model.safetensors"


class Source(Protocol):
    """What a migration starts from."""

    @property
    def digest(self) -> str:
        """Digest of the source's bytes."""

    @property
    def params(self) -> dict[str, Any]:
        """Everything beside the bytes that decides what the model computes."""

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """What the model is fed."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how the source was read."""

    @property
    def weights(self) -> Checkpoint | None:
        """The source's tensors, to be accounted for in every artifact."""

    def tensor(self, name: str) -> Any:
        """Reads one of the source's tensors, as a NumPy array."""

    def export(self, into: Path, *, graph: bool) -> list[Artifact]:
        """Writes the weights and, if asked for, the graph that points into them."""

    def original(self) -> "Original":
        """Returns what the artifacts are compared with."""

    def capture(self, golden: Path, doing: Doing, *, intermediates: bool) -> list[str]:
        """Runs the original, writes the golden file, and returns the names of its cases.

        Args:
            golden: file to write.
            doing: told what is about to be done.
            intermediates: records those of one case as well.
        """


def open_source(spec: MigrationSpec) -> Source:
    """Opens what the specification names; executes nothing in it.

    Raises:
        SourceError: the file is unreadable, incomplete or unsafe.
    """
    if spec.is_onnx:
        from ascend_migrate.pipeline.onnx_checks import check_source
        from ascend_migrate.pipeline.onnx_signature import load_graph

        check_source(spec.source, load_graph(spec.source))
        return GraphSource(spec)
    weights = open_checkpoint(
        spec.source,
        key=spec.key,
        drop=spec.drop,
        rename=spec.rename,
        unpack=spec.unpack,
        trust_pickle=spec.trust,
    )
    return CheckpointSource(spec, weights, code_digest(spec.model))


@dataclass(frozen=True, slots=True)
class CheckpointSource:
    """Weights in a file and, where a graph is wanted, the code that uses them."""

    spec: MigrationSpec
    weights: Checkpoint
    code: str

    @property
    def digest(self) -> str:
        """Digest of the checkpoint file."""
        return self.weights.digest

    @property
    def params(self) -> dict[str, Any]:
        """The model's code and arguments, and what was left out of the checkpoint."""
        model = self.spec.model
        return {
            "model": [model.target, list(model.args), dict(model.kwargs), self.code]
            if model
            else None,
            "key": self.spec.key,
            "drop": list(self.spec.drop),
            "max_shard_size": self.spec.max_shard_size,
            "store_as": self.spec.store_as,
            "rename": [str(rule) for rule in self.spec.rename],
            "unpack": list(self.spec.unpack),
            "trust": self.spec.trust is not None,
            "allow": [list(self.spec.allow_missing), list(self.spec.allow_unexpected)],
        }

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs of the specification."""
        return self.spec.inputs

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader noticed in the checkpoint."""
        return (*self.weights.notes, *self.weights.extra)

    def tensor(self, name: str) -> Any:
        """Reads a tensor of the checkpoint."""
        return self.weights.read(name)

    def build(self) -> "torch.nn.Module":
        """Builds the model anew from its code and this checkpoint, with strict keys."""
        from ascend_migrate.pipeline.model import build_model, load_state

        ref = self.spec.model
        if ref is None:
            raise TypeError("a specification without a model never asks for one")
        model = build_model(ref.target, ref.args, ref.kwargs, ref.search)
        load_state(
            model,
            self.weights,
            allow_missing=self.spec.allow_missing,
            allow_unexpected=self.spec.allow_unexpected,
        )
        give_back()  # the weights that the model's code gave it
        return model

    def export(self, into: Path, *, graph: bool) -> list[Artifact]:
        """Writes model.safetensors and, if asked for, model.onnx beside it."""
        from ascend_migrate.converters import checkpoint_to_safetensors

        weights = checkpoint_to_safetensors.convert(
            self.weights,
            into,
            name=WEIGHTS,
            limit=None if graph else self.spec.max_shard_size,
            dtype=None if graph else self.spec.store_as,
        )
        if not graph:
            return [weights]
        from ascend_migrate.converters import torch_to_onnx

        onnx = torch_to_onnx.convert(
            self.build(),
            self.inputs,
            into,
            opset=self.spec.opset,
            precision=self.spec.precision,
            runnable=bool(ONNX_FORMS.intersection(self.spec.to)),
            weights=weights.path,
            parent=self.digest,
        )
        return [weights, onnx]

    def original(self) -> "Original":
        """Returns the model that the code builds."""
        from ascend_migrate.validators.torch_original import TorchOriginal

        return TorchOriginal(self.build, self.weights, self.spec.device)

    def capture(self, golden: Path, doing: Doing, *, intermediates: bool) -> list[str]:
        """Runs the original in its own dtype and in float64."""
        return _recorded(self, golden, doing, intermediates)


@dataclass(frozen=True, slots=True)
class GraphSource:
    """An ONNX file: the original is onnxruntime on it, the reference its float64 twin."""

    spec: MigrationSpec
    weights: None = field(default=None, init=False)

    @property
    def digest(self) -> str:
        """Digest of the graph file and of the weight files that it names."""
        from ascend_migrate.pipeline.onnx_signature import source_digest

        return source_digest(self.spec.source)

    @property
    def params(self) -> dict[str, Any]:
        """A graph is complete in itself."""
        return {}

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs of the specification, or else those that the graph declares."""
        from ascend_migrate.pipeline.onnx_signature import inputs_of_onnx

        return self.spec.inputs or inputs_of_onnx(self.spec.source)

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing is left out of a graph."""
        return ()

    def tensor(self, name: str) -> Any:
        """Returns a tensor of the graph."""
        path = self.spec.source
        return _tensors_of(path, path.stat().st_mtime_ns)[name]

    def export(self, into: Path, *, graph: bool) -> list[Artifact]:
        """Brings the graph to the target opset, its weights into model.safetensors."""
        del graph
        from ascend_migrate.converters import onnx_to_onnx

        return [
            onnx_to_onnx.convert(
                self.spec.source,
                into,
                inputs=self.spec.inputs,
                opset=self.spec.opset,
                precision=self.spec.precision,
                runnable=bool(ONNX_FORMS.intersection(self.spec.to)),
                parent=self.digest,
            )
        ]

    def original(self) -> "Original":
        """Returns the graph as it is."""
        from ascend_migrate.validators.onnx_original import OnnxOriginal

        return OnnxOriginal(self.spec.source, self.spec.limits)

    def capture(self, golden: Path, doing: Doing, *, intermediates: bool) -> list[str]:
        """Runs the graph as it is, and its up-cast twin."""
        return _recorded(self, golden, doing, intermediates)


def _recorded(
    source: CheckpointSource | GraphSource, golden: Path, doing: Doing, intermediates: bool
) -> list[str]:
    """Runs the original of a source on the cases of its specification."""
    from ascend_migrate.validators.golden import capture

    return capture(
        source.original(),
        cases_of(source.spec, source.inputs),
        golden,
        source=source.digest,
        precision=source.spec.precision,
        intermediates=intermediates,
        doing=doing,
    )


@lru_cache(maxsize=1)
def _tensors_of(path: Path, changed: int) -> dict[str, Any]:
    """Reads the tensors of a graph, by name: many may be asked for, and it is parsed as a whole.

    Args:
        path: the file.
        changed: when it was last written to.
    """
    from ascend_migrate.validators.ledger.stored_weights import onnx_weights

    del changed
    return {item.name: item.array for item in onnx_weights(path)}


def cases_of(spec: MigrationSpec, inputs: Sequence[InputSpec]) -> list[Any]:
    """Returns the seeded, structured and user-given inputs of a judgement."""
    from ascend_migrate.validators.cases import make_cases
    from ascend_migrate.validators.samples import load_samples

    cases = list(make_cases(inputs, seed=spec.seed, count=spec.cases))
    for path in spec.samples:
        cases += load_samples(path, inputs)
    return cases


def code_digest(model: ModelRef | None) -> str:
    """Returns the digest of the module that holds the model's callable, without importing it.

    A change in that file makes the stages new; a change in what it imports does not, which the
    documentation says.
    """
    if model is None:
        return ""
    first, *rest = model.target.partition(":")[0].split(".")
    folders = [] if model.search is None else [str(model.search)]
    found = PathFinder.find_spec(first, folders) or PathFinder.find_spec(first)
    # By their own names: for a dotted one Python wants the packages around it to be imported.
    for name in rest:
        folders = list(found.submodule_search_locations or []) if found else []
        found = PathFinder.find_spec(name, folders)
    return file_digest(Path(found.origin)) if found and found.origin else ""

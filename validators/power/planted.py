"""Runs an ONNX artifact with faults in it; its files stay as they are.

Weights become inputs with the file's own values as defaults, so that one session serves every
fault in a weight. onnxruntime then folds no constants, which only moves rounding; whoever counts
detections runs the sound graph first, and counts nothing if that does not pass. A fault in the
graph takes a session of its own on the edited graph, whose weights stay mapped where they are.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.onnx_signature import load_graph
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators import onnx_runner
from ascend_migrate.validators.cases import Array, Feeds
from ascend_migrate.validators.ledger.stored_weights import onnx_weights
from ascend_migrate.validators.original import Outputs
from ascend_migrate.validators.power.faults import Fault, GraphFault, WeightFault, Weights

if TYPE_CHECKING:
    import onnx

Run = Callable[[Feeds], Outputs]
"""Runs the spoiled artifact once."""


class Plantation:
    """An ONNX artifact that can be spoiled.

    Args:
        artifact: it; only read.
        names: tensors of the source; every initializer that has one of these names, or lies in
            an external file, is a weight.
        limits: of the runtime.

    Attributes:
        weights: its floating weights by name, mapped.
        model: its graph without external data.

    Raises:
        CheckError: onnxruntime refuses the file.
        SourceError: a file is damaged.
    """

    def __init__(
        self, artifact: Artifact, names: Mapping[str, Any], limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self._artifact = artifact
        self._limits = limits
        self.model = load_graph(artifact.path)
        held = {tensor.name: bool(tensor.external_data) for tensor in self.model.graph.initializer}
        self.weights: dict[str, Array] = {
            item.name: item.array
            for item in onnx_weights(artifact.path)
            if item.array.size
            and item.dtype in FLOATS
            and item.name in held
            and (item.name in names or held[item.name])
        }
        self._session = self._load(_opened(self.model, self.weights))

    def sound(self) -> Run:
        """Returns a run of the artifact without a fault, in the session of all faulty weights."""
        return self._with({})

    def spoiled(self, fault: Fault) -> Run:
        """Returns a run of the artifact with a fault.

        Raises:
            CheckError: onnxruntime refuses the edited graph.
        """
        if isinstance(fault, WeightFault):
            return self._with(fault.weights)
        loaded = self._load(self.edited(fault))
        return lambda feeds: self._run(loaded, feeds)

    def edited(self, fault: GraphFault) -> "onnx.ModelProto":
        """Returns a copy of the graph with the fault in it, without external data."""
        model = type(self.model)()
        model.CopyFrom(self.model)
        # What it declares of its values may no longer be so.
        del model.graph.value_info[:]
        fault.edit(model)
        return model

    def _with(self, wrong: Weights) -> Run:
        return lambda feeds: self._run(self._session, {**feeds, **wrong})

    def _load(self, model: "onnx.ModelProto") -> Any:
        path = self._artifact.path
        threads = self._limits.threads_allowed()
        return onnx_runner.session(model.SerializeToString(), str(path), threads, path.parent)

    def _run(self, loaded: Any, feeds: Feeds) -> Outputs:
        return onnx_runner.run(loaded, feeds, str(self._artifact.path), self._limits.timeout)


FLOATS = frozenset({"float64", "float32", "float16", "bfloat16"})
"""Types of the weights that faults are planted in."""


def _opened(model: "onnx.ModelProto", weights: Weights) -> "onnx.ModelProto":
    """Returns a copy of the graph whose weights are inputs with defaults."""
    import onnx

    opened = type(model)()
    opened.CopyFrom(model)
    declared = {value.name for value in opened.graph.input}
    for tensor in opened.graph.initializer:
        if tensor.name in weights and tensor.name not in declared:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            opened.graph.input.append(value)
    return opened

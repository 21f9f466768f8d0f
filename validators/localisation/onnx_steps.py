"""An ONNX graph run piece by piece with onnxruntime, unoptimised, every value seen on the way.

Each piece is a small graph of its own whose weights stay mapped where they are. Memory is that of
the values which later pieces still read, and of one piece.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ascend_migrate.pipeline.dtypes import BY_NAME
from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.precision import module_of
from ascend_migrate.pipeline.printable import first_line
from ascend_migrate.validators import onnx_runner
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.localisation.steps import (
    PIECE,
    Alone,
    Seen,
    Step,
    StepError,
    depends,
)
from ascend_migrate.validators.original import Outputs

if TYPE_CHECKING:
    import onnx


class OnnxSteps:
    """The graph in the file ``path``.

    Args:
        path: a .onnx file; its external data lie beside it.
        limits: of time and threads.
        model: the graph to run in place of that in the file.
    """

    def __init__(
        self, path: Path, limits: Limits = DEFAULT_LIMITS, model: "onnx.ModelProto | None" = None
    ) -> None:
        from ascend_migrate.pipeline.onnx_signature import load_graph

        self._path, self._limits = path, limits
        self.model = model if model is not None else load_graph(path)
        graph = self.model.graph
        self._stored = {tensor.name: tensor for tensor in graph.initializer}
        self.steps: Sequence[Step] = [self._step(node) for node in graph.node]
        self.outputs: Mapping[str, str] = {item.name: item.name for item in graph.output}
        self.given = [item.name for item in graph.input if item.name not in self._stored]

    def observe(
        self, feeds: Mapping[str, Array], seen: Seen, replace: Mapping[str, Array]
    ) -> Outputs:
        """Runs all pieces once and returns the graph's outputs."""
        live = dict(feeds)
        found: Outputs = {name: live[name] for name in self.outputs if name in live}
        for first, last in self._pieces(replace):
            made = self._run(first, last, live)
            for name, array in made.items():
                if name in self._live:
                    seen(name, array)
                live[name] = replace.get(name, array)
                if name in self.outputs:
                    found[name] = live[name]
            for name in [n for n in live if self._last_use.get(n, -1) < last]:
                del live[name]
        return found

    def alone(self, numbers: Sequence[int], known: Mapping[str, Array]) -> Alone:
        """Returns a few steps as an ONNX model, weights inside."""
        from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

        model = self._piece(numbers, known)
        for tensor in model.graph.initializer:
            if uses_external_data(tensor):
                load_external_data_for_tensor(tensor, str(self._path.parent))
                tensor.ClearField("data_location")
                del tensor.external_data[:]
        try:
            data = model.SerializeToString(deterministic=True)
        except ValueError:  # above 2 GiB, protobuf's limit
            raise CheckError(f"{self._path}: the step is too large for one file") from None
        return Alone(data, ".onnx", {item.name: known[item.name] for item in model.graph.input})

    def numbers(self, number: int) -> dict[str, Any]:
        """Returns the attributes and the small constants of a step."""
        import onnx

        node = self.model.graph.node[number]
        found: dict[str, Any] = {}
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.FLOAT:
                found[attribute.name] = float(f"{attribute.f:.7g}")
            if attribute.type == onnx.AttributeProto.INT:
                found[attribute.name] = attribute.i
        for name in self.steps[number].stored:
            tensor = self._stored[name]
            external = tensor.data_location == onnx.TensorProto.EXTERNAL
            if not external and not tensor.dims:
                found[name] = onnx.numpy_helper.to_array(tensor).item()
        return found

    @cached_property
    def _live(self) -> set[str]:
        return depends(self.steps, self.given)

    @cached_property
    def _last_use(self) -> dict[str, int]:
        return {name: number for number, step in enumerate(self.steps) for name in step.inputs}

    def _step(self, node: "onnx.NodeProto") -> Step:
        reads = tuple(dict.fromkeys(_reads(node)))
        stored = tuple(name for name in reads if name in self._stored)
        module = module_of({item.key: item.value for item in node.metadata_props})
        made = tuple(name for name in node.output if name)
        return Step(node.name or made[0], node.op_type, module, reads, stored, made)

    def _pieces(self, replace: Mapping[str, Array]) -> Iterator[tuple[int, int]]:
        """Yields first and one past the last step of each piece; one ends at what is replaced."""
        first = 0
        for number, step in enumerate(self.steps, 1):
            full = number - first == PIECE or number == len(self.steps)
            if full or not replace.keys().isdisjoint(step.outputs):
                yield first, number
                first = number

    def _run(self, first: int, last: int, live: Mapping[str, Array]) -> Outputs:
        try:
            return self._answer(self._piece(range(first, last), live), live)
        except CheckError as error:
            if last - first == 1:
                raise StepError(first, str(error)) from error
        made: Outputs = {}
        for number in range(first, last):  # to know which of them it is
            made |= self._run(number, number + 1, {**live, **made})
        return made

    def _answer(self, model: "onnx.ModelProto", live: Mapping[str, Array]) -> Outputs:
        loaded = unoptimised(model, self._path, self._limits.threads_allowed())
        given = {item.name: live[item.name] for item in model.graph.input}
        return onnx_runner.run(loaded, given, str(self._path), self._limits.timeout)

    def _piece(self, numbers: Sequence[int], live: Mapping[str, Array]) -> "onnx.ModelProto":
        import onnx

        steps = [self.steps[number] for number in numbers]
        made = [name for step in steps for name in step.outputs]
        read = dict.fromkeys(name for step in steps for name in step.inputs)
        outer = [name for name in read if name not in made and name not in self._stored]
        missing = [name for name in outer if name not in live]
        if missing:
            raise CheckError(f"{self._path}: {missing[0]!r} is not known")
        model = onnx.ModelProto(ir_version=self.model.ir_version)
        model.opset_import.extend(self.model.opset_import)
        model.functions.extend(self.model.functions)
        graph = model.graph
        graph.name = "piece"
        graph.node.extend(self.model.graph.node[number] for number in numbers)
        graph.initializer.extend(self._stored[name] for name in read if name in self._stored)
        for name in outer:
            array = live[name]
            if not hasattr(array, "dtype"):
                raise CheckError(f"{self._path}: {name!r} is no tensor, and cannot be passed on")
            code = BY_NAME[array.dtype.name].onnx or 0
            graph.input.append(onnx.helper.make_tensor_value_info(name, code, array.shape))
        for name in made:
            graph.output.add(name=name)
        return model


def unoptimised(model: "onnx.ModelProto", path: Path, threads: int) -> Any:
    """Loads a model whose external data lie beside ``path``, and leaves every node as it is.

    Raises:
        CheckError: onnxruntime refuses it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    folder = str(path.resolve().parent)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=[onnx_runner.PROVIDER]
        )
    except Exception as error:  # onnxruntime's own classes derive from Exception directly
        raise CheckError(f"{path}: onnxruntime does not load it: {first_line(error)}") from None


def _reads(node: "onnx.NodeProto") -> Iterator[str]:
    """Yields what a node reads, and what the graphs inside it read of the graph around them."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        inner = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
        for graph in inner:
            own = {value.name for value in graph.input} | {t.name for t in graph.initializer}
            own |= {name for inside in graph.node for name in inside.output}
            reads = [name for inside in graph.node for name in _reads(inside)]
            reads += [result.name for result in graph.output]
            yield from (name for name in reads if name not in own)

"""An ONNX file as a source: brought to the target opset, its weights moved to model.safetensors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx_ir as ir

from ascend_migrate.converters.onnx_for_atc import shape_for_atc
from ascend_migrate.converters.onnx_inputs import declared, fix_inputs, input_faults
from ascend_migrate.converters.onnx_opset import lower_opset
from ascend_migrate.converters.onnx_padding import keep_padding
from ascend_migrate.converters.onnx_precision import lower_precision
from ascend_migrate.converters.onnx_weights import (
    EXTRACT_FROM,
    WEIGHTS_FILE,
    write_model,
    write_weights,
)
from ascend_migrate.converters.quiet import quiet
from ascend_migrate.pipeline.dtypes import BY_ONNX
from ascend_migrate.pipeline.errors import ConversionError, SourceError, UnsupportedOperatorError
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.onnx_checks import check_source
from ascend_migrate.pipeline.onnx_signature import all_tensors, load_graph, stored_bytes
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.printable import first_line
from ascend_migrate.pipeline.records import Artifact, Form

_OLDEST_OPSET = 7
"""onnx.version_converter has adapters upwards from here; older ones differ in broadcasting."""
_PROTOBUF_LIMIT = 2**31 - 1


def convert(  # noqa: PLR0913 - what the graph depends on
    source: Path,
    into: Path,
    *,
    inputs: Sequence[InputSpec] = (),
    opset: int = 17,
    precision: Precision | None = None,
    runnable: bool = True,
    parent: str,
) -> Artifact:
    """Writes ``into/model.onnx`` and ``into/model.safetensors`` from an ONNX file.

    Args:
        source: with inline or external weights; the latter must lie in its folder.
        into: an existing folder, not the source's own.
        inputs: what the graph will be fed, where that is narrower than what it takes.
        opset: of the standard operators in the result.
        precision: what the graph is lowered to; None leaves it in its own types.
        runnable: whether onnxruntime must load the graph; otherwise it may hold bfloat16, which
            onnxruntime lacks and MindIR has.
        parent: digest of the source.

    Raises:
        SourceError: the file is damaged or unsafe; names the tensor or node.
        UnsupportedOperatorError: lists the nodes that cannot be said in ``opset``.
        ConversionError: the graph does not have these inputs, or the result does not load.
    """
    if into.resolve() == source.resolve().parent:
        raise ConversionError(f"{into}: is the source's own folder; choose another")
    proto = load_graph(source)
    check_source(source, proto)
    found = _opset_of(source, proto)
    notes = []
    if found != opset:
        notes.append(f"The source declares opset {found}; the graph is written at opset {opset}.")
    with _blamed_on(source):
        _load_inline(source, proto)
        if found < opset:
            proto = _raise_opset(source, proto, opset)
        with quiet():
            model = ir.from_proto(proto)
        ir.external_data.set_base_dir(model.graph, source.parent)
        names = frozenset(model.graph.initializers)
        if inputs:
            faults = input_faults(inputs, declared(model))
            if faults:
                raise ConversionError(f"does not have the inputs given: {'; '.join(faults)}")
        with quiet():
            if inputs:
                fix_inputs(model, inputs)
            lower_opset(model, opset)
            keep_padding(model)
            if precision is not None:
                notes += lower_precision(model, precision, names)
            shape_for_atc(model)
        weights = into / WEIGHTS_FILE
        write_weights(model, weights)
        files, written = write_model(model, into, weights=weights, runnable=runnable)
    return Artifact.of(Form.ONNX, into, files, parent=parent, notes=[*notes, *written])


def _opset_of(source: Path, proto: onnx.ModelProto) -> int:
    versions = [item.version for item in proto.opset_import if item.domain in ("", "ai.onnx")]
    if len(versions) != 1:
        raise SourceError(f"{source}: declares {len(versions)} versions of the standard operators")
    newest = onnx.defs.onnx_opset_version()
    if not _OLDEST_OPSET <= versions[0] <= newest:
        raise SourceError(
            f"{source}: opset {versions[0]} is outside {_OLDEST_OPSET}..{newest}; export it anew"
        )
    return int(versions[0])


@contextmanager
def _blamed_on(source: Path) -> Iterator[None]:
    """Names the source in whatever the ONNX libraries say about a graph that they cannot take."""
    damage = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError)
    try:
        yield
    except UnsupportedOperatorError:
        raise
    except ConversionError as error:
        raise ConversionError(f"{source}: {error}") from None
    except (*damage, MemoryError, ir.passes.InvariantError, ir.passes.PassError) as error:
        raise SourceError(
            f"{source}: its graph cannot be converted: {first_line(error)}; see what onnx.checker "
            "says of it, and export it anew"
        ) from None


def _load_inline(source: Path, proto: onnx.ModelProto) -> None:
    """Reads the external tensors that do not go to the safetensors file: small, nested, odd."""
    from onnx.external_data_helper import load_external_data_for_tensor

    weights = {id(tensor) for tensor in proto.graph.initializer}
    for tensor in all_tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        large = id(tensor) in weights and stored_bytes(tensor) >= EXTRACT_FROM
        if large and tensor.data_type in BY_ONNX:
            continue
        load_external_data_for_tensor(tensor, str(source.parent))
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _raise_opset(source: Path, proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Brings an older graph up with ONNX's own converter, which needs the weights inline."""
    from onnx.external_data_helper import load_external_data_for_model

    total = sum(map(stored_bytes, all_tensors(proto)))
    if total > _PROTOBUF_LIMIT:
        raise ConversionError(
            f"{total} bytes of weights are too many to raise its opset; export it anew "
            f"at opset {opset}"
        )
    load_external_data_for_model(proto, str(source.parent))
    try:
        return onnx.version_converter.convert_version(proto, opset)
    except (RuntimeError, ValueError) as error:
        raise ConversionError(
            f"cannot be raised to opset {opset}: {first_line(error)}; export it anew"
        ) from None

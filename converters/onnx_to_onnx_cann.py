"""The exported ONNX graph -> an ONNX graph that CANN's parser reads as ONNX means it.

lower to opset 17 -> surgery (converters/cann/) -> shape -> write, the weights file shared
"""

import shutil
from pathlib import Path

from ascend_migrate.pipeline.errors import ConversionError
from ascend_migrate.pipeline.records import Artifact, Form

ENTRY = "model.cann.onnx"
NEWEST, OLDEST = 17, 13
"""Opsets of the result. 18 lacks two reductions of 17; below 13 axes are attributes."""

_IR_VERSION = 8
"""Of ONNX 1.10 to 1.12, which CANN 7.0 was built on; a later one brought only notes and types."""

_PADDED = (
    "NonMaxSuppression: on the device its result has a fixed number of rows, the unused ones -1; "
    "the application has to strip them."
)


def convert(source: Path, into: Path, *, parent: str) -> Artifact:
    """Writes ``source`` as ``into/model.cann.onnx``.

    Args:
        source: an exported ONNX file; its external data lies in the same folder.
        into: folder for the result, made if need be; the weights file is copied there.
        parent: digest of the artifact that ``source`` belongs to.

    Raises:
        SourceError: the file, or its external data, cannot be read.
        ConversionError: its opset is too old, or the result does not load.
        UnsupportedOperatorError: lists every node that CANN would refuse, or compute otherwise,
            and that nothing else says exactly.
    """
    import onnx_ir as ir

    from ascend_migrate.converters.cann.operate import operate
    from ascend_migrate.converters.onnx_for_atc import shape_for_atc
    from ascend_migrate.converters.onnx_opset import lower_opset
    from ascend_migrate.converters.onnx_weights import write_model
    from ascend_migrate.converters.quiet import quiet
    from ascend_migrate.pipeline.onnx_signature import external_files, load_graph

    files = external_files(source)
    model = ir.from_proto(load_graph(source))
    ir.external_data.set_base_dir(model.graph, source.parent)
    opset = model.opset_imports.get("", NEWEST)
    if opset < OLDEST:
        raise ConversionError(
            f"{source}: opset {opset} is older than {OLDEST}; export it anew at {NEWEST}"
        )
    with quiet():
        lower_opset(model, min(opset, NEWEST))
        rewritten = operate(model)
        shape_for_atc(model)
    model.ir_version = _IR_VERSION
    into.mkdir(parents=True, exist_ok=True)
    for name in files:
        # No second name for the same file: onnx takes that for an attack.
        shutil.copyfile(source.parent / name, into / name)
    written, notes = write_model(model, into, weights=None, name=ENTRY)
    if any(node.op_type == "NonMaxSuppression" for node in model.graph.all_nodes()):
        notes = [*notes, _PADDED]
    if rewritten:
        notes = [*notes, f"{rewritten} nodes were rewritten for CANN's parser."]
    return Artifact.of(Form.ONNX_CANN, into, [*written, *files], parent=parent, notes=notes)

"""Preflight of what our own rewriting leaves of a graph."""

import tempfile
from pathlib import Path

from ascend_migrate.pipeline.cann.generations import Generation
from ascend_migrate.pipeline.errors import UnsupportedOperatorError
from ascend_migrate.pipeline.rule import Certainty, Effect
from ascend_migrate.validators.preflight.preflight import Warned, preflight


def preflight_after(model: Path, generation: Generation, chip: str) -> tuple[Warned, ...]:
    """Makes the onnx-cann form of a graph in a folder of its own, and asks the rules of that.

    It is written at opset 17, or at the newest one that the generation documents if that is older.

    Args:
        model: an ONNX file.
        generation: of CANN.
        chip: exact name.

    Returns:
        What is left; what has no exact rewriting is a finding of its own for each node.

    Raises:
        SourceError: the file is damaged or unsafe.
        ConversionError: it cannot be brought to the target opset.
    """
    from ascend_migrate.converters import onnx_to_onnx, onnx_to_onnx_cann

    generation.family(chip)
    opset = min(onnx_to_onnx_cann.NEWEST, generation.opsets[1])
    with tempfile.TemporaryDirectory(prefix="ascend-migrate-") as scratch:
        plain, cann = Path(scratch, "onnx"), Path(scratch, "cann")
        plain.mkdir()
        try:
            exported = onnx_to_onnx.convert(model, plain, opset=opset, runnable=False, parent="")
            made = onnx_to_onnx_cann.convert(exported.path, cann, parent="")
        except UnsupportedOperatorError as error:
            return tuple(map(_refused, error.nodes))
        return preflight(made.path, generation, chip)


def _refused(node: str) -> Warned:
    place, _, reason = node.partition(": ")
    return Warned(
        place=place,
        op_type="",
        rule="no-exact-rewriting",
        effect=str(Effect.FAILS),
        says=reason,
        remedy="say it in other operators, or export the model without it",
        certainty=str(Certainty.SOURCE),
        source="converters/cann",
    )

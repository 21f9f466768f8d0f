"""Weights alone, from file to file: a module of its own, because its start is a part of its price.

Nothing of graphs, judgements or registries is imported here.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ascend_migrate.converters import checkpoint_to_safetensors
from ascend_migrate.converters.safetensors_writer import UNFINISHED
from ascend_migrate.flows.sources import open_source
from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.errors import SpecError
from ascend_migrate.pipeline.records import Artifact, Form
from ascend_migrate.pipeline.spec import MigrationSpec, with_forms


def convert(
    spec: MigrationSpec,
    out: Path,
    *,
    form: Form = Form.SAFETENSORS,
    hashed: bool = True,
    told: Callable[[int, int], None] | None = None,
) -> Artifact:
    """Writes a form of weights alone straight into the folder ``out``, file to file.

    Args:
        spec: the request; of its forms only this one is made.
        out: new, empty, or left unfinished by the same command.
        form: safetensors or torch-npu.
        hashed: whether the files are hashed on the way.
        told: is told how many bytes are written, and how many there will be.
    """
    wanted = with_forms(spec, [form], subject=str(spec.source))
    describe = _describing(wanted) if form is Form.TORCH_NPU else None
    if not any(out.glob(f"{UNFINISHED}*")):
        prepare_folder(out)
    source = open_source(wanted)
    weights = source.weights
    if weights is None:
        raise TypeError("a graph was refused above")
    # The source's own digest would take longer than the conversion, and is asked for by none.
    artifact = checkpoint_to_safetensors.convert(
        weights,
        out,
        limit=wanted.max_shard_size,
        dtype=wanted.store_as,
        parent="",
        hashed=hashed,
        told=told,
    )
    if describe is not None:
        try:
            artifact = describe(artifact)
        except BaseException:
            # Half of a form would be taken for the other one, and stand in the way of a second try.
            for file in artifact.files:
                (out / file.path).unlink(missing_ok=True)
            raise
    return replace(artifact, notes=(*source.notes, *artifact.notes))


def _describing(spec: MigrationSpec) -> Callable[[Artifact], Artifact]:
    """Looks at the code before anything is written; returns what describes the weights."""
    from ascend_migrate.flows import torch_npu

    code = torch_npu.code_of(spec)
    return lambda weights: torch_npu.describe([weights], code)


def prepare_folder(out: Path) -> None:
    """Makes the folder, before any work is done that would have nowhere to go.

    Raises:
        SpecError: it holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SpecError(str(out), ["exists and is not an empty folder; choose another"])
    durable.make_folder(out.absolute())

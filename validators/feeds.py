"""Whether inputs are those of a graph: runtimes run on wrong ones, or say so in their own way."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.mindir_format import TensorInfo
from ascend_migrate.validators.cases import Array


def check_names(path: Path, names: Sequence[str], feeds: Mapping[str, Array]) -> None:
    """Proves that ``feeds`` are the inputs ``names`` of the graph in the file ``path``.

    Raises:
        CheckError: one is missing, or is none of them.
    """
    missing = [name for name in names if name not in feeds]
    extra = [name for name in feeds if name not in names]
    if missing or extra:
        raise CheckError(
            f"{path}: inputs missing: {missing}, not in the graph: {extra}; "
            f"the graph has {list(names)}"
        )


def has_sizes(info: TensorInfo, array: Array) -> bool:
    """Whether ``array`` has the rank and the fixed sizes of an input."""
    return len(info.shape) == array.ndim and all(
        want in (None, have) for want, have in zip(info.shape, array.shape, strict=True)
    )

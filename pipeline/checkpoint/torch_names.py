"""The names that a checkpoint's pickle may use, each with the inert description it builds.

Signatures: torch/_utils.py (``_rebuild_*``) and torch/serialization.py (persistent ids).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.views import View
from ascend_migrate.pipeline.dtypes import BY_NAME, BY_STORAGE

Call = Callable[[tuple[Any, ...]], Any]


@dataclass(frozen=True, slots=True)
class Global:
    """A name in a pickle.

    Attributes:
        name: module and attribute with a dot between them.
        call: what calling it builds; None for a name that is not on the list.
    """

    name: str
    call: Call | None


@dataclass(eq=False, slots=True)
class Inert:
    """A Python object that was not made, only noted.

    Attributes:
        name: its class or function.
        state: what would have been its state: searched for tensors by `describe` alone.
    """

    name: str
    state: Any = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A storage as a persistent id names it.

    Attributes:
        key: name within the file.
        dtype: our spelling of its element type; ``uint8`` for untyped ones.
        numel: number of its elements.
        device: device tag, such as ``"cuda:0"``.
        shift: elements before the storage view that is meant (legacy files only).
        limit: elements of that storage view.
    """

    key: str
    dtype: str
    numel: int
    device: str
    shift: int = 0
    limit: int = 0


def storage_ref(pid: Any) -> StorageRef:
    """Reads a persistent id ``("storage", type, key, location, numel[, view])``.

    Raises:
        FormatError: another kind of id, or an unknown storage type.
    """
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or _text(pid[0]) != "storage":
        raise FormatError("its pickle holds a reference that is not a storage; damaged")
    kind, key, location, numel = pid[1:5]
    dtype = _storage_dtype(kind)
    _whole(numel)
    if len(pid) == 6 and pid[5] is not None:  # noqa: PLR2004 (the legacy form with a view)
        _, shift, limit = pid[5]
        if _whole(shift) + _whole(limit) > numel:
            raise FormatError(f"storage {shown(key)} has a view that reaches past its end")
        return StorageRef(_text(key), dtype, numel, _text(location)[:32], shift, limit)
    return StorageRef(_text(key), dtype, numel, _text(location)[:32], 0, numel)


def resolve(module: str, attribute: str) -> Call | None:
    """Returns what calling ``module.attribute`` builds, or None if it is not on the list."""
    if module in ("torch", "torch.cuda", "torch.storage") and (
        attribute in BY_STORAGE or attribute == "UntypedStorage"
    ):
        return _inert(f"{module}.{attribute}")
    if module == "torch" and attribute in BY_NAME:
        return _inert(f"torch.{attribute}")
    return _CALLS.get((module, attribute))


def _text(value: Any) -> str:
    # Files of Python 2 spell these as bytes.
    text = value.decode("ascii") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise FormatError("its pickle has a storage whose name or device is no text; damaged")
    return text


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise FormatError("its pickle has a size, stride or offset that is no natural number")
    return value


def _storage_dtype(kind: Any) -> str:
    name = kind.name.rpartition(".")[2] if isinstance(kind, Global) else ""
    if name == "UntypedStorage":
        return "uint8"
    if name not in BY_STORAGE:
        raise FormatError(f"its storage type {shown(kind)} is not supported (quantized?)")
    return BY_STORAGE[name].name


def _view(args: tuple[Any, ...], dtype: str | None = None, metadata: Any = None) -> View:
    ref, offset, shape, stride = args[:4]
    if not isinstance(ref, StorageRef):
        raise FormatError("its pickle builds a tensor without a storage; damaged")
    if isinstance(metadata, dict) and any(metadata.values()):
        raise FormatError(
            f"holds a tensor with the lazy marks {shown(list(metadata))} (conjugated or negated): "
            "save it with .resolve_conj().resolve_neg()"
        )
    sizes = tuple(_whole(size) for size in shape)
    steps = tuple(_whole(step) for step in stride)
    width = BY_NAME[ref.dtype].itemsize
    own = BY_NAME[dtype or ref.dtype].itemsize
    if ref.shift * width % own:
        raise FormatError("holds a tensor that does not begin on a whole element; damaged")
    view = View(
        ref.key,
        dtype or ref.dtype,
        sizes,
        steps,
        ref.shift * width // own + _whole(offset),
        ref.device,
    )
    if 0 not in sizes and len(sizes) == len(steps):
        last = sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
        if (_whole(offset) + last + 1) * own > ref.limit * width:
            raise FormatError(f"holds a tensor that reaches past the end of storage {ref.key!r}")
    return view


def _rebuild_v1(args: tuple[Any, ...]) -> View:
    return _view(args)


def _rebuild_v2(args: tuple[Any, ...]) -> View:
    return _view(args, metadata=args[6] if len(args) > 6 else None)  # noqa: PLR2004


def _rebuild_v3(args: tuple[Any, ...]) -> View:
    dtype = args[6].name.rpartition(".")[2] if isinstance(args[6], Global) else ""
    if dtype not in BY_NAME:
        raise FormatError(f"holds a tensor of the element type {shown(args[6])}, not supported")
    return _view(args, dtype, args[7] if len(args) > 7 else None)  # noqa: PLR2004


def _parameter(args: tuple[Any, ...]) -> Any:
    return args[0]


def _ordered_dict(args: tuple[Any, ...]) -> dict[Any, Any]:
    # Python 2 wrote OrderedDict([[key, value], ...]).
    found: dict[Any, Any] = {}
    for key, value in args[0] if args else ():
        if not isinstance(key, str) or key in found:
            raise FormatError(f"the name {shown(key)} is no text or occurs twice; refused")
        found[key] = value
    return found


def _size(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(args[0]) if args else ()


def _inert(name: str) -> Call:
    return lambda args: Inert(name)


INERT = (
    "torch.device",
    "_codecs.encode",  # how protocol 2 spells bytes
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
)
"""Names that only ever describe something that is left out."""

_CALLS: dict[tuple[str, str], Call] = {
    ("torch._utils", "_rebuild_tensor"): _rebuild_v1,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_v3,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch", "Size"): _size,
    ("collections", "OrderedDict"): _ordered_dict,
    ("builtins", "dict"): _ordered_dict,
    ("__builtin__", "dict"): _ordered_dict,
    **{
        (module, attribute): _inert(name)
        for name in INERT
        for module, _, attribute in [name.rpartition(".")]
    },
}

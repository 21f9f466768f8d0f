"""The names that a checkpoint's pickle may use, each with the inert description it builds.

Signatures: torch/_utils.py (``_rebuild_*``) and torch/serialization.py (persistent ids).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ascend_migrate.pipeline.checkpoint import torch_quantized, torch_sparse
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.torch_quantized import QUANTIZED, SUB_BYTE, UNREAD
from ascend_migrate.pipeline.checkpoint.views import Unsupported, View, last_element
from ascend_migrate.pipeline.dtypes import BY_NAME, BY_STORAGE

Call = Callable[[tuple[Any, ...]], Any]

_KINDS = 64
"""Storage classes that are remembered: torch has 30."""


@dataclass(frozen=True, slots=True)
class Global:
    """A name in a pickle.

    Attributes:
        name: module and attribute with a dot between them.
        call: what calling it builds; None for a name that is not on the list.
    """

    name: str
    call: Call | None

    def __str__(self) -> str:
        return self.name


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
        quantized: whether the elements are torch's quantized ones.
        sub_byte: whether several of them share a byte.
    """

    key: str
    dtype: str
    numel: int
    device: str
    shift: int = 0
    limit: int = 0
    quantized: bool = False
    sub_byte: bool = False


def storage_ref(pid: Any) -> StorageRef:
    """Reads a persistent id ``("storage", type, key, location, numel[, view])``.

    Raises:
        FormatError: another kind of id, or an unknown storage type.
    """
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or _text(pid[0]) != "storage":
        raise FormatError("its pickle holds a reference that is not a storage; damaged")
    kind, key, location, numel = pid[1:5]
    shift, limit = 0, _whole(numel)
    if len(pid) == 6 and pid[5] is not None:  # noqa: PLR2004 (the legacy form with a view)
        _, shift, limit = pid[5]
        if _whole(shift) + _whole(limit) > numel:
            raise FormatError(f"storage {shown(key)} has a view that reaches past its end")
    if not isinstance(kind, Global):
        raise FormatError(f"its storage type {shown(kind)} is not supported")
    dtype, *marks = _storage_kind(kind.name)
    return StorageRef(_text(key), dtype, numel, _text(location)[:32], shift, limit, *marks)


def resolve(module: str, attribute: str) -> Call | None:
    """Returns what calling ``module.attribute`` builds, or None if it is not on the list."""
    if module in ("torch", "torch.cuda", "torch.storage") and (
        attribute in BY_STORAGE or attribute in QUANTIZED or attribute == "UntypedStorage"
    ):
        return _inert(f"{module}.{attribute}")
    if module == "torch" and (attribute in BY_NAME or attribute in _CONSTANTS):
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


@lru_cache(_KINDS)
def _storage_kind(kind: str) -> tuple[str, bool, bool]:
    """Returns a storage class's element type, whether it is quantized, and whether below a byte."""
    name = kind.rpartition(".")[2]
    if name == "UntypedStorage":
        return "uint8", False, False
    if name in QUANTIZED:
        return QUANTIZED[name], True, name in SUB_BYTE
    if name not in BY_STORAGE:
        raise FormatError(f"its storage type {shown(kind)} is not supported")
    return BY_STORAGE[name].name, False, False


def _naturals(numbers: Any) -> tuple[int, ...]:
    return tuple([_whole(number) for number in numbers])


def _view(
    args: tuple[Any, ...], dtype: str | None = None, metadata: Any = None
) -> View | Unsupported:
    ref, offset, shape, stride = args[:4]
    if not isinstance(ref, StorageRef):
        raise FormatError("its pickle builds a tensor without a storage; damaged")
    if ref.quantized:
        return UNREAD
    marks = metadata if isinstance(metadata, dict) else {}
    sizes, steps, first = _naturals(shape), _naturals(stride), _whole(offset)
    width = BY_NAME[ref.dtype].itemsize
    own = BY_NAME[dtype].itemsize if dtype else width
    if ref.shift * width % own:
        raise FormatError("holds a tensor that does not begin on a whole element; damaged")
    view = View(
        ref.key,
        dtype or ref.dtype,
        sizes,
        steps,
        ref.shift * width // own + first,
        ref.device,
        conj=marks.get("conj") is True,
        neg=marks.get("neg") is True,
    )
    if (
        0 not in sizes
        and len(sizes) == len(steps)
        and (first + last_element(sizes, steps) + 1) * own > ref.limit * width
    ):
        raise FormatError(f"holds a tensor that reaches past the end of storage {ref.key!r}")
    return view


def _rebuild_v1(args: tuple[Any, ...]) -> View | Unsupported:
    return _view(args)


def _rebuild_v2(args: tuple[Any, ...]) -> View | Unsupported:
    return _view(args, metadata=args[6] if len(args) > 6 else None)  # noqa: PLR2004


def _rebuild_v3(args: tuple[Any, ...]) -> View | Unsupported:
    dtype = _dtype_name(args[6])
    if dtype not in BY_NAME:
        return Unsupported(
            f"has the element type {shown(args[6].name)}, which is not supported; save it as "
            "another type, or its bytes with .view(torch.uint8)"
        )
    return _view(args, dtype, args[7] if len(args) > 7 else None)  # noqa: PLR2004


def _rebuild_quantized(args: tuple[Any, ...]) -> Unsupported:
    """``(storage, offset, size, stride, parameters, ...)``."""
    ref = args[0]
    if not isinstance(ref, StorageRef) or not ref.quantized or ref.sub_byte:
        return UNREAD
    return torch_quantized.rebuild(_view((replace(ref, quantized=False), *args[1:])), args[4])


def _dtype_name(kind: Any) -> str:
    if not isinstance(kind, Global) or not kind.name.startswith("torch."):
        raise FormatError("its pickle builds a tensor whose element type is none; damaged")
    return kind.name.removeprefix("torch.")


def _rebuild_from_type(args: tuple[Any, ...]) -> Any:
    """``(function, class, arguments, attributes)``: a tensor with attributes, or of a subclass."""
    function, kind, inner = args[:3]
    if not isinstance(function, Global) or not isinstance(kind, Global):
        raise FormatError("its pickle builds a tensor from what is no class; damaged")
    if kind.name not in _PLAIN_CLASSES or function.call is None:
        return Unsupported(
            f"is of the class {shown(kind.name)}, which only its code could open; save a plain "
            "torch.Tensor in its place"
        )
    return function.call(inner)


def _rebuild_on_device(args: tuple[Any, ...]) -> Any:
    """``(tensor on the CPU, element type, device, requires_grad)``."""
    data = args[0]
    if isinstance(data, View) and data.dtype == _dtype_name(args[1]):
        return replace(data, device=str(args[2])[:32])
    return Unsupported("was saved from a device that stores it as another type; save its .cpu()")


def _unsupported(reason: str) -> Call:
    found = Unsupported(reason)
    return lambda args: found


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


def _empty(args: tuple[Any, ...]) -> dict[Any, Any]:
    return {}


_PLAIN_CLASSES = ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer")

_CONSTANTS = frozenset(
    (
        *(
            "complex32",
            "float4_e2m1fn_x2",
        ),
        *("qint8", "quint8", "qint32", "quint4x2", "quint2x4"),
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)),
        *("bits8", "bits16", "bits1x8", "bits2x4", "bits4x2"),
        *("strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc"),
        *("per_tensor_affine", "per_channel_affine", "per_channel_affine_float_qparams"),
        *("per_tensor_symmetric", "per_channel_symmetric"),
        *("contiguous_format", "preserve_format", "channels_last", "channels_last_3d", "Tensor"),
    )
)
"""What ``torch`` has beside element types of ours: values, which a pickle only ever names."""

INERT = (
    "torch.device",
    "torch.nn.parameter.Parameter",
    "torch.nn.parameter.Buffer",
    "_codecs.encode",  # how protocol 2 spells bytes
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    *(f"torch.jit._pickle.build_{kind}list" for kind in ("int", "double", "bool", "tensor")),
    "torch.jit._pickle.restore_type_tag",
    "torch.distributed.checkpoint.metadata._MEM_FORMAT_ENCODING",
    *(f"pathlib.{kind}Path" for kind in ("", "Pure", "Posix", "Windows", "PurePosix")),
    "pathlib.PureWindowsPath",
    *(f"pathlib._local.{kind}Path" for kind in ("", "Posix", "Windows")),
    *(f"datetime.{kind}" for kind in ("date", "time", "datetime", "timedelta", "timezone")),
    "argparse.Namespace",
    "signal.Signals",
    "_io.BytesIO",
    *(f"megatron.core.enums.{kind}" for kind in ("ModelType", "Fp8Recipe", "Fp4Recipe")),
    *(
        f"megatron.{module}.enums.{kind}"
        for module in ("core.transformer", "model", "legacy.model")
        for kind in ("AttnBackend", "AttnMaskType", "AttnType", "LayerType", "ModelType")
    ),
    "collections.Counter",
    "collections.deque",
    "typing.Any",
    *(
        f"{module}.{kind}"
        for module in ("builtins", "__builtin__")
        for kind in (
            *("bool", "int", "float", "complex", "str", "bytes", "bytearray", "list", "tuple"),
            *("set", "frozenset", "slice", "range", "object"),
        )
    ),
)
"""Names that only ever describe something that is left out."""

_CALLS: dict[tuple[str, str], Call] = {
    ("torch._utils", "_rebuild_tensor"): _rebuild_v1,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_v3,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type"): _rebuild_from_type,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _rebuild_on_device,
    ("torch._utils", "_rebuild_qtensor"): _rebuild_quantized,
    ("torch._utils", "_rebuild_sparse_tensor"): torch_sparse.rebuild,
    ("torch._utils", "_rebuild_sparse_csr_tensor"): torch_sparse.rebuild,
    ("torch.serialization", "_get_layout"): lambda args: Inert(str(args[0])),
    ("torch._utils", "_rebuild_nested_tensor"): _unsupported(
        "is a nested tensor; save its .unbind() as tensors of their own"
    ),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _unsupported(
        "is on the meta device: it was saved without its values; save the model once it is loaded"
    ),
    ("torch._utils", "_rebuild_wrapper_subclass"): _unsupported(
        "is a wrapper of other tensors, which only its class's code could open; save plain tensors"
    ),
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _unsupported(
        "was saved from another device as a NumPy array; save its .cpu()"
    ),
    ("torch._utils", "_rebuild_xla_tensor"): _unsupported(
        "was saved from an XLA device as a NumPy array; save its .cpu()"
    ),
    ("torch", "Size"): _size,
    ("collections", "OrderedDict"): _ordered_dict,
    ("collections", "defaultdict"): _empty,
    ("deepspeed.runtime.zero.config", "ZeroStageEnum"): _parameter,
    ("builtins", "dict"): _ordered_dict,
    ("__builtin__", "dict"): _ordered_dict,
    **{
        (module, attribute): _inert(name)
        for name in INERT
        for module, _, attribute in [name.rpartition(".")]
    },
}

"""Tensors that Megatron's tensor parallelism has cut up, put back together by a table of rules.

A column-parallel layer is cut by its outputs, a row-parallel one by its inputs, an embedding by its
vocabulary; the rest is the same in every rank, which is proved bit by bit. Rows of queries, keys
and values stay in the order in which Megatron keeps them: that is grouped by heads, so that the
ranks' parts follow one another. Sources: megatron/core/tensor_parallel/layers.py and
megatron/legacy/model/transformer.py.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.streams import stream_view
from ascend_migrate.pipeline.checkpoint.views import (
    Unsupported,
    View,
    check_view,
    contiguous,
    materialise,
    narrowed,
)

_ROWS, _COLUMNS, _UNREAD = "rows", "columns", "unread"

RULES: tuple[tuple[str, str], ...] = (
    ("*word_embeddings.weight", _ROWS),
    ("*word_embeddings_for_head.weight", _ROWS),
    ("*output_layer.weight", _ROWS),
    ("*final_linear.weight", _ROWS),
    ("*lm_head.bias", _ROWS),
    *((f"*.{layer}.{kind}", _ROWS)
      for layer in ("query_key_value", "query", "key_value", "dense_h_to_4h", "linear_qkv",
                    "linear_q", "linear_kv", "linear_fc1", "linear_q_up_proj", "linear_kv_up_proj")
      for kind in ("weight", "bias")),
    *((f"*{layer}.weight", _COLUMNS)
      for layer in ("attention.dense", ".dense_4h_to_h", ".linear_proj", ".linear_fc2")),
    ("*.experts.weight[12]", _UNREAD),
)  # fmt: skip
"""Patterns of names, the first that matches counts; what none matches is the same in all ranks."""

_GATED = {"linear_fc1": "linear_fc2", "dense_h_to_4h": "dense_4h_to_h"}
"""First layers of an MLP, which may hold gate and value, and the layers behind them."""

_PIECE = 1 << 22
"""Bytes of a tensor cut by its columns that are put together at a time: 4 MiB."""


def merge(
    ranks: Sequence[Mapping[str, View]], source: Contents, part: str
) -> tuple[dict[str, View], dict[str, Storage], int]:
    """Puts the ranks' tensors together.

    Args:
        ranks: the tensors of each rank, by name.
        source: where their bytes are.
        part: which part of the model this is; distinguishes the storages of one from another's.

    Returns:
        The whole tensors, the storages that were made for them, and how many were cut up.

    Raises:
        FormatError: ranks that do not fit together. That a tensor which should be the same in all
            of them is not is found when it is read.
    """
    first = ranks[0]
    if len(ranks) == 1:
        return dict(first), {}, 0
    for number, rank in enumerate(ranks):
        if odd := set(rank) ^ set(first):
            raise FormatError(f"has {shown(min(odd))} in some ranks and not in rank {number}")
    views: dict[str, View] = {}
    storages: dict[str, Storage] = {}
    made: dict[tuple[View, ...], tuple[str, View | None]] = {}
    cut = 0
    for name in first:
        shards = [rank[name] for rank in ranks]
        _check_shards(name, shards, source)
        rule = next((rule for pattern, rule in RULES if fnmatchcase(name, pattern)), "")
        if rule == _UNREAD:
            raise FormatError(
                f"holds {shown(name)}: experts in one tensor, of which the ranks hold parts in an "
                "order that is not read; save it with --ckpt-convert-format torch_dist"
            )
        if rule == _ROWS and _is_gated(name, first):
            rule = "halves"
        # A tensor under a second name, for which there may be no rule.
        known, view = made.get(tuple(shards), ("", None))
        if view is not None and rule in ("", known):
            views[name] = view
            continue
        views[name], held = _merged(name, rule, shards, source, part)
        storages[views[name].storage] = held
        made.setdefault(tuple(shards), (rule, views[name]))
        cut += bool(rule)
    return views, storages, cut


def plain_tensors(tree: Mapping[str, Any]) -> dict[str, View]:
    """Returns the tensors of a rank's state.

    Raises:
        FormatError: one is of a kind that cannot be joined.
    """
    for name, value in tree.items():
        if isinstance(value, Unsupported):
            raise FormatError(f"tensor {shown(name)} {value.reason}")
    return {name: value for name, value in tree.items() if isinstance(value, View)}


def same(name: str, views: Sequence[View], source: Contents, part: str) -> tuple[View, Storage]:
    """Makes one tensor of several that must be equal, which is proved when it is read.

    Raises:
        FormatError: their types or sizes differ.
    """
    _check_shards(name, views, source)
    return _merged(name, "", views, source, part)


def _check_shards(name: str, shards: Sequence[View], source: Contents) -> None:
    for shard in shards:
        check_view(shard, source.storages[shard.storage].nbytes)
        if shard.dtype != shards[0].dtype or len(shard.shape) != len(shards[0].shape):
            raise FormatError(f"tensor {shown(name)} has another type or rank in some ranks")


def _is_gated(name: str, tensors: Mapping[str, View]) -> bool:
    """Whether a layer holds gate and value: then it has twice as many outputs as are taken in."""
    stem, _, kind = name.rpartition(".")
    before, _, layer = stem.rpartition(".")
    behind = tensors.get(f"{before}.{_GATED.get(layer)}.weight")
    if behind is None or kind not in ("weight", "bias") or len(behind.shape) != 2:  # noqa: PLR2004
        return False
    return tensors[name].shape[:1] == (2 * behind.shape[1],)


def _merged(
    name: str, rule: str, shards: Sequence[View], source: Contents, part: str
) -> tuple[View, Storage]:
    axis = 1 if rule == _COLUMNS else 0
    shape = shards[0].shape
    rest = {(*shard.shape[:axis], *shard.shape[axis + 1 :]) for shard in shards}
    unequal = not rule and any(shard.shape != shape for shard in shards)
    if len(rest) > 1 or unequal or (rule and len(shape) <= axis):
        raise FormatError(
            f"tensor {shown(name)} has sizes that do not fit in the ranks: "
            f"{', '.join(str(list(shard.shape)) for shard in shards[:4])}"
        )
    if rule:
        size = sum(shard.shape[axis] for shard in shards)
        shape = (*shape[:axis], size, *shape[axis + 1 :])
    view = View(
        f"merged:{part}:{name}", shards[0].dtype, shape, contiguous(shape), 0, shards[0].device
    )
    if not rule:
        load = partial(_same, tuple(shards), source)
        return view, Storage(view.nbytes, load, made=True)
    stream: Callable[[], Iterator[memoryview]]
    if rule == _COLUMNS:
        stream = partial(_woven, tuple(shards), source)
    else:
        stream = partial(_in_order, _ordered(rule, shards), source)
    return view, Storage.of_stream(view.nbytes, stream)


def _ordered(rule: str, shards: Sequence[View]) -> tuple[View, ...]:
    if rule == _ROWS:
        return tuple(shards)
    halves = [shard.shape[0] // 2 for shard in shards]
    gates = [narrowed(s, 0, half) for s, half in zip(shards, halves, strict=True)]
    values = [narrowed(s, half, s.shape[0]) for s, half in zip(shards, halves, strict=True)]
    return (*gates, *values)


def _in_order(parts: Sequence[View], source: Contents) -> Iterator[memoryview]:
    for part in parts:
        yield from stream_view(source, part)


def _woven(shards: Sequence[View], source: Contents) -> Iterator[memoryview]:
    """Yields some whole rows at a time, each made of the ranks' parts of it."""
    import numpy as np

    rows = shards[0].shape[0]
    step = max(1, _PIECE * rows // max(1, sum(shard.nbytes for shard in shards)))
    for at in range(0, rows, step):
        parts = [narrowed(shard, at, min(at + step, rows)) for shard in shards]
        arrays = [materialise(part, source.storage(part.storage)) for part in parts]
        yield np.concatenate(arrays, axis=1).reshape(-1).view(np.uint8).data


def _same(shards: Sequence[View], source: Contents) -> memoryview:
    import numpy as np

    first, *others = (
        materialise(shard, source.storage(shard.storage)).reshape(-1).view(np.uint8)
        for shard in shards
    )
    if any(not np.array_equal(first, other) for other in others):
        raise FormatError(
            "differs between the tensor-parallel ranks, and there is no rule that joins it; "
            "leave it out with --drop, or gather the model with its own tools"
        )
    return first.data

"""Which stored tensors a call of a model in PyTorch depends on: what reaches its results.

A layer that runs without its result being used is dead code, which every exporter leaves out. So
a read alone does not count; each storage carries the set of those that it was computed from.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ascend_migrate.validators.torch_operators import intercepting

if TYPE_CHECKING:
    import torch


class Reads:
    """Where the values of each storage came from, by address.

    Where it cannot be told, everything counts as reached: what leaves the tensors for Python (a
    branch, a size) steers whatever comes after it.

    Args:
        made: told of each result that comes of no other storage.
    """

    def __init__(self, made: Callable[["torch.Tensor"], None]) -> None:
        self._made = made
        self._sources: dict[int, frozenset[int]] = {}
        self._left: set[int] = set()

    def operator(self, func: Any, given: Iterable["torch.Tensor"], result: Any) -> None:
        """Notes one call of an operator."""
        import torch
        from torch.utils import _pytree as pytree

        places = {_place(tensor) for tensor in given}
        sources = frozenset().union(*(self._of(place) for place in places))
        schema, tags = getattr(func, "_schema", None), getattr(func, "tags", ())
        leaves = [leaf for leaf in pytree.tree_leaves(result) if leaf is not None]
        steers = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output} & set(tags)
        if schema is None or steers or not all(isinstance(x, torch.Tensor) for x in leaves):
            self._left |= sources
        if schema is None or schema.is_mutable:
            self._sources |= dict.fromkeys(places, sources)
        # Its own memory is new, whatever was at that address before; a view has its source's.
        fresh = {_place(x) for x in leaves if isinstance(x, torch.Tensor)} - places
        self._sources |= dict.fromkeys(fresh, sources)
        for leaf in () if sources else leaves:
            if isinstance(leaf, torch.Tensor):
                self._made(leaf)

    def reached(self, results: Iterable["torch.Tensor"], state: Iterable[int]) -> set[int]:
        """Returns the storages behind the results, and behind whatever changed the state."""
        kept = (place for place in state if place in self._sources)
        ends = [*map(_place, results), *kept]
        return self._left.union(*(self._of(place) for place in ends))

    def _of(self, place: int) -> frozenset[int]:
        return self._sources.get(place, frozenset({place}))


def _place(tensor: "torch.Tensor") -> int:
    return tensor.untyped_storage().data_ptr()


@contextmanager
def recorded_reads(made: Callable[["torch.Tensor"], None] = lambda _: None) -> Iterator[Reads]:
    """Notes every operator that runs while it is open.

    Args:
        made: told of each result that comes of no stored tensor and of no input.
    """
    import torch
    from torch.utils import _pytree as pytree

    reads = Reads(made)

    def handle(func: Any, args: Any, kwargs: Any) -> Any:
        leaves = pytree.tree_leaves((args, kwargs))
        given = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        result = func(*args, **kwargs)
        reads.operator(func, given, result)
        return result

    with intercepting(handle):
        yield reads

"""The original's intermediates as sketches, and which of them a tensor of an artifact equals.

Names of nodes collide and drift from one exporter to the next. Values do not: a tensor that is
computed rightly equals one of the original's of as many elements, to within that one's own noise.
The limits are those of the outputs (`tolerances`), on the noise of each tensor.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ascend_migrate.pipeline.dtypes import BY_NAME
from ascend_migrate.pipeline.errors import ModelError
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import Form
from ascend_migrate.validators.cases import Feeds
from ascend_migrate.validators.localisation.sketch import Sketch, distances, sketch
from ascend_migrate.validators.original import NoExactTwinError, Original, Traced, Visit
from ascend_migrate.validators.tolerances import NOISE_PEAK, NOISE_RMS, Limit, allowed, floor_of


@dataclass(frozen=True, slots=True)
class Intermediate:
    """One intermediate of the original.

    Attributes:
        name: as `Traced` has it.
        module: qualified name of the module that computes it.
        own: in the original's own precision.
        exact: in float64; ``own`` where there is no twin, or none that is comparable.
        epsilon: unit roundoff of its type; 0 for integers and bools, which have no noise.
    """

    name: str
    module: str
    own: Sketch
    exact: Sketch
    epsilon: float


@dataclass
class Alignment:
    """All intermediates of one call, in the order in which they were computed.

    Attributes:
        intermediates: of at least one element each.
        floor: of the runtime that is judged.
    """

    intermediates: Sequence[Intermediate]
    floor: Limit
    _by_size: dict[int, NDArray[np.intp]] = field(init=False)
    _limits: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        """Sorts them by size, and finds out what each may be off by."""
        noises = [float(distances(i.own, i.exact.sums)[0]) for i in self.intermediates]
        shares = [
            noise / item.exact.scale
            for noise, item in zip(noises, self.intermediates, strict=True)
            if item.epsilon and item.exact.scale
        ]
        # One tensor may round luckily; the median is what the model usually does.
        usual = float(np.median(shares)) if shares else 0.0
        self._limits = np.array([_limits(i, usual, self.floor) for i in self.intermediates])
        self._limits = self._limits.reshape(-1, 2)
        sizes: dict[int, list[int]] = {}
        for number, item in enumerate(self.intermediates):
            sizes.setdefault(item.own.size, []).append(number)
        self._by_size = {size: np.array(numbers) for size, numbers in sizes.items()}

    def of_size(self, size: int) -> list[int]:
        """Returns the numbers of the intermediates of as many elements."""
        return [int(n) for n in self._by_size.get(size, ())]

    def equals(self, found: Sketch) -> list[tuple[int, float]]:
        """Returns the numbers of the intermediates that a tensor equals, in order.

        Each with the share of the limit that its distance takes, at most 1.
        """
        numbers = self.of_size(found.size)
        used = self.used(found, numbers)
        return [(n, u) for n, u in zip(numbers, used, strict=True) if u <= 1]

    def used(self, found: Sketch, numbers: Sequence[int]) -> list[float]:
        """Returns a tensor's distance to intermediates of as many elements, in their limits.

        Infinity where only one of the two is finite, and where the sizes differ.
        """
        items = [self.intermediates[n] for n in numbers]
        if not found.size or any(item.own.size != found.size for item in items) or not items:
            return [np.inf] * len(items)
        limits = self._limits[list(numbers)]
        best = np.full(len(items), np.inf)
        for sums in ([i.own.sums for i in items], [i.exact.sums for i in items]):
            mean, peak = distances(found, np.stack(sums))
            with np.errstate(divide="ignore", invalid="ignore"):
                shares = np.maximum(mean / limits[:, 0], peak / limits[:, 1])
            # 0 / 0 is an equal integer; any other NaN is no equality.
            shares = np.where(mean == 0, 0.0, np.where(np.isnan(shares), np.inf, shares))
            best = np.minimum(best, shares)
        same = np.array([i.own.strange == found.strange for i in items])
        return [float(x) for x in np.where(same, best, np.inf)]


def aligned(
    items: Sequence[Intermediate], form: Form, precision: Precision | None = None
) -> Alignment:
    """Returns the intermediates of a call, to be compared with those of a form under a policy."""
    return Alignment(items, floor_of(form, precision.dtype if precision else "float32"))


def intermediates(
    original: Original,
    feeds: Feeds,
    precision: Precision | None = None,
    shown: Visit = lambda _item: None,
) -> list[Intermediate]:
    """Runs the original twice, in its own precision and in float64, and keeps sketches.

    Args:
        original: to be run.
        feeds: one array for each input.
        precision: the policy that the artifact is under, whose rounding then counts as noise.
        shown: is shown each that is kept, in its own precision.

    Raises:
        NoTraceError: it shows no intermediates.
        ModelError: it fails.
    """
    exact: dict[str, Sketch] = {}
    try:
        original.trace(feeds, lambda item: _keep(exact, item), exact=True)
    except (NoExactTwinError, ModelError):  # where the original itself fails, it does so below
        exact = {}
    found: list[Intermediate] = []

    def visit(item: Traced) -> None:
        if not item.array.size:
            return
        own = sketch(item.array)
        epsilon = BY_NAME[item.array.dtype.name].epsilon or 0.0
        if precision is not None and epsilon:
            epsilon = max(epsilon, precision.epsilon)
        twin = exact.get(item.name, own)
        found.append(
            Intermediate(item.name, item.module, own, _comparable(own, twin, epsilon), epsilon)
        )
        shown(item)

    original.trace(feeds, visit, precision=precision)
    return found


def tells(found: Sketch) -> bool:
    """Whether equality of a tensor says something: not all of its elements are one number."""
    if not found.floating or not found.scale:
        return False
    parts = np.abs(found.sums)
    return bool(np.ptp(parts) > 0) if found.size > 1 else float(parts[0]) % 0.5 != 0


def _keep(into: dict[str, Sketch], item: Traced) -> None:
    into[item.name] = sketch(item.array)


def _comparable(own: Sketch, exact: Sketch, epsilon: float) -> Sketch:
    """Returns ``exact`` unless it is another thing: the lowest number of its type, as masks use."""
    if own.size != exact.size or own.strange != exact.strange:
        return own
    mean, _ = distances(own, exact.sums)
    return exact if mean <= np.sqrt(epsilon) * own.scale else own


def _limits(item: Intermediate, usual: float, floor: Limit) -> tuple[float, float]:
    """Returns what root mean square and largest bucket may differ by."""
    if not item.epsilon:
        return 0.0, 0.0
    mean, peak = (float(x) for x in distances(item.own, item.exact.sums))
    scale, spread = item.own.scale, np.sqrt(item.own.per_bucket)
    noise = max(mean, usual * scale)
    return (
        allowed(noise, scale, item.epsilon, NOISE_RMS, floor),
        allowed(max(peak, noise * spread), scale * spread, item.epsilon, NOISE_PEAK, floor),
    )

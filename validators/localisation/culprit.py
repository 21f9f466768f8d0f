"""Finds the first step of an artifact that computes something else than the original.

A step is a *suspect* when neither what it makes nor anything made of it equals an intermediate of
the original. The first suspects are those that are fed rightly: culprits, or steps that have no
counterpart. What decides between them is a trial: where the original's value in place of a step's
own makes what comes after it right, that step was wrong and nothing before it; where it does not,
the step is a victim, or innocent.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.precision import MOVES, SPREADING
from ascend_migrate.validators.cases import Array, Feeds
from ascend_migrate.validators.localisation.alignment import Alignment, tells
from ascend_migrate.validators.localisation.counterparts import Counterparts
from ascend_migrate.validators.localisation.fault_kinds import SAME_SCALE
from ascend_migrate.validators.localisation.flow import Flow
from ascend_migrate.validators.localisation.sketch import Sketch, distances, sketch
from ascend_migrate.validators.localisation.steps import StepError, Steps

_CHANGING = SPREADING | {"BiasAdd", "Identity", "Pow", "RealDiv", "Relu", "Transpose"}
"""Operators that are there to change what they read, MindIR's among them; and what a term that was
dropped leaves behind."""


_SIZES = frozenset({"Shape", "Size"})
"""Operators whose results say nothing of the elements that they read."""


Values = Callable[[Collection[str]], Mapping[str, Array]]
"""Tells the values of those of the original's intermediates of these names that are known."""


class TimeUpError(Exception):
    """The search took too long; never leaves validators."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """The first wrong step.

    Attributes:
        step: its number.
        tensor: the first tensor that is known to be wrong; made by that step, or soon after.
        maker: number of the step that makes it.
        number: of the original's intermediate that it should have been; -1 if not known.
        expected: its value there, in the sizes and type of the artifact; None if not known.
        mended: whether the outputs become right with it in its place.
        later: what each tensor is once it is in its place, for the growth of the error.
    """

    step: int
    tensor: str
    maker: int
    number: int = -1
    expected: Array | None = None
    mended: bool = False
    later: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)


class Search:
    """One search.

    Args:
        subject: the artifact.
        alignment: the original's intermediates on the same inputs.
        values: tells the values of those that are known whole.
        feeds: the inputs.
        own: the original's outputs.
        deadline: as `time.monotonic` counts.
        failed: outputs that are wrong in a part, which the whole may not show.

    Attributes:
        sketches: of every tensor of the artifact that depends on its inputs.
        equal: what each of them equals.
    """

    def __init__(  # noqa: PLR0913 - what is compared with what
        self,
        subject: Steps,
        alignment: Alignment,
        values: Values,
        *,
        feeds: Feeds,
        own: Mapping[str, Array],
        deadline: float,
        failed: Collection[str] = (),
    ) -> None:
        self._subject, self._alignment, self._told = subject, alignment, values
        self._feeds, self._own, self._deadline = feeds, own, deadline
        self.sketches = self._seen({})
        self._failed = {subject.outputs[name] for name in failed if name in subject.outputs}
        self.equal = {
            name: [] if name in self._failed else alignment.equals(item)
            for name, item in self.sketches.items()
        }
        self._flow = Flow(subject.steps)
        self._idle = self._idle_ones()
        claimed = {n for name, found in self.equal.items() if self.is_right(name) for n, _ in found}
        self._counterparts = Counterparts(alignment, claimed)

    def is_right(self, name: str) -> bool:
        """Whether a tensor equals one of the original's, and that says something."""
        return bool(self.equal[name]) and tells(self.sketches[name])

    def outputs_right(self) -> bool:
        """Whether every output equals one of the original's."""
        names = self._subject.outputs.values()
        return all(self.equal.get(name) for name in names)

    def is_doubted(self, name: str) -> bool:
        """Whether a tensor is wrong in a part, as is known from elsewhere, and not as a whole."""
        return name in self._failed and bool(self._alignment.equals(self.sketches[name]))

    def in_order(self) -> list[str]:
        """Returns the names of the tensors in the order in which they are computed."""
        return sorted(self.sketches, key=lambda name: self._flow.makers[name])

    def find(self, weights: Mapping[str, str]) -> Culprit | None:
        """Returns the first wrong step; None where every tensor seems right.

        When time is up it is the first suspect, untried.

        Args:
            weights: the tensors that the ledger found wrong, each with the cause.
        """
        suspects = self._suspects()
        # In the order of the graph no victim comes before the culprit.
        with suppress(TimeUpError):
            for maker in sorted(suspects):
                found = self._trial(maker, suspects)
                if found is not None:
                    return self._blamed(found, suspects, weights)
        number = self._likeliest(suspects)
        if number is None:
            return None
        tensor = self._made(number)[0]
        untried = Culprit(number, tensor, number, self._counterpart(tensor, number, suspects))
        return self._blamed(untried, suspects, weights)

    def read_wrong(self, number: int, weights: Mapping[str, str]) -> list[str]:
        """Returns the tensors of ``weights`` that a step reads, through others if need be."""
        step = self._subject.steps[number]
        found = [name for name in step.inputs if name in weights]
        for name in step.inputs:
            maker = self._flow.makers.get(name)
            if maker is not None and name not in self.sketches:
                found += self.read_wrong(maker, weights)
        return found

    def guilty(self, found: Culprit) -> list[int]:
        """Returns the steps from the wrong one to the tensor, and what prepares their constants."""
        return self._flow.with_unseen(self._flow.between(found.step, found.maker), self.sketches)

    def _suspects(self) -> set[int]:
        """Returns the steps that make floats of which nothing right is made."""
        proved: set[int] = set()
        waiting = [
            self._flow.makers[n] for n in self.sketches if self.is_right(n) and n not in self._idle
        ]
        while waiting:
            number = waiting.pop()
            if number not in proved:
                proved.add(number)
                if self._subject.steps[number].operator not in _SIZES:
                    waiting += self._flow.feeders(number, self._is_whole_number)
        return {
            number
            for number in range(len(self._subject.steps))
            if number not in proved
            and any(not self.equal[n] or n in self._idle for n in self._made(number))
        }

    def _idle_ones(self) -> set[str]:
        """Returns the tensors that equal what the original holds less often than the artifact.

        A step that did nothing, as for want of its bias, makes what it read once more, and what
        comes after it may repeat what was right before it. What only moves elements on does not
        count.
        """
        idle: set[str] = set()
        held: Counter[tuple[int, ...]] = Counter()
        keys = {name: tuple(n for n, _ in found) for name, found in self.equal.items()}
        for name in self.in_order():
            step, key = self._subject.steps[self._flow.makers[name]], keys[name]
            same = [x for x in step.inputs if key and keys.get(x) == key]
            if same and step.operator not in _CHANGING:
                if idle.issuperset(same):
                    idle.add(name)
                continue
            held[key] += 1
            if key and held[key] > len(key):
                idle.add(name)
        return idle

    def _made(self, number: int) -> list[str]:
        """Returns the floats that a step makes of the inputs."""
        made = [n for n in self._subject.steps[number].outputs if n in self.sketches]
        return [n for n in made if self.sketches[n].floating and self.sketches[n].size]

    def _is_whole_number(self, name: str) -> bool:
        """Whether a tensor holds sizes, places or decisions, which say little of floats before."""
        return name in self.sketches and not self.sketches[name].floating

    def _trial(self, maker: int, suspects: set[int]) -> Culprit | None:
        """Puts the original's values in place of what a step makes, and looks what that mends."""
        best: tuple[int, Culprit] | None = None
        equal = self._fed_by(maker, suspects)
        for tensor in self._made(maker):
            numbers = self._counterparts.of(self.sketches[tensor], equal)
            values = self._values(numbers)
            for number in filter(values.__contains__, numbers):
                found = self._replaced(tensor, maker, number, values[number])
                if found is None:
                    continue
                if found[1].mended:
                    return found[1]
                if best is None or found[0] > best[0]:
                    best = found
        return None if best is None else best[1]

    def _likeliest(self, suspects: set[int]) -> int | None:
        """Returns the suspect to name where no value is known that could be tried.

        Of those that are fed rightly the first that is like something of the original's: the others
        may have no counterpart there, as a state of zeros has none.
        """
        dull = {
            n
            for n in suspects
            if self._subject.steps[n].operator in MOVES
            and not any(tells(self.sketches[t]) for t in self._made(n))
        }
        among = suspects - dull or suspects
        fed = [n for n in among if not self._flow.feeders(n) & among]
        return min(fed, key=lambda n: (self._unlike(n, suspects), n), default=None)

    def _unlike(self, number: int, suspects: set[int]) -> bool:
        """Whether nothing that a step makes is like what it may have to be."""
        return not any(
            self._counterparts.is_like(
                self.sketches[name], self._counterpart(name, number, suspects)
            )
            for name in self._made(number)
        )

    def _counterpart(self, tensor: str, maker: int, suspects: set[int]) -> int:
        """Returns the number of what a tensor most likely has to be, or -1."""
        return self._counterparts.likeliest(self.sketches[tensor], self._fed_by(maker, suspects))

    def _fed_by(self, maker: int, suspects: set[int]) -> list[int]:
        """Returns what a step and the suspects before it read of the original's intermediates."""
        numbers = self._flow.before(maker, suspects)
        read = {name for number in numbers for name in self._subject.steps[number].inputs}
        return [self.equal[name][0][0] for name in sorted(read) if self.equal.get(name)]

    def _values(self, numbers: Sequence[int]) -> dict[int, Array]:
        """Returns the values of a few of the original's intermediates, as far as they are known."""
        self._check_time()
        names = {n: self._alignment.intermediates[n].name for n in numbers}
        told = self._told(set(names.values()))
        return {n: told[name] for n, name in names.items() if name in told}

    def _replaced(
        self, tensor: str, maker: int, number: int, value: Array
    ) -> tuple[int, Culprit] | None:
        """Returns how many tensors a replacement makes right, and what is then known."""
        shape = self.sketches[tensor].shape
        dtype = self._dtypes[tensor]
        alike = value.size == np.prod(shape, dtype=np.int64)
        with np.errstate(over="ignore", invalid="ignore"):
            expected = (value.reshape(shape) if alike else value).astype(dtype)
        try:
            sketches = self._seen({tensor: expected})
        except (StepError, CheckError):  # it does not fit there
            return None
        later: dict[str, list[tuple[int, float]]] = {}
        for name in self._flow.after([tensor]):
            if name in sketches and not self.equal.get(name):
                equal = self._alignment.equals(sketches[name])
                if equal and tells(sketches[name]):
                    later[name] = equal
        ends = [n for n in self._subject.outputs.values() if not self.equal.get(n)]
        mended = all(n in later or n == tensor for n in ends)
        if tensor in ends:
            # Nothing comes after it that could tell; the original's outputs do.
            last = self._alignment.equals(sketch(expected))
            mended = mended and any(self._is_output(n) for n, _ in last)
            if not later and not mended:
                return None
        elif not later:
            return None
        later[tensor] = [(number, 0.0)]
        return len(later), Culprit(maker, tensor, maker, number, expected, mended, later)

    def _is_output(self, number: int) -> bool:
        own = self._alignment.intermediates[number].own
        return any(
            array.size == own.size and not distances(own, sketch(array).sums)[0] > own.scale * 1e-3
            for array in self._own.values()
        )

    def _blamed(self, found: Culprit, suspects: set[int], weights: Mapping[str, str]) -> Culprit:
        """Blames the first step on the way to the tensor that reads a wrong weight, if any."""
        seen = self._flow.before(found.maker, suspects)
        # A weight in another's place may make what the other should, which then seems right.
        seen |= {number for late in seen for number in self._flow.feeders(late)}
        guilty = [number for number in seen if self.read_wrong(number, weights)]
        return replace(found, step=min(guilty) if guilty else self._behind_moves(found, suspects))

    def _behind_moves(self, found: Culprit, suspects: set[int]) -> int:
        """Returns the step that computed what others only moved: elements are moved unchanged."""
        number = found.step
        if found.number < 0 or found.expected is None:
            return number
        right, wrong = self._alignment.intermediates[found.number].own, self.sketches[found.tensor]
        if abs(wrong.scale - right.scale) <= SAME_SCALE * right.scale:
            return number
        while self._subject.steps[number].operator in MOVES | {"ExpandDims"}:
            before = self._flow.feeders(number) & suspects
            if len(before) != 1:
                break
            number = before.pop()
        return number

    def _seen(self, instead: Mapping[str, Array]) -> dict[str, Sketch]:
        self._check_time()
        found: dict[str, Sketch] = {}
        self._dtypes: dict[str, np.dtype] = getattr(self, "_dtypes", {})

        def seen(name: str, array: Array) -> None:
            found[name] = sketch(array)
            self._dtypes[name] = array.dtype

        self._subject.observe(self._feeds, seen, instead)
        return found

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise TimeUpError

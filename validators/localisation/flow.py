"""Which steps of an artifact feed which."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from ascend_migrate.validators.localisation.steps import Step


class Flow:
    """The steps of one artifact, by what they make and read.

    Attributes:
        steps: in an order in which they can be computed.
        makers: number of the step that makes each value.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.makers: Mapping[str, int] = {
            name: number for number, step in enumerate(steps) for name in step.outputs
        }
        self._readers: dict[str, list[int]] = {}
        for number, step in enumerate(steps):
            for name in step.inputs:
                self._readers.setdefault(name, []).append(number)

    def feeders(self, number: int, skip: Callable[[str], bool] = lambda _: False) -> set[int]:
        """Returns the steps that make what a step reads, apart from values to ``skip``."""
        inputs = self.steps[number].inputs
        return {self.makers[x] for x in inputs if x in self.makers and not skip(x)}

    def before(self, number: int, within: set[int]) -> set[int]:
        """Returns a step and those of ``within`` whose results reach it through them."""
        waiting, found = [number], {number}
        while waiting:
            new = (self.feeders(waiting.pop()) & within) - found
            found |= new
            waiting += new
        return found

    def after(self, tensors: Iterable[str]) -> set[str]:
        """Returns everything that is made of tensors."""
        found: set[str] = set()
        waiting = [*tensors]
        while waiting:
            for number in self._readers.get(waiting.pop(), ()):
                new = set(self.steps[number].outputs) - found
                found |= new
                waiting += new
        return found

    def between(self, first: int, last: int) -> set[int]:
        """Returns the steps through which one step's results reach another, both included."""
        reached = {self.makers[name] for name in self.after(self.steps[first].outputs)}
        return {first} | self.before(last, reached)

    def with_unseen(self, numbers: Iterable[int], seen: Collection[str]) -> list[int]:
        """Returns steps and those that prepare what is not ``seen`` of their inputs, in order."""
        waiting, found = list(numbers), set[int]()
        while waiting:
            number = waiting.pop()
            found.add(number)
            waiting += self.feeders(number, lambda name: name in seen) - found
        return sorted(found)

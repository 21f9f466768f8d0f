"""What the validators ask of an original, whatever it is made of."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.validators.cases import Array, Feeds
from ascend_migrate.validators.ledger.weights import Weight

Outputs = dict[str, Array]
"""One array for each output, by the names that an exported graph gives them."""

Session = Callable[[Feeds], Outputs]
"""A loaded model: called as often as wanted, and remembering what the model remembers."""


REDUCED = "reduced"
"""In what is said about an original: what made it compute in less than its types promise."""


class NoExactTwinError(Exception):
    """The original cannot be computed in float64; the text says why. Never leaves validators."""


class NoTraceError(Exception):
    """The original does not show its intermediates; the text says why. Never leaves validators."""


@dataclass(frozen=True, slots=True)
class Traced:
    """One intermediate tensor of an original.

    Attributes:
        name: the same for every call with the same sizes, in whatever precision.
        module: qualified name of the module that computes it; "" for the model itself.
        array: its value; only valid until the next one is shown.
    """

    name: str
    module: str
    array: Array


Visit = Callable[[Traced], None]
"""Is shown the intermediates of a call one at a time, in the order in which they are computed."""


class Original(ABC):
    """The model whose outputs are the truth."""

    @abstractmethod
    def session(self) -> Session:
        """Loads the model anew, in its own precision.

        Raises:
            ModelError: the model cannot be built or, when called, fails on its declared inputs.
        """

    @abstractmethod
    def exact(self) -> Session:
        """Loads the model anew, all of its arithmetic widened to float64.

        Raises:
            NoExactTwinError: an operator lacks float64; raised here or by the first call.
        """

    @abstractmethod
    def lowered(self, precision: Precision, overflows: dict[str, float]) -> Session:
        """Loads the model anew; what the policy lowers is rounded to the lower type.

        Args:
            precision: the policy.
            overflows: filled, as the session is called, with each operation whose result left
                the lower type's range, and the largest number there.

        Raises:
            ModelError: it cannot be computed so; raised here or by the first call.
        """

    @abstractmethod
    def weights(
        self,
        feeds: Feeds,
        precision: Precision | None = None,
        constants: set[str] | None = None,
    ) -> Mapping[str, Weight]:
        """Returns every tensor of the source, and whether a call with ``feeds`` depends on it.

        Args:
            feeds: one array for each input.
            precision: describes as well what the policy's cast makes of each.
            constants: filled with the digests of large floats that are no tensor of the source:
                those that the model's code holds, and those that a call makes of nothing else.
        """

    @abstractmethod
    def about(self) -> Mapping[str, str]:
        """Returns what decides the numbers beside the model, such as versions and settings.

        Asked after the model has run: its own code may have changed them. With `REDUCED` where
        the outputs are less precise than the model's types.
        """

    def trace(
        self,
        feeds: Feeds,
        visit: Visit,
        *,
        exact: bool = False,
        precision: Precision | None = None,
    ) -> None:
        """Runs the model anew and shows every intermediate; none of them is held.

        Args:
            feeds: one array for each input.
            visit: is shown each, in order of execution.
            exact: runs the float64 twin.
            precision: otherwise, rounds what the policy lowers.

        Raises:
            NoTraceError: this kind of original shows none.
            NoExactTwinError: an operator lacks float64.
            ModelError: the model fails.
        """
        del feeds, visit, exact, precision
        raise NoTraceError("this original shows no intermediates")

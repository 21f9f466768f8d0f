"""What the validators ask of an original, whatever it is made of."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.validators.cases import Array, Feeds
from ascend_migrate.validators.ledger import Weight

Outputs = dict[str, Array]
"""One array for each output, by the names that an exported graph gives them."""

Session = Callable[[Feeds], Outputs]
"""A loaded model: called as often as wanted, and remembering what the model remembers."""


class NoExactTwinError(Exception):
    """The original cannot be computed in float64; the text says why. Never leaves validators."""


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
    def weights(self, feeds: Feeds, precision: Precision | None = None) -> Mapping[str, Weight]:
        """Returns every tensor of the source, and whether a call with ``feeds`` depends on it.

        Args:
            feeds: one array for each input.
            precision: describes as well what the policy's cast makes of each.
        """

    @abstractmethod
    def about(self) -> Mapping[str, str]:
        """Returns what decides the numbers beside the model, such as library versions."""

"""What `make power` writes down: counts by model and kind, and what the outputs did not show."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.power.peers import RULES
from tests.power.trials import Planted, Trial

from ascend_migrate.validators.tolerances import NOISE_PEAK, NOISE_RMS


@dataclass
class Counts:
    """Faults of one kind in one model.

    Attributes:
        planted: how many run.
        above: of these, how many are above the noise floor; the rest counts only those.
        fail: verdicts of FAIL.
        outputs: seen by the outputs alone.
        ledger: seen by the ledger alone.
        peers: seen by each peer's rule.
    """

    planted: int = 0
    above: int = 0
    fail: int = 0
    outputs: int = 0
    ledger: int = 0
    peers: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RULES, 0))

    def add(self, other: "Counts") -> None:
        """Adds other counts to these."""
        for name in ("planted", "above", "fail", "outputs", "ledger"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for rule, count in other.peers.items():
            self.peers[rule] += count

    @classmethod
    def of(cls, trial: Trial) -> "Counts":
        """Counts one fault."""
        if not trial.counts:
            return cls(planted=1)
        peers = {rule: int(seen) for rule, seen in trial.peers.items()}
        return cls(1, 1, int(trial.caught), int(trial.outputs), int(trial.ledger), peers)


@dataclass
class Row:
    """The counts of one group and kind."""

    group: str
    kind: str
    counts: Counts


@dataclass
class Unseen:
    """A fault that the outputs do not show, or that is none."""

    group: str
    kind: str
    place: str
    note: str
    strength: float
    reached: bool
    above: bool
    fail: bool

    @property
    def reason(self) -> str:
        """Says why it is not seen."""
        if not self.reached:
            return "no input that was tried reaches it"
        if self.strength == 0:
            return "no effect at all in float64"
        if not self.above:
            return f"{self.strength:.1g} of the original's own noise"
        allowed = f"{NOISE_RMS.value:g} on the whole, {NOISE_PEAK.value:g} at the worst element"
        return f"{self.strength:.2g} times the original's noise; allowed are {allowed}"


@dataclass
class Result:
    """What came of one model."""

    rows: list[Row]
    unseen: list[Unseen]
    unrunnable: int
    alarms: list[str]
    seconds: float

    @classmethod
    def of(cls, planted: Planted, seconds: float) -> "Result":
        """Counts the trials of one model."""
        rows: dict[tuple[str, str], Counts] = {}
        for trial in planted.trials:
            rows.setdefault((trial.group, trial.kind), Counts()).add(Counts.of(trial))
        return cls(
            [Row(*key, counts) for key, counts in sorted(rows.items())],
            [_unseen(t) for t in planted.trials if not (t.counts and t.outputs)],
            planted.unrunnable,
            planted.alarms,
            seconds,
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Result":
        """Inverse of `to_json`."""
        rows = [Row(r["group"], r["kind"], Counts(**r["counts"])) for r in data["rows"]]
        unseen = [Unseen(**item) for item in data["unseen"]]
        return cls(rows, unseen, data["unrunnable"], data["alarms"], data["seconds"])

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as plain JSON data."""
        return asdict(self)


def rows_of(results: Iterable[Result]) -> Iterator[Row]:
    """Yields the rows of several models."""
    for result in results:
        yield from result.rows


def total(rows: Iterable[Row]) -> Counts:
    """Adds up."""
    counts = Counts()
    for row in rows:
        counts.add(row.counts)
    return counts


def _unseen(trial: Trial) -> Unseen:
    said = (trial.group, trial.kind, trial.place, trial.note)
    return Unseen(*said, trial.strength, trial.reached, trial.counts, trial.caught)

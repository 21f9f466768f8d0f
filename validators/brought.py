"""Answers that a device gave elsewhere, looked up where a runtime would be asked.

`pipeline/cann/run_om.py` writes them on the machine with the device. They are found by the inputs
that they answer, whatever file these were read from, and never by the number of a case.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ascend_migrate.pipeline.cann.om_file import ANSWERS, read_om
from ascend_migrate.pipeline.cann.run_om import FIRST, LATER, SCHEMA, feeds_digest
from ascend_migrate.pipeline.digest import file_digest
from ascend_migrate.pipeline.errors import CheckError, EvidenceError, ToolchainError
from ascend_migrate.pipeline.evidence import recorded
from ascend_migrate.pipeline.onnx_signature import load_graph
from ascend_migrate.pipeline.printable import plain
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.closing import Closing
from ascend_migrate.validators.device.padding import padded_outputs, unpadded
from ascend_migrate.validators.original import Outputs

_KEYS = ("om", "golden", "runtime", "soc", "cann", "device", "cases")
_NAMED = ("runtime", "soc", "device")
"""What must be said: without it, nobody could tell a device's answers from others."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a device answered.

    Attributes:
        path: of the file.
        om: digest of the .om file that was asked.
        golden: digest of the golden file that held the questions.
        who: ``runtime``, ``soc``, ``cann`` and ``device`` in the words of the machine; the version
            of CANN is empty where the machine did not know it.
        cases: digests of the inputs of each case.
        turns: for each case the outputs of the first turn, and of the later one.
    """

    path: Path
    om: str
    golden: str
    who: Mapping[str, str]
    cases: tuple[str, ...]
    turns: tuple[tuple[Outputs, Outputs], ...]

    def check_asked(self, om: str, soc: str) -> None:
        """Proves that these are the answers of one file, given by the chip that it is for.

        Args:
            om: digest of the .om file.
            soc: its chip.

        Raises:
            EvidenceError: they are of another file, or of another chip.
        """
        if self.om != om:
            raise EvidenceError(f"{self.path}: are answers of another .om file; ask this one")
        if self.who["soc"] != soc:
            raise EvidenceError(
                f"{self.path}: were given by {self.who['soc']}; the file is for {soc}"
            )


def read_answers(path: Path) -> Answers:
    """Reads answers.

    Raises:
        EvidenceError: the file is missing, damaged or incomplete, or does not say who answered.
    """
    with recorded(path, "not the answers of a device", "run run_om.py there again") as file:
        about = dict(file.metadata() or {})
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about.get("schema") != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        missing = [key for key in _KEYS if key not in about]
        missing += [key for key in _NAMED if about.get(key) == ""]
        if missing:
            raise ValueError(f"it does not say its {', '.join(missing)}")
        cases = json.loads(about["cases"])
        if not cases or not all(isinstance(item, str) for item in cases):
            raise ValueError("it names no cases")
        turns = tuple(_turns(arrays, number) for number in range(len(cases)))
        if sum(len(one) + len(other) for one, other in turns) != len(arrays):
            raise ValueError("it has answers to no case")
    who = {key: plain(about[key]) for key in ("runtime", "soc", "cann", "device")}
    return Answers(path, about["om"], about["golden"], who, tuple(cases), turns)


def _turns(arrays: Mapping[str, Array], number: int) -> tuple[Outputs, Outputs]:
    first, later = (
        {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }
        for prefix in (f"{number}/{FIRST}/", f"{number}/{LATER}/")
    )
    if not first or first.keys() != later.keys():
        raise ValueError(f"case {number} was not answered twice")
    return first, later


class BroughtRunner(Closing):
    """A compiled file whose answers were brought back.

    Args:
        artifact: of the form om.
        path: of the answers; by default those beside it.

    Attributes:
        brought: digest of the answers; empty where they were asked for here and now.

    Raises:
        CheckError: there are none.
        EvidenceError: they are damaged, or of another file or chip.
    """

    level = "device"
    twin = ""

    def __init__(self, artifact: Artifact, path: Path | None = None) -> None:
        found = path or artifact.root / ANSWERS
        if not found.is_file():
            raise CheckError(
                f"no device was asked yet: {found.name} is not beside {artifact.entry}; run "
                "run_om.py of its bundle on a machine with the chip, then `import-om`"
            )
        self._answers = read_answers(found)
        said = read_om(artifact.path)
        self._answers.check_asked(said.files[artifact.entry], said.soc)
        who = self._answers.who
        # What was not asked here is known by what was written down elsewhere, and by no more.
        told = "" if path is not None else f", as {found.name} says"
        self.brought = file_digest(found) if path is None else ""
        self.name = f"{who['runtime']} on {who['device']}, CANN {who['cann'] or 'unknown'}{told}"
        graph = said.path.parent / said.graph
        # Where it is missing, that is a finding of its own.
        self._padded = padded_outputs(load_graph(graph)) if graph.is_file() else frozenset()
        self._left: dict[str, list[Outputs]] = defaultdict(list)
        # Two cases may have the same inputs: the judge asks both, then both once more.
        for turn in (0, 1):
            for key, turns in zip(self._answers.cases, self._answers.turns, strict=True):
                self._left[key].append(turns[turn])

    def close(self) -> None:
        """Frees the answers."""
        self._left.clear()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Returns the next answer to these inputs.

        Raises:
            CheckError: the padding of an output cannot be told from its results.
            ToolchainError: the device was not asked that, or not so often.
        """
        left = self._left.get(feeds_digest(feeds))
        if not left:
            raise ToolchainError(
                f"{self._answers.path.name}: the device was not asked everything that it is "
                "judged by; run run_om.py there with this golden file"
            )
        return unpadded(left.pop(0), self._padded)

"""One architecture of the zoo: code, sizes, inputs, and what is known to stop it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LIBRARY = "transformers_models:build"


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
        model: name of a class: of the transformers library, or of the file that ``code`` names.
        config: arguments of its configuration; small sizes, everything else as it comes.
        inputs: in the grammar of ``--input``.
        cause: words of the one line that says why it does not pass; empty where it passes.
        code: ``MODULE:CALLABLE`` of a file in the folder ``models``.
    """

    model: str
    config: Mapping[str, Any]
    inputs: tuple[str, ...]
    cause: str = ""
    code: str = LIBRARY

    @property
    def kwargs(self) -> dict[str, Any]:
        """Arguments of the callable."""
        if self.code != LIBRARY:
            return {}
        return {"model": self.model, "config": dict(self.config)}

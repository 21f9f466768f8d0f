"""The table of MindSpore's primitives (primitives.json, see generate_primitives.py)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Primitive:
    """How one primitive is called in MindIR.

    Attributes:
        name: its name, which is also its ``op_type``.
        function: True if every argument is an input; False if those of the constructor are
            attributes of the primitive.
        inputs: argument names in the order of the call.
        defaults: values of the arguments (or attributes) that have one.
    """

    name: str
    function: bool
    inputs: tuple[str, ...]
    defaults: Mapping[str, Any]

    def arguments(self, given: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, ...]:
        """Returns all inputs of a call in order: those given, those named, then defaults.

        Raises:
            TypeError: too many, unknown or missing arguments: a fault of the caller's code.
        """
        if not self.function:
            return given
        rest = self.inputs[len(given) :]
        unknown = set(named) - set(rest)
        missing = [name for name in rest if name not in named and name not in self.defaults]
        if len(given) > len(self.inputs) or unknown or missing:
            raise TypeError(
                f"{self.name}{self.inputs}: {len(given)} given, unknown {sorted(unknown)}, "
                f"missing {missing}"
            )
        return given + tuple(named[n] if n in named else self.defaults[n] for n in rest)

    def attributes(self, named: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the attributes of the primitive itself (none for a function primitive)."""
        return {} if self.function else {**self.defaults, **named}


@cache
def table() -> Mapping[str, Primitive]:
    """Reads the table once; by name."""
    path = Path(__file__).with_name("primitives.json")
    entries = json.loads(path.read_text())["primitives"]
    return {name: _primitive(name, entry) for name, entry in entries.items()}


def _primitive(name: str, entry: Mapping[str, Any]) -> Primitive:
    function = entry["kind"] == "function"
    defaults = entry["defaults" if function else "attributes"]
    frozen = {key: tuple(v) if isinstance(v, list) else v for key, v in defaults.items()}
    # "x1"-like names only label the inputs; a legacy primitive with a list takes one tuple.
    return Primitive(entry.get("op_type", name), function, tuple(entry["inputs"]), frozen)

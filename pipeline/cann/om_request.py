"""What is asked of ATC: the chip, the precision and the sizes of one .om file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ascend_migrate.pipeline.digest import file_digest

DEFAULT_CANN = "8.1"
"""The version of CANN whose rules and operator library were read most closely."""

PRECISION_MODES = ("origin", "mixed_float16", "fp16", "mixed_bfloat16", "cube_fp16in_fp32out")
"""Values of ``--precision_mode_v2`` (hicann/ge, 2026-08) without those for 8-bit floats, the most
accurate first. ATC's own default is fp16; ours is origin, which changes no type."""

LOWERED: Mapping[str, str] = MappingProxyType(
    {
        "mixed_float16": "float16",
        "fp16": "float16",
        "cube_fp16in_fp32out": "float16",
        "mixed_bfloat16": "bfloat16",
    }
)
"""The type that a mode lowers float32 to; origin is not in here."""

LISTS: Mapping[str, str] = MappingProxyType(
    {
        "keep_dtype": "keep_dtype.cfg",
        "op_precision": "op_precision.ini",
        "mixlist": "modify_mixlist.json",
        "aipp": "aipp.cfg",
    }
)
"""Fields of a request that are files, with the names that those have in a folder of ours."""

BFLOAT16_FAMILIES = frozenset({"Ascend310B", "Ascend910B", "Ascend910_93"})
"""Chips that take a bfloat16 mode."""

HOST_CPUS = ("x86_64", "aarch64")


@dataclass(frozen=True, slots=True)
class OmRequest:
    """One compilation.

    Attributes:
        soc: exact chip, as ``--soc_version`` takes it.
        cann: version of CANN that it is meant for.
        precision_mode: one of `PRECISION_MODES`.
        keep_from: folder or JSON file of a forecast, whose precision mode and list are taken (see
            `keep_lists.settled`); None for none.
        keep_dtype: file with the operators that keep their type; None for none.
        op_precision: file that chooses the arithmetic of single operators, as float32 in place of
            HF32; None for none.
        mixlist: file that moves operators between the lists of a mixed mode; None for none.
        aipp: configuration of the preprocessing unit, which turns the input into uint8.
        output_type: type that all outputs are cast to, such as FP32; empty leaves them.
        host_cpu: processor of the host that will load the file; None for this one's.
        deterministic: whether sums are done in a fixed order.
    """

    soc: str
    cann: str
    precision_mode: str = "origin"
    keep_from: Path | None = None
    keep_dtype: Path | None = None
    op_precision: Path | None = None
    mixlist: Path | None = None
    aipp: Path | None = None
    output_type: str = ""
    host_cpu: str | None = None
    deterministic: bool = True

    def faults(self, family: str) -> list[str]:
        """Returns a line for each thing that ATC would not take; ``family`` is the chip's."""
        found = []
        if self.precision_mode not in PRECISION_MODES:
            known = ", ".join(PRECISION_MODES)
            found.append(f"precision mode {self.precision_mode!r} is none of {known}")
        if "bfloat16" in self.precision_mode and family not in BFLOAT16_FAMILIES:
            found.append(f"{self.soc} has no bfloat16; ask for mixed_float16")
        if self.keep_dtype is not None and self.precision_mode == "origin":
            found.append("a list of kept types has no effect with the precision mode origin")
        if self.mixlist is not None and not self.precision_mode.startswith("mixed"):
            found.append("a mix list has an effect with the mixed precision modes only")
        if self.host_cpu and self.host_cpu not in HOST_CPUS:
            found.append(f"host {self.host_cpu!r} is none of {', '.join(HOST_CPUS)}")
        return found

    def lists(self) -> Mapping[str, Path]:
        """Returns the files that go with the request, by the names of their fields."""
        return {name: file for name in LISTS if (file := getattr(self, name)) is not None}

    def identity(self) -> Mapping[str, Any]:
        """Returns what makes two .om files of one graph different."""
        return {
            "soc": self.soc,
            "cann": self.cann,
            "precision_mode": self.precision_mode,
            "output_type": self.output_type,
            "host_cpu": self.host_cpu,
            "deterministic": self.deterministic,
            "lists": {name: file_digest(file) for name, file in self.lists().items()},
        }

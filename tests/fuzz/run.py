"""Fuzzes the readers, one after the other: ``python -m tests.fuzz.run SECONDS [TARGET...]``.

The corpus is kept in ``fuzz-corpus``, and what breaks a reader in ``fuzz-findings``: after it is
mended it goes to ``tests/fuzz/findings/TARGET``, where the test suite reads it from then on.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import seeds
from tests.fuzz.targets import TARGETS

FINDINGS = Path(__file__).with_name("findings")


def fuzz(target: str, seconds: int, corpus: Path, findings: Path) -> int:
    """Runs the fuzzer on one reader; returns its exit code."""
    # In memory where there is such a folder: each input is a file.
    memory = Path("/dev/shm")  # noqa: S108
    known = FINDINGS / target
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        command = [
            *(sys.executable, "-P", "-m", "tests.fuzz.guided", target, scratch),
            *map(str, [corpus / target, *([known] if known.is_dir() else [])]),
            *(f"-max_total_time={seconds}", f"-artifact_prefix={findings / target}-"),
        ]
        return subprocess.run(
            command, check=False, env={**os.environ, "PYTHONPATH": "."}
        ).returncode


def main(seconds: int, chosen: list[str]) -> int:
    """Fuzzes the chosen readers, or all; returns how many broke."""
    corpus, findings = Path("fuzz-corpus"), Path("fuzz-findings")
    findings.mkdir(exist_ok=True)
    seeds.write(corpus)
    broken = [name for name in chosen or TARGETS if fuzz(name, seconds, corpus, findings)]
    for name in broken:
        print(f"{name} broke: see fuzz-findings/{name}-*", file=sys.stderr)  # noqa: T201
    return len(broken)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))

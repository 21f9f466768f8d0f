"""Coverage-guided fuzzing of one reader: ``guided TARGET SCRATCH CORPUS [OPTION...]``.

SCRATCH is a folder for the files that are read, CORPUS one of inputs, which is added to; the
options are libFuzzer's. Ends with another code than 0 at the first input that raises anything but
an error of ours, takes longer than 5 seconds, or more memory than a gigabyte.
"""

import sys
from contextlib import suppress
from pathlib import Path

import atheris

_LIMITS = ("-timeout=5", "-rss_limit_mb=1024", "-max_len=16384", "-print_final_stats=1")

_WATCHED = [
    "ascend_migrate",
    *{"unpickler": ["pickletools"], "archive": ["zipfile"]}.get(sys.argv[1], []),
]
"""Modules whose branches guide the fuzzer; watching one makes it slower."""

with atheris.instrument_imports(include=_WATCHED):
    from tests.fuzz.targets import TARGETS

    from ascend_migrate.pipeline.checkpoint import open_checkpoint
    from ascend_migrate.pipeline.errors import SourceError

    with suppress(SourceError):
        open_checkpoint(Path("none"))  # imports every reader


def _words() -> str:
    """Returns what no mutation finds by itself: the names that checkpoints use."""
    from ascend_migrate.pipeline.checkpoint.torch_names import _CALLS

    words = [f"{module}\\x0a{name}\\x0a" for module, name in _CALLS]
    words += ["storage", "weight_map", "data_offsets", "__metadata__", "ascend_migrate.tied"]
    words += ["PK\\x01\\x02", "PK\\x03\\x04", "PK\\x05\\x06", "PK\\x06\\x06", "\\x93NUMPY"]
    return "".join(f'"{word}"\n' for word in words)


def main(name: str, scratch: Path, options: list[str]) -> None:
    """Fuzzes until the options say stop."""
    words = scratch / "words"
    words.write_text(_words())
    inputs = scratch / "inputs"
    inputs.mkdir()
    target = TARGETS[name]
    atheris.Setup(
        [sys.argv[0], *_LIMITS, f"-dict={words}", *options], lambda data: target(data, inputs)
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])

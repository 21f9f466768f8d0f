"""One seam where everything that a damaged or hostile file can cause becomes a one-line error."""

import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.printable import in_one_line, plain

_SHOWN = 120
"""Characters of a name taken from a file that fit into a one-line message."""


class FormatError(ValueError):
    """A file breaks the rules of its format; the message gives the reason without the file."""


def shown(name: object) -> str:
    """Returns text from an untrusted file in quotes, on one line, at a bearable length."""
    text = str(name)
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def strict_json(text: bytes) -> Any:
    """Parses JSON in which no table has a name twice: readers disagree on which one counts.

    Raises:
        FormatError: a name occurs twice.
        ValueError: no JSON, or not in UTF-8.
    """
    return json.loads(text.decode("utf-8"), object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise FormatError(f"the name {shown(name)} occurs twice in one table; refused")
        found[name] = value
    return found


@contextmanager
def named(path: Path, what: str) -> Iterator[None]:
    """Turns every error of parsing into a `SourceError` that names the file.

    Args:
        path: the file that is read.
        what: what it is read as, such as ``"torch-zip"``.

    Raises:
        SourceError: anything that parsing can raise, in one line.
    """
    try:
        yield
    except FormatError as error:
        raise SourceError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        NotImplementedError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        # Libraries quote what they found, whatever it is.
        reason = plain(in_one_line(error)[:_SHOWN]) or type(error).__name__
        raise SourceError(
            f"{path}: damaged, cannot be read as {what} ({reason}); get a fresh copy of the file"
        ) from None

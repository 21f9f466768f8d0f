"""What is no file, what cannot be read, and names that a terminal would obey."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hostile.case import CHECKPOINT, Case
from tests.hostile.headers import of
from tests.hostile.words import GOOD, program, table, tensor, text, zipped

Write = Callable[[Path], object]

_TOO_LARGE = 1 << 40
"""Bytes of a sparse file: 1 TiB, of which nothing is there."""


def _socket(home: Path) -> None:
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(home)  # the path of a socket has at most 108 bytes
        try:
            made.bind("evil.pt")
        finally:
            os.chdir(here)


def _link(to: str) -> Write:
    return lambda home: (home / "evil.pt").symlink_to(to)


def _sparse(head: bytes) -> Write:
    def write(home: Path) -> None:
        (home / "evil.pt").write_bytes(head)
        os.truncate(home / "evil.pt", _TOO_LARGE)

    return write


def _file(data: bytes, name: str = "evil.pt") -> Write:
    return lambda home: (home / name).write_bytes(data)


def _places() -> dict[str, tuple[Write, str]]:
    return {
        "a pipe": (lambda h: os.mkfifo(h / "evil.pt"), "pipe"),
        "a socket": (_socket, "pipe"),
        "an endless device": (_link("/dev/zero"), "pipe"),
        "a device that waits": (_link("/dev/tty0"), ""),
        "a link to nothing": (_link("none"), "not exist"),
        "a link to itself": (_link("evil.pt"), ""),
        "an empty file": (_file(b""), "is empty"),
        "an empty folder": (lambda h: (h / "evil.pt").mkdir(), "is a folder"),
        "one byte": (_file(b"P"), "no known format"),
        "a NUL": (_file(b"\0" * 100), "no known format"),
        "a terabyte of nothing": (_sparse(b""), "no known format"),
        "a terabyte behind a zip's beginning": (_sparse(zipped(program(table(w=GOOD)))), ""),
        "a terabyte behind a safetensors file": (_sparse(of()), "behind its last"),
        "a terabyte behind a GGUF": (_sparse(b"GGUF\3\0\0\0"), ""),
        "a terabyte behind a legacy file": (
            _sparse(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."),
            "",
        ),
        "a tar file": (_file(b"\0" * 257 + b"ustar\0" + bytes(300)), "tar file"),
        "a gzip file": (_file(b"\x1f\x8b" + bytes(100)), "gzip"),
        "an HDF5 file": (_file(b"\x89HDF\r\n\x1a\n" + bytes(100)), "HDF5"),
        "a pointer of Git LFS": (_file(b"version https://git-lfs.github.com/spec/v1\n"), "LFS"),
        "an ELF program": (_file(b"\x7fELF" + bytes(100)), "no known format"),
        "a script": (_file(b"#!/bin/sh\ntouch canary\n"), "no known format"),
        "HTML": (_file(b"<html><body>Not found</body></html>"), "no known format"),
        "bare NumPy": (_file(b"\x93NUMPY\1\0" + bytes(100)), "NumPy array"),
    }


NAMES = {
    "a line break in its name": "evil\nname.pt",
    "terminal codes in its name": "evil\x1b[2J\x1b]0;x\x07.pt",
    "a right-to-left mark in its name": "evil\u202etp.pt",
    "no valid text for a name": os.fsdecode(b"evil\xff\xfe.pt"),
    "a percent sign in its name": "evil%s%n{0}.pt",
    "brackets in its name": "evil[bold]x[red].pt",
    "a dash before its name": "-evil.pt",
}


def _inner_names() -> dict[str, bytes]:
    """Good files but for one fault, with names inside that a terminal would obey."""
    code = "\x1b[2J\x1b]0;x\x07\n\r\u202e\x9b"

    def state(name: str, value: bytes) -> bytes:
        return zipped(program(b"}(" + text("w") + GOOD + text(name) + value + b"u"))

    broken = tensor(shape=b"(M\xff\x7ft")
    return {
        "terminal codes in a tensor's name": state(code, broken),
        "terminal codes in a key": zipped(
            program(b"}(" + text(code) + broken + text("w") + GOOD + b"u")
        ),
        "terminal codes in a class": zipped(program(table(w=GOOD, e=b"cos\nsys\x07tem\n)R"))),
    }


def cases() -> list[Case]:
    """Returns all of them."""

    def made(name: str, file: str, write: Write, reason: str, **more: Any) -> Case:
        return Case(f"place: {name}", "places and names", file, write, reason, CHECKPOINT, **more)

    found = [made(name, "evil.pt", write, said) for name, (write, said) in _places().items()]
    found += [
        made(what, name, _file(b"no checkpoint", name), "no known format", culprit="evil")
        for what, name in NAMES.items()
    ]
    found += [made(name, "evil.pt", _file(data), "") for name, data in _inner_names().items()]
    return found

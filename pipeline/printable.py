"""Text that may come from an untrusted file, made fit to be printed: nothing in it is obeyed."""

import json
from typing import Any


def plain(text: str) -> str:
    """Returns ``text`` on one line, each character that does not print as its escape.

    A name in a checkpoint may hold line breaks, terminal codes, or half a surrogate pair, which
    cannot be written at all.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def in_one_line(error: object) -> str:
    """Returns the message of an error, ours or a library's, without its line breaks."""
    return " ".join(str(error).split())


def first_line(error: object, limit: int = 300) -> str:
    """Returns the first telling line of a library's message, at most ``limit`` characters."""
    lines = (line.strip() for line in str(error).splitlines())
    text = next((line for line in lines if line), type(error).__name__)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def plain_lines(text: str) -> str:
    """Returns ``text`` with its line breaks, and otherwise as `plain` does."""
    return "\n".join(map(plain, text.split("\n")))


def readable_json(document: Any) -> str:
    """Returns indented JSON in which only characters that print stand for themselves."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    if text.replace("\n", "").isprintable():
        return text
    # Line breaks are JSON's own here: in its texts they are escaped already.
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")

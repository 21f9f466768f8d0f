"""How a version in the registry is called: NAME, NAME:VERSION, NAME:ALIAS or NAME@sha256:...

Names follow OCI's grammar of repository names and tags, so that a version keeps its name when it
is copied to a remote registry.
"""

import re
from dataclasses import dataclass

from ascend_migrate.pipeline.errors import SpecError

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"v([1-9][0-9]{0,8})")
_LOOKS_LIKE_VERSION = re.compile(r"[vV][0-9]+")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_EVIDENCE = re.compile(r"sha256-[0-9a-f]{64}\.evidence")

_MAX_NAME = 200
"""Remote registries limit host and name together to 255 characters."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference; at most one of ``tag`` and ``digest`` is not empty."""

    name: str
    tag: str = ""
    digest: str = ""


def parse_reference(text: str) -> Reference:
    """Reads NAME, NAME:VERSION, NAME:ALIAS or NAME@sha256:...

    Raises:
        SpecError: it is none of them.
    """
    name, at, digest = text.partition("@")
    tag = ""
    if at and not is_digest(digest):
        raise SpecError(text, ["after @ there must be sha256: and 64 lower-case hex digits"])
    if not at:
        name, colon, tag = text.partition(":")
        if colon and not _TAG.fullmatch(tag):
            raise SpecError(text, ["after : there must be a version such as v1, or an alias"])
    return Reference(check_name(name), tag, digest)


def check_name(name: str) -> str:
    """Returns ``name`` if it is one that a version can be published under.

    Raises:
        SpecError: it is not.
    """
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise SpecError(
            f"name {name!r}",
            [f"use up to {_MAX_NAME} lower-case letters, digits, and single . _ - / between them"],
        )
    return name


def check_alias(alias: str) -> str:
    """Returns ``alias`` if it is one that can name a version.

    Raises:
        SpecError: it is not, or it could be mistaken for a version or for evidence.
    """
    if not _TAG.fullmatch(alias):
        raise SpecError(f"alias {alias!r}", ["use up to 128 letters, digits and . _ -"])
    if _LOOKS_LIKE_VERSION.fullmatch(alias) or alias.lower().startswith("sha256-"):
        raise SpecError(f"alias {alias!r}", ["v1, v2, ... and sha256-... are the registry's own"])
    return alias


def is_digest(text: object) -> bool:
    """Says whether ``text`` is exactly sha256: and 64 lower-case hex digits."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def version_number(tag: str) -> int | None:
    """Returns the number of a version tag such as v3, or None."""
    match = _VERSION.fullmatch(tag)
    return int(match[1]) if match else None


def evidence_tag(digest: str) -> str:
    """Returns the tag that the evidence of a manifest is found by, also in a remote registry."""
    return f"{digest.replace(':', '-')}.evidence"


def is_evidence_tag(tag: str) -> bool:
    """Says whether ``tag`` is one that `evidence_tag` returns."""
    return _EVIDENCE.fullmatch(tag) is not None

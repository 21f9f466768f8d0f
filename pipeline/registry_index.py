"""What index.json means to the registry: versions, aliases with their history, and evidence.

Every entry is an OCI descriptor whose annotation org.opencontainers.image.ref.name is NAME:TAG.
Entries that are not ours are carried along untouched.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ascend_migrate.pipeline.errors import SpecError, StoreError
from ascend_migrate.pipeline.oci_layout import Descriptor
from ascend_migrate.pipeline.oci_manifest import (
    CREATED,
    EVIDENCE,
    EVIDENCE_TYPE,
    HISTORY,
    MANIFEST_TYPE,
    MODEL_TYPE,
    REF_NAME,
)
from ascend_migrate.pipeline.reference import (
    Reference,
    evidence_tag,
    is_digest,
    is_evidence_tag,
    parse_reference,
    version_number,
)

_LOG_LENGTH = 100
"""Moves of an alias that are kept: the index is read whole by every command."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A published version.

    Attributes:
        name: of the model.
        version: ``v1``, ``v2``, and so on.
        digest: of the model's manifest, its identity everywhere.
        evidence_digest: of the manifest that holds its evidence.
        published: when, in UTC.
        aliases: what else names this version, sorted.
    """

    name: str
    version: str
    digest: str
    evidence_digest: str
    published: str
    aliases: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the publication as plain JSON data."""
        return {
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "evidence_digest": self.evidence_digest,
            "published": self.published,
            "aliases": list(self.aliases),
        }


class RegistryIndex:
    """The entries of an index; the methods that change it change only this object."""

    def __init__(self, entries: Sequence[Descriptor]) -> None:
        self.entries = list(entries)

    def publications(self) -> list[Publication]:
        """Returns every version, by name and number."""
        tagged = [(*_tag_of(e), e) for e in self.entries]
        aliases: dict[tuple[str, str], list[str]] = {}
        for name, tag, entry in tagged:
            if HISTORY in _notes(entry):
                aliases.setdefault((name, entry["digest"]), []).append(tag)
        found = []
        for name, tag, entry in tagged:
            if version_number(tag) is None or entry.get("artifactType") != MODEL_TYPE:
                continue
            notes, digest = _notes(entry), entry["digest"]
            names = tuple(sorted(aliases.get((name, digest), ())))
            found.append(
                Publication(
                    name, tag, digest, notes.get(EVIDENCE, ""), notes.get(CREATED, ""), names
                )
            )
        return sorted(found, key=lambda p: (p.name, version_number(p.version) or 0))

    def resolve(self, ref: str) -> Publication:
        """Returns the version that ``ref`` means.

        Raises:
            SpecError: ``ref`` is malformed or names nothing.
        """
        wanted = parse_reference(ref)
        versions = [p for p in self.publications() if p.name == wanted.name]
        found = [p for p in versions if _matches(p, wanted)]
        if found:
            return found[-1]
        if not versions:
            known = ", ".join(sorted({p.name for p in self.publications()})) or "nothing yet"
            raise SpecError(ref, [f"no such name in the registry; it holds: {known}"])
        names = [n for p in versions for n in (p.version, *p.aliases)]
        raise SpecError(ref, [f"no such version; {wanted.name} has: {', '.join(names)}"])

    def entry(self, name: str, tag: str) -> Descriptor | None:
        """Returns the descriptor that is tagged ``name:tag``."""
        return next((e for e in self.entries if _tag_of(e) == (name, tag)), None)

    def add_version(
        self, name: str, model: Descriptor, evidence: Descriptor, published: str
    ) -> Publication:
        """Enters a version together with its evidence, under the next number."""
        numbers = [version_number(p.version) or 0 for p in self.publications() if p.name == name]
        version = f"v{max(numbers, default=0) + 1}"
        notes = {
            REF_NAME: f"{name}:{version}",
            CREATED: published,
            EVIDENCE: evidence["digest"],
        }
        self.entries.append(model | {"artifactType": MODEL_TYPE, "annotations": notes})
        tag = {REF_NAME: f"{name}:{evidence_tag(model['digest'])}"}
        self.entries.append(evidence | {"artifactType": EVIDENCE_TYPE, "annotations": tag})
        return Publication(name, version, model["digest"], evidence["digest"], published)

    def renew_evidence(self, publication: Publication, evidence: Descriptor) -> Publication:
        """Gives a version whose evidence was damaged another one."""
        tag = f"{publication.name}:{evidence_tag(publication.digest)}"
        self.entries = [e for e in self.entries if _notes(e).get(REF_NAME) != tag]
        self.entries.append(
            evidence | {"artifactType": EVIDENCE_TYPE, "annotations": {REF_NAME: tag}}
        )
        entry = self.entry(publication.name, publication.version)
        if entry is not None:
            entry["annotations"][EVIDENCE] = evidence["digest"]
        return replace(publication, evidence_digest=evidence["digest"])

    def point(self, alias: str, to: Publication, when: str) -> bool:
        """Lets ``alias`` name the version ``to``; returns whether that changes anything."""
        old = self.entry(to.name, alias)
        history = _history(old) if old else {"former": [], "log": []}
        if old and old["digest"] == to.digest:
            return False
        if old:
            history["former"].append(old["digest"])
        self._set_alias(alias, to, history, {"at": when, "action": "promote", "to": to.digest})
        return True

    def step_back(self, alias: str, to: Publication, when: str) -> None:
        """Lets ``alias`` name ``to``, which `former` returned, and forgets nothing in the log."""
        old = self.entry(to.name, alias)
        if old is None:
            raise SpecError(alias, ["no such alias"])
        history = _history(old)
        history["former"] = history["former"][:-1]
        move = {"at": when, "action": "rollback", "from": old["digest"], "to": to.digest}
        self._set_alias(alias, to, history, move)

    def former(self, text: str) -> tuple[str, Publication]:
        """Returns the alias that ``text`` (ALIAS or NAME:ALIAS) means, and what it named before.

        Raises:
            SpecError: no such alias, several, or it never named anything else.
        """
        name, _, alias = text.rpartition(":")
        found = [
            (*_tag_of(e), e)
            for e in self.entries
            if HISTORY in _notes(e) and _tag_of(e)[1] == alias and name in ("", _tag_of(e)[0])
        ]
        if len(found) != 1:
            several = ", ".join(f"{n}:{t}" for n, t, _ in found)
            raise SpecError(text, [f"write one of: {several}" if found else "no such alias"])
        name, alias, entry = found[0]
        before = _history(entry)["former"]
        if not before:
            raise SpecError(text, ["it never named another version, so there is no way back"])
        return alias, self.resolve(f"{name}@{before[-1]}")

    def drop_orphans(self) -> bool:
        """Drops evidence whose model is not in the index; returns whether there was any."""
        live = {evidence_tag(e["digest"]) for e in self.entries}
        kept = [
            e for e in self.entries if not is_evidence_tag(_tag_of(e)[1]) or _tag_of(e)[1] in live
        ]
        changed = len(kept) != len(self.entries)
        self.entries = kept
        return changed

    def _set_alias(
        self, alias: str, to: Publication, history: dict[str, Any], move: dict[str, str]
    ) -> None:
        target = self.entry(to.name, to.version)
        if target is None:
            raise SpecError(f"{to.name}:{to.version}", ["no such version"])
        history["log"] = [*history["log"], move][-_LOG_LENGTH:]
        notes = {
            REF_NAME: f"{to.name}:{alias}",
            HISTORY: json.dumps(history, sort_keys=True, separators=(",", ":")),
        }
        entry = {
            "mediaType": MANIFEST_TYPE,
            "artifactType": MODEL_TYPE,
            "digest": target["digest"],
            "size": target["size"],
            "annotations": notes,
        }
        self.entries = [e for e in self.entries if _tag_of(e) != (to.name, alias)] + [entry]


def _matches(publication: Publication, wanted: Reference) -> bool:
    if wanted.digest:
        return publication.digest == wanted.digest
    if wanted.tag:
        return wanted.tag in (publication.version, *publication.aliases)
    return True


def _notes(entry: Descriptor) -> dict[str, str]:
    notes: dict[str, str] = entry.get("annotations", {})
    return notes


def _tag_of(entry: Descriptor) -> tuple[str, str]:
    name, _, tag = _notes(entry).get(REF_NAME, "").partition(":")
    return name, tag


def _history(entry: Descriptor) -> dict[str, Any]:
    where = _notes(entry).get(REF_NAME, "")
    try:
        history: dict[str, Any] = json.loads(_notes(entry)[HISTORY])
        if not all(is_digest(d) for d in history["former"]) or not isinstance(history["log"], list):
            raise ValueError
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"index.json: the history of {where} is malformed") from error
    return history

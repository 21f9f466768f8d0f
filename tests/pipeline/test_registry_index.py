"""What the entries of an index mean."""

import json
from typing import Any

import pytest

from ascend_migrate.pipeline.errors import SpecError, StoreError
from ascend_migrate.pipeline.registry_index import Publication, RegistryIndex

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MODEL = "application/vnd.cncf.model.manifest.v1+json"
REF, HISTORY = "org.opencontainers.image.ref.name", "vnd.ascend-migrate.history"


def descriptor(number: int) -> dict[str, Any]:
    return {"mediaType": MANIFEST, "digest": f"sha256:{number:064x}", "size": number}


def digest(number: int) -> str:
    return str(descriptor(number)["digest"])


FOREIGN = [
    {**descriptor(90), "annotations": {REF: "toy:v7"}},  # no model
    {**descriptor(91), "artifactType": MODEL, "annotations": {REF: "toy:latest"}},  # no number
    {**descriptor(92), "artifactType": MODEL},
    {**descriptor(93), "annotations": {"a": "b"}},
]


@pytest.fixture
def index() -> RegistryIndex:
    """Foreign entries, toy:v1 to toy:v3 with the digests 1 to 3, and other:v1."""
    made = RegistryIndex(FOREIGN)
    for number in (1, 2, 3):
        made.add_version("toy", descriptor(number), descriptor(10 + number), f"day {number}")
    made.add_version("other", descriptor(4), descriptor(14), "day 4")
    return made


def test_versions_are_numbered_by_name(index: RegistryIndex) -> None:
    assert index.publications() == [
        Publication("other", "v1", digest(4), digest(14), "day 4"),
        *(Publication("toy", f"v{n}", digest(n), digest(10 + n), f"day {n}") for n in (1, 2, 3)),
    ]
    assert index.entries[: len(FOREIGN)] == FOREIGN


def test_versions_are_sorted_by_number(index: RegistryIndex) -> None:
    for number in range(20, 30):
        index.add_version("toy", descriptor(number), descriptor(10 + number), "")
    versions = [p.version for p in index.publications() if p.name == "toy"]
    assert versions == [f"v{n}" for n in range(1, 14)]


def test_entries_are_what_other_tools_read(index: RegistryIndex) -> None:
    assert index.entry("toy", "v2") == {
        **descriptor(2),
        "artifactType": MODEL,
        "annotations": {
            REF: "toy:v2",
            "org.opencontainers.image.created": "day 2",
            "vnd.ascend-migrate.evidence": digest(12),
        },
    }
    tag = f"{digest(2).replace(':', '-')}.evidence"
    assert index.entry("toy", tag) == {
        **descriptor(12),
        "artifactType": "application/vnd.ascend-migrate.evidence.v1+json",
        "annotations": {REF: f"toy:{tag}"},
    }


@pytest.mark.parametrize(
    ("ref", "version"),
    [("toy", "v3"), ("toy:v1", "v1"), ("toy:prod", "v2"), (f"toy@{digest(2)}", "v2")],
)
def test_resolves(index: RegistryIndex, ref: str, version: str) -> None:
    index.point("prod", index.resolve("toy:v2"), "now")
    assert index.resolve(ref).version == version


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ("none", "no such name in the registry; it holds: other, toy"),
        ("toy:v9", "no such version; toy has: v1, v2, prod, v3"),
        ("toy:latest", "no such version"),
        (f"toy@{digest(4)}", "no such version"),
        ("toy:v7", "no such version"),
        ("Toy", "lower-case"),
    ],
)
def test_names_nothing(index: RegistryIndex, ref: str, reason: str) -> None:
    index.point("prod", index.resolve("toy:v2"), "now")
    with pytest.raises(SpecError, match=reason):
        index.resolve(ref)


def test_an_empty_registry_says_so() -> None:
    with pytest.raises(SpecError, match="it holds: nothing yet"):
        RegistryIndex([]).resolve("toy")


def test_an_alias_moves_and_remembers(index: RegistryIndex) -> None:
    for number, when in ((1, "a"), (3, "b"), (2, "c")):
        assert index.point("prod", index.resolve(f"toy:v{number}"), when)
    assert index.resolve("toy:v2").aliases == ("prod",)
    assert index.resolve("toy:v1").aliases == index.resolve("toy:v3").aliases == ()
    entry = index.entry("toy", "prod")
    assert entry is not None
    assert json.loads(entry["annotations"][HISTORY]) == {
        "former": [digest(1), digest(3)],
        "log": [
            {"action": "promote", "at": when, "to": digest(number)}
            for number, when in ((1, "a"), (3, "b"), (2, "c"))
        ],
    }


def test_pointing_where_it_points_changes_nothing(index: RegistryIndex) -> None:
    index.point("prod", index.resolve("toy:v1"), "a")
    before = json.dumps(index.entries)
    assert not index.point("prod", index.resolve("toy:v1"), "b")
    assert json.dumps(index.entries) == before


def test_the_way_back(index: RegistryIndex) -> None:
    for number in (1, 2, 3):
        index.point("prod", index.resolve(f"toy:v{number}"), "now")
    for number in (2, 1):
        alias, before = index.former("prod")
        assert (alias, before.digest) == ("prod", digest(number))
        index.step_back(alias, before, "later")
        assert index.resolve("toy:prod").digest == digest(number)
    with pytest.raises(SpecError, match="no way back"):
        index.former("toy:prod")
    entry = index.entry("toy", "prod")
    assert entry is not None
    log = json.loads(entry["annotations"][HISTORY])["log"]
    assert [move["action"] for move in log] == ["promote"] * 3 + ["rollback"] * 2
    assert log[-1] == {
        "action": "rollback",
        "at": "later",
        "from": digest(2),
        "to": digest(1),
    }


def test_an_alias_of_two_names_must_be_said_in_full(index: RegistryIndex) -> None:
    for ref in ("toy:v1", "other:v1", "toy:v2"):
        index.point("prod", index.resolve(ref), "now")
    with pytest.raises(SpecError, match="write one of: other:prod, toy:prod"):
        index.former("prod")
    assert index.former("toy:prod")[1].version == "v1"
    for absent in ("none", "toy:none", "none:prod"):
        with pytest.raises(SpecError, match="no such alias"):
            index.former(absent)


def test_the_log_has_an_end(index: RegistryIndex) -> None:
    for turn in range(150):
        index.point("prod", index.resolve(f"toy:v{turn % 2 + 1}"), str(turn))
    entry = index.entry("toy", "prod")
    assert entry is not None
    log = json.loads(entry["annotations"][HISTORY])["log"]
    assert [move["at"] for move in log] == [str(turn) for turn in range(50, 150)]


HISTORIES = [
    *("", "{", "[]", "null", "{}", '{"former":[],"log":{}}', '{"former":"x","log":[]}'),
    *('{"former":["../x"],"log":[]}', '{"former":[1],"log":[]}', "[" * 100_000),
]


@pytest.mark.parametrize("text", HISTORIES)
def test_a_malformed_history(index: RegistryIndex, text: str) -> None:
    index.point("prod", index.resolve("toy:v1"), "now")
    entry = index.entry("toy", "prod")
    assert entry is not None
    entry["annotations"][HISTORY] = text
    with pytest.raises(StoreError, match="the history of toy:prod is malformed"):
        index.former("prod")
    with pytest.raises(StoreError, match="the history of toy:prod is malformed"):
        index.point("prod", index.resolve("toy:v2"), "now")


def test_evidence_is_renewed(index: RegistryIndex) -> None:
    old = index.resolve("toy:v2")
    new = index.renew_evidence(old, descriptor(50))
    assert new == index.resolve("toy:v2")
    assert new.evidence_digest == digest(50)
    digests = [entry["digest"] for entry in index.entries]
    assert digest(12) not in digests
    assert digests.count(digest(50)) == 1


def test_evidence_of_nothing_is_dropped(index: RegistryIndex) -> None:
    assert not index.drop_orphans()
    index.entries = [e for e in index.entries if e["digest"] != digest(2)]
    assert index.drop_orphans()
    assert [e for e in index.entries if e["digest"] == digest(12)] == []
    assert index.entries[: len(FOREIGN)] == FOREIGN
    assert len(index.publications()) == 3

"""How versions are called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascend_migrate.pipeline import reference
from ascend_migrate.pipeline.errors import SpecError
from ascend_migrate.pipeline.reference import Reference, parse_reference

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("toy", Reference("toy")),
        ("toy:v1", Reference("toy", "v1")),
        ("team/toy-2.x:prod", Reference("team/toy-2.x", "prod")),
        (f"toy@sha256:{HEX}", Reference("toy", digest=f"sha256:{HEX}")),
    ],
)
def test_parses(text: str, wanted: Reference) -> None:
    assert parse_reference(text) == wanted


BAD_NAMES = ["", "Toy", "../toy", "/toy", "toy/", "a//b", "-a", "a-", "a..b", "a b", "a\n", "é"]


@pytest.mark.parametrize("name", [*BAD_NAMES, ".a", "a" * 201])
def test_bad_names(name: str) -> None:
    with pytest.raises(SpecError, match="use up to 200 lower-case letters"):
        reference.check_name(name)
    with pytest.raises(SpecError):
        parse_reference(f"{name}:v1")


@pytest.mark.parametrize(
    "text",
    [
        *("toy:", "toy:-x", "toy:a/b", "toy:v1:v2", "toy:" + "a" * 129, "toy:a\n"),
        *("toy@", f"toy@{HEX}", f"toy@sha256:{HEX.upper()}", f"toy@sha256:{HEX}0"),
        *(f"toy@sha256:{HEX}\n", "toy@sha256:../../x", f"toy:v1@sha256:{HEX}"),
    ],
)
def test_bad_references(text: str) -> None:
    with pytest.raises(SpecError):
        parse_reference(text)


@pytest.mark.parametrize("alias", ["prod", "latest", "2024.1", "_x", "v", "v1a", "version1"])
def test_aliases(alias: str) -> None:
    assert reference.check_alias(alias) == alias


@pytest.mark.parametrize(
    ("alias", "reason"),
    [
        *((own, "registry's own") for own in ("v1", "V007", "SHA256-x")),
        *((bad, "use up to 128") for bad in ("", "a:b", "a/b", ".a", "a b", "a" * 129, "a\n")),
    ],
)
def test_bad_aliases(alias: str, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        reference.check_alias(alias)


@pytest.mark.parametrize(
    ("tag", "number"),
    [
        *(("v1", 1), ("v10", 10), ("v999999999", 999_999_999)),
        *((other, None) for other in ("v0", "v01", "V1", "v", "1", "v1 ", "v-1", "v1\n")),
    ],
)
def test_version_numbers(tag: str, number: int | None) -> None:
    assert reference.version_number(tag) == number


@pytest.mark.parametrize("thing", [None, 1, "", HEX, f"sha512:{HEX}", f"sha256:{HEX}\n", ["x"]])
def test_what_is_no_digest(thing: object) -> None:
    assert not reference.is_digest(thing)


def test_tags_of_evidence() -> None:
    tag = reference.evidence_tag(f"sha256:{HEX}")
    assert tag == f"sha256-{HEX}.evidence"
    assert reference.is_evidence_tag(tag)
    assert not reference.is_evidence_tag(f"sha256-{HEX}")
    assert reference.version_number(tag) is None


part = r"[a-z0-9]{1,5}([._-][a-z0-9]{1,5}){0,2}"
names = st.from_regex(rf"{part}(/{part}){{0,2}}", fullmatch=True)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(name=names, tag=tags)
def test_reads_back_what_it_is_called(name: str, tag: str) -> None:
    assert parse_reference(name) == Reference(name)
    assert parse_reference(f"{name}:{tag}") == Reference(name, tag)
    assert parse_reference(f"{name}@sha256:{HEX}") == Reference(name, digest=f"sha256:{HEX}")


@given(text=st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_reference(text)
    except SpecError:
        return
    assert found.name in text
    assert ".." not in found.name

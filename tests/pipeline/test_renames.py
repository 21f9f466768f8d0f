"""Rules for new names: against regular expressions, and in a checkpoint."""

import re
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.checkpoint.reference import assert_equal

from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.renames import Rename, rename_faults, renamed


def by_expression(pattern: str, new: str, name: str) -> str | None:
    """The reference: each ``*`` a group that takes as little as it can."""
    found = re.fullmatch("(.*?)".join(map(re.escape, pattern.split("*"))), name, re.S)
    if found is None:
        return None
    groups = iter(found.groups())
    return re.sub(r"\*", lambda _: next(groups), new)


TEXT = st.text("ab.*", max_size=7)


@given(TEXT, TEXT, st.text("ab.\n*", max_size=9))
def test_as_regular_expressions(pattern: str, new: str, name: str) -> None:
    if new.count("*") <= pattern.count("*"):
        assert Rename(pattern, new).apply(name) == by_expression(pattern, new, name)


@pytest.mark.parametrize(
    ("pattern", "new", "name", "expected"),
    [
        ("encoder.*", "model.*", "encoder.0.w", "model.0.w"),
        ("encoder.*", "model.*", "my.encoder.0.w", None),
        ("*.gamma", "*.weight", "a.b.gamma", "a.b.weight"),
        ("*.layers.*.fc.*", "*.h.*.mlp.*", "t.layers.3.fc.layers.fc.w", "t.h.3.mlp.layers.fc.w"),
        ("layers.*.attention.*", "blocks.*", "layers.7.attention.q", "blocks.7"),
        ("a[0]?", "b", "a[0]?", "b"),
        ("w", "v", "w", "v"),
        ("w", "v", "ww", None),
        ("a*a", "*", "a", None),
        ("*", "m.*", "größe.名", "m.größe.名"),
    ],
)
def test_rules(pattern: str, new: str, name: str, expected: str | None) -> None:
    assert Rename(pattern, new).apply(name) == expected


def test_the_first_rule_counts_and_each_name_is_renamed_once() -> None:
    rules = [Rename("a.*", "b.*"), Rename("b.*", "c.*"), Rename("*", "d.*")]
    table, counts = renamed(["a.x", "b.x", "x"], rules)
    assert table == {"a.x": "b.x", "b.x": "c.x", "x": "d.x"}
    assert list(counts.values()) == [1, 1, 1]


def test_many_stars_on_a_long_name_take_no_time() -> None:
    begin = time.monotonic()
    assert Rename("*a" * 40 + "*b", "x").apply("a" * 100_000) is None
    assert time.monotonic() - begin < 1.0  # a regular expression needs hours


def test_faults() -> None:
    assert rename_faults({"a.*": "b.*", "x": "y"}) == []
    assert len(rename_faults({"a": "b.*", "": "x", "y": ""})) == 3


STATE = {f"net.{n}": torch.tensor([float(i)]) for i, n in enumerate(("a.w", "b.w", "c"))}


def saved(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    torch.save(state, folder / "a.pt")
    return folder / "a.pt"


def test_in_a_checkpoint(tmp_path: Path) -> None:
    path = saved(tmp_path, {f"module.{n}": t for n, t in STATE.items()})
    rules = [Rename("net.*.w", "model.*.weight"), Rename("net.*", "*")]
    checkpoint = open_checkpoint(path, rename=rules)
    expected = {
        "model.a.weight": STATE["net.a.w"],
        "model.b.weight": STATE["net.b.w"],
        "c": STATE["net.c"],
    }
    assert_equal(checkpoint, expected)
    assert list(checkpoint.tensors) == list(expected)
    assert "2 name(s) renamed: net.*.w -> model.*.weight" in checkpoint.notes
    assert "1 name(s) renamed: net.* -> *" in checkpoint.notes


def test_two_names_may_be_swapped(tmp_path: Path) -> None:
    rules = [Rename("net.a.w", "net.b.w"), Rename("net.b.w", "net.a.w")]
    checkpoint = open_checkpoint(saved(tmp_path, STATE), rename=rules)
    swapped = {"net.a.w": STATE["net.b.w"], "net.b.w": STATE["net.a.w"], "net.c": STATE["net.c"]}
    assert_equal(checkpoint, swapped)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ([("net.*.w", "w")], "'net.a.w' and 'net.b.w' would both be named 'w'"),
        ([("net.a.w", "net.c")], "would both be named 'net.c'"),
        ([("encoder.*", "x.*")], "'encoder.* -> x.*' renames nothing"),
        ([("*", "m.*"), ("net.*", "x.*")], "'net.* -> x.*' renames nothing"),
        ([("net.c*", "*")], "'net.c' would have no name left"),
    ],
)
def test_refused(tmp_path: Path, rules: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_checkpoint(saved(tmp_path, STATE), rename=[Rename(*rule) for rule in rules])
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dropped_name_is_out_of_the_way(tmp_path: Path) -> None:
    rules = [Rename("net.a.w", "net.c")]
    checkpoint = open_checkpoint(saved(tmp_path, STATE), drop=["net.c"], rename=rules)
    assert_equal(checkpoint, {"net.c": STATE["net.a.w"], "net.b.w": STATE["net.b.w"]})

"""The published results; the runs themselves are `make zoo` and `make zoo-page`."""

from tests.zoo.attempt import PASS
from tests.zoo.entry import LIBRARY
from tests.zoo.page import page, share
from tests.zoo.run import PAGE, published
from tests.zoo.table import ARCHITECTURES, FAMILIES


def test_no_name_is_in_two_families() -> None:
    assert len(ARCHITECTURES) == sum(len(entries) for entries in FAMILIES.values())


def test_every_architecture_has_a_published_result() -> None:
    assert list(published()) == list(ARCHITECTURES)


def test_what_is_published_reaches_the_bars() -> None:
    assert share(published()) >= 0.9
    assert sum(entry.code == LIBRARY for entry in ARCHITECTURES.values()) >= 60


def test_each_is_judged_at_two_sizes_or_more() -> None:
    for entry in ARCHITECTURES.values():
        assert any(".." in text.partition("]")[0] for text in entry.inputs)


def test_only_the_known_ones_do_not_pass_and_for_the_known_reason() -> None:
    for name, result in published().items():
        cause = ARCHITECTURES[name].cause
        assert (result.outcome == PASS) == (cause == "")
        assert cause in result.note
        assert "\n" not in result.note


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(published())

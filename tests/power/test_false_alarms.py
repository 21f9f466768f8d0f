"""The published run reaches its bar, and is about the models that are there."""

from tests.power.conversions import NAMES
from tests.power.false_alarms import faults_of, published, section


def test_no_correct_conversion_was_refused() -> None:
    assert list(faults_of(published())) == []


def test_every_model_was_judged() -> None:
    assert list(published()) == list(NAMES)
    assert all(tally.judged >= 20 for tally in published().values())


def test_the_section_counts_what_the_peers_refuse() -> None:
    tallies = published()
    judged = sum(tally.judged for tally in tallies.values())
    said = section(tallies)
    assert f"{judged} correct conversions of {len(NAMES)} models" in said
    assert "| this project | 0 |" in said

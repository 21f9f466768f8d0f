"""The published results of the preflight; the runs themselves are `make zoo-preflight`."""

import pytest
from tests.zoo.preflight import CHIPS, Found, Result, fixed
from tests.zoo.preflight_page import ABSENT, AS_IS, FIXED, REFUSED, REWRITTEN, outcome, page
from tests.zoo.preflight_run import PAGE, published
from tests.zoo.table import ARCHITECTURES

CHIP = CHIPS[0]
FAILS = Found("transpose-perm", "fails", "Transpose", 1, "says")
SLOW = Found("cpu-kernel", "slow", "Expand", 1)


def test_every_architecture_has_a_published_result() -> None:
    assert list(published()) == list(ARCHITECTURES)


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(published())


def test_what_is_exported_is_accepted_on_every_chip() -> None:
    for name, result in published().items():
        for chip in CHIPS:
            found = outcome(result, chip)
            assert found != REFUSED, name
            assert (found == ABSENT) == bool(result.error), name


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5", "resnet", "unet", "whisper"])
def test_what_most_people_bring_needs_no_fixed_sizes(name: str) -> None:
    assert {outcome(published()[name], chip) for chip in CHIPS} <= {AS_IS, REWRITTEN}


def judged(before: list[Found], after: list[Found], verdict: str = "pass") -> Result:
    return Result(verdict=verdict, before={CHIP: before}, after={CHIP: after})


@pytest.mark.parametrize(
    ("result", "wanted"),
    [
        (judged([], []), AS_IS),
        (judged([SLOW], [SLOW]), AS_IS),
        (judged([FAILS], [SLOW]), REWRITTEN),
        (judged([FAILS], [FAILS]), REFUSED),
        (judged([], [], "fail"), REFUSED),
        (judged([], [], "not run"), REFUSED),
        (Result("a reason", before={CHIP: [FAILS]}), REFUSED),
        (Result("a reason", exported=False), ABSENT),
        (Result(refused="a reason", verdict="pass", before={CHIP: []}, after={CHIP: []}), FIXED),
    ],
)
def test_only_a_pass_without_a_finding_is_accepted(result: Result, wanted: str) -> None:
    assert outcome(result, CHIP) == wanted


def test_sizes_are_fixed_at_their_greatest() -> None:
    given = ("ids=int64[batch=1..4,time=2..16]:2..59", "mask=int64[batch,time]:0..1")
    assert fixed((*given, "x=float32[3,time]")) == (
        "ids=int64[4,16]:2..59",
        "mask=int64[4,16]:0..1",
        "x=float32[3,16]",
    )

import pytest

from ascend_migrate.pipeline.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("500B", 500),
        ("5GB", 5 * 10**9),
        ("5gb", 5 * 10**9),
        ("2GiB", 2 * 2**30),
        ("1.5 MB", 1_500_000),
        ("10K", 10_000),
        ("1TiB", 2**40),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "5 apples", "0", "0.1B", "1e9", "nan", "5GBB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no size|less than a byte"):
        parse_size(text)

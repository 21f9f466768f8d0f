from pathlib import Path

from ascend_migrate.validators import tolerances

PAGE = Path(__file__).parents[2] / "docs" / "tolerances.md"


def test_the_page_is_current() -> None:
    # To renew it: python -P -c "from ascend_migrate.validators.tolerances import page;
    # print(page(), end='')" > docs/tolerances.md
    assert PAGE.read_text(encoding="utf-8") == tolerances.page()


def test_every_limit_has_its_reason() -> None:
    module = {n: v for n, v in vars(tolerances).items() if isinstance(v, tolerances.Limit)}
    assert set(module.values()) == set(tolerances.LIMITS.values())
    assert all(len(limit.reason.split()) > 10 for limit in module.values())

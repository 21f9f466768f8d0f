from pathlib import Path

from ascend_migrate.converters.mindir.operators_page import page
from ascend_migrate.converters.mindir.registry import registry

PAGE = Path(__file__).parents[3] / "docs" / "operators.md"


def test_the_page_is_current() -> None:
    # To renew it: python -P -c "from ascend_migrate.converters.mindir.operators_page import page;
    # print(page(), end='')" > docs/operators.md
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_registered_operator_has_a_row() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, _ in registry():
        assert f"| [{name}](" in text

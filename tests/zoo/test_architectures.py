"""Every architecture of the table again, by the product's own verdict: `make zoo`."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest
from tests.workers import pool
from tests.zoo.attempt import PASS, Result
from tests.zoo.run import migrated
from tests.zoo.table import ARCHITECTURES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def migrations(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[Result]]]:
    """Begins with all that were selected, two at a time: one core is busy with each."""
    items = [item for item in request.session.items if item.path == Path(__file__)]
    names = [getattr(item, "callspec").params["name"] for item in items]  # noqa: B009 - untyped
    with pytest.MonkeyPatch.context() as patch, pool(2) as processes:
        # The processes import `tests` anew; first, for other packages install one as well.
        patch.syspath_prepend(ROOT)
        yield {name: processes.submit(migrated, name) for name in names}
        processes.shutdown(cancel_futures=True)


@pytest.mark.zoo
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture(name: str, migrations: Mapping[str, Future[Result]]) -> None:
    entry, result = ARCHITECTURES[name], migrations[name].result()
    if not entry.cause:
        assert (result.outcome, result.note) == (PASS, "")
        return
    assert result.outcome != PASS
    assert entry.cause in result.note
    assert "\n" not in result.note

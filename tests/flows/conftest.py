"""One folder of toys and one published version for all tests of the flows."""

from pathlib import Path

import pytest
from tests.flows.toys import Home

from ascend_migrate.flows import steps
from ascend_migrate.pipeline.spec import read_spec


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def published(home: Home, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, steps.Migration]:
    """A registry with one version in all forms, and what the migration came to; only to be read."""
    registry = tmp_path_factory.mktemp("published") / "registry"
    work = steps.open_workspace(read_spec(home.spec(registry)), lambda _line: None)
    return registry, steps.migrate(work)


@pytest.fixture
def in_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The folder as the working directory."""
    monkeypatch.chdir(home.folder)
    monkeypatch.delenv("ASCEND_MIGRATE_REGISTRY", raising=False)
    return home

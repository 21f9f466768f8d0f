"""The fault tests share one shim and one world; both are made once."""

import itertools

import pytest
from tests.faults.harness import World, build_shim, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("faults")
    return make_world(folder, build_shim(folder), itertools.count())

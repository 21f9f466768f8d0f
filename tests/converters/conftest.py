"""One MindSpore for each module: starting it takes seconds, a graph some hundredths."""

from collections.abc import Iterator

import pytest

from ascend_migrate.pipeline.limits import Limits
from ascend_migrate.validators.mindspore_process import MindSporeProcess


@pytest.fixture(scope="module")
def mindspore_process() -> Iterator[MindSporeProcess]:
    with MindSporeProcess(Limits(timeout=120, threads=1)) as process:
        yield process

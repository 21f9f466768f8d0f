"""Two runtimes at once: one in a process of its own, beside the one that runs in this process.

What is done is the same as one after the other, and so is what comes of it. It takes the machine's
second processor, and the memory of both at a time.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ascend_migrate.pipeline.limits import free_memory, usable_processors
from ascend_migrate.pipeline.records import GRAPH_FORMS, ONNX_FORMS, Artifact
from ascend_migrate.validators.worker_process import ENDED

_ROOM = 8
"""Times the size of the artifacts that must be free. MindSpore was seen to take 4.8 times the
weights (of 418 MiB), onnxruntime 1.1 times; planted faults hold some of them once more."""

_T = TypeVar("_T")


def apart_from_this_process(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """Returns those to be judged beside the others: with room, of a runtime that is not in here."""
    others = [artifact for artifact in artifacts if artifact.form in GRAPH_FORMS - ONNX_FORMS]
    alone = not others or not any(artifact.form in ONNX_FORMS for artifact in artifacts)
    if alone or usable_processors() == 1:
        return []
    needed = _ROOM * sum(file.size for artifact in artifacts for file in artifact.files)
    return others if free_memory() >= needed else []


def both(here: Callable[[], _T], beside: Callable[[], _T]) -> tuple[_T, _T]:
    """Calls two functions, the second in a thread of its own, and returns what they return.

    Raises:
        Exception: what the first raises, the second being ended then, or else what that raises.
    """
    ended = threading.Event()

    def ending() -> _T:
        ENDED.set(ended)
        return beside()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(ending)
        try:
            return here(), other.result()
        except BaseException:  # Ctrl-C as well: the pool waits for its thread
            ended.set()
            raise

"""Processes that each work on one model after another: importing the libraries takes longest."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T")


def each(work: Callable[[str], T], names: Iterable[str], workers: int) -> Iterator[tuple[str, T]]:
    """Does the work for each name, and yields name and result as they end."""
    with pool(workers) as processes:
        jobs = {processes.submit(work, name): name for name in names}
        for job in as_completed(jobs):
            yield jobs[job], job.result()


def pool(workers: int) -> ProcessPoolExecutor:
    """Starts processes that serve many."""
    # Spawned: MindSpore and torch hold threads that a fork would lose.
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=_prepare)


def _prepare() -> None:
    import torch

    # One for each worker: these models are too small to share among threads.
    torch.set_num_threads(1)
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"

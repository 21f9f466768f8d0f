"""Processes that each work on one model after another: importing the libraries takes longest."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def each(work: Callable[[str], T], names: Iterable[str], workers: int) -> Iterator[tuple[str, T]]:
    """Does the work for each name, and yields name and result as they end."""
    with pool(workers) as processes:
        jobs = {processes.submit(work, name): name for name in names}
        for job in as_completed(jobs):
            yield jobs[job], job.result()


def renewed(
    doc: str | None,
    work: Callable[[str], T],
    names: Iterable[str],
    published: Callable[[], Mapping[str, T]],
    publish: Callable[[dict[str, T]], None],
    said: Callable[[str, T], str],
) -> dict[str, T]:
    """Does the work for all names, or those of the command line, whose results are then renewed.

    Args:
        doc: what the program says of itself.
        work: returns the result for a name, in another process.
        names: all of them, in the order in which they are published.
        published: returns the results that were written last.
        publish: writes results; called after each.
        said: the line that is printed for a result.

    Returns:
        All results, the old ones of other names included.
    """
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("names", nargs="*", help="of what is renewed; all by default")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    results = dict(published()) if asked.names else {}
    for name, result in each(work, asked.names or list(names), asked.workers):
        sys.stdout.write(said(name, result) + "\n")
        sys.stdout.flush()
        results[name] = result
        publish({name: results[name] for name in names if name in results})
    return results


def written(path: Path, kind: Callable[..., T]) -> dict[str, T]:
    """Returns the results that `write` wrote last, by name; nothing where there are none."""
    if not path.exists():
        return {}
    data = json.loads(path.read_text(encoding="utf-8"))
    return {name: kind(**fields) for name, fields in data.items()}


def write(path: Path, results: Mapping[str, Any]) -> None:
    """Writes results, which are dataclasses of plain fields, by name."""
    fields = {name: asdict(result) for name, result in results.items()}
    path.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")


def bars(missed: Iterable[str]) -> int:
    """Prints the bars that are missed, and returns the exit code."""
    lines = [*missed]
    sys.stdout.write("".join(f"bar missed: {line}\n" for line in lines))
    return int(bool(lines))


def pool(workers: int) -> ProcessPoolExecutor:
    """Starts processes that serve many."""
    # Spawned: MindSpore and torch hold threads that a fork would lose.
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=_prepare)


def _prepare() -> None:
    import torch

    # One for each worker: these models are too small to share among threads.
    torch.set_num_threads(1)
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"

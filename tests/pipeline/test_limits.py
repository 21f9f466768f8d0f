"""How much there is to take, read from trees as the kernel lays them out."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from ascend_migrate.pipeline.limits import GIB, Limits, free_memory, in_gib, usable_processors

MEMINFO = {"proc/meminfo": f"MemTotal: {64 << 20} kB\nMemFree: 7 kB\nMemAvailable: {20 << 20} kB\n"}
V1 = "12:pids:/\n4:memory:/job/one\n3:cpuacct,cpu:/job/one\n0::/\n"
UNLIMITED = str(2**63 - 4096)

MEMORY = {
    "no control groups": ({}, 20),
    "version 2": (
        {
            "proc/self/cgroup": "0::/job/one\n",
            "groups/job/one/memory.max": f"{8 * GIB}\n",
            "groups/job/one/memory.stat": f"anon {3 * GIB}\nfile {5 * GIB}\n",
        },
        5,
    ),
    "of a group further out": (
        {
            "proc/self/cgroup": "0::/job/one\n",
            "groups/job/one/memory.max": "max\n",
            "groups/job/memory.max": f"{6 * GIB}\n",
            "groups/job/memory.stat": f"anon {2 * GIB}\n",
        },
        4,
    ),
    "version 1": (
        {
            "proc/self/cgroup": V1,
            "groups/memory/job/one/memory.limit_in_bytes": f"{4 * GIB}\n",
            "groups/memory/job/one/memory.stat": f"cache {4 * GIB}\nrss 1\ntotal_rss {GIB}\n",
            "groups/memory/memory.limit_in_bytes": UNLIMITED,
        },
        3,
    ),
    "in a container, which sees its own group as the root": (
        {
            "proc/self/cgroup": V1,
            "groups/memory/memory.limit_in_bytes": f"{2 * GIB}\n",
            "groups/memory/memory.stat": f"total_rss {GIB}\n",
        },
        1,
    ),
    "all used": (
        {
            "proc/self/cgroup": "0::/\n",
            "groups/memory.max": f"{GIB}\n",
            "groups/memory.stat": f"anon {2 * GIB}\n",
        },
        0,
    ),
}

OURS = len(os.sched_getaffinity(0))
PROCESSORS = {
    "no quota": ({}, OURS),
    "version 2": ({"proc/self/cgroup": "0::/j\n", "groups/j/cpu.max": "100000 100000\n"}, 1),
    "version 2, none": ({"proc/self/cgroup": "0::/j\n", "groups/j/cpu.max": "max 100000\n"}, OURS),
    "less than one": ({"proc/self/cgroup": "0::/\n", "groups/cpu.max": "20000 100000\n"}, 1),
    "version 1": (
        {
            "proc/self/cgroup": V1,
            "groups/cpu/job/one/cpu.cfs_quota_us": "50000\n",
            "groups/cpu/job/one/cpu.cfs_period_us": "50000\n",
            "groups/cpu/cpu.cfs_quota_us": "-1\n",
            "groups/cpu/cpu.cfs_period_us": "100000\n",
        },
        1,
    ),
}


def tree(root: Path, files: Mapping[str, str]) -> tuple[Path, Path]:
    for name, text in (MEMINFO | dict(files)).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root / "proc", root / "groups"


@pytest.mark.parametrize(("files", "gib"), MEMORY.values(), ids=MEMORY)
def test_free_memory(tmp_path: Path, files: Mapping[str, str], gib: int) -> None:
    assert free_memory(*tree(tmp_path, files)) == gib * GIB


@pytest.mark.parametrize(("files", "count"), PROCESSORS.values(), ids=PROCESSORS)
def test_usable_processors(tmp_path: Path, files: Mapping[str, str], count: int) -> None:
    assert usable_processors(*tree(tmp_path, files)) == count


def test_this_machine_has_some_of_both() -> None:
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < Limits().bytes_allowed() <= 0.9 * physical
    assert 1 <= Limits().threads_allowed() <= OURS


def test_what_is_asked_for_is_what_there_is() -> None:
    limits = Limits(memory=3, threads=100)
    assert (limits.bytes_allowed(), limits.threads_allowed()) == (3, 100)


@pytest.mark.parametrize(
    ("size", "said"), [(GIB // 2, "0.5 GiB"), (8 * GIB, "8 GiB"), (int(19.66 * GIB), "19.7 GiB")]
)
def test_spelled_for_people(size: int, said: str) -> None:
    assert in_gib(size) == said

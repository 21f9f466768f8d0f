"""Runs the driver with a fault, and prepares what it works on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import checker
from tests.pipeline import toys

HERE = Path(__file__).parent
DRIVER = (sys.executable, str(HERE / "driver.py"))
KILLED = -signal.SIGKILL
PATIENCE = 5.0
"""Seconds after which a lock that a dead process held must be free."""


@dataclass(frozen=True)
class Call:
    """A line of the shim's log."""

    number: int
    name: str
    inode: int
    path: str
    new: str


@dataclass(frozen=True)
class Run:
    """A process that has ended."""

    code: int
    out: str
    err: str
    seconds: float
    calls: tuple[Call, ...] = ()

    @property
    def result(self) -> dict[str, Any]:
        """What it printed, having succeeded."""
        assert self.code == 0, (self.code, self.err)
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found

    def failed_properly(self) -> bool:
        """Whether it ended by itself with the error's code and one line for the user."""
        one_line = self.err.startswith("driver: ") and self.err.count("\n") == 1
        return self.code == 3 and one_line and self.out == ""


@dataclass
class World:
    """A registry with two old versions, a model to be published, and how that goes undisturbed."""

    folder: Path
    shim: Path
    numbers: Iterator[int]
    digest: str = ""
    before: checker.Snapshot = field(default_factory=lambda: checker.Snapshot({}, {}))

    @property
    def base(self) -> Path:
        """The registry before any fault."""
        return self.folder / "base"

    @property
    def job(self) -> Path:
        """The model to be published."""
        return self.folder / "job-new"

    def fresh(self, *, empty: bool = False, at: Path | None = None) -> Path:
        """Returns a copy of the registry, or the path of one that is not there yet."""
        root = at or self.folder / f"registry-{next(self.numbers)}"
        if not empty:
            shutil.copytree(self.base, root, symlinks=True)
        return root

    def run(self, *arguments: object, fault: Mapping[str, object] | None = None) -> Run:
        """Runs the driver to its end; with ``fault`` under the shim, whose log is kept."""
        log = self.folder / f"log-{next(self.numbers)}"
        settings: dict[str, object] = {}
        if fault is not None:
            settings = {**self.shimmed(arguments[1]), "FAULT_LOG": log, **fault}
        begin = time.monotonic()
        done = subprocess.run(
            [*DRIVER, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | {key: str(value) for key, value in settings.items()},
        )
        seconds = time.monotonic() - begin
        calls = read_log(log) if log.exists() else ()
        return Run(done.returncode, done.stdout, done.stderr, seconds, calls)

    def shimmed(self, root: object) -> dict[str, object]:
        """Settings that put a process under the shim."""
        return {"LD_PRELOAD": self.shim, "FAULT_ROOT": root}

    def check(self, root: Path, *, empty: bool = False, moving: str = "", new: int = 1) -> None:
        """Asserts that a registry is what a fault may leave."""
        before = checker.Snapshot({}, {}) if empty else self.before
        assert checker.problems(root, before, moving=moving, new=new) == []

    def recover(self, root: Path, *, empty: bool = False, moving: str = "") -> None:
        """Runs the same command again, and asserts that nothing of the fault is left."""
        again = self.run("recover", root, self.job)
        result = again.result
        assert again.seconds < PATIENCE
        assert result["digest"] == self.digest
        assert result["version"] == ("v1" if empty else "v3")
        assert result["third_run_changes_nothing"]
        assert result["problems"] == []
        self.check(root, empty=empty, moving=moving)
        assert checker.leftovers(root) == []
        assert checker.unlisted(root) == set()


def make_job(folder: Path, content: str) -> Path:
    """Writes a model, the evidence for it, and what the driver is to make of them."""
    artifacts = toys.write_artifacts(folder / "files", content)
    toys.write_evidence(folder / "evidence", toys.passing(artifacts))
    rows = [
        (str(a.form), a.root.name, [a.entry, *(f.path for f in a.files if f.path != a.entry)])
        for a in artifacts
    ]
    (folder / "job.json").write_text(json.dumps({"name": "toy", "artifacts": rows}))
    return folder


def make_world(folder: Path, shim: Path, numbers: Iterator[int]) -> World:
    """Publishes two old versions, and the new one into a copy to learn its digest."""
    world = World(folder, shim, numbers)
    for content in ("old", "older"):
        job = make_job(folder / f"job-{content}", content)
        assert world.run("publish", world.base, job).code == 0
    assert world.run("promote", world.base, "toy:v1").code == 0
    make_job(world.job, "new")
    golden = world.fresh()
    world.digest = world.run("publish", golden, world.job).result["digest"]
    world.before = checker.snapshot(world.base)
    assert len(world.before.entries) == 5
    assert checker.problems(golden, world.before) == []
    return world


def build_shim(into: Path) -> Path:
    """Compiles shim.c; without a compiler these tests cannot run, which is a failure."""
    library = into / "shim.so"
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler is not None, "the fault tests need a C compiler"
    source = str(HERE / "shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), source], check=True)
    return library


def read_log(path: Path) -> tuple[Call, ...]:
    """Reads what the shim logged."""
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    return tuple(Call(int(n), name, int(i), one, two) for n, name, i, one, two in rows)


@contextmanager
def started(*arguments: object, **environment: object) -> Iterator[subprocess.Popen[str]]:
    """A driver that has imported all and waits to be told to begin; killed at the end."""
    process = subprocess.Popen(
        [*DRIVER, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"DRIVER_WAITS": "1"} | {k: str(v) for k, v in environment.items()},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def begin(process: subprocess.Popen[str]) -> None:
    """Lets a started driver begin."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def finish(process: subprocess.Popen[str]) -> Run:
    """Waits for the end of a driver that has begun."""
    start = time.monotonic()
    out, err = process.communicate(timeout=60)
    return Run(process.returncode, out, err, time.monotonic() - start)


def halted(process: subprocess.Popen[str]) -> bool:
    """Waits until a process has been stopped by a signal."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        # The state is what follows the name in parentheses.
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "T":
            return True
        time.sleep(0.005)
    return False


def ends_within(process: subprocess.Popen[str], seconds: float) -> bool:
    """Waits so long; says whether the process has ended."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def can_mount() -> bool:
    """Whether a private mount namespace can be had (root, in most places)."""
    tool = shutil.which("unshare")
    return tool is not None and subprocess.run([tool, "-m", "true"], check=False).returncode == 0


@contextmanager
def mounted(at: Path, *options: str) -> Iterator[Path]:
    """Mounts something in a namespace of its own; gives the path by which others reach it."""
    at.mkdir(exist_ok=True)
    script = 'mount "$@" && echo ready && exec cat'
    command: Sequence[str] = ["unshare", "-m", "sh", "-c", script, "sh", *options, str(at)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        try:
            yield Path(f"/proc/{holder.pid}/root{at}")
        finally:
            holder.kill()

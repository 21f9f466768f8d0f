"""Each part of the confinement on its own, in a process that has only that one."""

import json
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Takes away what the kernel offers but for the named parts, confines itself, and makes attempts.
PROGRAM = """
import json, os, pathlib, socket, sys
from ascend_migrate.pipeline.sandbox import confine, landlock, seccomp

kept, scratch, private, port = sys.argv[1].split(","), *sys.argv[2:4], int(sys.argv[4])

def absent(*args):
    raise OSError("not offered")

if "files" not in kept: landlock.restrict = absent
if "calls" not in kept: seccomp.deny = absent
if "network" not in kept: confine._leave_network = absent

read, write = (pathlib.Path(sys.prefix),), (pathlib.Path(scratch),)
said = confine.confine(confine.Allowance(read, write, 30, 1 << 30, 4096))

def refused(action):
    try:
        action()
    except OSError:
        return True
    return False

def fork():
    if os.fork() == 0:
        os._exit(0)

found = {
    "read": refused(lambda: pathlib.Path(private).read_text()),
    "write": refused(lambda: pathlib.Path(private).with_name("canary").write_text("x")),
    "scratch": refused(lambda: pathlib.Path(scratch, "a").write_text("x")),
    "file size": refused(lambda: pathlib.Path(scratch, "b").write_bytes(bytes(1 << 20))),
    "connect": refused(lambda: socket.create_connection(("127.0.0.1", port), 2)),
    "socket": refused(lambda: socket.socket(socket.AF_UNIX)),
    "fork": refused(fork),
    "rights": refused(lambda: os.chmod(private, 0o600)),
}
print(json.dumps([said, found]))
"""


def confined(folder: Path, *kept: str) -> tuple[list[str], dict[str, bool]]:
    scratch = folder / "scratch"
    scratch.mkdir()
    private = folder / "private"
    private.write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        arguments = [",".join(kept), str(scratch), str(private), port]
        done = subprocess.run(
            [sys.executable, "-P", "-c", PROGRAM, *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
    said: list[str]
    found: dict[str, bool]
    said, found = json.loads(done.stdout)
    assert not list(folder.glob("canary")) or "files" not in kept
    return said, found


def missing(said: list[str], part: str) -> bool:
    return any(line.startswith(f"{part} NOT CONFINED") for line in said)


NOTHING = dict.fromkeys(("read", "write", "scratch", "connect", "socket", "fork", "rights"), False)
# Part -> what it refuses, and what is then not said to be missing.
PARTS: dict[str, tuple[set[str], set[str]]] = {
    "files": ({"read", "write"}, {"FILES"}),
    "calls": ({"connect", "socket", "fork", "rights"}, {"NETWORK", "PROCESSES"}),
    "network": ({"connect"}, {"NETWORK"}),
}


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no list of calls")
@pytest.mark.parametrize("kept", [(), ("files",), ("calls",), ("network",), tuple(PARTS)])
def test_each_part(tmp_path: Path, kept: tuple[str, ...]) -> None:
    said, found = confined(tmp_path, *kept)
    refused = set[str]().union(*(PARTS[part][0] for part in kept))
    there = set[str]().union(*(PARTS[part][1] for part in kept))
    offered: Any = {part for part in ("NETWORK", "FILES", "PROCESSES") if not missing(said, part)}
    if offered != there:
        pytest.skip(f"this kernel does not offer all of it: {said}")
    assert found.pop("file size")
    if kept == ("files",):
        found["connect"] = False  # newer versions of Landlock refuse TCP as well
    assert found == NOTHING | dict.fromkeys(refused, True)
    assert said[-1] == "at most 30 s and 1024 MiB"


def test_the_test_itself_may_do_all_of_it(tmp_path: Path) -> None:
    """Otherwise the refusals above would say nothing."""
    (tmp_path / "private").write_text("x")
    os.chmod(tmp_path / "private", 0o600)  # noqa: PTH101
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), 2).close()

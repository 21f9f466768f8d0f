"""The flow under a real Prefect server, once and on a schedule that really fires."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.flows.toys import COMMAND, Home

from ascend_migrate.flows import cli, prefect_settings
from ascend_migrate.pipeline.errors import ModelError, SpecError, ToolchainError
from ascend_migrate.pipeline.records import Outcome
from ascend_migrate.pipeline.registry import OciRegistry

pytestmark = pytest.mark.prefect


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    """A server for all tests that run in this process."""
    prefect_settings.prepare()
    from prefect.testing.utilities import prefect_test_harness

    # The default of 30 s is too short for a busy machine.
    with prefect_test_harness(server_startup_timeout=120):
        yield


def test_flow_publishes_and_resumes_like_the_command(
    server: None, home: Home, tmp_path: Path
) -> None:
    from ascend_migrate.flows.migrate import run_flow

    spec = home.spec(tmp_path, to=("safetensors", "onnx"))
    first, second = run_flow(spec), run_flow(spec)
    assert first.verdict.outcome is Outcome.PASS
    assert first.publication is not None
    assert OciRegistry(tmp_path).list() == (first.publication,)
    assert (first.reused, second.reused) == ((), ("capture", "export", "judge"))
    assert second.publication == first.publication


def test_command_prints_json_and_nothing_else(
    server: None, home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = home.spec(tmp_path, to=("safetensors",))
    assert cli.run(["flow", "run", str(spec), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["published"]["version"] == "v1"
    refused = home.spec(tmp_path, to=("onnx",), model="Stateful")
    assert cli.run(["flow", "run", str(refused), "--json"]) == 1
    assert json.loads(capfd.readouterr().out)["published"] is None


def test_request_at_fault_starts_no_server(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = str(home.spec(tmp_path))
    bad = home.spec(tmp_path, to=("elf",))
    for arguments, said in (
        (["run", str(bad)], "to: no form 'elf'"),
        (["serve", good, str(bad), "--cron", "* * * * *"], "to: no form 'elf'"),
        (["serve", good, good, "--cron", "* * * * *"], "name: 'toy' is that of"),
        (["serve", good, "--cron", "daily at three"], "--cron: 'daily at three' is not"),
    ):
        assert cli.run(["flow", *arguments]) == 2
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert said in err


def test_verdict_that_does_not_pass_fails_the_run_and_is_not_tried_again(
    server: None, home: Home, tmp_path: Path
) -> None:
    from ascend_migrate.flows.migrate import migrate

    spec = home.spec(tmp_path, to=("onnx",), model="Stateful")
    state: Any = migrate(str(spec), return_state=True)
    assert state.is_failed()
    assert (state.name, state.message) == ("Refused", "FAIL: not equivalent to the original")
    done = state.result(raise_on_failure=False)
    assert done.verdict.outcome is Outcome.FAIL
    assert OciRegistry(tmp_path).list() == ()


def test_error_of_the_model_ends_the_run_with_that_error(
    server: None, home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from ascend_migrate.flows.migrate import run_flow

    with pytest.raises(ModelError, match="ValueError: two lines"):
        run_flow(home.spec(tmp_path, to=("onnx",), model="Raises"))
    assert "Encountered exception during execution" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (ToolchainError("the machine is busy", transient=True), 3),
        (ToolchainError("not installed"), 1),
        (SpecError("spec", ["is wrong"]), 1),
    ],
)
def test_only_what_may_pass_is_tried_again(server: None, error: Exception, attempts: int) -> None:
    from prefect import flow

    from ascend_migrate.flows import migrate

    calls = []

    def step() -> None:
        calls.append(1)
        raise error

    @flow
    def around() -> None:
        migrate._step(step).with_options(retry_delay_seconds=0)()

    with pytest.raises(type(error)):
        around()
    assert len(calls) == attempts


@pytest.mark.timeout(300)
def test_schedule_fires_and_the_server_goes_with_the_command(home: Home, tmp_path: Path) -> None:
    registry = OciRegistry(tmp_path / "registry")
    spec = home.spec(registry.root, to=("safetensors",))
    log = tmp_path / "log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment["PREFECT_HOME"] = str(tmp_path / "prefect")
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [COMMAND, "flow", "serve", spec, "--cron", "* * * * *"],
            stdout=stream,
            stderr=stream,
            env=environment,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 240
        while not registry.list():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        server = _children(process.pid)
        assert server
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        assert not {pid for pid in server if Path(f"/proc/{pid}").exists()}
    finally:
        for pid in {process.pid, *_children(process.pid)}:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGKILL)
        process.wait()
    (published,) = registry.list()
    assert registry.gate(f"toy:{published.version}") == published


def _children(pid: int) -> set[int]:
    """Process numbers of the children; none when the process has ended."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # ended in the meantime
            continue
        if int(fields[1]) == pid:
            found.add(int(stat.parent.name))
    return found

"""The demo: a real CUDA checkpoint becomes a published, proved MindIR that cuts Thai.

Run it with ``make demo``. It shows each command before it runs it, so that you can run them too.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OUT = ROOT / "demo-out"
NEXT = (
    "source .venv/bin/activate",
    "ascend-migrate show attacut-sc --registry demo-out/registry",
    "ascend-migrate promote attacut-sc production --registry demo-out/registry",
    "ascend-migrate migrate examples/attacut/migration.toml    # again: every step is reused",
    "ascend-migrate doctor",
)
SENTENCE = "ผมรักประเทศไทยและชอบกินข้าวผัดกุ้ง"


def main() -> int:
    """Runs the demo and returns 0 if the published model cuts where the original cuts."""
    os.chdir(ROOT)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    shutil.copyfile(checkpoint(), OUT / "model.pth")
    say("A checkpoint that was saved on cuda:0, in torch's old format. What is in it?")
    show("ascend-migrate", "inspect", "demo-out/model.pth", lines=12)
    say("Export, convert, validate and publish it, in one command:")
    started = time.monotonic()
    show("ascend-migrate", "migrate", "examples/attacut/migration.toml")
    took = time.monotonic() - started
    say(
        f"That took {took:.0f} s. Does the registry vouch for it? Then fetch it, as a server would:"
    )
    show("ascend-migrate", "gate", "attacut-sc", "--registry", "demo-out/registry")
    show(
        "ascend-migrate", "pull", "attacut-sc", "--form", "mindir",
        "--registry", "demo-out/registry", "-o", "demo-out/served",
    )  # fmt: skip
    say("Load the published MindIR with MindSpore on the CPU, and cut a Thai sentence:")
    return compare()


def checkpoint() -> Path:
    """Returns the checkpoint inside the installed package, without importing the package."""
    found = find_spec("attacut")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("attacut is missing: pip install --no-deps attacut==1.0.6")
    return Path(found.submodule_search_locations[0]) / "artifacts/attacut-sc/model.pth"


def compare() -> int:
    """Cuts the sentence with the original and with the published model."""
    from attacut import Tokenizer, preprocessing

    from ascend_migrate.validators.mindspore_runner import MindSporeRunner

    original = Tokenizer("attacut-sc")
    letters, (x, _length) = original.dataset.make_feature(SENTENCE)
    with MindSporeRunner(OUT / "served" / "model.mindir") as runner:
        (logits,) = runner.run({"x": x.numpy()}).values()
    before = original.tokenize(SENTENCE)
    after = preprocessing.find_words_from_preds(letters, logits > 0)
    print("  original (torch):     ", "|".join(before))
    print("  published (MindSpore):", "|".join(after))
    if before != after:
        print("The words differ: this is a defect, please report it.")
        return 1
    say("The same words: what the registry holds does the original's work.")
    print("It was proved on the CPU; no Ascend device took part. Next, open the report named above")
    print("in a browser, and try these:")
    for line in NEXT:
        print(f"  {line}")
    return 0


def say(text: str) -> None:
    """Prints a line of explanation."""
    print(f"\n{text}", flush=True)


def run(*command: str) -> str:
    """Runs one of our commands from this environment; ends the demo if it fails."""
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run([program, *command[1:]], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout)
        raise SystemExit(f"{shlex.join(command)} ended with exit code {done.returncode}")
    return done.stdout


def show(*command: str, lines: int | None = None) -> None:
    """Prints a command, runs it, and prints its output, cut after ``lines``."""
    print(f"$ {shlex.join(command)}", flush=True)
    output = run(*command).splitlines()
    for line in output[:lines]:
        print(f"  {line}")
    if lines is not None and len(output) > lines:
        print(f"  ... and {len(output) - lines} more lines")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())

"""The process under test: a hand-built model goes through the stage store into the registry.

    driver.py publish ROOT JOB     JOB holds files/, evidence/ and job.json
    driver.py promote ROOT REF
    driver.py gc ROOT
    driver.py list ROOT
    driver.py recover ROOT JOB     publish, gc and publish again, as whoever finds the mess would

Prints one line of JSON. Fails as the command line does: one line on stderr and the error's code.
With DRIVER_WAITS set it says ``ready`` when all is imported, and begins when it is told to.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.digest import file_digest
from ascend_migrate.pipeline.errors import MigrationError
from ascend_migrate.pipeline.evidence import read_report
from ascend_migrate.pipeline.records import Artifact, Form
from ascend_migrate.pipeline.registry import OciRegistry
from ascend_migrate.pipeline.store import StageStore


def publish(root: Path, job: Path) -> dict[str, Any]:
    asked = json.loads((job / "job.json").read_bytes())
    evidence = {path.name: path for path in sorted((job / "evidence").iterdir())}

    def export(folder: Path) -> Mapping[str, Any]:
        for source in sorted(path for path in (job / "files").rglob("*") if path.is_file()):
            target = folder / source.relative_to(job / "files")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        return {}

    inputs = {"report": file_digest(evidence["report.json"])}
    stage = StageStore(root / "stages").run("export", inputs=inputs, params={}, work=export)
    artifacts = [
        Artifact.of(Form(form), stage.path / folder, paths, parent="")
        for form, folder, paths in asked["artifacts"]
    ]
    verdict = read_report(evidence["report.json"])
    done = OciRegistry(root).publish(asked["name"], artifacts, verdict, evidence)
    return done.to_json() | {"reused": stage.reused, "note": stage.note}


def promote(root: Path, ref: str) -> dict[str, Any]:
    return OciRegistry(root).promote(ref, "prod").to_json()


def gc(root: Path) -> dict[str, Any]:
    found = OciRegistry(root).gc()
    return {"files": found.files, "size": found.size}


def list_(root: Path) -> dict[str, Any]:
    return {"versions": [f"{p.name}:{p.version}@{p.digest}" for p in OciRegistry(root).list()]}


def recover(root: Path, job: Path) -> dict[str, Any]:
    list_(root)  # what was left can be read before anything is put right
    first = publish(root, job)
    gc(root)
    index = (root / "index.json").read_bytes()
    again = publish(root, job)
    return {
        "digest": first["digest"],
        "version": first["version"],
        "third_run_changes_nothing": index == (root / "index.json").read_bytes()
        and again["digest"] == first["digest"]
        and again["reused"],
        "problems": OciRegistry(root).verify(),
    }


def main(command: str, root: str, *rest: str) -> int:
    if "DRIVER_WAITS" in os.environ:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
    try:
        if command == "publish":
            done = publish(Path(root), Path(rest[0]))
        elif command == "promote":
            done = promote(Path(root), rest[0])
        elif command == "recover":
            done = recover(Path(root), Path(rest[0]))
        else:
            done = {"gc": gc, "list": list_}[command](Path(root))
    except MigrationError as error:
        sys.stderr.write(f"driver: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{json.dumps(done)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

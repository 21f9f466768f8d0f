"""A folder to carry to a machine with CANN: the graph, the exact command, and what to bring back.

model.onnx, model.safetensors   the graph and its weights
keep_dtype.cfg, ...             the lists that were asked for
request.json                    what is asked for, with the digest of every file
convert.sh                      checks the folder, runs ATC, judges its success three ways
run_om.py, golden.safetensors   to ask the result on the device
result.json, atc.log, compiled/ what convert.sh leaves
answers.safetensors             what run_om.py leaves
"""

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ascend_migrate.converters.atc.command import arguments, mode_of
from ascend_migrate.converters.atc.messages import SUCCESS, failure
from ascend_migrate.converters.atc.run import LOG
from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.cann import run_om
from ascend_migrate.pipeline.cann.keep_lists import check_names
from ascend_migrate.pipeline.cann.om_file import ANSWERS, WEIGHTS
from ascend_migrate.pipeline.cann.om_request import LISTS, PRECISION_MODES, OmRequest
from ascend_migrate.pipeline.digest import canonical_json, file_digest
from ascend_migrate.pipeline.errors import EvidenceError, SourceError, SpecError
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.oci_manifest import path_faults
from ascend_migrate.pipeline.onnx_signature import external_files, load_graph, weight_bytes

SCHEMA = "ascend-migrate/om-bundle/3"
MODEL, REQUEST, RESULT, SCRIPT = "model.onnx", "request.json", "result.json", "convert.sh"
GOLDEN, RUNNER = "golden.safetensors", "run_om.py"
COMPILED = "compiled"
"""Folder of what ATC writes: its names for files are its own."""
_OUTPUT = f"{COMPILED}/model"
_WRITTEN = frozenset({REQUEST, RESULT, SCRIPT, LOG, ANSWERS, COMPILED})
"""What is written into the folder beside what is copied there."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What came back from a machine with CANN.

    Attributes:
        om: the compiled file.
        weights: what ATC wrote beside it, by the path from its folder.
        identity: what was asked for, and the toolkit that did it.
        graph: the ONNX file that it was made from.
        golden: what the device was to be asked; None if nothing.
        answers: what it answered; None where it was not asked.
    """

    om: Path
    weights: Mapping[str, Path]
    identity: Mapping[str, Any]
    graph: Path
    golden: Path | None
    answers: Path | None


def write_bundle(
    graph: Path,
    into: Path,
    inputs: Sequence[InputSpec],
    request: OmRequest,
    *,
    golden: Path | None = None,
) -> list[str]:
    """Writes the folder; returns the names of its files.

    Args:
        graph: the ONNX file; its weight files are taken along.
        into: an existing, empty folder.
        inputs: what the graph is fed.
        request: what is asked for.
        golden: what `capture` wrote, to ask the result on the device.

    Raises:
        SpecError: ATC cannot be told these sizes.
        StoreError: a file cannot be written.
    """
    model = load_graph(graph)
    check_names(request, model.graph.node)
    files = [(MODEL, graph), *((name, graph.parent / name) for name in external_files(graph))]
    files += [(LISTS[name], file) for name, file in request.lists().items()]
    files += [(RUNNER, Path(str(run_om.__file__)))]
    files += [(GOLDEN, golden)] if golden is not None else []
    given = dict(files)
    twice = [name for name, path in files if given[name] != path or name.split("/")[0] in _WRITTEN]
    if twice:
        raise SpecError(str(graph), [f"its {twice[0]} has the name of a file of the bundle"])
    lists: dict[str, Any] = {name: Path(LISTS[name]) for name in request.lists()}
    local = replace(request, **lists)
    command = ["atc", *arguments(MODEL, _OUTPUT, inputs, local, weight_bytes(model))]
    with durable.storing(into):
        for name, path in given.items():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, into / name)
    digests = {name: file_digest(into / name) for name in sorted(given)}
    document = {
        "schema": SCHEMA,
        "request": {**request.identity(), "mode": mode_of(inputs)},
        "command": command,
        "files": digests,
    }
    durable.write_file(into / REQUEST, canonical_json(document))
    # The script proves what was asked for as well: its command is its own copy of it.
    sums = digests | {REQUEST: file_digest(into / REQUEST)}
    durable.write_file(into / SCRIPT, _script(command, request, sums, inputs).encode())
    (into / SCRIPT).chmod(0o755)
    return [*sorted(given), REQUEST, SCRIPT]


def read_bundle(folder: Path) -> Compiled:
    """Reads a folder that came back.

    Raises:
        SourceError: it is no such folder, or was not converted yet.
        EvidenceError: a file is not the one that was sent, or the result is for another chip.
        SpecError, ConversionError, ToolchainError: ATC failed there.
    """
    asked = _asked(folder)
    for name, digest in asked["files"].items():
        if not (folder / name).is_file():
            raise EvidenceError(f"{folder}: {name} is missing; bring the whole folder back")
        if file_digest(folder / name) != digest:
            raise EvidenceError(f"{folder / name}: is not the file that was sent")
    if not (folder / RESULT).is_file():
        log = folder / LOG
        said = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        if said and SUCCESS not in said:
            raise failure(MODEL, said, str(log))
        raise SourceError(f"{folder}: was not converted; run {SCRIPT} where CANN is installed")
    result = _document(folder / RESULT)
    if result.get("request") != file_digest(folder / REQUEST):
        raise EvidenceError(f"{folder / RESULT}: is of another {REQUEST}; run {SCRIPT} again")
    om, weights = _compiled(folder, result)
    if result.get("soc") != asked["request"]["soc"]:
        raise EvidenceError(
            f"{folder / RESULT}: is for {result.get('soc')}, asked was {asked['request']['soc']}"
        )
    golden, answers = folder / GOLDEN, folder / ANSWERS
    return Compiled(
        om,
        weights,
        {**asked["request"], "toolkit": str(result.get("toolkit", ""))},
        folder / MODEL,
        golden if GOLDEN in asked["files"] else None,
        answers if answers.is_file() else None,
    )


def _asked(folder: Path) -> dict[str, Any]:
    """Returns what the folder was made for: ``request``, and ``files`` with their digests."""
    path = folder / REQUEST
    found = _document(path)
    if found.get("schema") != SCHEMA:
        raise SourceError(f"{path}: not written by this release ({SCHEMA})")
    request, files = found.get("request"), found.get("files")
    if not isinstance(request, dict) or not isinstance(files, dict) or MODEL not in files:
        raise SourceError(f"{path}: does not say what was asked for; make the bundle again")
    if not all(isinstance(request.get(key), str) for key in ("soc", "precision_mode")):
        raise SourceError(f"{path}: does not say for which chip; make the bundle again")
    if request["precision_mode"] not in PRECISION_MODES:
        raise SourceError(f"{path}: its precision mode is none; make the bundle again")
    faults = path_faults([*files])
    if faults:
        raise EvidenceError(f"{path}: {'; '.join(faults)}")
    return found


def _compiled(folder: Path, result: Mapping[str, Any]) -> tuple[Path, dict[str, Path]]:
    """Returns what ATC wrote, if it is what the script found: the .om file, and its weights."""
    files = result.get("files")
    files = files if isinstance(files, dict) else {}
    ours = {name for name in files if name.startswith(f"{COMPILED}/")}
    om = str(result.get("om"))
    if path_faults([*files]) or ours != {*files} or om not in ours or not om.endswith(".om"):
        raise EvidenceError(f"{folder / RESULT}: names no .om file of this folder")
    for name, digest in files.items():
        if not (folder / name).is_file() or digest != file_digest(folder / name):
            raise EvidenceError(f"{folder / name}: is not the file that {SCRIPT} made")
    beside = {name.removeprefix(f"{COMPILED}/"): folder / name for name in files if name != om}
    return folder / om, beside


def _document(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: not a JSON document: {error}") from error
    if not isinstance(found, dict):
        raise SourceError(f"{path}: not a JSON object")
    return found


def _script(
    command: Sequence[str],
    request: OmRequest,
    digests: Mapping[str, str],
    inputs: Sequence[InputSpec],
) -> str:
    """The script, in plain sh: a machine with CANN has no more than that for certain."""
    sums = "\n".join(f"{d.removeprefix('sha256:')}  {name}" for name, d in digests.items())
    asking = "nothing to ask it came along (--golden)"
    if GOLDEN in digests:
        runner = f"python3 {RUNNER} $om {mode_of(inputs)} {GOLDEN} {ANSWERS}"
        asking = f"on a machine with the chip, ask it: {runner}"
    return _TEMPLATE.format(
        soc=request.soc,
        cann=request.cann,
        sums=sums,
        request=digests[REQUEST],
        command=shlex.join(command),
        log=LOG,
        success=SUCCESS,
        output=_OUTPUT,
        compiled=COMPILED,
        weights=WEIGHTS,
        result=RESULT,
        answers=ANSWERS,
        asking=asking,
    )


_TEMPLATE = """\
#!/bin/sh
# Compiles model.onnx for {soc} with the ATC of CANN {cann} or a newer one.
# Written by ascend-migrate. Usage: ./convert.sh [CHIP]; CHIP, if given, must be {soc}.
set -u
cd "$(dirname "$0")" || exit 3
if [ "${{1:-{soc}}}" != "{soc}" ]; then
    echo "convert.sh: this folder is for {soc}, not for $1; make one for $1" >&2
    exit 2
fi
if ! command -v atc >/dev/null 2>&1; then
    echo "convert.sh: atc is not here; run: source .../set_env.sh (of CANN {cann})" >&2
    exit 3
fi
if ! sha256sum --check --quiet >&2 <<'END'
{sums}
END
then
    echo "convert.sh: a file of this folder is damaged; copy the folder again" >&2
    exit 2
fi
rm -rf {compiled} {result} {answers}
mkdir {compiled} || exit 3
{command} >{log} 2>&1
code=$?
om=""
for file in {output}.om {output}_linux_*.om; do
    if [ -s "$file" ]; then om=$file; break; fi
done
if [ "$code" -ne 0 ] || ! grep -q "{success}" {log} || [ -z "$om" ]; then
    rm -rf {compiled}
    cat {log} >&2
    echo "convert.sh: not converted (exit code $code); bring the folder back with {log}" >&2
    exit 1
fi
root=${{ASCEND_TOOLKIT_HOME:-${{ASCEND_HOME_PATH:-/nowhere}}}}
toolkit=$(sed -n 's/^version=//p' "$root"/*-linux/ascend_toolkit_install.info 2>/dev/null |
    head -n 1)
files=""
find "$om" {compiled}/{weights} -type f 2>/dev/null | sort >{result}.names
while IFS= read -r file; do
    sum=$(sha256sum "$file" | cut -d ' ' -f 1)
    files="$files${{files:+, }}\\"$file\\": \\"sha256:$sum\\""
done <{result}.names
rm -f {result}.names
request={request}
printf '{{"om": "%s", "files": {{%s}}, "request": "%s", "soc": "{soc}", "toolkit": "%s"}}\\n' \\
    "$om" "$files" "$request" "$toolkit" >{result}.new && mv {result}.new {result} || exit 3
echo "convert.sh: wrote $om; {asking}"
echo "then bring the folder back: ascend-migrate import-om FOLDER"
"""

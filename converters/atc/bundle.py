"""A folder to carry to a machine with CANN: the graph, the exact command, and what to bring back.

model.onnx, model.safetensors   the graph and its weights
request.json                    what is asked for, with the digest of every file
convert.sh                      checks the folder, runs ATC, judges its success three ways
run_om.py, golden.safetensors   to ask the result on the device
result.json, atc.log, *.om      what convert.sh leaves
"""

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ascend_migrate.converters.atc import run_om
from ascend_migrate.converters.atc.command import arguments, size_arguments
from ascend_migrate.converters.atc.messages import SUCCESS, failure
from ascend_migrate.converters.atc.run import LOG
from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.cann.om_request import OmRequest
from ascend_migrate.pipeline.digest import canonical_json, file_digest
from ascend_migrate.pipeline.errors import EvidenceError, SourceError
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.onnx_signature import external_files, load_graph, weight_bytes

SCHEMA = "ascend-migrate/om-bundle/1"
MODEL, REQUEST, RESULT, SCRIPT = "model.onnx", "request.json", "result.json", "convert.sh"
GOLDEN, RUNNER = "golden.safetensors", "run_om.py"
_OUTPUT = "model"


@dataclass(frozen=True, slots=True)
class Compiled:
    """What came back from a machine with CANN.

    Attributes:
        om: the compiled file.
        identity: what was asked for, and the toolkit that did it.
        graph: digest of the ONNX file that it was made from.
    """

    om: Path
    identity: Mapping[str, Any]
    graph: str


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
    given = {MODEL: graph, **{name: graph.parent / name for name in external_files(graph)}}
    lists = {"keep_dtype": request.keep_dtype, "mixlist": request.mixlist, "aipp": request.aipp}
    given |= {file.name: file for file in lists.values() if file is not None}
    local = replace(request, **{k: f and Path(f.name) for k, f in lists.items()})  # type: ignore[arg-type]
    given[RUNNER] = Path(str(run_om.__file__))
    if golden is not None:
        given[GOLDEN] = golden
    weights = weight_bytes(load_graph(graph))
    command = ["atc", *arguments(MODEL, _OUTPUT, inputs, local, weights)]
    with durable.storing(into):
        for name, path in given.items():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, into / name)
    digests = {name: file_digest(into / name) for name in sorted(given)}
    document = {
        "schema": SCHEMA,
        "request": dict(request.identity()),
        "command": command,
        "files": digests,
    }
    durable.write_file(into / REQUEST, canonical_json(document))
    durable.write_file(into / SCRIPT, _script(command, request, digests, inputs).encode())
    (into / SCRIPT).chmod(0o755)
    return [*sorted(given), REQUEST, SCRIPT]


def read_bundle(folder: Path) -> Compiled:
    """Reads a folder that came back.

    Raises:
        SourceError: it is no such folder, or was not converted yet.
        EvidenceError: a file is not the one that was sent, or the result is for another chip.
        SpecError, ConversionError, ToolchainError: ATC failed there.
    """
    asked = _document(folder / REQUEST)
    if asked.get("schema") != SCHEMA:
        raise SourceError(f"{folder / REQUEST}: not written by this release ({SCHEMA})")
    for name, digest in asked["files"].items():
        if ".." in Path(name).parts or Path(name).is_absolute() or not (folder / name).is_file():
            raise EvidenceError(f"{folder}: {name} is missing; bring the whole folder back")
        if file_digest(folder / name) != digest:
            raise EvidenceError(f"{folder / name}: is not the file that was sent")
    if not (folder / RESULT).is_file():
        log = folder / LOG
        if log.is_file():
            raise failure(MODEL, log.read_text(encoding="utf-8", errors="replace"), str(log))
        raise SourceError(f"{folder}: was not converted; run {SCRIPT} where CANN is installed")
    result = _document(folder / RESULT)
    name = str(result.get("om", ""))
    om = folder / name
    if Path(name).name != name or om.suffix != ".om" or not om.is_file():
        raise EvidenceError(f"{folder / RESULT}: names no .om file of this folder")
    if f"sha256:{result.get('sha256')}" != file_digest(om):
        raise EvidenceError(f"{om}: is not the file that {SCRIPT} made")
    if result.get("soc") != asked["request"]["soc"]:
        raise EvidenceError(
            f"{folder / RESULT}: is for {result.get('soc')}, asked was {asked['request']['soc']}"
        )
    return Compiled(
        om,
        {**asked["request"], "toolkit": str(result.get("toolkit", ""))},
        asked["files"][MODEL],
    )


def mode_of(inputs: Sequence[InputSpec]) -> str:
    """Returns how the runner has to give the sizes: ais_bench has a mode for each of ATC's ways."""
    given = " ".join(size_arguments(inputs))
    if "--dynamic_batch_size" in given:
        return "dymbatch"
    if "--dynamic_dims" in given:
        return "dymdims"
    return "dymshape" if "~" in given else "static"


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
    runner = f"python3 {RUNNER} $om {mode_of(inputs)} {GOLDEN} answers.safetensors"
    return _TEMPLATE.format(
        soc=request.soc,
        cann=request.cann,
        sums=sums,
        command=shlex.join(command),
        log=LOG,
        success=SUCCESS,
        output=_OUTPUT,
        result=RESULT,
        runner=runner,
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
rm -f {output}.om {output}_linux_*.om {result}
{command} >{log} 2>&1
code=$?
om=""
for file in {output}.om {output}_linux_*.om; do
    if [ -s "$file" ]; then om=$file; break; fi
done
if [ "$code" -ne 0 ] || ! grep -q "{success}" {log} || [ -z "$om" ]; then
    cat {log} >&2
    echo "convert.sh: not converted (exit code $code); bring the folder back with {log}" >&2
    exit 1
fi
root=${{ASCEND_TOOLKIT_HOME:-${{ASCEND_HOME_PATH:-/nowhere}}}}
toolkit=$(sed -n 's/^version=//p' "$root"/*-linux/ascend_toolkit_install.info 2>/dev/null |
    head -n 1)
sum=$(sha256sum "$om" | cut -d ' ' -f 1)
printf '{{"om": "%s", "sha256": "%s", "soc": "{soc}", "toolkit": "%s"}}\\n' \\
    "$om" "$sum" "$toolkit" >{result}
echo "convert.sh: wrote $om; on a machine with the chip, ask it:"
echo "    {runner}"
echo "then bring the folder back: ascend-migrate import-om FOLDER"
"""

"""The keep-list in the words of each tool that could use it, as files.

keep_dtype.cfg        ATC's --keep_dtype: a name of a node on each line
op_precision.ini      ATC's --op_precision_mode, where HF32 is what has to be left
modify_mixlist.json   ATC's --modify_mixlist, for mixed precision: types of Ascend's own operators
converter_lite.cfg    the same for MindSpore Lite's converter
precision.toml        our own policy, for MindIR and for ONNX with its casts written out
cann_provider.json    options of onnxruntime's CANN provider for the latter: it takes no list
forecast.json         everything that was found
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ascend_migrate.pipeline.cann.keep_lists import REPORT
from ascend_migrate.pipeline.cann.om_request import LISTS
from ascend_migrate.pipeline.printable import readable_json
from ascend_migrate.validators.forecast.forecast import LABEL, Equivalent, Forecast
from ascend_migrate.validators.forecast.rounding import HF32
from ascend_migrate.validators.forecast.survey import Harm

KEEP_DTYPE, OP_PRECISION, MIXLIST = LISTS["keep_dtype"], LISTS["op_precision"], LISTS["mixlist"]
LITE = "converter_lite.cfg"
SPEC = "precision.toml"
PROVIDER = "cann_provider.json"


def files(found: Forecast) -> dict[str, str]:
    """Returns the texts by the names of their files."""
    return dict(_files(found))


def usage(found: Forecast) -> Iterator[str]:
    """Yields for each way to keep the nodes how it is used, and what it keeps."""
    names = len(_names(found))
    unsaid = len(found.kept or ()) + len(found.carried) - names
    if unsaid:
        yield f"{unsaid} nodes have names that no list can hold; give them others"
    if KEEP_DTYPE in files(found):
        yield f"ATC: {found.policy.atc} --keep_dtype={KEEP_DTYPE} ({names} nodes)"
    if OP_PRECISION in files(found):
        yield f"ATC: {found.policy.atc} --op_precision_mode={OP_PRECISION} ({names} nodes)"
    if found.mixed is not None:
        kept = f"{found.mixed.kept} nodes of {len(found.mixed.names)} types stay in float32"
        way = f"--precision_mode_v2={_mixed_mode(found)} --modify_mixlist={MIXLIST}"
        yield f"ATC: {way} ({kept})" if found.mixed.passes else f"not with {way}: too coarse"
    if found.spec is not None:
        way = f"[precision] of {SPEC}"
        kept = f"{found.spec.kept} nodes stay in float32"
        yield (
            f"MindIR, CANN provider: migrate with {way} ({kept}), and let the device keep the types"
            if found.spec.passes
            else f"not with {way}: patterns do not reach what has to be kept"
        )


def to_json(found: Forecast) -> dict[str, Any]:
    """Returns everything as plain JSON data."""
    return {
        "label": LABEL,
        "verified_on_device": False,
        "soc": found.soc,
        "family": found.chip.family,
        "overflow": "largest number" if found.chip.saturates else "infinity",
        "policy": found.policy.name,
        "type": found.policy.number,
        "atc": found.policy.atc,
        "holds": found.holds,
        "cases": list(found.cases),
        "lowered": found.lowered,
        "findings": [item.to_json() for item in found.findings],
        "kept": None if found.kept is None else [step.name for step in found.kept],
        "carried": [step.name for step in found.carried],
        "minimal": found.minimal,
        "modify_mixlist": _equivalent(found.mixed),
        "precision": _equivalent(found.spec),
        "nodes": [_harm(item) for item in found.harms],
        "not_simulated": list(found.opaque),
        "runs": found.runs,
    }


def _files(found: Forecast) -> Iterator[tuple[str, str]]:
    yield REPORT, readable_json(to_json(found)) + "\n"
    if not found.kept:
        return
    names = _names(found)
    if found.policy.number == HF32:
        lines = [f"{name}=enable_float_32_execution" for name in names]
        yield OP_PRECISION, "\n".join(["[ByNodeName]", *lines, ""])
    elif found.policy.atc:
        yield KEEP_DTYPE, "\n".join([*names, ""])
    if found.mixed is not None and found.mixed.passes:
        lists = {"black-list": {"to-add": list(found.mixed.names)}}
        yield MIXLIST, json.dumps(lists, indent=2) + "\n"
        mode = "allow_mix_precision" + ("_bf16" if found.policy.number == "bfloat16" else "")
        yield (
            LITE,
            f"[acl_init_options]\nge.exec.precision_mode={mode}\n"
            f'ge.exec.modify_mixlist="./{MIXLIST}"\n',
        )
    if found.spec is not None and found.spec.passes:
        patterns = json.dumps(list(found.spec.names), ensure_ascii=False)
        yield SPEC, f'[precision]\ntype = "{found.policy.number}"\nkeep_float32 = {patterns}\n'
        yield PROVIDER, json.dumps({"precision_mode": "must_keep_origin_dtype"}, indent=2) + "\n"


def _names(found: Forecast) -> list[str]:
    """Returns the names of the nodes in order, but for those that would break a line."""
    steps = sorted((*(found.kept or ()), *found.carried), key=lambda step: step.index)
    return [step.name for step in steps if step.name.isprintable()]


def _mixed_mode(found: Forecast) -> str:
    return "mixed_bfloat16" if found.policy.number == "bfloat16" else "mixed_float16"


def _equivalent(item: Equivalent | None) -> Mapping[str, Any] | None:
    if item is None:
        return None
    return {"names": list(item.names), "kept": item.kept, "passes": item.passes}


def _harm(item: Harm) -> dict[str, Any]:
    return {
        "name": item.name,
        "op_type": item.op_type,
        "module": item.module,
        "largest": item.largest,
        "overflows": item.overflows,
        "flushed": item.flushed,
        "subnormal": item.subnormal,
        "lost": _finite(item.lost),
        "error": _finite(item.error),
        "noise": _finite(item.noise),
        "effect": None if item.effect is None else _finite(item.effect),
    }


def _finite(value: float) -> float | str:
    """JSON has no infinity."""
    return value if value < float("inf") else "infinite"

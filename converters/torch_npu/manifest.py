"""What the rules say about tensors and code, as the data of the manifest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ascend_migrate.converters.torch_npu.modules import Code, read_code
from ascend_migrate.pipeline.checkpoint.checkpoint import TensorEntry
from ascend_migrate.pipeline.dtypes import BY_NAME
from ascend_migrate.pipeline.torch_npu.manifest import SCHEMA
from ascend_migrate.pipeline.torch_npu.rules import TensorRule, load_rules

Tensors = Mapping[str, TensorEntry]


def code_part(target: str, search: Path | None) -> dict[str, Any]:
    """Returns what is found in the code of a model, which is read and never run.

    Args:
        target: ``MODULE:CALLABLE``.
        search: folder that is searched for the module first.

    Raises:
        ModelError: there is no such module, or its source cannot be read.
    """
    code: Code = read_code(target, search)
    return {
        "model": target,
        "files": {item.path: item.digest for item in code.modules},
        "not_read": dict(code.unread),
        "findings": [
            {
                "rule": seen.rule,
                "file": item.path,
                "line": seen.line,
                "found": seen.found,
                "becomes": seen.becomes,
            }
            for item in code.modules
            for seen in item.seen
        ],
    }


def manifest(weights: str, tensors: Tensors, code: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns the whole manifest.

    Args:
        weights: name of the file beside it that a loader is given.
        tensors: everything in it.
        code: what `code_part` returned; None where no code was named.
    """
    rules = load_rules()
    findings = [
        {"rule": rule.rule.id, "tensors": names}
        for rule in rules.tensors
        if (names := [name for name, entry in tensors.items() if _applies(rule, name, entry)])
    ]
    used = {item["rule"] for item in (*findings, *(code["findings"] if code else ()))}
    every = [*(item.rule for item in rules.tensors), *(item.rule for item in rules.code)]
    return {
        "schema": SCHEMA,
        "about": rules.about,
        "weights": weights,
        "dtype_policy": _policy(tensors),
        "tensors": findings,
        "code": dict(code) if code else None,
        "rules": {rule.id: rule.to_json() for rule in every if rule.id in used},
        "settings": [dict(item) for item in rules.settings],
        "verified_on_device": False,
    }


def _applies(rule: TensorRule, name: str, entry: TensorEntry) -> bool:
    return rule.applies(name, entry.dtype, entry.nbytes // BY_NAME[entry.dtype].itemsize)


def _policy(tensors: Tensors) -> list[dict[str, Any]]:
    """Returns, for each element type that is stored, what to compute in, and where not."""
    rows = []
    for dtype in BY_NAME:
        held = [entry for entry in tensors.values() if entry.dtype == dtype]
        if not held:
            continue
        better = [rule for rule in load_rules().tensors if dtype in rule.dtypes and rule.compute]
        everywhere = [rule.compute for rule in better if not rule.rule.families]
        rows.append(
            {
                "stored": dtype,
                "tensors": len(held),
                "bytes": sum(entry.nbytes for entry in held),
                "compute": everywhere[0] if everywhere else dtype,
                "except": [
                    {"chips": list(rule.rule.families), "compute": rule.compute}
                    for rule in better
                    if rule.rule.families
                ],
            }
        )
    return rows

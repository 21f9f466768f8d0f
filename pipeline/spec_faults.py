"""What is at fault in a request beyond the types of its keys: what does not belong together.

Every function takes data of any shape, and returns a line for each fault, with its key.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.inputs import parse_inputs
from ascend_migrate.pipeline.records import GRAPH_FORMS, ONNX_FORMS, READABLE_FORMS, Form
from ascend_migrate.pipeline.renames import rename_faults
from ascend_migrate.pipeline.sizes import parse_size


def precision_faults(forms: Collection[str], dtype: Any) -> list[str]:
    """A policy needs a graph to lower, and a runtime that can judge what it makes."""
    if not GRAPH_FORMS.intersection(forms):
        return ["precision: lowers graphs; safetensors keeps the checkpoint's own types"]
    if dtype == "bfloat16" and (ONNX_FORMS | {Form.OM}).intersection(forms):
        return [
            "precision.type: ONNX of opset 17 has no bfloat16 convolution, and onnxruntime no "
            "bfloat16 kernels to judge one with; ask for mindir alone, or for float16"
        ]
    return []


def other_faults(data: Mapping[str, Any], base: Path) -> list[str]:
    """Returns the faults that types alone do not show; tolerates data of any shape."""
    source = data.get("source")
    validation = data.get("validation")
    path = source.get("path") if isinstance(source, Mapping) else None
    samples = validation.get("samples") if isinstance(validation, Mapping) else None
    faults = _form_faults("to", _strings(data.get("to")), Form)
    if isinstance(validation, Mapping):
        waived = _strings(validation.get("waive_kernels"))
        faults += _form_faults("validation.waive_kernels", waived, sorted(READABLE_FORMS))
    faults += parse_inputs(_strings(data.get("inputs")))[1]
    if isinstance(path, str) and not _is_there(base / path):
        faults.append(f"source.path: {path} does not exist")
    faults += [
        f"validation.samples: {sample} does not exist"
        for sample in _strings(samples)
        if not _is_there(base / sample) or (base / sample).is_dir()
    ]
    rules = source.get("rename") if isinstance(source, Mapping) else None
    if isinstance(rules, Mapping) and all(isinstance(new, str) for new in rules.values()):
        faults += [f"source.rename: {fault}" for fault in rename_faults(rules)]
    policy = data.get("precision")
    if isinstance(policy, Mapping):
        faults += precision_faults(_strings(data.get("to")), policy.get("type"))
    layout = data.get("safetensors")
    if isinstance(layout, Mapping):
        faults += _layout_faults(layout, _strings(data.get("to")))
    onnx_source = isinstance(path, str) and path.endswith(".onnx")
    if onnx_source:
        faults += _checkpoint_keys(source)
    return faults + graph_faults(
        _strings(data.get("to")),
        is_onnx=onnx_source,
        has_model=data.get("model") is not None,
        has_inputs=bool(data.get("inputs")),
        has_om=data.get("om") is not None,
    )


def _layout_faults(layout: Mapping[str, Any], forms: Collection[str]) -> list[str]:
    if GRAPH_FORMS.intersection(forms):
        return [
            f"safetensors.{key}: a graph points into one file with the checkpoint's own types; "
            "publish it alone"
            for key in ("max_shard_size", "store_as")
            if layout.get(key)
        ]
    try:
        if isinstance(layout.get("max_shard_size"), str):
            parse_size(layout["max_shard_size"])
    except ValueError as error:
        return [f"safetensors.max_shard_size: {error}"]
    return []


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, or a folder that may not be entered
        return False


def _form_faults(key: str, names: Sequence[str], forms: Iterable[Form]) -> list[str]:
    known = [str(form) for form in forms]
    said = ", ".join(known)
    return [f"{key}: no form {name!r}; forms: {said}" for name in names if name not in known]


def graph_faults(
    forms: Collection[str], *, is_onnx: bool, has_model: bool, has_inputs: bool, has_om: bool
) -> list[str]:
    """A graph can be exported only with code and inputs, unless the source is a graph already."""
    faults = []
    if Form.OM in forms and not has_om:
        faults.append(
            "om: is required for om, which is compiled for one chip: say its soc in a "
            "specification ([om], docs/spec.md), or use the command `om`"
        )
    graphs = [str(form) for form in forms if form in GRAPH_FORMS]
    if is_onnx:
        if has_model:
            faults.append("model: an ONNX source needs no model; leave it out")
        if Form.SAFETENSORS in forms:
            faults.append(
                "to: safetensors cannot be made from an ONNX file, whose small tensors belong to "
                "the graph; ask for onnx, which keeps the large ones in model.safetensors"
            )
        if Form.TORCH_NPU in forms:
            faults.append(
                "to: torch-npu cannot be made from an ONNX file: it is for torch code, so name the "
                "checkpoint that the code loads"
            )
        return faults
    if graphs and not has_model:
        faults.append(f"model: is required for {', '.join(graphs)} (--model MODULE:CALLABLE)")
    if graphs and not has_inputs:
        faults.append(f"inputs: are required for {', '.join(graphs)} (--input NAME=DTYPE[DIMS])")
    return faults


_CHECKPOINT_KEYS = (
    *("key", "drop", "rename", "unpack", "trust"),
    *("allow_missing", "allow_unexpected"),
)


def _checkpoint_keys(source: Any) -> list[str]:
    """Keys that would be ignored without a word, because a graph has no names to choose from."""
    return [
        f"source.{key}: belongs to checkpoints; an ONNX file is taken as a whole"
        for key in _CHECKPOINT_KEYS
        if source.get(key)
    ]


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

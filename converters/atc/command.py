"""The arguments of ATC for one graph, from what the specification says of its inputs.

Sources: the pages of the options in hicann/ge docs/zh/user_guides/atc_tools (2026-08).
"""

from collections.abc import Sequence
from pathlib import Path

from ascend_migrate.pipeline.cann.om_request import OmRequest
from ascend_migrate.pipeline.errors import SpecError
from ascend_migrate.pipeline.inputs import Dim, InputSpec, combinations, dynamic_dims

_ONNX = "5"
"""``--framework``: 0 Caffe, 1 MindSpore, 3 TensorFlow, 5 ONNX."""

MAX_PROFILES = 100
"""Most combinations of listed sizes in one file (256 on the newest chips)."""

MAX_OM = 4294967295
"""Bytes of an .om file that holds its weights (E13023)."""


def arguments(
    model: str, output: str, inputs: Sequence[InputSpec], request: OmRequest, weights: int
) -> list[str]:
    """Returns the arguments of one compilation, without the program.

    Args:
        model: the ONNX file, as ATC is to find it.
        output: the result's path without its suffix, which ATC adds.
        inputs: what the graph is fed.
        request: what is asked for.
        weights: bytes of the graph's weights, which decide whether they fit into the file.

    Raises:
        SpecError: lists what ATC cannot be told.
    """
    found = [
        f"--framework={_ONNX}",
        f"--model={model}",
        f"--output={output}",
        f"--soc_version={request.soc}",
        *size_arguments(inputs),
        f"--precision_mode_v2={request.precision_mode}",
        f"--deterministic={int(request.deterministic)}",
        "--log=error",
    ]
    found += _given("keep_dtype", request.keep_dtype)
    found += _given("op_precision_mode", request.op_precision)
    found += _given("modify_mixlist", request.mixlist)
    found += _given("insert_op_conf", request.aipp)
    found += [f"--output_type={request.output_type}"] if request.output_type else []
    if request.host_cpu:
        found += ["--host_env_os=linux", f"--host_env_cpu={request.host_cpu}"]
    if weights > MAX_OM:
        found.append("--external_weight=1")
    return found


def size_arguments(inputs: Sequence[InputSpec]) -> list[str]:
    """Returns the options that give the sizes of the inputs.

    Ranges stay ranges. Listed sizes become buckets: of the batch where only first dimensions are
    listed, else one profile for each combination, a number for each -1 in order.

    Raises:
        SpecError: ranges and lists are mixed, steps are asked for, or there are too many profiles.
    """
    dims = {name: dim for name, dim in dynamic_dims(inputs).items() if len(dim.sizes) > 1}
    listed = [dim for dim in dims.values() if dim.listed]
    ranged = [dim for dim in dims.values() if not dim.listed]
    faults = []
    if listed and ranged:
        faults.append(
            f"ATC takes ranges or lists of sizes, not both: list the sizes of "
            f"{', '.join(dim.name for dim in ranged)}, such as {ranged[0].as_list()}"
        )
    faults += [
        f"ATC takes ranges of every size, not every {dim.step}th: list the sizes, such as "
        f"{dim.as_list()}"
        for dim in ranged
        if dim.step > 1
    ]
    profiles = combinations(listed)
    if len(profiles) > MAX_PROFILES:
        faults.append(f"{len(profiles)} combinations of sizes; ATC takes up to {MAX_PROFILES}")
    if faults:
        raise SpecError("inputs", faults)
    shapes = ";".join(f"{item.name}:{','.join(map(_size, item.shape))}" for item in inputs)
    found = [f"--input_shape={shapes}"]
    if not listed:
        return [*found, "--input_format=ND"]
    if _is_batch(inputs, listed):
        return [*found, f"--dynamic_batch_size={','.join(map(str, listed[0].sizes))}"]
    places = [d.name for item in inputs for d in item.shape if isinstance(d, Dim) and d in listed]
    rows = [",".join(str(profile[name]) for name in places) for profile in profiles]
    return [*found, "--input_format=ND", f"--dynamic_dims={';'.join(rows)}"]


def mode_of(inputs: Sequence[InputSpec]) -> str:
    """Returns how the runner has to give the sizes: ais_bench has a mode for each of ATC's ways."""
    given = " ".join(size_arguments(inputs))
    if "--dynamic_batch_size" in given:
        return "dymbatch"
    if "--dynamic_dims" in given:
        return "dymdims"
    return "dymshape" if "~" in given else "static"


def _size(dim: int | Dim) -> str:
    if isinstance(dim, int):
        return str(dim)
    if len(dim.sizes) == 1:
        return str(dim.low)
    return "-1" if dim.listed else f"{dim.low}~{dim.high}"


def _is_batch(inputs: Sequence[InputSpec], listed: Sequence[Dim]) -> bool:
    """Whether one listed dimension is the first, and only that, of the inputs that have it."""
    if len(listed) != 1:
        return False
    return all(listed[0] not in item.shape[1:] for item in inputs)


def _given(option: str, file: Path | None) -> list[str]:
    return [] if file is None else [f"--{option}={file}"]

"""Which provider ran each node of an onnxruntime session, by the profile that it writes itself."""

import json
from pathlib import Path


def placed_elsewhere(profile: Path, provider: str) -> list[str]:
    """Returns the nodes that another provider ran, each once, in the order in which they ran.

    Args:
        profile: what ``InferenceSession.end_profiling`` wrote after at least one run: a list of
            events, of which those of kernels have the category Node and name their provider
            (onnxruntime 1.24 and 1.30).
        provider: that is to have run all of them.

    Raises:
        ValueError: the file is no profile, or names no node at all, so that nothing is proved.
    """
    events = json.loads(profile.read_text(encoding="utf-8"))
    if not isinstance(events, list):
        raise ValueError(f"{profile.name} is no list of events")
    kernels = [
        event
        for event in events
        if event.get("cat") == "Node" and "provider" in event.get("args", {})
    ]
    if not kernels:
        raise ValueError("the profile names no node, so that nothing says where the graph ran")
    found = {
        f"{_node(event['name'])} ({event['args'].get('op_name', '?')}) on {ran}": None
        for event in kernels
        if (ran := event["args"]["provider"]) != provider
    }
    return list(found)


def _node(name: str) -> str:
    return str(name).removesuffix("_kernel_time")

"""docs/operators.md: the operators that have a lowering, made from the registry."""

from collections.abc import Iterator

from onnx import defs

from ascend_migrate.converters.mindir.registry import Lowering, registry

_HEADER = """\
# ONNX operators in MindIR

This page is made from the registry of lowerings; a test keeps it current. A version is the opset in
which that form of the operator was introduced; it holds until the next one. An operator that is not
listed is replaced by its ONNX function body where it has one, and otherwise refused, with every
such node of the model in one error, before anything is written.

| operator | versions | how |
| --- | --- | --- |
"""


def page() -> str:
    """Returns the page."""
    return _HEADER + "".join(f"{row}\n" for row in _rows())


def _rows() -> Iterator[str]:
    names = sorted({name for name, _ in registry()})
    for name in names:
        found = {since: fn for (op, since), fn in registry().items() if op == name}
        said = dict.fromkeys(_said(function) for function in found.values())
        versions = ", ".join(map(str, sorted(found)))
        newest = defs.get_schema(name).since_version
        missing = "" if newest in found else f" (not {newest})"
        link = f"[{name}](https://onnx.ai/onnx/operators/onnx__{name}.html)"
        yield f"| {link} | {versions}{missing} | {'; '.join(filter(None, said))} |"


def _said(function: Lowering) -> str:
    """Returns what the docstring says beside the page that it is written from."""
    text = " ".join((function.__doc__ or "").split())
    before, _, after = text.partition("https://onnx.ai/")
    after = after.partition(".html")[2] if after else ""
    return (before.rstrip(": ") + after.lstrip(":, ").rstrip(".")).strip().replace("|", "\\|")

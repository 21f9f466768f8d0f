"""Which dict of a checkpoint is the state dict, and under which names its tensors are known."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.side_state import USUAL, role
from ascend_migrate.pipeline.checkpoint.torch_names import Inert
from ascend_migrate.pipeline.checkpoint.views import Unsupported, View
from ascend_migrate.pipeline.renames import Rename, renamed

PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""

_MAX_DEPTH = 16
"""Levels that are searched; real checkpoints nest state dicts three deep."""

_LISTED = 12
"""Candidates named in a message."""


class ObjectsError(FormatError):
    """The weights may lie in Python objects, which only their own code could open."""


def candidates(root: Any) -> dict[str, Mapping[Any, Any]]:
    """Finds the dicts that can be a state dict, by dotted path; ``""`` is the top level.

    A candidate is a dict most of whose values are tensors. Optimizer states are none. A dict that
    is reachable by two paths counts under the first.
    """
    found: dict[str, Mapping[Any, Any]] = {}
    for path, tree in _dicts(root):
        tensors = sum(map(_is_tensor, tree.values()))
        if tensors * 2 > len(tree):
            found[path] = tree
    return found


def choose(root: Any, key: str | None) -> tuple[str, Mapping[Any, Any]]:
    """Returns the path and the content of the state dict.

    Raises:
        FormatError: none or several fit, or ``key`` leads to none.
    """
    if not isinstance(root, dict):
        raise FormatError(
            f"holds a {_kind(root)} at the top level, not a dict of tensors; save "
            "model.state_dict()"
        )
    found = candidates(root)
    if key is not None:
        chosen = _at(root, key)
        if chosen is None or not any(map(_is_tensor, chosen.values())):
            fault = ObjectsError if _objects_with_tensors(root) else FormatError
            raise fault(f"has no dict of tensors under {shown(key)}; it has {_list(found)}")
        return key, chosen
    main = {path: tree for path, tree in found.items() if not any(map(role, path.split(".")))}
    objects = _objects_with_tensors(root)
    if objects and (len(main) != 1 or next(iter(main)).rpartition(".")[2] not in USUAL):
        raise ObjectsError(
            f"holds tensors inside Python objects ({', '.join(objects)}), which only their code "
            f"could open, and {_list(found)} as plain dicts; save model.state_dict() where you "
            "trust this file, or choose a plain dict with --key NAME"
        )
    if not found:
        raise FormatError("holds no dict of tensors; save model.state_dict()")
    if len(main or found) > 1:
        raise FormatError(
            f"holds several dicts of tensors: {_list(found)}; choose one with --key NAME"
        )
    return next(iter((main or found).items()))


def kept(tree: Mapping[Any, Any], drop: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Leaves out what is not wanted.

    Args:
        tree: the state dict.
        drop: patterns of names that are left out; matched before and after prefixes are stripped.

    Returns:
        The rest of the state dict, and notes.

    Raises:
        FormatError: a key that is no text, or a pattern that matches nothing.
    """
    for name in tree:
        if not isinstance(name, str):
            raise FormatError(
                f"its state dict has the key {shown(name)} of type {_kind(name)}, where a "
                "parameter's name belongs"
            )
        if not name.isascii() and name != name.encode("utf-8", "replace").decode():
            raise FormatError(f"its state dict has the key {shown(name)}, which is no valid text")
    rest = _without(tree, drop)
    gone = len(tree) - len(rest)
    said = f"{gone} name(s) left out on purpose: {', '.join(drop)}"
    return rest, [said] if gone else []


def named(
    tree: Mapping[str, Any], rename: Sequence[Rename]
) -> tuple[dict[str, View], list[str], list[str]]:
    """Names the tensors of a state dict: prefixes stripped, then new names given.

    Args:
        tree: the state dict without what is not wanted.
        rename: rules for new names; they see the names without prefixes.

    Returns:
        The tensors by name, a line for each other thing, and notes.

    Raises:
        FormatError: names that collide, a tensor of a kind that is not read, or a rule that no name
            takes.
    """
    for name, value in tree.items():
        if isinstance(value, Unsupported):
            raise FormatError(f"tensor {shown(name)} {value.reason}; or leave it out with --drop")
    views = {name: value for name, value in tree.items() if isinstance(value, View)}
    extra = [f"{n}: {_kind(v)}, left out" for n, v in tree.items() if not isinstance(v, View)]
    if not views:
        raise FormatError("has no tensor left; nothing to migrate")
    prefix = common_prefix(views)
    table, notes = _new_names([name[len(prefix) :] for name in views], rename)
    if prefix:
        notes.insert(0, f"the prefix {prefix!r} was stripped from all names")
    found: dict[str, View] = {}
    origin: dict[str, str] = {}
    for name, view in views.items():
        new = table[name[len(prefix) :]]
        if new in found:
            raise FormatError(
                f"tensors {shown(origin[new])} and {shown(name)} would both be named {shown(new)}; "
                "rename or drop one of them"
            )
        if not new:
            raise FormatError(f"tensor {shown(name)} would have no name left; rename or drop it")
        found[new], origin[new] = view, name
    return found, extra, notes


def _new_names(
    names: Sequence[str], rename: Sequence[Rename]
) -> tuple[Mapping[str, str], list[str]]:
    table, counts = renamed(names, rename)
    for rule, count in counts.items():
        if not count:
            raise FormatError(
                f"the --rename rule {shown(rule)} renames nothing: no name matches it, or an "
                "earlier rule takes them all; see inspect"
            )
    return table, [f"{count} name(s) renamed: {rule}" for rule, count in counts.items()]


def common_prefix(names: Mapping[str, Any]) -> str:
    """Returns the wrapper prefixes, possibly several, that all names begin with."""
    prefix = ""
    while names:
        more = next(
            (p for p in PREFIXES if all(name.startswith(prefix + p) for name in names)), None
        )
        if more is None:
            break
        prefix += more
    return prefix


def beside(root: Any, key: str) -> list[str]:
    """Returns a line for each thing beside the chosen state dict, down to its level."""
    lines = []
    steps = key.split(".") if key else []
    tree, path = root, ""
    for step in steps:
        if not isinstance(tree, dict):
            break
        lines += [
            f"{path}{name}: {_kind(value)}{_said(path, name, value)}, left out"
            for name, value in tree.items()
            if str(name) != step
        ]
        tree, path = tree.get(step), f"{path}{step}."
    return lines


def _said(path: str, name: Any, value: Any) -> str:
    text = role(str(name))
    if not text:
        return ""
    inner = next(iter(candidates(value)), None) if isinstance(value, dict) else None
    usable = "" if inner is None else f"; --key {f'{path}{name}.{inner}'.rstrip('.')} takes it"
    return f" ({text}{usable})"


def everything(root: Any) -> dict[str, View]:
    """Returns every tensor of any file, refused ones included, by its path; for `describe`."""
    found: dict[str, View] = {}
    for path, tree in _dicts(root, inside_objects=True):
        found |= {
            f"{path}.{name}" if path else str(name): value
            for name, value in tree.items()
            if isinstance(value, View)
        }
    return found


def _dicts(root: Any, *, inside_objects: bool = False) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Visits each dict once, parents first; files may hold cycles and 2**40 paths."""
    seen: set[int] = set()
    waiting: list[tuple[str, int, Any]] = [("", 0, root)]
    while waiting:
        path, depth, value = waiting.pop(0)
        if inside_objects and isinstance(value, Inert):
            value = value.state
        if not isinstance(value, dict) or id(value) in seen or depth > _MAX_DEPTH:
            continue
        if not inside_objects and _is_optimizer(value):
            continue
        seen.add(id(value))
        yield path, value
        waiting += [
            (f"{path}.{name}" if path else name, depth + 1, child)
            for name, child in value.items()
            if isinstance(name, str)
        ]


def _objects_with_tensors(root: dict[Any, Any]) -> list[str]:
    """Returns the names of those that may be the model itself."""
    return [
        f"{shown(name)}: {shown(value.name)[1:-1]}"
        for name, value in root.items()
        if isinstance(value, Inert) and not role(str(name)) and everything(value)
    ]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, View | Unsupported)


def _is_optimizer(tree: dict[Any, Any]) -> bool:
    return "param_groups" in tree and "state" in tree


def _at(tree: Any, key: str) -> dict[Any, Any] | None:
    """Follows a dotted path through dicts whose own names may hold dots."""
    if not isinstance(tree, dict):
        return None
    if key == "":
        return tree
    parts = key.split(".")
    for count in range(len(parts), 0, -1):
        child = tree.get(".".join(parts[:count]))
        if isinstance(child, dict) and (found := _at(child, ".".join(parts[count:]))) is not None:
            return found
    return None


def _without(tree: Mapping[str, Any], drop: Sequence[str]) -> dict[str, Any]:
    prefix = common_prefix({name: None for name, v in tree.items() if _is_tensor(v)})
    gone: set[str] = set()
    for pattern in drop:
        matched = {
            name
            for name in tree
            if fnmatchcase(name, pattern) or fnmatchcase(name.removeprefix(prefix), pattern)
        }
        if not matched:
            raise FormatError(f"no name matches the --drop pattern {shown(pattern)}; see inspect")
        gone |= matched
    return {name: value for name, value in tree.items() if name not in gone}


def _list(found: Mapping[str, Mapping[Any, Any]]) -> str:
    names = [f"{shown(path)} ({len(tree)} entries)" for path, tree in found.items()]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) + more) or "none"


def _kind(value: Any) -> str:
    if isinstance(value, View):
        return f"{value.dtype} tensor {list(value.shape)}"
    if isinstance(value, Unsupported):
        return "tensor of a kind that is not read"
    if isinstance(value, Inert):
        return f"Python object {shown(value.name)}"
    if isinstance(value, dict | list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__

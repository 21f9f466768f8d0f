"""Python source -> what in it torch_npu would do otherwise, line by line.

The source is parsed, and never imported or executed: this is a look at code for another machine.
Importing it here would start whatever it starts, need whatever it needs, and end at the first
package that is missing - which is just what is looked for. The price is that what is known only
when the code runs is not seen: a device name that is put together, a getattr by a variable.

Comments are not in the tree that is walked, and a string that stands alone, such as a docstring,
is never used for anything; neither counts.
"""

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.printable import in_one_line
from ascend_migrate.pipeline.torch_npu.rules import CodeRule, Kind, load_rules

_SHOWN = 100
"""Characters of the source that a finding quotes."""

_POSITIONAL, _KEYWORDS, _CONSTANT = 8, 64, 64
"""Arguments of a call that are matched, and the length of one. Patterns look for a word anywhere in
a call, which takes the square of its length; calls with thousands of arguments are tables."""


class Seen(NamedTuple):
    """What a rule says about a place in the code.

    Attributes:
        line: number of the line, from 1.
        rule: id of the rule.
        found: the code, on one line.
        becomes: what takes its place; empty where that cannot be said in a word.
    """

    line: int
    rule: str
    found: str
    becomes: str


@dataclass(frozen=True, slots=True)
class Read:
    """One module.

    Attributes:
        seen: what the rules say, by line.
        imports: full names of what it imports, each with every part, as written or resolved.
    """

    seen: tuple[Seen, ...]
    imports: tuple[str, ...]


Owns = Callable[[str], bool]
_Import = ast.Import | ast.ImportFrom


def _nothing(_name: str) -> bool:
    return False


def read_module(source: bytes, package: str, own: Owns = _nothing) -> Read:
    """Reads the source of one module.

    Args:
        source: as it is in the file; a coding line in it counts.
        package: what its relative imports start from; empty at the top level.
        own: whether a name at the top level is the project's: no rule is about it, whatever other
            package has the same name.

    Raises:
        SourceError: it is not Python; says why, on one line.
    """
    tree = _parsed(source)
    statements = list(_import_statements(tree))
    look = _Look(source, dict(_names(statements, package)), own)
    seen = sorted(set(look.seen(tree)))
    # Of several on one line, what is said of the first is said of them all.
    first = {(item.line, item.rule): item for item in reversed(seen)}
    return Read(tuple(sorted(first.values())), tuple(sorted(set(_modules(statements, package)))))


def _parsed(source: bytes) -> ast.Module:
    try:
        # What the compiler would warn of is no business of ours.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        raise SourceError(f"is not Python: {where}{error.msg}") from None
    # The parser's stack, not the machine's memory.
    except (RecursionError, MemoryError):
        raise SourceError("is nested more deeply than Python's parser goes") from None
    except (ValueError, LookupError) as error:
        raise SourceError(f"is not Python: {in_one_line(error)}") from None


def _inner(node: ast.AST) -> list[ast.AST]:
    """Returns the parts of a node, without those that are for type checkers alone."""
    if isinstance(node, ast.If):
        test = node.test
        asked = test.id if isinstance(test, ast.Name) else getattr(test, "attr", "")
        if asked == "TYPE_CHECKING":
            return [*node.orelse]
    return list(ast.iter_child_nodes(node))


def _import_statements(tree: ast.Module) -> Iterator[_Import]:
    """Yields them wherever they are; expressions, the bulk of a tree, hold none."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        waiting += [item for item in _inner(node) if not isinstance(item, ast.expr)]


def _base(node: ast.ImportFrom, package: str) -> str:
    """Returns the full name of the module that is imported from."""
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    parts = parts[: len(parts) - (node.level - 1)]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _names(statements: Iterable[_Import], package: str) -> Iterator[tuple[str, str]]:
    """Returns what each imported name stands for.

    Scopes are not told apart: who imports a name anywhere means that one.
    """
    for node in statements:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        else:
            base = _base(node, package)
            for alias in node.names:
                yield alias.asname or alias.name, f"{base}.{alias.name}".lstrip(".")


def _modules(statements: Iterable[_Import], package: str) -> Iterator[str]:
    for node in statements:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            base = _base(node, package)
            yield base
            # What is imported from a package may be a module of it.
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)


@cache
def _matched(kind: Kind, text: str) -> tuple[CodeRule, re.Match[str]] | None:
    for rule in load_rules().code:
        for pattern in rule.patterns[kind]:
            if match := pattern.fullmatch(text):
                return rule, match
    return None


class _Look:
    """Goes through a tree, and asks the rules about what it meets."""

    def __init__(self, source: bytes, imports: Mapping[str, str], own: Owns) -> None:
        self._source = source
        self._names = imports
        self._own = own

    def seen(self, tree: ast.Module) -> Iterator[Seen]:
        """Returns what the rules say, in no order."""
        waiting: list[ast.AST] = [tree]
        while waiting:
            node = waiting.pop()
            found, inner = self._look(node)
            yield from found
            waiting += inner

    def _look(self, node: ast.AST) -> tuple[list[Seen], list[ast.AST]]:
        """Returns what is said of a node, and which parts of it are still to be looked at."""
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                return [], []
            case ast.Call():
                return self._call(node)
            case ast.Attribute() | ast.Name(ctx=ast.Load()):
                return self._name(node)
            case ast.JoinedStr():
                put_in = [part for part in node.values if isinstance(part, ast.FormattedValue)]
                return self._plain(node), [part.value for part in put_in]
            case _:
                return self._plain(node), _inner(node)

    def _plain(self, node: ast.AST) -> list[Seen]:
        match node:
            case ast.Import() | ast.ImportFrom():
                return self._import(node)
            case ast.Constant(value=str(text)):
                return self._said(Kind.TEXT, text, node)
            case ast.JoinedStr():
                return self._said(Kind.TEXT, _template(node), node)
        return []

    def _import(self, node: ast.Import | ast.ImportFrom) -> list[Seen]:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif node.level:
            return []
        else:
            names = [f"{node.module}.{alias.name}".removesuffix(".*") for alias in node.names]
        return [
            seen
            for name in names
            if not self._own(name.partition(".")[0])
            for seen in self._said(Kind.NAME, name, node)
        ]

    def _name(self, node: ast.Attribute | ast.Name) -> tuple[list[Seen], list[ast.AST]]:
        name = self._full(node)
        found = self._said(Kind.NAME, name, node) if name else []
        if isinstance(node, ast.Name):
            return found, []
        # A flag of torch is mostly set; an attribute of what is unknown means something when read.
        if not found and isinstance(node.ctx, ast.Load):
            found = self._said(Kind.NAME, f".{node.attr}", node)
        return found, [] if name else [node.value]

    def _call(self, node: ast.Call) -> tuple[list[Seen], list[ast.AST]]:
        """A rule about a call says more than one about its name, which is then not asked for."""
        arguments: list[ast.AST] = [*node.args, *(item.value for item in node.keywords)]
        given = f"({', '.join(self._arguments(node))})"
        for name in self._callees(node.func):
            found = self._said(Kind.CALL, name + given, node)
            if found:
                if isinstance(node.func, ast.Attribute) and not self._full(node.func):
                    arguments.append(node.func.value)
                return found, arguments
        return [], [node.func, *arguments]

    def _callees(self, node: ast.expr) -> Iterator[str]:
        """Returns the names that a callee may be known by."""
        full = self._full(node)
        if full:
            yield full
        elif isinstance(node, ast.Name):
            yield node.id
        # What hangs on an imported module is a function of it: np.double is no method.
        of_module = full and isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if isinstance(node, ast.Attribute) and not of_module:
            yield f".{node.attr}"

    def _arguments(self, node: ast.Call) -> Iterator[str]:
        for item in node.args[:_POSITIONAL]:
            yield self._argument(item)
        for keyword in node.keywords[:_KEYWORDS]:
            said = self._argument(keyword.value)
            yield f"{keyword.arg}={said}" if keyword.arg else "..."

    def _argument(self, node: ast.expr) -> str:
        match node:
            case ast.Constant():
                said = repr(node.value)
                return said if len(said) <= _CONSTANT else "..."
            case _:
                return self._full(node) or "..."

    def _full(self, node: ast.expr) -> str:
        """Returns the full name of what was imported; empty for what is the project's, or local."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self._names:
            return ""
        name = ".".join([self._names[node.id], *reversed(parts)])
        return "" if self._own(name.partition(".")[0]) else name

    def _said(self, kind: Kind, text: str, node: ast.AST) -> list[Seen]:
        matched = _matched(kind, text)
        if matched is None:
            return []
        rule, match = matched
        line = getattr(node, "lineno", 0)
        return [Seen(line, rule.rule.id, self._quoted(node), match.expand(rule.becomes))]

    def _quoted(self, node: ast.AST) -> str:
        """Returns the source of a node on one line."""
        first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", 1)
        lines = self._lines[first - 1 : last]
        if not lines:
            return ""
        # Columns are counted in bytes of UTF-8, from the front; so the end is cut first.
        lines[-1] = lines[-1][: getattr(node, "end_col_offset", None)]
        lines[0] = lines[0][getattr(node, "col_offset", 0) :]
        text = " ".join(b" ".join(lines).decode("utf-8", "replace").split())
        return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"

    @cached_property
    def _lines(self) -> list[bytes]:
        # The parser counts columns in UTF-8, whatever the file is written in.
        encoding, _ = tokenize.detect_encoding(io.BytesIO(self._source).readline)
        return self._source.decode(encoding, "replace").encode().splitlines()


def _template(node: ast.JoinedStr) -> str:
    """Returns an f-string with ``{}`` for what is put in."""
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
    )

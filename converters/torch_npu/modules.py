"""The code of a model: its module, and what that imports of the same project, found, not imported.

A module is the project's own when it lies in the folder that the specification names, or in the
package that the model's module belongs to. Other packages are not read: what is wrong with them
under torch_npu is known by their names, or asked of their makers.
"""

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

from ascend_migrate.converters.torch_npu.code import Seen, read_module
from ascend_migrate.pipeline.digest import bytes_digest
from ascend_migrate.pipeline.errors import ModelError, SourceError

MAX_BYTES = 4 << 20
"""Of one module; the largest of transformers has a tenth of it. More is data."""

MAX_MODULES = 500
"""A model's code is tens of modules; what leads to more leads to a whole library."""

_KNOWN = sys.stdlib_module_names | {"torch", "torch_npu"}
"""Packages that are not read, and need not be mentioned: the rules are about these."""


class Place(NamedTuple):
    """A module's place.

    Attributes:
        name: its full name.
        package: what its relative imports start from.
        file: its source; None for a folder without one.
        folders: where its own modules are looked for.
    """

    name: str
    package: str
    file: Path | None
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Module:
    """A module that was read.

    Attributes:
        path: of its file, from the folder that its top-level name is in, with forward slashes.
        digest: of its bytes.
        seen: what the rules say about it.
    """

    path: str
    digest: str
    seen: tuple[Seen, ...]


@dataclass(slots=True)
class Code:
    """The code of a model.

    Attributes:
        modules: what was read, by path.
        unread: what was not, with the reason: the project's own by path, packages by name.
    """

    modules: list[Module] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)


def read_code(target: str, search: Path | None) -> Code:
    """Reads the module of a model, and all of its project's modules that it leads to.

    Args:
        target: ``MODULE:CALLABLE``.
        search: folder that is searched for the module first, whose modules are the project's.

    Raises:
        ModelError: there is no such module, or its source cannot be read.
    """
    name = target.partition(":")[0]
    project = _Project(search, name.partition(".")[0])
    if project.place(name) is None:
        raise ModelError(
            f"model {target}: there is no module {name!r} to look at; put it beside the "
            "specification, or install it"
        )
    code = Code()
    # The nearest first: what is left out of a library is far from the model.
    waiting = deque([name])
    asked = {name}
    while waiting:
        found = project.place(module := waiting.popleft())
        if found is None:
            top = module.partition(".")[0]
            if not project.owns(top) and top not in _KNOWN:
                code.unread[top] = "another package"
            continue
        # Importing a module runs the packages around it first.
        parents = [module.rpartition(".")[0]] if "." in module else []
        imports: Sequence[str] = ()
        if found.file is not None:
            if len(code.modules) == MAX_MODULES:
                code.unread["the rest"] = f"more than {MAX_MODULES} modules"
                break
            try:
                read, imports = _read(found, project)
                code.modules.append(read)
            except SourceError as error:
                if module == name:
                    raise ModelError(f"model {target}: {found.file} {error}") from None
                code.unread[project.relative(found.file)] = str(error)
        for other in [*parents, *imports]:
            if other and other not in asked:
                asked.add(other)
                waiting.append(other)
    code.modules.sort(key=lambda item: item.path)
    code.unread = dict(sorted(code.unread.items()))
    return code


class _Project:
    """Finds the project's modules; nothing is imported, packages included."""

    def __init__(self, search: Path | None, top: str) -> None:
        self._search = None if search is None else search.resolve()
        self._top = top
        self._found: dict[str, Place | None] = {}

    def owns(self, top: str) -> bool:
        """Whether a name at the top level is the project's."""
        return self.place(top) is not None

    def place(self, name: str) -> Place | None:
        """Returns where a module of the project is; None for what is no module, or another's."""
        if name not in self._found:
            self._found[name] = self._look(name)
        return self._found[name]

    def relative(self, file: Path) -> str:
        """Returns the path of a file from where the names start, which is the same anywhere."""
        for root in self._roots(file):
            if file.is_relative_to(root):
                return file.relative_to(root).as_posix()
        return file.name

    def _roots(self, file: Path) -> Iterator[Path]:
        if self._search is not None:
            yield self._search
        top = self.place(self._top)
        if top is not None:
            yield from (Path(folder).parent for folder in top.folders)
        yield file.parent

    def _look(self, name: str) -> Place | None:
        parent, _, last = name.rpartition(".")
        if parent:
            above = self.place(parent)
            folders = None if above is None else list(above.folders)
            spec = PathFinder.find_spec(last, folders) if folders else None
        else:
            here = [] if self._search is None else [str(self._search)]
            spec = PathFinder.find_spec(name, here)
            if spec is None or not spec.has_location:
                # Python takes an installed package before a folder that merely has its name.
                installed = PathFinder.find_spec(name)
                if installed is not None and (spec is None or installed.has_location):
                    spec = installed if name == self._top else None
        if spec is None:
            return None
        inner = tuple(spec.submodule_search_locations or ())
        file = Path(spec.origin) if spec.has_location and spec.origin else None
        is_package = spec.submodule_search_locations is not None
        return Place(name, name if is_package else parent, file, inner)


def _read(place: Place, project: _Project) -> tuple[Module, tuple[str, ...]]:
    file = place.file
    if file is None:
        raise TypeError("a folder without a module has no source")
    if file.suffix != ".py":
        raise SourceError(f"is compiled ({file.suffix}), not Python source")
    try:
        # One more than is taken shows that there is more, even of what has no end.
        with file.open("rb") as stream:
            source = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}") from error
    if len(source) > MAX_BYTES:
        raise SourceError(f"is larger than code is ({MAX_BYTES} bytes)")
    read = read_module(source, place.package, project.owns)
    return Module(project.relative(file), bytes_digest(source), read.seen), read.imports

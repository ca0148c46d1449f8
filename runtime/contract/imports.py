"""A module of an installed distribution → the files of that distribution that running it can read, and their digest.

Followed without importing anything: what a module imports of its own distribution, wherever in its text, then what
that imports. Other distributions are not followed (the lock pins their versions). In a package, what is no Python file
counts too (tables, compiled code), and where a module imports by a name made at run time, the whole package does.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse
from urllib.request import url2pathname

from runtime import digest

_BY_NAME = frozenset({"import_module", "__import__", "exec", "eval", "iter_modules", "walk_packages", "run_module"})


def digest_of(distribution: importlib.metadata.Distribution, module: str) -> str:
    """ "sha256:…" of the files behind `module`. Raises ValueError for a module without a file or that is no Python."""
    parts = {}
    for name, path in sorted(_Closure(distribution, module).files().items()):
        data = path.read_bytes()
        parts[name] = hashlib.sha256(data.replace(b"\r\n", b"\n") if path.suffix == ".py" else data).hexdigest()
    return digest.of_value(parts, "kc.plugin.v1")


class _Closure:
    def __init__(self, distribution: importlib.metadata.Distribution, module: str) -> None:
        self._module, self._top = module, module.partition(".")[0]
        self._listed = {Path(str(distribution.locate_file(path))).resolve() for path in distribution.files or ()}
        self._project = _editable(distribution)
        self._specs: dict[str, importlib.machinery.ModuleSpec | None] = {}
        #: what was found so far: a name that is the same on every machine → the file
        self._found: dict[str, Path] = {}
        self._by_name = False

    def files(self) -> dict[str, Path]:
        seen: set[str] = set()
        waiting = [self._module]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            waiting += [name.rpartition(".")[0]] if "." in name else []
            spec = self._spec(name)
            if spec is None or spec.origin is None or not self._own(name, Path(spec.origin)):
                continue
            path = Path(spec.origin)
            self._found[f"{name}{path.suffix}"] = path
            waiting += self._imports(name, path, package=spec.submodule_search_locations is not None)
        own = self._spec(self._module)
        if own is None or own.origin is None:
            raise ValueError(f"no file for module {self._module}")
        self._add_packages()
        return self._found

    def _spec(self, name: str) -> importlib.machinery.ModuleSpec | None:
        """Where a module stands; its parents are not imported for that."""
        if name not in self._specs:
            parent, _, _ = name.rpartition(".")
            if not parent:
                found = importlib.util.find_spec(name)
            else:
                above = self._spec(parent)
                places = above.submodule_search_locations if above else None
                found = importlib.machinery.PathFinder.find_spec(name, list(places)) if places else None
            self._specs[name] = found
        return self._specs[name]

    def _own(self, name: str, path: Path) -> bool:
        """Listed as installed, in the folder of an editable project, or in the regular package of the module itself."""
        place = path.resolve()
        if place in self._listed or name == self._module:
            return True
        if self._project is not None and place.is_relative_to(self._project) and "site-packages" not in place.parts:
            return True
        top = self._spec(self._top)
        return name.partition(".")[0] == self._top and top is not None and top.origin is not None

    def _imports(self, name: str, path: Path, *, package: bool) -> Iterator[str]:
        if path.suffix != ".py":
            return
        try:
            tree = ast.parse(path.read_bytes(), filename=str(path))
        except SyntaxError as error:
            raise ValueError(f"{path.name} is no Python: {error}") from error
        here = name if package else name.rpartition(".")[0]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (item.name for item in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = _base(here, node)
                yield base
                # `from package import module` names a module where it names no attribute
                yield from (f"{base}.{item.name}" for item in node.names if base and item.name != "*")
            elif isinstance(node, ast.Name | ast.Attribute):
                self._by_name |= (node.id if isinstance(node, ast.Name) else node.attr) in _BY_NAME

    def _add_packages(self) -> None:
        for top in {name.partition(".")[0] for name in self._found}:
            spec = self._spec(top)
            if spec is None or spec.origin is None or spec.submodule_search_locations is None:
                continue
            folder = Path(spec.origin).parent
            for path in folder.rglob("*"):
                text = path.suffix in (".py", ".pyc")
                if path.is_file() and "__pycache__" not in path.parts and (not text or self._by_name):
                    self._found.setdefault(f"{top}/{path.relative_to(folder).as_posix()}", path)


def _base(here: str, node: ast.ImportFrom) -> str:
    """The absolute name behind `from …`."""
    if not node.level:
        return node.module or ""
    parts = here.split(".")
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _editable(distribution: importlib.metadata.Distribution) -> Path | None:
    """The folder of a project that was installed with `pip install -e` (PEP 610)."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        url = urlparse(str(origin["url"]))
        editable = bool(origin["dir_info"]["editable"])
    except (ValueError, KeyError, TypeError):
        return None
    return Path(url2pathname(unquote(url.path))).resolve() if editable and url.scheme == "file" else None

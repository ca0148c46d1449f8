"""A spec's file → Spec, or every mistake in it at once. Mistakes are data: nothing is raised for a bad spec."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kcompiler import assets, checks, compose, schema, source
from kcompiler.compose import Fragment, Labels
from kcompiler.diagnostic import Diagnostic, did_you_mean, from_refusal, has_errors, ordered, suggest
from kcompiler.facts import derived
from kcompiler.project import Project
from kcompiler.source import LIMITS, Limits, Tree, Value, file
from kcompiler.spec import Spec
from kcompiler.spec.parse import Parsed, parse
from runtime.contract import Refusal

#: what messages call the runners of the command line
WORDS = "--runner"


@dataclass(frozen=True)
class Form:
    """One spec that the text stands for: all of it, or one cell of its sweep."""

    labels: Labels
    tree: Tree
    spec: Spec


@dataclass(frozen=True)
class Front:
    """What compiling a spec's text gave. `spec` is None exactly when `diagnostics` hold an error.

    `spec` and `tree` are those of the first form; a spec without a sweep has one. `profiles` are the names of all
    overlays of the text, `profile` the one that was asked for.
    """

    path: Path
    tree: Tree | None
    spec: Spec | None
    diagnostics: list[Diagnostic]
    #: the bytes of the file, as far as they were read
    source: bytes = field(repr=False)
    forms: tuple[Form, ...] = ()
    #: what every form shares: fragments and profile, no cell
    base: Tree | None = None
    profile: str = ""
    profiles: tuple[str, ...] = ()
    fragments: tuple[Fragment, ...] = ()
    #: name of the file as messages show it
    shown: str = ""
    #: runners of the command line, as a text
    words: str = ""

    @property
    def name(self) -> str:
        """What the plan is called: the spec's name and, with an `@`, the profile's."""
        assert self.spec is not None
        return f"{self.spec.metadata.name}@{self.profile}" if self.profile else self.spec.metadata.name

    @property
    def sources(self) -> dict[str, bytes]:
        """File → bytes, of everything a diagnostic may quote."""
        said = {WORDS: self.words.encode()} if self.words else {}
        return {self.shown: self.source, **said, **{one.path: one.data for one in self.fragments}}


def compile_spec(
    path: Path,
    root: Path,
    *,
    profile: str = "",
    packs: Sequence[Path] | None = None,
    limits: Limits = LIMITS,
    pure: bool | None = None,
    words: str = "",
) -> Front:
    """Read, compose, parse and check one spec. References start at its folder and must stay below `root`.

    `words` are further runners, a list in YAML, as if they stood in the section `evaluation`.

    `packs` are the folders that hold policy packs: by default those of the project, then the shipped ones.
    """
    root, path = Path(root), Path(path)
    try:
        shown = Project(root).shown(path)
    except (OSError, RuntimeError, ValueError):
        # a loop of links, or a name no file system takes: reading it says so
        shown = Path(os.path.relpath(path.absolute(), root.absolute())).as_posix()
    data, found = _read(path, shown, limits)
    if data is None:
        return Front(path, None, None, found, b"", shown=shown)
    tree, found = source.load(shown, data, limits=limits, pure=pure)
    if tree is None:
        return Front(path, None, None, ordered(found), data, shown=shown)
    folder = path.resolve().parent
    further, wrong = source.load(WORDS, words.encode(), limits=limits, pure=pure) if words else (None, [])
    found = [*found, *wrong]
    composed = compose.compose(tree, root, folder, profile, limits, further)
    folders = (root / "policies", assets.folder("policies")) if packs is None else tuple(packs)
    forms, more = _forms(composed, checks.World(root, folder, folders), found)
    found = ordered([*found, *composed.diagnostics, *more])
    first = forms[0] if forms else None
    return Front(
        path,
        first.tree if first else composed.base or tree,
        first.spec if first and not has_errors(found) else None,
        found,
        data,
        () if has_errors(found) else tuple(forms),
        composed.base,
        profile,
        tuple(composed.profiles),
        tuple(composed.fragments),
        shown,
        words,
    )


def _forms(
    composed: compose.Composed, world: checks.World, found: list[Diagnostic]
) -> tuple[list[Form], list[Diagnostic]]:
    """Each form of a spec with its mistakes. What the sweep does not change is asked of the first form alone.

    A mistake of some cells says which; one that every cell has is said once.
    """
    forms: list[Form] = []
    schemas: schema.Made = {}
    shared: list[Diagnostic] = []
    #: diagnostic → the cells that have it
    cells: dict[Diagnostic, list[Labels]] = {}
    for one in composed.forms:
        try:
            tree, lacking = derived.fill(one.tree, world)
            spec, own, common = _meaning(
                tree, schemas, world, [*found, *lacking], composed.varied, one is composed.forms[0]
            )
        except Refusal as refusal:
            # two installed distributions are at odds about a name: no spec can be read until one of them is gone
            return [], [from_refusal(refusal)]
        shared += common
        if spec is not None:
            forms.append(Form(one.labels, tree, spec))
        for item in dict.fromkeys([*lacking, *own]):
            cells.setdefault(item, []).append(one.labels)
    return forms, [*shared, *(_in_cells(item, where, len(composed.forms)) for item, where in cells.items())]


def _in_cells(item: Diagnostic, where: list[Labels], count: int) -> Diagnostic:
    if len(where) == count:
        return item
    first = ", ".join(f"{name}={label}" for name, label in where[0])
    return replace(item, notes=(*item.notes, f"in {len(where)} of {count} cells of the sweep, first in {first}"))


#: the tokenizer's width is the width of every vocabulary, and so a part of these sections
_WIDTH, _WIDE = "/tokenizer/vocab_size", frozenset({"student", "teacher"})


def _meaning(
    tree: Tree,
    schemas: schema.Made,
    world: checks.World,
    found: list[Diagnostic],
    varied: frozenset[str],
    first: bool,
) -> tuple[Spec | None, list[Diagnostic], list[Diagnostic]]:
    """Sections in their models, and the checks of those sections whose text means what it says.

    Two lists of mistakes: of this form, and, for the first one, of what all forms share.
    """
    parsed = parse(tree) if isinstance(tree.data, dict) else None
    if parsed is None or not sound(tree, parsed):
        structure = schema.validate(tree, schemas)
        if not isinstance(tree.data, dict):
            return None, structure.diagnostics, []
        parsed = parse(tree, structure.foreign)
    else:
        structure = schema.Findings([], frozenset())
    wrong = {item.pointer for item in [*found, *structure.diagnostics] if item.severity == "error"} - structure.foreign
    # what the schema or the loader has refused the models refuse as well: they are heard only where those saw nothing
    more = parsed.diagnostics if not structure.diagnostics and not tree.broken else []
    doubted = {pointer.split("/")[1] for pointer in wrong | tree.broken if pointer}
    if _WIDTH in wrong | tree.broken:
        doubted |= _WIDE
    sections = parsed.sections - doubted
    differs = varied | _WIDE if "tokenizer" in varied else varied
    asked = checks.run(parsed.partial, tree, world, sections, lambda check: check.sees(differs))
    common = checks.run(parsed.partial, tree, world, sections, lambda check: not check.sees(differs)) if first else []
    return parsed.spec, [*structure.diagnostics, *more, *asked], common


def sound(tree: Tree, parsed: Parsed) -> bool:
    """Whether the models alone show that the structure is right, so that no schema need be derived.

    The models allow an explicit null where a key may be left out, and the schema does not.
    """
    return parsed.spec is not None and not parsed.diagnostics and not tree.broken and not _null_in(tree.data)


def _null_in(value: Value) -> bool:
    if isinstance(value, dict):
        return any(map(_null_in, value.values()))
    return any(map(_null_in, value)) if isinstance(value, list) else value is None


def _read(path: Path, shown: str, limits: Limits) -> tuple[bytes | None, list[Diagnostic]]:
    try:
        return file.read(path, limits.bytes + 1), []
    except FileNotFoundError:
        return None, [Diagnostic(code="KC1001", file=shown, summary="no such file", help=_neighbour(path))]
    except file.NotAFile:
        return None, [Diagnostic(code="KC1002", file=shown, summary="not a file", help="name the spec's YAML file")]
    except (OSError, ValueError) as error:
        return None, [_unreadable(shown, error)]


def _unreadable(shown: str, error: OSError | ValueError) -> Diagnostic:
    return Diagnostic(
        code="KC1003",
        file=shown,
        summary="the file cannot be read",
        detail=file.reason(error),
        help="check the path and its permissions",
    )


def _neighbour(path: Path) -> str:
    try:
        names = sorted(item.name for item in path.parent.glob("*.y*ml"))
    except OSError:
        names = []
    return did_you_mean(path.name, suggest(path.name, names)) or "`kcompiler init` writes a spec to start from"

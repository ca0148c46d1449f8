"""A spec's tree → the trees it stands for: fragments included, a profile laid over it, one form per cell of a sweep.

In this order: fragments (what the spec says wins), then the chosen profile, then the cells of `matrix`. Every value
keeps the file, line and column where somebody wrote it, so that a mistake is shown there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kcompiler.compose import include, matrix, overlay
from kcompiler.compose.draft import Draft
from kcompiler.compose.include import Fragment
from kcompiler.compose.matrix import Labels
from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.source import LIMITS, Limits, Tree, child

__all__ = ["Composed", "Fragment", "Labels", "compose"]


@dataclass(frozen=True)
class Form:
    """One spec that the text stands for, and what the cell is called; no labels without a sweep."""

    labels: Labels
    tree: Tree


@dataclass(frozen=True)
class Composed:
    """`base` has fragments and profile in it and no cell of the sweep; it is None when a fragment is missing.

    `profiles` are the names of all overlays, `varied` the top-level sections in which the forms differ.
    """

    base: Tree | None
    forms: list[Form]
    diagnostics: list[Diagnostic]
    profiles: list[str] = field(default_factory=list)
    fragments: list[Fragment] = field(default_factory=list)
    varied: frozenset[str] = frozenset()


def compose(
    tree: Tree, root: Path, folder: Path, profile: str = "", limits: Limits = LIMITS, further: Tree | None = None
) -> Composed:
    """Every form of a spec. Nothing is read but the fragments it names, which must lie below `root`. `further` is a
    list of runners that are asked besides those of the spec."""
    data = tree.data if isinstance(tree.data, dict) else {}
    if not profile and further is None and not data.keys() & {"include", "profiles", "matrix"}:
        return Composed(tree, [Form((), tree)], [])
    draft = Draft(tree)
    fragments, found = include.merge(tree, draft, root, folder, limits) if "include" in data else ([], [])
    names = _names(data.get("profiles"))
    if any(item.severity == "error" for item in found):
        # what the fragments would have said is unknown: any further word about the spec would be a guess
        return Composed(None, [], found, names, fragments)
    if profile:
        found += _profile(draft, tree, profile, names)
    if further is not None:
        _asked_too(draft, further)
    base = draft.tree()
    if not isinstance(base.data, dict) or "matrix" not in base.data:
        return Composed(base, [Form((), base)], found, names, fragments)
    dimensions, wrong = matrix.dimensions(base)
    found += wrong
    if profile in names:
        found += matrix.lost(base, child("/profiles", profile), dimensions)
    forms: list[Form] = []
    for cell in matrix.cells(dimensions):
        made, wrong = matrix.form(base, cell)
        found += [item for item in wrong if item not in found]
        forms.append(Form(matrix.labels(dimensions, cell), made))
    return Composed(base, forms, found, names, fragments, frozenset(matrix.changed(base, dimensions)))


def _asked_too(draft: Draft, further: Tree) -> None:
    """Put runners behind those that the section `evaluation` has; a spec without that section is wrong anyway."""
    evaluation = draft.data.get("evaluation") if isinstance(draft.data, dict) else None
    if not isinstance(evaluation, dict) or not isinstance(further.data, list):
        return
    there = evaluation.get("runners")
    if not isinstance(there, list):
        draft.put("/evaluation/runners", further, "")
        return
    for at in range(len(further.data)):
        there.append(None)
        draft.put(f"/evaluation/runners/{len(there) - 1}", further, f"/{at}")


def _names(profiles: object) -> list[str]:
    return [name for name, one in profiles.items() if isinstance(one, dict)] if isinstance(profiles, dict) else []


def _profile(draft: Draft, tree: Tree, name: str, names: list[str]) -> list[Diagnostic]:
    if name in names:
        return overlay.apply(draft, tree, child("/profiles", name))
    return [
        tree.diagnostic(
            "KC2119",
            "/profiles",
            f"no profile is called `{name}`",
            on="key",
            label="asked for by --profile",
            help=did_you_mean(name, names) or "declare it under `profiles`",
        )
    ]

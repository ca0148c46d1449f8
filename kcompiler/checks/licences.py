"""Licences of rows and of the teacher, which flow to the student, against each other and the use the spec declares.

A licence is read as the weakest reading allows: of alternatives (`OR`) one that fits is enough. Whether weights are
adapted material of the rows is unsettled law, so that only what forbids a *use* is refused, and the rest is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic, suggest
from kcompiler.facts import spdx
from kcompiler.source import Tree
from kcompiler.spec import Spec

_PLACEHOLDERS = frozenset({"", "?", "-", "na", "n/a", "none", "noassertion", "tbd", "tba", "todo", "unknown", "xxx"})
_USE = "/metadata/use"
#: no work can carry both at once: the first forbids adding the second's restriction (creativecommons.org/faq)
_CONFLICT = frozenset({"CC-BY-SA", "CC-BY-NC-SA"})


class _Licensed(NamedTuple):
    """Something whose licence flows to the student. `ways` is empty when the text is no expression."""

    pointer: str
    what: str
    text: str
    ways: list[spdx.Way]
    reason: str


def _rows(spec: Spec) -> Iterator[_Licensed]:
    for i, source in enumerate(spec.data.sources):
        yield _read(f"/data/sources/{i}/license", f"source `{source.name}`", source.license.strip())


def _learned(spec: Spec) -> Iterator[_Licensed]:
    """The rows that the student is made of: what only judges it is no part of it."""
    for source, item in zip(spec.data.sources, _rows(spec), strict=True):
        if source.split != "test":
            yield item


def _teachers(spec: Spec) -> Iterator[_Licensed]:
    if spec.teacher.license:
        yield _read("/teacher/license", "the teacher", spec.teacher.license.strip())


def _starts(spec: Spec) -> Iterator[_Licensed]:
    checkpoint = spec.student.checkpoint
    if checkpoint is not None:
        yield _read("/student/checkpoint/license", "the student's checkpoint", checkpoint.license.strip())


def _read(pointer: str, what: str, text: str) -> _Licensed:
    if text.casefold() in _PLACEHOLDERS:
        return _Licensed(pointer, what, text, [], "a placeholder")
    try:
        return _Licensed(pointer, what, text, spdx.ways(text), "")
    except ValueError as error:
        return _Licensed(pointer, what, text, [], f"not an SPDX expression: {error}")


def _known_rows(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for item in _rows(spec):
        yield from _known(tree, item)


def _known_teacher(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for item in _teachers(spec):
        yield from _known(tree, item)


def _known_start(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for item in _starts(spec):
        yield from _known(tree, item)


def _known(tree: Tree, item: _Licensed) -> Iterator[Diagnostic]:
    if not item.ways:
        yield tree.diagnostic(
            "KC4502",
            item.pointer,
            f"{item.what} names no licence",
            label=item.reason,
            help="write it as SPDX does, such as MIT or CC-BY-4.0, or LicenseRef-<name> for one of your own",
            notes=("the licence flows to every artifact made from it",),
        )
        return
    for name in sorted({name for way in item.ways for name in way}):
        if spdx.canonical(name) is None:
            near = list(spdx.RENAMED.get(name.removesuffix("+"), ())) or suggest(name, spdx.KNOWN)
            ours = f"LicenseRef-{name.removesuffix('+')}"
            yield tree.diagnostic(
                "KC4513",
                item.pointer,
                f"`{name}` is not among the SPDX licences known here",
                severity="warning",
                label="nothing is known of what it asks",
                help=f"did you mean {' or '.join(f'`{other}`' for other in near)}?"
                if near
                else f"look it up at spdx.org/licenses; write `{ours}` if it is not listed there",
            )


def _use_of_rows(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for item in _rows(spec):
        yield from _use(spec, tree, item)


def _use_of_teacher(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for item in _teachers(spec):
        yield from _use(spec, tree, item)


def _use_of_start(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for item in _starts(spec):
        yield from _use(spec, tree, item)


def _use(spec: Spec, tree: Tree, item: _Licensed) -> Iterator[Diagnostic]:
    if not item.ways or not all(map(spdx.non_commercial, item.ways)):
        return
    names = sorted({name for way in item.ways for name in spdx.non_commercial(way)})
    if _USE not in tree.values:
        yield tree.diagnostic(
            "KC4516",
            item.pointer,
            f"the licence of {item.what} forbids commercial use, and this spec does not say what the student is for",
            label=f"{', '.join(names)}: not for commercial use",
            help="write `use: research`, `internal` or `commercial` in metadata",
            related=(tree.related("/metadata", "no `use` in this section", "key"),),
        )
    if spec.metadata.use == "internal":
        yield tree.diagnostic(
            "KC4511",
            item.pointer,
            f"the licence of {item.what} may forbid the declared use",
            severity="warning",
            label=f"{', '.join(names)}: not for commercial use",
            help="use inside a company is commercial for many: ask, or take other material",
            related=(tree.related(_USE, "what the student is declared for"),),
        )
    if spec.metadata.use != "commercial":
        return
    yield tree.diagnostic(
        "KC4511",
        item.pointer,
        f"the licence of {item.what} forbids the declared use",
        label=f"{', '.join(names)}: not for commercial use",
        help="take other material, get a licence and name it LicenseRef-<name>, or declare `use: research`",
        notes=("the licence flows to the student, whatever else it was made from",),
        related=(tree.related(_USE, "what the student is declared for"),),
    )


def _conditions_of_rows(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    excluded = list(_exclusions(spec))
    named = {pointer for item, other, *_ in excluded for pointer in (item.pointer, other.pointer)}
    for item in _learned(spec):
        if item.pointer not in named:
            yield from _conditions(tree, item)
    for item, other, name, theirs in excluded:
        yield tree.diagnostic(
            "KC4514",
            item.pointer,
            "two licences cannot both be kept in one student",
            severity="warning",
            label=f"{name} asks for the same terms",
            detail="one allows commercial use of whatever is adapted, the other forbids it",
            help="leave one of the sources out, unless the student is never passed on",
            related=(tree.related(other.pointer, f"{theirs} asks for the same, and they differ"),),
        )


def _conditions_of_teacher(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for item in _teachers(spec):
        yield from _conditions(tree, item)


def _conditions_of_start(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for item in _starts(spec):
        yield from _conditions(tree, item)


def _conditions(tree: Tree, item: _Licensed) -> Iterator[Diagnostic]:
    if item.ways and all(map(spdx.share_alike, item.ways)):
        names = sorted({name for way in item.ways for name in spdx.share_alike(way)})
        yield tree.diagnostic(
            "KC4512",
            item.pointer,
            f"the licence of {item.what} may bind the student to the same terms",
            severity="note",
            label=f"{', '.join(names)}: share alike",
            help="if you pass the student on, decide whether it is adapted material, and then license it alike",
        )
    if item.ways and all(map(spdx.no_derivatives, item.ways)):
        names = sorted({name for way in item.ways for name in spdx.no_derivatives(way)})
        yield tree.diagnostic(
            "KC4515",
            item.pointer,
            f"the licence of {item.what} forbids passing on what is adapted from it",
            severity="warning",
            label=f"{', '.join(names)}: no derivatives",
            help="keep the student to yourself, take other material, or get leave from its owner",
        )


def _exclusions(spec: Spec) -> Iterator[tuple[_Licensed, _Licensed, str, str]]:
    """Sources whose licences each ask the whole to carry them and forbid each other, with the two licences."""
    first: dict[str, tuple[_Licensed, str]] = {}
    for item in _learned(spec):
        if len(item.ways) != 1:
            continue
        for name, written in spdx.share_alike(item.ways[0]).items():
            family = written.upper()
            for other, (before, theirs) in first.items():
                if {family, other} == _CONFLICT:
                    yield item, before, name, theirs
            first.setdefault(family, (item, name))


CHECKS = (
    Check(_known_rows, "data"),
    Check(_known_teacher, "teacher"),
    Check(_known_start, "student"),
    Check(_use_of_rows, "data", "metadata"),
    Check(_use_of_teacher, "teacher", "metadata"),
    Check(_use_of_start, "student", "metadata"),
    Check(_conditions_of_rows, "data"),
    Check(_conditions_of_teacher, "teacher"),
    Check(_conditions_of_start, "student"),
)

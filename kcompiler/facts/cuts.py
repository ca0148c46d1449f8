"""A spec's `student.cut` × the teacher's shape → the student's, or why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from kcompiler.diagnostic import Diagnostic
from kcompiler.facts import World
from kcompiler.facts import weights as lying
from kcompiler.facts.models import ANOTHER, Unfit, Unreadable, of_config
from kcompiler.facts.teacher import folder_in
from kcompiler.source import Tree
from runtime.contract.cut import COUNTED, Cut, Parts
from runtime.contract.cut import shape as of_parts
from runtime.contract.families import FAMILIES

_CUT, _TEACHER = "/student/cut", "/teacher"


def shape(tree: Tree, world: World) -> tuple[dict[str, Any] | None, list[Diagnostic]]:
    """(the fields of `student.architecture` that a cut leaves, without the vocabulary's width; why there are none).

    Both are empty where the section is of another form than it must have: the schema says so.
    """
    parts = written(tree)
    if parts is None:
        return None, []
    try:
        original = teacher(_at(tree, _TEACHER), world)
    except Unreadable as reason:
        # what is not here says itself how it is had; another teacher is no help against that
        section = _at(tree, _TEACHER)
        where = lying.written(section) if isinstance(section, dict) else None
        absent = list(lying.wrong(tree, world, _TEACHER, where)) if where is not None else []
        return None, absent or [unknown(tree, reason)]
    wrong = list(faults(tree, parts, original))
    return (None if wrong else of_parts(original, parts)), wrong


def written(tree: Tree) -> Parts | None:
    """The cut as it is written; None for one that is not of its form."""
    value = _at(tree, _CUT)
    try:
        return Cut.model_validate(value) if isinstance(value, dict) else None
    except ValidationError:
        return None


def teacher(section: object, world: World) -> Mapping[str, Any]:
    """The architecture's fields of what section `teacher` names. Raises Unreadable: it cannot be known here."""
    if not isinstance(section, dict):
        raise Unreadable("no teacher to cut from")
    own = section.get("architecture")
    if isinstance(own, dict):
        if all(isinstance(own.get(name), int) for name in (*COUNTED.values(), "num_attention_heads")):
            return {name: value for name, value in own.items() if name != "vocab_size"}
        raise Unreadable("the teacher's architecture is not whole")
    if "source" not in section:
        raise Unreadable("teacher.source does not say where it comes from")
    where = lying.written(section)
    if where is None:
        raise Unreadable(f"a teacher of source `{section.get('source')}` has no weights here")
    folder = folder_in(where, world)
    if folder is None or not folder.config:
        raise Unreadable("a repository is looked at when it was fetched" if where.remote else "it is not here")
    return of_config(folder.config)


def unknown(tree: Tree, reason: Unreadable) -> Diagnostic:
    """That the shape of what is cut cannot be known."""
    return tree.diagnostic(
        "KC4341",
        _CUT,
        "the teacher cannot be cut" if isinstance(reason, Unfit) else "what the cut leaves cannot be known",
        on="key",
        label=str(reason),
        help=ANOTHER
        if isinstance(reason, Unfit)
        else "take a teacher whose weights lie in a folder, or write the student's sizes out in student.architecture",
        related=(tree.related(_TEACHER, "the teacher", "key"),),
    )


def faults(tree: Tree, parts: Parts, original: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """Every choice that is none among what the teacher has, or that leaves no model of its family."""
    wrong = {
        name: why for name, choice in parts.choices().items() if (why := choice.fault(int(original[COUNTED[name]])))
    }
    for name, why in wrong.items():
        there = int(original[COUNTED[name]])
        yield _unfit(
            tree,
            name,
            why,
            f"write `{{by: even, count: N}}` with N up to {there}, or `{{by: list, ids: […]}}` of 0 to "
            f"{there - 1}, ascending",
        )
    wide = [name for name in ("channels", "heads") if name in parts.choices()]
    if wrong:
        return
    made = of_parts(original, parts)
    if getattr(parts, "vocabulary", None) is None and all(made[name] == original[name] for name in COUNTED.values()):
        yield tree.diagnostic(
            "KC4353",
            _CUT,
            "this cut keeps the whole teacher",
            on="key",
            label="no layer, head, neuron, channel or id is left out",
            help="say which are kept, as in `cut: {layers: {by: even, count: N}}`; for the teacher as it is write its "
            "weights as `student.checkpoint` and `training: {stages: []}`",
        )
    if not wide:
        return
    width, heads = made["hidden_size"], made["num_attention_heads"]
    if width % heads:
        way = (
            f"keep {' or '.join(str(n) for n in (width - width % heads, width - width % heads + heads) if n)} channels"
        )
        yield _unfit(
            tree,
            wide[0],
            f"{width} channels are no multiple of {heads} query heads",
            f"{way}, or another number of heads",
        )
    elif not FAMILIES[original["family"]].own_head_width and "head_dim" in made:
        yield _unfit(
            tree,
            wide[0],
            f"heads stay {made['head_dim']} wide, {width} / {heads} is {width // heads}, and a "
            f"{original['family']} has no width of heads of its own",
            f"cut layers or neurons of a {original['family']}, and as many heads as channels: half of both",
        )


def _unfit(tree: Tree, name: str, why: str, way: str) -> Diagnostic:
    return tree.diagnostic(
        "KC4342",
        f"{_CUT}/{name}",
        f"this does not say which {name} of the teacher are kept",
        on="key",
        label=why,
        help=way,
    )


def _at(tree: Tree, pointer: str) -> object:
    try:
        return tree.get(pointer)
    except (KeyError, TypeError):
        return None

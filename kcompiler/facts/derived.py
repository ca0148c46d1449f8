"""What a spec leaves to the folders that it names → the same tree with it written out, before anything reads it.

A folder of weights knows its architecture, the width of its vocabulary and its control tokens: nobody need copy them
into a spec. What is written out stands at the place that names the folder; what a spec says itself is never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.compose.draft import Draft
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts import World, cuts
from kcompiler.facts import weights as lying
from kcompiler.facts.models import ANOTHER, Unfit, Unreadable, of_config
from kcompiler.facts.teacher import Folder, folder_in
from kcompiler.source import Tree, Value
from kcompiler.spec.student import FROM_CHECKPOINT, FROM_CUT
from kcompiler.spec.tokenizer import Special

_SHAPE, _CUT, _CHECKPOINT, _WIDTH, _SPECIAL = (
    "/student/architecture",
    "/student/cut",
    "/student/checkpoint",
    "/tokenizer/vocab_size",
    "/tokenizer/special",
)
_NAMES = ("pad", "bos", "eos")


def fill(tree: Tree, world: World) -> tuple[Tree, list[Diagnostic]]:
    """The tree with what its folders say, and why something that was asked of them could not be said.

    A tree that asks for nothing is returned as it is. A section of another form than it must have is passed over: the
    schema says so.
    """
    if not isinstance(tree.data, dict):
        return tree, []
    draft = Draft(tree)
    found = [*_architecture(tree, draft, world), *_words(tree, draft, world)]
    return draft.tree(), found


def _architecture(tree: Tree, draft: Draft, world: World) -> Iterator[Diagnostic]:
    written, where = _text_or(tree, _SHAPE), lying.written(_text_or(tree, _CHECKPOINT))
    if written == FROM_CUT or (written is None and _text_or(tree, _CUT) is not None):
        yield from _of_cut(tree, draft, world)
        return
    asked = written == FROM_CHECKPOINT
    if not asked and (written is not None or where is None or where.remote):
        return
    named = f"{_CHECKPOINT}/{where.key}" if where is not None else _CHECKPOINT
    origin = _SHAPE if asked else named
    wrong = list(lying.wrong(tree, world, _CHECKPOINT, where)) if where is not None else []
    folder = folder_in(where, world) if where is not None else None
    try:
        if folder is None:
            raise Unreadable(_lacking(where))
        if not folder.config:
            raise Unreadable("its folder has no config.json that can be read")
        _write(draft, of_config(folder.config), origin)
    except Unreadable as reason:
        yield from wrong or [
            tree.diagnostic(
                "KC4314",
                origin,
                "the architecture cannot be taken from the checkpoint",
                label=str(reason),
                help=ANOTHER if isinstance(reason, Unfit) else "write it out under student.architecture",
                related=(tree.related(named, "these weights"),) if asked and where is not None else (),
            )
        ]
        draft.write(_SHAPE, FROM_CHECKPOINT, origin)
        draft.doubt(_SHAPE)


def _of_cut(tree: Tree, draft: Draft, world: World) -> Iterator[Diagnostic]:
    """The shape of a student that is cut from the teacher, or why it is not known."""
    origin = _SHAPE if _text_or(tree, _SHAPE) is not None else _CUT
    made, found = cuts.shape(tree, world)
    yield from found
    _write(draft, made or {}, origin)
    if made is None:
        draft.write(_SHAPE, FROM_CUT, origin)
        draft.doubt(_SHAPE)


def _write(draft: Draft, shape: Mapping[str, Any], origin: str) -> None:
    """The fields of an architecture, those of its rotation one by one: each has a place."""
    for name, value in shape.items():
        for inner, part in value.items() if isinstance(value, dict) else [("", value)]:
            draft.write(f"{_SHAPE}/{name}" + (f"/{inner}" if inner else ""), part, origin)


def _lacking(where: lying.Where | None) -> str:
    return "a repository is looked at when it was fetched" if where is not None else "no weights to start from"


def _words(tree: Tree, draft: Draft, world: World) -> Iterator[Diagnostic]:
    """Width and control tokens of a tokenizer that is taken, as far as the spec does not say them."""
    who = _text_or(tree, "/tokenizer/source")
    section = {"teacher": "/teacher", "student": _CHECKPOINT}.get(who) if isinstance(who, str) else None
    named = _text_or(tree, section) if section else None
    # a teacher says where it comes from; the weights of a student are a folder unless it says otherwise
    said = isinstance(named, dict) and (who == "student" or "source" in named)
    where = lying.written(named) if said else None
    if section is None or where is None:
        return
    pointer = f"{section}/{where.key}"
    folder, unsaid = folder_in(where, world), _text_or(tree, _WIDTH) is None
    if folder is None:
        wrong = list(lying.wrong(tree, world, section, where))
        if wrong and unsaid:
            yield from wrong
            draft.write(_WIDTH, None, pointer)
            draft.doubt(_WIDTH)
        return
    size = _text_or(tree, f"{_CUT}/vocabulary/size")
    width = folder.number("vocab_size") if size is None or who == "student" else size
    if unsaid and width is not None:
        draft.write(_WIDTH, width, pointer)
    special, added = _text_or(tree, _SPECIAL), _text_or(tree, "/tokenizer/added")
    if special is not None and not isinstance(special, dict):
        return
    known = control_tokens(folder)
    for name in _NAMES:
        learnt = isinstance(added, list) and name in added
        if name in known and name not in (special or {}) and not learnt:
            draft.write(f"{_SPECIAL}/{name}", known[name], pointer)


def control_tokens(folder: Folder) -> dict[str, str]:
    """Name → text of the control tokens by tokenizer_config.json, else by the ids in config.json.

    Who has no padding pads with the end: what is padded is masked by length, so that the true end stays.
    """
    configured = folder.document("tokenizer_config.json", strict=False)
    words = folder.words
    texts: Mapping[int, str] = words.texts if words is not None else {}
    found: dict[str, str] = {}
    for name in _NAMES:
        value: Any = configured.get(f"{name}_token")
        text = value.get("content") if isinstance(value, dict) else value
        number: Any = folder.config.get(f"{name}_token_id")
        number = number[0] if isinstance(number, list) and number else number
        if isinstance(text, str) and text:
            found[name] = text
        elif isinstance(number, int) and number in texts:
            found[name] = texts[number]
    if "pad" not in found and "eos" in found and Special().pad not in texts.values():
        found["pad"] = found["eos"]
    return found


def _text_or(tree: Tree, pointer: str) -> Value:
    """What stands at a pointer, None when nothing does."""
    try:
        return tree.get(pointer)
    except (KeyError, TypeError):
        return None

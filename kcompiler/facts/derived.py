"""What a spec leaves to the folders that it names → the same tree with it written out, before anything reads it.

A folder of weights knows its architecture, the width of its vocabulary and its control tokens: nobody need copy them
into a spec. What is written out stands at the place that names the folder; what a spec says itself is never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.compose.draft import Draft
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts import World
from kcompiler.facts.models import Unreadable, of_config
from kcompiler.facts.paths import wrong_folder
from kcompiler.facts.teacher import Folder, folder_named, json_object
from kcompiler.source import Tree, Value
from kcompiler.spec.student import FROM_CHECKPOINT
from kcompiler.spec.tokenizer import Special
from runtime.contract.weights import REMOTE

_SHAPE, _CHECKPOINT, _WIDTH, _SPECIAL = (
    "/student/architecture",
    "/student/checkpoint/model",
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
    written, model = _text_or(tree, _SHAPE), _text_or(tree, _CHECKPOINT)
    asked = written == FROM_CHECKPOINT
    if not asked and (written is not None or not isinstance(model, str) or model.startswith(REMOTE)):
        return
    origin = _SHAPE if asked else _CHECKPOINT
    wrong = list(wrong_folder(tree, world, _CHECKPOINT, model)) if isinstance(model, str) else []
    folder = folder_named(model, world) if isinstance(model, str) else None
    try:
        if folder is None:
            raise Unreadable(_lacking(model))
        if not folder.config:
            raise Unreadable("its folder has no config.json that can be read")
        for name, value in of_config(folder.config).items():
            draft.write(f"{_SHAPE}/{name}", value, origin)
    except Unreadable as reason:
        yield from wrong or [
            tree.diagnostic(
                "KC4314",
                origin,
                "the architecture cannot be taken from the checkpoint",
                label=str(reason),
                help="write it out under student.architecture",
                related=(tree.related(_CHECKPOINT, "these weights"),) if asked and isinstance(model, str) else (),
            )
        ]
        draft.write(_SHAPE, FROM_CHECKPOINT, origin)
        draft.doubt(_SHAPE)


def _lacking(model: object) -> str:
    return "a repository is looked at when it was fetched" if isinstance(model, str) else "no weights to start from"


def _words(tree: Tree, draft: Draft, world: World) -> Iterator[Diagnostic]:
    """Width and control tokens of a tokenizer that is taken, as far as the spec does not say them."""
    who = _text_or(tree, "/tokenizer/source")
    pointer = {"teacher": "/teacher/model", "student": _CHECKPOINT}.get(who) if isinstance(who, str) else None
    model = _text_or(tree, pointer) if pointer else None
    if (
        pointer is None
        or not isinstance(model, str)
        or (who == "teacher" and _text_or(tree, "/teacher/source") != "hf")
    ):
        return
    folder, unsaid = folder_named(model, world), _text_or(tree, _WIDTH) is None
    if folder is None:
        wrong = list(wrong_folder(tree, world, pointer, model))
        if wrong and unsaid:
            yield from wrong
            draft.write(_WIDTH, None, pointer)
            draft.doubt(_WIDTH)
        return
    width = folder.number("vocab_size")
    if unsaid and width is not None:
        draft.write(_WIDTH, width, pointer)
    special, added = _text_or(tree, _SPECIAL), _text_or(tree, "/tokenizer/added")
    if special is not None and not isinstance(special, dict):
        return
    said = control_tokens(folder)
    for name in _NAMES:
        learnt = isinstance(added, list) and name in added
        if name in said and name not in (special or {}) and not learnt:
            draft.write(f"{_SPECIAL}/{name}", said[name], pointer)


def control_tokens(folder: Folder) -> dict[str, str]:
    """Name → text of the control tokens by tokenizer_config.json, else by the ids in config.json.

    Who has no padding pads with the end: what is padded is masked by length, so that the true end stays.
    """
    configured = json_object(folder.path / "tokenizer_config.json", strict=False)
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

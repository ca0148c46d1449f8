"""Conversations in rows × the template that will write them: does it take them, as far as its own text says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.rows import Row, readable
from kcompiler.facts.teacher import tokenizer_folder
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime.contract.conversation import Message

#: what a template says when it refuses: the text of its raise_exception
_REFUSES = re.compile(r"""raise_exception\(\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")""")
#: further rows that a message names
_NAMED = 3


def _literal(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """A template of one question and one answer cannot write more turns than these."""
    if spec.tokenizer.chat:
        return
    for read in readable(spec.data, world):
        talks = [row for row in read.content.rows if "messages" in row.whole]
        if talks:
            yield tree.diagnostic(
                "KC4552",
                "/tokenizer/template",
                f"source `{read.source.name}` holds conversations, and the template writes one question and one answer",
                label=f"{talks[0].place}: {len(talks[0].whole['messages'])} messages",
                help="write `template: chat`, with a tokenizer that brings a chat template",
                related=(tree.related(f"/data/sources/{read.index}/fields", "the rows come from here", "key"),),
            )


def _alternates(messages: list[Message]) -> bool:
    """Whether user and assistant speak in turn, calls of tools and their results left out."""
    turns = [m["role"] for m in messages if m["role"] in ("user", "assistant") and "tool_calls" not in m]
    return all(role == ("user", "assistant")[at % 2] for at, role in enumerate(turns))


def _by_role(messages: list[Message]) -> bool:
    return all(message["role"] != "system" for message in messages)


def _by_calls(messages: list[Message]) -> bool:
    return all("tool_calls" not in message for message in messages)


#: what a template may refuse, by words of its own refusal → whether a conversation is free of it, and what helps
_RULES: tuple[tuple[re.Pattern[str], Callable[[list[Message]], bool], str, str], ...] = (
    (
        re.compile(r"alternate", re.IGNORECASE),
        _alternates,
        "user and assistant do not speak in turn",
        "join messages of one speaker that follow each other, or begin with the user",
    ),
    (
        re.compile(r"system\b.*\bnot supported", re.IGNORECASE),
        _by_role,
        "it has a system message",
        "put its text at the beginning of the first question",
    ),
)


def _refused(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """What the template says that it refuses. That it can also refuse otherwise is found when it is run."""
    text = _text(spec, world)
    if text is None:
        return
    said = [one or other for one, other in _REFUSES.findall(text)]
    for words, free, why, way in _RULES:
        refusal = next((one for one in said if words.search(one)), None)
        if refusal is not None:
            yield from _rows(
                spec, tree, world, "KC4553", free, f"the chat template refuses: {refusal[:80]!r}", why, way
            )


def _callless(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """A template that never reads `tool_calls` would leave them out of what is learnt."""
    text = _text(spec, world)
    if text is not None and "tool_calls" not in text:
        what, way = "the chat template writes no tool calls", "take a model whose template does, or write them as text"
        yield from _rows(spec, tree, world, "KC4554", _by_calls, what, "an assistant calls a tool", way)


def _text(spec: Spec, world: World) -> str | None:
    """The template that will write the rows, where it can be read here."""
    folder = tokenizer_folder(spec, world) if spec.tokenizer.chat else None
    try:
        return folder.chat_template if folder is not None else None
    except ValueError:
        return None


def _messages(spec: Spec, row: Row) -> list[Message]:
    """A row as the template is given it."""
    asked = {"role": "user", "content": row.prompt}
    messages = row.whole.get("messages") or [asked, {"role": "assistant", "content": row.response}]
    if spec.tokenizer.system and messages[0]["role"] != "system":
        return [{"role": "system", "content": spec.tokenizer.system}, *messages]
    return messages


def _rows(
    spec: Spec,
    tree: Tree,
    world: World,
    code: str,
    free: Callable[[list[Message]], bool],
    what: str,
    why: str,
    way: str,
) -> Iterator[Diagnostic]:
    """One diagnostic for each source with rows that are not `free` of something."""
    for read in readable(spec.data, world):
        wrong = [row for row in read.content.rows if not free(_messages(spec, row))]
        if wrong:
            yield tree.diagnostic(
                code,
                "/tokenizer/template",
                what,
                label=f"{wrong[0].place}: {why}",
                help=way,
                notes=tuple(row.place for row in wrong[1 : 1 + _NAMED]),
                related=(tree.related(f"/data/sources/{read.index}/path", f"{len(wrong):,} of its rows"),),
            )


CHECKS = (
    Check(_literal, "tokenizer", "data"),
    Check(_refused, "tokenizer", "data", "teacher", "student"),
    Check(_callless, "tokenizer", "data", "teacher", "student"),
)

"""The tokenizer files of a folder → chats as ids, ids as text, and the ids that end an answer.

The folder's own chat template renders a chat, in a process of its own (`models.tokenizer.sandbox`); where a spec has
decided more about it (chat.json: the date it is told, the system message of a chat without one) that holds here too.
Where nobody writes a control token into a message, the ids are those of Transformers' `apply_chat_template`. A message
that spells one is encoded as the plain text that it is: it cannot end its turn and begin another's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from runtime.contract import Refusal, templates
from runtime.models import tokenizer as tokenizers
from runtime.models.tokenizer.places import Place, standing
from runtime.models.tokenizer.sandbox import Sandbox

Message = Mapping[str, Any]
#: noncharacters of Unicode: for use inside a program, never in text that is exchanged
_MARKS = [chr(code) for code in range(0xFDD0, 0xFDF0)]
_TEXTS = ("bos_token", "eos_token", "pad_token", "unk_token")
#: stands for an answer where a template is asked what it writes around one
_SAID = "kcsaidthis"
_LARGEST_JSON = 64 << 20
CHAT = "chat.json"


class BadChat(Exception):
    """The template says that a chat is none that it can render; the message is the template's."""


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a chat is written: the template ("" for none), what control tokens are called in it, the date it is told and
    the system message of a chat without one."""

    template: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    date: str = templates.DATE
    system: str = ""


class Words:
    """Text ↔ ids of one folder. Make one with `load`. May be used by several threads."""

    def __init__(self, backend: Backend, manner: Manner, stops: frozenset[int]) -> None:
        """`stops`: ids that end an answer. Raises Refusal for a template that cannot be read."""
        self.manner, self.stops = manner, stops
        self.backend = backend
        self.backend.encode_special_tokens = False
        self.size = backend.get_vocab_size(with_added_tokens=True)
        plain = Backend.from_str(backend.to_str())
        plain.encode_special_tokens = True
        self._at: dict[Place, Backend] = {
            "start": plain,
            "section": standing(plain, "section"),
            "inside": standing(plain, "inside"),
        }
        added = backend.get_added_tokens_decoder()
        self._added = {i: token.content for i, token in added.items()}
        self.control = {token.content: i for i, token in added.items() if token.special}
        # one process that is asked one thing after the other
        self._sandbox = Sandbox(manner.template, manner.date) if manner.template else None
        self._asking = threading.Lock()
        self._bytes = {character: number for number, character in _byte_characters().items()}
        self._byte_level = '"ByteLevel"' in json.dumps(json.loads(backend.to_str())["decoder"])

    @property
    def template(self) -> str:
        return self.manner.template

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; a control token is spelled out. Bytes that are no character become U+FFFD."""
        return str(self.backend.decode(list(ids), skip_special_tokens=False))

    def bytes_of(self, token: int) -> bytes:
        """What one token stands for, alone."""
        if token in self._added:
            return str(self._added[token]).encode()
        text = str(self.backend.id_to_token(token) or "")
        if self._byte_level:
            return bytes(self._bytes[character] for character in text if character in self._bytes)
        if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            return bytes([int(text[3:5], 16)])
        return text.replace("▁", " ").encode()

    def rendered(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = (), *, generation_prompt: bool = True
    ) -> str:
        """A chat as one text that ends where the answer begins. Raises BadChat for one that the template refuses."""
        if self._sandbox is None:
            raise BadChat("this model has no chat template")
        given = [dict(message) for message in messages]
        if self.manner.system and given[0]["role"] != "system":
            given = [{"role": "system", "content": self.manner.system}, *given]
        beside = [dict(tool) for tool in tools]
        try:
            with self._asking:
                return self._sandbox.render(given, beside, self.manner.texts, generation_prompt=generation_prompt)
        except Refusal as refusal:
            raise BadChat(refusal.message) from None

    def encode(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """The ids of a chat, up to where the answer begins. Raises BadChat."""
        said = json.dumps([list(messages), list(tools)], ensure_ascii=False)
        if not any(control in said for control in self.control):
            text = self.rendered(messages, tools)
            return list(self.backend.encode(text, add_special_tokens=False).ids)
        mark = next((mark for mark in _MARKS if mark not in said), "")
        text = self.rendered(self._marked(list(messages), mark), self._marked(list(tools), mark))
        return self._pieces(text, mark)

    @cached_property
    def around(self) -> tuple[str, str]:
        """What the template writes before and after the content of an answer, as far as it shows: an answer has it, and
        what was said has it not. Qwen 3 has an empty thought there."""
        asked = [{"role": "user", "content": "?"}]
        try:
            opened = self.rendered(asked)
            whole = self.rendered([*asked, {"role": "assistant", "content": _SAID}], generation_prompt=False)
        except BadChat:
            return "", ""
        start, ids = (self.backend.encode(text, add_special_tokens=False).ids for text in (opened, whole))
        if ids[: len(start)] != start:
            return "", ""
        before, said, after = self.decode(ids[len(start) :]).partition(_SAID)
        ends = [place for control in self.control if (place := after.find(control)) >= 0]
        return (before, after[: min(ends)]) if said and ends else ("", "")

    def continued(self, text: str) -> list[int]:
        """The ids of a text that is to be continued, with what the tokenizer itself puts before one; never a control
        token of the text's own."""
        return list(self._at["start"].encode(text, add_special_tokens=True).ids)

    def following(self, text: str) -> list[int]:
        """The ids of a text that stands behind a chat, as an answer does; never a control token of its own."""
        return list(self._at["section"].encode(text, add_special_tokens=False).ids)

    def _pieces(self, text: str, mark: str) -> list[int]:
        """The ids of a text whose control tokens are its own, all but those with `mark` inside."""
        encoded, control = self.backend.encode(text, add_special_tokens=False), set(self.control.values())
        ids: list[int] = []
        done = 0
        for number, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
            if number in control:
                ids += [*self._run(text[done:start], mark, "section" if ids else "start"), number]
                done = end
        return [*ids, *self._run(text[done:], mark, "section" if ids else "start")]

    def _run(self, text: str, mark: str, place: Place) -> list[int]:
        """The ids of a text between two control tokens."""
        text = text.replace(mark, "")
        return list(self._at[place].encode(text, add_special_tokens=False).ids) if text else []

    def _marked(self, value: Any, mark: str) -> Any:
        """Texts in which no control token can be read. Raises BadChat where one is a single character, or no mark is
        left: such a text cannot be told from the template's own."""
        if isinstance(value, str):
            for text in self.control:
                if text in value:
                    if len(text) == 1 or not mark:
                        raise BadChat(f"a message spells {text!r}, which cannot be written as text here")
                    value = value.replace(text, f"{text[:1]}{mark}{text[1:]}")
            return value
        if isinstance(value, list):
            return [self._marked(item, mark) for item in value]
        if isinstance(value, Mapping):
            return {self._marked(name, mark): self._marked(item, mark) for name, item in value.items()}
        return value


def _byte_characters() -> dict[int, str]:
    """Byte → the character that stands for it in a byte-level vocabulary (GPT-2)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {**{byte: chr(byte) for byte in shown}, **{byte: chr(256 + n) for n, byte in enumerate(hidden)}}


def _json(path: Path) -> dict[str, Any]:
    """A JSON file of a folder, {} when it is not there. Raises Refusal for one that is no object, or too large."""
    if not path.is_file():
        return {}
    if path.stat().st_size > _LARGEST_JSON:
        raise Refusal(f"{path.name} is larger than {_LARGEST_JSON >> 20} MiB", place=path.name, action="take it again")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{path.name} is not JSON: {error}", place=path.name, action="take it again") from None
    if not isinstance(found, dict):
        raise Refusal(f"{path.name} is no JSON object", place=path.name, action="take it again")
    return found


def _template(folder: Path) -> str:
    try:
        return templates.chat_template(folder) or ""
    except ValueError as error:
        raise Refusal(
            f"the chat template cannot be read: {error}",
            place=folder.name,
            action="take the one that belongs to these weights",
        ) from None


def _ids(value: Any) -> frozenset[int]:
    """The ids of an `eos_token_id`; none where it is not one."""
    given = value if isinstance(value, list) else [value]
    return frozenset(given) if all(type(number) is int for number in given) else frozenset()


def _stops(folders: Sequence[Path], texts: Mapping[str, str], backend: Backend) -> frozenset[int]:
    """The ids that end an answer: those that a spec has found (chat.json, contract.json), else those of the generation
    config, of the model's config, of the tokenizer. Raises Refusal where nothing says so."""
    size = backend.get_vocab_size(with_added_tokens=True)
    for name in (CHAT, "generation_config.json", "contract.json", "config.json"):
        for folder in folders:
            found = _json(folder / name)
            if name == CHAT:
                stops = found.get("stop")
                ids = _ids(
                    [stop.get("id") for stop in stops if isinstance(stop, dict)] if isinstance(stops, list) else None
                )
            elif name == "contract.json":
                special = found.get("special")
                end = special.get("eos") if isinstance(special, dict) else None
                ids = _ids(end.get("id") if isinstance(end, dict) else None)
            else:
                ids = _ids(found.get("eos_token_id"))
            if ids and not 0 <= min(ids) <= max(ids) < size:
                raise Refusal(
                    f"{name} says that an answer ends with the id {max(ids)}, the tokenizer has {size} tokens",
                    place=folder.name,
                    action="write the id of a token that the tokenizer has",
                )
            if ids:
                return ids
    number = backend.token_to_id(texts.get("eos_token", ""))
    if number is None:
        raise Refusal(
            "nothing says which token ends an answer",
            place=folders[0].name,
            action="write `eos_token_id` into generation_config.json",
        )
    return frozenset([number])


def load(folder: Path, model: Path) -> Words:
    """The words of the folder with the tokenizer; `model` is that with the weights, often the same.

    Raises Refusal for a tokenizer or template that cannot be read, and where no token ends an answer.
    """
    backend, _ = tokenizers.taken(folder)
    config, chat = _json(folder / "tokenizer_config.json"), _json(folder / CHAT)
    texts: dict[str, str] = {}
    for name in _TEXTS:
        given = config.get(name)
        text = given.get("content") if isinstance(given, dict) else given
        if isinstance(text, str):
            texts[name] = text
    manner = Manner(
        template=_template(folder),
        texts=texts,
        date=str(chat.get("date") or templates.DATE),
        system=str(chat.get("system") or ""),
    )
    return Words(backend, manner, _stops([folder, model], texts, backend))

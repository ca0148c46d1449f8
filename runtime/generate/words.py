"""The tokenizer files of a Transformers folder → chats as ids, ids as text, and the ids that end an answer.

The folder's own chat template renders a chat, in jinja2's sandbox; where nobody writes a control token into a message,
the ids are those of Transformers' `apply_chat_template`. A message that spells one is encoded as the plain text that it
is: it cannot end its turn and begin another's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from runtime.contract import Refusal
from runtime.models import tokenizer as tokenizers

Message = Mapping[str, Any]
#: written into a control token that a message spells, so that the template's own are told from it; taken out again
#: before anything is encoded. From the private use area of Unicode
_MARK = "\uf8f0"
_TEXTS = ("bos_token", "eos_token", "pad_token", "unk_token")
#: a template is a text of a few thousand characters; a rendered chat is bounded by the model's context, not here
_LARGEST_TEMPLATE, _LARGEST_JSON = 1 << 18, 16 << 20
TEMPLATE = "chat_template.jinja"


class BadChat(Exception):
    """The template says that a chat is none that it can render; the message is the template's."""


class Words:
    """Text ↔ ids of one folder. Make one with `load`."""

    def __init__(self, backend: Backend, template: str, texts: Mapping[str, str], stops: frozenset[int]) -> None:
        """`texts`: what bos_token, eos_token, … are called in the template; `stops`: ids that end an answer."""
        self.template, self.stops, self.texts = template, stops, dict(texts)
        self.backend = backend
        self.backend.encode_special_tokens = False
        self.size = backend.get_vocab_size(with_added_tokens=True)
        self._plain = Backend.from_str(backend.to_str())
        self._plain.encode_special_tokens = True
        added = backend.get_added_tokens_decoder()
        self._added = {i: token.content for i, token in added.items()}
        self._control = {token.content: i for i, token in added.items() if token.special}
        self._render = _compiled(template) if template else None
        self._bytes = {character: number for number, character in _byte_characters().items()}
        self._byte_level = '"ByteLevel"' in json.dumps(json.loads(backend.to_str())["decoder"])

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

    def rendered(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """A chat as one text that ends where the answer begins. Raises BadChat for one that the template refuses."""
        if self._render is None:
            raise BadChat("this model has no chat template")
        import jinja2

        variables = {**self.texts, "messages": list(messages), "add_generation_prompt": True}
        try:
            return str(self._render.render(**variables, tools=list(tools) or None))
        except jinja2.TemplateError as error:
            raise BadChat(str(error) or type(error).__name__) from None
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError, ArithmeticError, MemoryError) as error:
            raise BadChat(f"the template cannot render it ({type(error).__name__}: {error})") from None

    def encode(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """The ids of a chat, up to where the answer begins. Raises BadChat."""
        guarded, found = self._guarded(messages)
        text = self.rendered(guarded, tools)
        if not found:
            return list(self.backend.encode(text, add_special_tokens=False).ids)
        ids: list[int] = []
        done = 0
        encoded = self.backend.encode(text, add_special_tokens=False)
        control = set(self._control.values())
        for number, (start, end) in [
            pair for pair in zip(encoded.ids, encoded.offsets, strict=True) if pair[0] in control
        ]:
            ids += [*self._run(text[done:start]), number]
            done = end
        return [*ids, *self._run(text[done:])]

    def continued(self, text: str) -> list[int]:
        """The ids of a text that is to be continued, with what the tokenizer itself puts before one; never a control
        token of the text's own."""
        return list(self._plain.encode(text, add_special_tokens=True).ids)

    def _run(self, text: str) -> list[int]:
        text = text.replace(_MARK, "")
        return list(self._plain.encode(text, add_special_tokens=False).ids) if text else []

    def _guarded(self, messages: Sequence[Message]) -> tuple[list[Message], bool]:
        """Messages whose texts spell no control token, and whether one did."""
        found = False

        def guard(value: Any) -> Any:
            nonlocal found
            if isinstance(value, str):
                for text in self._control:
                    if text in value:
                        found = True
                        value = value.replace(text, f"{text[:1]}{_MARK}{text[1:]}")
                return value
            if isinstance(value, list):
                return [guard(item) for item in value]
            return {name: guard(item) for name, item in value.items()} if isinstance(value, dict) else value

        return [{name: guard(item) for name, item in message.items()} for message in messages], found


def _compiled(template: str) -> Any:
    """The template in a sandbox, with what Transformers gives templates."""
    from jinja2 import TemplateError, TemplateSyntaxError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: Any, indent: int | None = None, **_: Any) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    try:
        return environment.from_string(template)
    except TemplateSyntaxError as error:
        raise Refusal(
            f"the chat template is no jinja2 at line {error.lineno}: {error.message}",
            place=TEMPLATE,
            action="take the one that belongs to these weights",
        ) from None


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


def _template(folder: Path, config: Mapping[str, Any]) -> str:
    path = folder / TEMPLATE
    if path.is_file() and path.stat().st_size > _LARGEST_TEMPLATE:
        text = "." * (_LARGEST_TEMPLATE + 1)
    else:
        text = path.read_text(encoding="utf-8") if path.is_file() else config.get("chat_template") or ""
    if isinstance(text, list):  # several by name: the one for plain chats
        named = {str(item.get("name")): item.get("template") for item in text if isinstance(item, dict)}
        text = named.get("default") or ""
    if not isinstance(text, str) or len(text) > _LARGEST_TEMPLATE:
        raise Refusal(
            f"the chat template is no text of at most {_LARGEST_TEMPLATE >> 10} KiB",
            place=folder.name,
            action="take the one that belongs to these weights",
        )
    return text


def _stops(folders: Sequence[Path], texts: Mapping[str, str], backend: Backend) -> frozenset[int]:
    """The ids that end an answer, from generation_config.json, else config.json, else the tokenizer's end token."""
    for name in ("generation_config.json", "config.json"):
        for folder in folders:
            given = _json(folder / name).get("eos_token_id")
            ids = given if isinstance(given, list) else [given]
            if given is not None and all(isinstance(number, int) for number in ids):
                return frozenset(ids)
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
    config = _json(folder / "tokenizer_config.json")
    texts: dict[str, str] = {}
    for name in _TEXTS:
        given = config.get(name)
        text = given.get("content") if isinstance(given, dict) else given
        if isinstance(text, str):
            texts[name] = text
    return Words(backend, _template(folder, config), texts, _stops([folder, model], texts, backend))

"""Pieces of an answer → a chat completion, or the chunks of one, in OpenAI's form."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.contract import calls
from runtime.contract.calls import Call
from runtime.generate import calling
from runtime.generate.engine import Chosen, Piece, Writing
from runtime.generate.grammar import Broken
from runtime.generate.text import Stops
from runtime.serve.wire import Prepared


class _Speech:
    """Text as it grows → the part of it that is surely no call. `held` is what may still become one."""

    def __init__(self, prepared: Prepared) -> None:
        form = prepared.form
        self._never = prepared.must_call
        self._opening = form.opening if form is not None and form.whole else ""
        self._tags = Stops([form.begin] if form is not None and not form.whole else [])
        self._held = ""
        self.shown = ""

    def push(self, text: str) -> str:
        if self._never:
            return ""
        if self._opening:
            self._held += text
            if self._opening.startswith(self._held) or self._held.startswith(self._opening):
                return ""
            text, self._held, self._opening = self._held, "", ""
        text = self._tags.push(text)
        self.shown += text
        return text


@dataclass
class Reply:
    """One answer on its way out. `created`: seconds since the epoch; `model`: as it was asked for."""

    prepared: Prepared
    writing: Writing
    model: str
    created: int
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")

    def __post_init__(self) -> None:
        self._speech = _Speech(self.prepared)
        self._chosen: list[Chosen] = []

    def first(self) -> dict[str, Any]:
        """The chunk that begins every stream."""
        return self._chunk({"role": "assistant", "content": ""})

    def chunks(self, piece: Piece) -> Iterator[dict[str, Any]]:
        """What a piece adds to a stream; the end is `last`."""
        text = self._speech.push(piece.text)
        if text or piece.chosen:
            yield self._chunk({"content": text}, chosen=piece.chosen)

    def last(self) -> Iterator[dict[str, Any]]:
        """The end of a stream, with what was held back. Raises Broken for an answer that is not what was asked for."""
        said, made, finish = self._ended()
        rest = said[len(self._speech.shown) :]
        if rest:
            yield self._chunk({"content": rest})
        for number, call in enumerate(made):
            yield self._chunk({"tool_calls": [{"index": number, **self._call(call)}]})
        yield self._chunk({}, finish=finish)
        if self.prepared.include_usage:
            yield {**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage()}

    def keep(self, piece: Piece) -> None:
        """Remember what only a whole completion tells."""
        self._chosen += piece.chosen

    def whole(self) -> dict[str, Any]:
        """The completion. Raises Broken for an answer that is not what was asked for."""
        said, made, finish = self._ended()
        message: dict[str, Any] = {"role": "assistant", "content": said or None if made else said, "refusal": None}
        if made:
            message["tool_calls"] = [self._call(call) for call in made]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None if self.prepared.ask.top is None else _logprobs(self._chosen),
            "finish_reason": finish,
        }
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage()}

    def usage(self) -> dict[str, int]:
        prompt, completion = len(self.prepared.ask.ids), self.writing.tokens
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def _ended(self) -> tuple[str, list[Call], str]:
        """Text, calls and finish reason. An answer that was cut at its longest says `length`, and a call in it that is
        not whole is no call; any other that is not what was asked for is broken."""
        text, prepared = self.writing.text, self.prepared
        cut = self.writing.finish == "length"
        if prepared.why_not is not None and not cut and (reason := prepared.why_not(text)):
            raise Broken(f"the answer is {reason}")
        if prepared.form is None:
            return text, [], self.writing.finish
        try:
            said, made = calling.read(text, prepared.form, prepared.tools)
        except Broken:
            if not cut:
                raise
            return self._speech.shown, [], "length"
        if prepared.must_call and not made and not cut:
            raise Broken("the answer calls no tool")
        return said, made, "length" if cut else "tool_calls" if made else "stop"

    def _call(self, call: Call) -> dict[str, Any]:
        """One call with an id that the model's own template takes when it comes back."""
        form, chance = self.prepared.form, secrets.token_hex(12)
        return {
            "id": chance[: form.id_length] if form is not None and form.id_length else f"call_{chance}",
            "type": "function",
            "function": {"name": call.name, "arguments": calls.arguments(call.args)},
        }

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _chunk(
        self, delta: dict[str, Any], *, finish: str | None = None, chosen: Sequence[Chosen] = ()
    ) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        if chosen:
            choice["logprobs"] = _logprobs(chosen)
        made: dict[str, Any] = {**self._head("chat.completion.chunk"), "choices": [choice]}
        return {**made, "usage": None} if self.prepared.include_usage else made


def _logprobs(chosen: Sequence[Chosen]) -> dict[str, Any]:
    """Natural logarithms of probability under the model itself. A token that is no text alone shows U+FFFD."""

    def told(spelling: bytes, logprob: float) -> dict[str, Any]:
        return {"token": spelling.decode(errors="replace"), "logprob": logprob, "bytes": list(spelling)}

    return {
        "content": [
            {**told(one.spelling, one.logprob), "top_logprobs": [told(*pair) for pair in one.top]} for one in chosen
        ],
        "refusal": None,
    }

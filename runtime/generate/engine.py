"""A model, its words, and what is asked → an answer that grows by one token at a time.

The same for one question on the command line and for many over HTTP: whoever holds several `Writing`s lets each take a
step in turn. Each has its own cache and its own chance, so that no company changes an answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from runtime.contract import Refusal
from runtime.contract.heads import HALT
from runtime.generate.calling import Form, form_of
from runtime.generate.grammar import Broken, Grammars, Matcher
from runtime.generate.models import Model, Place
from runtime.generate.sampling import Sampler, Scored, log_probabilities, scored
from runtime.generate.text import Detokenizer, Frame, Stops
from runtime.generate.words import Words

Finish = Literal["", "stop", "length"]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What is asked: the ids of a prompt, how tokens are chosen, and where the answer ends at the latest.

    `top`: how many of the likeliest tokens are told beside each chosen one; None tells nothing. `grammar`: what the
    answer must be, as llguidance reads it; "" for anything. `halt`: the answer ends where the model's head says with
    this probability that it does, beside its end token; None: the token alone ends it.
    """

    ids: Sequence[int]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: Sequence[str] = ()
    top: int | None = None
    grammar: str = ""
    halt: float | None = None


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A token of the answer as bytes, the natural logarithm of its probability, and the likeliest ones in its place."""

    spelling: bytes
    logprob: float
    top: Sequence[tuple[bytes, float]]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What one step added that may be shown: text, its tokens (when told), and why the answer is at its end."""

    text: str = ""
    chosen: Sequence[Chosen] = ()
    finish: Finish = ""


@dataclass
class Engine:
    """A model and the words of its folder. Raises Refusal when they do not belong together."""

    model: Model
    words: Words

    def __post_init__(self) -> None:
        if self.words.size > self.model.width:
            raise Refusal(
                f"the tokenizer has {self.words.size} tokens, the model {self.model.width} output rows",
                action="give the tokenizer that belongs to these weights",
                code="KR0206",
            )

    @cached_property
    def grammars(self) -> Grammars:
        """Made when a schema is asked for first. Raises Unavailable without llguidance."""
        return Grammars(self.words, self.model.width)

    @cached_property
    def form(self) -> Form | None:
        """How this model writes tool calls; None in a form that is not known."""
        return form_of(self.words)

    def write(self, ask: Ask) -> Writing:
        """An answer that has not begun. Raises Refusal for a grammar that is none and for a head that the model has
        not, ValueError for a wrong temperature or nucleus."""
        if ask.halt is not None and HALT not in self.model.heads:
            raise Refusal(
                f"the model has no head `{HALT}` that could end an answer",
                action=f"leave --halt out, or train one: student.heads: [{HALT}] and a loss `{HALT}`",
                code="KR0209",
            )
        return Writing(self, ask)


@dataclass
class Writing:
    """One answer on its way. `tokens` counts those chosen, the end token too."""

    engine: Engine
    ask: Ask
    tokens: int = 0
    finish: Finish = ""
    text: str = ""
    ids: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        ask = self.ask
        self._sampler = Sampler(ask.temperature, ask.top_p, ask.seed)
        self._matcher: Matcher | None = self.engine.grammars.matcher(ask.grammar) if ask.grammar else None
        self._shown, self._stops = Detokenizer(self.engine.words.decode), Stops(ask.stop)
        self._frame = Frame(*self.engine.words.around)
        self._place: Place | None = None
        self._waiting: list[Chosen] = []

    def advance(self) -> Piece:
        """Choose one token more. Raises Broken where a grammar cannot be kept or the model's logits are not finite,
        Refusal for a prompt that does not fit."""
        if self.finish:
            raise ValueError("the answer is at its end")
        if self._place is None:
            self._place, logits_V = self.engine.model.begin(self.ask.ids)
        else:
            logits_V = self._place.step(self.ids[-1])
            if self._halts(self._place):
                return self._end("stop")
        allowed_V = self._matcher.allowed() if self._matcher else None
        # rows beyond the vocabulary pad the matrix and stand for nothing
        known_V = logits_V[: self.engine.words.size]
        try:
            token = self._sampler.choose(known_V, None if allowed_V is None else allowed_V[: len(known_V)])
        except ValueError as error:
            raise Broken(str(error)) from None
        self.tokens += 1
        if self._matcher:
            self._matcher.take(token)
        if token in self.engine.words.stops:
            return self._end("stop")
        self.ids.append(token)
        if self.ask.top is not None:
            self._waiting.append(self._told(*scored(log_probabilities(known_V), token, self.ask.top)))
        begun = self._frame.push(self._shown.push(token))
        if self._frame.dropped:
            self._forget(len(self._frame.dropped.encode()))
        shown = self._stops.push(begun)
        if self._stops.found:
            self.finish = "stop"
            return self._piece(shown, covering=len(shown.encode()))
        if self._matcher and self._matcher.complete:
            return self._end("stop", shown)
        if self.tokens >= self.ask.max_tokens or len(self.ask.ids) + len(self.ids) >= self.engine.model.context:
            return self._end("length", shown)
        return self._piece(shown)

    def _halts(self, place: Place) -> bool:
        """Whether the head that ends an answer says so; one that a grammar still asks something of goes on."""
        asked, waits = self.ask.halt, self._matcher is not None and not self._matcher.complete
        return asked is not None and not waits and 1.0 / (1.0 + math.exp(-place.said[HALT])) >= asked

    def _end(self, finish: Finish, shown: str = "") -> Piece:
        """The last piece, with all that was held back."""
        shown += self._stops.push(self._frame.push(self._shown.rest()) + self._frame.rest())
        self.finish = "stop" if self._stops.found else finish
        return self._piece(shown + self._stops.rest())

    def _piece(self, shown: str, covering: int | None = None) -> Piece:
        """Text that may be shown, with the tokens that wait for it: all of them, or those that cover so many bytes."""
        self.text += shown
        told: list[Chosen] = []
        if shown or self.finish:
            size = 0
            while self._waiting and (covering is None or size < covering):
                told.append(self._waiting.pop(0))
                size += len(told[-1].spelling)
        return Piece(text=shown, chosen=told, finish=self.finish)

    def _forget(self, size: int) -> None:
        """Leave out the first tokens that wait, of so many bytes: they are no part of what was said."""
        self._frame.dropped = ""
        while size > 0 and self._waiting:
            size -= len(self._waiting.pop(0).spelling)

    def _told(self, chosen: Scored, top: Sequence[Scored]) -> Chosen:
        spell = self.engine.words.bytes_of
        return Chosen(
            spelling=spell(chosen.token),
            logprob=chosen.logprob,
            top=[(spell(one.token), one.logprob) for one in top],
        )

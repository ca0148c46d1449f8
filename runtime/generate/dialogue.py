"""What a person says, turn by turn → answers that remember what was said, as far as the model has room for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runtime.contract import Refusal, calls
from runtime.contract.strict_json import Json
from runtime.generate import calling, grammar
from runtime.generate.engine import Ask, Engine, Writing
from runtime.generate.words import BadChat, Message


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How answers are chosen and where they end; see `engine.Ask`."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: Sequence[str] = ()
    halt: float | None = None


class Dialogue:
    """A conversation of one person with one model. With a schema or tools each answer keeps them, or is none."""

    def __init__(self, engine: Engine, settings: Settings, *, schema: Json = None, tools: Json = None) -> None:
        """Raises Refusal for a schema or tools that are refused, Unavailable where llguidance is needed and absent."""
        self._engine, self._settings = engine, settings
        self._turns: list[Message] = []
        self._notes: list[str] = []
        self._judged = None if schema is None else grammar.judged(schema)
        self._tools = [] if tools is None else calling.registry(tools)
        self._form = engine.form if self._tools else None
        if self._tools and self._form is None:
            raise Refusal(
                "this model's chat template writes tool calls in a form that is not known",
                action="ask without tools, or by a JSON schema",
                code="KR0207",
            )
        self._grammar = ""
        if isinstance(schema, dict):
            self._grammar = engine.grammars.json(schema)
        elif self._form is not None:
            self._grammar = calling.grammar(engine.words, self._form, self._tools, "auto")
        if self._grammar:
            engine.grammars.matcher(self._grammar)
        self.constrained = bool(self._grammar)
        self.cut = False

    def notes(self) -> list[str]:
        """What should be known about the turn that was asked last; told once."""
        told, self._notes = self._notes, []
        return told

    def ask(self, text: str) -> Iterator[str]:
        """The answer in pieces. Where a schema or tools are to be kept, one piece: the whole answer, once it was
        judged. Raises Refusal for a prompt that does not fit, Broken for an answer that is not what was asked for."""
        ids = self._ids({"role": "user", "content": text})
        chosen = self._settings
        writing = self._engine.write(
            Ask(
                ids=ids,
                max_tokens=chosen.max_tokens,
                temperature=chosen.temperature,
                top_p=chosen.top_p,
                seed=chosen.seed,
                stop=chosen.stop,
                halt=chosen.halt,
                grammar=self._grammar,
            )
        )
        return self._pieces(writing)

    def _pieces(self, writing: Writing) -> Iterator[str]:
        while not writing.finish:
            piece = writing.advance()
            if piece.text and not self.constrained:
                yield piece.text
        self.cut = writing.finish == "length"
        if self.constrained and not self.cut:
            yield self._kept(writing.text)
        self._turns.append({"role": "assistant", "content": writing.text})

    def _kept(self, text: str) -> str:
        """An answer that keeps what it was to keep; calls are shown one a line, as RFC 8785 text."""
        if self._judged is not None:
            return grammar.whole(text, [self._judged(text)])
        assert self._form is not None
        said, made = calling.read(text, self._form, self._tools)
        lines = [f'{{"name":"{call.name}","arguments":{calls.arguments(call.args)}}}' for call in made]
        return "\n".join([said.strip(), *lines] if said.strip() else lines)

    def _ids(self, turn: Message) -> list[int]:
        """The ids of the conversation with one turn more. The oldest turns are left out where the model has no room for
        them, all of them where its template takes a single question. Raises Refusal."""
        words, longest = self._engine.words, self._engine.model.context
        if not words.template:
            return words.continued(str(turn["content"]))
        turns = [*self._turns, turn]
        while True:
            try:
                ids = words.encode(calling.told(turns, words, self._engine.form), calling.shown(self._tools))
            except BadChat as error:
                if len(turns) == 1:
                    raise Refusal(
                        f"the chat template refuses this: {error}", action="ask in another way", code="KR0208"
                    ) from None
                self._note("this model's template takes one question at a time: what was said before is left out")
                turns = [turn]
                continue
            if len(ids) < longest - 1 or len(turns) == 1:
                self._turns = turns
                return ids
            self._note("the conversation is longer than the model's context: its oldest turns are left out")
            turns = turns[2:] if len(turns) > 2 else [turn]

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

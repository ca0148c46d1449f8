"""A row and what a model says, answer by answer → its calls, each answered by a fixture, and how its scenario ends.

A call that no fixture answers is a miss: it ends the item, is counted once and apart, and nothing of it is shown to the
model. A call that no tool could carry out (malformed, unknown, arguments that do not fit) is the model's own mistake
and no miss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.contract import callforms, calls, scenario
from runtime.contract.callforms import Form
from runtime.contract.calls import Call, Fault
from runtime.contract.conversation import Message
from runtime.contract.toolbox import fixtures_of
from runtime.tools.broker.session import Miss, Session

#: what ends an item from without: an answer that was cut, and a conversation beyond what the model reads
ANSWER, CONVERSATION = "answer", "conversation"
CUT = {ANSWER: "cut", CONVERSATION: "too_long"}
FORMS: tuple[Form, ...] = ("tagged", "native", "listed", "llama")


@dataclass(slots=True)
class Played:
    """One row as far as it was played."""

    row: Mapping[str, Any]
    session: Session
    messages: list[Message]
    beside: Sequence[Mapping[str, Any]]
    made: list[Call] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    served: int = 0
    #: tool → the schema of its arguments
    parameters: Mapping[str, Any] = field(default_factory=dict)
    #: the call that nothing answers, and what of the fixtures is nearest
    lacks: str = ""
    #: why it has ended; "" while it goes on
    ended: str = ""

    @property
    def final(self) -> str:
        return self.said[-1] if self.ended == "halted" else ""


def begun(row: Mapping[str, Any], tools: Sequence[Any]) -> Played:
    """A row of which nothing was said yet. Raises Refusal without fixtures."""
    first = scenario.asked(row, tools)
    parameters = {str(tool["name"]): tool["parameters"] for tool in tools}
    session = Session(fixtures_of(tools), str(row["id"]))
    return Played(row, session, first.messages, first.tools, parameters=parameters)


def turns_of(row: Mapping[str, Any], turns: int) -> int:
    """How many answers a row lets a model give."""
    return int(row["wanted"].get("turns", turns))


def step(one: Played, text: str, turns: int) -> None:
    """What one answer of the model leads to; a row that does not say how many it may give takes at most `turns`."""
    one.said.append(text)
    fixtures = one.session.fixtures
    found = callforms.read(text, FORMS, fixtures.validators)
    if isinstance(found, Fault):
        one.ended = "halted" if found.kind == "no_call" else found.kind
        return
    asked: list[dict[str, Any]] = []
    results: list[Message] = []
    for call in found:
        wrong = calls.invalid(call, fixtures.validators)
        answer = one.session.refused(call.name, call.args) if wrong else one.session.call(call.name, call.args)
        if answer is None or isinstance(answer, Miss):
            # whoever writes what no tool takes has not met a lack of fixtures
            one.ended = wrong.kind if wrong else "miss"
            if isinstance(answer, Miss):
                one.lacks = f"{answer.tool}{calls.arguments(answer.args)}: {answer.why}"
                one.lacks += f"; nearest {answer.near}" if answer.near else ""
            return
        one.made.append(call)
        one.served += 1
        one.results.append(answer.result)
        name = f"call_{len(one.made)}"
        function = {"name": call.name, "arguments": call.args}
        asked.append({"id": name, "type": "function", "function": function})
        results.append({"role": "tool", "content": answer.result, "tool_call_id": name, "name": call.name})
    one.messages += [{"role": "assistant", "content": "", "tool_calls": asked}, *results]
    if len(one.said) >= turns_of(one.row, turns):
        one.ended = "no_halt"


def end(one: Played, cut: str, text: str | None = None) -> None:
    """It ends from without, by an answer that was cut or before one."""
    one.said += [] if text is None else [text]
    one.ended = CUT[cut]


def output_of(one: Played) -> dict[str, Any]:
    """What is kept of it: enough to play it again."""
    return {"said": one.said, "cut": next((cut for cut, reason in CUT.items() if reason == one.ended), "")}


def _calls_of(message: Message) -> list[Call]:
    return [Call(one["function"]["name"], one["function"]["arguments"]) for one in message.get("tool_calls", ())]


def path_calls(row: Mapping[str, Any]) -> list[Call]:
    """The calls of the row's own path, in their order."""
    return [call for message in scenario.path(row) for call in _calls_of(message)]


def own_path(row: Mapping[str, Any]) -> list[str]:
    """What a model would have said that takes the row's own path."""
    return [
        callforms.write(_calls_of(message)) if "tool_calls" in message else str(message["content"])
        for message in scenario.path(row)
    ]


def own_changes(one: Played) -> dict[str, Any]:
    """What the row's own path changes in the world: a row that declares no state wants that, and no more."""
    session = Session(one.session.fixtures, str(one.row["id"]))
    for call in path_calls(one.row):
        session.call(call.name, call.args)
    return session.changed()

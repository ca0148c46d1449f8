"""Fixtures × recorded conversations → how much of what was called they answer, rightly or not, and what is missing.

Two rates are told. `run`: as a broker runs, an item ends with its first miss, which is counted once. `calls`: each
recorded call, whatever became of those before it. What is served is compared with what the tool really answered: a
wrong answer is worse than a miss.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from runtime.contract import Refusal, fixtures, report
from runtime.contract.fixture_set import FixtureSet
from runtime.contract.strict_json import Json, dumps
from runtime.tools.broker.recording import Episode, Made, learnt
from runtime.tools.broker.session import Miss, Session


@dataclass(slots=True)
class Counts:
    """Calls of a tool, an item or a kind: asked, answered, answered as recorded."""

    calls: int = 0
    served: int = 0
    equal: int = 0

    def told(self) -> dict[str, Any]:
        return {
            "calls": self.calls,
            "served": self.served,
            "equal": self.equal,
            "hit_rate": report.rate(self.served, self.calls),
        }


@dataclass(frozen=True, slots=True)
class Missing:
    """One call that nothing answers, and lines that would, of what was recorded: file → lines."""

    item: str
    trial: int
    call: Made
    why: str
    near: str
    add: Mapping[str, Sequence[dict[str, Json]]]


@dataclass(slots=True)
class Statistics:
    """What `measure` found."""

    total: Counts = field(default_factory=Counts)
    run: Counts = field(default_factory=Counts)
    by_tool: dict[str, Counts] = field(default_factory=dict)
    by_item: dict[str, Counts] = field(default_factory=dict)
    by_kind: Counter[str] = field(default_factory=Counter)
    whole: int = 0
    episodes: int = 0
    misses: list[Missing] = field(default_factory=list)
    #: calls that were answered otherwise than the tool did
    wrong: list[tuple[Made, str, str]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)


def measure(held: FixtureSet, episodes: Sequence[Episode]) -> Statistics:
    """Every recorded call asked of the fixtures, item by item."""
    found = Statistics(episodes=len(episodes))
    said: set[tuple[str, str]] = set()
    for episode in episodes:
        session, missed = Session(held, episode.item), False
        for call in episode.calls:
            answer = session.call(call.tool, call.args)
            some = [
                found.total,
                found.by_tool.setdefault(call.tool, Counts()),
                found.by_item.setdefault(episode.item, Counts()),
                *([] if missed else [found.run]),
            ]
            for one in some:
                one.calls += 1
            if isinstance(answer, Miss):
                missed = True
                add = {
                    name: fresh
                    for name, lines in _stub(held, session, call, episode).items()
                    if (fresh := [line for line in lines if _first(name, line, said)])
                }
                found.misses.append(Missing(episode.item, episode.trial, call, answer.why, answer.near, add))
                continue
            found.by_kind[answer.kind] += 1
            for one in some:
                one.served += 1
                one.equal += answer.result == call.result
            if answer.result != call.result:
                found.wrong.append((call, answer.result, answer.place))
        found.whole += not missed
        found.used |= session.used
    return found


def _first(name: str, line: Mapping[str, Json], said: set[tuple[str, str]]) -> bool:
    """Whether no line for the same call, or entry of the world, was said before."""
    what = dumps([line.get("args"), line.get("collection"), line.get("key")])
    new = (name, what) not in said
    said.add((name, what))
    return new


def _stub(held: FixtureSet, session: Session, call: Made, episode: Episode) -> dict[str, list[dict[str, Json]]]:
    """Lines that would have answered a call, of its recorded answer: an exact line, or what it tells of the world."""
    provenance: dict[str, Json] = {"item": episode.item, "trial": episode.trial, "place": call.place}
    tool = held.tools.get(call.tool)
    general = [line for line in tool.lines() if line.kind in ("stateful", "ignore_args")] if tool else []
    if not general:
        validator = held.validators.get(call.tool)
        if validator is None:
            return {}
        kind = "exact" if validator.is_valid(call.args) else "error"
        line: dict[str, Json] = {"kind": kind, "args": cast(Json, call.args), "result": call.result}
        return {f"{call.tool}.jsonl": [{**line, "review": "unreviewed", "provenance": provenance}]}
    told: list[dict[str, Json]] = [
        {"collection": one.collection, "key": key, "value": value, "review": "unreviewed", "provenance": provenance}
        for line in general
        for one in line.learns
        for key, value in learnt(one, call, session)
        if key not in held.world.get(one.collection, {})
    ]
    return {fixtures.WORLD: told} if told else {}


def unused(held: FixtureSet, found: Statistics) -> list[Refusal]:
    """Every line that no call was answered by."""
    return [
        Refusal(
            f"no recorded call of `{line.tool}` is answered by this line",
            place=line.place,
            action="remove the line, or record what calls it",
            code="KR0234",
        )
        for line in held.lines()
        if line.place not in found.used
    ]


def told(found: Statistics) -> dict[str, Any]:
    """All of it as one JSON value."""
    return {
        "episodes": found.episodes,
        "without_a_miss": found.whole,
        "fixture_hit_rate": report.rate(found.run.served, found.run.calls),
        "fixture_miss_count": found.episodes - found.whole,
        "calls": found.total.told(),
        "by_kind": dict(sorted(found.by_kind.items())),
        "by_tool": {name: one.told() for name, one in sorted(found.by_tool.items())},
        "by_item": {name: one.told() for name, one in sorted(found.by_item.items())},
        "misses": [
            {
                "item": one.item,
                "trial": one.trial,
                "tool": one.call.tool,
                "args": one.call.args,
                "place": one.call.place,
                "why": one.why,
                "near": one.near,
                "add": {name: list(lines) for name, lines in one.add.items()},
            }
            for one in found.misses
        ],
        "wrong": [
            {
                "tool": call.tool,
                "args": call.args,
                "place": call.place,
                "recorded": call.result,
                "served": said,
                "by": by,
            }
            for call, said, by in found.wrong
        ],
    }

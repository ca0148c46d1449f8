"""Conversations in which tools were really called → what was called and answered, and fixtures that say so.

Nothing is written that was not recorded: a declared line (pure, ignore_args, matcher, stateful) is a claim about the
tool, and every recorded call is held against it. One that it answers otherwise refuses the whole recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from runtime import digest
from runtime.contract import Refusal, conversation, expressions, fixtures, rows
from runtime.contract.expressions import Unknown, Wrong
from runtime.contract.fixture_set import Fixture, FixtureSet, Learn
from runtime.contract.seen import seen
from runtime.contract.strict_json import Json, dumps, loads
from runtime.tools import registry
from runtime.tools.broker.session import Served, Session

#: largest file of recorded conversations
MOST_BYTES = 256 << 20
#: how often the world is learnt again because what was learnt told more
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Made:
    """One call as it was made, and what the tool answered; `place` says where in the file."""

    tool: str
    args: dict[str, Json]
    result: str
    place: str


@dataclass(frozen=True, slots=True)
class Episode:
    """One recorded conversation: which item, which trial, its calls in order; `reward` where it was judged.
    `unfinished` are the places of calls without a result."""

    item: str
    trial: int
    calls: tuple[Made, ...]
    reward: float | None
    unfinished: tuple[str, ...] = ()


def load(path: Path) -> list[Episode]:
    """Recorded conversations, as a JSON list or JSON Lines: objects with `messages` (or `traj`) in the OpenAI form,
    `id` (or `task_id`), and optionally `trial` and `reward`. Raises Refusal with the place of what is wrong."""
    if path.stat().st_size > MOST_BYTES:
        raise Refusal(f"larger than {MOST_BYTES >> 20} MB", place=path.name, action="split the file")
    data = path.read_bytes()
    try:
        whole = data.lstrip()[:1] == b"["
        listed = loads(data) if whole else [loads(line) for line in data.splitlines() if line.strip()]
    except ValueError as error:
        raise Refusal(f"not JSON: {error}", place=path.name, action="give JSON, or JSON Lines") from None
    assert isinstance(listed, list)
    if not listed:
        raise Refusal("no conversation in it", place=path.name, action="record some calls first")
    found, seen = [], set[tuple[str, int]]()
    for number, one in enumerate(listed, start=1):
        episode = _episode(one, f"{path.name}[{number}]")
        if (episode.item, episode.trial) in seen:
            raise Refusal(
                f"item `{episode.item}` has trial {episode.trial} twice",
                place=f"{path.name}[{number}]",
                action="remove one",
            )
        seen.add((episode.item, episode.trial))
        found.append(episode)
    return found


def _episode(one: Json, here: str) -> Episode:
    action = "an episode is {id, trial, messages}, its messages in the OpenAI form"
    if not isinstance(one, dict):
        raise Refusal("no object", place=here, action=action)
    name, trial, reward = one.get("id", one.get("task_id")), one.get("trial", 0), one.get("reward")
    if type(name) not in (str, int) or type(trial) is not int:
        raise Refusal("`id` (or `task_id`) and `trial` name the episode", place=here, action=action)
    if reward is not None and (isinstance(reward, bool) or not isinstance(reward, int | float)):
        raise Refusal("`reward` is a number", place=here, action=action)
    messages = one.get("messages", one.get("traj"))
    checked = conversation.checked(messages, here, answered=False)
    waiting: dict[str, dict[str, Any]] = {}
    unnamed: list[dict[str, Any]] = []
    calls, left = [], list[str]()
    asked = here
    for number, message in enumerate(checked):
        if message["role"] == "assistant":
            made = message.get("tool_calls", [])
            left += [asked] * len(unnamed)
            asked = f"{here}.messages[{number}]"
            waiting, unnamed = {call["id"]: call for call in made if "id" in call}, list(made)
        if message["role"] != "tool":
            continue
        call = waiting.get(message.get("tool_call_id", "")) or next(iter(unnamed), None)
        if call is None or call not in unnamed:
            raise Refusal("a result without its call", place=f"{here}.messages[{number}]", action=action)
        unnamed.remove(call)
        inner = call["function"]
        calls.append(Made(inner["name"], inner["arguments"], message["content"], f"{here}.messages[{number}]"))
    left += [asked] * len(unnamed)
    return Episode(str(name), trial, tuple(calls), None if reward is None else float(reward), tuple(left))


def declared(folder: Path, tools: Sequence[registry.Tool]) -> dict[str, list[tuple[str, dict[str, Json]]]]:
    """The files of a folder whose lines say how tools work; a header may leave to us for which registry they are.

    Raises Refusal for a line that says what a tool answered, or what a world holds: such a thing is recorded. Whoever
    has accepted a line elsewhere has not seen it beside these records: it is `unreviewed` again.
    """
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        place = f"{folder}/{path.name}"
        lines = list(rows.objects(path, place=place, max_bytes=fixtures.MOST_LINE_BYTES))
        if path.name != fixtures.WORLD:
            lines = fixtures.completed(lines, place, cast(Any, tools))
        for here, line in lines:
            recorded = line.get("kind") in fixtures.RECORDED or "collection" in line
            if recorded:
                raise Refusal(
                    "the line says what was answered once, and no conversation here says so",
                    place=here,
                    action="remove it and record the conversation; a declaration says how a tool works",
                    code="KR0235",
                )
        found[str(path)] = [*lines[:1], *((here, {**line, "review": "unreviewed"}) for here, line in lines[1:])]
    return found


@dataclass(slots=True)
class Recorded:
    """File name → lines, and how the calls that were recorded are answered."""

    files: dict[str, list[dict[str, Json]]] = field(default_factory=dict)
    by_kind: Counter[str] = field(default_factory=Counter)
    #: calls that the declared lines of a tool do not answer, and that no exact line may stand for
    unanswered: list[Made] = field(default_factory=list)
    #: places of declared lines that answer no recorded call: nothing here shows that the tool works so
    unshown: list[str] = field(default_factory=list)


#: what is done with text that must not be kept: (text) → text; raises Refusal
Cleaned = Callable[[str], str]


def record(
    episodes: Sequence[Episode],
    tools: Sequence[registry.Tool],
    declared: Mapping[str, Sequence[tuple[str, dict[str, Json]]]],
    *,
    provenance: Mapping[str, Json],
    clean: Cleaned,
) -> Recorded:
    """Fixtures of what was recorded. `declared` are files (as `fixtures.read` takes them) of lines that say how a tool
    works; where a tool has none, each of its calls becomes an `exact` line.

    Raises Refusal for a call of a tool that the registry lacks, and for one that the declared lines answer otherwise.
    """
    known = {tool["name"]: tool for tool in tools}
    if fixtures.WORLD.removesuffix(".jsonl") in known:
        raise Refusal("a tool is called `world`, as the file of the world is", action="give the tool another name")
    for episode in episodes:
        for call in episode.calls:
            if call.tool not in known:
                raise Refusal(
                    f"a call of `{call.tool}`, which the registry lacks",
                    place=call.place,
                    action="add the tool to the registry, or leave the conversation out",
                )
    made = fixtures.read(declared, tools)
    _learn(made, episodes)
    found = Recorded()
    exact: dict[str, dict[str, tuple[Made, Episode]]] = {}
    states: dict[tuple[str, str], str] = {}
    shown = set[str]()
    valid = registry.validators(tools)
    for episode in episodes:
        session = Session(made, episode.item)
        for call in episode.calls:
            answer = session.call(call.tool, call.args)
            if isinstance(answer, Served):
                if answer.result != call.result:
                    raise Refusal(
                        f"`{call.tool}` answered {call.result[:99]!r}; {answer.place} says {answer.result[:120]!r}",
                        place=call.place,
                        action="correct the declared line: it is not how the tool works",
                        code="KR0235",
                    )
                found.by_kind[answer.kind] += 1
                shown.add(answer.place)
                continue
            tool = made.tools.get(call.tool)
            if tool is not None and any(line.kind in ("stateful", "ignore_args") for line in tool.lines()):
                found.unanswered.append(call)
                continue
            key = tool.key(call.args) if tool else digest.canonical(call.args).decode()
            if states.setdefault((call.tool, key), call.result) != call.result:
                raise Refusal(
                    f"`{call.tool}` answered the same call in two ways: it depends on more than its arguments",
                    place=call.place,
                    action="declare a `stateful` line for it, or leave the tool out",
                    code="KR0235",
                )
            exact.setdefault(call.tool, {}).setdefault(key, (call, episode))
            found.by_kind["exact"] += 1
    found.unshown = [line.place for tool in made.tools.values() for line in tool.lines() if line.place not in shown]
    _write(found, made, declared, exact, tools, valid, provenance, clean)
    return found


def _write(
    found: Recorded,
    made: FixtureSet,
    declared: Mapping[str, Sequence[tuple[str, dict[str, Json]]]],
    exact: Mapping[str, Mapping[str, tuple[Made, Episode]]],
    tools: Sequence[registry.Tool],
    valid: Mapping[str, Any],
    provenance: Mapping[str, Json],
    clean: Cleaned,
) -> None:
    headers = {str(lines[0][1].get("tool")): [line for _, line in lines] for lines in declared.values()}
    for tool in tools:
        name = tool["name"]
        lines = headers.get(name, [])
        if not lines and name not in exact:
            continue
        found.files[f"{name}.jsonl"] = [*(lines or [fixtures.header(tool, tools)])]
        for call, episode in exact.get(name, {}).values():
            fits = valid[name].is_valid(call.args)
            found.files[f"{name}.jsonl"].append(
                {
                    "kind": "exact" if fits else "error",
                    "args": cast(Json, _cleaned(call.args, clean)),
                    "result": clean(call.result),
                    "review": "unreviewed",
                    "provenance": {**provenance, "item": episode.item, "trial": episode.trial},
                }
            )
    if any(made.world.values()):
        found.files[fixtures.WORLD] = [
            fixtures.world_header(tools),
            *(
                {
                    "collection": name,
                    "key": clean(key),
                    "value": _cleaned(value, clean),
                    "review": "unreviewed",
                    "provenance": dict(provenance),
                }
                for name, entries in sorted(made.world.items())
                for key, value in entries.items()
            ),
        ]


def _cleaned(value: Any, clean: Cleaned) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(item, clean) for item in value]
    if isinstance(value, dict):
        return {clean(name): _field(name, item, clean) for name, item in value.items()}
    return value


def _field(name: str, value: Any, clean: Cleaned) -> Any:
    """A text or number is cleaned beside the name of its field, too: `password` says what its value is, and so it does
    with characters between its letters that nobody sees."""
    if isinstance(value, list):
        return [_field(name, item, clean) for item in value]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return _cleaned(value, clean)
    alone, label = clean(str(value)), seen(name)
    beside = clean(f"{label}={alone}")
    kept = beside.removeprefix(f"{label}=") if beside.startswith(f"{label}=") else alone
    return value if kept == str(value) else kept


def written(lines: Iterable[Mapping[str, Json]]) -> str:
    """Lines of a file, with LF."""
    return "".join(dumps(dict(line)) + "\n" for line in lines)


def _learn(made: FixtureSet, episodes: Sequence[Episode]) -> None:
    """The known world, from recorded results alone, until a round tells nothing new.

    An entry that the item itself has changed before, or may have, is not what the world was at its beginning.
    """
    rules = {tool.name: [line for line in tool.lines() if line.learns] for tool in made.tools.values() if tool.lines()}
    for _ in range(_ROUNDS):
        before = sum(map(len, made.world.values()))
        for episode in episodes:
            session = Session(made, episode.item)
            for call in episode.calls:
                # what is known before the call decides what its result tells
                for line in rules.get(call.tool, ()):
                    for one in line.learns:
                        _learnt(one, line, call, session, made)
                session.call(call.tool, call.args)
        if sum(map(len, made.world.values())) == before:
            return


def _learnt(one: Learn, line: Fixture, call: Made, session: Session, made: FixtureSet) -> None:
    entries = made.world[one.collection]
    for key, value in learnt(one, call, session):
        if key in entries and digest.canonical(entries[key]) != digest.canonical(value):
            raise Refusal(
                f"`{key[:80]}` of `{one.collection}` is {dumps(value)[:120]}, and {dumps(entries[key])[:120]} before",
                place=call.place,
                action=f"correct `learns` of {line.place}: two recordings tell different things of one entry",
                code="KR0235",
            )
        entries[key] = value


def learnt(one: Learn, call: Made, session: Session) -> list[tuple[str, Json]]:
    """Entries of the world that a recorded answer tells, as it was when the item began."""
    try:
        data = loads(call.result, doubles=True)
    except ValueError:
        data = None
    variables: dict[str, Json] = {
        "args": cast(Json, call.args),
        "world": cast(Json, session.world()),
        "result": call.result,
        "data": data,
    }
    try:
        items = expressions.evaluate(one.each, variables) if one.each else [None]
    except (Unknown, Wrong):
        return []
    found: list[tuple[str, Json]] = []
    for item in items if isinstance(items, list) else []:
        scope = {**variables, "it": item} if one.each else variables
        try:
            if one.when is not None and expressions.evaluate(one.when, scope) is not True:
                continue
            key, value = expressions.evaluate(one.key, scope), expressions.evaluate(one.value, scope)
        except (Unknown, Wrong):
            continue
        if isinstance(key, str) and session.untouched(one.collection, key):
            found.append((key, value))
    return found

"""A folder of fixtures → a checked set, or the file and line that is wrong.

`<tool>.jsonl`: the first line is the header `{"format": 1, "tool", "registry", "schema"}` (`registry`: fingerprint of
the registry the fixtures were made for; `schema`: digest of the tool's parameters; `normalise`: argument → normalisers
that apply before two calls are compared). Each further line is a fixture:

- `exact`: `args` and their `result`; equal are arguments whose RFC 8785 text is equal after the declared normalisers;
- `error`: the same, of a call that failed in the tool itself;
- `matcher`: a JSON Schema of the arguments (`schema`), with a `result` or an `answer`;
- `ignore_args`: one `result` for every call (a tool to think aloud, to hand over);
- `pure`: `answer` is an expression over `args` (a calculator);
- `stateful`: `let`, `checks`, `answer` and `writes` are expressions over `args` and `world`; `learns` says what a
  recorded result tells about the world.

`scope` is `suite` or `item:<id>`; `review` is `unreviewed` or `accepted`; `provenance` says where a line comes from.
`world.jsonl` has the header `{"format": 1, "world": true, "registry"}` and lines `{"collection", "key", "value"}`: a
collection holds what is known, and what it does not hold is unknown.

Which line answers is never a matter of order: two that could answer the same call are refused when the set is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from runtime import digest
from runtime.contract import Refusal, bounded, expressions, rows, toolset
from runtime.contract.expressions import Expression
from runtime.contract.fixture_set import NORMALISERS, OMITTED, Fixture, FixtureSet, Learn, Tool, Write, answers, apart
from runtime.contract.strict_json import Json, dumps

FORMAT = 1
#: what a tool's header may say besides
_MAY_HEAD = {"normalise"}
WORLD = "world.jsonl"
KINDS = ("exact", "error", "matcher", "ignore_args", "pure", "stateful")
#: what was answered once: such a line is recorded, and never declared
RECORDED = ("exact", "error")
#: a set larger than this is an attack, or a database
MOST_LINES, MOST_LINE_BYTES = 200_000, 1 << 20
#: entries of a list in a line
MOST_PARTS = 64
_ACTION = "correct the line, or remove it"
#: names that a message lists at most
_SOME = 12
_ITEM = re.compile(r"item:.{1,200}\Z")


def schema_digest(parameters: Mapping[str, Json]) -> str:
    """64 hexadecimal digits over the RFC 8785 text of a tool's parameters."""
    return hashlib.sha256(digest.canonical(dict(parameters))).hexdigest()


def header(tool: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> dict[str, Json]:
    """The first line of a tool's file."""
    return _header(tool, toolset.fingerprint(tools))


def world_header(tools: Sequence[Mapping[str, Any]]) -> dict[str, Json]:
    return _world_header(toolset.fingerprint(tools))


def _header(tool: Mapping[str, Any], registry: str) -> dict[str, Json]:
    return {
        "format": FORMAT,
        "tool": tool["name"],
        "registry": registry,
        "schema": schema_digest(tool["parameters"]),
    }


def _world_header(registry: str) -> dict[str, Json]:
    return {"format": FORMAT, "world": True, "registry": registry}


def completed(
    lines: Sequence[tuple[str, dict[str, Json]]], place: str, tools: Sequence[Mapping[str, Any]]
) -> list[tuple[str, dict[str, Json]]]:
    """A tool's declared file, whose header may leave to us for which registry it is, with its whole header.

    Raises Refusal with the header to write, which names no registry: KR0231 where there is none, KR0230 where it is of
    other tools."""
    here, head = lines[0] if lines else (f"{place}:1", {})
    whole = header(_meant(head, place, here, {tool["name"]: tool for tool in tools}), tools)
    short: dict[str, Json] = {"format": FORMAT, "tool": whole["tool"]}
    _formed(head, here, short)
    if "tool" not in head:
        raise _wrong("the header names no tool", here, _header_advice(head, short))
    if any(name in head and head[name] != whole[name] for name in ("registry", "schema")):
        raise Refusal(
            "these lines were declared for another registry",
            place=here,
            action=f"{_header_advice(head, short)}, where they hold for this registry, too",
            code="KR0230",
        )
    return [(here, {**whole, **head}), *lines[1:]]


def load(
    folder: Path, tools: Sequence[Mapping[str, Any]], *, place: str = "", wrong: list[Refusal] | None = None
) -> FixtureSet:
    """The set of a folder. Raises Refusal with file and line for whatever is wrong in it, or was made for another
    registry; what is wrong with single lines is collected in `wrong` instead, where that is given."""
    if not folder.is_dir():
        raise Refusal("no folder of fixtures", place=place or str(folder), action="name the folder that `record` wrote")
    files = {}
    for path in sorted(folder.iterdir()):
        here = f"{place or folder}/{path.name}"
        if path.is_symlink() or not path.is_file() or path.suffix != ".jsonl":
            raise Refusal("not a file of fixtures", place=here, code="KR0231", action="keep only *.jsonl files there")
        files[here] = list(rows.objects(path, place=here, max_bytes=MOST_LINE_BYTES))
    return read(files, tools, wrong)


def read(
    files: Mapping[str, Sequence[tuple[str, dict[str, Json]]]],
    tools: Sequence[Mapping[str, Any]],
    wrong: list[Refusal] | None = None,
) -> FixtureSet:
    """Files by name, each as (place, object) per line → the set. Raises as `load`."""
    made = FixtureSet(registry=toolset.fingerprint(tools), validators=toolset.validators(tools))
    if sum(map(len, files.values())) > MOST_LINES:
        raise _wrong(f"more than {MOST_LINES:,} lines of fixtures", next(iter(files)), "record fewer trials")
    known = {tool["name"]: tool for tool in tools}
    later: list[tuple[Tool, Sequence[tuple[str, dict[str, Json]]]]] = []
    for name, lines in files.items():
        here, head = lines[0] if lines else (f"{name}:1", {})
        if head.get("world") is True or (Path(name).name == WORLD and "tool" not in head):
            _head(head, here, _world_header(made.registry))
            _read_world(lines[1:], made)
            continue
        later.append((_tool(head, name, here, made, known), lines[1:]))
    for tool, lines in later:
        for here, line in lines:
            try:
                one = _fixture(line, here, tool.name)
                _add(one, tool, made)
            except Refusal as refusal:
                if wrong is None:
                    raise
                wrong.append(refusal)
                continue
            made.unreviewed += one.review == "unreviewed"
    for one in made.lines():
        for name in (*(write.collection for write in one.writes), *(learn.collection for learn in one.learns)):
            made.world.setdefault(name, {})
    for one in made.lines():
        for unheard in sorted({name for text in one.expressions() for name in expressions.members(text, "world")}):
            if unheard not in made.world:
                raise _wrong(f"nothing is known, learnt or written of `world.{unheard}`", one.place)
    for tool, _ in later:
        _unambiguous(tool, made)
    return made


def _wrong(message: str, place: str, action: str = _ACTION) -> Refusal:
    return Refusal(message, place=place, action=action, code="KR0231")


def _only(line: Mapping[str, Json], here: str, needs: set[str], may: set[str], action: str = "") -> None:
    unknown, missing = sorted(set(line) - needs - may), sorted(needs - set(line))
    if unknown or missing:
        what = [f"unknown field `{name[:40]}`" for name in unknown] + [f"missing field `{name}`" for name in missing]
        raise _wrong(", ".join(what), here, action or f"it has {', '.join(sorted(needs | may))}")


def _meant(head: Mapping[str, Json], name: str, here: str, known: Mapping[str, Any]) -> Any:
    """The tool that a file is of: its header names it, and where it does not, the name of the file."""
    tool = head.get("tool", Path(name).stem)
    if not isinstance(tool, str) or tool not in known:
        some = ", ".join(sorted(known)[:_SOME]) + (", …" if len(known) > _SOME else "")
        raise _wrong(f"the registry has no tool {tool!r}"[:120], here, f"name a tool of the registry: {some}")
    return known[tool]


def _header_advice(head: Mapping[str, Json], right: Mapping[str, Json]) -> str:
    """Which header to write, and where: a first line that is a fixture stays, below it."""
    kept = {name: head[name] for name in _MAY_HEAD & set(head) if "tool" in right}
    where = "above this line" if {"kind", "collection"} & set(head) else "in its place" if head else "as its first line"
    return f"write {dumps({**right, **kept})} {where}"


def _formed(head: Mapping[str, Json], here: str, right: Mapping[str, Json]) -> None:
    if head.get("format") != FORMAT:
        what = f"the first line is no header of format {FORMAT}" if head else "an empty file: it has no header"
        raise _wrong(what, here, _header_advice(head, right))


def _head(head: Mapping[str, Json], here: str, right: Mapping[str, Json]) -> None:
    """Holds a first line against the header that is right there."""
    _formed(head, here, right)
    _only(head, here, set(right), _MAY_HEAD if "tool" in right else set(), _header_advice(head, right))
    _same_registry(head, here, str(right["registry"]))


def _same_registry(head: Mapping[str, Json], here: str, made_for: str) -> None:
    if head["registry"] != made_for:
        raise Refusal(
            f"these fixtures were made for registry {str(head['registry'])[:12]}…, and here is {made_for[:12]}…",
            place=here,
            action="record them again with this registry, or give the registry they were made for",
            code="KR0230",
        )


def _tool(head: Mapping[str, Json], file: str, here: str, made: FixtureSet, known: Mapping[str, Any]) -> Tool:
    if head.get("format") == FORMAT and "registry" in head:
        # another registry has other tools, and that is what is wrong then
        _same_registry(head, here, made.registry)
    meant = _meant(head, file, here, known)
    name, parameters = meant["name"], meant["parameters"]
    _head(head, here, _header(meant, made.registry))
    if name in made.tools:
        raise Refusal(f"`{name}` has two files", place=here, action="put its lines into one", code="KR0232")
    if head["schema"] != schema_digest(parameters):
        raise Refusal(
            f"`{name}` had other parameters when these fixtures were made",
            place=here,
            action="record them again with this registry",
            code="KR0230",
        )
    normalise = head.get("normalise", {})
    properties = parameters.get("properties", {})
    if not isinstance(normalise, dict):
        raise _wrong("`normalise` is an object: argument → list of normalisers", here)
    for argument, names in normalise.items():
        if argument != "*" and argument not in properties:
            raise _wrong(f"`{name}` has no argument `{argument[:40]}` to normalise", here, "name an argument, or *")
        if not isinstance(names, list) or not set(map(str, names)) <= {*NORMALISERS, *OMITTED}:
            raise _wrong(
                f"normalisers of `{argument[:40]}`", here, f"choose from {', '.join((*NORMALISERS, *OMITTED))}"
            )
    defaults = {key: one["default"] for key, one in properties.items() if isinstance(one, dict) and "default" in one}
    made.tools[name] = Tool(name, cast(Any, normalise), defaults)
    return made.tools[name]


#: fields that a line of the world must have, and may have
WORLD_LINE = ({"collection", "key", "value"}, {"provenance", "review"})


def _read_world(lines: Sequence[tuple[str, dict[str, Json]]], made: FixtureSet) -> None:
    for here, line in lines:
        _only(line, here, *WORLD_LINE)
        made.unreviewed += _review(line, here) == "unreviewed"
        collection, key = line["collection"], line["key"]
        if not isinstance(collection, str) or not collection.isidentifier() or not isinstance(key, str):
            raise _wrong("`collection` is a name, `key` a text", here)
        entries = made.world.setdefault(collection, {})
        if key in entries:
            raise Refusal(
                f"`{key[:80]}` of `{collection}` stands there twice", place=here, action=_ACTION, code="KR0232"
            )
        entries[key] = line["value"]


#: kind → fields that such a line must have, and fields that it may have
NEEDS: Mapping[str, tuple[set[str], set[str]]] = {
    "exact": ({"args", "result"}, set()),
    "error": ({"args", "result"}, set()),
    "matcher": ({"schema"}, {"result", "answer"}),
    "ignore_args": ({"result"}, set()),
    "pure": ({"answer"}, {"checks"}),
    "stateful": ({"answer"}, {"let", "checks", "writes", "learns"}),
}
#: what every line may say
COMMON = {"scope", "review", "provenance"}
#: list of a line → the same of its entries
PARTS: Mapping[str, tuple[set[str], set[str]]] = {
    "checks": ({"unless", "result"}, set()),
    "writes": ({"collection", "key", "value"}, {"when"}),
    "learns": ({"collection", "key", "value"}, {"when", "each"}),
}
#: what an expression reads: of every line, of a stateful one, of what is learnt, and of what is learnt of each
READS, STATE, LEARNT, EACH = {"args"}, {"world"}, {"result", "data"}, {"it"}


def _fixture(line: Mapping[str, Json], here: str, tool: str) -> Fixture:
    kind = line.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise _wrong(f"a fixture of kind {kind!r}", here, f"its kind is one of {', '.join(KINDS)}")
    needs, may = NEEDS[kind]
    _only(line, here, {"kind", *needs}, {*may, *COMMON})
    scope, review = line.get("scope", "suite"), _review(line, here)
    if not isinstance(scope, str) or (scope != "suite" and not _ITEM.match(scope)):
        raise _wrong(f"scope {scope!r}"[:80], here, "a scope is `suite` or `item:<id>`")
    args, result, schema = line.get("args", {}), line.get("result", ""), line.get("schema", {})
    if not isinstance(args, dict) or not isinstance(result, str) or not isinstance(schema, dict):
        raise _wrong("`args` and `schema` are objects, `result` is a text", here)
    if kind == "matcher":
        if ("result" in line) is ("answer" in line):
            raise _wrong("a matcher has either a `result` or an `answer`", here)
        _bounded(schema, here)
    seen = READS | STATE if kind == "stateful" else {*READS}
    let = []
    for pair in _listed(line, "let", here):
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str) or not pair[0].isidentifier():
            raise _wrong("`let` is a list of [name, expression]", here)
        if pair[0] in seen or pair[0] in expressions.FUNCTIONS:
            raise _wrong(f"`{pair[0]}` has a meaning already", here, "choose another name")
        let.append((pair[0], _expression(pair[1], here, seen, f"let {pair[0]}")))
        seen.add(pair[0])
    checks = []
    for one in _listed(line, "checks", here):
        check = _part(one, here, "checks")
        checks.append(
            (_expression(check["unless"], here, seen, "unless"), _expression(check["result"], here, seen, "result"))
        )
    writes = []
    for one in _listed(line, "writes", here):
        write = _part(one, here, "writes")
        when = _expression(write["when"], here, seen, "when") if "when" in write else None
        key, value = (_expression(write[name], here, seen, name) for name in ("key", "value"))
        writes.append(Write(_collection(write, here), key, value, when))
    learns = []
    for one in _listed(line, "learns", here):
        learn = _part(one, here, "learns")
        outer = READS | STATE | LEARNT
        each = _expression(learn["each"], here, outer, "each") if "each" in learn else None
        inner = outer | EACH if each else outer
        when = _expression(learn["when"], here, inner, "when") if "when" in learn else None
        key, value = (_expression(learn[name], here, inner, name) for name in ("key", "value"))
        learns.append(Learn(_collection(learn, here), key, value, when, each))
    return Fixture(
        kind=kind,
        tool=tool,
        place=here,
        item="" if scope == "suite" else scope.removeprefix("item:"),
        review=review,
        args=args,
        result=result,
        schema=schema,
        answer=_expression(line["answer"], here, seen, "answer") if "answer" in line else None,
        let=tuple(let),
        checks=tuple(checks),
        writes=tuple(writes),
        learns=tuple(learns),
    )


def _review(line: Mapping[str, Json], here: str) -> str:
    review = line.get("review", "unreviewed")
    if review not in ("unreviewed", "accepted"):
        raise _wrong(f"review {review!r}"[:80], here, "it is `unreviewed` or `accepted`")
    return str(review)


def _listed(line: Mapping[str, Json], name: str, here: str) -> list[Json]:
    found = line.get(name, [])
    if not isinstance(found, list) or len(found) > MOST_PARTS:
        raise _wrong(f"`{name}` is a list of at most {MOST_PARTS}", here)
    return found


def _part(value: Json, here: str, name: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise _wrong(f"an entry of `{name}` is an object", here)
    _only(value, here, *PARTS[name])
    return value


def _collection(value: Mapping[str, Json], here: str) -> str:
    name = value["collection"]
    if not isinstance(name, str) or not name.isidentifier():
        raise _wrong("`collection` is a name", here)
    return name


def _expression(text: Json, here: str, variables: set[str], name: str) -> Expression:
    if not isinstance(text, str):
        raise _wrong(f"`{name}` is an expression, in a text", here)
    try:
        return expressions.parse(text, frozenset(variables))
    except ValueError as error:
        raise _wrong(f"`{name}`: {error}", here) from None


def _bounded(schema: dict[str, Json], here: str) -> None:
    """A matcher's schema is judged as it reads, and no text makes it search for minutes."""
    why = toolset.misfit(schema)
    if why:
        raise _wrong(f"`schema`: {why}", here)
    for pattern in _patterns(schema):
        try:
            bounded.compiled(pattern)
        except ValueError as error:
            raise _wrong(f"pattern {pattern[:60]!r}: {error}", here) from None


def _patterns(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "pattern" and isinstance(inner, str):
                yield inner
            if name == "patternProperties" and isinstance(inner, dict):
                yield from inner
            yield from _patterns(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _patterns(inner)


def _add(line: Fixture, tool: Tool, made: FixtureSet) -> None:
    if line.kind not in RECORDED:
        tool.general.setdefault(line.item, []).append(line)
        return
    wrong = next(iter(made.validators[tool.name].iter_errors(line.args)), None)
    if wrong is not None and line.kind == "exact":
        raise _wrong(
            f"`args` do not fit `{tool.name}`: {wrong.message[:200]}", line.place, "an `error` line may say so"
        )
    key = line.item, tool.key(line.args)
    if key in tool.exact:
        raise Refusal(
            f"the same arguments as {tool.exact[key].place}", place=line.place, action="keep one", code="KR0232"
        )
    tool.exact[key] = line


def _unambiguous(tool: Tool, made: FixtureSet) -> None:
    """Of one scope at most one general line may answer a call, and no exact line what a general one answers."""
    for some in tool.general.values():
        for at, line in enumerate(some):
            for other in some[:at]:
                if not apart(line, other):
                    raise Refusal(
                        f"this line and {other.place} could both answer a call of `{tool.name}`",
                        place=line.place,
                        action="keep one, or give both matchers a required argument with different `const` or `enum`",
                        code="KR0233",
                    )
    for (item, _), line in tool.exact.items():
        for other in tool.general.get(item, ()):
            if answers(other, line.args, tool):
                raise Refusal(
                    f"{other.place} answers this call, too",
                    place=line.place,
                    action="remove this line, or narrow the other's schema",
                    code="KR0233",
                )

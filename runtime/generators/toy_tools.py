"""A tool registry and a seed → requests in plain English, each with the one tool call that answers it, and controls:
requests that no tool answers, each with the one sentence that says so.

Values come from the registry's own schemas (`enum`, `examples`, `minimum`/`maximum`), wording from the table below, and
every call is validated against the registry before it becomes a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

from pydantic import Field

from runtime.contract import Generator, Params, Refusal, calls
from runtime.contract.strict_json import Json
from runtime.contract.units import unit
from runtime.tools import registry


class ToyToolsParams(Params):
    rows: int = Field(
        default=12_000,
        ge=10,
        le=100_000,
        description="Distinct requests to make.",
        examples=[12000],
        json_schema_extra=unit("row"),
    )
    optional: float = Field(
        default=0.4,
        ge=0.0,
        le=1.0,
        description="Chance that an optional argument is asked for.",
        examples=[0.4],
        json_schema_extra=unit("1"),
    )
    controls: float = Field(
        default=0.1,
        ge=0.0,
        le=0.5,
        description="Share of the rows that no tool answers, so that a call where none is wanted is seen.",
        examples=[0.1],
        json_schema_extra=unit("1"),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """How people ask for one tool. `forms` name the required arguments; `clauses` add an optional one (dotted when
    nested); `words` spell a value that is not spoken as it is written."""

    forms: Sequence[str]
    clauses: Mapping[str, Sequence[str]] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


ASKS: Mapping[str, Ask] = {
    "get_weather": Ask(
        forms=("what is the weather in {city}", "how is the weather in {city}", "show me the forecast for {city}"),
        clauses={"days": (" for {days} days", " over the next {days} days"), "unit": (" in {unit}",)},
    ),
    "set_alarm": Ask(
        forms=("wake me at {hour}:{minute}", "set an alarm for {hour}:{minute}", "ring at {hour}:{minute}"),
        clauses={"label": (" for {label}", " because of {label}")},
    ),
    "start_timer": Ask(
        forms=("start a timer for {minutes} minutes", "count down {minutes} minutes", "time {minutes} minutes"),
        clauses={"silent": (" {silent}",)},
        words={"silent": {"true": "silently", "false": "with a bell"}},
    ),
    "send_message": Ask(
        forms=('tell {to} "{text}"', 'send "{text}" to {to}', 'text {to} "{text}"'),
        clauses={"urgent": (", {urgent}",)},
        words={"urgent": {"true": "this is urgent", "false": "no hurry"}},
    ),
    "play_music": Ask(
        forms=("play some {genre}", "put on {genre} music", "I want to hear {genre}"),
        clauses={"volume": (" at volume {volume}",), "shuffle": (" {shuffle}",)},
        words={"shuffle": {"true": "shuffled", "false": "in album order"}},
    ),
    "convert_currency": Ask(
        forms=("convert {amount} {source} to {target}", "how much is {amount} {source} in {target}"),
    ),
    "book_table": Ask(
        forms=("book a table for {guests} on {day}", "reserve a table on {day} for {guests} people"),
        clauses={
            "options.outdoor": (" {options.outdoor}",),
            "options.high_chairs": (" with {options.high_chairs} high chairs",),
        },
        words={"options.outdoor": {"true": "outside", "false": "inside"}},
    ),
    "add_to_list": Ask(
        forms=("add {items} to the {list} list", "put {items} on my {list} list"),
    ),
    "set_light": Ask(
        forms=("set the {room} light to {brightness} percent", "dim the {room} light to {brightness} percent"),
        clauses={"color": (" in {color}", " and make it {color}")},
    ),
    "lock_door": Ask(
        forms=("{locked} the {door} door", "go and {locked} the {door} door", "make sure to {locked} the {door} door"),
        clauses={"delay": (" in {delay} minutes", " after {delay} minutes")},
        words={"locked": {"true": "lock", "false": "unlock"}},
    ),
}

#: what is answered where no tool fits, and the class of such a row
NO_TOOL, CONTROL = "No tool fits.", "control"

#: Requests for which there is no tool, some of them near to one: what the tools do is not what they can be asked about.
OTHERS: tuple[str, ...] = (
    "what is the capital of {country}",
    "how many people live in {country}",
    "what time is it in {country}",
    "tell me a joke about {animal}s",
    "how old can {article} get",
    "what do {animal}s eat",
    "what does the word {word} mean",
    "how do you spell {word}",
    "what is {first} times {second}",
    "what is {first} plus {second}",
    "who invented the {thing}",
    "I want to know how {article_of_thing} works",
    "what color is {article}",
    "how much does {article_of_thing} cost in {country}",
    "tell me whether {country} has {animal}s",
    "tell me how to say {word} in the language of {country}",
)
ANIMALS = ("cat", "dog", "horse", "parrot", "goat", "turtle", "whale", "rabbit", "tiger", "bear", "lizard", "swan")
THINGS = ("telephone", "bicycle", "printer", "compass", "piano", "camera", "zipper", "radio", "balloon", "microscope")
COUNTRIES = (
    "Peru",
    "Norway",
    "Japan",
    "Kenya",
    "Chile",
    "Greece",
    "Canada",
    "India",
    "Egypt",
    "Poland",
    "Cuba",
    "Nepal",
)
WORDS = ("gentle", "harvest", "curious", "lantern", "meadow", "stubborn", "whisper", "journey", "feather", "ancient")

#: how a request may begin, before an order and before a question or a wish; and how it may end
BEFORE_ORDER = ("", "please ", "could you ", "hey, ", "I need you to ")
BEFORE_QUESTION = ("", "hey, ", "hello, ", "tell me, ")
QUESTIONS = ("what", "how", "I ")
AFTER = ("", " please", ", thanks")

#: draws that may bring nothing new, one after the other, before there is nothing new
PATIENCE = 2000


def _pick(rng: Random, options: Sequence[Any]) -> Any:
    """One of them. Through `random()` alone, whose sequence Python promises to keep for a seed."""
    return options[int(rng.random() * len(options))]


def _value(schema: Mapping[str, Any], rng: Random) -> Json:
    """A value the schema allows, from `enum`, `examples`, an integer's bounds and step, or true and false."""
    if "enum" in schema:
        return cast(Json, _pick(rng, schema["enum"]))
    if schema.get("type") == "integer":
        step = schema.get("multipleOf", 1)
        low, high = -(-schema["minimum"] // step), schema["maximum"] // step
        return int(step * (low + int(rng.random() * (high - low + 1))))
    if schema.get("type") == "boolean":
        return rng.random() < 0.5
    if schema.get("type") == "array":
        left = list(schema["items"].get("enum") or schema["items"]["examples"])
        size = schema["minItems"] + int(rng.random() * (schema["maxItems"] - schema["minItems"] + 1))
        return [left.pop(int(rng.random() * len(left))) for _ in range(size)]
    return cast(Json, _pick(rng, schema["examples"]))


def _said(name: str, value: Json, ask: Ask) -> str:
    """A value as people say it: items of a list with commas and "and", minutes with two digits."""
    if isinstance(value, bool):
        return ask.words[name]["true" if value else "false"]
    if isinstance(value, list):
        words = [str(item) for item in value]
        return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return f"{value:02d}" if name == "minute" else str(value)


def _filled(template: str, values: Mapping[str, Json], ask: Ask) -> str:
    for name, value in values.items():
        template = template.replace("{" + name + "}", _said(name, value, ask))
    return template


def _one(tool: registry.Tool, ask: Ask, optional: float, rng: Random) -> tuple[str, calls.Call]:
    """One request and its call. Arguments are drawn in the registry's order, so that the seed alone decides."""
    properties = cast(dict[str, Any], tool["parameters"]["properties"])
    required = cast(list[str], tool["parameters"].get("required", []))
    values: dict[str, Json] = {name: _value(properties[name], rng) for name in required}
    args: dict[str, Json] = dict(values)
    text = str(_pick(rng, ask.forms))
    for name, clauses in ask.clauses.items():
        if rng.random() >= optional:
            continue
        outer, _, inner = name.partition(".")
        schema = properties[outer]["properties"][inner] if inner else properties[outer]
        values[name] = _value(schema, rng)
        text += str(_pick(rng, clauses))
        if inner:
            args[outer] = {**cast(dict[str, Json], args.get(outer, {})), inner: values[name]}
        else:
            args[outer] = values[name]
    before = str(_pick(rng, BEFORE_QUESTION if text.startswith(QUESTIONS) else BEFORE_ORDER))
    after = str(_pick(rng, AFTER[::2] if "please" in before else AFTER))
    text = _filled(before + text + after, values, ask)
    return text[0].upper() + text[1:], calls.Call(tool["name"], args)


def _control(rng: Random) -> str:
    """One request that no tool answers. Each value is drawn, used or not, so that the seed alone decides."""
    text = str(_pick(rng, OTHERS))
    animal, thing = str(_pick(rng, ANIMALS)), str(_pick(rng, THINGS))
    values = {
        "country": str(_pick(rng, COUNTRIES)),
        "animal": animal,
        "article": f"a {animal}",
        "thing": thing,
        "article_of_thing": f"a {thing}",
        "word": str(_pick(rng, WORDS)),
        "first": str(2 + int(rng.random() * 98)),
        "second": str(2 + int(rng.random() * 98)),
    }
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    text = str(_pick(rng, BEFORE_QUESTION)) + text + str(_pick(rng, AFTER))
    return text[0].upper() + text[1:]


def unfit(tools: Sequence[Any]) -> str:
    """Why there are no words for a registry, or "": a tool nobody asks for, or an argument that cannot be drawn."""
    strange = [str(tool["name"]) for tool in tools if tool["name"] not in ASKS]
    if strange or len(tools) < 2:
        return f"has no wording for {', '.join(strange) or 'fewer than two tools'}"
    for tool in tools:
        # every argument is drawn when optional ones are certain, whatever the seed
        try:
            fault = calls.invalid(_one(tool, ASKS[tool["name"]], 1.0, Random(0))[1], registry.validators([tool]))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            reason = f"finds no {error} in" if isinstance(error, KeyError) else f"cannot draw a value from ({error})"
            return f"{reason} the parameters of `{tool['name']}`"
        if fault:
            return f"draws a value that `{tool['name']}` does not allow: {fault.detail[:200]}"
    return ""


def rows(params: ToyToolsParams, tools: Sequence[Any], seed: int) -> list[dict[str, Any]]:
    """Rows of distinct requests: the tools in turn, the controls evenly between them.

    Raises Refusal when the registry does not suit the wording.
    """
    why = unfit(tools)
    if why:
        raise Refusal(f"generator toy_tools {why}", action=f"declare only tools among {', '.join(ASKS)}, as they are")
    known = [cast(registry.Tool, tool) for tool in tools]
    rng, valid = Random(seed), registry.validators(known)
    controls = round(params.rows * params.controls)
    seen: set[str] = set()
    found: list[dict[str, Any]] = []
    asked = repeats = 0
    while len(found) < params.rows and repeats < PATIENCE:
        call: calls.Call | None = None
        if (len(found) + 1) * controls // params.rows > len(found) * controls // params.rows:
            prompt = _control(rng)
        else:
            tool = known[asked % len(known)]
            asked += 1
            prompt, call = _one(tool, ASKS[tool["name"]], params.optional, rng)
            fault = calls.invalid(call, valid)
            if fault:
                raise Refusal(
                    f"tool `{tool['name']}`: {fault.detail}", action="make the schema accept its own examples"
                )
        repeats += 1
        if prompt in seen or (call and call.args.get("source", 0) == call.args.get("target", 1)):
            continue
        repeats = 0
        seen.add(prompt)
        found.append(
            {
                "id": f"{len(found):06d}",
                "prompt": prompt,
                "response": calls.render(call) if call else NO_TOOL,
                "class": call.name if call else CONTROL,
                "spans": calls.spans(call) if call else {},
                "source": "toy_tools",
            }
        )
    if len(found) < params.rows:
        raise Refusal(f"only {len(found)} of {params.rows} distinct requests", action="ask for fewer rows")
    return found


GENERATOR = Generator(
    name="toy_tools",
    version=2,
    params=ToyToolsParams,
    rows=rows,
    spans=frozenset({"tool_name", "json_args"}),
    unfit=unfit,
)

"""Tools that a request may use ↔ the way in which this model writes a call: a grammar before, a strict reader after.

A chat template decides how its model writes calls, so it is asked: one call is rendered, and read back. Known are the
form of this compiler's own students (`tool.call{"name":…,"args":{…}}`, see runtime/contract/calls.py), that of Hermes,
Qwen and SmolLM (`<tool_call>` around an object with name and arguments), that of Llama 3 (an object with name and
parameters), and that of Mistral (`[TOOL_CALLS]` before a list of objects with name and arguments).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from runtime.contract import Refusal, calls
from runtime.contract.calls import Call
from runtime.contract.strict_json import Json, loads
from runtime.contract.toolset import faults, validators
from runtime.generate.grammar import Broken, compact, spaced
from runtime.generate.words import BadChat, Words

#: whether the model may write text instead, must call, or must call the one that is named
Choice = Literal["auto", "required"]
Tool = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a call is written: `begin`, an object of `name` and `arguments`, `end`. `whole`: it is the whole answer, and
    no text stands before it. `between`: what stands between calls that share one `begin` and `end`, "" where they do
    not. `id_length`: characters of a call's id where the model's template takes no other, else 0."""

    begin: str
    end: str
    name: str
    arguments: str
    whole: bool
    spaced: bool
    between: str = ""
    id_length: int = 0

    @property
    def opening(self) -> str:
        """The beginning that every call has, and no other text of this model."""
        return f"{self.begin}{{" if self.begin else f'{{"{self.name}":'

    def item(self, tool: str) -> str:
        """The object up to the arguments."""
        gap = " " if self.spaced else ""
        name = json.dumps(tool, ensure_ascii=False)
        return f'{{"{self.name}":{gap}{name},{gap}"{self.arguments}":{gap}'


NATIVE = Form(begin=calls.PREFIX, end="", name="name", arguments="args", whole=True, spaced=False)
TAGGED = Form(begin="<tool_call>\n", end="\n</tool_call>", name="name", arguments="arguments", whole=False, spaced=True)
LLAMA = Form(begin="", end="", name="name", arguments="parameters", whole=True, spaced=True)
LISTED = Form(
    begin="[TOOL_CALLS] [", end="]", name="name", arguments="arguments", whole=True, spaced=True,
    between=", ", id_length=9,
)  # fmt: skip
#: one call, to see how a template writes it
_PROBE = "kc_probe"
_ASKED: list[Mapping[str, Any]] = [
    {"role": "user", "content": "?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "kcprobe00", "type": "function", "function": {"name": _PROBE, "arguments": {"kc_key": "kc value"}}}
        ],
    },
]
_TOOL = {"name": _PROBE, "description": "", "parameters": {"type": "object", "properties": {"kc_key": {}}}}
_OBJECT = r'\{{"name": ?"kc_probe", ?"{}": ?\{{"kc_key": ?"kc value"\}}(?:, ?"id": ?"kcprobe00")?\}}'
_WRITTEN = {
    "tagged": re.compile(r"<tool_call>\n?" + _OBJECT.format("arguments") + r"\n?</tool_call>"),
    "listed": re.compile(r"(?P<begin>\[TOOL_CALLS\] ?\[)" + _OBJECT.format("arguments") + r"\]"),
    "llama": re.compile(_OBJECT.format("parameters")),
}


def form_of(words: Words) -> Form | None:
    """How the model of a folder writes calls; None when its template has tools in a form that is not known here."""
    if not re.search(r"\btools\b", words.template):
        return NATIVE
    try:
        text = words.rendered(_ASKED, shown([_TOOL])) if "tool_calls" in words.template else ""
    except BadChat:
        text = ""
    if _PROBE in text:
        if listed := _WRITTEN["listed"].search(text):
            return replace(LISTED, begin=listed["begin"])
        if _WRITTEN["tagged"].search(text):
            return TAGGED
        return LLAMA if _WRITTEN["llama"].search(text) else None
    # a template that only tells of tools, and in which form they are called
    if "<tool_call>" in words.template and "<function=" not in words.template:
        return TAGGED
    return LLAMA if '"parameters": dictionary of argument name' in words.template else None


def registry(tools: Json) -> list[Tool]:
    """Tools as they stand in a registry; those in the form of OpenAI's API are taken out of it.

    Raises Refusal for the first that the strict reader does not take."""
    given: Json = [_unwrapped(tool) for tool in tools] if isinstance(tools, list) else tools
    wrong = faults(given)
    if wrong or not isinstance(given, list):
        raise Refusal(f"the tools are refused: {'; '.join(wrong[:3])}", action="correct the registry", code="KR0205")
    return [tool for tool in given if isinstance(tool, dict)]


def _unwrapped(tool: Json) -> Json:
    function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
    if not isinstance(function, dict):
        return tool
    return {
        **{key: value for key, value in function.items() if key != "strict"},
        "description": function.get("description") or "",
        "parameters": function.get("parameters") or {"type": "object", "properties": {}},
    }


def shown(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Tools as chat templates expect them."""
    return [{"type": "function", "function": dict(tool)} for tool in tools]


def grammar(words: Words, form: Form, tools: Sequence[Tool], choice: Choice, *, several: bool = True) -> str:
    """What llguidance reads: text or calls ("auto"; one call at most unless `several`), or exactly one call of one of
    these tools ("required")."""
    write = spaced if form.spaced else compact
    bodies = [
        f'call_{number}: {json.dumps(form.item(tool["name"]))} %json {write(tool["parameters"])} "}}"'
        for number, tool in enumerate(tools)
    ]
    one = f"({' | '.join(f'call_{number}' for number in range(len(tools)))})"
    begin, end = _literal(words, form.begin), _literal(words, form.end)
    if choice == "required":
        return "\n".join([f"start: {begin} {one} {end}", *bodies])
    if form.whole:
        more = f"({json.dumps(form.between)} {one})*" if form.between and several else ""
        otherwise = f"TEXT: /{_beginning_otherwise(form.opening)}/"
        return "\n".join([f"start: {begin} {one} {more} {end} | TEXT", otherwise, *bodies])
    # the head of a call is found wherever it stands; after it nothing but that call may follow
    lines = [
        "start: call* rest" if several else "start: call | rest",
        "rest: TEXT",
        r"TEXT: /(.|\n)*/",
        f"head[lazy]: TEXT {json.dumps(form.begin)}",
    ]
    return "\n".join([*lines, f"call: head {one} {end}", *bodies])


def _literal(words: Words, text: str) -> str:
    """A text as the grammar has it: control tokens by their ids, all else as it is spelled."""
    found, spelled = [], text
    for control, number in words.control.items():
        if text.startswith(control):
            found, spelled = [f"<[{number}]>"], text[len(control) :]
    return " ".join([*found, json.dumps(spelled)] if spelled else found)


def _beginning_otherwise(prefix: str) -> str:
    """A regular expression of every text that does not begin with `prefix`."""
    ways = []
    for place, character in enumerate(prefix):
        before, other = re.escape(prefix[:place]), re.escape(character)
        ways += [before, rf"{before}[^{other}](.|\n)*"] if before else ["", rf"[^{other}](.|\n)*"]
    return "|".join(f"({way})" for way in ways).replace("/", r"\/")


def read(text: str, form: Form, tools: Sequence[Tool]) -> tuple[str, list[Call]]:
    """An answer as the text outside of its calls, and its calls, each of them allowed by the registry.

    Raises Broken for a call that is cut short, malformed or not allowed.
    """
    found: list[Call] = []
    rest: list[str] = []
    if form.whole:
        if not text.startswith(form.opening):
            return text, []
        found += _listed(text[len(form.begin) :], form) if form.between else [_call(text[len(form.begin) :], form)]
    else:
        while (start := text.find(form.begin)) >= 0:
            body, after = _tagged(text[start + len(form.begin) :], form)
            found.append(body)
            rest.append(text[:start])
            text = after
        rest.append(text)
    allowed = validators(tools)
    for call in found:
        fault = calls.invalid(call, allowed)
        if fault:
            raise Broken(f"the answer calls `{call.name}` in a way that is not allowed: {fault.kind}: {fault.detail}")
    return "".join(rest), found


def _tagged(text: str, form: Form) -> tuple[Call, str]:
    """The call at the beginning, and what follows its end tag; arguments may spell that tag themselves."""
    place = text.find(form.end)
    why = "it does not end"
    while place >= 0:
        try:
            return _call(text[:place], form), text[place + len(form.end) :]
        except Broken as error:
            why, place = error.args[0], text.find(form.end, place + 1)
    raise Broken(f"the answer holds a call that cannot be read: {why}")


def _listed(text: str, form: Form) -> list[Call]:
    """The calls of a list whose bracket stands before the text."""
    value = _json(f"[{text}")
    assert isinstance(value, list)
    return [_made(one, form) for one in value]


def _call(text: str, form: Form) -> Call:
    return _made(_json(text), form)


def _json(text: str) -> Json:
    try:
        return loads(text, doubles=True)
    except ValueError as error:
        raise Broken(f"a call is no JSON: {error}") from None


def _made(value: Json, form: Form) -> Call:
    if not isinstance(value, dict) or set(value) != {form.name, form.arguments}:
        raise Broken(f"a call has not exactly {form.name} and {form.arguments}")
    name, arguments = value[form.name], value[form.arguments]
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise Broken("a call has a name that is no text, or arguments that are no object")
    return Call(name, arguments)


def written(call: Call, form: Form) -> str:
    """A call as the model itself writes it."""
    if not form.spaced:
        return calls.render(call)
    return f"{form.begin}{form.item(call.name)}{json.dumps(call.args, ensure_ascii=False)}}}{form.end}"


def told(messages: Sequence[Mapping[str, Any]], words: Words, form: Form | None) -> list[dict[str, Any]]:
    """A chat for a template that knows nothing of calls: each earlier call is the text that its model had written."""
    known = "tool_calls" in words.template
    found = []
    for message in messages:
        made = dict(message)
        if made.get("tool_calls") and not known:
            texts = [
                written(Call(one["function"]["name"], one["function"]["arguments"]), form or NATIVE)
                for one in made.pop("tool_calls")
            ]
            made["content"] = "\n".join([made["content"], *texts] if made["content"] else texts)
        found.append(made)
    return found

"""Tools that a request may use ↔ the way in which this model writes a call: a grammar before, a strict reader after.

A chat template decides how its model writes calls. Known are the form of this compiler's own students
(`tool.call{"name":…,"args":{…}}`, see runtime/contract/calls.py), that of Hermes, Qwen and SmolLM
(`<tool_call>` around an object with name and arguments), and that of Llama 3 (an object with name and parameters).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runtime.contract import Refusal, calls
from runtime.contract.calls import Call
from runtime.contract.strict_json import Json, loads
from runtime.contract.toolset import faults, validators
from runtime.generate.grammar import Broken, compact, spaced
from runtime.generate.words import Words

#: whether the model may write text instead, must call, or must call the one that is named
Choice = Literal["auto", "required"]
Tool = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a call is written: `begin`, an object of `name` and `arguments`, `end`. `whole`: it is the whole answer, and
    no text stands before it."""

    begin: str
    end: str
    name: str
    arguments: str
    whole: bool
    spaced: bool

    @property
    def opening(self) -> str:
        """The beginning that every call has, and no other text of this model."""
        return f"{self.begin}{{" if self.begin else f'{{"{self.name}":'

    def head(self, tool: str) -> str:
        """Everything before the arguments."""
        gap = " " if self.spaced else ""
        name = json.dumps(tool, ensure_ascii=False)
        return f'{self.begin}{{"{self.name}":{gap}{name},{gap}"{self.arguments}":{gap}'


NATIVE = Form(begin=calls.PREFIX, end="", name="name", arguments="args", whole=True, spaced=False)
TAGGED = Form(begin="<tool_call>\n", end="\n</tool_call>", name="name", arguments="arguments", whole=False, spaced=True)
LLAMA = Form(begin="", end="", name="name", arguments="parameters", whole=True, spaced=True)


def form_of(words: Words) -> Form | None:
    """How the model of a folder writes calls; None when its template has tools in a form that is not known here."""
    if "<tool_call>" in words.template:
        return TAGGED
    if '"parameters": dictionary of argument name' in words.template:
        return LLAMA
    return None if re.search(r"\btools\b", words.template) else NATIVE


def registry(tools: Json) -> list[Tool]:
    """Tools as they stand in a registry. Raises Refusal for the first that the strict reader does not take."""
    wrong = faults(tools)
    if wrong or not isinstance(tools, list):
        raise Refusal(f"the tools are refused: {'; '.join(wrong[:3])}", action="correct the registry", code="KR0205")
    return [tool for tool in tools if isinstance(tool, dict)]


def shown(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Tools as chat templates expect them."""
    return [{"type": "function", "function": dict(tool)} for tool in tools]


def grammar(form: Form, tools: Sequence[Tool], choice: Choice, *, several: bool = True) -> str:
    """What llguidance reads: text or calls ("auto"; one call at most unless `several`), or exactly one call of one of
    these tools ("required")."""
    write = spaced if form.spaced else compact
    bodies = [
        f"call_{number}: {json.dumps(form.head(tool['name']))} %json {write(tool['parameters'])} "
        f"{json.dumps('}' + form.end)}"
        for number, tool in enumerate(tools)
    ]
    options = " | ".join(f"call_{number}" for number in range(len(tools)))
    if choice == "required":
        return "\n".join([f"start: {options}", *bodies])
    if form.whole:
        return "\n".join([f"start: {options} | TEXT", f"TEXT: /{_beginning_otherwise(form.opening)}/", *bodies])
    # the head of a call is found wherever it stands; after it nothing but that call may follow
    inner = [body.replace(json.dumps(form.begin)[:-1], '"', 1) for body in bodies]
    lines = [
        "start: call* rest" if several else "start: call | rest",
        "rest: TEXT",
        r"TEXT: /(.|\n)*/",
        f"head[lazy]: TEXT {json.dumps(form.begin)}",
    ]
    return "\n".join([*lines, f"call: head ({options})", *inner])


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
        found.append(_call(text[len(form.begin) :], form))
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


def _call(text: str, form: Form) -> Call:
    try:
        value = loads(text, doubles=True)
    except ValueError as error:
        raise Broken(f"a call is no JSON: {error}") from None
    if not isinstance(value, dict) or set(value) != {form.name, form.arguments}:
        raise Broken(f"a call has not exactly {form.name} and {form.arguments}")
    name, arguments = value[form.name], value[form.arguments]
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise Broken("a call has a name that is no text, or arguments that are no object")
    return Call(name, arguments)


def told(messages: Sequence[Mapping[str, Any]], words: Words) -> list[dict[str, Any]]:
    """A chat for a template that knows nothing of calls: each earlier call is the text that its model had written."""
    known = "tool_calls" in words.template
    found = []
    for message in messages:
        made = dict(message)
        if made.get("tool_calls") and not known:
            written = [
                calls.render(Call(one["function"]["name"], one["function"]["arguments"]))
                for one in made.pop("tool_calls")
            ]
            made["content"] = "\n".join([made["content"], *written] if made["content"] else written)
        found.append(made)
    return found

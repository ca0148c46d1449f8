"""The files of the Berkeley Function-Calling Leaderboard → dataset rows that say every accepted answer.

BFCL (Patil et al., ICML 2025; github.com/ShishirPatil/gorilla, Apache-2.0) publishes one file of questions a category,
and one of possible answers; of `irrelevance` there are no answers, because no function fits. Its types are Python's
(dict, float, tuple, any) and become those of JSON Schema; what it says of an argument besides stays where a schema may
say it. In its answers `""` means that an argument may be left out; an object's values are lists of accepted values in
turn, and are written out.

    python -m runtime.data.bfcl FOLDER rows.jsonl [--prompted]

For models whose chat template writes no tools, `--prompted` says in a system message which functions there are, in the
words and in the form that the leaderboard itself has for such models, and the answers are texts.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from runtime.contract import Refusal, callforms, conversation
from runtime.contract.calls import Call
from runtime.contract.rows import Row, checked, objects
from runtime.contract.strict_json import Json
from runtime.contract.toolset import misfit
from runtime.data import converting

#: category → whether its calls may come in any order; BFCL never asks for a given one
CATEGORIES = ("simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance")
CONTROLS = "irrelevance"
#: what is said where no function fits
NO_CALL = "None of these functions can answer that."
#: the files of a category: as they are published, and as they lie beside each other elsewhere
_ANSWERS = ("possible_answer/BFCL_v4_{}.json", "BFCL_v4_{}.answers.json")
_TYPES = {"dict": "object", "float": "number", "tuple": "array"}
_KEPT = ("description", "enum", "default", "required", "maximum", "minimum", "minItems", "maxItems")
#: fields of a row in the file that a data source reads
_WRITTEN = ("id", "class", "messages", "tools", "wanted")
#: bfcl-eval 2026.3.23, bfcl_eval/constants/default_prompts.py, `_DEFAULT_SYSTEM_PROMPT` (Apache-2.0), as it is
_PROMPT = (
    "You are an expert in composing functions. You are given a question and a set of possible functions. "
    "Based on the question, you will need to make one or more function/tool calls to achieve the purpose.\n"
    "If none of the functions can be used, point it out. If the given question lacks the parameters required "
    "by the function, also point it out.\n"
    "You should only return the function calls in your response.\n"
    "\n"
    "If you decide to invoke any of the function(s), you MUST put it in the format of "
    "[func_name1(params_name1=params_value1, params_name2=params_value2...), func_name2(params)]\n"
    "You SHOULD NOT include any other text in the response.\n"
    "\n"
    "At each turn, you should try your best to complete the tasks requested by the user within the current "
    "turn. Continue to output functions to call until you have fulfilled the user's request to the best of "
    "your ability. Once you have no more functions to call, the system will consider the current turn "
    "complete and proceed to the next turn or task.\n"
    "\n"
    "Here is a list of functions in JSON format that you can invoke.\n"
    "{functions}\n"
    "\n"
)
#: most values that one accepted answer is written out to
_MOST = 512


def _schema(value: Mapping[str, Any]) -> dict[str, Any]:
    kind = value.get("type", "any")
    made: dict[str, Any] = {} if kind == "any" else {"type": _TYPES.get(kind, kind)}
    made |= {name: value[name] for name in _KEPT if name in value}
    if "properties" in value:
        made["properties"] = {name: _schema(one) for name, one in value["properties"].items()}
    if isinstance(value.get("items"), dict):
        made["items"] = _schema(value["items"])
    return made


def _tool(value: Mapping[str, Any], here: str) -> dict[str, Any]:
    parameters = _schema(value["parameters"])
    if why := misfit(parameters):
        raise Refusal(f"`{value['name']}`: {why}", place=here, action="take the file again")
    told = {"name": value["name"], "description": str(value.get("description", "")), "parameters": parameters}
    return {"type": "function", "function": told}


def _written_out(value: Json) -> Iterator[Json]:
    """An accepted answer as the values that it accepts: of an object each key has a list of them."""
    if isinstance(value, dict):
        ways = []
        for accepted in value.values():
            listed = accepted if isinstance(accepted, list) else [accepted]
            # "" is said of a key that may be left out
            ways.append([None if one == "" else (one,) for one in sorted(listed, key=lambda one: one == "")])
        for chosen in itertools.islice(itertools.product(*ways), _MOST):
            yield {name: one[0] for name, one in zip(value, chosen, strict=True) if one is not None}
    elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        for whole in itertools.islice(itertools.product(*(list(_written_out(one)) for one in value)), _MOST):
            yield list(whole)
    else:
        yield value


def _call(name: str, args: Mapping[str, list[Json]], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """One accepted call: first values first. The published checker takes an argument that may be left out for right
    where a text or a list of it is empty, and asks for what the schema requires whatever the answer says."""
    required = set(parameters.get("required", ()))
    accepted: dict[str, list[Json]] = {}
    for argument, values in args.items():
        if argument not in parameters.get("properties", {}):
            # no call with it is right, whatever its answer says
            continue
        found = [one for value in values if value != "" for one in _written_out(value)]
        if "" in values:
            kind = parameters.get("properties", {}).get(argument, {}).get("type", "string")
            found += [""] if kind == "string" else [[]] if kind == "array" else []
        if found:
            accepted[argument] = found
    optional = sorted(one for one in accepted if "" in args[one] and one not in required)
    return {"name": name, "args": accepted, **({"optional": optional} if optional else {})}


def _prompted(question: list[Any], functions: list[Any]) -> list[Any]:
    """A question behind the leaderboard's own system message, which joins one that it has."""
    own = question[0]["content"] if question[0]["role"] == "system" else ""
    told = _PROMPT.replace("{functions}", json.dumps(functions, indent=4)) + (f"\n\n{own}" if own else "")
    return [{"role": "system", "content": told}, *(question[1:] if own else question)]


def _row(asked: dict[str, Any], answers: list[Any], category: str, here: str, *, prompted: bool) -> Row:
    tools = [_tool(one, here) for one in asked["function"]]
    parameters = {one["function"]["name"]: one["function"]["parameters"] for one in tools}
    wanted = [_call(name, args, parameters[name]) for answer in answers for name, args in answer.items()]
    # an optional argument is left out, where its first accepted value is not to be said
    made = [
        {"type": "function", "function": {"name": one["name"], "arguments": _said(one, answer[one["name"]])}}
        for one, answer in zip(wanted, answers, strict=True)
    ]
    reply: dict[str, Any] = {"content": "", "tool_calls": made} if made else {"content": NO_CALL}
    question = asked["question"][0]
    if prompted:
        said = [_said(one, answer[one["name"]]) for one, answer in zip(wanted, answers, strict=True)]
        calls = [Call(one["name"], args) for one, args in zip(wanted, said, strict=True)]
        reply = {"content": callforms.write(calls, "python")} if made else reply
        question = _prompted(question, asked["function"])
    messages = conversation.checked([*question, {"role": "assistant", **reply}], here)
    row: dict[str, Any] = {
        "id": str(asked["id"]),
        "class": category,
        "spans": {},
        "source": "bfcl",
        **conversation.row_of(messages, conversation.checked_tools(cast(Json, tools), here)),
        "wanted": {"calls": wanted, "order": "any"},
    }
    return checked(row, here)


def _said(call: Mapping[str, Any], answer: Mapping[str, list[Json]]) -> dict[str, Json]:
    """The first accepted value of every argument that has one."""
    return {name: values[0] for name, values in call["args"].items() if any(one != "" for one in answer[name])}


def rows_of(folder: Path, category: str, *, prompted: bool = False) -> list[Row]:
    """The rows of a category, in their order; `prompted`: the functions in a system message, the answers as texts.
    Raises Refusal for files of another form."""
    path = folder / f"BFCL_v4_{category}.json"
    answers: dict[str, list[Any]] = {}
    if category != CONTROLS:
        beside = next((p for p in (folder / name.format(category) for name in _ANSWERS) if p.is_file()), None)
        if beside is None:
            raise Refusal(
                f"no answers of {category}", place=folder.name, action=f"put {_ANSWERS[0].format(category)} there"
            )
        answers = {str(one["id"]): cast(list[Any], one["ground_truth"]) for _, one in objects(beside)}
    found = []
    for here, asked in objects(path):
        try:
            found.append(_row(asked, answers.get(str(asked["id"]), []), category, here, prompted=prompted))
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise Refusal(f"no question of BFCL: {error!r}", place=here, action="take the file again") from None
        if category != CONTROLS and str(asked["id"]) not in answers:
            raise Refusal("a question without an answer", place=here, action="take both files of one release")
    return found


def convert(folder: Path, target: Path, *, prompted: bool = False) -> tuple[int, str]:
    """Every category of a folder → one JSON Lines file. Returns rows and SHA-256."""
    there = [category for category in CATEGORIES if (folder / f"BFCL_v4_{category}.json").is_file()]
    rows = [cast(dict[str, Json], row) for category in there for row in rows_of(folder, category, prompted=prompted)]
    # prompt and response are the text of the messages, and a source is read by either
    lacking = Refusal("no BFCL_v4_*.json in it", place=folder.name, action="name the folder of BFCL's data")
    return converting.written(({field: row[field] for field in _WRITTEN} for row in rows), target, lacking)


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word != "--prompted"]
    made = partial(convert, prompted="--prompted" in sys.argv[1:])
    sys.exit(converting.main(given, made, str(__doc__)))

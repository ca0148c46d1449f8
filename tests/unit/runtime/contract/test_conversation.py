"""Messages in the OpenAI form are read strictly: one form for what people write in several, a reason for the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from runtime.contract import Refusal, calls, conversation, rows
from runtime.contract.conversation import Conversation, Turn

ROOT = Path(__file__).resolve().parents[4]
SCHEMA = json.loads((ROOT / "schemas" / "dataset-row.schema.json").read_text(encoding="utf-8"))
ASK, SAY = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "number"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    },
}


def call(arguments: Any = '{"a": 1}', name: str = "add", **more: Any) -> dict[str, Any]:
    made = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}, **more}
    return {"role": "assistant", "content": None, "tool_calls": [made]}


RESULT = {"role": "tool", "content": "1", "tool_call_id": "c1"}


def test_what_people_write_in_several_ways_is_held_in_one() -> None:
    told = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": None},
        call(),
        {**RESULT, "tool_calls": None},
        {**SAY, "tool_calls": []},
    ]
    assert conversation.checked(told, "f:1") == [
        {"role": "user", "content": "ab"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}],
        },
        RESULT,
        SAY,
    ]
    made = conversation.checked([ASK, call({"a": 1.0})], "f:1")
    assert json.dumps(made[1]["tool_calls"][0]["function"]["arguments"]) == '{"a": 1.0}'


WRONG: list[tuple[Any, str]] = [
    ("Hi", "must be a list"),
    ([], "must be a list"),
    ([ASK] * 1001, "1001 messages"),
    (["Hi"], "messages[0] must be an object"),
    ([{"content": "x"}], "the role of messages[0] is null"),
    ([{"role": "human", "content": "x"}], 'the role of messages[0] is "human"'),
    ([{"role": 3, "content": "x"}], "the role of messages[0] is 3"),
    ([ASK], "nothing to learn"),
    ([SAY, ASK], "nothing is asked before it"),
    ([{**ASK, "weight": 1}, SAY], "`weight`"),
    ([{**ASK, "content": 3}, SAY], "content of messages[0] is no text"),
    ([{**ASK, "content": [{"type": "image_url", "image_url": {}}]}, SAY], "content of messages[0] is no text"),
    ([{**ASK, "content": " "}, SAY], "messages[0] says nothing"),
    ([ASK, {**SAY, "content": None}], "messages[1] says nothing"),
    ([{**ASK, "tool_calls": call()["tool_calls"]}, SAY], "is of role user and has `tool_calls`"),
    ([{**ASK, "tool_call_id": "c1"}, SAY], "is of role user and has `tool_call_id`"),
    ([{**ASK, "name": 3}, SAY], "`name` of messages[0] must be a string"),
    ([ASK, RESULT, SAY], "follows no call"),
    ([ASK, SAY, RESULT, SAY], "follows no call"),
    ([ASK, call(), {**RESULT, "tool_call_id": "c2"}, SAY], "which no call before it has"),
    ([ASK, call("{'a': 1}")], "are not JSON"),
    ([ASK, call('{"a": 1} x')], "are not JSON"),
    ([ASK, call("[1]")], "no JSON object"),
    ([ASK, call('{"a": NaN}')], "are not JSON"),
    ([ASK, call(type="code")], "no call in the OpenAI form"),
    ([ASK, call(extra=1)], "no call in the OpenAI form"),
    ([ASK, {**call(), "tool_calls": "add"}], "must be a list"),
    ([ASK, {**call(), "tool_calls": call()["tool_calls"] * 65}], "at most 64"),
    ([ASK, {**call(), "tool_calls": [{"name": "add", "arguments": "{}"}]}], "no call in the OpenAI form"),
]


@pytest.mark.parametrize(("value", "word"), WRONG, ids=[word for _, word in WRONG])
def test_a_wrong_conversation_is_refused_at_its_message(value: Any, word: str) -> None:
    with pytest.raises(Refusal) as caught:
        conversation.checked(value, "talks.jsonl:7")
    assert word in caught.value.message
    assert caught.value.place == "talks.jsonl:7"
    assert caught.value.action


def test_the_advice_about_a_role_names_the_roles() -> None:
    with pytest.raises(Refusal) as caught:
        conversation.checked([{"role": "gpt", "content": "x"}], "f:1")
    for role in caught.value.action.removeprefix("a role is one of ").split(", "):
        told = (
            [ASK, call(), {**RESULT, "role": role}, SAY]
            if role == "tool"
            else [{"role": role, "content": "x"}, ASK, SAY]
        )
        assert conversation.checked(told, "f:1")


@pytest.mark.parametrize("value", ["x", [3], [{"type": "function"}], [{"function": {}}], [TOOL] * 257])
def test_wrong_tools_are_refused(value: Any) -> None:
    with pytest.raises(Refusal):
        conversation.checked_tools(value, "f:1")
    assert conversation.checked_tools(None, "f:1") == []
    assert conversation.checked_tools([TOOL], "f:1") == [TOOL]


def row(*messages: dict[str, Any], tools: Any = ()) -> dict[str, Any]:
    fields = conversation.row_of(conversation.checked(list(messages), "f:1"), tools)
    return {"id": "a", "class": "", "spans": {}, "source": "s", **fields}


ROWS = [
    row(ASK, SAY),
    row(ASK, SAY, ASK, {**SAY, "content": "Again."}),
    row({"role": "system", "content": "Be brief."}, ASK, SAY),
    row(ASK, call(), RESULT, SAY, tools=[TOOL]),
    row(ASK, {**SAY, "reasoning_content": "They greet."}),
]


@pytest.mark.parametrize("whole", ROWS)
def test_a_row_is_written_and_read_back_and_has_the_published_form(whole: dict[str, Any], tmp_path: Path) -> None:
    (line,) = rows.written([rows.checked(whole, "")], "train.jsonl")
    path = tmp_path / "train.jsonl"
    path.write_text(line, encoding="utf-8")
    assert rows.load(path) == [whole]
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(line))


def test_one_question_and_one_answer_are_a_plain_row() -> None:
    assert set(ROWS[0]) == {"id", "class", "spans", "source", "prompt", "response"}
    assert (rows.prompt_of(ROWS[0]), rows.reply_of(ROWS[0])) == ("Hi", "Hello.")


def test_what_is_asked_and_answered_is_what_stands_before_and_in_the_last_turn() -> None:
    asked = rows.prompt_of(ROWS[3])
    assert isinstance(asked, Conversation)
    assert [message["role"] for message in asked.messages] == ["user", "assistant", "tool"]
    assert asked.tools == [TOOL]
    assert str(asked) == ROWS[3]["prompt"] == 'user: Hi\n\nassistant: add{"a":1}\n\ntool: 1'
    thought = rows.reply_of(ROWS[4])
    assert isinstance(thought, Turn)
    assert thought.message["reasoning_content"] == "They greet."
    assert rows.reply_of(ROWS[1]) == "Again."
    assert len({rows.prompt_of(one) for one in ROWS}) == 4, "the last differs from the first in its answer alone"


def test_a_row_whose_text_is_not_that_of_its_messages_is_refused() -> None:
    for name in ("prompt", "response"):
        with pytest.raises(Refusal, match="not the text"):
            rows.checked({**ROWS[1], name: "Something else."}, "train.jsonl:1")
    with pytest.raises(Refusal):
        rows.checked({**ROWS[0], "tools": [TOOL]}, "train.jsonl:1")


def test_what_is_sent_to_a_server_has_arguments_as_text() -> None:
    asked = rows.prompt_of(ROWS[3])
    sent = conversation.sent(conversation.messages_of(asked))
    assert sent[1]["tool_calls"][0]["function"]["arguments"] == '{"a":1}'
    assert conversation.checked(sent, "f:1") == conversation.messages_of(asked)
    assert conversation.sent(conversation.messages_of("Hi")) == [ASK]


def test_somebody_elses_answer_stands_in_the_last_turn() -> None:
    changed = rows.checked(dict(rows.answered(rows.checked(ROWS[1], ""), "Bye.")), "")
    assert changed["messages"][-1] == {"role": "assistant", "content": "Bye."}
    assert rows.reply_of(changed) == changed["response"] == "Bye."


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (call(), ""),
        (call('{"a": "x"}'), "type_error"),
        (call("{}"), "missing_required"),
        (call('{"a": 1, "b": 2}'), "unexpected_argument"),
        (call(name="subtract"), "unknown_tool"),
    ],
)
def test_a_call_is_judged_by_the_tools_beside_it_else_by_the_registry(message: dict[str, Any], why: str) -> None:
    own, bare = row(ASK, message, RESULT, SAY, tools=[TOOL]), row(ASK, message, RESULT, SAY)
    assert calls.why_not_row(own, {}).partition(":")[0] == why
    assert calls.why_not_row(bare, calls.beside(json.dumps([TOOL]))).partition(":")[0] == why
    assert calls.why_not_row(bare, {}) == ""


def test_a_schema_that_is_not_judged_as_it_reads_allows_any_arguments() -> None:
    strange = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "nullable": True}}}
    assert calls.why_not_row(row(ASK, call('{"x": 1}'), RESULT, SAY, tools=[strange]), {}) == ""
    assert calls.why_not_row(row(ASK, call(name="other"), RESULT, SAY, tools=[strange]), {}).startswith("unknown_tool")

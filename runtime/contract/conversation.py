"""`messages` in the OpenAI form ↔ what the compiler and the machine hold of them: one strict form, read in one place.

A message is `{role, content}`; an assistant's may carry `tool_calls`, each `{function: {name, arguments}}` with
arguments as the text of a JSON object or as that object; a tool's result follows the calls it answers. Fields that are
null are absent: tables write them so. A conversation ends where a model is to speak; what it then said is the reply.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from runtime.contract import Refusal
from runtime.contract.strict_json import Json, loads

ROLES = ("system", "user", "assistant", "tool")
#: fields of a message; `reasoning_content` is what some models think before they answer
FIELDS = ("role", "content", "tool_calls", "tool_call_id", "name", "reasoning_content")
#: longest conversation, most tools beside one, most calls in a turn
MAX_MESSAGES, MAX_TOOLS, MAX_CALLS = 1000, 256, 64
_ACTION = "correct the row, or remove it"

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a model is asked when it is more than one text: messages up to its turn, and tools; `text` is their JSON."""

    text: str

    @classmethod
    def of(cls, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> Conversation:
        return cls(_canonical({"messages": list(messages), "tools": list(tools)}))

    @property
    def messages(self) -> list[Message]:
        return cast(list[Message], json.loads(self.text)["messages"])

    @property
    def tools(self) -> list[dict[str, Any]]:
        return cast(list[dict[str, Any]], json.loads(self.text)["tools"])

    def __str__(self) -> str:
        return written(self.messages)


@dataclass(frozen=True, slots=True)
class Turn:
    """An assistant's turn that is more than one text: calls of tools, or thoughts; `text` is its message as JSON."""

    text: str

    @classmethod
    def of(cls, message: Message) -> Turn:
        return cls(_canonical(message))

    @property
    def message(self) -> Message:
        return cast(Message, json.loads(self.text))

    def __str__(self) -> str:
        return said(self.message)


#: what is asked, and what is answered: one text each, or what needs a chat template to be written
Prompt = str | Conversation
Reply = str | Turn


def _canonical(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def messages_of(prompt: Prompt) -> list[Message]:
    """The messages of a prompt: a text is a user's."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt.messages


def tools_of(prompt: Prompt) -> list[dict[str, Any]]:
    """The tools that stand beside a prompt."""
    return [] if isinstance(prompt, str) else prompt.tools


def message_of(reply: Reply) -> Message:
    """A reply as an assistant's message."""
    return {"role": "assistant", "content": reply} if isinstance(reply, str) else reply.message


def sent(messages: Sequence[Message]) -> list[Message]:
    """Messages as OpenAI's API takes them: the arguments of a call are text."""
    found = []
    for message in messages:
        calls = [
            {**call, "function": {**call["function"], "arguments": _canonical(call["function"]["arguments"])}}
            for call in message.get("tool_calls", ())
        ]
        found.append({**message, "tool_calls": calls} if calls else message)
    return found


def said(message: Message) -> str:
    """The text of one message: its content, and each call as `name{arguments}` on a line of its own."""
    calls = [
        f"{call['function']['name']}{_canonical(call['function']['arguments'])}"
        for call in message.get("tool_calls", ())
    ]
    return "\n".join(text for text in (message["content"], *calls) if text)


def written(messages: Sequence[Message]) -> str:
    """A conversation as one text, for people and for comparing rows: a single user's message is its content."""
    if len(messages) == 1 and messages[0]["role"] == "user":
        return str(messages[0]["content"])
    return "\n\n".join(f"{message['role']}: {said(message)}" for message in messages)


def unlearnt(messages: Sequence[Message]) -> list[str]:
    """Names for what of a checked conversation nothing learns from, though it may be said: an answer that nothing was
    asked before, and what follows the last answer."""
    last = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    found = ["messages (an answer before any question)"] if messages[0]["role"] == "assistant" else []
    return [*found, "messages (after the last answer)"] if last < len(messages) - 1 else found


def row_of(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The fields of a dataset row that hold a checked conversation with a reply at its end.

    One question and one answer in plain text are a row of a prompt and a response; anything else carries `messages`
    as well. What follows the last reply is no part of the row.
    """
    last = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
    asked, reply = list(messages[:last]), messages[last]
    fields: dict[str, Any] = {"prompt": written(asked), "response": said(reply)}
    if not tools and len(asked) == 1 and asked[0]["role"] == "user" and set(reply) == {"role", "content"}:
        return fields
    fields["messages"] = [*asked, reply]
    return {**fields, "tools": list(tools)} if tools else fields


def checked(value: Json, here: str, field: str = "messages", *, answered: bool = True) -> list[Message]:
    """A JSON value as messages: content is text, arguments are objects, nothing is null.

    Raises Refusal with the message that is wrong. Unless `answered` is false, one message must be the assistant's.
    """
    if not isinstance(value, list) or not value:
        raise Refusal(f"field `{field}` must be a list of messages", place=here, action=_ACTION)
    if len(value) > MAX_MESSAGES:
        raise Refusal(
            f"{len(value)} messages in one row, at most {MAX_MESSAGES} are read", place=here, action="split the row"
        )
    found: list[Message] = []
    for number, item in enumerate(value):
        found.append(_message(item, found, here, f"{field}[{number}]"))
    if answered and [at for at, message in enumerate(found) if message["role"] == "assistant"] == [0]:
        raise Refusal(
            f"`{field}` begins with its only answer: nothing is asked before it",
            place=here,
            action="add what it answers, or remove the row",
        )
    if answered and not any(message["role"] == "assistant" for message in found):
        raise Refusal(
            f"no message of `{field}` is the assistant's: there is nothing to learn",
            place=here,
            action="add the assistant's turn, or remove the row",
        )
    return found


def _message(item: Json, before: Sequence[Message], here: str, name: str) -> Message:
    if not isinstance(item, dict):
        raise Refusal(f"{name} must be an object with role and content", place=here, action=_ACTION)
    value = {key: inner for key, inner in item.items() if inner is not None and inner != []}
    role = value.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise Refusal(
            f"the role of {name} is {json.dumps(role)[:60]}",
            place=here,
            action=f"a role is one of {', '.join(ROLES)}",
        )
    unknown = sorted(set(value) - set(FIELDS))
    if unknown:
        raise Refusal(
            f"{name} has the field `{unknown[0][:40]}`, which no template is given",
            place=here,
            action=f"a message has {', '.join(FIELDS)}",
        )
    for key, speaker in (("tool_calls", "assistant"), ("reasoning_content", "assistant"), ("tool_call_id", "tool")):
        if key in value and role != speaker:
            raise Refusal(f"{name} is of role {role} and has `{key}`", place=here, action=f"only {speaker} has it")
    for key in ("tool_call_id", "name", "reasoning_content"):
        if not isinstance(value.get(key, ""), str):
            raise Refusal(f"`{key}` of {name} must be a string", place=here, action=_ACTION)
    made: Message = {"role": role, "content": _content(value.get("content", ""), here, name)}
    made |= {key: value[key] for key in ("tool_call_id", "name", "reasoning_content") if key in value}
    if "tool_calls" in value:
        made["tool_calls"] = _calls(value["tool_calls"], here, name)
    elif not made["content"].strip() and role in ("user", "assistant"):
        raise Refusal(f"{name} says nothing", place=here, action="write its content, or remove the row")
    if role == "tool":
        _answers(made, before, here, name)
    return made


def _content(value: Json, here: str, name: str) -> str:
    """A text, or the text parts of one joined. Other parts (images, sound) are for other models."""
    parts = value if isinstance(value, list) else [{"type": "text", "text": value}]
    texts: list[str] = []
    for part in parts:
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        if not isinstance(text, str):
            raise Refusal(f"the content of {name} is no text", place=here, action="a content is a string")
        texts.append(text)
    return "".join(texts)


def _calls(value: Json, here: str, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) > MAX_CALLS:
        raise Refusal(f"`tool_calls` of {name} must be a list of at most {MAX_CALLS} calls", place=here, action=_ACTION)
    found = []
    for number, call in enumerate(value):
        at = f"{name}.tool_calls[{number}]"
        inner = call.get("function") if isinstance(call, dict) else None
        if (
            not isinstance(call, dict)
            or not isinstance(inner, dict)
            or set(call) - {"id", "type", "function", "index"}
            or call.get("type", "function") != "function"
            or not isinstance(call.get("id") or "", str)
            or not {"name", "arguments"} >= set(inner) >= {"name"}
            or not isinstance(inner["name"], str)
        ):
            raise Refusal(
                f"{at} is no call in the OpenAI form",
                place=here,
                action='write {"id": …, "type": "function", "function": {"name": …, "arguments": "{…}"}}',
            )
        made: dict[str, Any] = {"id": call["id"]} if call.get("id") else {}
        arguments = _arguments(inner.get("arguments"), here, at)
        found.append({**made, "type": "function", "function": {"name": inner["name"], "arguments": arguments}})
    return found


def _arguments(value: Json, here: str, at: str) -> dict[str, Json]:
    """Arguments as an object: a template writes text as text, and would quote a JSON text a second time."""
    if value is None:
        return {}
    try:
        found = loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise Refusal(f"the arguments of {at} are not JSON: {error}", place=here, action=_ACTION) from None
    if not isinstance(found, dict):
        raise Refusal(f"the arguments of {at} are no JSON object", place=here, action=_ACTION)
    return found


def _answers(made: Message, before: Sequence[Message], here: str, name: str) -> None:
    """A tool's result stands after the calls of one assistant's turn, and names one of them where it names any."""
    turn = next((message for message in reversed(before) if message["role"] != "tool"), None)
    calls = turn.get("tool_calls", []) if turn else []
    if not calls:
        raise Refusal(f"{name} is a tool's result and follows no call", place=here, action=_ACTION)
    known = {call["id"] for call in calls if "id" in call}
    if known and made.get("tool_call_id", next(iter(known))) not in known:
        raise Refusal(
            f"`tool_call_id` of {name} is {made['tool_call_id'][:40]!r}, which no call before it has",
            place=here,
            action=f"write one of {', '.join(sorted(known))}",
        )


def checked_tools(value: Json, here: str, field: str = "tools") -> list[dict[str, Any]]:
    """A JSON value as the tools beside a conversation, each `{type: function, function: {name, …}}`, nothing null."""
    listed = [] if value is None else value
    if not isinstance(listed, list) or len(listed) > MAX_TOOLS:
        raise Refusal(f"field `{field}` must be a list of at most {MAX_TOOLS} tools", place=here, action=_ACTION)
    for number, tool in enumerate(listed):
        inner = tool.get("function") if isinstance(tool, dict) else None
        if (
            not isinstance(tool, dict)
            or not isinstance(inner, dict)
            or tool.get("type", "function") != "function"
            or not isinstance(inner.get("name"), str)
        ):
            raise Refusal(
                f"{field}[{number}] is no tool in the OpenAI form",
                place=here,
                action='write {"type": "function", "function": {"name": …, "description": …, "parameters": {…}}}',
            )
    return cast(list[dict[str, Any]], listed)

"""What a row of a scenario wants besides calls and facts, and where its scenario begins.

    {"calls": […], "order": "given", "facts": […], "forbidden": ["cancel"], "state": {"stock": {"pen": 0}}, "turns": 6}

`forbidden` are tools that must not be called, `state` is every entry of the small world that must have changed, with
the value it must have (`{}`: nothing may change; where it is not declared, what the row's own path changes, and no
more), `turns` how many answers the model may give. A row's own messages after the last user's are the path that whoever
wrote it took: a gold that its own path does not reach is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.contract.conversation import Conversation, Message
from runtime.contract.strict_json import Json

FIELDS = ("forbidden", "state", "turns")
#: answers that a model may give to one row at most
MOST_TURNS = 64


def fault(wanted: Mapping[str, Json]) -> str:
    """Why the scenario's part of `wanted` is none; "" when it is one."""
    forbidden, state, turns = wanted.get("forbidden"), wanted.get("state"), wanted.get("turns")
    if forbidden is not None and (
        not isinstance(forbidden, list) or not forbidden or not all(isinstance(one, str) and one for one in forbidden)
    ):
        return "forbidden must be a list of names of tools"
    if state is not None and (
        not isinstance(state, dict) or not all(isinstance(one, dict) and one for one in state.values())
    ):
        return "state must be an object: collection → key → value"
    if turns is not None and (type(turns) is not int or not 1 <= turns <= MOST_TURNS):
        return f"turns must be a whole number from 1 to {MOST_TURNS}"
    return ""


def unfit(row: Mapping[str, Any]) -> str:
    """Why a row is no scenario; "" when it is one."""
    wanted = row.get("wanted", {})
    if "messages" not in row:
        return "it is no conversation"
    if not wanted.get("calls") and "state" not in wanted:
        return "its `wanted` declares neither calls nor a state"
    if row["messages"][-1].get("tool_calls"):
        return "its own path does not come to a final answer"
    return ""


def begins(row: Mapping[str, Any]) -> int:
    """Number of the messages that are given: up to the last of the user."""
    messages: Sequence[Message] = row["messages"]
    return max(at for at, message in enumerate(messages) if message["role"] == "user") + 1


def asked(row: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> Conversation:
    """What a model is asked first, with the tools of the registry where the row brings none."""
    beside = row.get("tools") or [{"type": "function", "function": dict(tool)} for tool in tools]
    return Conversation.of(row["messages"][: begins(row)], beside)


def path(row: Mapping[str, Any]) -> Sequence[Message]:
    """The assistant's messages of the row's own path, in their order."""
    return [message for message in row["messages"][begins(row) :] if message["role"] == "assistant"]

"""A question with two answers, one preferred → the fields of one dataset row: one form for the forms people have.

Of a pair, `chosen` is what a student learns to write, so that it is the row's response; `rejected` stands beside it.
In a file each is a text or messages, after a `prompt` that is a text or messages, or without one (Hugging Face TRL,
"Dataset formats": standard and conversational preference, with explicit and with implicit prompt): what both begin with
is then the prompt. Texts in which `Human:` and `Assistant:` speak in turn (Bai et al. 2022, HH-RLHF) are conversations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.contract import Refusal, conversation
from runtime.contract.conversation import Message
from runtime.contract.strict_json import Json

#: fields of a file that hold the two answers
SIDES = ("chosen", "rejected")
_MEND = "correct the row, or remove it"
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_ROLE = {"Human": "user", "Assistant": "assistant"}


def fields_of(
    asked: Json,
    sides: Mapping[str, Json],
    tools: Json,
    here: str,
    said: Mapping[str, str],
) -> dict[str, Any]:
    """The fields of a row: prompt, response, rejected; messages and tools where it is more than texts.

    `asked` is what the file gives as the prompt, None for nothing; `said` is how a message calls a field. Raises
    Refusal for an answer that is empty or none, for two that are equal, and for two that answer different questions.
    """
    checked_tools = conversation.checked_tools(tools, here)
    before = _asked(asked, here, said)
    chosen, rejected = (_side(sides[side], here, side, said[side], alone=before is None) for side in SIDES)
    if isinstance(chosen, str) and isinstance(rejected, str):
        if isinstance(before, str) or before is None:
            return _texts(before, chosen, rejected, checked_tools, here, said)
        one, other = ([{"role": "assistant", "content": text.strip()}] for text in (chosen, rejected))
        return _row(before, one, other, checked_tools, here, said)
    if isinstance(chosen, str) or isinstance(rejected, str):
        raise Refusal(
            f"{said['chosen']} and {said['rejected']} are of two forms, a text and messages", place=here, action=_MEND
        )
    if isinstance(before, str):
        before = _question(before, chosen, rejected, here, said)
    return _row(before, chosen, rejected, checked_tools, here, said)


def holds_question(side: Json) -> bool:
    """Whether an answer in a file is messages that do not begin with the assistant's: what was asked is among them."""
    first = side[0] if isinstance(side, list) and side else None
    return isinstance(first, dict) and first.get("role") != "assistant"


def reply_of(message: Message) -> str | Message:
    """An assistant's message as a row holds it: its text, or the whole message where it is more than that."""
    return str(message["content"]) if set(message) == {"role", "content"} else message


def checked_reply(value: Json, response: Json, messages: Sequence[Message], here: str) -> None:
    """That a row's field `rejected` is a reply, and another one than its own. Raises Refusal."""
    if not response:
        raise Refusal("field `rejected` stands beside no answer that was chosen", place=here, action=_MEND)
    if not isinstance(value, str):
        before = messages[:-1]
        found = conversation.checked([*before, value], here, "rejected", answered=False)[-1]
        if found != value or found["role"] != "assistant" or isinstance(reply_of(found), str):
            raise Refusal("field `rejected` must be a text, or an assistant's turn", place=here, action=_MEND)
    elif not value.strip():
        raise Refusal("field `rejected` is empty", place=here, action=_MEND)
    own = reply_of(messages[-1]) if messages else response
    if _same(value, own):
        raise _equal(here, {side: f"`{side}`" for side in SIDES})


def _same(one: Any, other: Any) -> bool:
    return one.strip() == other.strip() if isinstance(one, str) and isinstance(other, str) else bool(one == other)


def _equal(here: str, said: Mapping[str, str]) -> Refusal:
    return Refusal(
        f"{said['chosen']} and {said['rejected']} are equal: nothing is preferred", place=here, action="remove the row"
    )


def _side(value: Json, here: str, side: str, said: str, *, alone: bool) -> str | list[Message]:
    """One answer as the file has it: a text, or checked messages. `alone`: no prompt stands before it."""
    if isinstance(value, str):
        if not value.strip():
            raise Refusal(f"field {said} is empty", place=here, action=_MEND)
        return (_spoken(value, here, side) if alone else []) or value
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value:
        raise Refusal(f"field {said} must be a text, or messages", place=here, action=_MEND)
    return conversation.checked(value, here, side, answered=False)


def _spoken(text: str, here: str, side: str) -> list[Message]:
    """The turns of a text that begins with `Human:`; none for any other."""
    marks = list(_SPEAKER.finditer(text))
    if not marks or text[: marks[0].start()].strip() or marks[0][1] != "Human":
        return []
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    turns: list[Json] = [
        {"role": _ROLE[mark[1]], "content": text[mark.end() : end].strip()}
        for mark, end in zip(marks, ends, strict=True)
    ]
    return conversation.checked(turns, here, side, answered=False)


def _asked(value: Json, here: str, said: Mapping[str, str]) -> str | list[Message] | None:
    """The prompt as the file has it; None for none."""
    if value is None:
        return None
    if isinstance(value, str):
        if not value.strip():
            raise Refusal(f"field {said['prompt']} is empty", place=here, action=_MEND)
        return _spoken(value.rstrip().removesuffix("\n\nAssistant:"), here, "prompt") or value
    found = conversation.checked(value, here, "prompt", answered=False)
    if found[-1]["role"] == "assistant":
        raise Refusal(f"{said['prompt']} ends with the assistant's turn: nothing is asked", place=here, action=_MEND)
    return found


def _texts(
    asked: str | None, chosen: str, rejected: str, tools: Sequence[Any], here: str, said: Mapping[str, str]
) -> dict[str, Any]:
    if tools:
        raise Refusal("tools stand beside messages, and these answers are texts", place=here, action=_MEND)
    if _same(chosen, rejected):
        raise _equal(here, said)
    if asked is None:
        asked = _beginning(chosen, rejected)
        if not asked.strip():
            raise Refusal(
                f"{said['chosen']} and {said['rejected']} do not begin alike, and no prompt stands beside them",
                place=here,
                action="map the prompt: `fields: {prompt: …, chosen: …, rejected: …}`",
            )
    if chosen.startswith(asked) and rejected.startswith(asked):
        chosen, rejected = chosen[len(asked) :].strip(), rejected[len(asked) :].strip()
        asked = asked.strip()
    for side, text in zip(SIDES, (chosen, rejected), strict=True):
        if not text:
            raise Refusal(f"{said[side]} holds the prompt and no answer", place=here, action=_MEND)
    return {"prompt": asked, "response": chosen, "rejected": rejected}


def _beginning(one: str, other: str) -> str:
    """What two texts begin with, up to the last white space: a word is in one of prompt and answer."""
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    spaces = [at for at in range(same) if one[at].isspace()]
    whole = same < min(len(one), len(other)) and one[same].isspace() and other[same].isspace()
    return one[:same] if whole else one[: spaces[-1] + 1] if spaces else ""


def _question(
    asked: str, chosen: Sequence[Message], rejected: Sequence[Message], here: str, said: Mapping[str, str]
) -> list[Message] | None:
    """The prompt before messages where the file has it as a text besides: a user's message, if they hold answers alone.
    Else they hold the prompt, and the text is one of its questions."""
    if chosen[0]["role"] == "assistant" and rejected[0]["role"] == "assistant":
        return [{"role": "user", "content": asked}]
    for side, messages in zip(SIDES, (chosen, rejected), strict=True):
        questions = [message["content"].strip() for message in messages if message["role"] == "user"]
        if asked.strip() not in questions:
            raise Refusal(
                f"{said['prompt']} is not among the questions in {said[side]}: the answers are to another",
                place=here,
                action="correct the row, or map only chosen and rejected",
            )
    return None


def _row(
    asked: Sequence[Message] | None,
    chosen: Sequence[Message],
    rejected: Sequence[Message],
    tools: Sequence[Mapping[str, Any]],
    here: str,
    said: Mapping[str, str],
) -> dict[str, Any]:
    if list(chosen) == list(rejected):
        raise _equal(here, said)
    if asked is None:
        pairs = zip(chosen, rejected, strict=False)
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(chosen), len(rejected)))
        asked = list(chosen[:same])
    elif list(chosen[: len(asked)]) == list(asked) == list(rejected[: len(asked)]):
        same = len(asked)
    else:
        same = 0
    replies = []
    for side, messages in zip(SIDES, (chosen, rejected), strict=True):
        rest = list(messages[same:])
        if any(message["role"] != "assistant" for message in rest):
            raise Refusal(
                f"{said['chosen']} and {said['rejected']} answer different questions: message {same + 1} of "
                f"{said[side]} is not the assistant's",
                place=here,
                action="a pair is two answers to one conversation; correct the row, or remove it",
            )
        if len(rest) != 1:
            what = "no answer of its own" if not rest else f"{len(rest)} turns where one answer is compared"
            raise Refusal(f"{said[side]} has {what}", place=here, action=_MEND)
        replies.append(rest[0])
    if not any(message["role"] == "user" for message in asked):
        raise Refusal(
            f"nothing is asked before {said['chosen']} and {said['rejected']}",
            place=here,
            action="map the prompt: `fields: {prompt: …, chosen: …, rejected: …}`",
        )
    # the answers once more, each in its place: a call's result, and what else depends on what stands before
    whole = [conversation.checked([*asked, reply], here, side) for side, reply in zip(SIDES, replies, strict=True)]
    pair = [reply_of(messages[-1]) for messages in whole]
    if _same(*pair):
        raise _equal(here, said)
    return {**conversation.row_of(whole[0], tools), "rejected": pair[1]}

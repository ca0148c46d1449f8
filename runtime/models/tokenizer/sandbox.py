"""A chat template of somebody's folder → texts, rendered in a process that may be killed.

A template is a program by a stranger. jinja2's sandbox keeps it from Python; what it cannot keep it from is taking
long and growing large. So it runs in a process of its own with a cap on memory, without the machine's environment,
and whoever waits for it waits for a bounded time.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.contract import Refusal, Unavailable
from runtime.models.tokenizer.contained import SPARE, STARTING, Contained, Stopped

#: seconds for one text, address space in bytes, characters of a text, characters of a template
SECONDS, MEMORY, CHARACTERS, TEMPLATE = 10.0, 1 << 30, 4 << 20, 1 << 20
_PROGRAM = Path(__file__).with_name("jinja.py")
_WHERE = "chat_template.jinja"


class Sandbox:
    """One template in its process; it ends with this object."""

    def __init__(self, template: str, date: str, *, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        """Raises Refusal for a template that cannot be read, and Unavailable without jinja2."""
        if importlib.util.find_spec("jinja2") is None:
            raise Unavailable(
                "a chat template is rendered by jinja2, which is not installed", needs="pip install jinja2"
            )
        if len(template) > TEMPLATE:
            raise Refusal(
                f"the chat template has {len(template):,} characters, at most {TEMPLATE:,} are read",
                place=_WHERE,
                action="take the template that belongs to this model",
                code="KR0170",
            )
        self._program = {"template": template, "date": date}
        self._caps = {"bytes": memory, "characters": CHARACTERS, "seconds": seconds + SPARE}
        self._seconds = seconds
        self._process: Contained | None = None
        self._start()

    def _start(self) -> None:
        self._process = Contained(_PROGRAM)
        self._answer(self._caps, STARTING)
        reply = self._answer(self._program, self._seconds)
        if "error" in reply:
            raise self._refusal(reply)

    def render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        tokens: Mapping[str, str],
        *,
        generation_prompt: bool,
    ) -> str:
        """The text of a conversation, with the beginning of an assistant's turn after it when asked for.

        `tokens` are the texts of control tokens by the names that templates know (`bos_token`, …). Raises Refusal
        with the template's line for everything that it does wrong, by its own word or by taking too much.
        """
        request = {"messages": messages, "tools": tools or None, "documents": None, **tokens}
        if self._process is None:
            self._start()
        reply = self._answer({**request, "add_generation_prompt": generation_prompt}, self._seconds)
        if "error" in reply:
            raise self._refusal(reply)
        return str(reply["text"])

    def _answer(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """What the process answers. Raises Refusal when it does not; the next text has a process of its own."""
        assert self._process is not None
        try:
            return self._process.answer(request, seconds)
        except Stopped as why:
            self._process = None
            raise Refusal(
                f"the chat template {why}",
                place=_WHERE,
                action="take the template that belongs to this model",
                code="KR0170",
            ) from None

    def _refusal(self, reply: Mapping[str, Any]) -> Refusal:
        place = f"{_WHERE}:{reply['line']}" if reply.get("line") else _WHERE
        return Refusal(
            f"the chat template does not render: {reply['error']}",
            place=place,
            action="correct the messages it was given, or take the template that belongs to this model",
            code="KR0170",
        )

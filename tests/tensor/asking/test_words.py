"""A folder's own words: a model that is not told which tools a row offers is not asked about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.asking.words import Folder
from runtime.contract.asked import CannotAnswer
from runtime.contract.conversation import Conversation
from tests.flow import test_talks
from tests.tensor.chat import formats

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("lock", "open")
]


def asked(text: str) -> Conversation:
    return Conversation.of([{"role": "user", "content": text}], TOOLS)


def test_who_is_not_told_of_a_tool_is_not_asked_about_it(tmp_path: Path) -> None:
    """Not to call it would be right wherever nothing is to be called."""
    test_talks.teacher(tmp_path)
    telling = Folder(tmp_path, 600)
    assert '"lock"' in telling.decode(telling.encode_prompt(asked("Close it.")))
    (tmp_path / "chat_template.jinja").write_text(formats.SMOLLM2, encoding="utf-8")
    silent = Folder(tmp_path, 600)
    with pytest.raises(CannotAnswer, match="does not say which tools a row offers"):
        silent.encode_prompt(asked("Close it."))
    with pytest.raises(CannotAnswer, match="`open`"):
        silent.encode_prompt(asked("Call lock()."))
    assert silent.encode_prompt(asked("Call lock() or open()."))
    assert silent.encode_prompt("Close it.")

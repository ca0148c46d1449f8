"""A row may be a conversation: what questions a model takes `prompt_of(row)`, never the row's text for people."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ASKING = [
    path
    for room in ("suites", "models", "train", "data")
    for path in sorted((ROOT / "runtime" / room).rglob("*.py"))
    if re.search(r"\.(generate|score|encode_pair|encode_prompt|answers)\(", path.read_text(encoding="utf-8"))
]


def test_there_are_such_modules():
    assert len(ASKING) > 5


@pytest.mark.parametrize("path", ASKING, ids=lambda path: path.name)
def test_no_model_is_asked_by_the_text_for_people(path):
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"\.(?:generate|score|encode_pair|encode_prompt|answers)\([^\n]*row\[\"prompt\"\]", text)

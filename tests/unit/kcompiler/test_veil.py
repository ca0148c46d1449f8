"""What is shown of a spec goes into logs: no key can be read in it, and nothing else is hidden."""

import pytest

from kcompiler.cli.outcome import Outcome
from kcompiler.diagnostic import Diagnostic
from kcompiler.render import human
from kcompiler.veil import veiled

KEY = "sk-proj-0123456789abcdefghijklmnop"


@pytest.mark.parametrize(
    "line",
    [
        f"owner: {KEY}",
        "teacher: {api_key: a-word-of-no-form, model: m}",
        "api-key: 'a-word-of-no-form'",
        "base_url: https://user:a-word-of-no-form@api.example.com/v1",
        "base_url: https://api.example.com/v1?key=a-word-of-no-form",
        "--runner openai=http://x/v1,model=m,api_key=a-word-of-no-form --to out",
    ],
)
def test_a_key_is_stars_in_its_own_length(line):
    shown = veiled(line)
    assert len(shown) == len(line)
    assert KEY not in shown
    assert "no-form" not in shown
    assert "*" in shown


@pytest.mark.parametrize(
    "line",
    [
        "api_key: env:TEACHER_API_KEY",
        "max_tokens: 1024",
        "tokenizer: {source: train}",
        "https://api.example.com/v1",
        "- {name: key, path: a.jsonl}",
    ],
)
def test_what_is_no_key_is_shown(line):
    assert veiled(line) == line


def test_lines_and_commands_that_are_printed_are_veiled():
    found = Diagnostic(code="KC2107", summary="x", file="a.yaml", line=1, column=1, end_column=3)
    shown = human.diagnostics([found], {"a.yaml": b"api_key: a-word-of-no-form"})
    assert "api_key: ******" in shown
    assert "no-form" not in shown
    assert (
        "no-form" not in Outcome(1, "x", "kcompiler evaluate --runner openai=u,api_key=a-word-of-no-form").next_command
    )

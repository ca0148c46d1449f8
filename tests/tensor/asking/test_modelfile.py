"""What Ollama would write by a Modelfile is what the chat template writes; where it is not, there is no Modelfile."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pytest

from runtime.asking import modelfile
from runtime.contract.conversation import Conversation
from runtime.models import tokenizer as tokenizers
from runtime.models.tokenizer import Chat
from tests.tensor.chat import formats
from tests.tensor.chat.test_chat_templates import made
from tests.tensor.export.world import world

SYSTEM, ASK, SAY = ({"role": role, "content": f" {role}\n\nspoke "} for role in ("system", "user", "assistant"))
TALKS = ([ASK], [ASK, SAY, ASK], [SYSTEM, ASK], [SYSTEM, ASK, SAY, ASK, SAY, ASK])
#: families whose template writes every content as it is, by the roles on either side alone
WRITTEN = {"mistral-v1", "phi3", "qwen2.5", "qwen3", "smollm2"}
GO = """
package main

import (
	"encoding/json"
	"os"
	"text/template"
)

type Message struct{ Role, Content string }

func main() {
	var talks [][]Message
	json.NewDecoder(os.Stdin).Decode(&talks)
	made := template.Must(template.New("").Parse(os.Args[1]))
	for _, one := range talks {
		if err := made.Execute(os.Stdout, map[string]any{"Messages": one, "Prompt": one[0].Content}); err != nil {
			panic(err)
		}
		os.Stdout.WriteString("\\x00")
	}
}
"""


def template_of(text: str) -> str:
    found = re.search(r'^TEMPLATE """(.*)"""\n\Z', text, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


#: an action of Go's templates, as far as ours use the language → the same in Jinja
ACTIONS = (
    (r'\$before := ""', '{% set kept = namespace(before="") %}'),
    (r"\$before = \.Role", "{% set kept.before = message.role %}"),
    (r"range \.Messages", "{% for message in messages %}"),
    (r'if eq \.Role ("\w*")', r"{% if message.role == \1 %}"),
    (r'if eq \$before ("\w*")', r"{% if kept.before == \1 %}"),
    (r'else if eq \.Role ("\w*")', r"{% elif message.role == \1 %}"),
    (r'else if eq \$before ("\w*")', r"{% elif kept.before == \1 %}"),
    (r"\.Content", "{{ message.content }}"),
    (r"\.Prompt", "{{ messages[0].content }}"),
)


def rendered(template: str, messages: Sequence[Any]) -> str:
    """What Go makes of a template, by another engine."""
    found, open_ = [], []
    for part in re.split(r"(\{\{ .*? \}\})", template):
        if not part.startswith("{{ "):
            found.append("{% raw %}" + part + "{% endraw %}")
            continue
        action = part[3:-3]
        if action == "end":
            found.append("{% end" + open_.pop() + " %}")
            continue
        pattern, instead = next(one for one in ACTIONS if re.fullmatch(one[0], action))
        open_ += (
            []
            if action.startswith("else")
            else [{"range": "for", "if": "if"}[word] for word in action.split()[:1] if word in ("range", "if")]
        )
        found.append(re.sub(pattern, instead, action))
    assert not open_
    return jinja2.Environment(keep_trailing_newline=True).from_string("".join(found)).render(messages=messages)


def by_go(template: str, talks: Sequence[Sequence[Any]], folder: Path) -> list[str]:
    """By Go itself, where it is installed."""
    if shutil.which("go") is None:
        return []
    folder.mkdir()
    (folder / "main.go").write_text(GO)
    ran = subprocess.run(
        ["go", "run", "main.go", template],
        cwd=folder,
        input=json.dumps(talks),
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.split("\0")[:-1]


@pytest.mark.parametrize("family", sorted(formats.TEMPLATES))
def test_a_conversation_is_written_as_by_the_chat_template_or_not_at_all(family: str, tmp_path: Path) -> None:
    chat: Chat = made(tmp_path / "words", family)
    found = modelfile.of(chat, "", ["<end>", 'a "b"'], 2048, "model.gguf")
    assert bool(found.text) is (family in WRITTEN), found
    if not found.text:
        assert found.lacks
        return
    lines = found.text.splitlines()
    assert lines[1:6] == [
        "FROM ./model.gguf",
        "PARAMETER num_ctx 2048",
        "PARAMETER temperature 0",
        'PARAMETER stop "<end>"',
        'PARAMETER stop "a \\"b\\""',
    ]
    template = template_of(found.text)
    talks = [one for one in TALKS if f'eq .Role "{one[0]["role"]}"' in template]
    assert len(talks) == (2 if family == "mistral-v1" else 4)
    wanted = [chat.text(Conversation.of(one), generation_prompt=True) for one in talks]
    assert [rendered(template, one) for one in talks] == wanted
    assert by_go(template, talks, tmp_path / "go") in ([], wanted)


def test_a_spec_s_own_template_is_one_question(tmp_path: Path) -> None:
    words = tokenizers.load(world(tmp_path)["tokenizer"])
    found = modelfile.of(words, "<|bos|>", ["<|eos|>"], 64, "model.gguf")
    template = template_of(found.text)
    asked = rendered(template, [ASK])
    assert asked.startswith("<|bos|>" + ASK["content"])
    assert asked == "<|bos|>" + words.template.replace("{prompt}", ASK["content"]).replace("{response}", "")
    assert by_go(template, [[ASK]], tmp_path / "go") in ([], [asked])


def test_what_a_modelfile_cannot_hold_is_left_out() -> None:
    class Odd(modelfile.Plain):
        def __init__(self, template: str) -> None:
            self.template = template

    for sign in ("{{", "}}", '"""'):
        found = modelfile.of(Odd(f"{sign}{{prompt}}:{{response}}"), "", [], 8, "m")
        assert found == modelfile.Made("", f"the template holds {sign}")

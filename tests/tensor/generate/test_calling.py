"""Calls of the families of the corpus: each model writes them as its own template does, and takes them back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llguidance", reason="llguidance is not installed (the extra `grammar`)")

from runtime.contract.architecture import Architecture
from runtime.contract.calls import Call
from runtime.generate import calling, words
from runtime.generate.calling import LISTED, LLAMA, NATIVE, TAGGED
from runtime.generate.dialogue import Dialogue, Settings
from runtime.generate.engine import Engine
from runtime.generate.models import TorchModel
from runtime.models import build
from runtime.serve import wire
from runtime.serve.reply import Reply
from tests.tensor.chat.test_chat_templates import FAMILIES, SIZE, TOOL, made

FORMS = {"qwen2.5": TAGGED, "qwen3": TAGGED, "llama3": LLAMA, "mistral-v3": LISTED}
PING = {"type": "function", "function": {"name": "ping"}}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Engine]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    made(folder, request.param)
    architecture = Architecture(
        family="llama", vocab_size=SIZE, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=4096,
    )  # fmt: skip
    return request.param, Engine(TorchModel(build.build(architecture, 3)), words.load(folder, folder))


def ask(engine: Engine, **more: Any) -> Reply:
    """What the server would answer to a request with tools."""
    body = {
        "model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": [TOOL, PING], "temperature": 1, "seed": 3,
        "max_tokens": 300, **more,
    }  # fmt: skip
    prepared = wire.prepare(engine, wire.request(json.dumps(body).encode()), 400)
    writing = engine.write(prepared.ask)
    while not writing.finish:
        writing.advance()
    return Reply(prepared, writing, "m", 0)


def test_the_form_is_that_in_which_the_template_writes_a_call(family: tuple[str, Engine]) -> None:
    name, engine = family
    assert engine.form == FORMS.get(name, NATIVE)


def test_a_call_that_must_be_made_is_one_and_goes_back_into_the_template(family: tuple[str, Engine]) -> None:
    name, engine = family
    if name not in FORMS:
        pytest.skip("its template knows no tools")
    named = {"type": "function", "function": {"name": "ping"}}
    reply = ask(engine, tool_choice=named, tools=[TOOL, {**PING, "function": {"name": "ping", "parameters": CLOSED}}])
    (call,) = reply.whole()["choices"][0]["message"]["tool_calls"]
    assert (call["function"]["name"], call["function"]["arguments"]) == ("ping", "{}")
    if name == "mistral-v3":
        assert reply.writing.ids[0] == engine.words.control["[TOOL_CALLS]"]
        # its own template takes no other ids
        assert re.fullmatch("[0-9a-z]{9}", call["id"])
    asked = {"role": "user", "content": "Hi"}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "pong"}
    called = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{**call, "function": {"name": "ping", "arguments": {}}}],
    }
    text = engine.words.rendered([asked, called, result], [TOOL])
    # what the model wrote is what its template writes, but for spaces and the id that a list's objects get
    wrote = reply.writing.text.removesuffix("}]") if engine.form == LISTED else reply.writing.text
    assert wrote.replace(" ", "") in text.replace(" ", "")
    assert "pong" in text


CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}


def test_text_and_one_or_several_calls_are_told_apart(family: tuple[str, Engine]) -> None:
    _, engine = family
    form = engine.form
    assert form is not None
    tools = calling.registry([TOOL, PING])
    add = Call("add", {"a": 1, "b": 2})
    one = calling.written(add, form)
    rule = calling.grammar(engine.words, form, tools, "auto")
    texts = [("Hello", []), (one, [add])]
    if form.between:
        both = f"{one.removesuffix(form.end)}, {calling.written(Call('ping', {}), form).removeprefix(form.begin)}"
        texts.append((both, [add, Call("ping", {})]))
    if not form.whole:
        texts.append((f"{one}\n{one}", [add, add]))
    for text, calls in texts:
        matcher = engine.grammars.matcher(rule)
        for token in engine.words.backend.encode(text, add_special_tokens=False).ids:
            assert matcher.allowed()[token], (text, engine.words.decode([token]))
            matcher.take(token)
        assert matcher.complete or matcher.allowed()[min(engine.words.stops)]
        assert calling.read(text, form, tools)[1] == calls
    if form.between:
        single = calling.grammar(engine.words, form, tools, "auto", several=False)
        matcher = engine.grammars.matcher(single)
        for token in engine.words.backend.encode(one.removesuffix(form.end), add_special_tokens=False).ids:
            matcher.take(token)
        comma = engine.words.backend.encode(", ", add_special_tokens=False).ids[-1]
        assert not matcher.allowed()[comma]


def test_tools_of_openais_form_are_a_registry_too(family: tuple[str, Engine]) -> None:
    _, engine = family
    talk = Dialogue(engine, Settings(max_tokens=3), tools=[TOOL, PING])
    assert talk.constrained


def test_an_earlier_call_is_told_in_the_models_own_form_where_the_template_knows_none(
    family: tuple[str, Engine],
) -> None:
    _, engine = family
    without = words.Words(engine.words.backend, words.Manner(template="{{ messages }}"), frozenset([1]))
    called = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}]}
    (told,) = calling.told([called], without, TAGGED)
    assert told["content"] == '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    (told,) = calling.told([called], without, None)
    assert told["content"] == 'tool.call{"name":"add","args":{"a":1}}'

"""The official client works against the server unchanged."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import BaseModel

from runtime.generate import opening
from runtime.generate.engine import Ask

openai = pytest.importorskip("openai", reason="the client `openai` is not installed")

CITY = {
    "type": "object",
    "properties": {"zone": {"enum": ["é", "naïve"]}, "size": {"type": "integer", "minimum": 1, "maximum": 99}},
    "required": ["zone", "size"],
    "additionalProperties": False,
}
MESSAGES = [{"role": "user", "content": "Will it rain?"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "set_alarm",
            "description": "Set an alarm.",
            "parameters": {
                "type": "object",
                "properties": {"hour": {"type": "integer", "minimum": 0, "maximum": 23}, "on": {"type": "boolean"}},
                "required": ["hour", "on"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "ping"}},
]


@pytest.fixture(scope="module")
def client(plain):
    return openai.OpenAI(base_url=plain.url, api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def engine(folder):
    return opening.engine(opening.of_folder(folder), "torch")


@pytest.fixture(scope="module")
def grammar():
    return pytest.importorskip("llguidance", reason="the extra `grammar` is not installed")


def written(engine, messages, **more):
    writing = engine.write(Ask(ids=engine.words.encode(messages), **{"max_tokens": 20, **more}))
    while not writing.finish:
        writing.advance()
    return writing


def test_the_one_model_is_listed(client):
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "kcompiler"


def test_a_completion_is_what_the_engine_writes(client, engine):
    wanted = written(engine, MESSAGES)
    found = client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=20)
    assert found.choices[0].message.content == wanted.text
    assert found.choices[0].message.role == "assistant"
    assert found.choices[0].finish_reason == wanted.finish
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (len(wanted.ask.ids), wanted.tokens)
    assert found.usage.total_tokens == len(wanted.ask.ids) + wanted.tokens


def test_a_stream_is_the_same_in_pieces(client, engine):
    wanted = written(engine, MESSAGES, temperature=1.0, top_p=0.9, seed=4, max_tokens=60)
    chunks = list(
        client.chat.completions.create(
            model="tiny", messages=MESSAGES, max_completion_tokens=60, temperature=1.0, top_p=0.9, seed=4,
            stream=True, stream_options={"include_usage": True},
        )
    )  # fmt: skip
    *rest, usage = chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in rest) == wanted.text
    assert rest[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in rest if chunk.choices[0].finish_reason] == [wanted.finish]
    assert (usage.choices, usage.usage.completion_tokens) == ([], wanted.tokens)
    assert len({chunk.id for chunk in chunks}) == 1
    assert len(rest) > 5


def test_the_same_seed_is_the_same_answer_and_none_is_another(client):
    def ask(**more):
        made = client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=30, temperature=2, **more)
        return made.choices[0].message.content

    assert ask(seed=7) == ask(seed=7)
    assert ask(seed=-7) == ask(seed=-7)
    assert len({ask() for _ in range(4)}) > 1


def test_a_stop_text_is_not_shown(client, engine):
    whole = written(engine, MESSAGES, temperature=1.0, seed=4, max_tokens=60).text
    stop = whole[5:8]
    found = client.chat.completions.create(
        model="tiny", messages=MESSAGES, max_tokens=60, temperature=1.0, seed=4, stop=[stop, "never said"]
    )
    assert found.choices[0].message.content == whole[: whole.index(stop)]
    assert found.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_logarithms_of_probability_come_with_their_tokens(client, stream):
    found = client.chat.completions.create(
        model="tiny",
        messages=MESSAGES,
        max_tokens=8,
        temperature=1,
        seed=1,
        logprobs=True,
        top_logprobs=2,
        stream=stream,
    )
    choices = [chunk.choices[0] for chunk in found] if stream else [found.choices[0]]
    told = [one for choice in choices if choice.logprobs for one in choice.logprobs.content]
    text = "".join((c.delta.content or "") if stream else c.message.content for c in choices)
    assert bytes(byte for one in told for byte in one.bytes).decode(errors="replace") == text
    for one in told:
        assert len(one.top_logprobs) == 2
        assert one.top_logprobs[0].logprob >= max(one.logprob, one.top_logprobs[1].logprob)
        assert sum(math.exp(top.logprob) for top in one.top_logprobs) <= 1.0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "set_alarm"}}])
def test_a_call_is_made_and_its_arguments_are_json(client, grammar, stream, choice):
    made = client.chat.completions.create(
        model="tiny", messages=MESSAGES, tools=TOOLS[:1], tool_choice=choice, temperature=1, seed=3, stream=stream
    )
    if stream:
        chunks = list(made)
        (call,) = [one for chunk in chunks for one in chunk.choices[0].delta.tool_calls or []]
        assert call.index == 0
        finish = chunks[-1].choices[0].finish_reason
        assert not any(chunk.choices[0].delta.content for chunk in chunks)
    else:
        (call,), finish = made.choices[0].message.tool_calls, made.choices[0].finish_reason
        assert made.choices[0].message.content is None
    assert (call.function.name, finish) == ("set_alarm", "tool_calls")
    arguments = json.loads(call.function.arguments)
    assert set(arguments) == {"hour", "on"}
    assert 0 <= arguments["hour"] <= 23


def test_text_stays_text_where_tools_are_free(client, engine, grammar):
    """What cannot become a call is streamed at once; the end is the same as without a stream."""
    ask = {"model": "tiny", "messages": MESSAGES, "tools": TOOLS, "max_tokens": 20, "temperature": 1, "seed": 5}
    whole = client.chat.completions.create(**ask)
    chunks = list(client.chat.completions.create(**ask, stream=True))
    assert whole.choices[0].message.tool_calls is None
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert len(chunks) > 5


def test_a_conversation_with_a_call_in_it_goes_on(client, grammar):
    made = (
        client.chat.completions.create(
            model="tiny", messages=MESSAGES, tools=TOOLS[:1], tool_choice="required", temperature=1, seed=3
        )
        .choices[0]
        .message
    )
    more = [*MESSAGES, made, {"role": "tool", "tool_call_id": made.tool_calls[0].id, "content": "done"}]
    assert client.chat.completions.create(model="tiny", messages=more, max_tokens=5).choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_by_a_schema_is_one_of_its_values(client, grammar, stream):
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": CITY}}
    made = client.chat.completions.create(
        model="tiny", messages=MESSAGES, response_format=wanted, temperature=1, seed=2, stream=stream
    )
    text = "".join(c.choices[0].delta.content or "" for c in made) if stream else made.choices[0].message.content
    assert set(json.loads(text)) == {"zone", "size"}


def test_a_class_of_pydantic_is_parsed(client, grammar):
    class Alarm(BaseModel):
        hour: bool
        label: bool

    made = client.chat.completions.parse(model="tiny", messages=MESSAGES, response_format=Alarm, temperature=1, seed=2)
    assert isinstance(made.choices[0].message.parsed, Alarm)


def test_a_class_that_holds_itself_is_parsed(client, grammar):
    made = client.chat.completions.parse(
        model="tiny", messages=MESSAGES, response_format=Knot, temperature=1, seed=4, max_tokens=200
    )
    assert isinstance(made.choices[0].message.parsed, Knot)


class Knot(BaseModel):
    tight: bool
    next: Knot | None


def test_probabilities_are_told_of_a_json_answer_too(client, grammar):
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
    made = client.chat.completions.create(
        model="tiny", messages=MESSAGES, response_format=wanted, temperature=1, seed=2, logprobs=True
    )
    told = made.choices[0].logprobs.content
    assert bytes(byte for one in told for byte in one.bytes).decode() == made.choices[0].message.content


def test_integers_of_64_bits_are_read(client, grammar):
    """A seed of the API, and bounds that generated schemas have."""
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": {**schema, "required": ["a"]}}}
    made = client.chat.completions.create(
        model="tiny", messages=MESSAGES, response_format=wanted, seed=2**62 + 1, temperature=1, max_tokens=100
    )
    assert made.choices[0].message.content
    with pytest.raises(openai.BadRequestError, match="seed"):
        client.chat.completions.create(model="tiny", messages=MESSAGES, seed=2**63, max_tokens=1)


def test_a_nucleus_of_nothing_is_the_likeliest_token(client):
    ask = {"model": "tiny", "messages": MESSAGES, "max_tokens": 12}
    greedy = client.chat.completions.create(**ask, temperature=0).choices[0].message.content
    assert client.chat.completions.create(**ask, temperature=2, top_p=0).choices[0].message.content == greedy


@pytest.mark.parametrize(
    ("more", "kind", "param"),
    [
        ({"max_completion_tokens": 201}, "BadRequestError", "max_completion_tokens"),
        ({"n": 2}, "BadRequestError", "n"),
        ({"model": "gpt"}, "NotFoundError", "model"),
        ({"frequency_penalty": 0.5}, "BadRequestError", "frequency_penalty"),
        ({"temperature": 2.5}, "BadRequestError", "temperature"),
        ({"max_tokens": 201}, "BadRequestError", "max_tokens"),
        ({"messages": [{"role": "user", "content": "cat " * 600}]}, "BadRequestError", "messages"),
        ({"extra_body": {"top_k": 4}}, "BadRequestError", "top_k"),
    ],
)
def test_what_is_not_supported_is_an_error_of_the_client(client, more, kind, param):
    with pytest.raises(getattr(openai, kind)) as error:
        client.chat.completions.create(**{"model": "tiny", "messages": MESSAGES, **more})
    assert error.value.body["param"] == param
    assert error.value.body["type"] == "invalid_request_error"


def test_zero_of_what_is_not_supported_is_nothing(client):
    made = client.chat.completions.create(
        model="tiny", messages=MESSAGES, max_tokens=2, n=1, frequency_penalty=0, presence_penalty=0.0, logit_bias={},
        user="me", store=False,
    )  # fmt: skip
    assert made.usage.completion_tokens <= 2

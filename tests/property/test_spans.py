"""For any text and any span: the marked tokens cover the span, and every one of them touches it."""

from __future__ import annotations

import tempfile
from functools import cache
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runtime.contract import calls, rows
from runtime.contract.calls import Call
from runtime.contract.rows import Row
from runtime.contract.strict_json import Json
from runtime.data.encode import encode
from runtime.models import tokenizer as tokenizers
from runtime.steps.tokenizer import TokenizerParams

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60).filter(lambda text: text.strip())
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
LEAVES: st.SearchStrategy[Json] = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), st.floats(-1e12, 1e12), TEXTS
)
VALUES: st.SearchStrategy[Json] = (
    LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(TEXTS, LEAVES | st.lists(LEAVES, max_size=2), max_size=3)
)
CALLS = st.builds(Call, NAMES, st.dictionaries(TEXTS, VALUES, max_size=4))


@cache
def words() -> tokenizers.Tokenizer:
    """A small byte-level tokenizer with merges inside and across characters, and one tag."""
    texts = [
        'tool.call{"name":"get_weather","args":{"city":"Zürich","days":12}}',
        "naïve €uro 漢字 漢字",
        "the the then",
    ]
    params = TokenizerParams(
        source="train", vocab_size=330, template="{prompt}\n{response}", single_token_tags=["tool.call"]
    )
    backend = tokenizers.trained(texts * 20, params)
    reserved = tokenizers.filled(backend, params.vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        tokenizers.save(Path(folder), backend, tokenizers.special_ids(backend, params), params, reserved)
        return tokenizers.load(Path(folder))


def row(response: str, spans: dict[str, list[list[int]]]) -> Row:
    return {"id": "r", "prompt": "p", "response": response, "class": "", "spans": spans, "source": "s"}


@given(TEXTS, TEXTS)
def test_text_survives_and_ranges_tile_the_response(prompt: str, response: str):
    pair = words().encode_pair(prompt, response)
    inside = pair.ids[pair.prompt_tokens : -1]
    assert words().decode(inside) == response
    assert words().decode(words().encode_text(prompt)) == prompt
    edges = [0, *(end for _, end in pair.offsets)]
    assert pair.offsets == list(pairwise(edges))
    assert edges[-1] == len(response.encode())
    assert len(pair.offsets) == len(inside)


@given(TEXTS, st.data())
def test_marked_tokens_cover_the_span_and_touch_it(response: str, data: st.DataObject):
    size = len(response.encode())
    start = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(start + 1, size))
    (example,) = encode(row(response, {"x": [[start, end]]}), words(), ["x", "response"])
    pair = words().encode_pair("p", response)
    marked = [n for n, wanted in enumerate(example.masks["x"][pair.prompt_tokens : -1]) if wanted]
    covered = [byte for n in marked for byte in range(*pair.offsets[n])]
    assert set(range(start, end)) <= set(covered)
    assert all(pair.offsets[n][0] < end and start < pair.offsets[n][1] for n in marked)
    assert marked == list(range(marked[0], marked[-1] + 1))
    assert not example.masks["x"][-1]
    assert sum(example.masks["response"]) == len(pair.offsets) + 1


@given(TEXTS, st.sampled_from(["<|eos|>", "<|bos|>", "<|pad|>", "<|reserved_0|>"]), TEXTS)
def test_no_text_around_a_control_text_makes_it_a_control_token(before: str, control: str, after: str):
    text = before + control + after
    pair = words().encode_pair(text, text)
    assert not words().control_ids & set(pair.ids[1:-1])


@given(CALLS)
def test_a_call_survives_its_own_text_and_its_spans_cut_it_apart(call: Call):
    text = calls.render(call)
    read = calls.parse(text)
    assert isinstance(read, Call)
    assert calls.difference(read, call) is None
    found = calls.spans(call)
    (name,), (args,) = found["tool_name"], found["json_args"]
    assert rows.text_of(text, name) == call.name
    assert rows.text_of(text, args) == calls.arguments(call.args)
    assert rows.checked(dict(row(text, found)), "")["spans"] == found

"""Pieces of text, put together, are the text: no character is torn, no stop text is shown."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.generate.text import BROKEN, Detokenizer, Stops
from tests.tensor.generate import folders

BACKENDS = {"byte_level": folders.byte_level(), "spaced": folders.spaced()}


def pieces(backend, ids):
    stream = Detokenizer(lambda some: backend.decode(list(some), skip_special_tokens=False))
    return [stream.push(token) for token in ids], stream.rest()


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_ids_give_the_text_of_all_of_them(name, data):
    """Also ids that no text has: control tokens and, byte by byte, half characters. (Byte fallback writes a whole run
    of bytes anew when its last one fits no character; those before are shown by then.)"""
    backend = BACKENDS[name]
    high = [backend.token_to_id(f"<0x{byte:02X}>") for byte in range(128, 256)] if name == "spaced" else []
    every = [number for number in range(backend.get_vocab_size()) if number not in high]
    ids = data.draw(st.lists(st.sampled_from(every), max_size=24))
    shown, rest = pieces(backend, ids)
    assert "".join(shown) + rest == backend.decode(ids, skip_special_tokens=False)
    assert not [piece for piece in shown if piece.endswith(BROKEN)]


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet="a é€😀日 The.capital\n\t", max_size=30))
def test_a_text_comes_in_whole_characters(name, text):
    backend = BACKENDS[name]
    ids = backend.encode(text, add_special_tokens=False).ids
    shown, rest = pieces(backend, ids)
    assert "".join(shown) + rest == backend.decode(ids, skip_special_tokens=False)
    if name == "byte_level":
        assert "".join(shown) == text


def test_a_character_of_four_tokens_is_shown_with_its_last():
    backend = BACKENDS["spaced"]
    ids = [backend.token_to_id(f"<0x{byte:02X}>") for byte in "😀".encode()]
    assert pieces(backend, ids) == (["", "", "", "😀"], "")
    assert pieces(backend, ids[:3]) == (["", "", ""], BROKEN * 3)


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet="ab\n", max_size=20),
    st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4), max_size=3),
    st.lists(st.integers(0, 20), max_size=6),
)
def test_stop_texts_end_a_text_in_whatever_pieces_it_comes(text, stops, cuts):
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    wanted = text[: min(ends)[1]] if ends else text
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    stream = Stops(stops)
    shown = [stream.push(text[start:end]) for start, end in itertools.pairwise(edges)]
    assert "".join(shown) + stream.rest() == wanted
    assert stream.found == bool(ends)


def test_only_what_may_begin_a_stop_text_waits():
    stream = Stops(["\nUser:"])
    assert [stream.push(piece) for piece in ("Yes", ".\nUs", "ually", "\n", "User", ": no")] == [
        "Yes", ".", "\nUsually", "", "", "",
    ]  # fmt: skip
    assert stream.found
    assert stream.push("more") == ""
    assert stream.rest() == ""

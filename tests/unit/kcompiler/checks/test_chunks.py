"""Chunks: both sides of what a student has parts for, and what each of them is said to hold, by hand."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from kcompiler.facts import sizes
from tests.unit.kcompiler.checks.claims import Claim, _parsed, disagrees, section, several, student


def chunks(count: int) -> Any:
    return section("export", chunks=count)


ONNX = section("verification", onnx=True)

CLAIMS = [
    Claim("one piece", lambda _: None),
    Claim("one piece that is said", several(chunks(1), ONNX)),
    Claim("as many as there are parts", several(student(num_hidden_layers=2), chunks(4))),
    Claim("one more", several(student(num_hidden_layers=2), chunks(5)), ("KC4886",), ("2 layers", "at most 4"),
          severity="error"),
    Claim("one piece of every length", section("export", strategy="enumerated", chunks=1)),
    Claim("two of every length", section("export", strategy="enumerated", chunks=2), ("KC4888",), ("multifunction",),
          severity="error"),
    Claim("ONNX of two", several(chunks(2), ONNX), ("KC4887",), ("each function would be one file",), severity="error"),
]  # fmt: skip


def held() -> None:
    """llama, 32 wide, 64 inside, 4 heads of 8 and 2 of keys, 512 ids: a layer 2·32² + 2·16·32 + 3·32·64 + 2·32 = 9,280
    numbers, the embedding 16,384, the head as many and a norm of 32."""
    facts = importlib.import_module("kcompiler.facts.chunks")
    spec = _parsed(student(num_hidden_layers=4, tie_word_embeddings=True))[0]
    a, recipe = spec.student.architecture, spec.quantization
    assert (a.hidden_size, a.intermediate_size, a.vocab_size) == (32, 64, 512)
    embedding, layer, head = 2 * 16_384, 2 * 9_280, 2 * 16_416
    assert [one.bytes for one in facts.chunks(a, 6)] == [embedding, *[layer] * 4, head]
    assert [(one.layers, one.bytes) for one in facts.chunks(a, 2)] == [
        ((0, 2), embedding + 2 * layer),
        ((2, 4), 2 * layer + head),
    ]
    one_layer = sum(
        sizes.stored(tensor, recipe) for tensor in sizes.tensors(a) if tensor.name.startswith("model.layers.1.")
    )
    ends = {tensor.name: sizes.stored(tensor, recipe) for tensor in sizes.tensors(a) if "layers" not in tensor.name}
    first, last = facts.sized(a, 2, recipe)
    assert first.stored == ends["model.embed_tokens.weight"] + 2 * one_layer
    assert last.stored == 2 * one_layer + sum(ends.values()), "the tied embedding is stored here too"
    assert facts.largest(a, 2, recipe) == last.stored
    assert facts.largest(a, 1, recipe) == sum(sizes.weights(a, recipe).values()), "in one package it is stored once"
    assert facts.largest(a, 50, recipe) == max(one.stored for one in facts.sized(a, 6, recipe))
    untied = _parsed(student(num_hidden_layers=4, tie_word_embeddings=False))[0].student.architecture
    assert [one.bytes for one in facts.chunks(untied, 6)] == [embedding, *[layer] * 4, head]
    assert "tied" not in facts.told(untied, 2, recipe)


def words() -> None:
    facts = importlib.import_module("kcompiler.facts.chunks")
    spec = _parsed(student(num_hidden_layers=4, tie_word_embeddings=True))[0]
    a, recipe = spec.student.architecture, spec.quantization
    assert [facts.contents(one) for one in facts.chunks(a, 2)] == [
        "embedding + layers 0 to 1",
        "layers 2 to 3 + norm and head",
    ]
    assert [facts.contents(one) for one in facts.chunks(a, 6)] == [
        "embedding",
        *(f"layer {number}" for number in range(4)),
        "norm and head",
    ]
    said = facts.told(a, 2, recipe)
    assert said.startswith("chunk_1 embedding + layers 0 to 1: 69.89 kB in float16, ")
    assert said.endswith("; the tied embedding is in the first and in the last")


ARITHMETIC = (held, words)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_chunks_say(claim: Claim, tmp_path: Path) -> None:
    assert disagrees("chunks", claim, tmp_path) == ""


@pytest.mark.parametrize("check", ARITHMETIC, ids=lambda check: check.__name__)
def test_chunks_by_hand(check: Any) -> None:
    check()

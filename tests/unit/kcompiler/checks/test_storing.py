"""A store: what it takes by hand, both sides of every border, and what it needs to be read.

The good spec's teacher is 64 wide, its vocabulary has 512 tokens, its rows 64, and one term is softened by 2: a token
of the likeliest 16 takes 16 × (4 + 4) and twice 4 for the mass of the others, 136 B.
"""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

import pytest

from kcompiler.checks import World
from tests.unit.kcompiler.checks.claims import Claim, _parsed, disagrees, section, several, student
from tests.unit.kcompiler.checks.test_corners import lines, sources

ANSWERING = {
    "source": "openai", "base_url": "https://api.example.com/v1", "model": "t", "api_key": "env:KEY", "signals": ["text"],
    "allow_missing": 0.0,
    "usd_per_million_input": 0.0, "usd_per_million_output": 0.0,
}  # fmt: skip


def store(form: str, **more: Any) -> Any:
    return section("teacher", store={"form": form, **more})


def answering(data: dict[str, Any]) -> None:
    data["teacher"] = {**ANSWERING, "store": {"form": "hidden"}}


def text_only(data: dict[str, Any]) -> None:
    data["training"]["stages"][0]["losses"] = [{"term": "ce_truth", "weight": 1.0}]


def width(vocabulary: int, teacher: int = 64) -> Any:
    def change(data: dict[str, Any]) -> None:
        data["teacher"]["architecture"]["hidden_size"] = teacher
        data["tokenizer"]["vocab_size"] = vocabulary
        student()(data)

    return change


def likeliest(**given: Any) -> Any:
    def change(data: dict[str, Any]) -> None:
        data["training"]["stages"][0]["losses"] = [{"term": "top_k_kl", "weight": 1.0, **given}]

    return change


CLAIMS = [
    Claim("a loss of all words", likeliest(k=512)),
    Claim("a loss of one more", likeliest(k=513), ("KC4269",), ("than the vocabulary has", "513 of 512"),
          severity="error"),
    Claim("a loss of all that is stored", several(store("top_k", k=64), likeliest())),
    Claim("a loss of more than is stored", several(store("top_k", k=63), likeliest()), ("KC4269",),
          ("than are stored", "64 of 63", "or store more"), severity="error"),
    Claim("a loss of more than the likeliest, which are all stored", several(store("hidden"), likeliest(k=65))),
    Claim("no store", lambda _: None),
    *(Claim(f"form {form}", store(form)) for form in ("hidden", "top_k", "full")),
    Claim("of a teacher that answers", answering, ("KC4239",), ("source `openai`",), severity="error"),
    Claim("that nothing reads", several(store("hidden"), text_only), ("KC4245",), severity="error"),
    Claim("as many tokens as there are", store("top_k", k=512)),
    Claim("one more", store("top_k", k=513), ("KC4257",), ("513 of 512", "at most 512"), severity="error"),
    Claim("all numbers of a token are 65,536 B", several(store("full"), width(16_384)), ("KC4263",),
          ("65.54 kB a token", "256 B"), severity="warning"),
    Claim("a number fewer", several(store("full"), width(16_383))),
    Claim("in half of the bytes", several(store("full", dtype="bf16"), width(32_767))),
    Claim("hidden states a quarter of it", several(store("full"), width(16_384, 4096))),
    Claim("a number less than a quarter", several(store("full"), width(16_384, 4092)), ("KC4263",)),
    Claim("hidden states themselves", several(store("hidden"), width(512, 1 << 15))),
    Claim("many of the likeliest", several(store("top_k", k=8192), width(16_384)), ("KC4263",)),
    Claim("some of them", several(store("top_k", k=8189), width(16_384))),
]  # fmt: skip


def measured(change: Any, files: dict[str, str]) -> Any:
    facts = importlib.import_module("kcompiler.facts.stored")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        return facts.size(_parsed(change)[0], World(folder, folder, ()))


TRAIN = {"path": "train.jsonl", "split": "train"}
FILES = {"train.jsonl": lines("a", "b", response="yes") + lines("c", response="x" * 70), "test.jsonl": lines("d")}
#: a token of a text takes a byte of it at least, and one more ends it; no row is longer than 64
MOST = (3 + 1) * 2 + 64


def arithmetic() -> None:
    here = sources(TRAIN, {"path": "test.jsonl", "split": "test"})
    found = measured(several(store("top_k", k=16), here), FILES)
    assert (found.token, found.once, found.most, found.hidden) == (16 * 8 + 2 * 4, 0, MOST, 256)
    assert found.bytes == MOST * (136 + 4)
    assert found.text == "10.08 kB: 72 tokens × 136 B"
    found = measured(several(store("hidden"), here), FILES)
    assert (found.token, found.once) == (256, 512 * 64 * 4)
    assert found.text == "149.8 kB: 72 tokens × 256 B + head of 131.1 kB"
    assert measured(several(store("full", dtype="bf16"), here), FILES).token == 1024
    assert measured(here, FILES) is None
    # of rows that are generated, unread or answered by the teacher nobody knows how long they are
    unknown = measured(store("top_k", k=16), {})
    assert (unknown.most, unknown.bytes, unknown.text) == (None, None, "136 B a supervised token")
    assert measured(several(store("top_k"), here), {}).most is None
    asked = sources({**TRAIN, "responses": "teacher"})
    assert measured(several(store("top_k"), asked), {"train.jsonl": '{"prompt": "a"}\n'}).most is None


def temperatures() -> None:
    facts = importlib.import_module("kcompiler.facts.stored")

    def of(*changes: Any) -> Any:
        return facts.temperatures(_parsed(several(*changes))[0])

    assert of(store("top_k")) == [1.0, 2.0]
    assert of(store("hidden")) == []
    assert of(store("top_k"), text_only) == [1.0]
    assert [pointer for pointer, _, _ in facts.readers(_parsed(store("hidden"))[0])] == [
        "/training/stages/0/losses/0/term"
    ]


def much() -> None:
    """What may need a large disk is said; the border is laid at what is there."""
    storing = importlib.import_module("kcompiler.checks.storing")
    spec, tree = _parsed(several(store("top_k", k=16), sources(TRAIN)))
    kept = storing.MUCH
    try:
        for border, said in ((MOST * 140 - 1, ["KC4263"]), (MOST * 140, [])):
            storing.MUCH = border
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                (folder / "train.jsonl").write_text(FILES["train.jsonl"], encoding="utf-8")
                found = list(storing._large(spec, tree, World(folder, folder, ())))
                assert [one.code for one in found] == said
    finally:
        storing.MUCH = kept


def meaning() -> None:
    """The lock says what is computed of the likeliest tokens, and of everything what it says without a store."""
    facts = importlib.import_module("kcompiler.facts.stored")
    loss = importlib.import_module("runtime.losses.kl").LOSS
    truth = importlib.import_module("runtime.losses.ce_truth").LOSS
    assert facts.means(_parsed(store("top_k"))[0], loss) == loss.top.semantics
    assert facts.means(_parsed(store("hidden"))[0], loss) == loss.semantics
    assert facts.means(_parsed(store("top_k"))[0], truth) == truth.semantics


ARITHMETIC = (arithmetic, temperatures, much, meaning)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_storing_says(claim: Claim, tmp_path: Path) -> None:
    assert disagrees("storing", claim, tmp_path) == ""


@pytest.mark.parametrize("check", ARITHMETIC, ids=lambda check: check.__name__)
def test_storing_by_hand(check: Any) -> None:
    check()

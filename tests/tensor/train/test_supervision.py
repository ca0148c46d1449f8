"""What a term learns is shown as text, decoded from what the loss reads: rows, share, and what stands around."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.contract import report as facts
from runtime.models import tokenizer as tokenizers
from runtime.models.tokenizer import Tokenizer
from runtime.train import objective, supervision
from runtime.train.batches import Corpus
from runtime.train.distill import corpus_of
from tests.tensor.train import world


@pytest.fixture(scope="module")
def words(base: dict[str, Path]) -> Tokenizer:
    return tokenizers.load(base["tokenizer"])


def corpus(base: dict[str, Path], words: Tokenizer, **terms: float) -> Corpus:
    asked = world.params(losses=world.terms(**terms))
    return corpus_of(base, words, objective.bind(asked.losses), asked)[0]


def shown(told: dict[str, Any]) -> list[str]:
    return [
        "".join(f"⟦{one['text']}⟧" if one["learnt"] else one["text"] for one in row["pieces"]) for row in told["shown"]
    ]


def test_rows_are_shown_with_what_stands_around(base: dict[str, Path], words: Tokenizer) -> None:
    made = corpus(base, words, ce_truth=1.0, tool_name=1.0)
    answer, name = (supervision.told(made, mask, words) for mask in ("response", "tool_name"))
    first = world.row(0)
    bos, eos = (words.decode([number]) for number in (words.bos_id, words.eos_id))
    assert shown(answer)[0] == f"{bos}{first['prompt']}\n⟦{first['response']}{eos}⟧"
    assert [row["row"] for row in answer["shown"]] == ["row-0", "row-1", "row-2"]
    assert "⟦lamp⟧" in shown(name)[0]
    assert shown(name)[0].replace("⟦", "").replace("⟧", "") == shown(answer)[0].replace("⟦", "").replace("⟧", "")
    whole = sum(len(ids) for ids in made.ids)
    assert answer["rows"] == facts.rate(40, 40)
    assert (answer["tokens"]["n"], name["tokens"]["n"]) == (whole, whole)
    assert 0 < name["tokens"]["k"] < answer["tokens"]["k"] < whole


def test_rows_without_any_token_are_counted(tmp_path: Path, base: dict[str, Path], words: Tokenizer) -> None:
    folder = world.dataset(tmp_path / "mixed", count=10)
    bare = world.dataset(tmp_path / "bare", count=14, spans=False)
    lines = (bare / "train.jsonl").read_text().splitlines(keepends=True)[10:]
    with (folder / "train.jsonl").open("a") as file:
        file.writelines(lines)
    made = corpus({**base, "dataset": folder}, words, ce_truth=1.0, tool_name=1.0)
    assert supervision.told(made, "tool_name", words)["rows"] == facts.rate(10, 14)


def test_a_mask_that_is_off_by_one_shows(base: dict[str, Path], words: Tokenizer) -> None:
    """What is printed follows what is trained: a moved mask is a moved mark."""
    made = corpus(base, words, tool_name=1.0)
    right = shown(supervision.told(made, "tool_name", words))
    made._before_S = made._before_S + 1
    wrong = shown(supervision.told(made, "tool_name", words))
    assert "⟦lamp⟧" in right[0]
    assert "⟦lamp⟧" not in wrong[0]


def test_long_texts_are_bounded(monkeypatch: pytest.MonkeyPatch, base: dict[str, Path], words: Tokenizer) -> None:
    monkeypatch.setattr(supervision, "CHARACTERS", 8)
    monkeypatch.setattr(supervision, "PIECES", 2)
    made = corpus(base, words, json_args=1.0)
    told = supervision.told(made, "json_args", words)
    for row in told["shown"]:
        assert len(row["pieces"]) == 3
        assert row["pieces"][-1] == {"text": "[…]", "learnt": False}
        assert all(len(one["text"]) <= 8 + len(" […999 characters…] ") for one in row["pieces"])
    assert " characters…] " in told["shown"][0]["pieces"][0]["text"]

"""A tokenizer.json is a program by a stranger: it is tried on the rows in bounded time and memory before it is used."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

from runtime.contract import Refusal
from runtime.models.tokenizer import proving
from runtime.models.tokenizer.proving import TOGETHER, prove
from tests.tensor.test_tokenizer import CHAT, made, words_of

#: characters that the pattern below cuts in every way
ROW = "x" * 32


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proving, "SECONDS", 1.0)
    monkeypatch.setattr(proving, "MEMORY", 1 << 30)


def folder(root: Path, **change: Any) -> Path:
    backend = Backend(models.BPE({"x": 0, "Ġ": 1}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    root.mkdir()
    (root / "tokenizer.json").write_text(json.dumps(json.loads(backend.to_str()) | change), encoding="utf-8")
    return root


def test_a_sound_tokenizer_is_asked_about_every_text(tmp_path: Path) -> None:
    asked = iter([ROW] * (2 * TOGETHER + 1))
    prove(folder(tmp_path / "t"), asked)
    assert next(asked, None) is None


DOUBLING = {"type": "Replace", "pattern": {"String": " "}, "content": "  "}
HOSTILE: dict[str, dict[str, Any]] = {
    "a space that becomes 2^40": {"normalizer": {"type": "Sequence", "normalizers": [DOUBLING] * 40}},
    "a pattern without an end": {
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": False}
    },
}


@pytest.mark.parametrize("name", HOSTILE)
def test_one_that_takes_too_much_is_refused_at_its_place(name: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(Refusal) as caught:
        # the library gives up one text in a second or two: 64 are too many
        prove(folder(tmp_path / "t", **HOSTILE[name]), [f"{ROW} {ROW}"] * TOGETHER)
    assert caught.value.code == "KR0179"
    assert caught.value.place == "t/tokenizer.json"
    assert "tokenizer.json" in caught.value.action
    assert time.monotonic() - begun < 30


def test_the_step_asks_before_it_reads(tmp_path: Path) -> None:
    root = words_of(tmp_path / "teacher")
    path = root / "tokenizer.json"
    normalizer = {"normalizer": HOSTILE["a space that becomes 2^40"]["normalizer"]}
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | normalizer), encoding="utf-8")
    with pytest.raises(Refusal) as caught:
        made(tmp_path, teacher=root, **CHAT)
    assert caught.value.code == "KR0179"


def test_what_cannot_be_read_is_told_by_its_reader(tmp_path: Path) -> None:
    """No text is asked about, and nothing is refused here."""
    unasked = iter([ROW])
    prove(folder(tmp_path / "model", model={}), unasked)
    prove(tmp_path, unasked)
    assert list(unasked) == [ROW]

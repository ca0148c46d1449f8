"""A tokenizer × texts → the rule by its name in GGUF files under which llama.cpp gives the same ids, or none.

A file names how a text is cut into words before its bytes are merged (`tokenizer.ggml.pre`); llama.cpp has the rule in
its code. Which name is right is found by comparing ids, never by a name or a pattern: a coarser cut than a tokenizer's
own gives the same ids where no merge was learnt across its borders, and a pattern that looks alike may not.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from runtime.contract import gguf_words
from runtime.models.tokenizer.proving import texts

#: texts of the rows that are compared beside those below
ROWS = 2000
#: where cuts differ: clitics, digits, runs of spaces and breaks, signs, scripts, marks that combine
HARD = (
    "it's we'll I'd they've I'm you're don't 'S 'LL o'clock rock'n'roll",
    "1 12 123 1234 12345 3.14 1,000,000 2nd x86_64 ٣٤٥ ४५ Ⅷ ½ ²",
    "a  b   c    d\te\t\tf\u00a0g\u3000h\u200bi",
    "one\ntwo\n\nthree\r\nfour\n \n five  \n\n\n",
    "   leading and trailing   ",
    '!?...--- "quoted" (a) [b] {c} <d> a@b.c #tag $5 50% x=y; path/to/file.py C:\\x',
    "École naïve e\u0301cole Straße İstanbul ﬁne ａｂｃ",
    "Привет мир, κόσμε, שלום, مرحبا, नमस्ते, 你好世界, こんにちは, 한국어 ภาษาไทย",
    "👩\u200d👩\u200d👧 🇩🇪 👍🏽 ☃\ufe0f",
    "def f(x):\n    return x**2  # power\n\n\tif x: pass\n",
    "camelCaseWORDSandMORE snake_case kebab-case",
    "",
    " ",
)


@dataclass(frozen=True)
class Cut:
    """`name` is the rule, "" where none gives the same ids; `texts` were compared, and the nearest rule, `nearest`, has
    other ids for `different` of them."""

    name: str
    nearest: str
    texts: int
    different: int

    def to_json(self) -> dict[str, Any]:
        return {"cut": self.name, "nearest": self.nearest, "texts": self.texts, "different": self.different}


def found(words: Mapping[str, Any], dataset: Path) -> Cut:
    """`words` is tokenizer.json. A tokenizer that is no byte-level BPE has no rule here."""
    given = [*HARD, *itertools.islice(_distinct(texts(dataset)), ROWS)]
    model = words["model"]
    if model["type"] != "BPE" or model.get("byte_fallback") or (words.get("decoder") or {}).get("type") != "ByteLevel":
        return Cut("", "", len(given), len(given))
    own = _ids(words, given)
    best = Cut("", "", len(given), len(given) + 1)
    for name in gguf_words.CUTS:
        other = _ids({**words, **gguf_words.cutting(name, model)}, given)
        different = sum(one != two for one, two in zip(own, other, strict=True))
        if different < best.different:
            best = Cut("" if different else name, name, len(given), different)
        if not different:
            break
    return best


def _distinct(given: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for text in given:
        if text not in seen:
            seen.add(text)
            yield text


def _ids(words: Mapping[str, Any], given: list[str]) -> list[list[int]]:
    """Of each text alone, without what stands around one."""
    backend = Backend.from_str(json.dumps({**words, "post_processor": None}))
    return [one.ids for one in backend.encode_batch(given, add_special_tokens=False)]

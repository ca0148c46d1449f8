"""A tokenizer and rows → the same tokenizer over fewer ids, and the audit of what that costs.

A merge that is kept has all its parts, and no merge is added or moved: a text whose tokens are all kept is cut exactly
as before (each merge that is carried out is the lowest of those possible, and stays that among fewer), and any other
text is spelled by the tokens that are left, down to its bytes. Only BPE that spells bytes is reduced: another
tokenizer could not write every text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer as Backend
from tokenizers import pre_tokenizers

from runtime.contract import Refusal, rows
from runtime.contract import report as facts
from runtime.machine import durable

if TYPE_CHECKING:
    from runtime.models.tokenizer.text import Tokenizer

#: file of a reduced tokenizer: the ids that are kept, by the numbers they had, in the order of the new ones
KEPT = "kept.json"
SPLITS = ("train", "test")
#: so many lost tokens are told by name
SHOWN = 20
_ACTION = "keep the vocabulary whole: remove student.cut.vocabulary"


@dataclass(frozen=True)
class Bpe:
    """A byte-level or byte-falling-back BPE tokenizer as data."""

    whole: dict[str, Any]
    ids: dict[str, int]
    merges: list[tuple[str, str]]
    #: tokens that are kept whatever the rows are: control and other added tokens, the unknown one
    fixed: dict[str, int]
    #: tokens that spell one byte each
    bytes_: dict[str, int]

    @property
    def texts(self) -> dict[int, str]:
        return {number: text for text, number in {**self.ids, **self.fixed}.items()}


def opened(backend: Backend) -> Bpe:
    """A tokenizer as data. Raises Refusal for one that is no BPE, or cannot spell every byte that it knows."""
    whole = json.loads(backend.to_str())
    model = whole["model"]
    if model.get("type") != "BPE":
        raise Refusal(f"a tokenizer of kind {model.get('type')} is not reduced, only BPE is", action=_ACTION)
    ids: dict[str, int] = model["vocab"]
    added = {token["content"]: int(token["id"]) for token in whole["added_tokens"]}
    unknown = {text: ids[text] for text in [model.get("unk_token")] if text in ids}
    spelled = {text: ids[text] for text in pre_tokenizers.ByteLevel.alphabet() if text in ids} if levels(whole) else {}
    if model.get("byte_fallback"):
        spelled |= {text: ids[text] for text in (f"<0x{byte:02X}>" for byte in range(256)) if text in ids}
    if not spelled:
        raise Refusal("this tokenizer does not spell bytes: fewer ids could not write every text", action=_ACTION)
    pairs = [tuple(item.split(" ", 1)) if isinstance(item, str) else tuple(item) for item in model["merges"]]
    merges = [(first, second) for first, second in pairs]
    return Bpe(whole, ids, merges, {**added, **unknown}, spelled)


def levels(rule: Any) -> bool:
    """Whether a part of a tokenizer writes bytes as printable characters."""
    if isinstance(rule, list):
        return any(map(levels, rule))
    if not isinstance(rule, dict):
        return False
    return rule.get("type") == "ByteLevel" or any(
        levels(value) for key, value in rule.items() if key in ("pre_tokenizer", "pretokenizers", "decoder")
    )


def _makers(bpe: Bpe) -> dict[str, list[tuple[str, str]]]:
    """Token → the pairs that are merged into it."""
    found: dict[str, list[tuple[str, str]]] = {}
    for first, second in bpe.merges:
        found.setdefault(first + second, []).append((first, second))
    return found


def closed(wanted: Iterable[str], makers: Mapping[str, Sequence[tuple[str, str]]]) -> set[str]:
    """These tokens and every token that one of them is merged from, however far back."""
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        token = waiting.pop()
        if token not in found:
            found.add(token)
            waiting += [part for pair in makers.get(token, ()) for part in pair]
    return found


def _ids(row: rows.Row, words: Tokenizer) -> list[int]:
    return [number for sequence in words.sequences(row) for number in sequence.ids]


def counts(words: Tokenizer, dataset: Path) -> dict[str, Counter[int]]:
    """Split → how often each id stands in its rows."""
    found: dict[str, Counter[int]] = {}
    for split in SPLITS:
        found[split] = Counter()
        path = dataset / f"{split}.jsonl"
        for row in rows.read(path) if path.is_file() else ():
            found[split].update(_ids(row, words))
    return found


def select(bpe: Bpe, used: Iterable[int], size: int) -> tuple[list[int], int]:
    """(ids that are kept, ascending; how many of them had to be). Raises Refusal when more than `size` have to be.

    What is left of `size` takes the tokens of the earliest merges: they occur in most texts.
    """
    texts, makers = bpe.texts, _makers(bpe)
    needed = closed([texts[number] for number in used if number in texts], makers)
    needed |= closed(bpe.fixed, makers) | set(bpe.bytes_)
    numbers = {**bpe.ids, **bpe.fixed}
    kept = {numbers[text] for text in needed}
    if len(kept) > size:
        raise Refusal(
            f"the training rows, bytes and control tokens need {len(kept)} ids, the cut keeps {size}",
            place="student.cut.vocabulary.size",
            action=f"write at least {len(kept)}",
            code="KR0150",
        )
    must = len(kept)
    have = set(needed)
    for first, second in bpe.merges:
        if len(kept) == size:
            break
        if first in have and second in have and first + second in bpe.ids:
            have.add(first + second)
            kept.add(bpe.ids[first + second])
    if len(kept) < size:
        raise Refusal(
            f"the tokenizer can fill no more than {len(kept)} ids, the cut keeps {size}",
            place="student.cut.vocabulary.size",
            action=f"write {len(kept)}, or {_ACTION}",
            code="KR0150",
        )
    return sorted(kept), must


def rewritten(bpe: Bpe, kept: Sequence[int]) -> Backend:
    """The tokenizer over these ids, numbered anew in their order."""
    new = {number: i for i, number in enumerate(kept)}
    whole = json.loads(json.dumps(bpe.whole))
    model = whole["model"]
    model["vocab"] = {text: new[number] for text, number in bpe.ids.items() if number in new}
    have = model["vocab"]
    model["merges"] = [[one, two] for one, two in bpe.merges if one in have and two in have and one + two in have]
    for token in whole["added_tokens"]:
        token["id"] = new[token["id"]]
    _renumber(whole.get("post_processor"), new)
    backend = Backend.from_str(json.dumps(whole))
    backend.encode_special_tokens = True
    return backend


def _renumber(rule: Any, new: Mapping[int, int]) -> None:
    """New ids in what a tokenizer puts around a text."""
    if isinstance(rule, list):
        for item in rule:
            _renumber(item, new)
    elif isinstance(rule, dict):
        for key in ("sep", "cls"):
            if isinstance(rule.get(key), list):
                rule[key][1] = new[rule[key][1]]
        for token in (rule.get("special_tokens") or {}).values():
            token["ids"] = [new[number] for number in token["ids"]]
        _renumber(rule.get("processors"), new)


@dataclass(frozen=True)
class Reduction:
    """A tokenizer over fewer ids, and what it was made from."""

    backend: Backend
    kept: list[int]
    #: the tokenizer before
    whole: Tokenizer
    _bpe: Bpe
    _must: int
    _seen: dict[str, Counter[int]]

    def write(self, folder: Path) -> None:
        """The ids that are kept, beside the tokenizer."""
        durable.write(folder / KEPT, json.dumps({"schema_version": "1.0", "ids": self.kept}) + "\n")

    def audit(self, reduced: Tokenizer, dataset: Path) -> dict[str, Any]:
        """Part `reduction` of report `tokenizer.contract`: what is kept, and what of the rows is lost."""
        have, texts, makers, bpe, seen = set(self.kept), self._bpe.texts, _makers(self._bpe), self._bpe, self._seen
        parts = {part for number in self.kept for pair in makers.get(texts[number], ()) for part in pair}
        lost = Counter({i: count for split in SPLITS for i, count in seen[split].items() if i not in have})
        return {
            "ids": facts.measured(len(self.kept), "token"),
            "ids_before": facts.measured(len(texts), "token"),
            "ids_needed": facts.measured(self._must, "token"),
            "bytes_kept": facts.rate(sum(number in have for number in bpe.bytes_.values()), len(bpe.bytes_)),
            "control_kept": facts.rate(sum(number in have for number in bpe.fixed.values()), len(bpe.fixed)),
            "parts_kept": facts.rate(sum(bpe.ids.get(part) in have for part in parts), len(parts)),
            "lost": {split: _lost(seen[split], have) for split in SPLITS},
            "same_ids": {split: _same(self.whole, reduced, self.kept, dataset / f"{split}.jsonl") for split in SPLITS},
            "lost_tokens": [
                {"token": texts[number], "id": str(number), "count": facts.measured(count, "token")}
                for number, count in lost.most_common(SHOWN)
            ],
        }


def reduced(whole: Tokenizer, backend: Backend, dataset: Path, size: int) -> Reduction:
    """The tokenizer `backend` (which `whole` wraps) over `size` ids chosen by the training split. Raises Refusal when
    it cannot be reduced, or not to so many."""
    bpe, seen = opened(backend), counts(whole, dataset)
    kept, must = select(bpe, seen["train"], size)
    return Reduction(rewritten(bpe, kept), kept, whole, bpe, must, seen)


def _lost(seen: Counter[int], have: set[int]) -> dict[str, Any]:
    return facts.rate(sum(count for number, count in seen.items() if number not in have), sum(seen.values()))


def _same(whole: Tokenizer, reduced: Tokenizer, kept: Sequence[int], path: Path) -> dict[str, Any]:
    """How many rows have the same tokens under both, of how many."""
    same = count = 0
    for row in rows.read(path) if path.is_file() else ():
        before, after = _ids(row, whole), _ids(row, reduced)
        same += [kept[number] for number in after] == before
        count += 1
    return facts.rate(same, count)

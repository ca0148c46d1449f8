"""tokenizer.json → what it means: which id stands for which text, and how text becomes ids. Pure data, no library.

Two files mean the same when every text becomes the same ids under both. Layout, the order of keys, padding and
truncation, what is put around a text and how ids become text again make no difference to that; fields that newer
versions of the library write out with their default neither (tokenizers 0.23, `docs/source-doc-builder/components`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: a text of a vocabulary in a message is cut after so many characters
_SHOWN = 40
#: part by its `type` → field → the value that the library takes where a file says nothing
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "BPE": {"fuse_unk": False, "byte_fallback": False, "ignore_merges": False},
    "Unigram": {"byte_fallback": False},
    "WordPiece": {"unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100},
    "ByteLevel": {"add_prefix_space": True, "use_regex": True},
    "Metaspace": {"replacement": "▁", "prepend_scheme": "always", "split": True},
    "Split": {"invert": False},
    "Digits": {"individual_digits": False},
    "BertNormalizer": {"clean_text": True, "handle_chinese_chars": True, "lowercase": True},
    "Strip": {"strip_left": True, "strip_right": True},
    "Punctuation": {"behavior": "Isolated"},
}
#: fields that change no id: dropout is chance, which no model that enters may have; offsets are no ids; an older
#: library wrote `add_prefix_space` beside `prepend_scheme`
_IDLE: Mapping[str, frozenset[str]] = {
    "BPE": frozenset({"vocab", "merges", "dropout", "type"}),
    "Unigram": frozenset({"vocab", "type"}),
    "WordPiece": frozenset({"vocab", "type"}),
    "WordLevel": frozenset({"vocab", "type"}),
    "ByteLevel": frozenset({"trim_offsets"}),
    "Metaspace": frozenset({"add_prefix_space", "str_rep"}),
}
_FLAGS = ("special", "normalized", "single_word", "lstrip", "rstrip")


@dataclass(frozen=True)
class Meaning:
    """What decides the ids of a text. `scores` are those of a Unigram model, `merges` those of BPE, in order."""

    model: str
    texts: Mapping[int, str]
    added: Mapping[str, Mapping[str, bool]]
    merges: tuple[tuple[str, str], ...]
    scores: tuple[float, ...]
    settings: Mapping[str, Any]
    normalizer: Any
    pre_tokenizer: Any

    @property
    def digest(self) -> str:
        """ "sha256:…" that two tokenizers share exactly when they mean the same."""
        said = (
            self.model,
            sorted(self.texts.items()),
            sorted((text, sorted(flags.items())) for text, flags in self.added.items()),
            self.merges,
            self.scores,
            self.settings,
            self.normalizer,
            self.pre_tokenizer,
        )
        text = json.dumps(said, sort_keys=True, ensure_ascii=True)
        return f"sha256:{hashlib.sha256(b'kc.vocabulary.v1' + text.encode()).hexdigest()}"


def meaning(tokenizer: Mapping[str, Any]) -> Meaning | None:
    """The meaning of a tokenizer.json; None for a file that is none (no model with a vocabulary in it)."""
    model, listed = tokenizer.get("model"), tokenizer.get("added_tokens")
    if not isinstance(model, dict):
        return None
    kind = _kind(model)
    texts, scores = _texts(model.get("vocab"))
    if not texts:
        return None
    added: dict[str, Mapping[str, bool]] = {}
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, dict) and isinstance(item.get("content"), str) and isinstance(item.get("id"), int):
            texts[item["id"]] = item["content"]
            # the library normalises an added token unless it is a special one
            flags = {"normalized": not item.get("special", False)} | {k: item[k] for k in _FLAGS if k in item}
            added[item["content"]] = {name: bool(flags.get(name, False)) for name in _FLAGS}
    return Meaning(
        model=kind,
        texts=texts,
        added=added,
        merges=tuple(_merges(model.get("merges"))),
        scores=scores,
        settings=_plain({**model, "type": kind}, kind),
        normalizer=_part(tokenizer.get("normalizer"), "normalizers"),
        pre_tokenizer=_part(tokenizer.get("pre_tokenizer"), "pretokenizers"),
    )


def differences(one: Meaning, other: Meaning, names: tuple[str, str]) -> list[str]:
    """Why two tokenizers do not mean the same, the weightiest first; empty when they do. `names` say whose they are."""
    return list(_differences(one, other, names))


def _differences(one: Meaning, other: Meaning, names: tuple[str, str]) -> Iterator[str]:
    here, there = names
    for number in sorted(one.texts.keys() | other.texts.keys()):
        ours, theirs = one.texts.get(number), other.texts.get(number)
        if ours != theirs and ours is not None and theirs is not None:
            yield f"id {number} is `{_short(ours)}` in the {here}'s and `{_short(theirs)}` in the {there}'s"
        elif ours != theirs:
            text, who, lacking = (ours, here, there) if theirs is None else (theirs, there, here)
            yield f"id {number} is `{_short(text or '')}` in the {who}'s, and the {lacking}'s has no such id"
    if one.model != other.model:
        yield f"the {here}'s is of type {one.model}, the {there}'s of type {other.model}"
    for rank, (pair, its_pair) in enumerate(zip(one.merges, other.merges, strict=False)):
        if pair != its_pair:
            yield f"merge {rank} is `{' '.join(pair)}` in the {here}'s and `{' '.join(its_pair)}` in the {there}'s"
            break
    else:
        if len(one.merges) != len(other.merges):
            yield f"the {here}'s has {len(one.merges):,} merges, the {there}'s {len(other.merges):,}"
    if one.scores != other.scores and one.texts == other.texts:
        yield "their pieces have other scores"
    for text in sorted(one.added.keys() | other.added.keys()):
        mine, its = one.added.get(text), other.added.get(text)
        if mine is None or its is None:
            who, lacking = (here, there) if its is None else (there, here)
            yield f"`{_short(text)}` is an added token in the {who}'s alone, and an ordinary one in the {lacking}'s"
        elif mine != its:
            flag = next(name for name in _FLAGS if mine[name] != its[name])
            yield f"added token `{_short(text)}` is {flag} in the {here if mine[flag] else there}'s alone"
    for what, part, its_part in (
        ("settings of the model", one.settings, other.settings),
        ("normalizer", one.normalizer, other.normalizer),
        ("pre_tokenizer", one.pre_tokenizer, other.pre_tokenizer),
    ):
        if part != its_part:
            yield f"{what}: {_spelled(part)} in the {here}'s, {_spelled(its_part)} in the {there}'s"


def _kind(model: Mapping[str, Any]) -> str:
    """Old files leave out the model's type: merges are BPE's, a list of pieces with scores is Unigram's."""
    if isinstance(model.get("type"), str):
        return str(model["type"])
    if "merges" in model:
        return "BPE"
    return "Unigram" if isinstance(model.get("vocab"), list) else "WordPiece"


def _texts(vocab: Any) -> tuple[dict[int, str], tuple[float, ...]]:
    """Id → text of a model's own vocabulary, and the scores of its pieces."""
    if isinstance(vocab, dict):
        return {i: text for text, i in vocab.items() if isinstance(i, int) and not isinstance(i, bool)}, ()
    pieces = [item for item in vocab if isinstance(item, list) and len(item) == 2] if isinstance(vocab, list) else []
    return {i: str(text) for i, (text, _) in enumerate(pieces)}, tuple(float(score) for _, score in pieces)


def _merges(listed: Any) -> Iterator[tuple[str, str]]:
    """Pairs, which older files write as one text with a space between."""
    for item in listed if isinstance(listed, list) else []:
        first, _, second = item.partition(" ") if isinstance(item, str) else ("", "", "")
        yield (first, second) if isinstance(item, str) else (str(item[0]), str(item[1]))


def _plain(part: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The fields that decide ids, without those that say what would hold without them."""
    defaults, idle = _DEFAULTS.get(kind, {}), _IDLE.get(kind, frozenset())
    # BPE writes an affix that it does not have as null or as an empty text
    empty = ("", None) if kind == "BPE" else (None,)
    kept = {name: value for name, value in part.items() if name not in idle and value not in empty}
    return {name: value for name, value in kept.items() if name not in defaults or value != defaults[name]}


def _part(value: Any, children: str) -> Any:
    """A normalizer or pre-tokenizer in one form: a sequence of one is that one, an empty one is none."""
    if not isinstance(value, dict):
        return None
    kind = str(value.get("type", ""))
    if kind == "Sequence":
        parts = [made for made in (_part(item, children) for item in value.get(children, [])) if made is not None]
        flat = [inner for made in parts for inner in (made["parts"] if made["type"] == "Sequence" else [made])]
        return {"type": "Sequence", "parts": flat} if len(flat) > 1 else flat[0] if flat else None
    made = _plain(value, kind)
    if kind == "Metaspace" and "prepend_scheme" not in value and value.get("add_prefix_space") is False:
        made["prepend_scheme"] = "never"
    return made


def _short(text: str) -> str:
    return _cut(json.dumps(text, ensure_ascii=False)[1:-1])


def _cut(shown: str) -> str:
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"


def _spelled(value: Any) -> str:
    return "none" if value in (None, {}) else _cut(json.dumps(value, sort_keys=True, ensure_ascii=False))

"""Vocabulary of a GGUF header → tokenizer.json, by the rules that the file names. Pure data, no library.

llama.cpp keeps how a text is cut into words in code, under a name (`tokenizer.ggml.pre`): what stands behind a name is
written down here, as the authors of those models publish it in their own tokenizer.json. A name that is not known here
is refused: another cut gives other ids for some texts, and a model answers worse without anybody being told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from runtime.contract.gguf import Header

Json = dict[str, Any]

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
_PREFIX = "tokenizer.ggml."
#: kinds of tokenizers that are read
KINDS: Mapping[str, str] = {"gpt2": "byte-level BPE", "llama": "SentencePiece's BPE"}
#: how SentencePiece writes a space, and the longest piece: its trainer makes none of more than sixteen characters
_SPACE, _LONGEST_PIECE = "▁", 64
#: ways to put pieces together: 32,000 pieces have some 60,000, and 262,000 half a million
_MOST_WAYS = 2_000_000
_BPE: Json = {"type": "BPE", "dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_BYTES: Json = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def _split(pattern: str) -> Json:
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [cut, {**_BYTES, "use_regex": False}]}


#: name in the file → how a text is cut before its bytes are merged
CUTS: Mapping[str, Json] = {
    "gpt-2": _BYTES,
    "smollm": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTES]},
    "llama-bpe": _split(_LLAMA3),
    "qwen2": _split(_QWEN2),
}
#: name in the file → what happens to a text before it is cut
_NORMALIZERS: Mapping[str, Json] = {"qwen2": {"type": "NFC"}}
#: words that are in the vocabulary as a whole are not put together from pieces
_WHOLE = frozenset({"llama-bpe"})


def cutting(name: str, model: Json) -> Json:
    """The parts of tokenizer.json that a rule decides: normalizer, pre_tokenizer, and what its `model` keeps whole."""
    return {
        "normalizer": _NORMALIZERS.get(name),
        "pre_tokenizer": CUTS[name],
        "model": {**model, "ignore_merges": name in _WHOLE},
    }


class Unsupported(Exception):
    """A whole file holds what cannot be carried over exactly; `action` is the way out."""

    def __init__(self, message: str, action: str = "take the model's own Transformers folder, with source: hf") -> None:
        super().__init__(message)
        self.message, self.action = message, action


def tokenizer(header: Header) -> Json:
    """tokenizer.json. Raises Unsupported."""
    kind = header.metadata.get(f"{_PREFIX}model")
    if kind not in KINDS:
        said = f"is of kind `{kind}`" if isinstance(kind, str) else "has no kind"
        known = " and ".join(f"`{name}` ({what})" for name, what in KINDS.items())
        raise Unsupported(f"its tokenizer {said}; read are {known}")
    return _pieces(header) if kind == "llama" else _bytes(header)


def _bytes(header: Header) -> Json:
    """Byte-level BPE (GPT-2 and its kin)."""
    cut = header.metadata.get(f"{_PREFIX}pre")
    if not isinstance(cut, str) or cut not in CUTS:
        said = f"cuts text by rule `{cut}`" if isinstance(cut, str) else "does not say how it cuts text"
        raise Unsupported(f"its tokenizer {said} (tokenizer.ggml.pre); known are {', '.join(CUTS)}")
    texts, types = tokens(header), token_types(header)
    vocabulary = {text: number for number, text in enumerate(texts)}
    model = {"unk_token": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    parts = cutting(cut, {**_BPE, **model, "vocab": vocabulary, "merges": _merges(header, vocabulary)})
    return {
        **_plain(texts, types),
        "normalizer": parts["normalizer"],
        "pre_tokenizer": parts["pre_tokenizer"],
        "post_processor": _around(header, texts, {"bos": False, "eos": False}),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": parts["model"],
    }


def _pieces(header: Header) -> Json:
    """SentencePiece's BPE: the piece with the highest score is put together first; without a piece, bytes are spelled.

    A merge of `tokenizers` is a pair, a piece of SentencePiece the result: every way to put a piece together stands at
    its place, the highest score first.
    """
    texts, types = tokens(header), token_types(header)
    vocabulary = {text: number for number, text in enumerate(texts)}
    lacking = next((byte for byte in range(256) if f"<0x{byte:02X}>" not in vocabulary), None)
    if lacking is not None:
        raise Unsupported(f"its tokenizer has no piece for the byte <0x{lacking:02X}>")
    unknown = special(header, "unknown")
    prefix = _flag(header, "add_space_prefix", True)
    space = [{"type": "Prepend", "prepend": _SPACE}] if prefix else []
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []
    rules = [
        {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    model = {"unk_token": texts[unknown or 0], "fuse_unk": True, "byte_fallback": True, "ignore_merges": False}
    return {
        **_plain(texts, types),
        "normalizer": {
            "type": "Sequence",
            "normalizers": [*space, {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}],
        },
        "pre_tokenizer": None,
        "post_processor": _around(header, texts, {"bos": True, "eos": False}),
        "decoder": {"type": "Sequence", "decoders": [*rules, *strip]},
        "model": {**_BPE, **model, "vocab": vocabulary, "merges": _ways(header, texts, types, vocabulary)},
    }


def _plain(texts: list[str], types: list[int]) -> Json:
    """What both kinds of tokenizer begin with."""
    marked = {CONTROL, USER_DEFINED, UNKNOWN}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added(number, text, types[number] != USER_DEFINED)
            for number, text in enumerate(texts)
            if types[number] in marked
        ],
    }


def _ways(header: Header, texts: list[str], types: list[int], vocabulary: Mapping[str, int]) -> list[list[str]]:
    """Pairs that make a piece, by the piece's score."""
    found = header.metadata.get(f"{_PREFIX}scores")
    scores = [score for score in found if isinstance(score, float)] if isinstance(found, list) else []
    if not isinstance(found, list) or len(scores) != len(found) or len(scores) < len(texts):
        raise Unsupported(f"its tokenizer has {len(texts):,} pieces and {len(scores):,} scores")
    if not all(map(math.isfinite, scores)):
        raise Unsupported("a piece of its tokenizer has a score that is no number")
    ranked = sorted((n for n, kind in enumerate(types) if kind == NORMAL), key=lambda n: -scores[n])
    pairs = []
    for number in ranked:
        text = texts[number]
        if len(text) > _LONGEST_PIECE:
            raise Unsupported(f"a piece of its tokenizer has {len(text):,} characters, up to {_LONGEST_PIECE} are read")
        pairs += [
            [text[:cut], text[cut:]]
            for cut in range(1, len(text))
            if text[:cut] in vocabulary and text[cut:] in vocabulary
        ]
        if len(pairs) > _MOST_WAYS:
            raise Unsupported(f"its pieces can be put together in more than {_MOST_WAYS:,} ways")
    return pairs


def _flag(header: Header, name: str, unsaid: bool) -> bool:
    found = header.metadata.get(f"{_PREFIX}{name}", unsaid)
    if not isinstance(found, bool):
        raise Unsupported(f"{_PREFIX}{name} is {str(found)[:40]}, neither true nor false")
    return found


def tokens(header: Header) -> list[str]:
    """The texts of all ids, without the unused ones at the end that only fill the embedding. Raises Unsupported."""
    found = header.metadata.get(f"{_PREFIX}tokens")
    texts = [text for text in found if isinstance(text, str)] if isinstance(found, list) else []
    if not isinstance(found, list) or not texts or len(texts) != len(found):
        raise Unsupported("it has no list of tokens", "take a file that holds the whole model")
    types = header.metadata.get(f"{_PREFIX}token_type")
    if isinstance(types, list) and len(types) == len(texts):
        while texts and types[len(texts) - 1] == UNUSED:
            texts.pop()
    seen: set[str] = set()
    for text in texts:
        if text in seen:
            raise Unsupported(f"token {text[:40]!r} has two ids")
        seen.add(text)
    return texts


def token_types(header: Header) -> list[int]:
    """What each token is; ordinary where the file does not say. Raises Unsupported."""
    texts, found = tokens(header), header.metadata.get(f"{_PREFIX}token_type")
    if found is None:
        named = {special(header, name) for name in ("bos", "eos", "unknown", "padding")}
        return [CONTROL if number in named else NORMAL for number in range(len(texts))]
    whole = [kind for kind in found if type(kind) is int] if isinstance(found, list) else []
    if not isinstance(found, list) or len(whole) != len(found) or len(whole) < len(texts):
        raise Unsupported(f"it has {len(texts):,} tokens and {len(whole):,} types of tokens")
    strange = next((kind for kind in whole if not NORMAL <= kind <= BYTE), None)
    if strange is not None:
        raise Unsupported(f"a token is of type {strange}, which there is not")
    return whole[: len(texts)]


def special(header: Header, name: str) -> int | None:
    """The id of a control token ("bos", "eos", "eot", "padding", …), where the file names it. Raises Unsupported."""
    found = header.metadata.get(f"{_PREFIX}{name}_token_id")
    if found is None:
        return None
    if type(found) is not int or not 0 <= found < len(tokens(header)):
        raise Unsupported(f"its {name} token is {found!r}, which is no id of its vocabulary")
    return found


def _added(number: int, text: str, control: bool) -> Json:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": number, "content": text, **flags, "special": control}


def _merges(header: Header, vocabulary: Mapping[str, int]) -> list[list[str]]:
    found = header.metadata.get(f"{_PREFIX}merges")
    if not isinstance(found, list):
        raise Unsupported("it has no list of merges")
    pairs = []
    for number, text in enumerate(found):
        first, gap, second = text.partition(" ") if isinstance(text, str) else ("", "", "")
        if not gap or first not in vocabulary or second not in vocabulary or first + second not in vocabulary:
            raise Unsupported(f"merge {number:,}, {str(text)[:40]!r}, is not made of its tokens")
        pairs.append([first, second])
    return pairs


def _around(header: Header, texts: list[str], unsaid: Mapping[str, bool]) -> Json | None:
    """What is put around a text, where the file asks for it. `unsaid` is what llama.cpp does where it says nothing."""
    ids = [
        special(header, name) if _flag(header, f"add_{name}_token", unsaid[name]) else None for name in ("bos", "eos")
    ]
    if ids == [None, None]:
        return None
    begin, end = ([] if number is None else [number] for number in ids)
    one = [*(_token(texts[n], 0) for n in begin), {"Sequence": {"id": "A", "type_id": 0}}]
    one += [_token(texts[n], 0) for n in end]
    two = [*(_token(texts[n], 1) for n in begin), {"Sequence": {"id": "B", "type_id": 1}}]
    two += [_token(texts[n], 1) for n in end]
    named = {texts[n]: {"id": texts[n], "ids": [n], "tokens": [texts[n]]} for n in (*begin, *end)}
    return {"type": "TemplateProcessing", "single": one, "pair": [*one, *two], "special_tokens": named}


def _token(text: str, part: int) -> Json:
    return {"SpecialToken": {"id": text, "type_id": part}}

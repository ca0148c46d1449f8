"""Vocabulary of a GGUF header → tokenizer.json, by the rules that the file names. Pure data, no library.

llama.cpp keeps how a text is cut into words in code, under a name (`tokenizer.ggml.pre`): what stands behind a name is
written down here, as the authors of those models publish it in their own tokenizer.json. A name that is not known here
is refused: another cut gives other ids for some texts, and a model answers worse without anybody being told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.contract.gguf import Header

Json = dict[str, Any]

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
_PREFIX = "tokenizer.ggml."
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


class Unsupported(Exception):
    """A whole file holds what cannot be carried over exactly; `action` is the way out."""

    def __init__(self, message: str, action: str = "take the model's own Transformers folder, with source: hf") -> None:
        super().__init__(message)
        self.message, self.action = message, action


def tokenizer(header: Header) -> Json:
    """tokenizer.json. Raises Unsupported."""
    kind = header.metadata.get(f"{_PREFIX}model")
    if kind != "gpt2":
        said = f"is of kind `{kind}`" if isinstance(kind, str) else "has no kind"
        raise Unsupported(f"its tokenizer {said}; read is `gpt2`, byte-level BPE")
    cut = header.metadata.get(f"{_PREFIX}pre")
    if not isinstance(cut, str) or cut not in CUTS:
        said = f"cuts text by rule `{cut}`" if isinstance(cut, str) else "does not say how it cuts text"
        raise Unsupported(f"its tokenizer {said} (tokenizer.ggml.pre); known are {', '.join(CUTS)}")
    texts, types = tokens(header), token_types(header)
    vocabulary = {text: number for number, text in enumerate(texts)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added(number, texts[number], types[number] != USER_DEFINED)
            for number in range(len(texts))
            if types[number] in (CONTROL, USER_DEFINED)
        ],
        "normalizer": _NORMALIZERS.get(cut),
        "pre_tokenizer": CUTS[cut],
        "post_processor": _around(header, texts),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": cut in _WHOLE,
            "vocab": vocabulary,
            "merges": _merges(header, vocabulary),
        },
    }


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
    if len(set(texts)) != len(texts):
        seen: set[str] = set()
        twice = next(text for text in texts if text in seen or seen.add(text))  # type: ignore[func-returns-value]
        raise Unsupported(f"token {twice[:40]!r} has two ids")
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


def _around(header: Header, texts: list[str]) -> Json | None:
    """What is put around a text, where the file asks for it."""
    wanted = [header.metadata.get(f"{_PREFIX}add_{name}_token") is True for name in ("bos", "eos")]
    ids = [special(header, name) if put else None for name, put in zip(("bos", "eos"), wanted, strict=True)]
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

"""A JSON schema → which tokens may come next, by llguidance, and a second opinion on the whole text by our own reader.

What llguidance does (1.9.1) and what is done about it. It writes object keys only in the order of `properties`, which
binds what is generated here and nothing else; the calls that this compiler's students write have sorted keys, so their
schemas are sorted first. It refuses `\\u00e9` for `é` unless told to take it. It does not know some keywords (`not`,
`uniqueItems`): they are left to the second opinion. After an error its mask allows exactly the end token, so that a
loop which looks at masks alone ends in half a JSON: the error is asked for after each token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.contract import MachineError, Refusal, Unavailable
from runtime.contract.strict_json import Json, loads
from runtime.contract.toolset import misfit, validator
from runtime.generate.words import Words

#: one optional space where JSON allows white space: a small model that may write more of it writes nothing else
_SPACED = {"whitespace_flexible": True, "whitespace_pattern": "[ ]?"}
_COMPACT = {"whitespace_flexible": False}
_OPTIONS = {"lenient": True, "json_allow_general_unicode_escapes": True}


class Broken(MachineError):
    """What was generated is not what was asked for; nobody may take it for that."""


def _library() -> Any:
    try:
        import llguidance
    except ImportError:
        raise Unavailable(
            "answers by a schema need llguidance, which is not installed", needs="pip install 'kcompiler[grammar]'"
        ) from None
    return llguidance


class Matcher:
    """Where one text stands in its grammar."""

    def __init__(self, matcher: Any, width: int, stops: frozenset[int]) -> None:
        import llguidance.numpy as arrays

        self._matcher, self._width, self._stops = matcher, width, stops
        self._fill = arrays.fill_next_token_bitmask
        self._bits = arrays.allocate_token_bitmask(1, width)

    def allowed(self) -> NDArray[np.bool_]:
        """allowed_V: the tokens that may come next. Raises Broken when the grammar is in error."""
        self._fill(self._matcher, self._bits)
        self._sound()
        found = np.unpackbits(self._bits.view(np.uint8), bitorder="little")[: self._width].astype(np.bool_)
        return found

    def take(self, token: int) -> None:
        """The token that was chosen. Raises Broken for one that the grammar does not allow."""
        if token in self._stops and not self._matcher.is_accepting():
            raise Broken("the answer ended in the middle of what its schema asks for")
        if not self._matcher.consume_token(token):
            self._sound()
            raise Broken("the grammar did not take a token that it had allowed")
        self._sound()

    @property
    def complete(self) -> bool:
        """Whether the text is whole and nothing can follow it."""
        return bool(self._matcher.is_stopped() and self._matcher.is_accepting())

    def _sound(self) -> None:
        if self._matcher.is_error():
            raise Broken(f"the grammar gave up: {str(self._matcher.get_error()).splitlines()[0][:200]}")


class Grammars:
    """Schemas → matchers over the vocabulary of one folder."""

    def __init__(self, words: Words, width: int) -> None:
        """`width`: logits per position. Raises Unavailable without llguidance."""
        library = _library()
        self._words, self._width = words, width
        self._new = library.LLMatcher
        self._tokenizer = library.LLTokenizer(_known(words), n_vocab=width, eos_token=sorted(words.stops))

    def matcher(self, grammar: str) -> Matcher:
        """Raises Refusal for a grammar that llguidance does not take."""
        found = self._new(self._tokenizer, grammar, log_level=0)
        if found.is_error():
            raise Refusal(
                f"the schema makes no grammar: {str(found.get_error()).splitlines()[0][:200]}",
                action="use a simpler schema",
                code="KR0204",
            )
        return Matcher(found, self._width, self._words.stops)

    def json(self, schema: Mapping[str, Json]) -> str:
        """The grammar of one JSON value; `schema` is one that `judged` has taken."""
        options = {**_SPACED, **_OPTIONS}
        return str(self._new.grammar_from_json_schema(json.dumps(schema, ensure_ascii=False), overrides=options))


def _known(words: Words) -> str:
    """tokenizer.json of a folder with a decoder by which llguidance knows how a piece spells bytes: it reads `▁` as a
    space only beside byte fallback. Raises Unavailable for pieces that spell bytes in neither way."""
    given: dict[str, Any] = json.loads(words.backend.to_str())
    decoder = json.dumps(given["decoder"], ensure_ascii=False)
    if "ByteLevel" not in decoder and "ByteFallback" not in decoder:
        if "▁" not in decoder:
            raise Unavailable(
                "answers by a schema need a tokenizer whose pieces spell bytes or write a space as ▁",
                needs="the same without a schema and tools",
            )
        space = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
        given["decoder"] = {"type": "Sequence", "decoders": [space, {"type": "ByteFallback"}, {"type": "Fuse"}]}
    return json.dumps(given, ensure_ascii=False)


def compact(schema: Json) -> str:
    """A schema for use inside a larger grammar: no white space, keys sorted as RFC 8785 writes them."""
    marked = {**_sorted(schema), "x-guidance": {**_COMPACT, **_OPTIONS}} if isinstance(schema, dict) else schema
    return json.dumps(marked, ensure_ascii=False)


def spaced(schema: Json) -> str:
    """A schema for use inside a larger grammar: one optional space, keys in the order declared."""
    marked = {**schema, "x-guidance": {**_SPACED, **_OPTIONS}} if isinstance(schema, dict) else schema
    return json.dumps(marked, ensure_ascii=False)


def _sorted(schema: Json) -> Any:
    """The same schema with `properties` by name, in the order of RFC 8785 (UTF-16 code units)."""
    if isinstance(schema, list):
        return [_sorted(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _sorted(value) for name, value in schema.items()}
    properties = found.get("properties")
    if isinstance(properties, dict):
        found["properties"] = dict(sorted(properties.items(), key=lambda pair: pair[0].encode("utf-16-be")))
    return found


def judged(schema: Json) -> Callable[[str], str]:
    """A schema of a whole answer → what says why a text is none of its values; "" when it is one.

    Raises Refusal for a schema that is not read as strictly as those of tools.
    """
    wrong = misfit(schema)
    if wrong or not isinstance(schema, dict):
        why = wrong.replace("its parameters are", "it is")
        raise Refusal(f"the schema is refused: {why}", action="write it in JSON Schema 2020-12", code="KR0205")
    judge = validator(schema)

    def why_not(text: str) -> str:
        try:
            value = loads(text)
        except ValueError as error:
            return f"no JSON: {error}"
        first = next(iter(judge.iter_errors(value)), None)
        return "" if first is None else f"not by its schema: {first.message[:300]}"

    return why_not


def whole(text: str, why_not: Sequence[str]) -> str:
    """A text that nothing speaks against. Raises Broken for the first reason."""
    for reason in why_not:
        if reason:
            raise Broken(f"the answer is {reason}")
    return text

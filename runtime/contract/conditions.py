"""What a loss may read of a row beside its tokens, its spans and its teacher: which masks and facts there are, and what
of the row each is made from.

A mask names the tokens that a term learns. Most are spans of the row; those here follow from what the row wants. A fact
is a number beside each token that a term learns: declared by the loss, made where rows are encoded
(`runtime/data/conditions.py`), in the same order as targets and masks. What a row says of itself stands in its field
`wanted`:

    {"required": ["12.5 km"], "reference_bytes": 120, "code_mode": true, "right": false}

`required` are texts that an answer must have, `reference_bytes` is how many bytes of UTF-8 the teacher's answer has,
`code_mode` says whether the row may be answered in code. `right` says whether the row's own answer is right; one that
is not is learnt from by no term but one that asks just this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from runtime.contract.strict_json import Json

#: of `wanted`, beside calls, facts and a scenario's
FIELDS = ("required", "reference_bytes", "code_mode", "right")
#: most texts that an answer must have, and most bytes of a teacher's answer
MAX_REQUIRED, MAX_BYTES = 64, 1 << 20
#: the span whose tokens are a target of no term but one that unlearns them
FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class Source:
    """What of a row must be there: fields of `wanted`, spans, and whether it is a pair of answers."""

    says: str
    wanted: frozenset[str] = frozenset()
    spans: frozenset[str] = frozenset()
    pair: bool = False

    def lacking(self, row: Mapping[str, Any]) -> list[str]:
        """What a row lacks of it, in words, sorted."""
        said = row.get("wanted", {})
        found = [f"`wanted.{name}`" for name in self.wanted if name not in said]
        found += [f"spans `{name}`" for name in self.spans if not row["spans"].get(name)]
        return sorted(
            found + (["a pair of answers (`chosen`, `rejected`)"] if self.pair and "rejected" not in row else [])
        )

    def lacking_in(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """What all of these rows lack of it: of the one that has most; nothing where one has all, or where no row is
        here."""
        return min((self.lacking(row) for row in rows), key=len, default=[])


@dataclass(frozen=True, slots=True)
class Fact:
    """A number beside each token: a flag (0 or 1), a number, or the id of a token."""

    kind: Literal["flag", "number", "id"]
    source: Source


#: the mask of answers that are said to be right or wrong
JUDGED = "judged"

MASKS: Mapping[str, Source] = {
    "longer": Source(
        "tokens past the length of the teacher's answer, where a required text is missing",
        wanted=frozenset({"required", "reference_bytes"}),
    ),
    "before_call": Source(
        "tokens up to the one that opens the call, where the call is right",
        wanted=frozenset({"calls"}),
        spans=frozenset({"call"}),
    ),
    "code_mode": Source(
        "the token at which the answer in code and the direct one part, where code is allowed",
        wanted=frozenset({"code_mode"}),
        pair=True,
    ),
    JUDGED: Source("tokens of an answer of which is said whether it is right", wanted=frozenset({"right"})),
}

FACTS: Mapping[str, Fact] = {
    "fact": Fact("flag", Source("whether the token carries a fact of a tool's result", spans=frozenset({"fact"}))),
    "excess": Fact("number", replace(MASKS["longer"], says="by which share of that length the token begins past it")),
    "ends": Fact("flag", Source("whether the token is the last of an answer")),
    "right": Fact("flag", replace(MASKS[JUDGED], says="whether the row calls its answer right")),
    "end": Fact("id", Source("the token that ends the answer")),
    "place": Fact("number", Source("how many tokens of the answer stand before it")),
    "opens": Fact("id", replace(MASKS["before_call"], says="the token that opens the call")),
    "direct": Fact("id", replace(MASKS["code_mode"], says="the token that the direct answer has there")),
}


def fault(wanted: Mapping[str, Json]) -> str:
    """Why what a row says of itself here is wrong; "" where it is right."""
    required, length, code, right = (wanted.get(name) for name in FIELDS)
    if "right" in wanted and type(right) is not bool:
        return "right must be true or false"
    if required is not None and not (
        isinstance(required, list)
        and 1 <= len(required) <= MAX_REQUIRED
        and all(isinstance(one, str) and one.strip() for one in required)
    ):
        return f"required must be a list of 1 to {MAX_REQUIRED} texts"
    if length is not None and (type(length) is not int or not 1 <= length <= MAX_BYTES):
        return f"reference_bytes must be a whole number from 1 to {MAX_BYTES}"
    if code is not None and type(code) is not bool:
        return "code_mode must be true or false"
    return ""


def missing(row: Mapping[str, Any]) -> list[str]:
    """The required texts that a row's own answer lacks."""
    return [text for text in row.get("wanted", {}).get("required", ()) if text not in row["response"]]

"""What a right answer takes in tokens is what was read and written, by what is right; a score is of two such quotients.

A score names what it was made of on either side, over the rows that both answered: tokens and right answers. Of a side
all of whose rows are shared these are the side's own; of another they are at most these, and leave no more wrong than
there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.policy.laws.counts import near
from kcompiler.policy.laws.sides import Data, measured
from runtime.contract.efficiency import MADE_OF, REFERENCES


def broken(data: Data, said: Mapping[str, Any]) -> Iterator[str]:
    """Quotients and scores of all runners."""
    runners = data["runners"]
    reference = next((name for name in REFERENCES if name in runners), "none")
    if data["reference"] != reference:
        yield f"/reference: of these runners `{reference}` is compared with"
    for name, one in runners.items():
        k, n, tokens = one["right"]["k"], one["right"]["n"], _tokens(one)
        found = measured(one["per_right"])
        if (found is None) != (k == 0) or (found is not None and not near(one["per_right"]["value"], tokens / k)):
            yield f"/runners/{name}/per_right: not {tokens} tokens by {k} right answers"
        elif found is not None and found.n != n:
            yield f"/runners/{name}/per_right: over other answers than `right`"
        if one["score"]["tag"] != "measured":
            continue
        if reference in ("none", name) or not _score(one["score"], one, runners[reference]):
            yield f"/runners/{name}/score: not what it is made of, or not of what its two sides took"


def _tokens(one: Mapping[str, Any]) -> int:
    return int(one["read"]["value"] + one["wrote"]["value"])


def _score(node: Mapping[str, Any], mine: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    counts: list[Any] = [node.get(name) for name in ("n", *MADE_OF)]
    if any(type(one) is not int or one < 1 for one in counts):
        return False
    n, tokens, right, its_tokens, its_right = counts
    sides = (_of(mine, n, tokens, right), _of(other, n, its_tokens, its_right))
    return all(sides) and near(node["value"], 1 - (tokens / right) / (its_tokens / its_right))


def _of(side: Mapping[str, Any], n: int, tokens: int, right: int) -> bool:
    """Whether of a side's answers n may have taken so many tokens and be right so often: of all of them, those."""
    left, others = side["right"]["n"] - n, side["right"]["k"] - right
    # an answer takes its end at least
    return 0 <= others <= left and right <= n and (tokens < _tokens(side) if left else tokens == _tokens(side))

"""Prompts × models → in how many of them a model writes, greedily, the very text that the teacher writes.

What a package is for is text. Where nothing was trained, the teacher is the original, and a package that says the same
is the original as far as its user can tell; where it says something else, the report shows both, and why they parted:
the two tokens, how far the original held them apart, and how far the other model moved them. A package gives its logits
in float16, and where the original's two are closer than one step of float16 at their size, no package can be asked to
tell them apart: that is a tie. Everything else is a fault, small or large.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from pydantic import Field

from runtime.contract import Params, Runner, Suite, Written
from runtime.contract.conversation import Prompt
from runtime.contract.report import measured, unavailable
from runtime.contract.rows import prompt_of
from runtime.contract.statistics.rates import rate
from runtime.contract.units import unit

#: so many different texts are shown, each so far
SHOWN, LONGEST = 10, 400
JUDGED = ("student", "coreml")


class SameTextParams(Params):
    limit: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="Prompts, from the first on.",
        examples=[20],
        json_schema_extra=unit("row"),
    )
    max_new_tokens: int = Field(
        default=32, ge=1, le=4096, description="Longest text.", examples=[32], json_schema_extra=unit("token")
    )


def _common(one: str, other: str) -> float:
    """Share of the first text that the second one begins with."""
    if not one:
        return float(not other)
    apart = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(apart, min(len(one), len(other))) / len(one)


def step_at(size: float) -> float:
    """Distance of two neighbouring float16 numbers of that size (11 bits of significand, smallest normal 2^-14)."""
    return math.ldexp(1.0, (max(math.frexp(size)[1] - 1, -14) if size else -14) - 10)


def _parting(original: Runner, other: Runner, prompt: Prompt, wanted: Written, found: Written) -> dict[str, Any]:
    """Where two answers part, and how close a call it was; logits, all of them."""
    pairs = enumerate(zip(wanted.ids, found.ids, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), None)
    if at is None:
        why = "the one answer is the other's beginning: a context has ended"
        return {
            "at": measured(min(len(wanted.ids), len(found.ids)), "token"),
            "tokens": [],
            **{name: unavailable(why, "logit") for name in ("margin", "moved", "step")},
            "tie": unavailable(why, "bool"),
        }
    pair = (wanted.ids[at], found.ids[at])
    before = original.weigh(prompt, wanted.ids[:at], pair)
    after = other.weigh(prompt, wanted.ids[:at], pair)
    margin, step = before[0] - before[1], step_at(max(map(abs, before)))
    return {
        "at": measured(at, "token"),
        "tokens": [original.spell(token) for token in pair],
        "margin": measured(margin, "logit"),
        "moved": measured(margin - (after[0] - after[1]), "logit"),
        "step": measured(step, "logit"),
        "tie": measured(margin < step, "bool"),
    }


def run(
    runners: Mapping[str, Runner],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: SameTextParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.same_text`. What a runner that is not there would show is `unavailable`."""
    asked = rows[: params.limit]
    prompts = [prompt_of(row) for row in asked]
    original = runners["teacher"]
    wanted = original.write(prompts, params.max_new_tokens)
    data: dict[str, Any] = {
        "items": measured(len(prompts), "item"), "same": {}, "common": {}, "ties": {}, "different": []
    }  # fmt: skip
    for name in JUDGED:
        if name not in runners:
            for part, of in (("same", "ratio"), ("common", "1"), ("ties", "ratio")):
                data[part][name] = unavailable(f"no runner `{name}`", of)
            continue
        found = runners[name].write(prompts, params.max_new_tokens)
        both = list(zip(asked, prompts, wanted, found, strict=True))
        apart = [one for one in both if one[2].text != one[3].text]
        data["same"][name] = rate(len(both) - len(apart), len(both))
        shares = [_common(a.text, b.text) for _, _, a, b in both]
        data["common"][name] = measured(fmean(shares), "1", n=len(shares)) if shares else unavailable("no items", "1")
        different: list[dict[str, Any]] = [
            {
                "runner": name,
                "row": str(row["id"]),
                "original": a.text[:LONGEST],
                "text": b.text[:LONGEST],
                "parting": _parting(original, runners[name], prompt, a, b),
            }
            for row, prompt, a, b in apart
        ]
        ties = sum(one["parting"]["tie"]["value"] is True for one in different)
        data["ties"][name] = rate(ties, len(different)) if different else unavailable("no text differs", "ratio")
        data["different"] += different[:SHOWN]
    return data


SUITE = Suite(
    name="same_text", version=2, params=SameTextParams, runners=("teacher", "student"), figures=("same.*",), run=run
)

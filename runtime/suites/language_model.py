"""Held-out texts × models → negative log-likelihood per token, and what distillation gained over training without it.

The gain is paired: for each text, nats per token of the model trained by cross-entropy alone minus those of the
student. Both read the same tokens, so that the difference needs no correction for length or difficulty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from pydantic import Field

from runtime.contract import Params, Runner, Suite, TokenScore
from runtime.contract.intervals import bootstrap_interval, t_interval
from runtime.contract.report import measured, unavailable
from runtime.contract.units import unit


class LanguageModelParams(Params):
    limit: int = Field(
        default=0,
        ge=0,
        description="Texts for the runners in torch, a fair sample; 0 takes all.",
        examples=[0],
        json_schema_extra=unit("row"),
    )
    coreml_limit: int = Field(
        default=24, ge=1, description="Texts for the interpreted package.", examples=[24], json_schema_extra=unit("row")
    )
    resamples: int = Field(
        default=2000,
        ge=200,
        le=100_000,
        description="Resamples of the bootstrap.",
        examples=[2000],
        json_schema_extra=unit("resample"),
    )


def _of(scores: Sequence[TokenScore]) -> dict[str, Any]:
    """Pooled nats per token and perplexity; and the mean over texts of each text's nats per token."""
    tokens = sum(score.tokens for score in scores)
    if not tokens:
        return {name: unavailable("no items", unit) for name, unit in _UNITS.items()}
    pooled = -sum(score.log_probability for score in scores) / tokens
    return {
        "nll": measured(pooled, "nat/token", n=tokens),
        "nll_by_item": measured(fmean(_each(scores)), "nat/token", n=len(scores)),
        "perplexity": measured(math.exp(pooled) if pooled < 700 else math.inf, "1", n=tokens),
    }


_UNITS = {"nll": "nat/token", "nll_by_item": "nat/token", "perplexity": "1"}


def _each(scores: Sequence[TokenScore]) -> list[float]:
    return [-score.log_probability / score.tokens for score in scores]


def gain(worse: Sequence[TokenScore], better: Sequence[TokenScore], seed: int, resamples: int) -> dict[str, Any]:
    """Mean over items of (worse - better) in nats per token, with two 95 % intervals.

    `kd_gain` carries the bootstrap's; `kd_gain_t` the same mean with Student's t. A positive `low` is a gain.
    """
    if [score.tokens for score in worse] != [score.tokens for score in better]:
        raise ValueError("a paired difference needs the same tokens on both sides")
    differences = [a - b for a, b in zip(_each(worse), _each(better), strict=True)]
    if len(differences) < 2:
        none = unavailable("fewer than two items", "nat/token")
        return {"kd_gain": none, "kd_gain_t": none}
    ways = {
        "kd_gain": (
            bootstrap_interval(differences, seed, resamples=resamples),
            "paired percentile bootstrap over items",
        ),
        "kd_gain_t": (t_interval(differences), "paired Student t over items"),
    }
    mean, n = fmean(differences), len(differences)
    return {
        name: measured(mean, "nat/token", n=n, low=low, high=high, confidence=0.95, interval=method)
        for name, ((low, high), method) in ways.items()
    }


def run(
    runners: Mapping[str, Runner],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: LanguageModelParams,
    seed: int,
) -> dict[str, Any]:
    """The data of report `eval.language_model`. What a runner that is not there would show is `unavailable`."""
    pairs = [(str(row["prompt"]), str(row["response"])) for row in rows]
    pairs = pairs[: params.limit] if params.limit else pairs
    scores: dict[str, list[TokenScore]] = {}
    data: dict[str, Any] = {"items": measured(len(pairs), "item"), "runners": {}}
    for name in ("teacher", "student", "ce_only", "coreml"):
        if name not in runners:
            data["runners"][name] = {key: unavailable(f"no runner `{name}`", unit) for key, unit in _UNITS.items()}
            continue
        scores[name] = runners[name].score(pairs[: params.coreml_limit] if name == "coreml" else pairs)
        data["runners"][name] = _of(scores[name])
    if "student" in scores and "ce_only" in scores:
        data.update(gain(scores["ce_only"], scores["student"], seed, params.resamples))
        wins = sum(a > b for a, b in zip(_each(scores["ce_only"]), _each(scores["student"]), strict=True))
        data["kd_wins"] = measured(wins, "item", n=len(pairs))
    else:
        none = unavailable("needs the runners `student` and `ce_only`", "nat/token")
        data.update({"kd_gain": none, "kd_gain_t": none, "kd_wins": unavailable(none["reason"], "item")})
    data["coreml_gap"] = _gap(scores)
    return data


def _gap(scores: Mapping[str, list[TokenScore]]) -> dict[str, Any]:
    """Nats per token the package loses against the checkpoint it was made of, over the texts that both read."""
    if "coreml" not in scores or "student" not in scores or not scores["coreml"]:
        return unavailable("needs the runners `coreml` and `student`", "nat/token")
    package, checkpoint = _each(scores["coreml"]), _each(scores["student"])
    return measured(fmean(a - b for a, b in zip(package, checkpoint, strict=False)), "nat/token", n=len(package))


SUITE = Suite(name="language_model", version=1, params=LanguageModelParams, runners=("student", "ce_only"), run=run)

"""Held-out texts × models → negative log-likelihood per token, and what the teacher, and its weights, were worth.

Gains are paired: for each text, nats per token of the one model minus those of the other. Both read the same tokens, so
that the difference needs no correction for length or difficulty. Every gain is positive when the first one is better:
`kd_gain` the student over the student without a teacher, `init_gain` over the student from random weights,
`teacher_gain` over its teacher, `package_gain` the package over the checkpoint it was made of, `original_gain` the
package over the teacher.

What understands nothing (`zoo`) knows no tokens, so that it is compared by byte: nats of a text, over the bytes that a
text has on average, its end among them. Over all texts that is all nats over all bytes, which follows from `nll` and
its tokens. One policy finds every byte equally likely, one as likely as it is among these very texts, and one knows no
bytes but words, each as likely as it is among these very texts. Who knows how often each token is, and reads nothing,
is at most as good as the last, whichever rows it counted and whichever parts of words its tokens are: no other
probabilities of words make these texts likelier, and those of a word's parts multiply to one of the word.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from pydantic import Field

from runtime.contract import Params, Runner, Suite, TokenScore, items, spool, zoo
from runtime.contract.report import measured, unavailable
from runtime.contract.rows import prompt_of, reply_of
from runtime.contract.statistics.paired import OF_TEXTS, RUNNERS_OF_TEXTS, bootstrap, difference, lacking, not_numbers
from runtime.contract.statistics.rates import rate
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
        description="Resamples of the bootstrap, the second opinion on `kd_gain`.",
        examples=[2000],
        json_schema_extra=unit("resample"),
    )


def _of(scores: Sequence[TokenScore], why: str) -> dict[str, Any]:
    """Pooled nats per token and perplexity; and the mean over texts of each text's nats per token."""
    if why or not scores:
        return {name: unavailable(why or "no items", unit) for name, unit in _UNITS.items()}
    tokens = sum(score.tokens for score in scores)
    pooled = -sum(score.log_probability for score in scores) / tokens
    return {
        "nll": measured(pooled, "nat/token", n=tokens),
        "nll_by_item": measured(fmean(_each(scores)), "nat/token", n=len(scores)),
        "perplexity": measured(math.exp(pooled) if pooled < 700 else math.inf, "1", n=tokens),
    }


_UNITS = {"nll": "nat/token", "nll_by_item": "nat/token", "perplexity": "1"}


def _each(scores: Sequence[TokenScore]) -> array[float]:
    return array("d", (-score.log_probability / score.tokens for score in scores))


def _worth(scores: Sequence[TokenScore], other: Sequence[TokenScore]) -> array[float]:
    """How good each text's tokens are found, per token. Raises ValueError where another model's are other tokens."""
    if any(a.tokens != b.tokens for a, b in zip(scores, other, strict=False)):
        raise ValueError("a paired difference needs the same tokens on both sides")
    return array("d", (-value for value in _each(scores)))


def gain(worse: Sequence[TokenScore], better: Sequence[TokenScore]) -> dict[str, Any]:
    """Datum: mean over the items both have of (worse - better) in nats per token. A positive `low` is a gain."""
    return difference(_worth(better, worse), _worth(worse, better), "nat/token")


def select(rows: Sequence[Mapping[str, Any]], runner: str, params: LanguageModelParams) -> Sequence[Mapping[str, Any]]:
    """The rows whose texts a runner is asked."""
    asked = items.first(rows, params.limit)
    return asked[: params.coreml_limit] if runner == "coreml" else asked


def judged(runner: str, row: Mapping[str, Any], output: Any) -> items.Line:
    """The line of one text: its score, and what it costs per token. Raises ValueError for an output that is none."""
    score = items.score_of(output)
    broken = bool(not_numbers([score]))
    return items.line(
        row, runner, output, {} if broken else {"nats_per_token": _each([score])[0]}, "no_number" if broken else ""
    )


def ask(
    name: str,
    runner: Runner,
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    _params: LanguageModelParams,
    _seed: int,
) -> list[items.Line]:
    """A line for each text."""
    scores = runner.score([(prompt_of(row), reply_of(row)) for row in rows])
    return [judged(name, row, items.of_score(score)) for row, score in zip(rows, scores, strict=True)]


#: the unit of a text's worth, and what ends a text among its bytes
_PER_BYTE, _END = "nat/byte", 256
#: where a word begins: at an ASCII byte that is no letter and no digit, and belongs to it
_WORD = re.compile(rb"(?=[\x00-/:-@\[-`{-\x7f])")


def _bytes_of(row: Mapping[str, Any]) -> list[int]:
    return [*str(row["response"]).encode(), _END]


def words_of(row: Mapping[str, Any]) -> list[bytes]:
    """A row's response in words, each with the space or mark before it. The first has none: it stands for the end of
    the text as well, of which there is one, and is empty where the text begins with a mark."""
    return _WORD.split(str(row["response"]).encode())


def policies(
    rows: Sequence[Mapping[str, Any]], _tools: Sequence[Any], params: LanguageModelParams
) -> dict[str, Sequence[dict[str, Any]]]:
    """How likely policies that understand nothing find each text, whose bytes are counted as tokens."""
    asked = items.first(rows, params.limit)
    often, said = Counter[int](), Counter[bytes]()
    for row in asked:
        often.update(_bytes_of(row))
        said.update(words_of(row))
    total, words = often.total(), said.total()

    def says(likely: Callable[[int], float]) -> Sequence[dict[str, Any]]:
        def score(at: int) -> dict[str, Any]:
            text = _bytes_of(asked[at])
            return {"log_probability": math.fsum(map(likely, text)), "tokens": len(text)}

        return spool.Each(len(asked), score)

    def by_word(at: int) -> dict[str, Any]:
        likely = math.fsum(math.log(said[one] / words) for one in words_of(asked[at]))
        return {"log_probability": likely, "tokens": len(_bytes_of(asked[at]))}

    return {
        zoo.GOLD: says(lambda _: 0.0),
        "uniform": says(lambda _: -math.log(_END + 1)),
        "prior": says(lambda one: math.log(often[one] / total)),
        "words": spool.Each(len(asked), by_word),
    }


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: LanguageModelParams,
    seed: int,
) -> dict[str, Any]:
    """The data of report `eval.language_model`. What a runner that is not there would show is `unavailable`. Raises
    ValueError for a line that is not what its output gives."""
    asked = items.first(rows, params.limit)

    def again(name: str, at: int, output: Any) -> items.Line:
        return judged(name, asked[at], output)

    size = sum(len(_bytes_of(row)) for row in asked)

    def worth(_at: int, line: Mapping[str, Any]) -> float:
        return items.score_of(line["output"]).log_probability * len(asked) / size

    trivial = zoo.Weighed(policies(rows, _tools, params) if asked else {}, len(asked), again, worth, _PER_BYTE)
    scores: dict[str, items.Scores] = {}
    by_byte: dict[str, array[float]] = {}
    for at, mine in items.walk(lines, asked, lambda name: len(select(rows, name, params)), again):
        for name, line in mine.items():
            scores.setdefault(name, items.Scores()).append(items.score_of(line["output"]))
            by_byte.setdefault(name, array("d")).append(worth(at, line))
        trivial.add(at)
    why: dict[str, str] = {}
    data: dict[str, Any] = {"items": measured(len(asked), "item"), "runners": {}}
    for name in RUNNERS_OF_TEXTS:
        if name not in scores:
            data["runners"][name] = _of([], items.lacks(name, asked))
            continue
        reason = not_numbers(scores[name])
        data["runners"][name] = _of(scores[name], reason)
        if reason:
            why[name] = reason
    for name, (better, worse) in OF_TEXTS.items():
        lack = lacking(name, scores, why) if asked else "no items"
        data[name] = unavailable(lack, "nat/token") if lack else gain(scores[worse], scores[better])
    lack = lacking("kd_gain", scores, why) if asked else "no items"
    if lack:
        data |= {"kd_gain_bootstrap": unavailable(lack, "nat/token"), "kd_wins": unavailable(lack, "ratio")}
    else:
        without, student = scores["ce_only"], scores["student"]
        sides = _worth(student, without), _worth(without, student)
        data["kd_gain_bootstrap"] = bootstrap(*sides, "nat/token", seed, params.resamples)
        data["kd_wins"] = rate(sum(a > b for a, b in zip(_each(without), _each(student), strict=True)), len(asked))
    data["zoo"] = trivial.data(
        {name: each for name, each in by_byte.items() if name not in why},
        lambda name: why.get(name) or items.lacks(name, asked),
        RUNNERS_OF_TEXTS,
    )
    data["zoo"]["bytes"] = measured(size, "byte")
    return data


SUITE = Suite(
    name="language_model",
    version=6,
    params=LanguageModelParams,
    asks=frozenset({"score"}),
    runners=("student",),
    trained=("ce_only",),
    baselines=("ce_only", "random_init"),
    figures=("runners.*.nll",),
    select=select,
    ask=ask,
    data_of=data_of,
    zoo=policies,
    cost=lambda line: float(line["parts"].get("nats_per_token", 0.0)),
)

"""The gain is paired over items, signed, bounded by an interval, and unavailable where nothing can be said."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.contract import TokenScore
from runtime.suites.language_model import SUITE, LanguageModelParams, gain, policies, words_of
from tests.unit.runtime.suites.models import Scripted, reported, row

ROOT = Path(__file__).resolve().parents[4]
SCHEMAS, SPECS = ROOT / "schemas", ROOT / "specs" / "data" / "gsm8k"
PARAMS = LanguageModelParams(coreml_limit=3, resamples=400)
ROWS = [row(f"q{n}", "word " * (n % 4 + 1)) for n in range(20)]


def model(nats: float, spread: float = 0.0) -> Scripted:
    """A model that spends about `nats` per token."""

    def likes(prompt: str, response: str) -> float:
        noise = Random(prompt).random() * spread
        return math.exp(-(nats + noise) * (len(response.split()) + 1))

    return Scripted(likes=likes)


def run(**runners: Scripted) -> dict:
    return reported(SUITE, dict(runners), ROWS, [], PARAMS, 3)


def test_a_better_student_gains_and_a_worse_one_loses():
    better = run(student=model(1.0), ce_only=model(1.5, 0.2))["kd_gain"]
    worse = run(student=model(1.5, 0.2), ce_only=model(1.0))["kd_gain"]
    assert better["value"] == pytest.approx(-worse["value"])
    assert better["low"] > 0.5
    assert worse["high"] < -0.5
    assert (better["unit"], better["n"]) == ("nat/token", 20)


def test_noise_that_both_share_cancels():
    """Paired: item difficulty of up to 3 nats, a gain of 0.1, and an interval of no width at all."""
    datum = run(student=model(1.0, 3.0), ce_only=model(1.1, 3.0))["kd_gain"]
    assert datum["value"] == pytest.approx(0.1)
    assert datum["high"] - datum["low"] < 1e-9


def test_equal_models_gain_nothing():
    datum = run(student=model(1.0, 1.0), ce_only=model(1.0, 1.0))["kd_gain"]
    assert (datum["value"], datum["low"], datum["high"]) == (0.0, 0.0, 0.0)


def test_both_intervals_are_there_and_say_what_they_are():
    data = run(student=model(1.0, 1.0), ce_only=model(1.2))
    assert data["kd_gain"]["interval"] == "Student t over items"
    assert data["kd_gain_bootstrap"]["interval"] == "paired percentile bootstrap"
    assert data["kd_gain"]["value"] == data["kd_gain_bootstrap"]["value"]
    assert data["kd_gain"] == run(student=model(1.0, 1.0), ce_only=model(1.2))["kd_gain"]


def test_pooled_nats_weigh_tokens_and_the_other_mean_weighs_items():
    """One token at 3 nats and nine at 1: pooled 1.2, by item 2."""
    scores = [TokenScore(log_probability=-3.0, tokens=1), TokenScore(log_probability=-9.0, tokens=9)]
    prompts = [str(one["prompt"]) for one in ROWS[:2]]

    class Two:
        name = "two"

        def score(self, pairs):
            return [scores[prompts.index(prompt)] for prompt, _ in pairs]

    data = reported(SUITE, {"student": Two()}, ROWS[:2], [], PARAMS, 0)["runners"]["student"]
    assert data["nll"] == {"value": 1.2, "unit": "nat/token", "tag": "measured", "n": 10}
    assert data["nll_by_item"]["value"] == 2.0
    assert data["perplexity"]["value"] == pytest.approx(math.exp(1.2))


def test_other_tokens_on_the_two_sides_are_a_mistake_of_ours():
    with pytest.raises(ValueError, match="same tokens"):
        gain([TokenScore(log_probability=-1.0, tokens=2)], [TokenScore(log_probability=-1.0, tokens=3)])


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_items_have_no_gain(count: int):
    data = reported(SUITE, {"student": model(1.0), "ce_only": model(2.0)}, ROWS[:count], [], PARAMS, 0)
    assert data["kd_gain"]["tag"] == data["kd_gain_bootstrap"]["tag"] == "unavailable"


def test_the_weights_to_start_from_are_worth_what_random_ones_lack():
    data = run(student=model(1.0, 1.0), ce_only=model(1.0, 1.0), random_init=model(3.0, 1.0))
    gained = data["init_gain"]
    assert (gained["value"], gained["low"], gained["high"]) == pytest.approx((2.0, 2.0, 2.0))
    assert (gained["unit"], gained["n"]) == ("nat/token", 20)
    assert data["runners"]["random_init"]["nll_by_item"]["value"] > 3.0
    assert run(student=model(3.0), ce_only=model(1.0), random_init=model(1.0))["init_gain"]["high"] < -1.9
    lacking = run(student=model(1.0), ce_only=model(1.0))["init_gain"]
    assert (lacking["tag"], lacking["reason"]) == ("unavailable", "no runner `random_init`")


def test_without_the_baseline_there_is_no_gain():
    data = run(student=model(1.0))
    assert data["kd_gain"]["tag"] == "unavailable"
    assert data["kd_wins"]["tag"] == "unavailable"
    assert data["runners"]["ce_only"]["nll"]["tag"] == "unavailable"


def test_an_infinite_perplexity_is_unavailable():
    data = reported(SUITE, {"student": model(701.0 / 2)}, [row("q", "w"), row("p", "w")], [], PARAMS, 0)["runners"][
        "student"
    ]
    assert data["perplexity"]["value"] == pytest.approx(math.exp(350.5))

    class Hopeless:
        name = "hopeless"

        def score(self, pairs):
            return [TokenScore(log_probability=-2000.0, tokens=2) for _ in pairs]

    data = reported(SUITE, {"student": Hopeless()}, ROWS[:2], [], PARAMS, 0)["runners"]["student"]
    assert data["perplexity"]["tag"] == "unavailable"
    assert data["nll"]["value"] == 1000.0


def test_the_package_is_compared_on_the_texts_that_it_read():
    data = run(student=model(1.0, 1.0), ce_only=model(2.0), coreml=model(1.25, 1.0))
    assert data["package_gain"]["n"] == 3
    assert data["package_gain"]["value"] == pytest.approx(-0.25)
    assert data["runners"]["coreml"]["nll_by_item"]["value"] == pytest.approx(
        fmean(1.25 + Random(f"q{n}").random() for n in range(3))
    )


@pytest.mark.parametrize("wrong", [math.nan, -math.inf, math.inf])
@pytest.mark.parametrize("broken", ["student", "ce_only", "random_init", "coreml", "teacher"])
def test_a_score_that_is_no_number_takes_every_datum_of_it_away(wrong: float, broken: str):
    class Broken:
        name = "broken"

        def score(self, pairs):
            first = TokenScore(log_probability=wrong, tokens=2)
            return [first, *(TokenScore(log_probability=-1.0, tokens=2) for _ in pairs[1:])]

    every = ("teacher", "student", "ce_only", "random_init", "coreml")
    sound = {name: model(1.0, 1.0) for name in every if name != broken}
    data = run(**sound, **{broken: Broken()})
    assert {datum["tag"] for datum in data["runners"][broken].values()} == {"unavailable"}
    assert "not finite" in data["runners"][broken]["nll"]["reason"]
    of = {
        "kd_gain": {"student", "ce_only"},
        "init_gain": {"student", "random_init"},
        "teacher_gain": {"student", "teacher"},
        "package_gain": {"coreml", "student"},
    }
    for name, pair in of.items():
        assert (data[name]["tag"] == "unavailable") == (broken in pair), name
    assert (data["kd_wins"]["tag"] == "unavailable") == (broken in of["kd_gain"])


def test_a_student_below_its_teacher_loses():
    datum = run(student=model(1.5, 0.2), ce_only=model(1.5, 0.2), teacher=model(1.0))["teacher_gain"]
    assert datum["high"] < -0.4


def by_bytes(texts: list[str]) -> Scripted:
    """A model that knows how often each byte stands in these texts, and nothing else."""
    bytes_ = [byte for text in texts for byte in (*text.encode(), 256)]

    def likes(_prompt: str, response: str) -> float:
        return math.prod(bytes_.count(byte) / len(bytes_) for byte in (*response.encode(), 256))

    return Scripted(likes=likes)


def test_who_knows_no_more_than_bytes_is_above_nothing_and_texts_are_certain_by_themselves():
    zoo = run(student=by_bytes([str(one["response"]) for one in ROWS]), ce_only=model(0.05))["zoo"]
    assert (zoo["gold"]["k"], zoo["gold"]["n"], zoo["best"]) == (20, 20, "words")
    assert zoo["above"]["student"]["high"] < 0.0
    assert zoo["above"]["ce_only"]["low"] > 0.1
    assert zoo["worth"]["uniform"]["value"] == pytest.approx(-math.log(257))
    laws = json.loads((SCHEMAS / "report.eval.language_model.schema.json").read_text(encoding="utf-8"))
    said = laws["properties"]["data"]["x-derived"][1]
    assert said["constant"] == {"uniform": pytest.approx(-math.log(257))}
    assert zoo["bytes"]["value"] == sum(len(str(one["response"]).encode()) + 1 for one in ROWS)
    assert zoo["above"]["coreml"]["tag"] == "unavailable"


class ByToken:
    """A model that has counted the tokens of some texts, each a part of a word, and reads nothing."""

    name = "unigram"

    def __init__(self, texts: list[str], size: int) -> None:
        self._size = size
        self._often = Counter(one for text in texts for one in self._tokens(text))

    def _tokens(self, text: str) -> list[bytes]:
        words = words_of({"response": text})
        # the first word ends the text, too
        parts = [[word[at : at + self._size] for at in range(0, len(word), self._size)] or [b""] for word in words]
        return [b"end" + parts[0][0], *parts[0][1:], *(one for word in parts[1:] for one in word)]

    def score(self, pairs: list[tuple[str, str]]) -> list[TokenScore]:
        total = self._often.total() + len(self._often) + 1
        found = []
        for _, text in pairs:
            tokens = self._tokens(text)
            likely = math.fsum(math.log((self._often[one] + 1) / total) for one in tokens)
            found.append(TokenScore(log_probability=likely, tokens=len(tokens)))
        return found


GSM8K = [json.loads(line)["answer"] for line in (SPECS / "test.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("learnt", [slice(60), slice(60, 280)], ids=["these very texts", "others"])
def test_who_knows_how_often_each_token_is_and_reads_nothing_is_above_nothing(size: int, learnt: slice):
    rows = [row(f"q{n}", text) for n, text in enumerate(GSM8K[:60])]
    zoo = reported(SUITE, {"student": ByToken(GSM8K[learnt], size)}, rows, [], PARAMS, 3)["zoo"]
    assert zoo["best"] == "words"
    assert zoo["above"]["student"]["value"] <= 1e-9
    assert zoo["worth"]["words"]["value"] < -1.0


@given(st.lists(st.text(alphabet="ab 1.\u00e9\n", max_size=12), min_size=1, max_size=8))
def test_words_are_never_less_likely_than_bytes_nor_bytes_than_all_alike(texts: list[str]):
    """What the law of the report says (`rising`), of any texts."""
    rows = [row(f"q{n}", text) for n, text in enumerate(texts)]
    worth = {
        name: math.fsum(one["log_probability"] for one in outputs)
        for name, outputs in policies(rows, [], PARAMS).items()
    }
    assert worth["uniform"] <= worth["prior"] + 1e-9
    assert worth["prior"] <= worth["words"] + 1e-9
    assert all(b"".join(words_of(one)) == one["response"].encode() for one in rows)


def test_scores_that_are_none_are_above_nothing():
    zoo = run(student=Scripted(likes=lambda *_: math.nan))["zoo"]
    assert zoo["above"]["student"] == {
        "value": None,
        "unit": "nat/byte",
        "tag": "unavailable",
        "reason": "20 of 20 scores are not finite",
    }

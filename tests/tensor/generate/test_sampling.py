"""The sampler keeps the law of temperature and nucleus, and a seed decides every draw."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TopPLogitsWarper

from runtime.generate.sampling import Sampler, log_probabilities, nucleus, scored

#: of two decimals: of logits that differ by less than a probability can hold, either may be the likelier one
LOGITS = st.lists(st.integers(-2000, 2000).map(lambda number: number / 100), min_size=1, max_size=40)


def oracle(logits: list[float], temperature: float, top_p: float) -> list[float]:
    """Softmax of the divided logits; likeliest first until their sum reaches `top_p`; divided by what was kept."""
    weights = [math.exp((value - max(logits)) / temperature) for value in logits]
    p = [weight / math.fsum(weights) for weight in weights]
    kept: list[int] = []
    for index in sorted(range(len(p)), key=lambda i: (-p[i], i)):
        if top_p < 1 and math.fsum(p[i] for i in kept) >= top_p:
            break
        kept.append(index)
    total = math.fsum(p[i] for i in kept)
    return [p[i] / total if i in kept else 0.0 for i in range(len(p))]


@settings(max_examples=200, deadline=None)
@given(LOGITS, st.floats(0.05, 5), st.floats(0.01, 1))
def test_the_nucleus_is_that_of_the_law(logits, temperature, top_p):
    found = nucleus(np.array(logits, np.float32), temperature, top_p)
    wanted = oracle([float(np.float32(value)) for value in logits], temperature, top_p)
    # a sum that rounds to the border itself may keep one token more or less of equally good ones
    border = np.cumsum(sorted(oracle([float(np.float32(v)) for v in logits], temperature, 1.0), reverse=True))
    if np.abs(border - top_p).min() > 1e-9:
        assert found == pytest.approx(wanted, abs=1e-12)
    assert found.sum() == pytest.approx(1.0)


def test_transformers_keeps_the_same_tokens():
    chance = np.random.default_rng(1)
    for top_p in (0.1, 0.5, 0.9, 0.99):
        logits = chance.normal(size=200).astype(np.float32) * 3
        theirs = TopPLogitsWarper(top_p)(None, torch.from_numpy(logits)[None] / 0.7)[0]
        assert (nucleus(logits, 0.7, top_p) > 0).tolist() == torch.isfinite(theirs).tolist()


def test_the_token_that_crosses_the_border_belongs_to_the_nucleus():
    logits = np.log(np.array([0.2, 0.5, 0.3]))
    assert nucleus(logits, 1.0, 0.49).tolist() == pytest.approx([0, 1, 0])
    assert nucleus(logits, 1.0, 0.51).tolist() == pytest.approx([0, 0.625, 0.375])
    assert nucleus(logits, 1.0, 1.0).tolist() == pytest.approx([0.2, 0.5, 0.3])
    assert nucleus(logits, 0.5, 1.0).tolist() == pytest.approx([0.04 / 0.38, 0.25 / 0.38, 0.09 / 0.38])


def test_draws_come_as_often_as_their_probability():
    """Within four standard deviations of each of six tokens, one of which is outside the nucleus."""
    logits = np.array([1.0, 0.0, 2.0, -1.0, 0.5, -9.0])
    sampler, n = Sampler(0.8, 0.95, seed=3), 20_000
    seen = np.bincount([sampler.choose(logits) for _ in range(n)], minlength=6)
    p = nucleus(logits, 0.8, 0.95)
    assert p[5] == 0
    assert seen[5] == 0
    assert (np.abs(seen - n * p) <= 4 * np.sqrt(n * p * (1 - p)) + 1e-9).all()


def test_a_seed_decides_every_draw():
    logits = np.linspace(0, 1, 50)
    draws = {seed: [s.choose(logits) for s in [Sampler(1.0, 1.0, seed)] for _ in range(30)] for seed in (1, 1, 2)}
    again = Sampler(1.0, 1.0, 1)
    assert draws[1] == [again.choose(logits) for _ in range(30)]
    assert draws[1] != draws[2]


def test_greedy_takes_the_likeliest_and_of_equals_the_first():
    assert Sampler().choose(np.array([1.0, 3.0, 3.0])) == 1
    assert Sampler().choose(np.array([1.0, 3.0, 2.0]), np.array([True, False, True])) == 2


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_not_allowed_is_never_chosen(temperature):
    sampler = Sampler(temperature, 0.9, seed=1)
    allowed = np.array([False, True, False, True])
    assert {sampler.choose(np.array([9.0, 0.0, 8.0, 0.0]), allowed) for _ in range(50)} <= {1, 3}


def test_without_any_choice_nothing_is_chosen():
    with pytest.raises(ValueError, match="no token"):
        Sampler().choose(np.zeros(3), np.zeros(3, bool))
    with pytest.raises(ValueError, match="not finite"):
        Sampler().choose(np.array([0.0, np.nan]))


@pytest.mark.parametrize(
    ("temperature", "top_p"), [(-0.1, 1), (math.nan, 1), (math.inf, 1), (1, 0), (1, 1.1), (1, math.nan)]
)
def test_what_is_no_setting_is_refused(temperature, top_p):
    with pytest.raises(ValueError, match="must be"):
        Sampler(temperature, top_p)


def test_scores_are_those_of_the_model_itself():
    log = log_probabilities(np.array([0.0, math.log(3.0), 0.0], np.float32))
    one, top = scored(log, 0, 2)
    assert one.logprob == pytest.approx(math.log(0.2))
    assert [(t.token, t.logprob) for t in top] == [(1, pytest.approx(math.log(0.6))), (0, pytest.approx(math.log(0.2)))]
    assert scored(log, 1, 0)[1] == []

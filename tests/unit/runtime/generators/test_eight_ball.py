"""Questions are distinct, answers classic, proportions decided by subject and seed."""

from __future__ import annotations

from collections import Counter

import pytest

from runtime.contract import Refusal, rows
from runtime.data.classic import ANSWERS
from runtime.generators.eight_ball import GENERATOR, SUBJECTS, EightBallParams, distributions

PARAMS = EightBallParams(rows=3000)
CLASSIC = [answer for group in ANSWERS.values() for answer in group]


def test_rows_are_rows_with_distinct_questions_and_classic_answers():
    made = [rows.checked(row, "") for row in GENERATOR.rows(PARAMS, [], 1)]
    assert len({row["prompt"] for row in made}) == len({row["id"] for row in made}) == 3000
    assert {row["response"] for row in made} == set(CLASSIC)
    assert Counter(row["class"] for row in made) == dict.fromkeys(SUBJECTS, 300)


def test_the_seed_decides_everything():
    assert GENERATOR.rows(PARAMS, [], 1) == GENERATOR.rows(PARAMS, [], 1)
    assert GENERATOR.rows(PARAMS, [], 1) != GENERATOR.rows(PARAMS, [], 2)


def test_probabilities_sum_to_one_and_categories_to_the_mood():
    for subject, chances in distributions(1.0, 5).items():
        assert sum(chances) == pytest.approx(1.0)
        assert min(chances) > 0
        mood = SUBJECTS[subject][0]
        assert (sum(chances[:10]), sum(chances[10:15]), sum(chances[15:])) == pytest.approx(mood)


def test_without_contrast_a_category_is_shared_evenly():
    for subject, chances in distributions(0.0, 5).items():
        assert chances[:10] == pytest.approx([SUBJECTS[subject][0][0] / 10] * 10)


def test_answers_follow_the_probabilities():
    """Pearson's statistic of all cells that expect five or more stays below its 99.9 % quantile (df 110: 161)."""
    made, chances = GENERATOR.rows(EightBallParams(rows=6000), [], 3), distributions(1.0, 3)
    seen = Counter((row["class"], row["response"]) for row in made)
    statistic, cells = 0.0, 0
    for subject, probabilities in chances.items():
        for answer, probability in zip(CLASSIC, probabilities, strict=True):
            expected = 600 * probability
            if expected >= 5:
                statistic += (seen[subject, answer] - expected) ** 2 / expected
                cells += 1
    assert cells > 100
    assert statistic < cells + 5 * (2 * cells) ** 0.5


def test_more_questions_than_there_are_is_refused():
    with pytest.raises(Refusal, match="distinct questions"):
        GENERATOR.rows(EightBallParams(rows=20_000), [], 1)

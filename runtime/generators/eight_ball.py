"""A seed → yes-or-no questions of ten subjects, each answered by a fortune teller with a mood of its own per subject.

The answers are the twenty of the toy sold since 1950: ten affirmative, five non-committal, five negative. How often
each is given depends on the subject and on the seed alone, so that a teacher has proportions to learn and a student
proportions to match.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from pydantic import Field

from runtime.contract import Generator, Params
from runtime.contract.units import unit
from runtime.data.classic import ANSWERS
from runtime.data.drawn import Question, distinct, pick


class EightBallParams(Params):
    rows: int = Field(
        default=2400,
        ge=10,
        le=20_000,
        description="Distinct questions to make.",
        examples=[2400],
        json_schema_extra=unit("row"),
    )
    contrast: float = Field(
        default=1.0,
        ge=0.0,
        le=3.0,
        description="Spread of the log-weights of answers within a category; 0 is uniform.",
        examples=[1.0],
        json_schema_extra=unit("1"),
    )


#: subject → (mood: mass of affirmative, non-committal, negative; what may be asked about, with commas; how it is asked)
SUBJECTS: Mapping[str, tuple[tuple[float, float, float], str, Sequence[str]]] = {
    "love": (
        (0.70, 0.20, 0.10),
        "Anna, my neighbour, the dancer, my best friend, the girl next door, my pen pal, the new guy, Tom",
        ("Does {x} love me", "Will I kiss {x}", "Should I write to {x}", "Will {x} marry me", "Does {x} miss me"),
    ),
    "money": (
        (0.15, 0.25, 0.60),
        "my lottery ticket, the old stock, my savings plan, this auction, the bet, my coins, the gold mine, my bank",
        ("Will {x} make me rich", "Should I put money on {x}", "Can {x} pay my debts", "Is {x} a good deal"),
    ),
    "health": (
        (0.45, 0.45, 0.10),
        "my knee, the cough, my back, this headache, my tooth, the cold, my shoulder, the rash",
        ("Will {x} get better", "Should I see a doctor about {x}", "Will {x} keep me awake", "Can tea help {x}"),
    ),
    "weather": (
        (0.20, 0.60, 0.20),
        "the picnic, our wedding, the parade, the match, the garden party, the regatta, the fair, harvest",
        ("Will it rain during {x}", "Will the sun shine on {x}", "Will a storm ruin {x}", "Will it snow before {x}"),
    ),
    "work": (
        (0.25, 0.15, 0.60),
        "my boss, the new client, my team, the auditor, the director, the head office, the union, my rival",
        ("Will {x} praise my report", "Should I trust {x}", "Will {x} raise my pay", "Does {x} like my plan"),
    ),
    "travel": (
        (0.80, 0.15, 0.05),
        "Norway, Peru, the desert, Venice, the islands, Kyoto, the mountains, Cairo",
        ("Will I see {x}", "Should I fly to {x}", "Is {x} worth the trip", "Will I get lost in {x}"),
    ),
    "family": (
        (0.55, 0.10, 0.35),
        "my mother, my uncle, grandpa, my sister, our cousin, my little brother, aunt May, my father",
        ("Will {x} visit us", "Is {x} proud of me", "Should I call {x}", "Will {x} forgive me"),
    ),
    "study": (
        (0.35, 0.50, 0.15),
        "the exam, algebra, my essay, the French test, chemistry, my thesis, the piano lesson, history",
        ("Will I pass {x}", "Should I work harder on {x}", "Is {x} going to be hard", "Will I fail {x}"),
    ),
    "sport": (
        (0.10, 0.10, 0.80),
        "the Tigers, our school, the red team, the champion, the home side, the rowers, my club, the Hawks",
        ("Will {x} win the cup", "Can {x} beat the record", "Will {x} score first", "Is {x} in good shape"),
    ),
    "pets": (
        (0.60, 0.35, 0.05),
        "my cat, the puppy, our parrot, my hamster, the goldfish, the old dog, my rabbit, the pony",
        ("Does {x} understand me", "Will {x} learn a trick", "Should I brush {x}", "Is {x} hungry"),
    ),
}

BEFORE = ("", "Tell me, ", "Oh magic ball, ", "Be honest: ", "Please say, ")
AFTER = ("", " this week", " this year", " tomorrow", " next month", " in the end", " after all", " before winter")


def distributions(contrast: float, seed: int) -> dict[str, list[float]]:
    """Subject → probability of each answer in the order of `ANSWERS`. The mood fixes the mass of each category,
    the seed how it is shared within the category (weights exp(contrast × u), u uniform in [-1, 1])."""
    rng = Random(f"kc.eight-ball.v1 {seed}")
    found: dict[str, list[float]] = {}
    for subject, (mood, _, _) in SUBJECTS.items():
        found[subject] = []
        for mass, answers in zip(mood, ANSWERS.values(), strict=True):
            weights = [math.exp(contrast * (2 * rng.random() - 1)) for _ in answers]
            found[subject] += [mass * weight / sum(weights) for weight in weights]
    return found


def _question(subject: str, rng: Random) -> str:
    _, things, forms = SUBJECTS[subject]
    before, after = pick(rng, BEFORE), pick(rng, AFTER)
    form, thing = pick(rng, forms), pick(rng, things.split(", "))
    text = form.replace("{x}", thing) + after
    return (before + text[0].lower() + text[1:] if before else text) + "?"


def _answer(probabilities: Sequence[float], answers: Sequence[str], rng: Random) -> str:
    left = rng.random() * sum(probabilities)
    for probability, answer in zip(probabilities, answers, strict=True):
        left -= probability
        if left < 0:
            return answer
    return answers[-1]


def rows(params: EightBallParams, _tools: Sequence[Any], seed: int) -> list[dict[str, Any]]:
    """Rows of distinct questions, the subjects in turn. Raises Refusal when there are not that many questions."""
    rng, chances = Random(seed), distributions(params.contrast, seed)
    answers = [answer for group in ANSWERS.values() for answer in group]
    subjects = list(SUBJECTS)

    def draw(index: int) -> Question:
        subject = subjects[index % len(subjects)]
        return Question(_question(subject, rng), lambda: _answer(chances[subject], answers, rng), subject)

    return distinct(params.rows, "eight_ball", draw)


GENERATOR = Generator(name="eight_ball", version=1, params=EightBallParams, rows=rows, spans=frozenset())

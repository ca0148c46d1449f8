"""Reports of the suites over models that are good: the packs let them through, and what is made of them they do not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from runtime.contract import conversation
from runtime.data import bfcl as questions
from runtime.data.called import gold_of as called
from runtime.generators.needles import GENERATOR as NEEDLES
from runtime.suites import (
    answers,
    bfcl,
    choice,
    gold,
    integration,
    language_model,
    needle,
    preference,
    same_text,
    scenarios,
    tool_use,
)
from tests.unit.kcompiler.policy.kept import kept
from tests.unit.kcompiler.policy.suites import TOOLS, gold_of, report, tool_rows
from tests.unit.runtime.suites import scenes as shopping
from tests.unit.runtime.suites.models import Scripted, reported, row

ASKED, CONTROLS, SILENT = 60, 30, "Nothing to do."
ANSWERS = ("Yes", "No", "Maybe")


def calls(wrong: int, *, everywhere: bool = False) -> Callable[[str], str]:
    """A model that calls rightly but for the first `wrong` requests; `everywhere`: it calls where none is wanted."""
    places = {str(made["prompt"]): number for number, made in enumerate(tool_rows(ASKED))}
    some = gold_of(str(tool_rows(1)[0]["prompt"]))

    def says(prompt: str) -> str:
        if prompt not in places:
            return some if everywhere else SILENT
        return gold_of(prompt) if places[prompt] >= wrong else "no"

    return says


@kept
def tools(
    teacher: int = 1,
    student: int = 4,
    ce_only: int = 6,
    coreml: int | None = None,
    controls: int = CONTROLS,
    **how: bool,
) -> dict[str, Any]:
    """Report `eval.tool_use`: 60 requests and 30 controls; how many requests each model gets wrong."""
    rows = [*tool_rows(ASKED), *(row(f"How are you, {number}?", SILENT) for number in range(controls))]
    wrong = {
        "teacher": teacher,
        "student": student,
        "ce_only": ce_only,
        "coreml": student if coreml is None else coreml,
    }
    runners = {name: Scripted(calls(count, **how)) for name, count in wrong.items()}
    params = tool_use.ToolUseParams(coreml_limit=ASKED + CONTROLS)
    return report("tool_use", reported(tool_use.SUITE, runners, rows, TOOLS, params, 0))


@cache
def _functions() -> tuple[Mapping[str, Any], ...]:
    """The part of BFCL that is kept here, as rows."""
    folder = Path(__file__).resolve().parents[4] / "tests" / "data" / "bfcl"
    return tuple(row for name in questions.CATEGORIES for row in questions.rows_of(folder, name))


@kept
def functions(teacher: int = 1, student: int = 4, ce_only: int = 6, coreml: int | None = None) -> dict[str, Any]:
    """Report `eval.bfcl`: 64 questions and 32 that no function fits; how many of the first each model gets wrong."""
    rows = _functions()
    said = {str(item.prompt): called(item, "python") for item in bfcl.items_of(rows)}
    places = {prompt: number for number, prompt in enumerate(said)}

    def answers(wrong: int) -> Callable[[Any], str]:
        return lambda prompt: said[str(prompt)] if places[str(prompt)] >= wrong else "I do not know."

    wrong = {"teacher": teacher, "student": student, "ce_only": ce_only}
    wrong["coreml"] = student if coreml is None else coreml
    runners = {name: Scripted(answers(count)) for name, count in wrong.items()}
    return report("bfcl", reported(bfcl.SUITE, runners, rows, [], bfcl.BfclParams(coreml_limit=len(rows)), 0))


def fact_row(number: int) -> Mapping[str, Any]:
    """A question, a tool's result, and an answer that carries two facts of it over."""
    result = json.dumps(
        {"distance_km": number + 0.5, "city": f"City{'abcdefghij'[number % 10]}", "seats": 7000 + number}
    )
    call = {"type": "function", "function": {"name": "route", "arguments": {"to": number}}}
    messages = [
        {"role": "user", "content": f"How far is place {number} and what is it called?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": result},
        {"role": "assistant", "content": f"It is {number}.5 km to City{'abcdefghij'[number % 10]}."},
    ]
    facts = [
        {"value": f"{number}.5", "type": "number", "unit": "km|kilometres", "key": "distance_km"},
        {"value": f"City{'abcdefghij'[number % 10]}"},
    ]
    return {
        "id": f"fact-{number}",
        "class": "",
        "spans": {},
        "source": "s",
        **conversation.row_of(conversation.checked(messages, "here")),
        "wanted": {"facts": facts},
    }


@kept
def carried(teacher: int = 0, student: int = 1, ce_only: int = 3, coreml: int | None = None) -> dict[str, Any]:
    """Report `eval.integration`: 60 answers of two facts each; how many each model gets wrong."""
    rows = [fact_row(number) for number in range(60)]
    said = {str(item.prompt): item.response for item in integration.items_of(rows)}
    places = {prompt: number for number, prompt in enumerate(said)}

    def answers(wrong: int) -> Callable[[Any], str]:
        return lambda prompt: said[str(prompt)] if places[str(prompt)] >= wrong else "I do not know."

    wrong = {"teacher": teacher, "student": student, "ce_only": ce_only}
    wrong["coreml"] = student if coreml is None else coreml
    runners = {name: Scripted(answers(count)) for name, count in wrong.items()}
    params = integration.IntegrationParams(coreml_limit=60)
    return report("integration", reported(integration.SUITE, runners, rows, [], params, 0))


@kept
def scenes(teacher: int = 1, student: int = 3, ce_only: int = 6, coreml: int | None = None) -> dict[str, Any]:
    """Report `eval.scenarios`: 60 tasks in a shop; how many of them each model answers without doing anything."""
    wrong = {
        "teacher": teacher,
        "student": student,
        "ce_only": ce_only,
        "coreml": student if coreml is None else coreml,
    }
    return scenarios_of({name: shopping.first(count, lambda _row, _at: "No.") for name, count in wrong.items()})


def scenarios_of(acts: Mapping[str, Any], count: int = 60, limit: int = 60) -> dict[str, Any]:
    """Report `eval.scenarios` of models that act so in so many tasks; the package is asked no more than `limit`."""
    rows = [shopping.scene(number) for number in range(count)]
    runners = {name: shopping.model(rows, how) for name, how in acts.items()}
    params = scenarios.ScenariosParams(coreml_limit=limit)
    return report("scenarios", reported(scenarios.SUITE, runners, rows, shopping.shop(), params, 0))


def right_answer(prompt: str) -> str:
    return ANSWERS[int(prompt.split()[0]) % 3]


@kept
def proportions(
    teacher: float = 0.8, student: float = 0.75, ce_only: float = 0.7, mass: float = 0.98
) -> dict[str, Any]:
    """Report `eval.answers`: how likely each model finds the right one of three answers, of `mass` on all three."""

    def likes(right: float) -> Callable[[str, str], float]:
        return lambda prompt, answer: mass * (right if answer == right_answer(prompt) else (1 - right) / 2)

    rows = [row(f"{number} ?", ANSWERS[number % 3], subject="even" if number % 2 else "odd") for number in range(60)]
    each = {"teacher": teacher, "student": student, "ce_only": ce_only, "coreml": student}
    runners = {name: Scripted(right_answer, likes(right)) for name, right in each.items()}
    params = answers.AnswersParams(answers={name: [name] for name in ANSWERS}, coreml_limit=60)
    return report("answers", reported(answers.SUITE, runners, rows, [], params, 0))


@kept
def texts(
    teacher: float = 0.95,
    student: float = 0.9,
    ce_only: float = 0.5,
    coreml: float | None = None,
    items: int = 40,
    random_init: float = 0.1,
    uneven: float = 0.0,
) -> dict[str, Any]:
    """Report `eval.language_model`: how likely each model finds each text; where `uneven`, differences scatter."""

    def likes(base: float) -> Callable[[str, str], float]:
        return lambda prompt, _: float(base ** (1 + uneven * (int(prompt) % 5)) * (1.0 - int(prompt) % 7 / 100))

    rows = [row(f"{number}", f"text number {number}") for number in range(items)]
    each = {"teacher": teacher, "student": student, "ce_only": ce_only, "random_init": random_init}
    each["coreml"] = student if coreml is None else coreml
    runners = {name: Scripted(likes=likes(base)) for name, base in each.items()}
    params = language_model.LanguageModelParams(coreml_limit=40)
    return report("language_model", reported(language_model.SUITE, runners, rows, [], params, 1337))


@kept
def choices(
    teacher: int = 2, student: int = 6, ce_only: int = 9, coreml: int | None = None, count: int = 80
) -> dict[str, Any]:
    """Report `eval.choice`: how many of 80 rows each model gets wrong."""

    def likes(wrong: int) -> Callable[[str, str], float]:
        return lambda prompt, choice: 0.8 if (choice == "AB"[int(prompt) % 2]) == (int(prompt) >= wrong) else 0.1

    rows = [row(f"{number}", "AB"[number % 2]) for number in range(count)]
    wrong = {
        "teacher": teacher,
        "student": student,
        "ce_only": ce_only,
        "coreml": student if coreml is None else coreml,
    }
    runners = {name: Scripted(likes=likes(errors)) for name, errors in wrong.items()}
    params = choice.ChoiceParams(choices=["A", "B"], coreml_limit=count)
    return report("choice", reported(choice.SUITE, runners, rows, [], params, 0))


def sums(number: int) -> tuple[str, str]:
    """A question whose answer is none of its own numbers, and the answer in the form of GSM8K."""
    return f"Tom has {number + 2} apples and {number % 3 + 1} pears.", f"He has\n#### {2 * number + 100}"


@kept
def golds(
    teacher: int = 6,
    student: int = 8,
    ce_only: int = 10,
    coreml: int | None = None,
    rows: int = 80,
    says: Callable[[str, str], str] | None = None,
    **params: Any,
) -> dict[str, Any]:
    """Report `eval.gold` of numbers: how many of 80 rows each model gets wrong. `says` is what student and package say
    to (prompt, answer)."""
    asked = [sums(number) for number in range(rows)]
    place = {prompt: number for number, (prompt, _) in enumerate(asked)}

    def answers(wrong: int, mine: bool) -> Callable[[str], str]:
        def say(prompt: str) -> str:
            answer = sums(place[prompt])[1]
            if mine and says is not None:
                return says(prompt, answer)
            return answer if place[prompt] >= wrong else "#### 1"

        return say

    wrong = {"teacher": teacher, "student": student, "ce_only": ce_only}
    wrong["coreml"] = student if coreml is None else coreml
    runners = {name: Scripted(answers(count, name in ("student", "coreml"))) for name, count in wrong.items()}
    declared = {"match": "numeric", "numeric": {"after": "####"}, "coreml_limit": 80, **params}
    made = gold.GoldParams.model_validate(declared)
    data = reported(gold.SUITE, runners, [row(*one) for one in asked], [], made, 0)
    return report("gold", data)


@cache
def _needles() -> tuple[Mapping[str, Any], ...]:
    """Thirty prompts of each of two lengths and three depths, the cells in turn."""
    return tuple(NEEDLES.rows(NEEDLES.params(rows=180, lengths=[80, 160], depths=[0, 50, 100]), [], 1337))


@kept
def needles(
    teacher: int = 1,
    student: int = 2,
    ce_only: int = 6,
    coreml: int | None = None,
    rows: int = 180,
    cell: str = "",
    says: Callable[[str, str], str] | None = None,
    **params: Any,
) -> dict[str, Any]:
    """Report `eval.needle`: how many of 180 facts each model does not find, and, of student and package, all of a
    `cell`. `says` is what these say to (prompt, answer)."""
    asked = _needles()[:rows]
    place = {str(one["prompt"]): number for number, one in enumerate(asked)}

    def finds(wrong: int, mine: bool) -> Callable[[str], str]:
        def say(prompt: str) -> str:
            number = place[prompt]
            answer, where = str(asked[number]["response"]), str(asked[number]["class"])
            if mine and says is not None:
                return says(prompt, answer)
            return answer if number >= wrong and not (mine and where == cell) else "I do not know."

        return say

    wrong = {"teacher": teacher, "student": student, "ce_only": ce_only}
    wrong["coreml"] = student if coreml is None else coreml
    runners = {name: Scripted(finds(count, name in ("student", "coreml"))) for name, count in wrong.items()}
    made = needle.NeedleParams.model_validate({"coreml_limit": 180, **params})
    return report("needle", reported(needle.SUITE, runners, asked, [], made, 0))


@kept
def preferences(
    teacher: int = 16,
    student: int = 18,
    ce_only: int = 20,
    coreml: int | None = None,
    rows: int = 80,
    likes: Callable[[str, str], float] | None = None,
    longer: int = 2,
    **params: Any,
) -> dict[str, Any]:
    """Report `eval.preference`: how many of 80 pairs each model ranks wrongly; one in `longer` of the chosen answers is
    the longer one. `likes` is how likely student and package find an answer."""
    asked = [str(number) for number in range(rows)]
    texts = [("a good one", "bad") if number % longer == 0 else ("good", "a bad one") for number in range(rows)]
    pairs = [{**row(prompt, chosen), "rejected": other} for prompt, (chosen, other) in zip(asked, texts, strict=True)]

    def ranks(wrong: int, mine: bool) -> Callable[[str, str], float]:
        def like(prompt: str, answer: str) -> float:
            if mine and likes is not None:
                return likes(prompt, answer)
            # per token, and summed
            base = 0.5 if ("good" in answer) == (int(prompt) >= wrong) else 0.1
            return float(base ** (len(answer.split()) + 1)) if base == 0.5 else float(base**9)

        return like

    wrong = {"teacher": teacher, "student": student, "ce_only": ce_only}
    wrong["coreml"] = student if coreml is None else coreml
    runners = {name: Scripted(likes=ranks(count, name in ("student", "coreml"))) for name, count in wrong.items()}
    made = preference.PreferenceParams.model_validate({"score": "per_token", "coreml_limit": 80, **params})
    data = reported(preference.SUITE, runners, pairs, [], made, 0)
    return report("preference", data)


@kept
def originals(apart: int = 3) -> dict[str, Any]:
    """Report `eval.same_text`: of 20 texts so many of the package part from the original's, the first in a close call."""
    said = {f"q{number}": f"a text about {number}" for number in range(20)}
    parted = list(said)[:apart]

    def weighs(size: float) -> Callable[[str, str], float]:
        return lambda text, token: 12.0 - size * (token == "X") - (0.0 if text.startswith(parted[0]) else size)

    runners = {
        "teacher": Scripted(lambda prompt: said[prompt], weighs=weighs(0.001)),
        "student": Scripted(lambda prompt: said[prompt]),
        "coreml": Scripted(
            lambda prompt: f"{said[prompt]}X" if prompt in parted else said[prompt], weighs=weighs(0.002)
        ),
    }
    rows = [row(prompt, "unused") for prompt in said]
    data = reported(same_text.SUITE, runners, rows, [], same_text.SameTextParams(), 0)
    return report("same_text", data)

"""Reports as the evaluation suites write them, over models that say what a test tells them to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from runtime.contract import report as facts
from runtime.generators import toy_tools
from runtime.suites import answers, language_model, tool_use
from runtime.tools import registry
from tests.unit.runtime.suites.models import Scripted, reported, row

TOOLS = registry.load(Path(__file__).resolve().parents[4] / "specs" / "tools" / "registry.json")
HEX = {name: digit * 63 + "b" for name, digit in zip(facts.FINGERPRINTS[:5], "12345", strict=True)}
Says = Callable[[str], str]


def report(suite: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a suite in the envelope that a step of the torch backend gives it."""
    return facts.envelope(
        kind=f"eval.{suite}",
        step=f"evaluate-{suite}",
        subject={"takes.checkpoint": "sha256:" + HEX["model"]},
        fingerprints=HEX,
        environment={"backend": "torch", "forged": False, "versions": {"torch": "2.13.0"}},
        data=data,
    )


@cache
def _requests() -> tuple[Mapping[str, Any], ...]:
    return tuple(toy_tools.GENERATOR.rows(toy_tools.GENERATOR.params(rows=200, controls=0.0), TOOLS, 1337))


def tool_rows(count: int) -> Sequence[Mapping[str, Any]]:
    """Up to 200 requests as the generator of the toy makes them."""
    return _requests()[:count]


@cache
def gold_of(prompt: str) -> str:
    """The right call for a prompt of `tool_rows`; silence for any other."""
    return next((str(made["response"]) for made in _requests() if made["prompt"] == prompt), "Nothing to do.")


def tool_use_report(
    rows: Sequence[Mapping[str, Any]] | None = None, student: Says = gold_of, coreml: Says | None = None
) -> dict[str, Any]:
    """Report `eval.tool_use`, with 30 controls; the package says what the student says unless told otherwise."""
    runners = {"student": Scripted(student), "coreml": Scripted(coreml or student)}
    asked = tool_rows(60) if rows is None else rows
    silent = [row(f"How are you, {number}?", "Nothing to do.") for number in range(30)]
    return report(
        "tool_use",
        reported(tool_use.SUITE, runners, [*asked, *silent], TOOLS, tool_use.ToolUseParams(coreml_limit=1000), 0),
    )


def answers_report(questions: int, wrong: int = 0) -> dict[str, Any]:
    """Report `eval.answers` of a student that gives `wrong` answers outside the permitted ones, the last ones."""
    params = answers.AnswersParams()
    first = next(iter(next(iter(params.answers.values()))))
    rows = [row(f"{number} ?", first, subject="yes") for number in range(questions)]

    def says(prompt: str) -> str:
        return "Perhaps" if int(prompt.split(" ")[0]) >= questions - wrong else first

    runners = {"teacher": Scripted(lambda _: first), "student": Scripted(says), "coreml": Scripted(lambda _: first)}
    return report("answers", reported(answers.SUITE, runners, rows, [], params, 0))


def language_model_report(items: int = 40, better: float = 0.9, worse: float = 0.5) -> dict[str, Any]:
    """Report `eval.language_model`: how likely the student and the student without a teacher find each text."""
    rows = [row(f"{number}", f"text number {number}") for number in range(items)]

    def likes(base: float) -> Callable[[str, str], float]:
        return lambda prompt, _: base * (1.0 - int(prompt) % 7 / 100)

    runners = {
        "student": Scripted(likes=likes(better)),
        "ce_only": Scripted(likes=likes(worse)),
        "coreml": Scripted(likes=likes(better)),
    }
    return report(
        "language_model", reported(language_model.SUITE, runners, rows, [], language_model.LanguageModelParams(), 1337)
    )

"""Reports of suite `judge` over judges that are right but for so many pairs, or that say what a test has them say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runtime.contract import verdicts
from runtime.suites import judge
from runtime.suites import judged as judged_suite
from tests.unit.kcompiler.policy.kept import kept
from tests.unit.kcompiler.policy.suites import report
from tests.unit.runtime.suites.models import Scripted, reported, row

Judges = Callable[[verdicts.Pair, int], str]


def pairs(count: int = 100, clauses: int = 40) -> list[dict[str, Any]]:
    """Pairs of which the one that says `good` is better, and every fifth is a tie; of every other decided pair the
    better one is the longer one. Then rows that ask for the clause."""
    made = []
    for number in range(count):
        good, bad = ("a good one", "bad") if number % 2 else ("good", "a bad one")
        seats = ("good", "good") if number % 5 == 0 else (good, bad) if number % 3 else (bad, good)
        verdict = verdicts.TIE if number % 5 == 0 else verdicts.FIRST if number % 3 else verdicts.SECOND
        made.append({**row(verdicts.pair(str(number), *seats).prompt, verdict), "id": f"p{number}"})
    for number in range(clauses):
        clause = verdicts.CLAUSES[number % len(verdicts.CLAUSES)]
        asked = verdicts.pair(str(number), clause.lower(), "good", verdicts.CLAUSE)
        made.append({**row(asked.prompt, clause), "id": f"c{number}"})
    return made


def outcome(pair: verdicts.Pair, _number: int) -> str:
    """The right verdict, or the right clause."""
    if pair.asked == verdicts.CLAUSE:
        return pair.first.upper()
    good = ["good" in text.split() for text in (pair.first, pair.second)]
    return verdicts.TIE if good[0] == good[1] else verdicts.FIRST if good[0] else verdicts.SECOND


#: what an answer may say to its judge → the seat that it asks for
ASKED_FOR = {one.replace("{verdict}", seat): seat for one in judge.JudgeParams().injections for seat in "AB"}


def told(pair: verdicts.Pair, *, by: str = "") -> str:
    """The seat that one of the answers asks for, in a sentence that holds `by`, or ""."""
    answers = f"{pair.first}\n{pair.second}"
    return next((seat for said, seat in ASKED_FOR.items() if by in said and said in answers), "")


@kept
def judges(
    teacher: int = 3,
    student: int = 4,
    ce_only: int = 6,
    coreml: int | None = None,
    says: Judges | None = None,
    sure: float = 0.95,
    rows: list[dict[str, Any]] | None = None,
    **params: Any,
) -> dict[str, Any]:
    """Report `eval.judge`: how many of 100 pairs (and of 40 clauses) each judge gets wrong, in either order; how sure
    student and package are, and what they say in place of that."""

    def likes(wrong: int, mine: bool) -> Callable[[str, str], float]:
        def like(prompt: str, reply: str) -> float:
            pair = verdicts.read(prompt)
            names = verdicts.CLAUSES if pair.asked == verdicts.CLAUSE else verdicts.VERDICTS
            said = outcome(pair, int(pair.task))
            if mine and says is not None:
                said = says(pair, int(pair.task))
            elif int(pair.task) < wrong and pair.first != pair.second:
                said = (
                    names[(names.index(said) + 1) % len(names)] if names is verdicts.CLAUSES else verdicts.other(said)
                )
                said = verdicts.TIE if int(pair.task) % 5 and said != verdicts.TIE else said
            top = sure if mine else 0.95
            return top if reply == said else (1 - top) / (len(names) - 1)

        return like

    wrong = {"teacher": teacher, "student": student, "ce_only": ce_only}
    wrong["coreml"] = student if coreml is None else coreml
    runners = {name: Scripted(likes=likes(count, name in ("student", "coreml"))) for name, count in wrong.items()}
    made = judge.JudgeParams.model_validate({"coreml_limit": 140, **params})
    return report("judge", reported(judge.SUITE, runners, pairs() if rows is None else rows, [], made, 0))


@kept
def compared(
    won: int = 90,
    lost: int = 80,
    tied: int = 30,
    flipped: int = 0,
    rows: int | None = None,
    anything: int = 5,
    worse: int = 0,
    unsound: int = 0,
    says: Callable[[str], str] = lambda _: "mine",
) -> dict[str, Any]:
    """Report `eval.judged`: of how many rows each end is what the judge makes of the student beside the teacher. Beside
    the row's own answer `mine` is a tie but for the last `worse` rows, any answer is one for the first `anything` rows,
    and that answer itself is none for the last `unsound` ones."""
    ends = ["won"] * won + ["lost"] * lost + ["tied"] * tied + ["flipped"] * flipped
    count = len(ends) if rows is None else rows
    asked = [row(f"{number}", f"gold {number}") for number in range(count)]

    def beside_gold(pair: verdicts.Pair, number: int) -> str:
        own = f"gold {number}"
        if pair.first == pair.second:
            return verdicts.FIRST if number >= count - unsound else verdicts.TIE
        answer = pair.second if pair.first == own else pair.first
        if number < anything or (answer == "mine" and number < count - worse):
            return verdicts.TIE
        return verdicts.FIRST if pair.first == own else verdicts.SECOND

    def likes(prompt: str, reply: str) -> float:
        pair = verdicts.read(prompt)
        end, turned = ends[int(pair.task)], pair.first == "theirs"
        if "theirs" not in (pair.first, pair.second):
            return 0.9 if reply == beside_gold(pair, int(pair.task)) else 0.05
        if end in ("won", "lost"):
            said = verdicts.SECOND if turned == (end == "won") else verdicts.FIRST
        else:
            said = verdicts.TIE if end == "tied" or turned else verdicts.FIRST
        return 0.9 if reply == said else 0.05

    runners = {
        "teacher": Scripted(lambda _: "theirs"),
        "student": Scripted(says),
        "judge": Scripted(likes=likes),
    }
    made = judged_suite.JudgedParams(limit=0)
    return report("judged", reported(judged_suite.SUITE, runners, asked, [], made, 0))

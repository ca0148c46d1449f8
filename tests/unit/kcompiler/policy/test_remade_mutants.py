"""Every small mistake in the code that computes reports of speed and of parity again is noticed by a wrong report."""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import parity, regression, speed
from runtime.contract import report as facts
from runtime.contract.statistics.paired import wins
from tests.unit.kcompiler.judge.mutants import long, mutants
from tests.unit.kcompiler.policy import test_parity, test_wrong_speed
from tests.unit.runtime.contract import speeds

MODULES = {module.__name__.rpartition(".")[2]: module for module in (parity, regression, speed)}
#: functions whose comparisons decide whether data contradict themselves, or are what was asked for
DECIDE = {
    "parity": ("consistent", "_contradicted", "_moved", "unlike"),
    "regression": ("consistent",),
    "speed": ("consistent", "_price", "_is_of", "_is_shape", "is_time", "unlike", "_apart"),
}
#: (line of its text, what stands in the mutant) that no report can show, and why
ALONE = "if won > min(mine, second - its) or lost > min(its, first - mine):"
ELSE = "of runners that were asked the same items the one holds where the other does"
NUMBERS = "if not (type(won) is type(lost) is int and min(won, lost) >= 0 and won + lost <= min(n, apart)):"
UNNOTICEABLE: dict[tuple[str, str], str] = {
    (
        "if n > min(first, second, MOST_ITEMS):",
        "if False:",
    ): "then right items contradict wins and losses; it bounds work",
    (NUMBERS, "or"): "what is no number cannot be counted with, either",
    ("same = [True] * (n - won - lost)", "False"): "only items of which one is right alone are counted",
    ("nothing = False", "True"): "a runner whose right items are not known has no gap",
    (ALONE, "and"): ELSE,
    (ALONE, "second + its"): ELSE,
    (ALONE, "first + mine"): ELSE,
    (
        'raise ValueError(f"{name}: measured under another `{apart[0]}` than the machine has")',
        "1",
    ): "a word of a message",
    ("or not (type(new) is type(prompt) is int and 2 <= new <= MOST_TOKENS)", "<"): "a bound that no report meets",
    ('times = list(zip(ns["first"], ns["rest"], strict=True))', "False"): "then there are fewer than repetitions",
}


def wrong(module: Any) -> Iterator[bool]:
    """What must hold: good data are consistent, and each contradiction is found."""

    def refused(data: dict[str, Any]) -> bool:
        try:
            module.consistent(data)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
            return True
        return False

    name = module.__name__
    for make, changes in GOOD[name]:
        yield not refused(make()["data"])
        for change in changes:
            made = make()["data"]
            change(made)
            yield refused(made)
    if name == "parity":
        made = test_parity.report(200, test_parity.wrong(0))["data"]
        yield not list(module.unlike(test_parity.ASKED, made))
        yield [list(module.unlike(settings, made)) for settings in test_parity.OTHERS] == [
            ["runner `gguf` was asked for, and is not compared"],
            ["runner `fp16` is compared, and was not asked for"],
            ["runner `fp16` gives answers of `student`, asked for `teacher`"],
            ["suite: asked for answers, compared gold"],
        ]
    if name == "speed":
        made = test_wrong_speed.benchmark("coreml", test_wrong_speed.MAC, [test_wrong_speed.FAST] * 400)["data"]
        yield not list(module.unlike(test_wrong_speed.ASKED, made))
        for changed in test_wrong_speed.OTHERS:
            yield bool(list(module.unlike({**test_wrong_speed.ASKED, **changed}, made)))


Change = Callable[[dict[str, Any]], Any]
FAST, SLOW, MAC = test_wrong_speed.FAST, test_wrong_speed.SLOW, test_wrong_speed.MAC
PRICE = speed.Price(usd_per_hour=1.0, assumption="it is written on the door")
pair, rate, shapes, wrong_in = test_parity.pair, test_parity.rate, test_wrong_speed.shapes, test_parity.wrong


def elsewhere(
    *names: str, times: tuple[tuple[int, int], ...] = (FAST,) * 20, new: int = 4, price: speed.Price | None = None
) -> dict[str, Any]:
    """A benchmark on a machine that nobody means."""
    runners = {name: speeds.runner(name, MAC, {8: times, 16: times}, new=new, price=price) for name in names}
    return test_wrong_speed.read_again({"data": speeds.data(runners, MAC, price=price)})


def one_token(data: dict[str, Any]) -> None:
    data["runners"] = {"torch": speeds.runner("torch", MAC, {8: [FAST] * 20, 16: [FAST] * 20}, new=1)}


def as_if_right(data: dict[str, Any]) -> None:
    for found in data["ways"].values():
        found["gap"] = parity._gap(found["difference"], True)


def alike(data: dict[str, Any], n: int, swap: int = 0) -> None:
    """Student and fp16 have as many right, `swap` of them each alone."""
    mine, its = [True] * swap + [False] * swap, [False] * swap + [True] * swap
    same = [True] * (n - 2 * swap)
    found = {"right": wins(mine + same, its + same)}
    pair(data).update(difference=found, gap=parity._gap(found, True))


def swapped(data: dict[str, Any], each: int, *, apart: int) -> None:
    alike(data, 200, each)
    rows = [f"r{i}" for i in range(apart)]
    pair(data).update(disagreeing=rate(apart), other_answer=rate(apart), other_text=rate(apart), rows=rows)


def no_lengths(data: dict[str, Any]) -> None:
    for name in data["runners"]:
        shapes(data, name).clear()


MORE_WRONG: Change = lambda data: pair(data).update(other_answer=rate(7), other_text=rate(9))  # noqa: E731
GOOD: dict[str, list[tuple[Callable[[], dict[str, Any]], list[Change]]]] = {
    "parity": [
        (
            lambda: test_parity.report(200, wrong_in(4), wrong_in(4)),
            # these are found by the laws of the schema, or by the schema itself
            [one for name, one in test_parity.CONTRADICTIONS.items() if name not in ("no gap", "a gap of fewer")],
        ),
        (lambda: test_parity.report(1, wrong_in(0), wrong_in(1)), []),
        (lambda: test_parity.report(0, wrong_in(0)), []),
        (lambda: test_parity.report(200, lambda i: "7" if i else "?"), []),
        (lambda: test_parity.report(200, wrong_in(200), wrong_in(200)), [as_if_right]),
        (lambda: test_parity.report(200, wrong_in(200, "9"), wrong_in(100)), []),
        (lambda: test_parity.report(200, wrong_in(100), wrong_in(200)), []),
        (
            lambda: test_parity.report(200, wrong_in(6), wrong_in(4)),
            [
                MORE_WRONG,
                lambda data: data["runners"]["fp16"].update(
                    reasons={"right": rate(194), "other_answer": rate(3), "cut_off": rate(3)}
                ),
            ],
        ),
        (lambda: test_parity.report(200, wrong_in(4), wrong_in(6)), [MORE_WRONG]),
        (
            lambda: test_parity.report(200, wrong_in(4), wrong_in(4)),
            [lambda data: swapped(data, 2, apart=0), lambda data: swapped(data, 6, apart=12)],
        ),
        (lambda: test_parity.report(200, wrong_in(196), wrong_in(196)), [lambda data: swapped(data, 6, apart=12)]),
        (lambda: test_parity.report(2, wrong_in(1)), [lambda data: alike(data, 2)]),
    ],
    "regression": [
        (
            lambda: test_wrong_speed.compared([SLOW] * 30, [FAST] * 30),
            [
                *test_wrong_speed.FORGED.values(),
                lambda data: data["now"]["coreml"]["shapes"]["prompt_2048"].update(first=[10**9] * 29 + [True]),
            ],
        )
    ],
    "speed": [
        (
            lambda: test_wrong_speed.benchmark("coreml", MAC, [FAST] * 400),
            [one for name, one in test_wrong_speed.CONTRADICTIONS.items() if name not in test_wrong_speed.BY_HARDWARE],
        ),
        (lambda: test_wrong_speed.benchmark("coreml", MAC, []), []),
        (
            lambda: elsewhere("torch", "mil"),
            [
                lambda data: data["runners"].clear(),
                lambda data: shapes(data, "mil").pop("prompt_8"),
                no_lengths,
                lambda data: data["machine"].update(processor="another"),
                lambda data: data["runners"]["mil"]["conditions"].update(cores=2),
                lambda data: shapes(data, "mil").update(prompt_9=shapes(data, "mil").pop("prompt_8")),
                lambda data: data["runners"]["torch"]["conditions"].update(new_tokens="5"),
            ],
        ),
        (lambda: elsewhere("torch"), [one_token]),
        (
            lambda: elsewhere("torch", times=((0, 1),) * 20),
            [lambda data: shapes(data, "torch")["prompt_8"]["ns"]["first"].__setitem__(0, False)],
        ),
        (lambda: elsewhere("torch", times=((speed.LONGEST, 1),) * 20), []),
        (
            lambda: elsewhere("mil", times=()),
            [lambda data: data["runners"]["mil"].update(peak_memory=facts.measured(1, "B"))],
        ),
        (
            lambda: elsewhere("torch", price=PRICE),
            [
                lambda data: data["price"]["hour"].update(tag="measured"),
                lambda data: data["price"]["hour"].update(value=2.0),
                lambda data: data.pop("price"),
            ],
        ),
    ],
}


def survives(name: str, code: types.CodeType) -> bool:
    made = types.ModuleType(name)
    # dataclasses and models look their module up
    sys.modules[name] = made
    try:
        exec(code, made.__dict__)
        return all(wrong(made))
    except Exception:
        return False
    finally:
        del sys.modules[name]


def lines_of(source: str, functions: tuple[str, ...]) -> set[int]:
    found: set[int] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name in functions:
            found |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", [long(one) for one in DECIDE])
def test_no_mutant_survives(name: str) -> None:
    source = Path(str(MODULES[name].__file__)).read_text(encoding="utf-8")
    assert survives(name, compile(source, name, "exec"))
    within, lines = lines_of(source, DECIDE[name]), source.splitlines()
    alive = [
        str(mutant)
        for mutant in mutants(source)
        if mutant.line in within
        and not any(
            line == lines[mutant.line - 1].strip() and f" {now} " in f" {mutant.now} " for line, now in UNNOTICEABLE
        )
        and survives(name, mutant.compiled(name))
    ]
    assert alive == [], "\n".join(alive)

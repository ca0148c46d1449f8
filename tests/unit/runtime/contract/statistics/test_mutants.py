"""Every comparison of the room turned round: a test beside this one notices."""

from __future__ import annotations

import ast
import signal
import types
from pathlib import Path

import pytest

from runtime.contract.statistics import clusters, multiple, power, quantiles, ratios
from tests.unit.kcompiler.judge.mutants import Mutant, mutants
from tests.unit.runtime.contract.statistics import test_oracles as oracles
from tests.unit.runtime.contract.statistics import test_quantiles as ordered

#: comparisons that differ at equality only, which doubles never meet there or which then gives the same
ALIKE = {
    "needed(high) > n → needed(high) >= n",
    "needed(middle) <= n → needed(middle) < n",
    "difference >= found * null + missed * true → difference > found * null + missed * true",
    "a <= 0 → a < 0",
}


def _checks(name: str) -> None:
    if name == "multiple":
        for found, adjusted in (((0.01, 0.04, 0.03), (0.03, 0.06, 0.06)), ((0.0, 1.0), (0.0, 1.0))):
            oracles.test_holm_is_that_of_statsmodels_and_of_r(found, adjusted)
        for wrong in (-0.1, 1.1):
            oracles.test_holm_takes_probabilities_only(wrong)
    elif name == "clusters":
        oracles.test_the_clustered_error_is_that_of_statsmodels()
        oracles.test_an_error_between_families_needs_families(["a", "a", "a"])
    elif name == "ratios":
        oracles.test_fiellers_ends_are_where_the_difference_is_just_told_from_nothing()
        oracles.test_of_a_denominator_that_may_be_0_there_is_no_quotient()
        oracles.test_sums_give_the_interval_of_the_answers_themselves()
        oracles.test_a_share_is_of_what_both_have_right_and_each_alone()
        for counts, squares, can_be in oracles.SQUARES:
            oracles.test_sums_of_squares_that_no_answers_have(counts, squares, can_be)
    elif name == "quantiles":
        ordered.check_everything()
    else:
        oracles.test_mcnemar_finds_the_least_difference_four_times_of_five(300, 0.1)
        oracles.test_the_least_difference_of_two_samples_is_that_of_statsmodels(0.1, 0.5, 388, 1, 0.8006720106783477)
        oracles.test_what_cannot_be_told_is_1_and_what_makes_no_sense_is_refused()
        assert [power.clean_items(rate) for rate in (0, 0.5, 0.9, 0.98)] == [1, 5, 29, 149]
        assert power.clean_items(power.clean_floor(7)) == 7


def _passes(module: types.ModuleType, mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> bool:
    wrong = types.ModuleType("wrong")
    exec(mutant.compiled("wrong"), wrong.__dict__)
    before = signal.signal(signal.SIGPROF, _ring)
    # a loop that comes to no end is noticed, too; seconds are of this process, whatever computes beside it
    signal.setitimer(signal.ITIMER_PROF, 2)
    try:
        with monkeypatch.context() as patched:
            for name, thing in vars(wrong).items():
                if isinstance(thing, types.FunctionType) and thing.__module__ == "wrong":
                    patched.setattr(module, name, thing)
            _checks(module.__name__.rpartition(".")[2])
    except (AssertionError, ArithmeticError, ValueError, LookupError, TypeError, TimeoutError, pytest.fail.Exception):
        return False
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return True


def _ring(_signal: int, _frame: object) -> None:
    raise TimeoutError


@pytest.mark.parametrize(
    "module", [clusters, multiple, power, quantiles, ratios], ids=lambda one: one.__name__.rpartition(".")[2]
)
def test_every_comparison_turned_breaks_a_test(module: types.ModuleType, monkeypatch: pytest.MonkeyPatch):
    _checks(module.__name__.rpartition(".")[2])
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    turned = [one for one in mutants(source) if isinstance(one.child, ast.Compare)]
    assert turned
    survived = [one for one in turned if f"{one.was} → {one.now}" not in ALIKE and _passes(module, one, monkeypatch)]
    assert [str(one) for one in survived] == []

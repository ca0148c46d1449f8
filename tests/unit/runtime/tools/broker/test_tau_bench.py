"""150 real trajectories of tau-bench (airline, GPT-4o): what of trial 2 is known from trials 0 and 1, and pass^k.

The table: `kcompiler fixtures record …` and `kcompiler fixtures stats …`, as tests/data/tau_bench/README.md has them.
"""

import itertools
from fractions import Fraction

import pytest

from runtime.contract import Refusal, fixtures
from runtime.contract.statistics import repeated
from runtime.tools.broker import recording
from runtime.tools.broker.statistics import measure, told
from tests.unit.runtime.tools.broker.tau import HERE, TOOLS, TRIALS, needs_trials

pytestmark = needs_trials
MADE = {"file": "trials"}


@pytest.fixture(scope="module")
def episodes():
    return recording.load(TRIALS)


def recorded(episodes, declared):
    made = recording.record(
        [one for one in episodes if one.trial < 2], TOOLS, declared, provenance=MADE, clean=lambda text: text
    )
    return made, {
        name: [(f"{name}:{at}", line) for at, line in enumerate(lines, start=1)] for name, lines in made.files.items()
    }


@pytest.fixture(scope="module")
def held(episodes):
    made, files = recorded(episodes, recording.declared(HERE / "declared", TOOLS))
    return made, fixtures.read(files, TOOLS)


def last(episodes):
    return [one for one in episodes if one.trial == 2]


def test_trial_2_is_served_from_trials_0_and_1_and_never_wrongly(episodes, held):
    """As a broker runs, an item ends with its first miss. 18 of the 290 calls ask for flights, users and reservations
    of which no recorded result of trials 0 and 1 tells; no fixture can know them, and one more (a gift card)."""
    found = measure(held[1], last(episodes))
    assert (found.total.calls, found.total.served, found.total.equal) == (290, 271, 271)
    assert found.wrong == []
    assert (found.run.served, found.run.calls, found.episodes - found.whole) == (240, 248, 8)
    assert Fraction(found.run.served, found.run.calls) >= Fraction(95, 100)
    assert dict(found.by_kind) == {"stateful": 212, "ignore_args": 36, "pure": 23}
    assert sum(one.served for one in found.by_tool.values()) == sum(found.by_kind.values()) == 271
    assert told(found)["fixture_hit_rate"]["k"] == 240


def test_exact_keys_alone_serve_two_thirds(episodes):
    """Without what is declared of the tools; a tool that answers one call in two ways has no exact fixtures."""
    served = total = equal = 0
    known = {}
    for one in episodes:
        for call in one.calls:
            key = call.tool, fixtures.Tool(call.tool, {}, {}).key(call.args)
            if one.trial < 2:
                known.setdefault(key, set()).add(call.result)
            else:
                total += 1
                served += key in known
                equal += call.result in known.get(key, ())
    assert (served, equal, total) == (197, 197, 290)


def test_nothing_of_the_world_was_made_up(episodes, held):
    """Each entry that holds an object is found in a recorded result of trials 0 and 1, as it is."""
    results = {call.result for one in episodes if one.trial < 2 for call in one.calls}
    world = held[1].world
    assert {name: len(entries) for name, entries in world.items() if entries}.keys() >= {"users", "reservations"}
    for name in ("users", "reservations"):
        assert all(fixtures.expressions.dumped(value) in results for value in world[name].values())
    assert all(fixtures.expressions.dumped(value) in results for value in world["direct"].values())


def test_the_ready_made_lines_mend_the_misses(episodes, held):
    made, _ = held
    found = measure(held[1], last(episodes))
    files = {name: list(lines) for name, lines in made.files.items()}
    for miss in found.misses:
        for name, lines in miss.add.items():
            files.setdefault(name, []).extend(lines)
    mended = fixtures.read(
        {name: [(f"{name}:{at}", line) for at, line in enumerate(lines, 1)] for name, lines in files.items()}, TOOLS
    )
    again = measure(mended, last(episodes))
    assert again.wrong == []
    assert [(one.item, one.call.tool) for one in again.misses] == [("20", "update_reservation_flights")]


def test_a_declared_line_that_is_not_how_the_tool_works_is_refused(episodes):
    declared = recording.declared(HERE / "declared", TOOLS)
    for lines in declared.values():
        if lines[0][1]["tool"] == "calculate":
            lines[1] = lines[1][0], {**lines[1][1], "answer": "str(arithmetic(args.expression))"}
    with pytest.raises(Refusal, match="`calculate` answered") as refused:
        recorded(episodes, declared)
    assert refused.value.code == "KR0235"


def test_pass_k_equals_a_count_of_all_choices_of_trials(episodes):
    """An independent recomputation: of each task all subsets of k trials, and the share that is right throughout."""
    right = {}
    for one in episodes:
        right.setdefault(one.item, []).append(one.reward == 1.0)
    curve = repeated.curve(repeated.by_task((one.item, one.reward == 1.0) for one in episodes))
    assert len(curve) == 3
    for k, datum in enumerate(curve, start=1):
        shares = [
            Fraction(
                sum(all(chosen) for chosen in itertools.combinations(trials, k)),
                len(list(itertools.combinations(trials, k))),
            )
            for trials in right.values()
        ]
        assert datum["value"] == pytest.approx(float(sum(shares) / len(shares)), abs=1e-12)
        assert datum["n"] == 50
        assert datum["low"] < datum["value"] < datum["high"]
    assert [round(datum["value"], 4) for datum in curve] == sorted((round(d["value"], 4) for d in curve), reverse=True)

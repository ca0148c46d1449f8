"""The role table, the shipped specs and the packs of the roles say one thing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from kcompiler import policy, tables
from kcompiler.facts.models import teacher_architectures, total
from kcompiler.front import Front, compile_spec
from kcompiler.policy.interval import lower

ROOT = Path(__file__).resolve().parents[3]
TABLE = tables.roles()
SIZES = [(role, size) for role, row in TABLE.roles.items() if role != "toy" for size in row.sizes]
CONTRADICTIONS = [f"X{number}" for number in range(1, 25)]


def front_of(name: str) -> Front:
    front = compile_spec(ROOT / "specs" / f"{name}.yaml", ROOT)
    assert front.spec is not None, front.diagnostics
    return front


@pytest.mark.parametrize(("role", "size"), SIZES, ids=[size.name for _, size in SIZES])
def test_every_size_of_the_table_is_a_spec_that_compiles(role, size):
    spec, row = front_of(size.name).spec, TABLE.roles[role]
    assert spec.student.role == role
    assert spec.student.architecture == size.architecture
    assert total(spec.student.architecture) == size.parameters == spec.student.parameters.count
    assert spec.shapes.decode.context == row.context
    assert spec.shapes.prefill == row.prefill
    assert {term.term: term.weight for term in spec.training.stages[0].losses} == row.losses
    assert [suite.use for suite in spec.evaluation.suites] == row.suites
    assert spec.hardware.training_profile == row.training_profile
    assert f"roles/{role}" in spec.policies


@pytest.mark.parametrize(("role", "size"), SIZES, ids=[size.name for _, size in SIZES])
def test_the_speeds_of_a_spec_are_those_of_the_table(role, size):
    targets = front_of(size.name).spec.hardware.targets
    wanted = [one for one in TABLE.roles[role].targets if one.size == size.name]
    assert (targets.decode_tok_s, targets.ttft_s, targets.at_context, targets.compute_unit) in [
        (one.decode_tok_s, one.ttft_s, one.at_context, one.compute_unit) for one in wanted
    ]


@pytest.mark.parametrize("role", [role for role in TABLE.roles if TABLE.roles[role].gates])
def test_the_floors_of_a_role_are_rules_of_its_pack(role):
    packs = policy.load([f"roles/{role}"], [ROOT / "policies"]).packs
    held = {}
    for rule in packs[0].rules:
        params = rule.params.model_dump(mode="json")
        if "on" not in params:
            # rules between two numbers are no floors
            continue
        metrics = params["metric"] if isinstance(params["metric"], list) else [params["metric"]]
        held |= dict.fromkeys(metrics, (params["op"], params["threshold"], params["on"]))
    for gate in TABLE.roles[role].gates:
        assert held[gate.metric] == (">=", gate.at_least, "low")
        assert lower(gate.needs_n, gate.needs_n) >= Fraction(gate.at_least) > lower(gate.needs_n - 1, gate.needs_n - 1)


def test_every_contradiction_is_settled_in_one_value_with_a_reason():
    assert list(TABLE.settled) == CONTRADICTIONS
    assert len({row.about for row in TABLE.settled.values()}) == len(CONTRADICTIONS)


def test_phi_starts_from_the_weights_it_names():
    spec = front_of("phi-cmmlu").spec
    assert spec.student.checkpoint.parameters == total(spec.student.architecture) == 1_418_270_720


def test_budgets_of_the_founding_texts_against_the_computed_ones():
    """9000, 8000 and 7000 MB of weights hold; 0.07 and 0.05 MB of keys and values a token do not."""

    sizes = {size.name: size for _, size in SIZES}
    stated = {
        "worker-9b": (9000, 0.15),
        "worker-8b": (8000, 0.13),
        "worker-7b": (7000, 0.12),
        "judge-4b": (4000, 0.07),
        "judge-3b": (3000, 0.05),
    }
    from kcompiler.facts import sizes as count

    wrong = {}
    for name, (weights_mb, kv_mb) in stated.items():
        spec = front_of(name).spec
        weights = sum(count.weights(sizes[name].architecture, spec.quantization).values()) / 10**6
        kv = count.kv_per_token(sizes[name].architecture) / 10**6
        wrong[name] = [
            key
            for key, said, actual in (("weights", weights_mb, weights), ("kv", kv_mb, kv))
            if abs(said / actual - 1) > 0.1
        ]
    assert wrong == {"worker-9b": [], "worker-8b": [], "worker-7b": [], "judge-4b": ["kv"], "judge-3b": ["kv"]}


@pytest.mark.parametrize("name", [*(size.name for _, size in SIZES), "phi-cmmlu"])
def test_a_mini_run_fits_a_laptop(name):
    """Teacher, student, rows and steps: each small. By the compiler's own bounds memory and time are next to nothing."""
    front = compile_spec(ROOT / "specs" / f"{name}.yaml", ROOT, profile="mini")
    assert front.spec is not None, front.diagnostics
    spec = front.spec
    sizes = [total(spec.student.architecture), *(total(one) for _, one in teacher_architectures(spec))]
    assert max(sizes) < 2_000_000
    assert spec.student.checkpoint is None
    assert spec.teacher.source == "bootstrap" or spec.teacher.parameters < 10**9
    rows = [getattr(source, "limit", 0) or source.params.rows for source in spec.data.sources]
    assert 0 < sum(rows) <= 1000
    trained = [(stage.steps, stage.batch_size) for stage in spec.training.stages]
    longest = max(spec.shapes.prefill)
    tokens = sum(steps * batch * longest for steps, batch in trained)
    # six operations a parameter and token, on 10 GFLOP/s of one old core: less than five minutes a training
    assert 6 * max(sizes) * tokens / 10**10 < 300
    assert spec.budgets.wall_s <= 900
    assert spec.training.stages[0].losses == front_of(name).spec.training.stages[0].losses

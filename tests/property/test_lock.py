"""Laws of the lock: its text and identity depend on what is said, never on the order in which it is said."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kcompiler import lock, plan
from kcompiler.front import compile_spec
from kcompiler.project import Project
from tests.unit.kcompiler.compiling import content, planned

#: what RFC 8785 and our strict reader take
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))
OBJECTS = st.dictionaries(KEYS, JSON, max_size=5)


def shuffled(value: Any, source: random.Random) -> Any:
    """The same value with the keys of every mapping in another order."""
    if isinstance(value, dict):
        keys = source.sample(list(value), len(value))
        return {key: shuffled(value[key], source) for key in keys}
    return [shuffled(item, source) for item in value] if isinstance(value, list) else value


@given(OBJECTS)
def test_reading_gives_back_what_was_written(body: dict[str, Any]) -> None:
    lists = {name: [] for name in ("steps", "sources", "schemas", "policies", "inputs", "plugins", "obligations")}
    asked = {"name": "x", "spec": "specs/x.yaml"}
    made = {**body, "lock": {"format": lock.FORMAT}, "asked": asked, "budgets": body, "toolchain": {}, **lists}
    again = lock.load(lock.dump(made))
    assert again == made
    assert lock.dump(again) == lock.dump(made)
    assert lock.plan_digest(again) == lock.plan_digest(made)


@given(OBJECTS, st.randoms(use_true_random=False))
def test_the_order_of_keys_changes_neither_text_nor_identity(body: dict[str, Any], source: random.Random) -> None:
    other = shuffled(body, source)
    assert lock.dump(other) == lock.dump(body)
    assert lock.plan_digest(other) == lock.plan_digest(body)


@given(JSON, JSON)
def test_changed_is_empty_exactly_for_equal_values(old: Any, new: Any) -> None:
    assert lock.changed(old, old) == []
    assert (lock.changed(old, new) == []) == (old == new)


@given(OBJECTS, OBJECTS)
def test_equal_digests_mean_equal_texts(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (lock.plan_digest(one) == lock.plan_digest(other)) == (_canonical(one) == _canonical(other))


def _canonical(value: Any) -> Any:
    """What RFC 8785 takes for one value: 1.0 is 1, -0.0 is 0; true is not 1."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return (type(value).__name__, value)
    if isinstance(value, int | float):
        return ("number", float(value))
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    return [_canonical(item) for item in value]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    return lock.dump(planned(tmp_path_factory.mktemp("reference")))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.booleans(), st.integers(20, 200))
def test_how_a_spec_is_laid_out_changes_no_byte_of_its_lock(
    tmp_path: Path, reference: str, source: random.Random, flow: bool, width: int
) -> None:
    """Key order, flow or block style, line width."""
    spec = tmp_path / "specs" / "spec.yaml"
    spec.parent.mkdir(exist_ok=True)
    text = yaml.safe_dump(
        shuffled(content(), source), sort_keys=False, default_flow_style=flow, width=width, allow_unicode=True
    )
    spec.write_text(text, encoding="utf-8")
    made, problems = plan.make(compile_spec(spec, tmp_path), Project(tmp_path))
    assert made is not None, problems
    assert lock.dump(made) == reference


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0.01, 1.0), st.integers(1, 10_000))
def test_every_change_of_meaning_changes_the_identity(
    tmp_path: Path, reference: str, weight: float, steps: int
) -> None:
    def change(data: dict[str, Any]) -> None:
        data["training"]["stages"][0]["losses"][0]["weight"] = weight
        data["teacher"]["steps"] = steps

    same = weight == 0.6 and steps == 40
    assert (lock.dump(planned(tmp_path, change)) == reference) == same

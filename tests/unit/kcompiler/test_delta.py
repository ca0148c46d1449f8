"""Plan × what was committed → run, reuse or blocked for each step, and the reason in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from kcompiler.delta import Entry, delta
from runtime.contract import keys
from runtime.machine import apply as machine
from runtime.machine import devices, host
from tests.unit.kcompiler.compiling import Change, planned, unchanged


@pytest.fixture
def applied(tmp_path: Path) -> Path:
    """A project in which the null backend carried the plan out."""
    machine.apply(planned(tmp_path, backend="null"), root=tmp_path, judge=lambda *_: [])
    return tmp_path


def entries(root: Path, change: Change = unchanged, backend: str | None = "null", **options: Any) -> dict[str, Entry]:
    history, store = machine.look(root)
    given: dict[str, Any] = {
        "host": devices.words(),
        "history": history,
        "present": store.present,
        **options,
    }
    found: Sequence[Entry] = delta(planned(root, change, backend), **given)
    return {entry.step: entry for entry in found}


def test_where_nothing_was_done_everything_runs(tmp_path: Path) -> None:
    found = entries(tmp_path)
    assert {entry.action for entry in found.values()} == {"run"}
    assert {entry.why for entry in found.values()} == {"never_run: no committed result for this spec"}


def test_where_all_was_done_nothing_runs(applied: Path) -> None:
    found = entries(applied)
    assert {entry.action for entry in found.values()} == {"reuse"}
    assert {entry.why for entry in found.values()} == {"unchanged: same key, and every artifact is in the store"}


def test_entries_stand_in_the_order_of_the_plan(applied: Path) -> None:
    assert list(entries(applied)) == [step["id"] for step in planned(applied, backend="null")["steps"]]


def test_a_changed_parameter_is_named_and_what_follows_is_upstream_changed(applied: Path) -> None:
    found = entries(applied, lambda data: data["training"]["stages"][0]["losses"][0].update(weight=0.5))
    assert [name for name, entry in found.items() if entry.action == "reuse"] == [
        "data",
        "tokenizer",
        "teacher",
        "reach",
    ]
    assert found["train-kd"].why == "param_changed: losses.0.weight: 0.6 → 0.5"
    assert found["probe"].reason == "upstream_changed"
    assert found["probe"].why == "follows train-kd"


def test_another_backend_reuses_nothing(applied: Path) -> None:
    assert {entry.action for entry in entries(applied, backend=None).values()} == {"run"}


def test_another_machine_reuses_nothing(applied: Path) -> None:
    found = entries(applied, host=lambda _step: {**host.words(), "machine": "another"})
    assert {(entry.action, entry.reason) for entry in found.values()} == {("run", "environment_changed")}


@pytest.mark.parametrize(("state", "reason"), [(False, "artifact_missing"), ("corrupt", "artifact_corrupt")])
def test_a_damaged_artifact_makes_its_step_run(applied: Path, state: bool | Literal["corrupt"], reason: str) -> None:
    history, _ = machine.look(applied)
    record = history.last("answers", "tokenizer")
    assert record is not None
    damaged = {give["digest"] for give in record["gives"].values()}
    found = entries(applied, present=lambda digest: state if digest in damaged else True)
    assert (found["tokenizer"].action, found["tokenizer"].reason) == ("run", reason)
    assert found["data"].action == "reuse"


def test_only_leaves_the_others_out(tmp_path: Path) -> None:
    found = entries(tmp_path, only=["tokenizer"])
    assert {name for name, entry in found.items() if entry.action == "run"} == {"data", "tokenizer"}
    assert {entry.reason for entry in found.values() if entry.action == "blocked"} == {"not_selected"}


def test_force_runs_a_step_that_could_be_reused(applied: Path) -> None:
    found = entries(applied, force=["probe"])
    assert found["probe"].reason == "forced"
    assert found["train-kd"].action == "reuse"


def test_every_reason_has_words(applied: Path) -> None:
    for entry in entries(applied).values():
        assert entry.reason in keys.REASONS

"""Plan ↔ text: canonical, read strictly, identified by its content, compared by what changed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from kcompiler import lock
from tests.unit.kcompiler.compiling import planned


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return planned(tmp_path_factory.mktemp("lock"))


class TestText:
    def test_what_was_written_is_read(self, plan: dict[str, Any]) -> None:
        assert lock.load(lock.dump(plan)) == plan

    def test_the_text_is_sorted_indented_and_ends_with_one_line_end(self, plan: dict[str, Any]) -> None:
        text = lock.dump(plan)
        assert text == json.dumps(plan, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
        assert "\r" not in text

    def test_a_number_that_is_not_finite_is_never_written(self, plan: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="JSON"):
            lock.dump({**plan, "budgets": {"usd": float("nan")}})

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "not JSON"),
            ("{", "not JSON"),
            ("[]", "not a plan.lock"),
            ("{}", "not a plan.lock"),
            ('{"lock": "1.0"}', "not a plan.lock"),
            ('{"lock": {"format": "2.0"}, "steps": []}', "'2.0'"),
            ('{"lock": {}, "steps": []}', "None"),
            ('{"lock": {"format": "1.0"}}', "no list of steps"),
            ('{"lock": {"format": "1.0"}, "steps": {}}', "no list of steps"),
            ('{"lock": {"format": "1.0"}, "lock": {"format": "1.0"}, "steps": []}', "duplicate key"),
            ('{"lock": {"format": "1.0"}, "steps": [NaN]}', "NaN"),
        ],
    )
    def test_what_is_no_lock_says_why(self, text: str, why: str) -> None:
        with pytest.raises(lock.UnreadableLock, match=why):
            lock.load(text)

    @pytest.mark.parametrize(
        ("spoil", "why"),
        [
            (lambda plan: plan.pop("asked"), "no section `asked`"),
            (lambda plan: plan["asked"].update(spec=5), "`asked` has no text `spec`"),
            (lambda plan: plan.update(obligations=5), "no list of obligations"),
            (lambda plan: plan["obligations"].insert(1, None), r"obligations\[1\] is not an object"),
            (lambda plan: plan["obligations"][2].pop("rule"), r"obligations\[2\] has no text `rule`"),
            (lambda plan: plan["steps"].insert(0, 1), r"steps\[0\] is not an object"),
            (lambda plan: plan["steps"][0].update(takes=[]), "step `data` has no proper `takes`"),
            (lambda plan: plan.update(toolchain=None), "no section `toolchain`"),
            (lambda plan: plan["asked"].update(spec="../secret"), "`../secret`, which is outside the project"),
            (lambda plan: plan["sources"][0].update(path="/etc/passwd"), "`/etc/passwd`, which is outside the project"),
        ],
    )
    def test_a_lock_that_cannot_be_walked_says_where(self, plan: dict[str, Any], spoil: Any, why: str) -> None:
        spoilt = copy.deepcopy(plan)
        spoil(spoilt)
        with pytest.raises(lock.UnreadableLock, match=why):
            lock.load(lock.dump(spoilt))

    def test_a_file_that_is_gone_or_not_utf_8_says_why(self, tmp_path: Path) -> None:
        with pytest.raises(lock.UnreadableLock, match="No such file"):
            lock.read(tmp_path / "plan.lock")
        (tmp_path / "plan.lock").write_bytes(b"\xff\xfe")
        with pytest.raises(lock.UnreadableLock, match="decode"):
            lock.read(tmp_path / "plan.lock")


class TestIdentity:
    def test_layout_does_not_count_and_content_does(self, plan: dict[str, Any]) -> None:
        dense = json.loads(json.dumps(plan, separators=(",", ":"), sort_keys=False))
        assert lock.plan_digest(dense) == lock.plan_digest(plan)
        changed = copy.deepcopy(plan)
        changed["steps"][0]["seed"] = "1"
        assert lock.plan_digest(changed) != lock.plan_digest(plan)


class TestDifference:
    def test_equal_plans_have_none(self, plan: dict[str, Any]) -> None:
        assert lock.difference(plan, copy.deepcopy(plan)) == []

    def test_a_parameter_is_named_with_both_values(self, plan: dict[str, Any]) -> None:
        new = copy.deepcopy(plan)
        step = next(step for step in new["steps"] if step["id"] == "train-kd")
        step["params"]["losses"][0]["weight"] = 0.5
        assert lock.difference(plan, new) == ["~ step train-kd: params.losses[0].weight 0.6 → 0.5"]

    def test_steps_that_came_and_went_are_named(self, plan: dict[str, Any]) -> None:
        new = copy.deepcopy(plan)
        gone = new["steps"].pop()
        new["steps"].append({**gone, "id": "other"})
        assert lock.difference(plan, new) == [f"- step {gone['id']}", "+ step other"]

    def test_other_sections_are_named(self, plan: dict[str, Any]) -> None:
        assert lock.difference(plan, {**plan, "budgets": {}, "policies": []}) == ["~ budgets", "~ policies"]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (1, 1, []),
        (1, 2, [("params", 1, 2)]),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, [("params.a.b", 1, 2)]),
        ({"a": 1}, {"b": 1}, [("params.a", 1, lock.ABSENT), ("params.b", lock.ABSENT, 1)]),
        ([1, 2], [1, 3], [("params[1]", 2, 3)]),
        ([1], [1, 2], [("params", [1], [1, 2])]),
        ({"a": [1]}, {"a": {"b": 1}}, [("params.a", [1], {"b": 1})]),
    ],
)
def test_changed_names_each_leaf_that_differs(old: Any, new: Any, found: list[Any]) -> None:
    assert lock.changed(old, new) == found

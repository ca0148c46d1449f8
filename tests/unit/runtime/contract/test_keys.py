from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from runtime.contract.keys import (
    REASONS,
    Decision,
    History,
    action_key,
    components,
    decide,
    derivation,
    environment,
    needed,
    param_changes,
    parse_reference,
    predict,
    producers,
)

HOST = {"python": "3.11", "system": "Linux", "machine": "x86_64"}
REQUIRES = {"torch": {"torch": "2.13.0"}, "python": {}}


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


def steps() -> list[dict[str, Any]]:
    shared = {"code": digest("c"), "seed": "1", "promise": "bitwise", "derivation": digest("d")}
    return [
        {
            "id": "data", "kind": "data@1", "backend": "python", "takes": {"source_x": "input:x"},
            "params": {"held_out": 0.2, "sources": [{"name": "x", "limit": 0}]},
            "gives": {"dataset": {"kind": "dataset"}}, "after": [], **shared,
        },
        {
            "id": "kd", "kind": "train@1", "backend": "torch", "takes": {"dataset": "step:data#dataset"},
            "params": {"losses": [{"term": "kl", "weight": 0.6}], "steps": 300},
            "gives": {"checkpoint": {"kind": "checkpoint"}}, "after": [], **shared,
        },
        {
            "id": "probe", "kind": "probe@1", "backend": "torch", "takes": {"checkpoint": "step:kd#checkpoint"},
            "params": {}, "gives": {"report": {"kind": "report", "report": "probes"}}, "after": ["data"], **shared,
        },
    ]  # fmt: skip


def lock(**changes: Any) -> dict[str, Any]:
    return {
        "asked": {"name": "toy"},
        "inputs": [{"name": "x", "path": "x.jsonl", "kind": "file", "digest": digest("a"), "bytes": 1}],
        "toolchain": {"torch": "2.13.0"},
        "plugins": [],
        "steps": steps(),
        **changes,
    }


def everything(artifact: str) -> bool:
    del artifact
    return True


def carried_out(content: Mapping[str, Any], history: History | None = None) -> History:
    """The history after every step of a lock was carried out once; each output gets a digest of its own."""
    found = history or History()
    for decision in walk(content, found):
        del decision
    return found


def walk(content: Mapping[str, Any], history: History) -> list[Decision]:
    made: dict[str, Any] = {}
    done = []
    for number, step in enumerate(content["steps"]):
        pins = {entry["name"]: entry["digest"] for entry in content["inputs"]}
        inputs = {
            port: pins[parse_reference(ref)[1]]
            if ref.startswith("input:")
            else made[parse_reference(ref)[1]][parse_reference(ref)[2]]["digest"]
            for port, ref in step["takes"].items()
        }
        parts = components(step, inputs, environment(content["toolchain"], REQUIRES[step["backend"]], HOST))
        decision = decide(step, parts, history, spec="toy", present=everything)
        if decision.record is None:
            gives = {port: {**give, "digest": digest(str(number))} for port, give in step["gives"].items()}
            history.add({"spec": "toy", "step": step["id"], "action": action_key(parts), "components": parts,
                         "params": step["params"], "gives": gives})  # fmt: skip
        made[step["id"]] = (decision.record or history.last("toy", step["id"]) or {})["gives"]
        done.append(decision)
    return done


def forecast(content: Mapping[str, Any], history: History, **options: Any) -> dict[str, Decision]:
    options.setdefault("present", everything)
    words = options.pop("host", HOST)
    found = predict(content, requires=REQUIRES, host=lambda _step: words, history=history, **options)
    return {decision.step: decision for decision in found}


def test_nothing_was_run_so_all_runs() -> None:
    found = forecast(lock(), History())
    assert [(one.action, one.reason) for one in found.values()] == [("run", "never_run")] * 3


def test_all_was_run_so_all_is_reused() -> None:
    found = forecast(lock(), carried_out(lock()))
    assert [(one.action, one.reason) for one in found.values()] == [("reuse", "unchanged")] * 3
    assert found["kd"].record is not None


def test_a_changed_parameter_is_named_with_both_values_and_only_what_follows_runs() -> None:
    changed = lock()
    changed["steps"][1]["params"]["losses"][0]["weight"] = 0.5
    found = forecast(changed, carried_out(lock()))
    assert found["data"].action == "reuse"
    assert (found["kd"].reason, found["kd"].detail) == ("param_changed", "losses.0.weight: 0.6 → 0.5")
    assert (found["probe"].action, found["probe"].reason, found["probe"].key) == ("run", "upstream_changed", "")


@pytest.mark.parametrize(
    ("change", "reason", "name"),
    [
        (lambda content: content["inputs"][0].update(digest=digest("b")), "input_changed", "input:x"),
        (lambda content: content["steps"][0].update(code=digest("e")), "code_changed", "code"),
        (lambda content: content["steps"][0].update(kind="data@2"), "code_changed", "kind"),
        (lambda content: content["steps"][0].update(backend="torch"), "code_changed", "backend"),
        (lambda content: content["steps"][0].update(seed="2"), "param_changed", "seed"),
        (lambda content: content["steps"][0].update(gives={"dataset": {"kind": "tokenizer"}}), "code_changed", "gives"),
    ],
)
def test_each_component_has_its_reason(change: Any, reason: str, name: str) -> None:
    changed = lock()
    change(changed)
    found = forecast(changed, carried_out(lock()))["data"]
    assert (found.action, found.reason) == ("run", reason)
    assert name in [one.name for one in found.changes]


def test_another_version_or_machine_is_an_environment_change() -> None:
    history = carried_out(lock())
    newer = forecast(lock(toolchain={"torch": "2.14.0"}), history)
    assert newer["data"].action == "reuse"
    assert (newer["kd"].reason, newer["kd"].detail) == ("environment_changed", "environment.torch: 2.13.0 → 2.14.0")
    arm = forecast(lock(), history, host={**HOST, "machine": "arm64"})
    assert arm["data"].detail == "environment.machine: x86_64 → arm64"


def test_what_is_in_no_key_changes_nothing() -> None:
    """Order edges, promise, budgets, sources and a comment in the spec (other source bytes) run nothing."""
    changed = lock(budgets={"wall_s": 1}, sources=[{"path": "specs/x.yaml", "bytes": digest("f")}])
    changed["steps"][2].update(after=["data", "kd"], promise="statistical", derivation=digest("9"))
    assert {one.action for one in forecast(changed, carried_out(lock())).values()} == {"reuse"}


def test_early_cut_off_a_step_that_runs_again_with_equal_output_stops_the_change() -> None:
    history = carried_out(lock())
    changed = lock()
    changed["steps"][0]["params"]["held_out"] = 0.3
    assert forecast(changed, history)["kd"].reason == "upstream_changed"
    assert [one.action for one in walk(changed, history)] == ["run", "reuse", "reuse"]


def test_a_missing_or_corrupt_artifact_runs_its_step_again() -> None:
    history = carried_out(lock())
    gone = forecast(lock(), history, present=lambda artifact: artifact != digest("1"))
    assert (gone["kd"].action, gone["kd"].reason) == ("run", "artifact_missing")
    assert gone["kd"].changes[0].old == digest("1")
    broken = forecast(lock(), history, present=lambda artifact: "corrupt" if artifact == digest("1") else True)
    assert (broken["kd"].action, broken["kd"].reason) == ("run", "artifact_corrupt")
    assert broken["data"].action == "reuse"


def test_an_older_whole_result_of_the_same_key_is_used_when_the_newest_is_damaged() -> None:
    history = carried_out(lock())
    newest = copy.deepcopy(dict(history.last("toy", "data") or {}))
    newest["gives"]["dataset"]["digest"] = digest("8")
    history.add(newest)
    found = forecast(lock(), history, present=lambda artifact: artifact != digest("8"))["data"]
    assert found.action == "reuse"
    assert (found.record or {})["gives"]["dataset"]["digest"] == digest("0")


def test_force_runs_a_step_and_only_restricts_what_may_run() -> None:
    history = carried_out(lock())
    forced = forecast(lock(), history, force=["kd"])
    assert [(one.action, one.reason) for one in forced.values()] == [
        ("reuse", "unchanged"), ("run", "forced"), ("run", "upstream_changed"),
    ]  # fmt: skip
    changed = lock()
    changed["steps"][0]["seed"] = "2"
    limited = forecast(changed, history, only=["data"])
    assert [(one.action, one.reason) for one in limited.values()] == [
        ("run", "param_changed"), ("blocked", "not_selected"), ("blocked", "not_selected"),
    ]  # fmt: skip


def test_another_spec_with_the_same_step_shares_its_result_and_has_its_own_history() -> None:
    history = carried_out(lock())
    other = lock(asked={"name": "other"})
    assert {one.action for one in forecast(other, history).values()} == {"reuse"}
    other["steps"][0]["seed"] = "2"
    assert forecast(other, history)["data"].reason == "never_run"


def test_a_third_partys_plugin_is_in_the_key_of_the_steps_that_name_it() -> None:
    def plugin(record: str) -> list[dict[str, str]]:
        return [{"room": "losses", "name": "kl", "distribution": "d", "version": "1", "code": record}]

    history = History()
    content = lock(plugins=plugin(digest("1")))
    parts = [components(step, {}, {}, content["plugins"]) for step in content["steps"]]
    assert ["plugin.losses.kl" in part for part in parts] == [False, True, False]
    assert history.of_key("x") == []
    old, new = (action_key(components(content["steps"][1], {}, {}, plugin(digest(mark)))) for mark in "12")
    assert old != new


def test_a_key_needs_every_input() -> None:
    with pytest.raises(ValueError, match=r"input\.dataset is unknown"):
        action_key(components(steps()[1], {"dataset": None}, {}))


def test_derivations_follow_their_inputs_and_know_no_machine() -> None:
    def derive(content: Mapping[str, Any]) -> list[str]:
        known: dict[str, str] = {}
        for step in content["steps"]:
            pins = {entry["name"]: entry["digest"] for entry in content["inputs"]}
            around = environment(content["toolchain"], REQUIRES[step["backend"]])
            known[step["id"]] = derivation(step, pins=pins, derivations=known, environment=around)
        return list(known.values())

    changed = lock()
    changed["steps"][1]["params"]["steps"] = 301
    before, after = derive(lock()), derive(changed)
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False]
    assert len(set(before)) == 3


@pytest.mark.parametrize("text", ["", "data", "step:data", "input:x#y", "file:x", "step:#x", "input:"])
def test_references_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a reference"):
        parse_reference(text)


def test_what_a_step_needs_follows_both_kinds_of_edges() -> None:
    assert producers(steps()[2]) == ["kd", "data"]
    assert needed(steps(), ["kd"]) == {"data", "kd"}
    assert needed(steps(), ["probe"]) == {"data", "kd", "probe"}
    with pytest.raises(KeyError):
        needed(steps(), ["nothing"])


def test_parameter_differences_are_named_by_path_whatever_their_shape() -> None:
    old = {"a": 1, "b": [1, 2], "c": {"d": "x"}, "gone": None, "flag": True, "same": 2}
    new = {"a": 1, "b": [1, 3, 4], "c": {"d": "y"}, "new": {"x": 1}, "flag": 1, "same": 2.0}
    found = {str(one) for one in param_changes(old, new)}
    assert found == {
        "b.1: 2 → 3", "b.2: (absent) → 4", 'c.d: "x" → "y"', "flag: true → 1", "gone: null → (absent)",
        'new: (absent) → {"x":1}',
    }  # fmt: skip


def test_every_reason_is_explained() -> None:
    assert all(text and text[0].islower() for text in REASONS.values())


def test_a_parameter_without_effect_changes_no_key_and_is_no_reason_to_run() -> None:
    def saving(every: int) -> dict[str, Any]:
        content = lock()
        content["steps"][1]["params"]["checkpoint_every"] = every
        content["steps"][1]["unkeyed"] = ["checkpoint_every"]
        return content

    history = carried_out(saving(100))
    assert {one.action for one in forecast(saving(7), history).values()} == {"reuse"}
    changed = saving(7)
    changed["steps"][1]["params"]["steps"] = 301
    assert forecast(changed, history)["kd"].detail == "steps: 300 → 301"
    keyed = saving(7)
    del keyed["steps"][1]["unkeyed"]
    assert forecast(keyed, history)["kd"].reason == "param_changed"

"""The real command line and a student whose weights bring another tokenizer than the spec's: from spec to verdict."""

from __future__ import annotations

import json
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from runtime import digest
from tests.flow.test_cut import VOCABULARY, folder
from tests.flow.world import QUALITY, Home
from tests.longer import longer


def starts_from_others(home: Home, migrate: dict[str, Any]) -> None:
    """The tiny spec, whose tokenizer is trained on its rows, and a student whose weights were trained on another."""
    original = home.root / "specs/original"
    folder(original)
    weights = {"model": "./original", "revision": digest.of_folder(original), "license": "Apache-2.0"}

    def edit(data: dict[str, Any]) -> None:
        data["student"] = {"role": "toy", "architecture": "from checkpoint", "checkpoint": weights, "migrate": migrate}

    home.change(edit)


@longer
def test_a_student_is_migrated_and_trained(fresh: Home) -> None:
    starts_from_others(fresh, {"gone": ["<pad>", "<tool>"]})
    result = fresh.apply().ended(1, "fail")
    steps = list(result.steps())
    assert steps.index("student-original") < steps.index("tokenizer") < steps.index("student") < steps.index("train-kd")
    verdict = json.loads((fresh.evidence / "verdict.json").read_text(encoding="utf-8"))
    assert {one["rule"] for one in verdict["outcomes"] if one["blocks"]} - {"caws/tier-3/answers-no-worse"} <= QUALITY
    names = ("accounted", "exact", "logits", "specials")
    gates = {one["rule"]: one["outcome"] for one in verdict["outcomes"] if "migration-" in one["rule"]}
    assert gates == {f"caws/core/migration-{name}": "pass" for name in names}
    data = json.loads((fresh.evidence / "reports/student.json").read_text(encoding="utf-8"))["data"]
    assert data["vocab_size_before"]["value"] == VOCABULARY
    assert data["kept"]["value"] > 256
    assert data["new"]["value"] > 0
    record = json.loads((fresh.stored("student", "record") / "migration.json").read_text(encoding="utf-8"))
    assert len(record["origins"]) == data["vocab_size"]["value"]
    # Transformers opens what was migrated, and what was trained from it
    for step in ("student", "train-kd"):
        made = fresh.stored(step, "checkpoint")
        assert len(AutoTokenizer.from_pretrained(made)) == AutoModelForCausalLM.from_pretrained(made).config.vocab_size
    fresh.audit().ended(0, "")


@longer
def test_a_control_token_that_is_lost_stops_the_run_before_training(fresh: Home) -> None:
    """The old weights' folder says which tokens begin and end, and not which one pads."""
    starts_from_others(fresh, {"gone": ["<end>"]})
    result = fresh.apply().ended(1, "fail")
    assert "train-kd" not in [name for name, what in result.steps().items() if what == "committed"]
    verdict = json.loads((fresh.evidence / "verdict.json").read_text(encoding="utf-8"))
    blocking = [one["rule"] for one in verdict["outcomes"] if one["blocks"] and one["outcome"] == "fail"]
    assert blocking == ["caws/core/migration-specials", "caws/core/run-complete"]
    data = json.loads((fresh.evidence / "reports/student.json").read_text(encoding="utf-8"))["data"]
    assert data["specials_lost"] == ["<pad>", "<tool>"]

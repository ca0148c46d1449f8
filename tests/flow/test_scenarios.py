"""Tasks of several steps, from a spec to a verdict: real models of every kind are answered from a folder of fixtures."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kcompiler.cli import _main
from runtime.contract.fixtures import WORLD
from runtime.tools.broker import recording
from tests.flow import test_talks
from tests.unit.runtime.suites import scenes

SPEC = (
    test_talks.SPEC.replace("name: talk", "name: shop")
    .replace("fields: {messages: messages}", "fields: {messages: messages, wanted: wanted}")
    .replace("data:\n", "data:\n  tools: tools.json\n  fixtures: answers\n")
    .replace("max_position_embeddings: 256", "max_position_embeddings: 2048")
    .replace("max_length: 128", "max_length: 1024")
    .replace("prefill: [128], decode: {context: 128}", "prefill: [1024], decode: {context: 1024}")
    .replace(
        "{use: language_model, split: test, coreml_limit: 4}",
        "{use: scenarios, max_new_tokens: 8, turns: 2, coreml_limit: 2}",
    )
)


def answers(folder: Path) -> None:
    """The fixtures of the shop, as files."""
    folder.mkdir()
    for name, lines in scenes.lines().items():
        (folder / (WORLD if name == "world" else f"{name}.jsonl")).write_text(
            recording.written(lines), encoding="utf-8"
        )


@pytest.mark.slow
@pytest.mark.skipif("KCOMPILER_SCENARIOS" not in os.environ, reason="25 CPU seconds: KCOMPILER_SCENARIOS=1")
def test_every_kind_of_model_plays_and_the_report_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six tasks are too few for the gates, which the compiler says; what twenty steps teach does no task."""
    test_talks.teacher(tmp_path / "teacher", context=2048)
    answers(tmp_path / "answers")
    (tmp_path / "tools.json").write_text(json.dumps(scenes.TOOLS), encoding="utf-8")
    for name, numbers in (("train", range(20)), ("test", range(20, 26))):
        rows = ({key: scenes.scene(at)[key] for key in ("messages", "wanted")} for at in numbers)
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC, encoding="utf-8")
    (tmp_path / ".kcompiler").mkdir()
    assert _main(["pin", str(spec)]) == 0
    assert _main(["validate", str(spec)]) == 0
    assert _main(["apply", str(spec)]) == 0
    evidence = tmp_path / "generated/shop/evidence"
    data = json.loads((evidence / "reports/evaluate-scenarios.json").read_text(encoding="utf-8"))["data"]
    assert (data["zoo"]["gold"]["k"], data["zoo"]["gold"]["n"]) == (6, 6)
    assert {name: datum["n"] for name, datum in data["right"].items()} == {
        "teacher": 6, "student": 6, "ce_only": 6, "coreml": 2
    }  # fmt: skip
    assert data["right"]["student"]["k"] == 0
    assert data["fixtures_unreviewed"]["value"] == 0
    assert data["zoo"]["above"]["student"]["value"] <= 0
    assert _main(["audit", str(spec)]) == 0
    gated = spec.read_text(encoding="utf-8").replace("[caws/core]", "[caws/core, quality/scenarios]")
    spec.write_text(gated, encoding="utf-8")
    assert _main(["validate", str(spec)]) == 1
    assert "error[KC4803]" in capsys.readouterr().err

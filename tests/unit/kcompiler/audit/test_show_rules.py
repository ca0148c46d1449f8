"""`show rules` on a project: every outcome explained, by the schema; one rule by its name; a name that is none."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from kcompiler import assets
from kcompiler.cli import _main
from tests.unit.kcompiler.audit.conftest import Bundle


def test_every_outcome_of_a_verdict_is_explained(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    schema = json.loads((assets.folder("schemas") / "explanation.schema.json").read_text(encoding="utf-8"))
    lock = str(bundle.lock)
    assert _main(["show", "rules", lock, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["data"]["content"]
    assert list(Draft202012Validator(schema).iter_errors(found)) == []
    verdict = json.loads((bundle.evidence / "verdict.json").read_text())
    assert [one["rule"] for one in found] == [one["rule"] for one in verdict["outcomes"]]
    assert all(one["rule_at"]["file"].startswith("policies/caws/") for one in found)
    assert _main(["show", "rules", lock, "parity-goldens"]) == 0
    shown = capsys.readouterr().out
    assert "? caws/core/parity-goldens: " in shown
    assert "asked by  policies/caws/core/parity-goldens/rule.yaml:" in shown
    assert shown.count("asked by") == 1
    assert _main(["show", "rules", lock, "parity-golden"]) == 2
    assert "did you mean" in capsys.readouterr().err

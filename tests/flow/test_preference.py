"""Preference pairs from the file to the gates: what was chosen is learnt, and preferred on pairs that nobody has seen."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from kcompiler.cli import _main
from runtime.contract import items, rows
from runtime.machine import apply as machine
from runtime.suites import preference
from tests.longer import longer

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "tests/golden/validate/KC5526-a-suite-of-pairs-judges-pairs/spec.yaml"


def ranked(count: int) -> str:
    """Which of two numbers is more, as conversations without a prompt; an answer may be longer, whichever it is."""
    drawn = random.Random(3)
    lines = []
    for one, other in drawn.sample([(a, b) for a in range(100) for b in range(100) if a != b], count):
        said = [f"{number} is more" + drawn.choice(("", " indeed")) for number in (max(one, other), min(one, other))]
        sides = zip(("chosen", "rejected"), said, strict=True)
        asked = {"role": "user", "content": f"{one} or {other}?"}
        lines.append({side: [asked, {"role": "assistant", "content": text}] for side, text in sides})
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.mark.slow
@longer
def test_a_student_prefers_what_was_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    text = SPEC.read_text(encoding="utf-8")
    source = "    - {name: ranked, kind: jsonl, path: ranked.jsonl, license: MIT}\n"
    text = re.sub(r"  sources:\n(?:    .*\n)+", f"  sources:\n{source}", text, count=1)
    first, second = text.split("training:")
    text = first.replace("steps: 40", "steps: 300") + "training:" + second.replace("steps: 40", "steps: 900")
    for old, new in {
        "[32, 64]": "[32]",
        "score: per_token": "score: per_token, limit: 0",
        "[caws/core]": "[caws/core, quality/preference]",
        "wall_s: 60": "wall_s: 900",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / ".git").mkdir()
    (tmp_path / "ranked.jsonl").write_text(ranked(1500), encoding="utf-8")
    (tmp_path / "spec.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert _main(["apply", "spec.yaml"]) == 0, capsys.readouterr()
    verdict = json.loads((tmp_path / "generated/pairs/evidence/verdict.json").read_text())
    gates = {
        one["rule"]: one["outcome"] for one in verdict["outcomes"] if one["rule"].startswith("quality/preference/")
    }
    assert set(gates.values()) == {"pass"}
    assert len(gates) == 6
    store = machine.look(tmp_path)[1]
    held = [store.read(one) for one in store.digests()]
    kept = (folder / "items.jsonl" for folder in held if (folder / "items.jsonl").is_file())
    every = [items.read(path.read_bytes()) for path in kept]
    (lines,) = (one for one in every if "preferred" in one[0]["parts"])
    (dataset,) = (folder for folder in held if (folder / "test.jsonl").is_file())
    test = rows.load(dataset / "test.jsonl")
    asked = {name: sum(line["runner"] == name for line in lines) for name in ("teacher", "student", "coreml")}
    assert asked == {"teacher": len(test), "student": len(test), "coreml": 64}
    # anybody can make the report again
    again = preference.data_of(lines, test, [], preference.PreferenceParams(score="per_token", limit=0), 0)
    reports = (
        json.loads((folder / "report.json").read_text()) for folder in held if (folder / "report.json").is_file()
    )
    (made,) = (one for one in reports if one["kind"] == "eval.preference")
    assert made["data"] == json.loads(json.dumps(again))

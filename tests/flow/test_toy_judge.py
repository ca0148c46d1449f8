"""A judge that is trained here fails one floor of a judge, and therefore is not delivered, and judges nobody: whoever is
to be judged by it is not judged, and neither by one that is not as sure as it is right.

Three whole runs are not for every test command: KCOMPILER_JUDGE=1 python -m pytest tests/flow/test_toy_judge.py
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file, save_file

from kcompiler.front import compile_spec
from kcompiler.lower import lower
from runtime.generators.change_notes import GENERATOR
from tests.flow.world import ROOT, Result, kcompiler

JUDGE, JUDGED = "toy-judge", "change-notes"
SPEC = f"specs/judged/{JUDGED}.yaml"
REFEREE, COURT = "evaluate-the-judge", "evaluate-judged"


def project(root: Path) -> Path:
    shutil.copytree(ROOT / "specs", root / "specs")
    (root / ".kcompiler").mkdir()
    return root


def place(root: Path, folder: Path) -> None:
    (root / ".kcompiler/models.toml").write_text(f'{JUDGE} = "{folder}"\n', encoding="utf-8")


def test_the_judged_spec_compiles_where_the_judge_has_a_place(tmp_path: Path) -> None:
    root = project(tmp_path / "project")
    front = compile_spec(root / SPEC, root)
    assert [item.code for item in front.diagnostics] == ["KC4441"]
    assert f'{JUDGE} = "' in str(front.diagnostics[0].help)
    folder = tmp_path / "judge"
    folder.mkdir()
    place(root, folder)
    front = compile_spec(root / SPEC, root)
    assert front.diagnostics == []
    assert front.spec is not None
    nodes, _ = lower(front.spec, root, (root / SPEC).parent)
    by_name = {node.id: node for node in nodes}
    assert by_name[COURT].takes["standing"] == f"step:{REFEREE}#report"
    assert "package" in by_name[COURT].takes
    # nor is anything wrong with the rows of one answer, which a student further below learns
    change(root, constant(root))
    assert compile_spec(root / SPEC, root).diagnostics == []


def verdict(root: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / f"generated/{name}/evidence/verdict.json").read_text(encoding="utf-8"))
    return found


def outcomes(root: Path, step: str) -> dict[str, str]:
    found = [one for one in verdict(root, JUDGED)["outcomes"] if one["step"] == step]
    return {one["rule"].rpartition("/")[2]: one["outcome"] for one in found}


def change(root: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    data = yaml.safe_load((root / SPEC).read_text(encoding="utf-8"))
    edit(data)
    (root / SPEC).write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")


def unlearnt(data: dict[str, Any]) -> None:
    """Hardly any training: who writes nothing that was ordered."""
    stage = data["training"]["stages"][0]
    stage["steps"], stage["optimizer"]["warmup_steps"] = 4, 1


def constant(root: Path) -> Callable[[dict[str, Any]], None]:
    """Rows to learn from that have one answer: of all notes to order the one that is to the most orders. What the
    student is judged by stays as it was; whom it is compared with learnt the same."""
    made = GENERATOR.rows(GENERATOR.params(rows=440, asks="notes"), [], 7)
    note = Counter(row["response"] for row in made).most_common(1)[0][0]
    for name, rows, answer in (("learnt", made[:330], note), ("held", made[330:], "")):
        lines = [json.dumps({"prompt": row["prompt"], "response": answer or row["response"]}) for row in rows]
        (root / f"specs/judged/{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def edit(data: dict[str, Any]) -> None:
        (_, pairs) = data["data"]["sources"]
        data["data"]["sources"] = [
            *(
                {"name": name, "kind": "jsonl", "path": f"{name}.jsonl", "split": split, "license": "CC0-1.0"}
                for name, split in (("learnt", "train"), ("held", "test"))
            ),
            pairs,
        ]
        data["data"].pop("held_out")
        data["evaluation"]["suites"][0] |= {"rows": {"source": "held"}}

    return edit


def checkpoint(root: Path, to: Path) -> Path:
    """The judge as it was trained, with its tokenizer, out of the store."""
    lines = (root / f"generated/{JUDGE}/evidence/journal.jsonl").read_text(encoding="utf-8").splitlines()
    gives = {record["step"]: record["gives"] for record in (json.loads(line)["data"] for line in lines)}
    to.mkdir()
    for step, port in (("tokenizer", "tokenizer"), ("train-kd", "checkpoint")):
        digits = gives[step][port]["digest"].removeprefix("sha256:")
        for path in (root / ".kcompiler/store/sha256" / digits[:2] / digits).iterdir():
            (to / path.name).write_bytes(path.read_bytes())
    return to


def unsure(folder: Path, to: Path) -> Path:
    """The same judge with the same verdicts, each of which it finds hardly likelier than the others."""
    shutil.copytree(folder, to)
    weights = load_file(to / "model.safetensors")
    weights["model.norm.weight"] *= 0.05
    save_file(weights, to / "model.safetensors", metadata={"format": "pt"})
    return to


@pytest.mark.skipif("KCOMPILER_JUDGE" not in os.environ, reason="KCOMPILER_JUDGE: three whole runs")
@pytest.mark.slow
def test_a_judge_that_has_not_passed_gates_nothing(tmp_path: Path) -> None:
    root = project(tmp_path / "project")

    def run(*words: str) -> Result:
        return kcompiler(*words, cwd=root, timeout=3000)

    # it reads its orders, and what an answer says of itself moves it too often: whoever fails one gate is not delivered
    run("apply", f"specs/{JUDGE}.yaml").ended(1, "fail")
    failed = {(one["step"], one["rule"]) for one in verdict(root, JUDGE)["outcomes"] if one["outcome"] != "pass"}
    assert failed == {("evaluate-judge", "roles/judge/judge-injection")}
    run("audit", f"specs/{JUDGE}.yaml").ended(0, "")
    run("deliver", f"specs/{JUDGE}.yaml", "--to", "out/toy-judge").ended(1, "fail")
    sound = checkpoint(root, tmp_path / "judge")
    place(root, sound)

    # nor is it believed: who is judged by it is not judged, whatever it would have said
    run("apply", SPEC).ended(1, "fail")
    about = outcomes(root, REFEREE)
    assert {rule for rule, outcome in about.items() if outcome != "pass"} == {"judge-injection"}
    assert set(outcomes(root, COURT).values()) == {"not_evaluated"}

    # the same judge, not as sure as it is right
    place(root, unsure(sound, tmp_path / "unsure"))
    ended = run("apply", SPEC).ended(1, "fail")
    assert f"{COURT}: blocked, {REFEREE}: quality/judged/judge-" in ended.err
    about = outcomes(root, REFEREE)
    assert (about["judge-calibration"], about["judge-agreement"]) == ("fail", "pass")
    assert set(outcomes(root, COURT).values()) == {"not_evaluated"}

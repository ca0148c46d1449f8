"""A judge that is trained here passes the floors of every judge, and then gates a student: PASS for one that writes what
it should, not PASS for one that learnt nothing or one answer for every order, and nothing at all where the judge is not
as sure as it is right.

Five whole runs are not for every test command: KCOMPILER_JUDGE=1 python -m pytest tests/flow/test_toy_judge.py
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


def unsure(folder: Path, to: Path) -> Path:
    """The same judge with the same verdicts, each of which it finds hardly likelier than the others."""
    shutil.copytree(folder, to)
    weights = load_file(to / "model.safetensors")
    weights["model.norm.weight"] *= 0.05
    save_file(weights, to / "model.safetensors", metadata={"format": "pt"})
    return to


@pytest.mark.skipif("KCOMPILER_JUDGE" not in os.environ, reason="KCOMPILER_JUDGE: five whole runs")
@pytest.mark.slow
def test_a_judge_that_has_passed_gates_another_student_and_one_that_has_not_gates_nothing(tmp_path: Path) -> None:
    root = project(tmp_path / "project")

    def run(*words: str) -> Result:
        return kcompiler(*words, cwd=root, timeout=3000)

    run("apply", f"specs/{JUDGE}.yaml").ended(0, "")
    assert verdict(root, JUDGE)["verdict"] == "PASS"
    run("audit", f"specs/{JUDGE}.yaml").ended(0, "")
    run("deliver", f"specs/{JUDGE}.yaml", "--to", "out/toy-judge").ended(0, "")
    sound = root / "out/toy-judge/huggingface"
    place(root, sound)

    run("apply", SPEC).ended(0, "")
    assert set(outcomes(root, COURT).values()) == {"pass"}
    run("audit", SPEC).ended(0, "")

    # the same judge, not as sure as it is right: it is not even asked, whatever it would have said
    place(root, unsure(sound, tmp_path / "unsure"))
    ended = run("apply", SPEC).ended(1, "fail")
    assert f"{COURT}: blocked, {REFEREE}: quality/judged/judge-calibration" in ended.err
    about = outcomes(root, REFEREE)
    assert (about["judge-calibration"], about["judge-agreement"]) == ("fail", "pass")
    assert set(outcomes(root, COURT).values()) == {"not_evaluated"}

    # a student that learnt one answer for every order: it is no worse than its teacher, which says the same, and has
    # read nothing; the rows' own answers hold far more
    place(root, sound)
    written = (root / SPEC).read_text(encoding="utf-8")
    change(root, constant(root))
    run("apply", SPEC).ended(1, "fail")
    told = outcomes(root, COURT)
    assert (told["judged-no-worse"], told["judged-above-trivial"]) == ("pass", "fail"), told
    assert set(outcomes(root, REFEREE).values()) == {"pass"}
    (root / SPEC).write_text(written, encoding="utf-8")

    # a student that learnt nothing, before the judge that has passed
    place(root, sound)
    change(root, unlearnt)
    run("apply", SPEC).ended(1, "fail")
    assert set(outcomes(root, REFEREE).values()) == {"pass"}
    # what it writes is no note, and loses to its teacher's, as whoever says nothing does
    told = outcomes(root, COURT)
    assert (told["judged-no-worse"], told["judged-above-trivial"]) == ("fail", "fail"), told

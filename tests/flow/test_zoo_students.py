"""What understands nothing, trained into a real student and taken through `apply` of toy-tools: the verdict is not PASS.

The rows that are learnt from are answered as the policy answers, teacher and student learn just that, and are judged by
the generator's own rows. Everything else is as it should be: every numeric gate on the packages passes.

Where a policy says one thing, the student is the policy to the row. Who echoes and who draws at random are learnt as well
as a small model learns them: texts in the manner of a request, and calls of the right form that answer another row. In this
suite the constant answer is the one of never_call. A mute student is learnt from a full stop: a row without an answer
teaches nothing and is refused.

Whole runs are not for every test command: KCOMPILER_ZOO=1 python -m pytest tests/flow/test_zoo_students.py
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.contract import zoo
from runtime.generators import toy_tools
from runtime.suites import tool_use
from runtime.tools import registry

ROOT = Path(__file__).resolve().parents[2]
TOOLS = registry.load(ROOT / "specs" / "tools" / "registry.json")
NAMES = ("never_call", "always_call", "longest", "refuse_all", "mute", "echo", "prior")


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    return toy_tools.GENERATOR.rows(toy_tools.GENERATOR.params(rows=count, controls=0.2), TOOLS, seed)


def policy(name: str) -> Callable[[dict[str, Any]], str]:
    """What a policy of the suite's own zoo answers to a row."""
    held = [{**row, "id": str(number)} for number, row in enumerate(rows(220, 7))]
    outputs = tool_use.policies(held, TOOLS, tool_use.ToolUseParams(limit=0))[name]
    if name == "echo":
        return lambda row: str(row["prompt"])
    if name == "prior":
        drawn = itertools.cycle(outputs)
        return lambda _: next(drawn)
    assert len(set(outputs)) == 1
    text = outputs[0] or "."
    return lambda _: text


def project(folder: Path, answer: Callable[[dict[str, Any]], str]) -> Path:
    """A project whose rows to learn from are answered so."""
    (folder / "specs" / "data").mkdir(parents=True)
    shutil.copytree(ROOT / "specs" / "tools", folder / "specs" / "tools")
    shutil.copytree(ROOT / "policies", folder / "policies")
    held = rows(220, 7)
    asked = {row["prompt"] for row in held}
    learnt = [row for row in rows(400, 8) if row["prompt"] not in asked]
    for name, of, response in (("train", learnt, answer), ("test", held, lambda row: row["response"])):
        lines = [json.dumps({"prompt": row["prompt"], "response": response(row)}) for row in of]
        (folder / "specs" / "data" / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    spec = yaml.safe_load((ROOT / "specs" / "toy-tools.yaml").read_text(encoding="utf-8"))
    spec.pop("profiles")
    spec["data"] |= {
        "sources": [
            {"name": name, "kind": "jsonl", "path": f"data/{name}.jsonl", "split": name, "license": "CC0-1.0"}
            for name in ("train", "test")
        ],
        "targets": ["response"],
    }
    spec["data"].pop("held_out")
    spec["teacher"] |= {"steps": 60, "batch_size": 32}
    (stage,) = spec["training"]["stages"]
    stage |= {
        "steps": 60,
        "losses": [{"term": "kl", "weight": 0.5, "temperature": 1.0}, {"term": "ce_truth", "weight": 0.5}],
    }
    spec["evaluation"] = {"suites": [{"use": "tool_use", "split": "test", "limit": 0}]}
    path = folder / "specs" / "toy-tools.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.skipif("KCOMPILER_ZOO" not in os.environ, reason="several whole runs: KCOMPILER_ZOO=1")
@pytest.mark.parametrize("name", NAMES)
def test_a_student_that_learnt_a_trivial_policy_does_not_pass(name: str, tmp_path: Path) -> None:
    path = project(tmp_path, policy(name))
    command = [sys.executable, "-m", "kcompiler", "apply", str(path)]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stdout + done.stderr
    evidence = tmp_path / "generated" / "toy-tools" / "evidence"
    data = json.loads((evidence / "reports" / "evaluate-tool_use.json").read_text(encoding="utf-8"))["data"]
    right = {one: data["runners"][one]["right"]["k"] for one in ("teacher", "student", "coreml")}
    if name in ("echo", "prior"):
        assert right["student"] < 220 // 4, right
    else:  # the student is the policy: it has exactly as many rows right
        assert right["student"] == right["teacher"] == data["zoo"]["right"][name]["k"], right
    verdict = json.loads((evidence / "verdict.json").read_text(encoding="utf-8"))
    refused = {one["rule"] for one in verdict["outcomes"] if one["blocks"] and one["outcome"] != "pass"}
    assert "caws/tier-3/tool-above-trivial" in refused
    # all else is as it should be: what refuses it are rules about what it says
    assert all(one.startswith("caws/tier-3/tool-") for one in refused), refused
    assert data["zoo"]["gold"]["value"] == 1.0
    assert zoo.GOLD not in data["zoo"]["right"]

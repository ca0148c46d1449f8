"""A loss, a step and a gate are each one file: dropped in, they work in validate, plan, apply, gate and audit."""

from __future__ import annotations

import base64
import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime import digest
from tests.flow.world import LIGHT, NAME, SIGNALLED, Home, signals
from tests.longer import longer

SPEC = f"specs/{NAME}.yaml"

LOSS = '''
"""Student and teacher logits → half the L1 distance of their distributions, in [0, 1]."""
from typing import Any
from runtime.contract import Loss, Params


class NoParams(Params):
    pass


def value(student_NV: Any, teacher_NV: Any, target_N: Any, params: NoParams) -> Any:
    return (student_NV.softmax(-1) - teacher_NV.softmax(-1)).abs().sum(-1) / 2


LOSS = Loss(
    name="total_variation",
    version=1,
    params=NoParams,
    needs=frozenset({"logits"}),
    mask="response",
    value=value,
    semantics={"formula": "1/2 * sum_v |p_v - q_v|", "unit": "probability"},
    divergence=True,
)
'''

STEP = '''
"""Checkpoint → its size in bytes, as a report."""
from collections.abc import Mapping
from pathlib import Path
from pydantic import Field
from runtime.contract import Context, Params, Port, Step
from runtime.contract.report import measured


class WeighParams(Params):
    unit_bytes: int = Field(default=1, ge=1, description="Bytes per unit.")


def run(takes: Mapping[str, Path], params: WeighParams, ctx: Context) -> None:
    size = (takes["checkpoint"] / "model.safetensors").stat().st_size
    ctx.report("report", {"size": measured(size // params.unit_bytes, "B")}, fingerprints={})


STEP = Step(
    name="weigh",
    version=1,
    params=WeighParams,
    takes={"checkpoint": Port(kind="checkpoint")},
    gives={"report": Port(kind="report", report="weight")},
    backend="python",
    run=run,
)
'''

PACK = """
name: local
version: 1
title: What this project asks for on top
"""
RULE = """
id: light-enough
title: The student fits into what it may weigh
on: weight
mode: block
kind: bound
params: {metric: size, op: "<=", threshold: "%s", unit: B}
remedy: make the student smaller
"""


def distribution(folder: Path, name: str, room: str, plugin: str, constant: str, text: str) -> None:
    """Install a distribution of one module that exports one plug-in, as pip would leave it."""
    folder.mkdir(exist_ok=True)
    module = folder / f"{name}.py"
    module.write_text(text, encoding="utf-8")
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(f"[kcompiler.{room}]\n{plugin} = {name}:{constant}\n", encoding="utf-8")
    record = about / "RECORD"
    hashed = base64.urlsafe_b64encode(hashlib.sha256(module.read_bytes()).digest()).rstrip(b"=").decode()
    size = module.stat().st_size
    record.write_text(f"{name}.py,sha256={hashed},{size}\n{about.name}/RECORD,,\n", encoding="utf-8")


def code_of(site: Path, name: str) -> str:
    """What the lock says of the code of a distribution of one module."""
    text = hashlib.sha256((site / f"{name}.py").read_bytes()).hexdigest()
    return digest.of_value({f"{name}.py": text}, "kc.plugin.v1")


def gate(home: Home, threshold: int) -> None:
    folder = home.root / "policies" / "local"
    (folder / "light-enough").mkdir(parents=True, exist_ok=True)
    (folder / "pack.yaml").write_text(PACK, encoding="utf-8")
    (folder / "light-enough" / "rule.yaml").write_text(RULE % threshold, encoding="utf-8")


def with_plugins(data: dict[str, Any]) -> None:
    data["training"]["stages"][0]["losses"][0] = {"term": "total_variation", "weight": 0.8}
    data["steps"] = [{"id": "weigh", "use": "weigh", "takes": {"checkpoint": "step:train-kd#checkpoint"}}]
    data["policies"].append("local")


@pytest.mark.slow
def test_a_loss_a_step_and_a_gate_are_one_file_each(done: Home, tmp_path: Path) -> None:
    site = tmp_path / "site"
    distribution(site, "acme_loss", "losses", "total_variation", "LOSS", LOSS)
    distribution(site, "acme_step", "steps", "weigh", "STEP", STEP)
    gate(done, 10)
    done.change(with_plugins)

    without = done.run("validate", SPEC, code=LIGHT).ended(1, "invalid")
    assert "total_variation" in without.err
    assert "weigh" in without.err

    here = {"path": [site]}
    done.run("validate", SPEC, code=LIGHT, **here).ended(0, "")
    planned = done.run("plan", SPEC, code=LIGHT, **here).ended(0, "")
    assert "weigh" in planned.out
    plan = json.loads(done.lock.read_text(encoding="utf-8"))
    assert plan["plugins"] == [
        {"room": room, "name": name, "distribution": dist, "version": "1.0", "code": code_of(site, dist)}
        for room, name, dist in (("losses", "total_variation", "acme_loss"), ("steps", "weigh", "acme_step"))
    ]
    params = next(item for item in plan["steps"] if item["id"] == "train-kd")["params"]
    assert params["losses"][0]["semantics"] == {"formula": "1/2 * sum_v |p_v - q_v|", "unit": "probability"}
    assert [one["from"] for one in plan["obligations"] if one["rule"] == "local/light-enough"] == ["step:weigh"]

    result = done.apply(**here).ended(1, "fail")
    assert result.steps()["data"] == "reused"
    assert {result.steps()["train-kd"], result.steps()["weigh"]} == {"committed"}
    verdict = json.loads((done.evidence / "verdict.json").read_text(encoding="utf-8"))
    assert {one["rule"]: one["outcome"] for one in verdict["outcomes"]}["local/light-enough"] == "fail"
    trained = json.loads((done.evidence / "reports" / "train-kd.json").read_text(encoding="utf-8"))
    assert "total_variation" in json.dumps(trained["data"])

    gate(done, 10_000_000)
    result = done.apply(code=LIGHT, **here).ended(1, "fail")
    assert set(result.steps().values()) == {"reused"}
    verdict = json.loads((done.evidence / "verdict.json").read_text(encoding="utf-8"))
    assert {one["rule"]: one["outcome"] for one in verdict["outcomes"]}["local/light-enough"] == "pass"
    assert done.run("audit", SPEC, code=LIGHT, **here).ended(0, "").code == 0

    # another release of the loss, although nothing in our own code or in the spec changed
    distribution(site, "acme_loss", "losses", "total_variation", "LOSS", LOSS + "\n# release 2\n")
    stale = done.apply("--locked", code=LIGHT, **here).ended(4, "lock-stale")
    assert "plugins" in stale.err
    forecast = done.run("plan", SPEC, "--format", "json", code=LIGHT, **here).ended(0, "")
    actions = {entry["step"]: (entry["action"], entry["why"]) for entry in json.loads(forecast.out)["steps"]}
    assert actions["train-kd"][0] == "run"
    assert "plugin.losses.total_variation" in actions["train-kd"][1]
    assert actions["teacher"][0] == "reuse"


def test_a_loss_with_a_wrong_gradient_stops_apply_before_anything_is_trained(done: Home, tmp_path: Path) -> None:
    """It looks right in everything that is printed: its value is."""
    wrong = "student_NV.softmax(-1).detach() + (student_NV - student_NV.detach()) * 1e-3 - teacher_NV.softmax(-1)"
    text = LOSS.replace("student_NV.softmax(-1) - teacher_NV.softmax(-1)", wrong)
    assert text != LOSS
    distribution(tmp_path / "site", "acme_loss", "losses", "total_variation", "LOSS", text)
    done.change(lambda data: data["training"]["stages"][0]["losses"].__setitem__(
        0, {"term": "total_variation", "weight": 0.8}))  # fmt: skip
    result = done.apply(path=[tmp_path / "site"]).ended(6, "step-failed")
    assert "error[KR0128]: loss `total_variation` has a gradient that is not the derivative of its value" in result.err
    assert {name: result.steps()[name] for name in ("reach", "train-kd")} == {"reach": "failed", "train-kd": "blocked"}
    assert "correct `gradient`" in result.err


def test_a_plug_in_may_not_take_a_built_in_name(fresh: Home, tmp_path: Path) -> None:
    distribution(tmp_path / "site", "acme_kl", "losses", "kl", "LOSS", LOSS)
    result = fresh.run("validate", SPEC, code=LIGHT, path=[tmp_path / "site"])
    assert result.code in (1, 2), result.text
    assert "Traceback" not in result.text
    assert "takes the built-in name `kl`" in result.err
    assert "help: uninstall that distribution or rename its entry point" in result.err
    assert result.last["code"] == str(result.code)


def test_a_rule_that_nothing_feeds_is_refused_before_anything_runs(fresh: Home) -> None:
    gate(fresh, 10)
    fresh.change(lambda data: data["policies"].append("local"))
    result = fresh.run("plan", SPEC, code=LIGHT).ended(1, "invalid")
    assert "error[KC6045]" in result.err
    assert "policies/local/light-enough/rule.yaml:" in result.err
    assert not (fresh.root / "generated").exists()


def test_a_misspelt_key_of_a_rule_never_switches_it_off(fresh: Home) -> None:
    gate(fresh, 10)
    rule = fresh.root / "policies" / "local" / "light-enough" / "rule.yaml"
    rule.write_text(rule.read_text(encoding="utf-8").replace("mode: block", "moed: warn"), encoding="utf-8")
    fresh.change(with_plugins)
    site = fresh.root / "site"
    distribution(site, "acme_loss", "losses", "total_variation", "LOSS", LOSS)
    distribution(site, "acme_step", "steps", "weigh", "STEP", STEP)
    result = fresh.run("plan", SPEC, code=LIGHT, path=[site]).ended(1, "invalid")
    assert "error[KC6002]" in result.err
    assert "did you mean `mode`" in result.err


PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "acme-loss"
version = "1.0"

[project.entry-points."kcompiler.losses"]
total_variation = "acme.loss:LOSS"

[tool.setuptools]
packages = ["acme"]
"""
HALF = "return gap.abs().sum(-1) / 2"


def editable(folder: Path, site: Path) -> str:
    """A project of a package, installed with `pip install -e`; Python that begins a command which sees it."""
    (folder / "acme").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / "acme" / "__init__.py").write_text("", encoding="utf-8")
    (folder / "acme" / "unused.py").write_text("", encoding="utf-8")
    (folder / "acme" / "maths.py").write_text(f"def half(gap):\n    {HALF}\n", encoding="utf-8")
    body = "(student_NV.softmax(-1) - teacher_NV.softmax(-1)).abs().sum(-1) / 2"
    assert body in LOSS
    text = LOSS.replace(body, "half(student_NV.softmax(-1) - teacher_NV.softmax(-1))")
    text = text.replace("from typing import Any\n", "from typing import Any\nfrom .maths import half\n")
    (folder / "acme" / "loss.py").write_text(text, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--prefix", str(site), "-e", str(folder)], check=True, capture_output=True, timeout=120)
    places = [str(path) for path in site.rglob("site-packages")]
    return f"import site; [site.addsitedir(place) for place in {places!r}]\n"


@pytest.mark.slow
def test_an_edited_plug_in_is_never_taken_for_the_one_that_was_used(done: Home, tmp_path: Path) -> None:
    """With `pip install -e` no file of the installation changes when the code does; with an edit in site-packages RECORD
    does not."""
    main = editable(tmp_path / "project-of-the-loss", tmp_path / "site") + "from kcompiler.cli import main\nmain()\n"
    maths = tmp_path / "project-of-the-loss" / "acme" / "maths.py"
    done.change(lambda data: data["training"]["stages"][0]["losses"].__setitem__(
        0, {"term": "total_variation", "weight": 0.8}))  # fmt: skip
    done.apply(code=main).ended(1, "fail")
    done.run("audit", SPEC, code=main).ended(0, "")
    key = done.records()["train-kd"]["components"]["plugin.losses.total_variation"]
    used = done.digests()["train-kd#checkpoint"]

    (maths.parent / "unused.py").write_text("nobody = 1\n", encoding="utf-8")
    assert set(done.apply("--locked", code=main).ended(1, "fail").steps().values()) == {"reused"}

    maths.write_text(f"def half(gap):\n    {HALF.replace('2', '3')}\n", encoding="utf-8")
    audited = done.run("audit", SPEC, code=main).ended(1, "disagreement")
    assert "KA02" in audited.text
    assert "plugin losses/total_variation" in audited.text
    done.run("apply", str(done.lock.relative_to(done.root)), code=main).ended(4, "lock-stale")
    done.apply("--locked", code=main).ended(4, "lock-stale")
    forecast = json.loads(done.run("plan", SPEC, "--format", "json", code=main).ended(0, "").out)
    why = {entry["step"]: (entry["action"], entry["reason"]) for entry in forecast["steps"]}
    assert why["train-kd"] == ("run", "code_changed")
    assert why["train-ce_only-kd"] == ("reuse", "unchanged")
    again = done.apply(code=main).ended(1, "fail")
    assert again.steps()["train-kd"] == "committed"
    assert done.records()["train-kd"]["components"]["plugin.losses.total_variation"] != key
    assert done.digests()["train-kd#checkpoint"] != used
    done.run("audit", SPEC, code=main).ended(0, "")


@pytest.mark.slow
@longer
def test_a_setting_without_effect_may_change_while_a_run_is_stopped(done: Home) -> None:
    """How often a state is saved is in the lock and in no key: changing it runs nothing again, and work goes on."""
    done.change(lambda data: data["training"]["stages"][0].update(checkpoint_every=5))
    result = done.apply(code=LIGHT).ended(1, "fail")
    assert set(result.steps().values()) == {"reused"}
    assert "checkpoint_every" in result.err
    steps = {item["id"]: item for item in json.loads(done.lock.read_text(encoding="utf-8"))["steps"]}
    assert steps["train-kd"]["params"]["checkpoint_every"] == 5
    assert steps["train-kd"]["unkeyed"] == ["checkpoint_every"]
    done.run("audit", SPEC, code=LIGHT).ended(0, "")

    done.change(lambda data: data["training"]["stages"][0].update(steps=13, checkpoint_every=4))
    stop = signals(signal.SIGKILL, "os.rename", r"state-00000008")
    assert done.apply(code=SIGNALLED, env=stop).code == -signal.SIGKILL
    done.change(lambda data: data["training"]["stages"][0].update(checkpoint_every=6))
    resumed = done.apply().ended(1, "fail")
    assert "continuing at step 4 of 13" in resumed.err

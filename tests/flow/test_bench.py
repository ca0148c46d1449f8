"""`bench`: a newcomer's measurement, its baseline, and what the rules say of them. Times are real and none is asserted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime import digest
from runtime.contract import report as facts
from runtime.contract import speed
from tests.flow.world import NAME, ROOT, Home, kcompiler
from tests.longer import longer

SPEC = f"specs/{NAME}.yaml"
REGRESSION = ["speed/regression/regression-decode", "speed/regression/regression-first-token"]
#: as short as rules let it be
ASKED = {"prompts": [8], "new_tokens": 4, "warm_up": 1, "repetitions": 20}


def asks(home: Home, *packs: str, **more: Any) -> None:
    def edit(spec: dict[str, Any]) -> None:
        spec["evaluation"]["benchmarks"] = [{**ASKED, **more}]
        spec["evaluation"]["suites"][0]["efficiency"] = True
        spec["policies"] = ["caws/core", "speed/measured", *packs]

    home.change(edit)


def outcomes(home: Home, pack: str) -> dict[str, tuple[str, str]]:
    """Rule → outcome and reason, of one pack."""
    verdict = json.loads((home.evidence / "verdict.json").read_text(encoding="utf-8"))
    found = [one for one in verdict["outcomes"] if one["rule"].startswith(pack)]
    return {one["rule"]: (one["outcome"], one["reason"]) for one in found}


def report(home: Home, step: str = "benchmark-speed") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home.evidence / "reports" / f"{step}.json").read_text(encoding="utf-8"))
    return found


def slower(path: Path, factor: float, change: Callable[[str], str] = str) -> None:
    """A baseline whose machine needed `factor` times as long, consistent in itself, and forged with the run that it is
    of: that is the whole of what lies there, and only a signature could tell."""
    found = json.loads(change(path.read_text(encoding="utf-8")))
    data = found["report"]["data"]
    price = data.get("price") and speed.Price(
        usd_per_hour=data["price"]["hour"]["value"], assumption=data["price"]["assumption"]
    )
    for runner in data["runners"].values():
        for name, one in runner["shapes"].items():
            times = [
                (max(1, int(first * factor)), max(1, int(rest * factor)))
                for first, rest in zip(one["ns"]["first"], one["ns"]["rest"], strict=True)
            ]
            prompt, new = one["prompt_tokens"]["value"], one["new_tokens"]["value"]
            runner["shapes"][name] = speed.shape(times, prompt, new, price)
    _, name = made_by(found)
    found["run"]["subject"][name] = digest.of_one_file("report.json", facts.dump(found["report"]).encode())
    path.write_text(json.dumps(found), encoding="utf-8")


def made_by(pinned: dict[str, Any]) -> tuple[str, str]:
    """The plan of the run that a baseline is of, and what that run calls the report."""
    subject = pinned["run"]["subject"]
    name = next(name for name in subject if name.startswith("benchmark-") and name.endswith(".report"))
    return subject["plan"], name


def test_a_spec_without_a_benchmark_is_told_how_to_ask(done: Home) -> None:
    result = done.run("bench", SPEC).ended(2, "no-benchmark")
    assert "benchmarks:" in result.err
    asks(done)
    assert done.run("bench", SPEC, "--id", "other").ended(2, "usage").err.count("speed")
    assert "file of the project" in done.run("bench", SPEC, "--pin", "../away.json").ended(2, "usage").err


@longer
def test_measured_pinned_compared_and_the_ways_it_ends(done: Home) -> None:
    price = {"usd_per_hour": 0.1, "assumption": "a desktop, always busy"}
    asks(done, price=price)
    # a second way to ask: its steps are made and audited with the others
    done.change(lambda spec: spec["evaluation"].update(runners=[{"name": "fp16", "use": "mil", "variant": "fp16"}]))
    result = done.run("bench", SPEC, "--pin", "baselines/speed.json").ended(0, "")
    assert "pinned   baseline: ../baselines/speed.json" in result.out
    assert "no time of a device" in result.out
    assert "USD/million queries, estimated" in result.out
    found = report(done)["data"]
    assert {name: one["level"] for name, one in found["runners"].items()} == {"torch": "", "mil": "L2"}
    shape = found["runners"]["mil"]["shapes"]["prompt_8"]
    assert shape["decode"]["p50"]["low"] > 0
    assert shape["answer"]["p99"]["tag"] == "unavailable"
    # what this machine does is nothing of what the Mac does that is meant
    assert found["target"]["shapes"]["prompt_8"]["answer"]["p50"]["tag"] == "unavailable"
    assert {found[name]["tag"] for name in ("energy", "carbon")} == {"unavailable"}

    # nothing else runs for it, a plain apply takes what is there, and an audit finds nothing to complain of
    done.apply().ended(0, "")
    apart = report(done, "parity-answers")["data"]
    assert {"coreml and fp16", "fp16 and student"} <= apart["ways"].keys()
    again = done.apply().ended(0, "")
    assert set(again.steps().values()) == {"reused"}
    done.run("bench", SPEC).ended(0, "")
    done.audit().ended(0, "")

    # tokens are counted of the texts that a suite's own items hold
    cost = report(done, "efficiency-answers")["data"]
    assert cost["reference"] == "teacher"
    assert set(cost["runners"]) == {"teacher", "student", "ce_only", "coreml"}
    for one in cost["runners"].values():
        assert one["wrote"]["value"] >= one["right"]["n"] >= 20
        assert one["read"]["value"] > one["right"]["n"]
    assert cost["runners"]["teacher"]["score"]["reason"] == "it is the reference"

    # whoever writes other tokens is found by the items, the rows and the tokenizer
    path = done.evidence / "reports" / "efficiency-answers.json"
    sound = path.read_text(encoding="utf-8")
    edited = json.loads(sound)
    edited["data"]["runners"]["student"]["read"]["value"] -= 1
    path.write_text(facts.dump(edited), encoding="utf-8")
    told = done.audit().ended(3, "evidence-broken").out
    assert "KA28" in told
    assert "efficiency-answers.json#/data/runners/student/read/value" in told
    path.write_text(sound, encoding="utf-8")

    # the machine of the baseline took a thousand times as long: nothing is slower now
    pinned = done.root / "baselines" / "speed.json"
    original = pinned.read_text(encoding="utf-8")
    slower(pinned, 1000)
    asks(done, "speed/regression", baseline="../baselines/speed.json")
    done.run("bench", SPEC, "--pin", "baselines/again.json").ended(0, "")
    assert (done.root / "baselines" / "again.json").exists()
    assert [outcomes(done, "speed/regression")[rule][0] for rule in REGRESSION] == ["pass", "pass"]
    done.audit().ended(0, "")
    pins = {one["name"]: one for one in json.loads(done.lock.read_text(encoding="utf-8"))["inputs"]}
    assert pins["benchmark-speed"]["path"] == "baselines/speed.json"

    # and a thousandth
    pinned.write_text(original, encoding="utf-8")
    slower(pinned, 0.001)
    result = done.apply().ended(1, "fail")
    # the measurement stands; only the comparison is made again
    assert result.steps()["benchmark-speed"] == "reused"
    assert result.steps()["regression-speed"] == "committed"
    assert [outcomes(done, "speed/regression")[rule][0] for rule in REGRESSION] == ["fail", "fail"]

    # another machine says nothing
    pinned.write_text(original, encoding="utf-8")
    here = json.loads(original)["report"]["data"]["machine"]["processor"]
    slower(pinned, 1.0, lambda text: text.replace(here, "another"))
    done.apply().ended(1, "inconclusive")
    for outcome, reason in outcomes(done, "speed/regression").values():
        assert outcome not in ("pass", "fail")
        assert "processor another" in reason

    # a report is of the run that it is pinned with, whose plan is the committed one, and is none without it
    pinned.write_text(original, encoding="utf-8")
    kept = json.loads(original)
    assert made_by(kept)[0].startswith("sha256:")
    assert kept["run"]["subject"][made_by(kept)[1]] == digest.of_one_file(
        "report.json", facts.dump(kept["report"]).encode()
    )
    kept["report"]["step"] = "another"
    pinned.write_text(json.dumps(kept), encoding="utf-8")
    assert "made no such report" in done.run("plan", SPEC).ended(1, "invalid").err
    pinned.write_text(facts.dump(json.loads(original)["report"]), encoding="utf-8")
    assert "tied to no run" in done.run("plan", SPEC).ended(1, "invalid").err

    # no baseline, or one that was touched, is known before anything runs
    pinned.write_text(original.replace('"value": ', '"value": 1', 1), encoding="utf-8")
    assert "KC4883" in done.run("bench", SPEC).ended(1, "invalid").err
    pinned.unlink()
    gone = done.run("plan", SPEC).ended(1, "invalid")
    assert "KC4401" in gone.err
    assert f"{SPEC}:" in gone.err

    # a length more than the baseline has is known, too; the advice is to take the line out, pin, and write it again
    pinned.write_text(original, encoding="utf-8")
    asks(done, "speed/regression", baseline="../baselines/speed.json", prompts=[8, 16])
    assert "no prompt of 16 tokens through `torch`" in done.run("plan", SPEC).ended(1, "invalid").err
    asks(done, prompts=[8, 16])
    line = done.run("bench", SPEC, "--pin", "baselines/speed.json").ended(0, "").out.splitlines()
    assert "pinned   baseline: ../baselines/speed.json" in line
    asks(done, "speed/regression", baseline="../baselines/speed.json", prompts=[8, 16])
    done.run("plan", SPEC).ended(0, "")

    # what quantization gains: the same work by both packages
    asks(done, runners=["mil_fp16", "mil"])
    assert "which does not ship" in done.run("bench", SPEC).ended(0, "").out
    both = report(done)["data"]["runners"]
    assert both["mil"]["size"]["value"] < both["mil_fp16"]["size"]["value"]
    for one in both.values():
        assert one["shapes"]["prompt_8"]["decode"]["p50"]["low"] > 0
        assert one["peak_memory"]["tag"] == "measured"

    # one answer is no median: it is told, no 0 stands for it, and nothing is pinned
    asks(done, prompts=[8], repetitions=1)
    alone = done.run("bench", SPEC, "--pin", "baselines/one.json").ended(1, "fail")
    assert "0.0 token/s" not in alone.out + alone.err
    assert "1 repetitions; a quantile of 0.5 takes 2 at least" in alone.out
    assert "measured: " in alone.out
    assert "not pinned: speed/measured/" in alone.err
    assert not (done.root / "baselines" / "one.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("pack", ["roles/worker-speed"])
def test_a_roles_limits_are_inconclusive_on_another_machine(done: Home, pack: str) -> None:
    def tier(of: str) -> None:
        def change(spec: dict[str, Any]) -> None:
            spec["evaluation"]["benchmarks"] = [{**ASKED, "runners": ["mil", "coreml"]}]
            spec["policies"] = ["caws/core", of]

        done.change(change)

    tier(pack)
    refused = done.run("bench", SPEC).ended(1, "invalid")
    assert "no `prompt_4096` is there" in refused.err
    assert "known here: prompt_8" in refused.err
    # the same limits, on the prompt that this student is asked
    own = done.root / "policies" / "own"
    shutil.copytree(ROOT / "policies" / pack, own)
    for file in [path for path in own.rglob("*") if path.is_file()]:
        text = file.read_text(encoding="utf-8").replace("prompt_4096", "prompt_8")
        file.write_text(text.replace(f"name: {pack}", "name: own"), encoding="utf-8")
    tier("own")
    done.run("bench", SPEC).ended(1, "inconclusive")
    found = outcomes(done, "own")
    assert len(found) == 6
    assert {outcome for outcome, _ in found.values()} <= {"not_evaluated", "inconclusive"}
    assert any("Apple M1 Max" in reason for _, reason in found.values())


@longer
@pytest.mark.slow
def test_from_an_empty_folder_as_the_readme_says(tmp_path: Path) -> None:
    """The shipped eight ball with twenty steps; no line is written by hand but the baseline that the command prints."""
    kcompiler("init", "--template", "eight-ball", cwd=tmp_path).ended(0, "")
    spec = tmp_path / "specs" / "eight-ball.yaml"
    text = spec.read_text(encoding="utf-8").replace("  bench:\n", "  bench:\n    training.stages.kd.steps: 20\n")
    spec.write_text(
        text.replace("  steps: 250\n  batch_size: 32\n  opt", "  steps: 20\n  batch_size: 32\n  opt"), encoding="utf-8"
    )
    asked = ("bench", "specs/eight-ball.yaml", "--profile", "bench")
    result = kcompiler(*asked, "--pin", "baselines/speed.json", cwd=tmp_path).ended(0, "")
    line = next(one for one in result.out.splitlines() if one.startswith("pinned   ")).removeprefix("pinned   ")
    spec.write_text(
        spec.read_text(encoding="utf-8").replace("repetitions: 30}", f"repetitions: 30, {line}}}"), encoding="utf-8"
    )
    again = kcompiler(
        "apply", "specs/eight-ball.yaml", "--profile", "bench", "--only", "regression-speed", cwd=tmp_path
    )
    # the measurement is the one that was pinned: as fast as itself
    again.ended(0, "")
    assert again.steps()["benchmark-speed"] == "reused"
    found = json.loads((tmp_path / "generated/eight-ball@bench/evidence/reports/regression-speed.json").read_text())
    assert found["data"]["compared"]["value"] == 1.0
    shapes = [one for runner in found["data"]["runners"].values() for one in runner["shapes"].values()]
    assert [one["decode"]["value"] for one in shapes] == [1.0] * 4

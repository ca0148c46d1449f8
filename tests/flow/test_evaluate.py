"""`kcompiler evaluate`: a model that exists is asked what the suites of a spec ask, from a folder with a spec and rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kcompiler.cli import _main
from kcompiler.policy import kinds
from runtime import catalog
from runtime.contract import RunnerKind
from tests.unit.runtime.data.teaching import Server, completion

ROOT = Path(__file__).resolve().parents[2]
SPEC = (ROOT / "tests/golden/validate/a-good-spec-has-no-diagnostics/spec.yaml").read_text(encoding="utf-8")
FAST = "requests_per_minute=100000,attempts=2"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of a spec and forty questions, each answered yes or no."""
    spec = yaml.safe_load(SPEC)
    rows = "".join(
        json.dumps({"prompt": f"Is {n} even?", "response": "no" if n % 2 else "yes"}) + "\n" for n in range(40)
    )
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/faq.jsonl").write_text(rows)
    spec["data"] = {
        "sources": [
            {"name": "learnt", "kind": "jsonl", "path": "faq.jsonl", "split": "auto", "license": "MIT"},
        ],
        "held_out": 0.5,
    }
    spec["evaluation"] = {"suites": [{"use": "gold", "match": "exact"}]}
    (tmp_path / "specs/faq.yaml").write_text(yaml.safe_dump(spec))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = _main(["evaluate", "specs/faq.yaml", *words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_server_is_asked_and_its_record_answers_again(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = Server(lambda prompt, _: (200, {}, completion("no" if int(prompt.split()[1]) % 2 else "yes")))
    try:
        code, out, err = run(capsys, "--runner", f"openai={server.url},model=teacher-1,{FAST}", "--to", "out")
    finally:
        server.close()
    assert code == 0, err
    items = lines(desk / "out/gold-openai.items.jsonl")
    assert f"gold   openai  {len(items)} of {len(items)}" in out
    assert len(items) == len(server.asked) > 10
    report = json.loads((desk / "out/gold-openai.report.json").read_text())
    told = report["environment"]
    assert (told["model"], told["served_as"], told["cut"]) == ("teacher-1", "teacher-1", [])
    assert (report["kind"], told["forged"], report["data"]["right"]["k"]) == (
        "asked",
        False,
        len(items),
    )
    # a run was not applied: nothing of the spec's own is said to be done
    assert not (desk / "generated").exists()
    # what it wrote can be read
    assert _main(["show", "items", "out"]) == 2
    assert "say which evaluation's items: gold-openai" in capsys.readouterr().err
    assert _main(["show", "items", "out", "gold-openai", "--runner", "nobody"]) == 2
    assert "no items of runner `nobody` there: openai" in capsys.readouterr().err
    assert _main(["show", "items", "out", "gold-openai", "--worst", "2"]) == 0
    shown = capsys.readouterr().out
    assert f"{len(items)} items of 1 runners, 0 not right; the 2 worst" in shown
    assert shown.count("sha256:") == 2
    (desk / "out/broken.items.jsonl").write_text("{")
    (desk / "out/lonely.items.jsonl").write_text("")
    assert _main(["show", "items", "out", "broken"]) == 3
    assert "line 1 is incomplete" in capsys.readouterr().err
    assert _main(["show", "items", "out", "lonely"]) == 2
    assert "lonely.report.json: No such file" in capsys.readouterr().err
    # a folder without either is no plan's
    assert _main(["show", "items", "specs", "gold-openai"]) == 2
    err = capsys.readouterr().err
    assert "specs holds no SUITE-RUNNER.items.jsonl" in err
    assert "next=kcompiler evaluate SPEC --runner … --to specs, or name a spec: kcompiler show items SPEC STEP" in err
    recorded = "recorded=out/gold-openai.items.jsonl,runner=openai,name=before"
    code, out, err = run(capsys, "--runner", recorded, "--to", "out")
    assert code == 0, err
    again = lines(desk / "out/gold-before.items.jsonl")
    assert [{**line, "runner": "openai"} for line in again] == items
    # rows that the record does not have are not answered
    kept = (desk / "out/gold-openai.items.jsonl").read_text().splitlines(keepends=True)[1:]
    (desk / "out/gold-openai.items.jsonl").write_text("".join(kept))
    code, out, err = run(capsys, "--runner", recorded, "--to", "out")
    assert code == 1
    assert f"unavailable: 1 of {len(items)} items are not recorded" in out


def test_a_server_that_is_not_there_is_said(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--runner", f"openai=http://127.0.0.1:9/v1,model=m,{FAST}", "--to", "out")
    assert code == 6
    assert "does not answer (ConnectError); what it has answered is kept" in err
    assert not (desk / "out").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--runner", "mil,variant=fp17"), 1, "did you mean `fp16`?"),
        (("--runner", "nobody"), 2, "no runner is called `nobody`"),
        (("--runner", "verification_only=x"), 2, "asks no file, folder or address"),
        (("--runner", "torch="), 2, "nothing stands behind the `=`"),
        (("--runner", "mil,variant"), 2, "`variant` is not KEY=VALUE"),
        (("--runner", "torch=../elsewhere"), 1, "a path leaves the project"),
        (("--runner", "torch=nowhere"), 1, "no such folder"),
        (
            ("--runner", "recorded=specs/faq.jsonl,runner=verification_only"),
            1,
            "what runner `verification_only` said is nobody's answer",
        ),
        (("--runner", "torch=."), 2, "no model lies there: a folder of one has a config.json"),
        (("--runner", "openai=http://127.0.0.1:9/v1,model=m,name=student"), 1, "is what suites call a model"),
        (("--runner", "openai=http://example.com/v1,model=m"), 1, "would cross the network in the clear"),
        (("--runner", "mil", "--suite", "nothing"), 2, "no suite of specs/faq.yaml is called `nothing`"),
        ((), 2, "declares no evaluation.runners"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    desk: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str
) -> None:
    found, _, err = run(capsys, *words, "--to", "out")
    assert (found, said in err) == (code, True), err
    assert not (desk / "out").exists()
    # the spec alone is valid: what comes next is the same command, mended
    assert code != 1 or "next=mend --runner, then kcompiler evaluate specs/faq.yaml --runner … " in err
    assert "start at the spec's folder" not in err


def verdict_on(report: dict[str, Any]) -> str:
    """What a rule that asks for one thing alone, that somebody measured it, says of a report."""
    judged = kinds.load("genuine").judge(kinds.load("genuine").params(), report, None, None)
    return judged.word


@pytest.mark.parametrize("honest", [True, False])
def test_no_gate_passes_on_gold_itself(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, honest: bool
) -> None:
    """The mutant is a runner that forges and does not say so: the mark is all that stops its report."""
    kind: RunnerKind = catalog.load("runners", "verification_only")
    if not honest:
        object.__setattr__(kind, "forges", False)
    try:
        code, out, err = run(capsys, "--runner", "verification_only", "--to", "out")
    finally:
        object.__setattr__(kind, "forges", True)
    assert code == 0, err
    report = json.loads((desk / "out/gold-verification_only.report.json").read_text())
    right = report["data"]["right"]
    assert right["k"] == right["n"] > 10
    assert report["environment"]["forged"] is honest
    assert verdict_on(report) == ("fail" if honest else "pass")
    assert ("forged: what the rows want to hear" in out) is honest
    assert "warning[KC4907]" in err or not honest


def test_nobody_is_asked_where_the_answers_have_no_place(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "out").write_text("a file")
    code, _, err = run(capsys, "--runner", f"openai=http://127.0.0.1:9/v1,model=m,{FAST}", "--to", "out")
    assert code == 2
    assert "is a file" in err

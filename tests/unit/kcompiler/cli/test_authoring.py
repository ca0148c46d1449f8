"""`kcompiler policy new, lint, doc`, as somebody runs them who has never seen a pack: from an empty folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kcompiler import policy
from kcompiler.cli import _main
from kcompiler.policy import leaves, path, shape


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> int:
    return _main(["policy", *words])


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_a_newcomer_writes_a_pack_proves_it_and_is_told_when_it_gets_weaker(
    empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("new", "acme/floors") == 0
    assert "next: kcompiler policy test acme/floors" in capsys.readouterr().out
    folder = empty / "policies" / "acme" / "floors"
    rule = folder / "round-trip" / "rule.yaml"
    assert {"pass.json", "fail.json", "missing.json", "rule.yaml"} <= {one.name for one in rule.parent.iterdir()}
    assert run("test", "acme/floors") == 0
    assert capsys.readouterr().out.endswith(" 0 unnoticed\n")
    # what only the author can know is asked for
    assert run("lint", "acme/floors") == 1
    said = capsys.readouterr().err
    assert "error[KC6052]" in said
    assert said.count("error[") == 1
    edit(rule, "Say here where the number comes from", "One row of a hundred may be lost, says the contract")
    assert run("lint", "acme/floors") == 0
    before = empty / "before"
    before.mkdir()
    for file in [one for one in folder.rglob("*") if one.is_file()]:
        place = before / "floors" / file.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())
    edit(rule, '"0.99"', '"0.9"')
    assert run("diff", "before/floors", "acme/floors") == 1
    assert "weaker" in capsys.readouterr().out
    assert run("diff", "acme/floors", "before/floors") == 0
    # and the cases notice it, too
    assert run("test", "acme/floors") == 1


@pytest.mark.parametrize(
    ("kind", "metric", "op", "threshold"),
    [
        ("eval.tool_use", "runners.student.exact_call", ">=", "0.4"),
        ("coreml.parity", "variants[*].shapes[*].cosine", ">=", "0.9995"),
        ("data.splits", "splits.test.rows", ">=", "10"),
    ],
)
def test_a_rule_about_any_datum_comes_with_cases_that_run(
    empty: Path, kind: str, metric: str, op: str, threshold: str
) -> None:
    assert run("new", "acme", "--on", kind, "--metric", metric, "--op", op, "--threshold", threshold) == 0
    assert run("test", "acme", "--no-mutants") == 0
    loaded = policy.load(["acme"], [empty / "policies"])
    assert loaded.problems == ()
    rule = loaded.packs[0].rules[0]
    assert (rule.rule.on, rule.rule.mode) == (kind, "block")


def test_a_second_rule_joins_the_pack_and_nothing_is_overwritten(
    empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("new", "acme") == 0
    kept = (empty / "policies" / "acme" / "pack.yaml").read_bytes()
    assert run("new", "acme") == 2
    assert "is there" in capsys.readouterr().err
    assert (
        run("new", "acme", "--rule", "rows", "--on", "data.splits", "--metric", "splits.test.rows", "--threshold", "5")
        == 0
    )
    assert (empty / "policies" / "acme" / "pack.yaml").read_bytes() == kept
    assert run("test", "acme", "--no-mutants") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Acme",), "lower-case"),
        (("../out",), "lower-case"),
        (("caws/core",), "kcompiler ships a pack `caws/core`"),
        (("acme", "--on", "eval.tool_use"), "give both --on REPORT and --metric PATH"),
        (("acme", "--on", "eval.tool_us", "--metric", "rows"), "did you mean `eval.tool_use`?"),
        (("acme", "--on", "eval.tool_use", "--metric", "runers.student.right"), "did you mean `runners`?"),
        (("acme", "--on", "eval.tool_use", "--metric", "zoo.best"), "is no number"),
        (("acme", "--on", "eval.tool_use", "--metric", "rows", "--threshold", "1000000"), "threshold (examples have "),
        (("acme", "--threshold", "much"), "threshold"),
    ],
)
def test_what_cannot_be_a_rule_is_refused_and_nothing_is_written(
    empty: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert run("new", *words) == 2
    assert said in capsys.readouterr().err
    assert not (empty / "policies").exists()


def test_a_rule_about_a_name_of_a_plan_gets_cases_with_that_name(
    empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No shipped example has a step of that name."""
    words = ("--on", "run", "--metric", "steps.train-huge.cpu", "--op", "<=", "--threshold", "100")
    assert run("new", "acme", *words) == 0
    assert "kcompiler policy lint acme --spec SPEC" in capsys.readouterr().out
    cases = empty / "policies" / "acme" / "train-huge-cpu"
    assert "train-huge" in json.loads((cases / "pass.json").read_text())["report"]["data"]["steps"]
    assert run("test", "acme") == 0, capsys.readouterr().out


@pytest.mark.parametrize("mode", ["block", "warn"])
def test_the_cases_that_are_missing_are_written_as_is_advised(
    empty: Path, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    assert run("new", "acme") == 0
    folder = empty / "policies" / "acme" / "round-trip"
    edit(folder / "rule.yaml", "mode: block", f"mode: {mode}")
    for file in folder.glob("*.json"):
        file.unlink()
    capsys.readouterr()
    assert run("test", "acme", "--no-mutants") == 1
    said = capsys.readouterr()
    assert said.out.count("there is no such case") == 3
    assert said.err.endswith("next=kcompiler policy test acme --add\n")
    assert run("test", "acme", "--add") == 0
    assert {"wrote acme/round-trip/pass.json", "wrote acme/round-trip/missing.json"} < set(
        capsys.readouterr().out.splitlines()
    )
    kept = {file: file.read_bytes() for file in folder.iterdir()}
    assert run("test", "acme", "--add") == 0
    assert {file: file.read_bytes() for file in folder.iterdir()} == kept
    # what is there is not written again, and what nobody can draft is said
    edit(folder / "rule.yaml", '"0.99"', '"7"')
    (folder / "fail.json").unlink()
    assert run("test", "acme", "--add", "--no-mutants") == 1
    assert "no example of a report `tokenizer.contract` passes this rule" in capsys.readouterr().out
    assert not (folder / "fail.json").exists()


def test_lint_says_what_is_wrong_at_its_line(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("lint") == 2
    assert run("new", "acme") == 0
    rule = empty / "policies" / "acme" / "round-trip"
    (rule / "fail.json").unlink()
    capsys.readouterr()
    assert run("lint", "--no-mutants") == 1
    said = capsys.readouterr()
    assert "error[KC6050]" in said.err
    assert "policies/acme/round-trip/rule.yaml" in said.err
    assert "outcome=findings code=1" in said.err
    assert run("lint", "--no-mutants", "--format", "json") == 1
    found = [json.loads(line)["code"] for line in capsys.readouterr().out.splitlines()]
    assert sorted(found) == ["KC6050", "KC6052"]


def test_doc_writes_a_page_that_check_compares(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("new", "acme") == 0
    capsys.readouterr()
    assert run("doc", "acme") == 0
    assert "| `round-trip`" in capsys.readouterr().out
    assert run("doc", "acme", "--check") == 2
    assert run("doc", "acme", "--check", "--to", "rules.md") == 1
    assert run("doc", "acme", "--to", "rules.md") == 0
    assert run("doc", "acme", "--check", "--to", "rules.md") == 0
    edit(empty / "policies" / "acme" / "round-trip" / "rule.yaml", '"0.99"', '"0.95"')
    assert run("doc", "acme", "--check", "--to", "rules.md") == 1
    assert "policy doc acme --to rules.md" in capsys.readouterr().err
    assert run("doc") == 0
    assert capsys.readouterr().out.count("<br>") >= 62


def test_explain_report_lists_every_path_that_a_rule_may_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert _main(["explain", "report", "eval.tool_use"]) == 0
    said = capsys.readouterr().out
    assert "runners.student.exact_call" in said
    assert '"k"' in said
    assert _main(["explain", "report:eval.tool_use"]) == 0
    assert capsys.readouterr().out == said
    assert _main(["explain", "reports"]) == 0
    assert "report:tokenizer.contract" in capsys.readouterr().out
    assert _main(["explain", "report", "eval.tool_us"]) == 2
    assert "did you mean `eval.tool_use`?" in capsys.readouterr().err
    assert _main(["explain", "report", "eval.tool_use", "more"]) == 2


@pytest.mark.parametrize("kind", shape.kinds())
def test_every_listed_path_leads_somewhere(kind: str) -> None:
    found = leaves.of(kind)
    assert found
    start = shape.of_report(kind)
    assert start is not None
    for one in found:
        assert not isinstance(shape.follow(path.parse(one.path), start), shape.Lost), one.path

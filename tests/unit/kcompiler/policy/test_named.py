"""Names that a plan fixes: a rule that names another step, split, term, runner or function is refused before anything
runs, in paths and in expressions; and every name that a schema leaves open says which fact of a plan it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kcompiler import assets, plan, policy
from kcompiler.cli import _main
from kcompiler.diagnostic import Diagnostic
from kcompiler.front import Front, compile_spec
from kcompiler.plan.named import KNOWN
from kcompiler.policy import shape
from kcompiler.project import Project

SPEC = Path(__file__).resolve().parents[3] / "golden/plan/KC6027-a-rule-names-what-the-plan-has/spec.yaml"
BENCHMARK = "  baselines: [ce_only]\n  benchmarks:\n    - {id: speed, runners: [torch, mil], new_tokens: 8}\n"
BOUND = 'kind: bound\nparams: {{metric: {path}, op: ">=", threshold: "1", unit: {unit}}}\n'
ASSERT = "kind: assert\nparams: {{that: '{that}'}}\n"
HEAD = "id: one\ntitle: Asks something\non: {on}\nremedy: do something\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Front, Project]:
    home = tmp_path_factory.mktemp("named")
    text = SPEC.read_text().replace("evaluation:\n", f"evaluation:\n{BENCHMARK}").replace("[lab]", "[caws/core]")
    (home / "spec.yaml").write_text(text)
    front = compile_spec(home / "spec.yaml", home)
    assert front.spec is not None, front.diagnostics
    return front, Project(home)


def found(world: tuple[Front, Project], folder: Path, rule: str) -> list[Diagnostic]:
    (folder / "lab" / "one").mkdir(parents=True)
    (folder / "lab" / "pack.yaml").write_text("name: lab\nversion: 1\ntitle: Rules of the laboratory\n")
    (folder / "lab" / "one" / "rule.yaml").write_text(rule)
    packs = policy.load(["lab"], [folder])
    assert packs.problems == ()
    return plan.asked_by(*world, packs)


def bound(on: str, path: str, unit: str = "s") -> str:
    return HEAD.format(on=on) + BOUND.format(path=json.dumps(path), unit=json.dumps(unit))


def asserted(on: str, that: str) -> str:
    return HEAD.format(on=on) + ASSERT.format(that=that)


SHAPES = "runners.mil.shapes.prompt_32"
#: claim → rule that names what the plan has not, the name, and that which was meant
WRONG: dict[str, tuple[str, str, str]] = {
    "a step": (bound("run", "steps.trian-kd.cpu"), "trian-kd", "train-kd"),
    "a split": (bound("data.splits", "splits.trin.rows", "row"), "trin", "train"),
    "a split of a source": (bound("data.splits", "sources.answers.rows.tset", "row"), "tset", "test"),
    "a split of a class": (bound("data.splits", "classes.*.valid", "row"), "valid", "test"),
    "a source": (bound("data.splits", "sources.answer.rows.test", "row"), "answer", "answers"),
    "a term": (bound("training.reach", "terms.kll.tensors_reached", "ratio"), "kll", "kl"),
    "a function": (
        bound("coreml.parity", "variants[?variant=fp16].shapes[?function=prefil_32].cosine", "cosine"),
        "prefil_32",
        "prefill_32",
    ),
    "a length that is no function": (
        bound("conversion", "functions[?function=prefill_128].operations", "operation"),
        "prefill_128",
        "prefill_32",
    ),
    "a runner of a benchmark": (bound("benchmark", "runners.mill.load"), "mill", "mil"),
    "a runner of a suite": (bound("eval.answers", "macro_f1.studnet", "1"), "studnet", "student"),
    "a length of a prompt": (
        bound("benchmark", f"{SHAPES.replace('32', '33')}.first_token.p50"),
        "prompt_33",
        "prompt_32",
    ),
    "a step in an expression": (
        asserted("run", '"trian-kd" in report.steps && report.steps["trian-kd"].cpu.value > 0.0'),
        "trian-kd",
        "train-kd",
    ),
    "a split that is asked for": (
        asserted("data.splits", "has(report.splits.vaildation) || report.rows.value > 0.0"),
        "vaildation",
        "test",
    ),
    "a split that should not be there": (
        asserted("data.splits", '!("trin" in report.splits) && report.rows.value > 0.0'),
        "trin",
        "train",
    ),
    "a key that is compared": (
        asserted("run", 'report.steps.all(one, one == "trian-kd" || report.steps[one].cpu.value > 0.0)').replace(
            "report.steps.all", "size(report.steps) >= 1 && report.steps.all"
        ),
        "trian-kd",
        "train-kd",
    ),
    "a function that an element has": (
        asserted("conversion", 'report.functions.exists(one, one.function == "prefil_32")'),
        "prefil_32",
        "prefill_32",
    ),
}
RIGHT = {
    "steps": bound("run", "steps.train-kd.cpu"),
    "every step": bound("run", "steps.*.cpu"),
    "a step of a baseline": bound("run", "steps.train-ce_only-kd.cpu"),
    "splits": bound("data.splits", "splits.train.rows", "row"),
    "terms": bound("training.reach", "terms.ce_truth.tensors_reached", "ratio"),
    "functions": bound("conversion", "functions[?function=decode].operations", "operation"),
    "runners": bound("benchmark", f"{SHAPES}.first_token.p50"),
    "classes that are found in rows": bound("data.splits", "classes.whatever.test", "row"),
    "an expression": asserted("run", '"train-kd" in report.steps && report.steps["train-kd"].cpu.value > 0.0'),
}


@pytest.mark.parametrize("claim", WRONG)
def test_a_name_that_the_plan_does_not_have_is_an_error_at_its_line(
    world: tuple[Front, Project], tmp_path: Path, claim: str
) -> None:
    rule, name, meant = WRONG[claim]
    told = found(world, tmp_path, rule)
    assert [(one.code, one.severity, one.file, one.line) for one in told] == [
        ("KC6027", "error", "policies/lab/one/rule.yaml", 6)
    ]
    assert name in told[0].label + told[0].summary
    assert f"`{meant}`" in told[0].help or f"known here: {meant}" in told[0].help, told[0].help


@pytest.mark.parametrize("claim", RIGHT)
def test_a_name_that_the_plan_has_is_none(world: tuple[Front, Project], tmp_path: Path, claim: str) -> None:
    assert found(world, tmp_path, RIGHT[claim]) == []


def test_a_term_of_one_training_is_asked_of_that_training(world: tuple[Front, Project], tmp_path: Path) -> None:
    """Two steps train, and one of them by other terms: the rule says which of them it is for."""
    rule = bound("training", "terms.kl.supervised_tokens", "token")
    told = found(world, tmp_path / "all", rule)
    assert ["`train-ce_only-kd`" in one.notes[0] for one in told] == [True]
    where = 'where: {step: "losses[*].term", has: kl}\nkind:'
    assert found(world, tmp_path / "one", rule.replace("kind:", where)) == []


def test_a_rule_that_blocks_nothing_is_told_and_stops_nothing(world: tuple[Front, Project], tmp_path: Path) -> None:
    rule = WRONG["a split"][0]
    (told,) = found(world, tmp_path / "warn", f"mode: warn\n{rule}")
    assert (told.code, told.severity) == ("KC6027", "warning")
    assert found(world, tmp_path / "skip", f"mode: skip\nreason: not yet\n{rule}") == []


@pytest.mark.parametrize(
    ("on", "path", "name"),
    [
        ("coreml.parity", "variants[?variant=fp15].decode.cosine", "fp15"),
        ("conversion", "packages[?variant=float32].bytes", "float32"),
        ("benchmark", "runners.mil.shapes.prmpt_32.first_token.p50", "prmpt_32"),
    ],
)
def test_a_name_that_no_plan_has_is_found_when_the_pack_is_loaded(
    tmp_path: Path, on: str, path: str, name: str
) -> None:
    (tmp_path / "lab" / "one").mkdir(parents=True)
    (tmp_path / "lab" / "pack.yaml").write_text("name: lab\nversion: 1\ntitle: Rules of the laboratory\n")
    (tmp_path / "lab" / "one" / "rule.yaml").write_text(bound(on, path))
    problems = policy.load(["lab"], [tmp_path]).problems
    assert [(one.code, one.line) for one in problems] == [("KC6014", 6)]
    assert f"`{name}`" in problems[0].label


def test_lint_with_a_spec_asks_what_a_plan_of_it_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(SPEC.parent / "policies", tmp_path / "policies")
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.read_text().replace("[lab]", "[caws/core]"))
    lint = ["policy", "lint", str(tmp_path / "policies" / "lab"), "--no-mutants"]
    assert _main(lint) == 1  # it has no cases
    assert "KC6027" not in capsys.readouterr().err
    assert _main([*lint, "--spec", str(spec)]) == 1
    shown = capsys.readouterr().err
    assert "error[KC6027]" in shown
    assert "rule.yaml:5:" in shown


def open_places(node: Any, at: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each object of a schema whose keys are names, with its place."""
    if isinstance(node, Mapping):
        if isinstance(node.get("additionalProperties"), Mapping):
            yield at, node
        for name, inner in node.items():
            yield from open_places(inner, f"{at}/{name}")


@pytest.mark.parametrize("kind", shape.kinds())
def test_a_schema_says_of_each_open_name_which_fact_of_a_plan_it_is(kind: str) -> None:
    schema = json.loads((assets.folder("schemas") / f"report.{kind}.schema.json").read_text())
    facts = {at: node.get(shape.KEYS) for at, node in open_places(schema)}
    assert {at: fact for at, fact in facts.items() if fact not in (*KNOWN, shape.FOUND)} == {}


def test_every_fact_of_a_plan_names_something_in_a_schema() -> None:
    text = "".join(file.read_text() for file in assets.folder("schemas").glob("report.*.schema.json"))
    assert [fact for fact in KNOWN if f'"{shape.KEYS}": "{fact}"' not in text] == []

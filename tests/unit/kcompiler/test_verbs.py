"""The verbs of people who only look, run as people run them, in a project of their own."""

import errno
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from kcompiler.cli import _main
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.standing import spare
from kcompiler.project import Project
from runtime.machine.lease import Lease
from tests.unit.runtime import machinery

ROOT = Path(__file__).resolve().parents[3]
SPEC = "specs/eight-ball.yaml"
LOCK = "generated/eight-ball/plan.lock"


@pytest.fixture
def home(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    (tmp_path / ".kcompiler").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def replace(home, old, new):
    path = home / SPEC
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_plan_says_what_a_change_means_and_then_that_nothing_changed(home, capsys):
    assert _main(["plan", SPEC]) == 0
    assert re.search(r"\+ policy  caws/core@[0-9]+ ", capsys.readouterr().out)
    replace(home, "cpu_s: 600", "cpu_s: 1200")
    replace(home, "temperature: 1.0", "temperature: 3.0")
    assert _main(["plan", SPEC, "--check"]) == 1
    assert re.search(r"cpu_s +600 → 1200 +HIGHER", capsys.readouterr().err)
    assert _main(["plan", SPEC]) == 0
    out = capsys.readouterr().out
    assert re.search(r"~ step +train-kd +params.losses\[0\].params.temperature 1 → 3", out)
    assert out.index("cpu_s") < out.index("train-kd")
    assert re.search(r"~ gate +caws/core/budget-cpu-time on apply +<= 600 → <= 1200 +WEAKER", out)
    assert _main(["plan", SPEC]) == 0
    assert "11 steps, unchanged" in capsys.readouterr().out


def test_plan_as_json_and_markdown_names_the_same_digest(home, capsys):
    assert _main(["plan", SPEC]) == 0
    capsys.readouterr()
    assert _main(["plan", SPEC, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert _main(["plan", SPEC, "--format", "markdown"]) == 0
    assert f"`{found['plan']}`" in capsys.readouterr().out
    assert found["data"]["changes"] == []
    assert [step["action"] for step in found["steps"]] == ["run"] * 11


def test_a_target_makes_a_lock_that_says_it_is_a_part(home, capsys):
    assert _main(["plan", SPEC, "--target", "tokenizer"]) == 0
    out = capsys.readouterr().out
    assert "partial  only tokenizer" in out
    assert f"kcompiler apply {LOCK}" in out
    part = json.loads((home / LOCK).read_text())
    assert part["asked"]["targets"] == ["tokenizer"]
    assert [step["id"] for step in part["steps"]] == ["data", "tokenizer"]
    assert _main(["plan", SPEC]) == 0
    whole = json.loads((home / LOCK).read_text())
    assert "targets" not in whole["asked"]
    # nothing that must be proven is lost with the steps: a verdict on a part cannot pass
    assert part["obligations"] == whole["obligations"]
    assert part["steps"] == whole["steps"][:2]


def test_the_verdict_on_a_part_does_not_pass(home, capsys):
    """`data` needs no tensors, so the part can be carried out here; all else is then not evaluated."""
    assert _main(["plan", SPEC, "--target", "data"]) == 0
    assert _main(["apply", LOCK]) == 1
    out = capsys.readouterr().out
    assert re.search(r"\?  \d+ rules on verify: no report yet", out)
    # what could not be asked yet is counted, not listed one by one
    assert "has given no report" not in out


def test_only_a_step_that_worked_is_a_success_and_no_verdict(home, capsys):
    assert _main(["apply", SPEC, "--only", "data"]) == 0
    out = capsys.readouterr().out
    assert "part    the steps asked for are done" in out
    verdict = json.loads((home / "generated/eight-ball/evidence/verdict.json").read_text())
    assert verdict["verdict"] != "PASS"
    assert verdict["exit_code"] != 0
    assert _main(["gate", "generated/eight-ball/evidence/reports/data.json", "--lock", LOCK]) != 0


def test_only_a_step_whose_gate_blocks_is_no_success(home, capsys):
    """The step works, and a rule on its report does not pass."""
    replace(home, "policies: [", "policies: [team/rows, ")
    folder = home / "policies/team/rows/many"
    folder.mkdir(parents=True)
    pack = (ROOT / "policies/caws/core/pack.yaml").read_text(encoding="utf-8")
    (folder.parent / "pack.yaml").write_text(pack.replace("caws/core", "team/rows"), encoding="utf-8")
    shutil.copyfile(ROOT / "policies/caws/core/data-held-out/rule.yaml", folder / "rule.yaml")
    rule = (folder / "rule.yaml").read_text()
    (folder / "rule.yaml").write_text(rule.replace("id: data-held-out", "id: many").replace('"1"', '"1000000"'))
    assert _main(["apply", SPEC, "--only", "data"]) == 1
    assert "✗ team/rows/many on data" in capsys.readouterr().out


def test_forged_evidence_takes_the_place_of_no_other(home, capsys):
    folder = home / "generated/eight-ball/evidence"
    assert _main(["apply", SPEC, "--only", "data"]) == 0

    def files():
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before, journal = files(), (home / ".kcompiler/journal.jsonl").read_bytes()
    capsys.readouterr()
    assert _main(["apply", LOCK, "--backend", "null"]) == 2
    said, last = capsys.readouterr().err.splitlines()[-2:]
    assert "holds the evidence of a real run (generated/eight-ball/evidence/reports/data.json and 1 more)" in said
    assert (files(), (home / ".kcompiler/journal.jsonl").read_bytes()) == (before, journal)
    way = re.fullmatch(r"outcome=evidence-stands code=2 next=mv (\S+) (\S+), then the same command", last)
    shutil.move(home / way[1], home / way[2])
    assert _main(["apply", SPEC, "--backend", "null"]) == 1
    assert json.loads((folder / "run.json").read_text())["environment"]["forged"] is True
    # forged over forged is nothing lost; a report that cannot be read may be real
    spare(Project(home), "eight-ball")
    (folder / "reports/data.json").write_text("{")
    with pytest.raises(Outcome):
        spare(Project(home), "eight-ball")
    shutil.rmtree(folder)
    shutil.move(home / way[2], home / way[1])
    assert files() == before


def test_status_tells_the_verdict_on_this_plan_and_on_no_other(home, capsys):
    assert _main(["apply", SPEC, "--backend", "null"]) == 1
    assert _main(["plan", SPEC]) == 0
    capsys.readouterr()
    assert _main(["status", SPEC]) == 0
    assert "verdict" not in capsys.readouterr().out
    assert _main(["apply", SPEC, "--only", "data"]) == 0
    word = json.loads((home / "generated/eight-ball/evidence/verdict.json").read_text())["verdict"]
    capsys.readouterr()
    assert _main(["status", SPEC]) == 0
    assert re.search(rf"verdict +{word}\n", capsys.readouterr().out)
    assert _main(["status", SPEC, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == word != "PASS"


def test_show_artifacts_says_where_they_lie_and_what_each_is_for(home, capsys):
    assert _main(["show", "artifacts", SPEC]) == 2
    assert _main(["apply", SPEC, "--only", "data"]) == 0
    capsys.readouterr()
    assert _main(["show", "artifacts", SPEC]) == 0
    out = capsys.readouterr().out
    assert out.startswith("data.dataset   dataset, ")
    path = re.search(r"path +(\S+)\n", out)[1]
    assert (home / path / "train.jsonl").is_file()
    assert "train.jsonl" in out
    assert _main(["show", "artifacts", SPEC, "data", "--format", "json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["data"]["content"]
    assert (entry["path"], entry["here"], entry["kind"]) == (path, True, "dataset")
    assert _main(["show", "artifacts", SPEC, "dat"]) == 2
    assert "did you mean `data`" in capsys.readouterr().err


def test_a_target_that_is_not_there_is_a_mistake_with_a_suggestion(home, capsys):
    assert _main(["plan", SPEC, "--target", "tokeniser"]) == 2
    assert "did you mean `tokenizer`?" in capsys.readouterr().err
    assert not (home / "generated").exists()


def test_status_says_where_somebody_stands(home, capsys):
    assert _main(["status", SPEC, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(stage["name"], stage["state"]) for stage in found["data"]["stages"]][:3] == [
        ("data", "ready"),
        ("tokenizer", "waits"),
        ("teacher", "waits"),
    ]
    assert _main(["plan", SPEC, "--target", "data"]) == 0
    assert _main(["apply", LOCK]) == 1
    capsys.readouterr()
    assert _main(["status", SPEC]) == 0
    out = capsys.readouterr().out
    assert re.search(r"= +data +done +1/1 +4 gates +since 20\d\d-", out)
    assert re.search(r"> +tokenizer +ready +0/1", out)


def test_a_pinned_file_that_is_not_here_is_named_by_status_and_apply(home, capsys):
    rows = "".join(f'{{"prompt": "question {i}", "response": "Yes."}}\n' for i in range(50)).encode()
    pin = f"sha256: {hashlib.sha256(rows).hexdigest()}, bytes: {len(rows)}"
    replace(
        home,
        "  sources:\n",
        f"  sources:\n    - {{name: far, kind: jsonl, path: far.jsonl, {pin}, split: train, license: MIT}}\n",
    )
    assert _main(["plan", SPEC]) == 0
    capsys.readouterr()
    assert _main(["apply", SPEC]) == 4
    said = capsys.readouterr().err
    assert f"what the lock pins is not here:\n  specs/far.jsonl  sha256:{hashlib.sha256(rows).hexdigest()}\n" in said
    assert said.endswith(f"outcome=input-absent code=4 next=put it there, then kcompiler apply {SPEC}\n")
    assert _main(["status", SPEC]) == 0
    out = capsys.readouterr().out
    assert re.search(r"· +data +waits +0/1 +4 gates +not here: specs/far.jsonl", out)
    assert f"next     put specs/far.jsonl there, then kcompiler apply {SPEC}" in out
    (home / "specs/far.jsonl").write_bytes(rows)
    assert _main(["status", SPEC]) == 0
    assert re.search(r"> +data +ready", capsys.readouterr().out)


def test_plan_and_status_say_which_budget_is_used_up(home, monkeypatch, capsys):
    """No apply could do anything before it is raised, and to advise one would send somebody in a circle."""
    from runtime.contract import Refusal
    from runtime.machine import apply as machine

    used = Refusal("budgets.wall_s is used up", place="budgets.wall_s", action="raise budgets.wall_s", code="KR0130")
    monkeypatch.setattr(machine, "used_up", lambda *_: used)
    for verb in ("plan", "status"):
        assert _main([verb, SPEC]) == 0
        assert f"next     raise budgets.wall_s in {SPEC}, then kcompiler apply {SPEC}" in capsys.readouterr().out


def test_recorded_times_become_an_estimate(home, capsys):
    assert _main(["plan", SPEC, "--target", "data"]) == 0
    assert _main(["apply", LOCK]) == 1
    replace(home, "rows: 2400", "rows: 2401")
    capsys.readouterr()
    assert _main(["plan", SPEC]) == 0
    out = capsys.readouterr().out
    assert re.search(r"estimated +\d+\.\d s for 1 of 11 steps to run, as recorded, 10 without", out)
    assert re.search(r"~ data +run +param_changed", out)


def git(home, *arguments):
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    subprocess.run(command, cwd=home, check=True, capture_output=True)


def test_diff_compares_specs_locks_and_revisions(home, capsys):
    assert _main(["plan", SPEC]) == 0
    git(home, "init", "-q")
    git(home, "add", "-A")
    git(home, "commit", "-q", "-m", "first")
    replace(home, "steps: 250\n      batch_size: 32", "steps: 300\n      batch_size: 32")
    capsys.readouterr()
    changed = r"~ step +train-\*?kd.*params.steps 250 → 300"
    for old in (LOCK, f"HEAD:{SPEC}", f"HEAD:{LOCK}"):
        assert _main(["diff", old, SPEC]) == 0
        assert re.search(changed, capsys.readouterr().out), old
    assert _main(["diff", LOCK, f"HEAD:{SPEC}"]) == 0
    assert "the same plan" in capsys.readouterr().out


def test_a_path_in_a_revision_means_what_it_means_to_git(home, monkeypatch, capsys):
    """From the top of the repository; with `./` from the folder somebody is in."""
    assert _main(["plan", SPEC]) == 0
    git(home, "init", "-q")
    git(home, "add", "-A", "-f")
    git(home, "commit", "-q", "-m", "first")
    monkeypatch.chdir(home / "specs")
    capsys.readouterr()
    for name in (f"HEAD:{SPEC}", "HEAD:./eight-ball.yaml", f"HEAD:{LOCK}"):
        assert _main(["diff", name, "eight-ball.yaml"]) == 0
        assert "the same plan" in capsys.readouterr().out, name


@pytest.mark.parametrize("name", ["nowhere:specs/eight-ball.yaml", "HEAD:nowhere.lock", "--output=x:plan.lock"])
def test_a_revision_that_is_not_there_is_exit_2(home, name, capsys):
    git(home, "init", "-q")
    git(home, "add", "-A")
    git(home, "commit", "-q", "-m", "first")
    assert _main(["diff", "--", name, SPEC]) == 2
    assert sorted(path.name for path in home.iterdir()) == [".git", ".kcompiler", "specs"]


@pytest.mark.parametrize("where", [".", "specs"])
def test_what_diff_advises_of_a_revision_can_be_typed(home, where, monkeypatch, capsys):
    assert _main(["plan", SPEC]) == 0
    git(home, "init", "-q")
    git(home, "add", "-A", "-f")
    git(home, "commit", "-q", "-m", "first")
    monkeypatch.chdir(home / where)
    spec = "eight-ball.yaml" if where == "specs" else SPEC
    generated = str(home / "generated/eight-ball")
    wrong = [("HEAD", spec), (spec, "HEAD"), ("HEAD", generated)]
    if where == "specs":
        # a path from here, where git reads one from the top
        wrong.append(("HEAD:eight-ball.yaml", spec))
    for old, new in wrong:
        capsys.readouterr()
        assert _main(["diff", old, new]) == 2
        advice = capsys.readouterr().err.splitlines()[-1].partition(" next=kcompiler ")[2]
        assert advice, (old, new)
        assert _main(shlex.split(advice)) == 0
        assert "the same plan" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "said", "advice"),
    [
        ("nowhere", "nowhere: neither a file nor a revision of git", "kcompiler diff --help"),
        ("HEAD:nowhere.yaml", "HEAD:nowhere.yaml: there is no such file", "git ls-tree -r --name-only HEAD"),
        ("HEAD:later.yaml", "HEAD:later.yaml: there is no such file", "git ls-tree -r --name-only HEAD"),
        ("HEAD:specs/broken.yaml", "is no spec that compiles today", "git log --oneline HEAD -- :/specs/broken.yaml"),
    ],
)
def test_a_side_that_is_no_plan_is_told_with_what_can_be_typed(home, old, said, advice, capsys):
    (home / "specs/broken.yaml").write_text("kind: Distillation\n")
    git(home, "init", "-q")
    git(home, "add", "-A")
    git(home, "commit", "-q", "-m", "first")
    (home / "later.yaml").write_bytes((home / SPEC).read_bytes())
    assert _main(["diff", old, SPEC]) == (1 if "broken" in old else 2)
    err = capsys.readouterr().err
    assert said in err
    assert err.splitlines()[-1].endswith(f"next={advice}")
    assert "/tmp" not in err
    verb, _, rest = advice.partition(" ")
    if verb == "git":
        git(home, *shlex.split(rest))


def test_diff_can_refuse_what_is_weaker(home, capsys):
    assert _main(["plan", SPEC]) == 0
    replace(home, "cpu_s: 600", "cpu_s: 1200")
    assert _main(["diff", LOCK, SPEC, "--exit-code"]) == 1
    assert _main(["diff", SPEC, LOCK, "--exit-code"]) == 0


@pytest.mark.parametrize(
    "edit", [{"steps": [{"id": 3}]}, {"obligations": None}, {"budgets": {"usd": "1"}}, {"toolchain": {"torch": 2}}]
)
def test_an_edited_lock_is_refused_before_it_is_compared(home, edit, capsys):
    assert _main(["plan", SPEC]) == 0
    plan = json.loads((home / LOCK).read_text())
    (home / "odd.lock").write_text(json.dumps({**plan, **edit}))
    capsys.readouterr()
    assert _main(["diff", "odd.lock", LOCK]) == 2
    assert re.search("cannot be read as a lock|not a lock by schemas/plan.schema.json", capsys.readouterr().err)


@pytest.mark.parametrize("form", ["text", "dot", "mermaid", "json", "svg"])
def test_a_graph_is_drawn_in_every_form_the_same_way_twice(home, form, capsys):
    assert _main(["graph", SPEC, "--format", form]) == 0
    first = capsys.readouterr().out
    assert _main(["graph", SPEC, "--format", form]) == 0
    assert capsys.readouterr().out == first
    assert "train-ce_only-kd" in first


def test_explain_takes_a_name_without_its_kind(home, capsys):
    assert _main(["explain", "hardware.targets.decode_tok_s"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("field:hardware.targets.decode_tok_s\n\n")
    assert "  unit: token per second\n" in out
    assert "  example: 25" in out
    assert _main(["explain", "caws/core/parity-cosine"]) == 0
    assert capsys.readouterr().out.startswith("gate:caws/core/parity-cosine\n")
    assert _main(["explain", "kl"]) == 0
    assert capsys.readouterr().out.startswith("loss:kl\n")
    assert _main(["explain", "data"]) == 0
    assert capsys.readouterr().out.endswith("see also gate:data, step:data\n")
    assert _main(["explain", "convert", "--spec", SPEC]) == 0
    assert "derivation" in capsys.readouterr().out
    assert _main(["explain", "hardware.target"]) == 2
    said = capsys.readouterr().err
    assert "nothing is called `hardware.target`; say a code such as KC2104, or one of field:" in said
    assert _main(["explain", "KR0113"]) == 0
    assert "KR0113: a secret that is not set" in capsys.readouterr().out


def test_explain_knows_a_third_partys_plugins(home, capsys):
    """Also one without a function that names its module: a backend."""
    machinery.install()
    try:
        assert _main(["explain"]) == 0
        assert ", toy\n" in capsys.readouterr().out
        assert _main(["explain", "backend:toy"]) == 0
        said = capsys.readouterr().out
        assert said.startswith("backend:toy") or said.startswith("toy")
        assert "A third party's plug-ins for tests of the machine" in said
        assert _main(["explain", "step:toy_make"]) == 0
        assert "A third party's plug-ins" in capsys.readouterr().out
    finally:
        machinery.remove()
    assert _main(["explain", "backend:toy"]) == 2


def test_explain_alone_lists_every_kind_and_each_name_it_lists_has_a_page(home, capsys):
    assert _main(["explain"]) == 0
    said = capsys.readouterr().out
    for kind in ("code", "field:", "gate:", "step:", "loss:", "suite:", "teacher:", "generator:", "backend:"):
        assert f"\n  {kind} " in said
    assert "reverse_kl" in said
    for kind in (
        "codes",
        "fields",
        "gates",
        "step:",
        "losses",
        "suites",
        "teachers",
        "generators",
        "backends",
        "loss:",
    ):
        assert _main(["explain", kind]) == 0
        names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
        assert len(names) >= 1
        for name in (names[0], names[-1]):
            assert _main(["explain", name]) == 0, name
        capsys.readouterr()


def test_explain_knows_the_rules_of_the_project(home, capsys):
    mine = home / "policies" / "team" / "rows"
    assert _main(["policy", "new", "team/rows", "--rule", "few", "--on", "training", "--metric", "steps", "--op", ">=",
                  "--threshold", "1"]) == 0  # fmt: skip
    assert mine.is_dir()
    capsys.readouterr()
    for subject in ("team/rows/few", "gate:team/rows/few", "team/rows"):
        assert _main(["explain", subject]) == 0
        assert "team/rows/few" in capsys.readouterr().out
    assert _main(["explain", "gate:zzz/zzz"]) == 2
    assert "`kcompiler explain gates` lists those" in capsys.readouterr().err


def test_explain_lists_the_rules_of_a_pack_and_guesses_what_was_meant(home, capsys):
    assert _main(["explain", "gate:caws/tier-3"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert len(listed) >= 10
    assert _main(["explain", listed[0]]) == 0
    assert _main(["explain", "caws/tier-3"]) == 0
    capsys.readouterr()
    assert _main(["explain", "lossses"]) == 2
    assert "did you mean `losses`?" in capsys.readouterr().err
    assert _main(["explain", "reverse_kll"]) == 2
    assert "did you mean `loss:reverse_kl`?" in capsys.readouterr().err
    assert _main(["explain", "loss:reverse_kl"]) == 0


def test_what_is_no_spec_is_not_advised_to_be_planned(home, capsys):
    for target in (".", "nowhere"):
        assert _main(["audit", target]) == 2
        assert capsys.readouterr().err.endswith("outcome=no-lock code=2 next=kcompiler plan SPEC\n")


def test_explain_shows_every_form_of_a_field_whose_form_is_chosen(home, capsys):
    """teacher.model is a folder for one source and a server's name for another; no form hides the others."""
    assert _main(["explain", "field:teacher.source"]) == 0
    assert "enum: ['bootstrap', 'gguf', 'hf', 'openai', 'package', 'recorded']" in capsys.readouterr().out
    assert _main(["explain", "field:teacher.model"]) == 0
    said = capsys.readouterr().out
    assert "with source: hf\n" in said
    assert "with source: openai\n" in said
    assert _main(["explain", "field:evaluation.suites"]) == 0
    assert "keys with use: choice: " in capsys.readouterr().out
    assert _main(["explain", "field:teacher.sorce"]) == 2
    assert "did you mean `source`" in capsys.readouterr().err


def test_explain_tells_what_a_spec_says(home, capsys):
    assert _main(["explain", "field:execution.seed", "--spec", SPEC]) == 0
    out = capsys.readouterr().out
    assert "default: 1337" in out
    assert re.search(r"specs/eight-ball.yaml:\d+:\d+  1337", out)
    assert _main(["explain", "field:execution.threads", "--spec", "specs/gsm8k-lm.yaml"]) == 0
    assert _main(["explain", "step:convert", "--spec", SPEC]) == 0
    assert "run: never_run" in capsys.readouterr().out
    assert _main(["explain", "gate:caws/core/budget-cpu-time", "--spec", SPEC]) == 0
    assert "on run of apply: <= 600 s" in capsys.readouterr().out
    assert _main(["explain", "step:train"]) == 0
    assert "parameters" in capsys.readouterr().out
    assert _main(["explain", "gate:caws/core/nothing"]) == 2


def test_a_gate_that_cannot_be_decided_stands_in_the_plan(tmp_path, monkeypatch, capsys):
    """Sixty rows for 98 percent: a warning of the compiler, and a line under the gates."""
    case = ROOT / "tests/golden/validate/KC4802-sixty-rows-cannot-establish-98-percent"
    shutil.copytree(case, tmp_path / "home")
    (tmp_path / "home/.kcompiler").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    assert _main(["plan", "spec.yaml"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"gates .*\n +! these rows cannot establish what rule `lab/valid-answers` asks.*\[KC4802\]", out)
    assert _main(["plan", "spec.yaml", "--format", "json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [item["code"] for item in plan["data"]["doubts"]] == ["KC4802"]
    assert [item["code"] for item in plan["diagnostics"]] == ["KC4802"]


def test_sections_that_are_missing_can_be_pasted_from_the_message(home, capsys):
    """The advice is followed: what is printed is appended, and the spec is valid."""
    spec = home / "specs/faq.yaml"
    spec.write_text("apiVersion: kcompiler/v1\nkind: Distillation\nmetadata: {name: faq, owner: me}\nrisk_tier: 3\n")
    assert _main(["validate", "specs/faq.yaml"]) == 1
    said = capsys.readouterr().err
    _, _, pasted = said.partition("(from the shipped eight-ball.yaml):\n\n")
    pasted, _, last = pasted.rpartition("outcome=")
    assert last.startswith("invalid code=1")
    spec.write_text(spec.read_text() + pasted)
    assert _main(["validate", "specs/faq.yaml"]) == 0
    capsys.readouterr()
    # a key missing deeper down asks for no section
    replace(home, "  prefill: [64, 128, 256]\n", "")
    assert _main(["validate", SPEC]) == 1
    assert "to paste" not in capsys.readouterr().err


def test_what_a_message_advises_to_ask_has_an_answer(home, capsys):
    """Every `kcompiler explain …` in the expected texts of the wrong specs is a page."""
    asked = set()
    for case in (ROOT / "tests/golden/validate").glob("*/expected.txt"):
        asked |= set(re.findall(r"`kcompiler (explain [^`]+)`", case.read_text(encoding="utf-8")))
    assert len(asked) >= 5
    for words in sorted(asked):
        assert _main(words.split()) == 0, words
    assert _main(["explain", "field:training.stages[0].losses[1].weight"]) == 0


@pytest.mark.parametrize("verb", [["apply"], ["generate", "--prompt", "x", "--runner", "mil"]], ids=lambda v: v[0])
def test_numpys_blas_has_one_thread_whatever_the_environment_says(verb, home, monkeypatch):
    """The bits of a product of matrices depend on the number: two machines under one key would differ."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert _main([*verb, "specs/nothing.yaml"]) == 2
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, 6), (errno.EROFS, 6), (errno.ENOENT, 2), (errno.EACCES, 2)]
)
def test_a_full_disk_is_no_wrong_path_in_whichever_verb(home, monkeypatch, capsys, number, code):
    def full(*_, **__):
        raise OSError(number, os.strerror(number), "somewhere")

    monkeypatch.setattr("kcompiler.cli.author.validate.callback", full)
    assert _main(["validate", SPEC]) == code
    assert "somewhere: " in capsys.readouterr().err


def test_state_gc_lists_and_removes_what_no_lock_needs_and_the_rest_is_reused(home, capsys):
    assert _main(["state", "gc"]) == 2
    assert "no plan.lock in generated/ says what is needed" in capsys.readouterr().err
    assert _main(["apply", SPEC, "--only", "data"]) == 0
    replace(home, "rows: 2400", "rows: 2401")
    assert _main(["apply", SPEC, "--only", "data"]) == 0
    paid = home / ".kcompiler/paid/answers/one.json"
    paid.parent.mkdir(parents=True)
    paid.write_text("{}")
    journal = (home / ".kcompiler/journal.jsonl").read_bytes()
    capsys.readouterr()
    sound = (_main(["audit", SPEC]), capsys.readouterr().out)
    # of a part the verdict is not PASS; nothing is broken
    assert sound[0] == 1
    assert _main(["state", "gc", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("would be removed\n")
    old = re.findall(r"artifact +eight-ball +data#\w+ +[\d.]+ \w+ +(\S+)\n", shown)
    assert len(old) == 2
    assert all((home / path).is_dir() for path in old)
    assert re.search(r"kept +2 artifacts, 0 scratch folders \(for generated/eight-ball/plan.lock\), paid", shown)
    assert re.search(r"would free +[\d.]+ [KM]B\n", shown)
    assert _main(["state", "gc"]) == 0
    assert capsys.readouterr().out == shown.replace("would be removed", "removed").replace("would free", "freed")
    assert not any((home / path).exists() for path in old)
    assert paid.read_text() == "{}"
    assert (home / ".kcompiler/journal.jsonl").read_bytes() == journal
    assert (_main(["audit", SPEC]), capsys.readouterr().out) == sound
    assert _main(["state", "gc"]) == 0
    assert capsys.readouterr().out.startswith("nothing to remove\n")
    assert _main(["apply", SPEC, "--only", "data"]) == 0
    assert re.search(r"data +reused", capsys.readouterr().out)


def test_state_gc_waits_for_nobody_and_refuses_what_it_cannot_judge(home, capsys):
    assert _main(["apply", SPEC, "--only", "data"]) == 0
    replace(home, "rows: 2400", "rows: 2401")
    assert _main(["plan", SPEC]) == 0
    stored = sorted((home / ".kcompiler/store/sha256").glob("*/*"))
    capsys.readouterr()
    lease = Lease(home / ".kcompiler")
    try:
        assert _main(["state", "gc"]) == 5
    finally:
        lease.release()
    assert "another apply is at work here" in capsys.readouterr().err
    (home / LOCK).write_text("{}")
    assert _main(["state", "gc"]) == 2
    assert f"{LOCK}: cannot be read as a lock" in capsys.readouterr().err
    assert sorted((home / ".kcompiler/store/sha256").glob("*/*")) == stored
    shutil.rmtree(home / ".kcompiler")
    assert _main(["state", "gc"]) == 2
    assert "nothing was ever applied here" in capsys.readouterr().err
    assert not (home / ".kcompiler").exists()
    assert _main(["state", "gcc"]) == 2

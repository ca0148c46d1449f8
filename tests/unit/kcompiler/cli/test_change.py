"""`ci`, stage `change`: a change is held to the bound of its base, whatever became of the spec since."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kcompiler import assets
from kcompiler.cli import _main, change
from kcompiler.cli.answer import Answer, rendered
from kcompiler.cli.outcome import Outcome
from kcompiler.project import Project

GOOD = Path(__file__).resolve().parents[3] / "golden/plan/a-good-spec-is-planned-without-a-word/spec.yaml"
SPEC = "specs/a.yaml"
SHORT = "metadata: {name: toy}\nbudgets: {wall_s: 60, files: 3, lines: 20}\n"


def git(*words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *who, *words], check=True, capture_output=True, text=True).stdout.strip()


def commit(**files: str) -> None:
    for path, text in files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    git("add", "-A")
    git("commit", "-qm", "x")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    commit(**{SPEC: SHORT})
    return Project(tmp_path)


def then(home: Project, spec: str = SPEC, profile: str = "", *allowed: str) -> tuple[dict[str, int], dict[str, int]]:
    found = change.bounds(home, Path(spec), profile, "HEAD", allowed)
    return dict(found.then), dict(found.held)


def ways(home: Project, spec: str = SPEC, profile: str = "") -> dict[str, tuple[str, str, bool]]:
    return {one.rule: (one.way, one.what, one.weakens) for one in change.moved(home, Path(spec), profile, "HEAD")}


BOTH = {"files": 3, "lines": 20}
#: claim → what the spec says now, what is held, what moved
EDITS: dict[str, tuple[str, dict[str, int], dict[str, tuple[str, str, bool]]]] = {
    "the same": (SHORT, BOTH, {}),
    "raised": (
        SHORT.replace("files: 3", "files: 4"),
        BOTH,
        {"toy/budgets.files": ("weaker", "3 → 4 files a change", True)},
    ),
    "lowered": (
        SHORT.replace("lines: 20", "lines: 0"),
        BOTH,
        {"toy/budgets.lines": ("stronger", "20 → 0 lines a change", False)},
    ),
    "taken away": (
        "metadata: {name: toy}\n",
        BOTH,
        {
            "toy/budgets.files": ("removed", "3 → none files a change", True),
            "toy/budgets.lines": ("removed", "20 → none lines a change", True),
        },
    ),
    "no YAML any more": (
        "budgets: {",
        BOTH,
        {
            "a/budgets.files": ("removed", "3 → none files a change", True),
            "a/budgets.lines": ("removed", "20 → none lines a change", True),
        },
    ),
}


@pytest.mark.parametrize("claim", EDITS)
def test_the_base_says_what_counts(home: Project, claim: str) -> None:
    text, held, moved = EDITS[claim]
    Path(SPEC).write_text(text)
    assert (then(home), ways(home)) == ((BOTH, held), moved)


def test_who_says_why_is_held_to_what_is_written_now(home: Project) -> None:
    Path(SPEC).write_text(SHORT.replace("files: 3", "files: 9"))
    assert then(home, SPEC, "", "toy/budgets.files")[1] == {"files": 9, "lines": 20}
    Path(SPEC).write_text(SHORT.replace("files: 3, ", ""))
    assert then(home, SPEC, "", "toy/budgets.files")[1] == {"lines": 20}
    assert then(home, SPEC, "", "toy/budgets.file", "other/budgets.files")[1] == BOTH


def test_a_spec_without_a_bound_then_is_held_to_its_own(home: Project) -> None:
    commit(**{SPEC: "metadata: {name: toy}\n"})
    Path(SPEC).write_text(SHORT)
    assert then(home) == ({}, BOTH)
    assert ways(home)["toy/budgets.files"] == ("added", "none → 3 files a change", False)
    Path("specs/new.yaml").write_text(SHORT.replace("toy", "new"))
    assert then(home, "specs/new.yaml") == ({}, BOTH)


def test_a_spec_that_is_no_file_is_held_to_what_it_was(home: Project) -> None:
    Path(SPEC).unlink()
    os.mkfifo(SPEC)
    assert then(home) == (BOTH, BOTH)
    Path(SPEC).unlink()
    assert then(home) == (BOTH, BOTH)
    Path(SPEC).symlink_to("a.yaml")
    assert then(home, SPEC) == (BOTH, BOTH)
    assert then(home, "specs/none.yaml") == ({}, {})


def test_no_move_and_no_new_name_sheds_a_bound(home: Project) -> None:
    commit(**{SPEC: SHORT + "".join(f"# {i}\n" for i in range(20))})
    git("mv", SPEC, "specs/b.yaml")
    Path("specs/b.yaml").write_text(
        Path("specs/b.yaml").read_text().replace("toy", "tiny").replace("files: 3", "files: 9")
    )
    assert then(home, "specs/b.yaml") == (BOTH, BOTH)
    assert ways(home, "specs/b.yaml") == {"tiny/budgets.files": ("weaker", "3 → 9 files a change", True)}
    # written anew at another place, under the name that a lock has
    git("checkout", "-qf", "HEAD")
    git("rm", "-qf", "--cached", "specs/b.yaml", "--ignore-unmatch")
    commit(**{SPEC: SHORT, "generated/toy/plan.lock": json.dumps(lock())})
    Path(SPEC).unlink()
    Path("specs/c.yaml").write_text("x: " + "y" * 500 + "\nmetadata:\n  name: toy\nbudgets:\n  files: 900\n")
    assert then(home, "specs/c.yaml") == (BOTH, BOTH)


def lock(spec: str = SPEC, **more: Any) -> dict[str, Any]:
    """What is read of a lock, by those who ask what the sources of its spec are."""
    return {
        "lock": {"format": "1.0"},
        "asked": {"spec": spec, "name": "toy"},
        **{name: {} for name in ("budgets", "toolchain")},
        **{name: [] for name in ("steps", "sources", "schemas", "policies", "inputs", "plugins", "obligations")},
        **more,
    }


def test_a_bound_of_a_fragment_and_one_of_a_profile_are_bounds(home: Project) -> None:
    part = "budgets: {files: 2}\n"
    pin = hashlib.sha256(part.encode()).hexdigest()
    text = f"include: [{{path: parts/b.yaml, sha256: {pin}}}]\nmetadata: {{name: toy}}\nprofiles:\n  big: {{budgets.files: 50}}\n"
    commit(**{SPEC: text, "specs/parts/b.yaml": part})
    assert then(home) == ({"files": 2}, {"files": 2})
    assert then(home, SPEC, "big") == ({"files": 50}, {"files": 50})
    # a profile that was not there then changed nothing then
    Path(SPEC).write_text(text.replace("big:", "huge:"))
    assert then(home, SPEC, "huge") == ({"files": 2}, {"files": 2})
    assert ways(home, SPEC, "huge") == {"toy@huge/budgets.files": ("weaker", "2 → 50 files a change", True)}
    # the fragment is not here any more: what it said then is not forgotten
    Path("specs/parts/b.yaml").unlink()
    assert then(home)[1] == {"files": 2}


@pytest.mark.parametrize(
    "broken", ["budgets: {files: 3", "include: [{path: gone.yaml, sha256: x}]\nbudgets: {lines: 3}\n"]
)
def test_a_base_that_cannot_be_read_and_may_bind_is_refused(home: Project, broken: str) -> None:
    commit(**{SPEC: broken})
    Path(SPEC).write_text("metadata: {name: toy}\n")
    with pytest.raises(Outcome) as ended:
        change.bounds(home, Path(SPEC), "", "HEAD")
    assert (ended.value.code, ended.value.word) == (2, "unreadable")
    assert "HEAD:specs/a.yaml: cannot be read as a spec" in ended.value.message
    commit(**{SPEC: "metadata: {"})
    Path(SPEC).write_text("metadata: {name: toy}\n")
    assert then(home) == ({}, {})


def test_its_own_sources_count_and_no_others(home: Project) -> None:
    pinned = {"name": "w", "kind": "file", "path": "specs/big.bin", "digest": "sha256:" + "0" * 64}
    rows = {"name": "r", "kind": "file", "path": "specs/rows.jsonl", "digest": "sha256:" + "1" * 64}
    before = lock(inputs=[pinned, {**rows, "path": "specs/old.jsonl"}], policies=[{"pack": "lab/old"}])
    commit(
        **{
            "generated/toy/plan.lock": json.dumps(before),
            "generated/toy/notes": "1\n",
            **{f"specs/{name}": "1\n" for name in ("old.jsonl", "rows.jsonl", "other.yaml", "parts.yaml")},
            "policies/lab/old/rule.yaml": "1\n",
            "waivers/WV-0001.yaml": "1\n",
            "waivers/WV-0002.yaml": "1\n",
            "README.md": "1\n",
            ".gitignore": "*.bin\n",
        }
    )
    for path in ("generated/toy/notes", "specs/rows.jsonl", "specs/other.yaml", "specs/parts.yaml", "README.md"):
        Path(path).write_text("2\n")
    for path in ("specs/old.jsonl", "policies/lab/old/rule.yaml", "waivers/WV-0001.yaml", "waivers/WV-0002.yaml"):
        Path(path).unlink()
    Path("policies/lab/new").mkdir()
    Path("policies/lab/new/pack.yaml").write_text("what:\nis: wrong\n")
    Path("specs/big.bin").write_bytes(b"\0")
    now = lock(
        sources=[{"path": SPEC}, {"path": "specs/parts.yaml"}],
        inputs=[pinned, rows, {**pinned, "path": "models:teacher"}],
        policies=[{"pack": "lab/new"}],
        waivers=[{"id": "WV-0001"}],
    )

    def ask(code: int | None) -> Any:
        answer = Answer(change.VERB, SPEC, "json", Path(SPEC))
        found = change.bounds(home, Path(SPEC), "", "HEAD")
        if code is None:
            change.held_to(answer, found, Path(SPEC), "HEAD", now)
        else:
            with pytest.raises(Outcome) as ended:
                change.held_to(answer, found, Path(SPEC), "HEAD", now)
            assert ended.value.code == code
        return answer

    answer = ask(1)
    assert {one["path"]: one["added"] - one["deleted"] for one in answer.data["changed"]} == {
        "policies/lab/new/pack.yaml": 2,
        "policies/lab/old/rule.yaml": -1,
        "specs/old.jsonl": -1,
        "specs/parts.yaml": 0,
        "specs/rows.jsonl": 0,
        "waivers/WV-0001.yaml": -1,
    }
    assert answer.data["sizes"] == {"files": 6, "lines": 9}
    assert [(one.code, one.line, one.pointer) for one in answer.diagnostics] == [("KC4740", 2, "/budgets/files")]
    title, rows_shown = answer.sections[0]
    assert title.startswith("change of toy since ")
    assert rows_shown[:2] == ["files  6 of 3", "lines  9 of 20"]
    # and every form says where, and how much
    told = answer.made(Outcome(1, "too-large", "git diff"))
    for form in ("json", "sarif", "junit", "github", "markdown"):
        said = rendered(told, form)
        assert "6 files since" in said or "6 of 3" in said, form
        assert re.search(rf"{SPEC}:2:|line=2,|Line\": 2,|\"line\": 2,", said), form
    # as many as are allowed are allowed
    commit(**{SPEC: SHORT.replace("files: 3", "files: 6").replace("20", "9")})
    git("reset", "-q", "--soft", "HEAD~1")
    git("checkout", "-q", "HEAD", "--", SPEC)
    Path(SPEC).write_text(SHORT.replace("files: 3", "files: 7").replace("20", "11"))
    found = change.bounds(home, Path(SPEC), "", "HEAD", ["toy/budgets.files", "toy/budgets.lines"])
    answer = Answer(change.VERB, SPEC, "json", Path(SPEC))
    change.held_to(answer, found, Path(SPEC), "HEAD", now)
    assert (answer.data["sizes"], answer.diagnostics) == ({"files": 7, "lines": 11}, [])
    assert answer.data["bounds"] == {"files": 7, "lines": 11}


def ci(code: int, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[dict[str, Any], str]:
    assert _main(["ci", SPEC, "--to", "out", *options]) == code
    found = json.loads(Path("out/result.json").read_text())
    jsonschema.validate(found, json.loads((assets.folder("schemas") / "result.schema.json").read_text()))
    return {part["verb"]: part for part in found["parts"]}, capsys.readouterr().err.splitlines()[-1]


def test_ci_ends_at_a_change_that_is_too_large_in_every_form(home: Project, capsys: pytest.CaptureFixture[str]) -> None:
    text = GOOD.read_text().replace("wall_s: 60}", "wall_s: 60, files: 3, lines: 1}")
    commit(**{SPEC: text})
    Path(SPEC).write_text(text.replace("rows: 400", "rows: 300"))
    assert _main(["plan", SPEC]) == 0
    capsys.readouterr()
    (place,) = Path("generated").glob("*/plan.lock")
    # what bounds a change is in no lock
    assert sorted(json.loads(place.read_text())["budgets"]) == ["cpu_s", "gpu_hours", "usd", "wall_s"]
    parts, last = ci(1, capsys, "--base", "HEAD")
    assert list(parts) == ["policy diff", "validate", "plan", "change", "policy", "apply", "gate", "audit"]
    assert [part["outcome"] for part in parts.values()] == ["ok", "ok", "ok", "too-large", *["not-run"] * 4]
    assert parts["change"]["data"]["sizes"] == {"files": 1, "lines": 2}
    assert json.loads((Path("out") / place.parent.name / "change.json").read_text()) == parts["change"]
    advice = last.partition("next=")[2]
    assert subprocess.run(advice.split(), capture_output=True, text=True).stdout.split()[0] == SPEC
    line = next(i for i, one in enumerate(text.splitlines(), 1) if "lines: 1" in one)
    for file in ("summary.md", "results.sarif", "junit.xml", "report.html"):
        said = (Path("out") / file).read_text()
        assert "KC4740" in said
        assert "2 lines since" in said or "2 of 1" in said
        assert f"{SPEC}:{line}:" in said or f'"startLine": {line}' in said
    # without a revision nobody counted, and that is no pass either
    parts, last = ci(2, capsys)
    assert list(parts) == ["validate", "plan", "change", "policy", "apply", "gate", "audit"]
    assert parts["change"]["diagnostics"][0]["code"] == "KC4741"
    assert {parts[verb]["outcome"] for verb in ("policy", "apply", "gate", "audit")} == {"not-run"}
    assert last == f"outcome=not-counted code=2 next=kcompiler ci {SPEC} --to DIR --base REVISION"
    # to raise the bound in the same change is a slip as any other
    Path(SPEC).write_text(text.replace("lines: 1}", "lines: 9}"))
    parts, last = ci(1, capsys, "--base", "HEAD")
    assert parts["policy diff"]["outcome"] == "weaker"
    row = {"rule": "answers/budgets.lines", "way": "weaker", "what": "1 → 9 lines a change", "weakens": True}
    assert parts["policy diff"]["data"]["asked"] == [{"lock": SPEC, **row, "allowed": None}]
    assert last == f"outcome=weaker code=1 next=git diff HEAD -- {SPEC}"
    assert {part["outcome"] for verb, part in parts.items() if verb != "policy diff"} == {"not-run"}
    # which somebody may say why
    parts, _ = ci(1, capsys, "--base", "HEAD", "--allow-weaker", "answers/budgets.lines", "the rows are split")
    assert [parts[verb]["outcome"] for verb in ("policy diff", "plan")] == ["ok", "lock-would-change"]
    assert "allowed: the rows are split" in Path("out/summary.md").read_text()

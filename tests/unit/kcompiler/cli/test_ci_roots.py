"""`ci --base`: what governed under one root governs under the next, and nothing governs by a link."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from kcompiler.cli import since
from kcompiler.cli.answer import Answer
from kcompiler.cli.outcome import Outcome
from tests.unit.kcompiler.cli.test_ci_specs import LAX, REVOKED, Repository, git, home, planned

__all__ = ["home", "planned"]
PACK = "name: acme/lab\nversion: 1\ntitle: Rules of the lab\nmin_n: {n}\n"
#: two, as a pack without a rule is none
RULES = ("few", "more")
RULE = """\
id: {id}
title: The student is gated in time
on: run
kind: bound
params: {{metric: cpu, op: "<=", threshold: "60", unit: s}}
remedy: train less
"""
WAIVER = """\
id: WV-0001
title: Rows are few
rules: [acme/lab/few]
subject: {spec: a}
reason: experimental_feature
description: the toy has fewer rows than the rule asks for, and more are written down now
mitigation: more rows are being written
author: ana
owner: ana
created: "2026-01-01"
expires: "2026-06-01"
"""
FOLDERS = ("specs", "generated", "policies", "waivers")


def bounded(text: str) -> str:
    return text + "budgets: {wall_s: 60, files: 3, lines: 40}\n"


@pytest.fixture
def whole(home: Repository) -> Repository:
    """A project with a spec that bounds changes, a pack, and a waiver that is revoked."""
    Path("specs/a.yaml").write_text(bounded("metadata: {name: a}\n"))
    for rule in RULES:
        Path(f"policies/acme/lab/{rule}").mkdir(parents=True)
        Path(f"policies/acme/lab/{rule}/rule.yaml").write_text(RULE.format(id=rule))
    Path("policies/acme/lab/pack.yaml").write_text(PACK.format(n=20))
    Path("waivers").mkdir()
    Path("waivers/WV-0001.yaml").write_text(f"id: WV-0001\n{REVOKED}")
    home.commit()
    return home


def moved(to: str, *folders: str) -> None:
    Path(to, ".kcompiler").mkdir(parents=True)
    for folder in folders or FOLDERS:
        shutil.move(folder, f"{to}/{folder}")


def edit(file: str, old: str, new: str) -> None:
    text = Path(file).read_text()
    assert old in text
    Path(file).write_text(text.replace(old, new))


class Said(NamedTuple):
    """The rules that are weaker, the files that are named, the command that comes next, and the notes."""

    rules: set[str]
    files: set[str]
    next: str
    notes: set[str]


def stage(code: int, spec: str, *allow: str) -> Said:
    """What the stage of ci says, which ends with `code`."""
    answer, ended = Answer(since.VERB, "HEAD", "", Path(spec)), None
    try:
        since.held_to(answer, "HEAD", dict.fromkeys(allow, "for a reason"), [Path(spec)])
    except Outcome as outcome:
        ended = outcome
    made = answer.made(ended or Outcome(0, "ok", "", ""))
    assert made.code == code
    rules = {one["rule"] for key in ("asked", "rules") for one in made.data[key] if one["weakens"]}
    return Said(
        rules,
        {one.file for one in made.diagnostics},
        made.next,
        {note for one in made.diagnostics for note in one.notes},
    )


def told(code: int, spec: str, *allow: str) -> set[str]:
    return stage(code, spec, *allow).rules


#: what is done to what has moved to lab/ → what is told
WEAKENED: dict[str, tuple[Callable[[], None], str]] = {
    "a revocation": (lambda: edit("lab/waivers/WV-0001.yaml", REVOKED, ""), "waivers/WV-0001"),
    "the record of a revocation": (lambda: Path("lab/waivers/WV-0001.yaml").unlink(), "waivers/WV-0001"),
    "of how many items a rate is": (
        lambda: edit("lab/policies/acme/lab/pack.yaml", "min_n: 20", "min_n: 1"),
        "acme/lab/pack.yaml",
    ),
    "a rule": (lambda: shutil.rmtree("lab/policies/acme/lab/few"), "acme/lab/few"),
    "a bound on a change": (lambda: edit("lab/specs/a.yaml", "files: 3, ", ""), "a/budgets.files"),
    "a higher bound": (lambda: edit("lab/specs/a.yaml", "lines: 40", "lines: 41"), "a/budgets.lines"),
}


def test_a_root_that_only_moved_is_as_it_was(whole: Repository) -> None:
    moved("lab")
    assert told(0, "lab/specs/a.yaml") == set()


@pytest.mark.parametrize("what", WEAKENED)
def test_a_root_that_moved_is_held_to_what_it_was(whole: Repository, what: str) -> None:
    moved("lab")
    weaken, rule = WEAKENED[what]
    weaken()
    said = stage(1, "lab/specs/a.yaml")
    assert said.rules == {rule}
    # files are shown from the root, and where that lies is told
    assert said.notes == {"the project's root is lab"}
    assert told(0, "lab/specs/a.yaml", rule) == {rule}


def a_stub_without_a_name() -> None:
    Path("specs/a.yaml").write_text("{}\n")


def nothing() -> None:
    Path("specs/a.yaml").unlink()


@pytest.mark.parametrize(("stays", "file"), [(a_stub_without_a_name, "specs/b.json"), (nothing, "deep/er/b.yaml")])
def test_a_bound_goes_with_what_takes_the_place_of_its_spec(
    whole: Repository, stays: Callable[[], None], file: str
) -> None:
    stays()
    shutil.rmtree("generated/a")
    whole.spec(file, "b")
    Path(file).write_text(json.dumps({"metadata": {"name": "b"}}))
    assert told(1, file) == {"b/budgets.files", "b/budgets.lines"}
    Path(file).write_text(bounded("metadata: {name: b}\n"))
    assert told(0, file) == set()


def test_a_copy_of_a_waiver_is_revoked_as_it_is(whole: Repository) -> None:
    """Also where its project stays, and another is new beside it."""
    Path("lab/.kcompiler").mkdir(parents=True)
    whole.spec("lab/specs/c.yaml", "c")
    shutil.move("generated/c", "lab/generated/c")
    edit("lab/generated/c/plan.lock", "lab/specs/c.yaml", "specs/c.yaml")
    assert told(0, "lab/specs/c.yaml") == set()
    Path("lab/waivers").mkdir()
    Path("lab/waivers/WV-0001.yaml").write_text("id: WV-0001\n")
    assert told(1, "lab/specs/c.yaml") == {"waivers/WV-0001"}
    # a line without meaning makes it no other one, nor does any other that was not here: it may be what was signed before
    for line in ("max_uses: null", "title: something else"):
        Path("lab/waivers/WV-0001.yaml").write_text(f"id: WV-0001\n{line}\n")
        assert told(1, "lab/specs/c.yaml") == {"waivers/WV-0001"}
    assert told(0, "lab/specs/c.yaml", "waivers/WV-0001") == {"waivers/WV-0001"}
    # one of the same number that stood there, and is about nothing of it, is its own
    whole.commit()
    assert told(0, "lab/specs/c.yaml") == set()
    Path("lab/waivers/WV-0001.yaml").write_text("id: WV-0001\ntitle: something other\n")
    assert told(1, "lab/specs/c.yaml") == {"waivers/WV-0001"}


#: what stood elsewhere under the id of a revoked waiver, as an edit of it → whether that was revoked, too
STOOD = {
    "a line without meaning": ("id:", "max_uses: null\n# a word\nid:", True),
    "what was signed before": ("more are written down now", "more are being written down now", True),
    "a wider one": ("rules: [", "rules: [acme/lab/more, ", True),
    "one that names less": ("{spec: a}", f"{{lock: sha256:{'a' * 64}}}", True),
    "one of another rule": ("acme/lab/few", "acme/lab/more", False),
    "one of another spec": ("{spec: a}", "{spec: c}", False),
}


@pytest.mark.parametrize("way", STOOD)
def test_what_was_signed_is_what_is_revoked(whole: Repository, way: str) -> None:
    """Of a waiver that can be read what its approvers signed counts, also where it stood unrevoked before."""
    old, new, revoked = STOOD[way]
    assert old in WAIVER
    Path("lab/.kcompiler").mkdir(parents=True)
    whole.spec("lab/specs/c.yaml", "c")
    shutil.move("generated/c", "lab/generated/c")
    edit("lab/generated/c/plan.lock", "lab/specs/c.yaml", "specs/c.yaml")
    Path("lab/waivers").mkdir()
    Path("waivers/WV-0001.yaml").write_text(WAIVER + REVOKED)
    Path("lab/waivers/WV-0001.yaml").write_text(WAIVER.replace(old, new, 1))
    whole.commit()
    assert told(int(revoked), "lab/specs/c.yaml") == ({"waivers/WV-0001"} if revoked else set())
    # one that is new is told whatever it says
    edit("lab/waivers/WV-0001.yaml", "owner: ana", "owner: bo")
    assert told(1, "lab/specs/c.yaml") == {"waivers/WV-0001"}
    assert told(0, "lab/specs/c.yaml", "waivers/WV-0001") == {"waivers/WV-0001"}


def test_a_record_that_no_project_has_any_more_is_kept(whole: Repository) -> None:
    moved("lab", "specs", "generated", "policies")
    assert told(0, "lab/specs/a.yaml") == set()
    whole.commit()
    Path("waivers/WV-0001.yaml").unlink()
    assert told(1, "lab/specs/a.yaml") == {".:waivers/WV-0001"}


def test_a_stub_of_a_root_hides_nothing(whole: Repository) -> None:
    """What stays where it was, and asks less there, is told when something new stands elsewhere."""
    shutil.copytree(".", "lab", ignore=shutil.ignore_patterns(".git", "lab"))
    assert told(0, "lab/specs/a.yaml") == set()
    edit("policies/acme/lab/pack.yaml", "min_n: 20", "min_n: 1")
    whole.spec("specs/a.yaml", "a", LAX)
    found = told(1, "lab/specs/a.yaml")
    assert {".:acme/lab/pack.yaml", ".:a/budgets.files"} < found
    assert any(rule.startswith(".:data/") for rule in found)


def test_two_roots_that_become_one_and_one_that_becomes_two(whole: Repository) -> None:
    shutil.copytree(".", "lab", ignore=shutil.ignore_patterns(".git", "lab"))
    whole.commit()
    shutil.rmtree("lab")
    assert told(1, "specs/a.yaml") == {"a/spec"}
    moved("one", "specs", "generated", "waivers")
    Path("two").mkdir()
    shutil.move("policies", "two/policies")
    assert told(1, "one/specs/a.yaml") == {"a/spec", "acme/lab/few", "acme/lab/more"}


@pytest.mark.parametrize("place", ["generated", "policies/acme/lab", "specs/a.yaml", "waivers/WV-0001.yaml"])
def test_nothing_governs_by_a_link(whole: Repository, place: str) -> None:
    shutil.move(place, "elsewhere")
    Path(place).symlink_to(Path("elsewhere").resolve())
    assert stage(1, "specs/a.yaml") == ({f"links/{place}"}, {place}, f"git log -- :/{place}", set())
    # the commit that made it one is no way around it
    whole.commit()
    assert told(1, "specs/a.yaml") == {f"links/{place}"}
    Path(place).unlink()
    shutil.move("elsewhere", place)
    assert told(1, "specs/a.yaml") == {f"links/{place}"}
    assert f"links/{place}" in told(0, "specs/a.yaml", f"links/{place}")


def test_a_root_that_is_a_link_is_told(whole: Repository) -> None:
    moved("lab")
    whole.commit()
    shutil.move("lab", "real")
    Path("lab").symlink_to("real")
    assert told(1, "lab/specs/a.yaml") == {"links/lab"}


def test_a_folder_that_is_a_repository_of_its_own_now_is_told(whole: Repository) -> None:
    moved("lab")
    whole.commit()
    git("-C", "lab", "init", "-q")
    git("-C", "lab", "add", "-A")
    git("-C", "lab", "commit", "-qm", "so")
    assert told(1, "lab/specs/a.yaml") == {"links/lab"}
    shutil.rmtree("lab/.git")
    git("-C", "lab/policies", "init", "-q")
    assert told(1, "lab/specs/a.yaml") == {"links/lab/policies"}


def test_a_folder_called_otherwise_but_for_its_case_is_told(whole: Repository) -> None:
    shutil.move("waivers", "Waivers")
    assert told(1, "specs/a.yaml") == {"links/Waivers/WV-0001.yaml"}


def test_no_attribute_hides_a_rule_of_the_base(whole: Repository) -> None:
    Path(".gitattributes").write_text("policies/** export-ignore\n")
    whole.commit()
    shutil.rmtree("policies/acme/lab/few")
    assert told(1, "specs/a.yaml") == {"acme/lab/few"}


def test_a_clone_that_lacks_the_mark_of_a_root_is_told_how_to_make_it(whole: Repository) -> None:
    moved("lab")
    Path("lab/.kcompiler").rmdir()
    assert stage(1, "lab/specs/a.yaml").next == "mkdir lab/.kcompiler"
    Path("lab/.kcompiler").mkdir()
    assert told(0, "lab/specs/a.yaml") == set()
    whole.commit()
    Path("lab/.kcompiler").rmdir()
    assert stage(1, "lab/specs/a.yaml").next == "mkdir lab/.kcompiler"


@pytest.mark.parametrize("file", ["waivers/WV-0001.yaml", "specs/a.yaml", "policies/acme/lab/pack.yaml"])
def test_a_file_that_git_holds_elsewhere_hides_nothing(whole: Repository, file: str) -> None:
    text = Path(file).read_text()
    Path(file).write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize {len(text)}\n")
    whole.commit()
    Path(file).write_text(text)
    assert told(1, "specs/a.yaml") == {f"links/{file}"}

"""`kcompiler policy`, as people run it: exit codes, what it says, and that its advice works."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from kcompiler import assets
from kcompiler.cli import _main

SHIPPED = assets.folder("policies") / "roles" / "drafter"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one pack: a shipped one under another name."""
    (tmp_path / ".kcompiler").mkdir()
    shutil.copytree(SHIPPED, tmp_path / "policies" / "acme")
    (tmp_path / "policies" / "acme" / "pack.yaml").write_text(
        (SHIPPED / "pack.yaml").read_text().replace("name: roles/drafter", "name: acme")
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path / "policies" / "acme"


def run(*words: str) -> int:
    return _main(["policy", *words])


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_a_pack_without_a_name_is_every_pack_of_the_project(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("test", "--no-mutants") == 0
    assert capsys.readouterr().out.startswith("2 rules")


def test_no_pack_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".kcompiler").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run("test") == 2
    assert run("test", "no/such") == 2


def test_a_case_that_is_decided_otherwise_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(home / "kd-gain" / "fail.json", '"outcome": "fail"', '"outcome": "pass"')
    assert run("test", "acme", "--no-mutants") == 1
    assert "acme/kd-gain/fail.json" in capsys.readouterr().out


def test_a_slip_nobody_notices_is_shown_and_add_writes_what_notices_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = home / "kd-gain" / "fail.json"
    told = json.loads(case.read_text())
    assert told["expect"].pop("blocks") is True
    case.write_text(json.dumps(told))
    assert run("test", "acme") == 1
    shown = capsys.readouterr()
    assert "acme/kd-gain: no case notices mode warn in place of block" in shown.out
    assert "fail.json would, with" in shown.out
    assert "--add" in shown.err
    assert run("test", "acme", "--add") == 0
    assert "wrote acme/kd-gain/fail.json" in capsys.readouterr().out
    assert run("test", "acme", "--format", "json") == 0
    told = json.loads(capsys.readouterr().out)["rules"]
    assert [one["lived"] for one in told] == [[], []]
    assert all(one["mutants"] > 3 for one in told)


def test_a_pack_that_cannot_be_read_is_said_with_its_place(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(home / "kd-gain" / "rule.yaml", "mode: block", "mdoe: block")
    assert run("test", "acme") == 2
    assert "policies/acme/kd-gain/rule.yaml" in capsys.readouterr().err


def test_weaker_needs_a_reason(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("diff", "roles/drafter", "acme") == 0
    edit(home / "kd-gain" / "rule.yaml", "mode: block", "mode: warn")
    assert run("diff", "roles/drafter", "acme") == 1
    assert "weaker" in capsys.readouterr().out
    assert run("diff", "acme", "roles/drafter") == 0
    assert run("diff", "roles/drafter", str(home), "--allow-weaker", "kd-gain", "a trial until May") == 0
    assert "allowed: a trial until May" in capsys.readouterr().out
    assert run("diff", "roles/drafter", "acme", "--allow-weaker", "kd-gain", " ") == 2
    capsys.readouterr()
    key = "sk-" + "proj-" + "0a" * 14
    assert run("diff", "roles/drafter", "acme", "--allow-weaker", "kd-gain", f"asked with {key}") == 2
    told = capsys.readouterr()
    assert "KC4209" in told.err
    assert key not in told.out + told.err
    assert run("diff", "roles/drafter", "acme", "--allow-weaker", "package", "not weaker at all") == 2
    assert "--allow-weaker package: that is not weaker; what is: kd-gain" in capsys.readouterr().err
    assert run("diff", "acme", "roles/drafter", "--allow-weaker", "package", "not weaker at all") == 2
    assert "that is not weaker; nothing is" in capsys.readouterr().err
    assert run("diff", "roles/drafter", "acme", "--format", "json") == 1


def test_a_revision_is_a_side(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    root = home.parents[1]
    for words in (["init", "-q"], ["add", "policies"], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    edit(home / "kd-gain" / "rule.yaml", "mode: block", "mode: warn")
    assert run("diff", "HEAD:acme", "acme") == 1
    assert "mode block → warn" in capsys.readouterr().out
    assert run("diff", "HEAD:policies/acme", "HEAD:acme") == 0
    assert run("diff", "nowhere:acme", "acme") == 2

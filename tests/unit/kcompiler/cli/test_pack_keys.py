"""A key that somebody wrote into a text of a pack: every verb that reads packs says where, and none repeats it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.audit import packing
from kcompiler.cli import _main

CASE = Path(__file__).resolve().parents[3] / "golden" / "plan" / "a-good-spec-is-planned-without-a-word"
#: no one's key: the canary
KEY = "sk-proj-" + "c4n4ry" * 5
PEM = "-----BEGIN OPENSSH " + "PRIVATE KEY-----\n  " + "c4n4ry" * 11
RULE = """\
id: few
title: The student is gated in time
on: run
kind: bound
# a minute of this machine is what the lab pays for
params: {metric: cpu, op: "<=", threshold: "60", unit: s}
remedy: train less
"""
HEAD = "name: acme/lab\nversion: 1\ntitle: Rules of the lab\nmin_n: 20\n"
LAB = "policies/acme/lab"


def git(*words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], check=True, capture_output=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for folder in (".kcompiler", "specs", f"{LAB}/few/baseline"):
        (tmp_path / folder).mkdir(parents=True)
    text = (CASE / "spec.yaml").read_text()
    (tmp_path / "specs/a.yaml").write_text(text.replace("[caws/core]", "[caws/core, acme/lab]"))
    (tmp_path / LAB / "pack.yaml").write_text(HEAD)
    (tmp_path / LAB / "few/rule.yaml").write_text(RULE)
    (tmp_path / LAB / "few/pass.json").write_text('{\n "expect": {"outcome": "pass"}\n}\n')
    return tmp_path


def edit(place: str, change: Callable[[str], str]) -> str:
    path = Path(LAB) / place
    path.write_text(change(path.read_text() if path.exists() else ""))
    return path.as_posix()


def escaped(text: str, start: str = "x") -> str:
    return "".join(f"\\{start}{ord(one):02x}" for one in text)


#: where it stands → the file, its text with the key, and the line
PLANTED: dict[str, tuple[str, Callable[[str], str], int]] = {
    "the title of a rule": ("few/rule.yaml", lambda text: text.replace("gated in", f"gated {KEY} in"), 2),
    "a comment of a rule": ("few/rule.yaml", lambda text: text.replace("a minute", f"Bearer {KEY}, a minute"), 5),
    "a rule, in escapes": ("few/rule.yaml", lambda text: text.replace("train less", f'"train {escaped(KEY)}"'), 7),
    "the head of a pack": ("pack.yaml", lambda text: text + f"owner: {KEY}\n", 5),
    "a private key": ("pack.yaml", lambda text: text + f"owner: |\n  {PEM}\n", 6),
    "a case, in escapes": ("few/pass.json", lambda text: text.replace("pass", escaped(KEY, "u00")), 2),
    "a case": ("few/pass.json", lambda text: text.replace("pass", KEY), 2),
    "what a rule compares with": ("few/baseline/run.json", lambda _: f'{{"environment":\n "{KEY}"}}\n', 2),
}
VERBS = (
    ["validate", "specs/a.yaml"],
    ["plan", "specs/a.yaml"],
    ["plan", "specs/a.yaml", "--format", "json"],
    ["policy", "lint", "acme/lab"],
    ["policy", "test", "acme/lab"],
    ["policy", "diff", "acme/lab", "acme/lab"],
    ["policy", "doc"],
)


@pytest.mark.parametrize("where", PLANTED)
def test_a_key_in_a_pack_is_told_at_its_line_and_repeated_nowhere(
    home: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    place, change, line = PLANTED[where]
    file = edit(place, change)
    (found,) = [one for one in policy.load(["acme/lab"], [home / "policies"]).problems if one.code == "KC4209"]
    assert (found.file, found.line, found.severity) == (file, line, "error")
    planted = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    for words in VERBS[:2] if where != "a case" else VERBS:
        code = _main(list(words))
        told = capsys.readouterr()
        said = told.out + told.err
        assert "c4n4ryc4n4ry" not in said
        assert escaped(KEY) not in said
        if words == ["policy", "doc"]:
            continue
        assert code == (2 if words[0] == "policy" else 1), said
        if "json" in words:
            (one,) = [each for each in json.loads(told.out)["diagnostics"] if each["code"] == "KC4209"]
            assert (one["file"], one["line"]) == (file, line)
        else:
            assert f"{file}:{line}:" in said
            assert "error[KC4209]: this looks like a key" in said
    with pytest.raises(packing.Unfit, match=f"{file}:{line}:.* not copied into evidence"):
        dict(packing._policies(home, ["acme/lab"], {}))
    written = [path for path in home.rglob("*") if path.is_file() and path not in planted]
    assert all(b"c4n4ryc4n4ry" not in path.read_bytes() for path in written)


@pytest.mark.parametrize("place", [f"few/{KEY}.json", f"few/{KEY}/x.json", f"{KEY}/rule.yaml"])
def test_a_key_in_the_name_of_a_file_or_folder_is_told_and_repeated_nowhere(
    home: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (home / LAB / place).parent.mkdir(exist_ok=True)
    edit(place, lambda _: RULE if place.endswith("yaml") else "{}\n")
    for words in (["plan", "specs/a.yaml"], ["policy", "lint", "acme/lab"]):
        assert _main(words) in (1, 2)
        told = capsys.readouterr()
        assert "error[KC4209]: the name of this file looks like a key" in told.out + told.err
        assert "c4n4ryc4n4ry" not in told.out + told.err


def test_whoever_takes_a_key_out_is_still_asked_by_what_stood_there(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(*PLANTED["the title of a rule"][:2])
    edit(*PLANTED["a case"][:2])
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "with a key")
    edit("few/rule.yaml", lambda _: RULE.replace('"60"', '"90"'))
    edit("few/pass.json", lambda _: "{}\n")
    assert _main(["policy", "diff", "HEAD:acme/lab", "acme/lab"]) == 1
    told = capsys.readouterr()
    assert "<= 60 → <= 90" in told.out
    assert KEY not in told.out + told.err
    edit("few/rule.yaml", lambda _: RULE)
    assert _main(["policy", "diff", "HEAD:acme/lab", "acme/lab"]) == 0


def test_no_shipped_pack_holds_one(capsys: Any) -> None:
    from kcompiler.veil import places

    files = [path for path in assets.folder("policies").rglob("*") if path.suffix in (".json", ".yaml", ".yml")]
    assert len(files) > 1000
    assert [path for path in files if list(places(path.read_bytes()))] == []

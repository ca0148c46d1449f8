"""A name of a revision stands for one commit, or is refused with a name that does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kcompiler.cli import _main
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.revision import unmistaken
from tests.unit.kcompiler.cli.test_ci_specs import Repository, git, home, planned

__all__ = ["home", "planned"]


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two commits; the remote's main, the branch `main` and a tag v1 are the first, HEAD is the second."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q", "-b", "work")
    for name in ("one", "two"):
        git("commit", "-q", "--allow-empty", "-m", name)
    first, second = git("rev-parse", "HEAD~1"), git("rev-parse", "HEAD")
    for ref in ("refs/remotes/origin/main", "refs/heads/main", "refs/tags/v1"):
        git("update-ref", ref, first)
    return first, second


#: the ref that somebody adds at the second commit → a name that then stands for two, and what is advised for it
DOUBLE = {
    "refs/tags/origin/main": ("origin/main", "refs/remotes/origin/main"),
    "refs/heads/origin/main": ("origin/main~0", "refs/heads/origin/main~0"),
    "refs/tags/main": ("main^{commit}", "refs/heads/main^{commit}"),
    "refs/heads/v1": ("v1", "refs/heads/v1"),
    "refs/tags/heads/main": ("heads/main", "refs/heads/main"),
    "refs/remotes/v1/HEAD": ("v1", "refs/remotes/v1/HEAD"),
}


@pytest.mark.parametrize("ref", DOUBLE)
def test_a_name_of_two_commits_is_refused_with_one_of_one(two: tuple[str, str], ref: str) -> None:
    name, full = DOUBLE[ref]
    unmistaken(name, Path())
    # another name of the same commit is no other
    git("update-ref", ref, two[0])
    unmistaken(name, Path())
    if ref.startswith("refs/tags/"):  # one with a text of its own
        git("tag", "-f", "-a", "-m", "by hand", ref.removeprefix("refs/tags/"), two[1])
    else:
        git("update-ref", ref, two[1])
    with pytest.raises(Outcome) as refused:
        unmistaken(name, Path())
    assert (refused.value.code, refused.value.word) == (2, "ambiguous-revision")
    assert refused.value.next_command == f"the same command with {full} for {name}, if that is meant"
    # every name that is told can be typed
    for one in (full, *re.findall(r"refs/[^ ,]+", refused.value.message)):
        unmistaken(one, Path())
        assert git("rev-parse", "--verify", f"{one}^0") in two


def test_a_tag_called_as_a_commit_begins_is_no_commit(two: tuple[str, str]) -> None:
    for name in (two[0][:8], f"v1-1-g{two[0][:8]}"):
        unmistaken(name, Path())
        git("tag", name, two[1])
        with pytest.raises(Outcome, match="ambiguous-revision") as refused:
            unmistaken(name, Path())
        assert two[0][:12] in refused.value.message
    unmistaken(two[0], Path())


def test_what_a_full_name_lacks_no_tag_gives_it(two: tuple[str, str]) -> None:
    unmistaken("refs/remotes/origin/none", Path())  # git itself says so
    git("update-ref", "refs/tags/refs/remotes/origin/none", two[1])
    with pytest.raises(Outcome, match="no-such-revision"):
        unmistaken("refs/remotes/origin/none", Path())
    git("update-ref", "refs/tags/refs/remotes/origin/main", two[1])
    unmistaken("refs/remotes/origin/main", Path())


@pytest.mark.parametrize("name", ["HEAD", "@", "HEAD~1", ":/two", "--output=x", "no such", "main@{0}", ""])
def test_what_is_of_this_clone_or_is_no_name_is_left_to_git(two: tuple[str, str], name: str) -> None:
    unmistaken(name, Path())


def test_no_tag_stands_for_the_branch_that_a_pull_request_is_held_to(
    home: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    home.spec("specs/a.yaml", "a", wall_s=9999)
    home.commit()
    git("tag", "origin/main")
    words = ["ci", "specs/a.yaml", "--to", "out", "--plan-only", "--base"]
    assert _main([*words, "origin/main"]) == 2
    assert json.loads(Path("out/packs.json").read_text())["outcome"] == "ambiguous-revision"
    said = capsys.readouterr().err
    assert "origin/main stands for several commits: refs/tags/origin/main (" in said
    advice = said.splitlines()[-1].partition(" next=the same command with ")[2]
    assert _main([*words, advice.split()[0]]) == 1
    assert json.loads(Path("out/packs.json").read_text())["outcome"] == "weaker"
    assert _main(["diff", "origin/main:./generated/a/plan.lock", "generated/a"]) == 2
    assert "outcome=ambiguous-revision" in capsys.readouterr().err

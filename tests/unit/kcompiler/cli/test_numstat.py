"""What a change touches, as git counts it: in clones that are cut, beside files that git does not know, in submodules."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kcompiler.cli.numstat import Changed, Uncounted, Wanted, counted, fork, renamed

WHO = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
ROWS = Wanted(frozenset({"data"}))


def git(at: Path, *words: str) -> str:
    command = ["git", "-c", "protocol.file.allow=always", *WHO, *words]
    return subprocess.run(command, cwd=at, check=True, capture_output=True, text=True).stdout.strip()


def commit(at: Path, **files: str | bytes) -> str:
    for name, text in files.items():
        path = at / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    git(at, "add", "-A")
    git(at, "commit", "-qm", "x", "--allow-empty")
    return git(at, "rev-parse", "HEAD")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    at = tmp_path / "home"
    at.mkdir()
    git(at, "init", "-q", "-b", "main")
    return at


def sizes(
    at: Path, base: str, wanted: Wanted = ROWS, pinned: tuple[str, ...] = ()
) -> dict[str, tuple[int | None, ...]]:
    return {one.path: (one.added, one.deleted) for one in counted(at, fork(at, base), wanted, pinned)}


def test_text_binary_moved_deleted_and_new_files(home: Path) -> None:
    lines = "".join(f"row {i}\n" for i in range(40))
    base = commit(home, a="1\n2\n3\n", b=b"\0\1", gone="1\n2\n", moved=lines, same="x\n", mode="x\n")
    (home / "other").write_text("no source\n")
    (home / "data/gone").unlink()
    (home / "data/moved").rename(home / "data/else where\tand\nthere")
    (home / "data/mode").chmod(0o755)
    commit(home, a="1\n2\n4\n", b=b"\0\2", new="p\nq")
    found = counted(home, fork(home, base), ROWS)
    assert found == [
        Changed("data/a", "", 1, 1),
        Changed("data/b", "", None, None),
        Changed("data/else where\tand\nthere", "data/moved", 0, 0),
        Changed("data/gone", "", 0, 2),
        Changed("data/mode", "", 0, 0),
        Changed("data/new", "", 2, 0),
    ]
    assert [one.lines for one in found] == [2, 0, 0, 2, 0, 2]
    assert renamed(home, base, "data/else where\tand\nthere") == "data/moved"
    assert renamed(home, base, "data/new") == ""
    # a file that is moved out of what is a source was one
    assert sizes(home, base, Wanted(frozenset({"data/moved"}))) == {"data/else where\tand\nthere": (0, 0)}
    # a name is a name and no pattern
    assert sizes(home, base, Wanted(frozenset({"data/*", "dat"}))) == {}


def test_what_is_not_committed_yet_counts(home: Path) -> None:
    base = commit(home, a="1\n", b="1\n")
    (home / "data/a").write_text("1\n2\n")
    git(home, "add", "-A")
    (home / "data/b").write_text("2\n")
    assert sizes(home, base) == {"data/a": (1, 0), "data/b": (1, 1)}


def test_settings_and_attributes_hide_no_line(home: Path) -> None:
    base = commit(home, a="1\n2\n", b=b"\0\1", moved="".join(f"{i}\n" for i in range(40)))
    (home / ".gitattributes").write_text("data/* -diff\n*.jsonl binary\n")
    git(home, "config", "diff.renames", "false")
    git(home, "config", "diff.external", "false")
    (home / "data/moved").rename(home / "data/there")
    commit(home, **{"a": "1\n3\n", "b": b"\0\2", "new.jsonl": "{}\n{}\n"})
    found = sizes(home, base)
    assert found == {"data/a": (1, 1), "data/b": (None, None), "data/there": (0, 0), "data/new.jsonl": (2, 0)}


def test_ends_of_lines_are_as_git_says(home: Path) -> None:
    base = commit(home, a="1\n2\n", b="1\n2\n", **{"../.gitattributes": "data/a text=auto\n"})
    # a checkout with other ends is no change; another text in the repository is
    (home / "data/a").write_bytes(b"1\r\n2\r\n")
    commit(home, b="1\r\n2\r\n")
    assert sizes(home, base) == {"data/b": (2, 2)}


def test_files_that_git_does_not_know_are_new_as_a_whole(home: Path) -> None:
    base = commit(home, a="1\n", **{"../.gitignore": "*.bin\nignored\n"})
    for name, text in {
        "new": b"1\n2\n3",
        "ignored": b"1\n",
        "w.bin": b"\0",
        "__pycache__/x": b"1",
        "empty": b"",
    }.items():
        (home / "data" / name).parent.mkdir(exist_ok=True)
        (home / "data" / name).write_bytes(text)
    (home / "elsewhere").write_text("1\n")
    (home / "data/link").symlink_to("nowhere")
    everything = {
        "data/empty": (0, 0),
        "data/ignored": (1, 0),
        "data/link": (1, 0),
        "data/new": (3, 0),
        "data/w.bin": (None, None),
    }
    assert sizes(home, base) == everything
    # of a folder of code what git is told to ignore is nobody's
    own = Wanted(frozenset(), frozenset({"data"}))
    assert sizes(home, base, own) == {path: everything[path] for path in ("data/empty", "data/link", "data/new")}
    # what is as it was pinned is no change
    assert sizes(home, base, ROWS, ("data/new", "data/w.bin")).keys() == everything.keys() - {"data/new", "data/w.bin"}
    # a repository within, of which git says nothing but that it is there
    (home / "data/inner").mkdir()
    git(home / "data/inner", "init", "-q")
    commit(home / "data/inner", a="1\n")
    with pytest.raises(Uncounted, match="a repository of its own"):
        sizes(home, base)


def test_a_base_that_went_on_is_counted_from_where_the_history_left_it(home: Path) -> None:
    commit(home, a="1\n")
    git(home, "checkout", "-qb", "topic")
    commit(home, b="1\n")
    git(home, "checkout", "-q", "main")
    commit(home, a="1\n2\n3\n")
    git(home, "checkout", "-q", "topic")
    assert sizes(home, "main") == {"data/b": (1, 0)}
    assert sizes(home, "HEAD") == {}


def test_a_project_below_the_top_of_its_repository(home: Path) -> None:
    base = commit(home, a="1\n", **{"../below/data/a": "1\n"})
    commit(home, a="2\n", **{"../below/data/a": "2\n3\n", "../below/data/b": "1\n"})
    (home / "below/data/c").write_text("1\n")
    assert sizes(home / "below", base) == {"data/a": (2, 1), "data/b": (1, 0), "data/c": (1, 0)}


def refused(at: Path, base: str, said: str, action: str, wanted: Wanted = ROWS) -> None:
    with pytest.raises(Uncounted, match=said) as why:
        sizes(at, base, wanted)
    assert action in why.value.action


def test_nobody_counts_where_the_base_and_its_history_are_not(home: Path, tmp_path: Path) -> None:
    refused(tmp_path, "HEAD", "does not lie in a checkout of git", "--base")
    refused(home, "HEAD", "have no commit in common", "name a revision")
    base = commit(home, a="1\n")
    refused(home, "nowhere", "have no commit in common", "name a revision")
    refused(home, "--output=x", "have no commit in common", "name a revision")
    commit(home, a="2\n")
    last = commit(home, a="3\n")
    git(home, "checkout", "-q", "--orphan", "other")
    commit(home, a="4\n")
    refused(home, last, "have no commit in common", "name a revision")
    git(home, "checkout", "-q", "main")
    git(tmp_path, "clone", "-q", "--depth", "1", home.as_uri(), "cut")
    refused(tmp_path / "cut", base, "this clone is shallow", "git fetch --unshallow")
    # and what it advises helps
    git(tmp_path / "cut", "fetch", "-q", "--unshallow")
    assert sizes(tmp_path / "cut", base) == {"data/a": (1, 1)}


def test_a_submodule_is_counted_inside(home: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    git(inner, "init", "-q", "-b", "main")
    commit(inner, a="1\n2\n")
    before = commit(home)
    git(home, "submodule", "add", "-q", inner.as_uri(), "mod/rows")
    base = commit(home)
    rows = Wanted(frozenset({"mod/rows/data/a", "x"}))
    # new as a whole, and not at all where nothing of it is a source
    assert sizes(home, before, rows) == {"mod/rows/data/a": (2, 0)}
    assert sizes(home, before, Wanted(frozenset({"mod/rows"}))) == {"mod/rows/data/a": (2, 0)}
    assert sizes(home, base, rows) == sizes(home, before, Wanted(frozenset({"x"}))) == {}
    # not committed, then committed there and here
    (home / "mod/rows/data/a").write_text("1\n3\n4\n")
    assert sizes(home, base, rows) == {"mod/rows/data/a": (2, 1)}
    commit(home / "mod/rows")
    commit(home)
    assert sizes(home, base, rows) == {"mod/rows/data/a": (2, 1)}
    (home / "mod/rows/data/b").write_text("1\n")
    assert sizes(home, base, Wanted(frozenset({"mod"}))).keys() == {"mod/rows/data/a", "mod/rows/data/b"}
    git(home / "mod/rows", "push", "-q", "origin", "HEAD:pushed")
    git(inner, "checkout", "-q", "main")
    commit(inner, c="1\n")
    git(inner, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(tmp_path, "clone", "-q", home.as_uri(), "clone")
    refused(tmp_path / "clone", base, "mod/rows is not checked out", "git submodule update --init", rows)
    git(tmp_path / "clone", "submodule", "update", "-q", "--init", "--depth", "1")
    refused(tmp_path / "clone", base, "commit .* of the submodule mod/rows", "git -C mod/rows fetch --unshallow", rows)
    git(tmp_path / "clone", "-C", "mod/rows", "fetch", "-q", "--unshallow")
    assert sizes(tmp_path / "clone", base, rows) == {"mod/rows/data/a": (2, 1)}

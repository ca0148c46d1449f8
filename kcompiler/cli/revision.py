"""A revision of git × a project → what lay in it. Paths are relative to the project's root."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from kcompiler.cli.outcome import Outcome


def run(words: Sequence[str], at: Path | str | None, around: Mapping[str, str] | None = None) -> tuple[int, bytes, str]:
    """Exit code of `git WORDS` in a folder, what it printed, and what it complained of. Raises FileNotFoundError where
    git is not installed."""
    ended = subprocess.run(("git", *words), cwd=at, env=around, capture_output=True, stdin=subprocess.DEVNULL)
    return ended.returncode, ended.stdout, ended.stderr.decode("utf-8", "replace").strip()


def git(verb: str, *names: str, options: Sequence[str] = (), at: Path | str | None = None) -> bytes:
    """What git prints about revisions. Raises Outcome where there is no such revision, after git's own words."""
    # a revision that starts with a dash is a revision: `--output=…` would write a file
    try:
        code, printed, complaint = run([verb, *options, *(["--end-of-options", *names] if names else [])], at)
    except FileNotFoundError:
        code, printed, complaint = -1, b"", "git is not installed"
    if code:
        click.echo(complaint, err=True)
        raise Outcome(2, "no-such-revision", "git log --oneline")
    return printed


def files(root: Path, revision: str) -> list[str]:
    """Every file of the project in a revision. Raises Outcome."""
    listed = git("ls-tree", revision, options=["-rz", "--name-only"], at=root)
    return listed.decode("utf-8", "replace").split("\0")


def locks(listed: Sequence[str]) -> list[str]:
    """Those of the files that are locks."""
    return [place for place in listed if re.fullmatch(r"generated/[^/]+/plan\.lock", place)]


def text(root: Path, revision: str, place: str) -> bytes:
    """A file as it was committed then. Raises Outcome."""
    return git("show", f"{revision}:./{place}", at=root)

"""A revision of git × a project → what lay in it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from kcompiler.cli.outcome import Outcome


def run(
    words: Sequence[str], at: Path | str | None, around: Mapping[str, str] | None = None, fed: bytes = b""
) -> tuple[int, bytes, str]:
    """Exit code of `git WORDS` in a folder, fed with some bytes, what it printed, and what it complained of. Raises
    FileNotFoundError where git is not installed."""
    ended = subprocess.run(("git", *words), cwd=at, env=around, capture_output=True, input=fed)
    return ended.returncode, ended.stdout, ended.stderr.decode("utf-8", "replace").strip()


def git(verb: str, *names: str, options: Sequence[str] = (), at: Path | str | None = None, fed: bytes = b"") -> bytes:
    """What git prints about revisions. Raises Outcome where there is no such revision, after git's own words."""
    # a revision that starts with a dash is a revision: `--output=…` would write a file
    try:
        code, printed, complaint = run([verb, *options, *(["--end-of-options", *names] if names else [])], at, fed=fed)
    except FileNotFoundError:
        code, printed, complaint = -1, b"", "git is not installed"
    if code:
        click.echo(complaint, err=True)
        raise Outcome(2, "no-such-revision", "git log --oneline")
    return printed

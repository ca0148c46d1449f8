"""A revision of git × a project → what lay in it."""

from __future__ import annotations

import re
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


def is_revision(name: str) -> bool:
    """Whether git knows a commit by this name, from here."""
    return _said("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}") is not None


def place_in(revision: str, path: Path) -> str:
    """A path of here as it is called in a revision, from the top of the repository; "" where it was not there."""
    top = _said("rev-parse", "--show-toplevel")
    if top is None or not path.resolve().is_relative_to(Path(top).resolve()):
        return ""
    place = path.resolve().relative_to(Path(top).resolve()).as_posix()
    return place if _said("cat-file", "-e", f"{revision}:{place}") is not None else ""


def _said(*words: str) -> str | None:
    """What git prints, or None where it refuses or is not installed."""
    try:
        code, printed, _ = run(words, None)
    except FileNotFoundError:
        return None
    return printed.decode("utf-8", "surrogateescape").strip() if code == 0 else None


#: where git looks for a short name below refs/, in its order (gitrevisions(7))
_PLACES = ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}", "refs/remotes/{}/HEAD")
#: the whole name of a commit; and its beginning, alone or as `git describe` writes it
_WHOLE, _PART = re.compile("[0-9a-f]{40}|[0-9a-f]{64}"), re.compile("(?:.*-g)?([0-9a-f]{4,63})", re.IGNORECASE)
#: HEAD and its like, which are of this clone alone; and what stands in no name
_OWN, _NEVER = re.compile("@|[A-Z_]+"), re.compile(r"[\s*?\[\\]")


def unmistaken(revision: str, at: Path) -> None:
    """Raises Outcome where a name stands for several commits: git takes one of them with a warning at most, and a tag
    that anybody pushed goes before the remote's branch. A full name that is here (`refs/…`) stands for itself."""
    name = re.split(r"[~^:]|@\{", revision, maxsplit=1)[0]
    if not name or name.startswith("-") or any(one.fullmatch(name) for one in (_WHOLE, _OWN)) or _NEVER.search(name):
        return
    found = _called(name, at)
    if name in found or (len(set(found.values())) < 2 and not name.startswith("refs/")) or not found:
        return
    known = ", ".join(f"{place} ({commit[:12]})" for place, commit in found.items())
    if name.startswith("refs/"):
        said = f"{name} is not here, and git would take {known} for it"
        raise Outcome(2, "no-such-revision", "git fetch, then the same command again", said)
    # the one that a tag hides, where there is one
    best = next((place for place in found if not place.startswith("refs/tags/")), next(iter(found)))
    full = revision.replace(name, best, 1)
    said = f"{name} stands for several commits: {known}"
    raise Outcome(2, "ambiguous-revision", f"the same command with {full} for {revision}, if that is meant", said)


def _called(name: str, at: Path) -> dict[str, str]:
    """Full name → commit of all that a short name may stand for; of a commit its whole name."""
    places = [one.format(name) for one in _PLACES]
    form = "--format=%(refname) %(objectname) %(*objectname)"
    listed = git("for-each-ref", *(one for one in places if one.startswith("refs/")), options=[form], at=at)
    refs = {words[0]: words[2] or words[1] for line in listed.decode("utf-8", "surrogateescape").splitlines()
            if (words := line.split(" ")) and words[0] in places}  # fmt: skip
    found = {place: refs[place] for place in places if place in refs}
    part = _PART.fullmatch(name)
    if found and part is not None:
        known = git("rev-parse", options=[f"--disambiguate={part[1].lower()}"], at=at)
        kinds = git("cat-file", options=["--batch-check=%(objectname) %(objecttype)"], at=at, fed=known).decode()
        found |= {line.split(" ")[0]: line.split(" ")[0] for line in kinds.splitlines() if line.endswith(" commit")}
    return found

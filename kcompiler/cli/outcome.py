"""How a verb ends: an exit code, one word, what was wrong, and what to do next."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from kcompiler.veil import veiled

if TYPE_CHECKING:
    from kcompiler.diagnostic import Diagnostic, RefusalLike


class LockedLike(Protocol):
    """`runtime.machine.lease.Locked`, without importing it."""

    silent_s: float | None


#: every exit code that anybody can meet, and what it means; --help and the README say the same
EXITS: dict[int, str] = {
    0: "yes: answered, and nothing blocks",
    1: "no: answered, and something blocks, is wrong, or would change",
    2: "could not answer: wrong words on the command line, a text that cannot be read, a refusal",
    3: "the evidence is broken, or nothing was evaluated",
    4: "the lock is stale, or what it pins is not here",
    5: "another run holds the project's state",
    6: "a step or the disk failed; the same command goes on from there",
    7: "a waiver, an approval or a signature is needed, from those whom the pack or the reader names",
    10: "there is work to do (only with --detailed-exitcode)",
    70: "a defect of kcompiler: report it",
    129: "stopped by SIGHUP; the same command goes on from there",
    130: "stopped by SIGINT (Ctrl-C); the same command goes on from there",
    134: "aborted from inside an outside library (SIGABRT), which should not happen: report it",
    137: "killed by SIGKILL, often for want of memory; the same command goes on from there",
    143: "stopped by SIGTERM; the same command goes on from there",
}

#: what says of a disk that it is full, over quota, read-only or broken, and not of a path that it is wrong
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


class Outcome(Exception):
    """Raised by a verb to leave with a code other than 0; prints the last lines of its output: `message`, what is
    wrong, then the line that every non-zero exit ends with. `found` is the same as diagnostics, where there are any."""

    def __init__(
        self, code: int, word: str, next_command: str, message: str = "", found: Sequence[Diagnostic] = ()
    ) -> None:
        super().__init__(word)
        # a key that somebody wrote on the command line stands in the command that is to be repeated
        self.code, self.word, self.next_command = code, word, veiled(next_command)
        self.message, self.found = veiled(message), found

    def leave(self) -> int:
        if self.message:
            click.echo(self.message.rstrip("\n"), err=True)
        click.echo(f"outcome={self.word} code={self.code} next={self.next_command}", err=True)
        return self.code


def help_of(mistake: click.ClickException) -> str:
    """The command that says how the verb is used that was used wrongly."""
    context = getattr(mistake, "ctx", None)
    return f"{context.command_path if context is not None else 'kcompiler'} --help"


def outcome_of(ended: BaseException) -> Outcome:
    """How a verb ends that raised this; whatever no rule of ours foresaw is our bug, and says so without frames."""
    if isinstance(ended, Outcome):
        return ended
    if isinstance(ended, click.ClickException):
        return Outcome(2, "usage", help_of(ended), ended.format_message())
    if isinstance(ended, click.Abort | KeyboardInterrupt):
        return Outcome(130, "interrupted", "the same command again")
    if isinstance(ended, OSError):
        # a file where a folder should be, no permission, a full disk: said once, here, for every verb
        said = f"{ended.filename or 'the file system'}: {ended.strerror or ended}"
        if ended.errno in _FULL:
            return Outcome(6, "storage-failed", "free space or mend the disk, then the same command again", said)
        return Outcome(2, "unusable-path", "mend it, then the same command again", said)
    if isinstance(ended, RuntimeError) and str(ended).startswith("Symlink loop"):
        # before Python 3.13 pathlib says this of a path, with an error that is none of the file system
        return Outcome(2, "unusable-path", "remove the link, then the same command again", str(ended))
    return _refusal(ended) or _bug(ended)


def locked(holder: LockedLike) -> Outcome:
    """Somebody else holds the project's state."""
    wait = "wait, then the same command again"
    if holder.silent_s is not None:
        wait = "wait, or where that machine is dead: kcompiler state unlock"
    return Outcome(5, "locked", wait, f"{holder}; kcompiler state lock-info says more")


def refused_by_machine(refusal: RefusalLike, next_command: str) -> Outcome:
    """A refusal of the machine as its diagnostic."""
    from kcompiler.diagnostic import from_refusal
    from kcompiler.render import human

    found = from_refusal(refusal)
    return Outcome(2, "refused", next_command, human.diagnostics([found], {}), [found])


def _refusal(ended: BaseException) -> Outcome | None:
    """What the machine refused outside of a step; None when it is no refusal."""
    from runtime.contract import Refusal

    return refused_by_machine(ended, "mend it, then the same command again") if isinstance(ended, Refusal) else None


def _bug(bug: BaseException) -> Outcome:
    frames = traceback.extract_tb(bug.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    said = f"kcompiler itself failed ({type(bug).__name__} at {place}): {bug}"
    return Outcome(70, "bug", "report it", f"{said}\nset KCOMPILER_TRACEBACK=1 and run again to see where")


def exits() -> str:
    """The table as the last paragraph of --help."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXITS.items())

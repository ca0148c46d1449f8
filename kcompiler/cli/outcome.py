"""How a verb ends: an exit code, one word, and what to do next."""

from __future__ import annotations

import click

#: every exit code that anybody can meet, and what it means; --help and the README say the same
EXITS: dict[int, str] = {
    0: "yes: answered, and nothing blocks",
    1: "no: answered, and something blocks, is wrong, or would change",
    2: "could not answer: wrong words on the command line, a text that cannot be read, a refusal",
    3: "the evidence is broken, or nothing was evaluated",
    4: "the lock is stale, or what it pins is not here",
    5: "another run holds the project's state",
    6: "a step or the disk failed; the same command goes on from there",
    10: "there is work to do (only with --detailed-exitcode)",
    70: "a defect of kcompiler: report it",
    129: "stopped by SIGHUP; the same command goes on from there",
    130: "stopped by SIGINT (Ctrl-C); the same command goes on from there",
    134: "aborted from inside an outside library (SIGABRT), which should not happen: report it",
    137: "killed by SIGKILL, often for want of memory; the same command goes on from there",
    143: "stopped by SIGTERM; the same command goes on from there",
}


class Outcome(Exception):
    """Raised by a verb to leave with a code other than 0; prints the last line of its output."""

    def __init__(self, code: int, word: str, next_command: str) -> None:
        super().__init__(word)
        self.code, self.word, self.next_command = code, word, next_command

    def leave(self) -> int:
        click.echo(f"outcome={self.word} code={self.code} next={self.next_command}", err=True)
        return self.code


def exits() -> str:
    """The table as the last paragraph of --help."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXITS.items())

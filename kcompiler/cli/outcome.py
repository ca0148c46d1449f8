"""How a verb ends: an exit code, one word, and what to do next."""

from __future__ import annotations

import click


class Outcome(Exception):
    """Raised by a verb to leave with a code other than 0; prints the last line of its output."""

    def __init__(self, code: int, word: str, next_command: str) -> None:
        super().__init__(word)
        self.code, self.word, self.next_command = code, word, next_command

    def leave(self) -> int:
        click.echo(f"outcome={self.word} code={self.code} next={self.next_command}", err=True)
        return self.code


#: when several things are wrong at once, the first of these decides
PRECEDENCE = (70, 3, 2, 4, 6, 1, 7)

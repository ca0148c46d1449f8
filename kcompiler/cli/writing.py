"""Text → a file below generated/, whole or not at all, and never outside the project."""

from __future__ import annotations

from pathlib import Path

import click

from kcompiler.cli.outcome import Outcome
from kcompiler.project import Project


def write(home: Project, path: Path, text: str | bytes) -> None:
    """Replace or create a file of the project. Raises Outcome: a link leads out of the project, or the disk refuses."""
    # imported here: verbs that write nothing do without the machine
    from runtime.machine.durable import StorageFailed
    from runtime.machine.durable import write as write_durably

    if not path.resolve().is_relative_to(home.root.resolve()):
        raise Outcome(
            2,
            "outside-project",
            "remove the link",
            f"{home.shown(path)} leads out of the project by a link; nothing is written there",
        )
    try:
        write_durably(path, text)
    except StorageFailed as failed:
        raise Outcome(6, "storage-failed", "free space or mend the disk", str(failed)) from None


def no_key(option: str, *words: str) -> None:
    """Raises UsageError where what somebody says with an option is to be written down and holds a key (KC4209)."""
    from kcompiler.veil import holds

    if any(map(holds, words)):
        raise click.UsageError(f"{option}: this looks like a key, and would be written down (KC4209): revoke it")

"""The verb that tidies: state gc."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler import project
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import evidence_broken

if TYPE_CHECKING:
    pass


@click.group()
def state() -> None:
    """Tidy .kcompiler, where a project keeps what its runs made."""


@state.command()
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
def gc(dry_run: bool) -> None:
    """Remove what no plan.lock of this project needs: old artifacts, and scratch folders of work nobody asks for.

    Kept is what the next apply of any lock reuses or goes on with, what the evidence in generated/ names, every answer
    that was paid for, and the journal.
    """
    from kcompiler.render import garbage as render
    from runtime.machine import apply as machine

    home = project.find(Path.cwd())
    locks = _locks(home)
    try:
        found = (machine.garbage if dry_run else machine.collect)(home.root, locks.values())
    except machine.Locked as locked:
        click.echo(f"{locked}", err=True)
        raise Outcome(5, "locked", "wait, then the same command again") from None
    except machine.BrokenEvidence as broken:
        raise evidence_broken(broken) from None
    except machine.Stale as stale:
        click.echo(
            "what a lock needs cannot be known here:\n" + "\n".join(f"  {one}" for one in stale.differences), err=True
        )
        raise Outcome(4, "toolchain-differs", "install it, then kcompiler state gc") from None
    except machine.StorageFailed as failed:
        click.echo(f"{failed}", err=True)
        raise Outcome(6, "storage-failed", "mend the disk, then kcompiler state gc") from None
    click.echo(render.text(found, [home.shown(path) for path in locks], home.root, dry_run=dry_run), nl=False)


def _locks(home: project.Project) -> dict[Path, dict[str, Any]]:
    """Every lock of the project. Raises Outcome: without one, or with one that cannot be read, all would be garbage."""
    from kcompiler import lock

    if not (home.root / ".kcompiler").is_dir():
        click.echo(f"{home.root} has no .kcompiler: nothing was ever applied here", err=True)
        raise Outcome(2, "no-state", "kcompiler state gc, in the folder of a project")
    found = {}
    for path in sorted(home.root.glob("generated/*/plan.lock")):
        try:
            found[path] = lock.read(path)
        except lock.UnreadableLock as reason:
            click.echo(
                f"{home.shown(path)}: cannot be read as a lock, so what it needs is not known: {reason}", err=True
            )
            raise Outcome(2, "unreadable", "kcompiler plan SPEC, or remove it") from None
    if not found:
        click.echo("no plan.lock in generated/ says what is needed: everything would be removed", err=True)
        raise Outcome(2, "no-lock", "kcompiler plan SPEC for each spec whose results are to stay")
    return found

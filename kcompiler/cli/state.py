"""The verbs about .kcompiler: state list, show, verify, gc, lock-info, unlock, resolve."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler import project
from kcompiler.cli.answer import Answer, answers
from kcompiler.cli.outcome import Outcome, locked

if TYPE_CHECKING:
    from kcompiler.render.view import View
    from runtime.machine.inventory import Item
    from runtime.machine.settle import NotSettled

#: digits that a digest is named by, at least
_LEAST = 4
#: what is left where the journal itself is damaged
_RESTORE = "restore .kcompiler from a copy, or move it away: the next apply makes everything anew"


@click.group()
def state() -> None:
    """Look into .kcompiler, where a project keeps what its runs made; tidy it; settle what a crash left open.

    None of these parses a spec. `list`, `show`, `verify` and `lock-info` only look and need no lease.
    """


@state.command(name="list")
@answers("state list")
def list_(answer: Answer) -> None:
    """Say what lies in .kcompiler: artifacts, work that was begun, what was put aside; size, age, who uses it."""
    from kcompiler.render import state as render

    root = _root(answer, "list")
    with of_machine("list"):
        from runtime.machine import inventory

        found = inventory.items(root)
    answer.data = {"items": [render.item(one, root) for one in found]}
    _told(answer, render.listed(found, _now()))


@state.command()
@click.argument("name")
@answers("state show", of="name", path=False)
def show(answer: Answer, name: str) -> None:
    """Print one thing: NAME is a digest or its first digits (4 or more), a step, or SPEC:STEP. Artifacts are hashed
    again; of one that was put aside both are shown."""
    from kcompiler.render import state as render

    root = _root(answer, "list")
    with of_machine("list"):
        from runtime.machine import inventory
        from runtime.machine.store import Store

        found = _named(inventory.items(root), name)
        store = Store(root / ".kcompiler")
        sound = {one.name: store.present(one.name) is True for one in found if one.room == inventory.ARTIFACT}
    answer.data = {"items": [{**render.item(one, root), "sound": sound.get(one.name)} for one in found]}
    _told(answer, render.shown(found, sound, root, _now()))
    damaged = [name for name, fine in sound.items() if not fine]
    if damaged:
        raise Outcome(3, "evidence-broken", "kcompiler state verify", f"{damaged[0]} is not what was stored")


@state.command()
@click.option("--repair", is_flag=True, help="Move damaged artifacts to .kcompiler/quarantine: apply makes them again.")
@answers("state verify")
def verify(answer: Answer, repair: bool) -> None:
    """Hash every artifact, every line of the journal and every paid answer again, and name what is damaged."""
    from kcompiler.render import state as render

    root = _root(answer, "verify")
    with of_machine("verify"):
        from runtime.machine import verify as machine

        found = machine.verify(root)
        if repair and any(fault.digest for fault in found.faults):
            found = machine.repair(root)
        paid, faults = _paid(root)
    answer.findings = [render.finding(fault) for fault in found.faults] + faults
    answer.data = {
        "lines": found.lines,
        "artifacts": found.artifacts,
        "bytes": found.size_bytes,
        "paid": paid,
        "mended": sum(bool(fault.mended) for fault in found.faults),
    }
    _told(answer, render.verified(found, paid, answer.findings))
    left = [fault for fault in found.faults if fault.damage and not fault.mended]
    if any(fault.room == "journal" for fault in left):
        raise Outcome(3, "damaged", _RESTORE)
    if any(fault.digest for fault in left):
        raise Outcome(3, "damaged", "kcompiler state verify --repair")
    if left:
        raise Outcome(3, "damaged", "kcompiler apply SPEC, which makes again what is gone")
    if any(one.severity == "evidence" for one in faults):
        raise Outcome(3, "damaged", "kcompiler apply SPEC, which asks again what is damaged and says what it needs")


@state.command()
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@answers("state gc")
def gc(answer: Answer, dry_run: bool) -> None:
    """Remove what no plan.lock of this project needs: old artifacts, and scratch folders of work nobody asks for.

    Kept is what the next apply of any lock reuses or goes on with, what the evidence in generated/ names, every answer
    that was paid for, and the journal.
    """
    from kcompiler.render import garbage as render

    root = _root(answer, "gc")
    locks = _locks(answer.home)
    with of_machine("gc"):
        from runtime.machine import apply as machine

        found = (machine.garbage if dry_run else machine.collect)(root, locks.values())
    answer.data = render.data(found, root, dry_run=dry_run)
    text = render.text(found, [answer.home.shown(path) for path in locks], root, dry_run=dry_run)
    answer.sections = [("garbage", text.splitlines())]
    answer.say(text)


@state.command(name="lock-info")
@answers("state lock-info")
def lock_info(answer: Answer) -> None:
    """Say who holds the lease: process, host, since when, alive or dead, and the id that `unlock --force` asks for."""
    from kcompiler.render import state as render

    root = _root(answer, "lock-info")
    from runtime.machine import lease

    found = lease.holder(root / ".kcompiler")
    answer.data = render.holder(found)
    _told(answer, render.held(found))


@state.command()
@click.option("--force", "named", default="", metavar="ID", help="Also from a holder that may live; ID by lock-info.")
@answers("state unlock")
def unlock(answer: Answer, named: str) -> None:
    """Free the lease of a holder that is gone. One that lives, or works on another machine, keeps it unless --force.

    By force a holder that still works loses all that it does from then on: its next line in the journal is refused. End
    it first where you can.
    """
    from kcompiler.render import state as render

    root = _root(answer, "unlock")
    from runtime.machine import lease, settle

    with of_machine("unlock", "kcompiler state lock-info"):
        try:
            found = settle.unlock(root, named)
        except settle.NotSettled as reason:
            raise Outcome(2, "another-holder", "kcompiler state lock-info", reason.message) from None
        except lease.Locked as kept:
            freed = f"kcompiler state unlock --force {lease.identity(kept.owner)}"
            first = f"end process {kept.owner.get('pid', '?')}, or" if kept.silent_s is None else "where it is dead:"
            raise Outcome(5, "locked", f"{first} {freed}", f"{kept}") from None
    answer.data = render.holder(found)
    if named and found.state == "free":
        raise Outcome(2, "no-holder", "kcompiler state lock-info", f"nobody holds the lease: `{named}` names no holder")
    answer.say("nobody holds the lease\n" if found.state == "free" else f"freed   {lease.words(found.note)}\n")


@state.command()
@click.argument("step")
@click.option("--as", "end", type=click.Choice(["failed", "committed"]), required=True, help="How it ended.")
@click.option("--spec", default="", metavar="NAME", help="Of this spec (NAME@PROFILE), where several have such a step.")
@answers("state resolve", of="step", path=False)
def resolve(answer: Answer, step: str, end: str, spec: str) -> None:
    """Settle an attempt at STEP of which nobody knows how it ended: it was begun, and no line of the journal says more.

    `apply` settles these by itself: it stores what was finished, and goes on from what was saved. `--as failed` is for
    work that should not be gone on with: what it left is removed, and the next apply begins anew. `--as committed`
    stores what was finished without an apply, when every output is still what it was.
    """
    root = _root(answer, "resolve")
    from runtime.machine import settle

    with of_machine("resolve"):
        try:
            if end == "failed":
                name, action = settle.failed(root, step, spec)
                answer.data = {"spec": name, "step": step, "action": action, "as": end, "gives": {}}
                answer.say(f"settled {name}: {step} has no result; the next apply begins it anew\n")
                return
            name = spec or settle.spec_of(root, step)
            record = settle.committed(root, step, _lock_of(answer.home, name))
        except settle.NotSettled as reason:
            raise _not_settled(reason, step) from None
    gives = {port: give["digest"] for port, give in record["gives"].items()}
    answer.data = {"spec": name, "step": step, "action": record["action"], "as": end, "gives": gives}
    answer.say(
        "".join([f"settled {name}: {step} is committed\n", *(f"  {port}  {one}\n" for port, one in gives.items())])
    )


def _not_settled(reason: NotSettled, step: str) -> Outcome:
    if reason.kind == "not_whole":
        return Outcome(1, "not-whole", f"kcompiler state resolve {step} --as failed", reason.message)
    if reason.kind == "several":
        return Outcome(2, "several", f"kcompiler state resolve {step} --spec NAME …", reason.message)
    return Outcome(2, "nothing-in-doubt", "kcompiler state list", reason.message)


def _lock_of(home: project.Project, name: str) -> dict[str, Any]:
    for made in _locks(home).values():
        if made["asked"]["name"] == name:
            return made
    raise Outcome(2, "no-lock", "kcompiler plan SPEC", f"no plan.lock in generated/ is of {name}")


def _named(found: Sequence[Item], name: str) -> list[Item]:
    """What a person meant by a name. Raises Outcome for nothing, and for digits that begin several digests."""
    digits = name.removeprefix("sha256:")
    exact = [one for one in found if _is_called(one, name)]
    if exact:
        return exact
    few = len(digits) < _LEAST
    near = [] if few else [one for one in found if one.name.removeprefix("sha256:").startswith(digits)]
    if len({_digest(one) for one in near}) > 1:
        names = ", ".join(one.name for one in near[:5])
        raise Outcome(2, "several", "kcompiler state show, with more digits", f"{digits} begins {len(near)}: {names}")
    if not near:
        more = f"; of a digest, write {_LEAST} digits or more" if few and re.fullmatch("[0-9a-f]*", digits) else ""
        raise Outcome(2, "no-such-item", "kcompiler state list", f"nothing in .kcompiler is called {name}{more}")
    return near


def _digest(item: Item) -> str:
    """What a name is of: what was put aside is called by its digest and a number."""
    return item.name.removeprefix("sha256:").partition("-")[0]


def _is_called(item: Item, name: str) -> bool:
    return any(name in (one.step, f"{one.spec}:{one.step}", f"{one.step}#{one.port}") for one in item.made[-1:])


def _paid(root: Path) -> tuple[int, list[Any]]:
    """How many paid answers are sound, and what is damaged of them or of the record of what was spent."""
    from kcompiler.render import state as render
    from runtime.contract import BrokenEvidence
    from runtime.data import kept
    from runtime.machine import purse

    sound, damaged = kept.checked(root / ".kcompiler" / "paid" / "answers")
    faults = [render.paid(path.relative_to(root).as_posix(), why) for path, why in damaged.items()]
    try:
        purse.check(root / ".kcompiler" / "paid")
    except BrokenEvidence as broken:
        faults.append(render.paid(broken.subject, broken.message))
    return sound, faults


@contextlib.contextmanager
def of_machine(verb: str, again: str = "") -> Iterator[None]:
    """What the machine cannot do as an outcome."""
    from runtime.machine import apply as machine

    again = again or f"kcompiler state {verb}"
    try:
        yield
    except machine.Locked as holder:
        raise locked(holder) from None
    except machine.BrokenEvidence as broken:
        again = "kcompiler audit SPEC" if verb == "gc" else "kcompiler state verify"
        raise Outcome(3, "evidence-broken", again, f"evidence is broken: {broken.subject}: {broken.message}") from None
    except machine.Stale as stale:
        said = "what a lock needs cannot be known here:\n" + "\n".join(f"  {one}" for one in stale.differences)
        raise Outcome(4, "toolchain-differs", f"install it, then {again}", said) from None
    except machine.StorageFailed as failed:
        raise Outcome(6, "storage-failed", f"mend the disk, then {again}", f"{failed}") from None


def _told(answer: Answer, view: View) -> None:
    from kcompiler.render import state as render

    answer.laid_out(view)
    answer.say(render.text(view))


def _root(answer: Answer, verb: str) -> Path:
    root = answer.home.root
    if not (root / ".kcompiler").is_dir():
        said = f"{root} has no .kcompiler: nothing was ever applied here"
        raise Outcome(2, "no-state", f"kcompiler state {verb}, in the folder of a project", said)
    return root


def _now() -> str:
    from kcompiler.cli import clock

    return clock.now()


def _locks(home: project.Project) -> dict[Path, dict[str, Any]]:
    """Every lock of the project. Raises Outcome: without one, or with one that cannot be read, all would be garbage."""
    from kcompiler import lock

    found = {}
    for path in sorted(home.root.glob("generated/*/plan.lock")):
        try:
            found[path] = lock.read(path)
        except lock.UnreadableLock as reason:
            said = f"{home.shown(path)}: cannot be read as a lock, so what it needs is not known: {reason}"
            raise Outcome(2, "unreadable", "kcompiler plan SPEC, or remove it", said) from None
    if not found:
        said = "no plan.lock in generated/ says what is needed: everything would be removed"
        raise Outcome(2, "no-lock", "kcompiler plan SPEC for each spec whose results are to stay", said)
    return found

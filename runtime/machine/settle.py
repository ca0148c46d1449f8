"""What somebody who knows better says of a lease, an attempt or a waiver → written down, for the next apply.

Nothing here guesses: a lease is taken from a holder that may live only under the name of that very holding, and an
attempt counts as committed only when every output is, byte for byte, what it had staged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from runtime.contract import MachineError
from runtime.machine.durable import DISK, Disk, erase
from runtime.machine.journal import Past, load, open_spent
from runtime.machine.lease import Holder, Locked, break_lease, holder, words
from runtime.machine.stale import require_fresh
from runtime.machine.state import FOLDER, State, scratch_of, taken_over
from runtime.machine.walk import Walk

#: how the newest attempt may stand that somebody has to settle: no line says how it ended
OPEN = ("step_claimed", "step_staged", "step_killed")


class NotSettled(MachineError):
    """What was said cannot be so. `kind`: "other" (the lease is of another holder), "none" (no attempt in doubt),
    "several", "not_whole" (its outputs are not what it staged, or it staged none)."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


def unlock(root: Path, named: str = "", disk: Disk = DISK) -> Holder:
    """Free the lease; who held it. `named`: the id of a holder that may live, as `holder` says it.

    Raises Locked for a holder that may live and is not named, NotSettled for another than was named, StorageFailed;
    BrokenEvidence for a damaged journal, after the lease is free.
    """
    folder = root / FOLDER
    found = holder(folder)
    if named and found.state != "free" and found.id != named:
        raise NotSettled("other", f"the lease is not held under {named}, but under {found.id}: {words(found.note)}")
    if found.held:
        if not named:
            raise Locked(found.note, found.silent_s)
        break_lease(folder, named, disk)
    if found.state != "free":
        with State(root, disk=disk) as state:
            if found.held:
                state.journal.append("lease_taken", taken_over(found.note, "hand"))
    return found


def in_doubt(root: Path) -> dict[str, tuple[str, str]]:
    """Action key → spec and step of every attempt that began and of which no line says how it ended."""
    folder = root / FOLDER
    return _open(folder, load(folder)[1])


def spec_of(root: Path, step: str) -> str:
    """The spec whose attempt at a step is in doubt. Raises NotSettled unless there is exactly one."""
    folder = root / FOLDER
    past = load(folder)[1]
    return past.attempts[_one(folder, past, step, "")].of[0]


def failed(root: Path, step: str, spec: str = "", disk: Disk = DISK) -> tuple[str, str]:
    """Say of the attempt in doubt at a step that it has no result: its scratch folder goes, and the next apply begins
    anew. Returns spec and action. Raises NotSettled, Locked, BrokenEvidence, StorageFailed."""
    with State(root, disk=disk) as state:
        past = state.journal.past
        action = _one(state.folder, past, step, spec)
        known = past.attempts[action]
        spec = known.of[0]
        state.journal.append(
            "step_settled",
            {"spec": spec, "step": step, "action": action, "attempt": known.claimed, **open_spent(known).data()},
        )
        erase(state.scratch(action))
        return spec, action


def committed(root: Path, step: str, lock: Mapping[str, Any], disk: Disk = DISK) -> Mapping[str, Any]:
    """Commit what the attempt in doubt at a step of this lock had staged: the record.

    Raises NotSettled unless every output is what it was, and what apply raises before it runs anything.
    """
    with State(root, disk=disk) as state:
        action = _one(state.folder, state.journal.past, step, str(lock["asked"]["name"]))
        require_fresh(lock, root)
        walk = Walk(lock, root, state, judge=lambda *_: [], watch=lambda _: None, stop_requested=lambda: False)
        try:
            record = walk.settle(step, action)
        except LookupError as reason:
            raise NotSettled("not_whole", str(reason.args[0])) from None
        if record is None:
            raise NotSettled("not_whole", f"step `{step}` left no outputs that are, byte for byte, what it had staged")
        return record


def revoked(root: Path, ends: Iterable[Mapping[str, str]], disk: Disk = DISK) -> None:
    """Write down that these waivers excuse nothing any more (`waiver`, `by`, `on`, `reason`), unless a line says so
    already of the same day or an earlier one. Raises Locked, BrokenEvidence, StorageFailed."""
    with State(root, disk=disk) as state:
        for one in ends:
            known = state.journal.past.ends.get(one["waiver"])
            if known is None or one["on"] < known:
                state.journal.append("waiver_revoked", one)


def _open(folder: Path, past: Past) -> dict[str, tuple[str, str]]:
    return {
        action: known.of
        for action, known in past.attempts.items()
        if known.newest in OPEN and scratch_of(folder, action).is_dir()
    }


def _one(folder: Path, past: Past, step: str, spec: str) -> str:
    found = {action: of for action, of in _open(folder, past).items() if of[1] == step and spec in ("", of[0])}
    if len(found) == 1:
        return next(iter(found))
    if found:
        specs = sorted({of[0] for of in found.values()})
        raise NotSettled("several", f"attempts at step `{step}` of {len(specs)} specs are in doubt: {', '.join(specs)}")
    ended = [known for known in past.attempts.values() if known.of[1] == step and spec in ("", known.of[0])]
    if ended:
        how = ended[-1].newest.removeprefix("step_")
        raise NotSettled("none", f"how the newest attempt at step `{step}` ended is known: {how}")
    others = sorted({of[1] for of in _open(folder, past).values()})
    told = f"; in doubt: {', '.join(others)}" if others else "; no attempt is in doubt"
    raise NotSettled("none", f"no attempt at a step `{step}` is in doubt{told}")

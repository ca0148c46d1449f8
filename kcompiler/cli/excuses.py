"""The waivers of a project, as the verbs that judge have them at hand: those that the lock names, as it names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kcompiler.project import Project

if TYPE_CHECKING:
    from kcompiler.audit.journal import Line
    from kcompiler.judge import Verdict
    from kcompiler.waiver import Loaded, Waivers


class Known(NamedTuple):
    """What is known here of waivers beside their files, by id: the reports that each has excused, and revocations.
    `lost` are files of evidence that could tell of more uses and cannot be read."""

    used: Mapping[str, frozenset[str]]
    ends: Mapping[str, Mapping[str, str]]
    lost: Sequence[str]


def known(home: Project) -> Known:
    """By the journal, and by every verdict that lies in generated/: what either tells of counts, so that a journal that
    was removed gives no use back and undoes no revocation. A clone that has neither cannot know of those elsewhere.
    Raises Outcome: the journal is damaged."""
    from kcompiler.audit import records

    lines = _journal(home)
    used, ends, lost = dict(records.waiver_uses(lines)), dict(records.waiver_ends(lines)), []
    for path in sorted((home.root / "generated").glob("*/evidence/verdict.json")):
        try:
            for name, one in told(path.read_bytes()).items():
                used[name] = used.get(name, frozenset()) | one.used
                if one.end and (name not in ends or one.end["on"] < ends[name]["on"]):
                    ends[name] = one.end
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            lost.append(home.shown(path))
    return Known(used, ends, lost)


def unseen(home: Project, about: Known) -> list[str]:
    """Files that tell of uses and revocations and are not here, or cannot be read."""
    from kcompiler.audit import records

    journal = home.root / records.STATE / records.JOURNAL
    return [*([] if journal.is_file() else [home.shown(journal)]), *about.lost]


def _journal(home: Project) -> Sequence[Line]:
    from kcompiler.audit import records
    from kcompiler.cli.plans import evidence_broken

    if not (home.root / records.STATE / records.JOURNAL).is_file():
        return ()
    lines, findings = records.state_journal(home.root)
    broken = next((one for one in findings if one.severity == "evidence"), None)
    if broken is not None:
        raise evidence_broken(broken)
    return lines or ()


class _Told(NamedTuple):
    """What a verdict tells of a waiver: what it had excused, and its revocation; {} for none."""

    used: frozenset[str]
    end: dict[str, str]


def told(data: bytes) -> dict[str, _Told]:
    """Waiver → what a verdict tells of it. Raises ValueError, LookupError, TypeError or AttributeError for none."""
    from runtime.contract import strict_json

    verdict: Any = strict_json.loads(data)
    found = {}
    for one in verdict.get("waivers", ()):
        end = {name: str(one["revoked"][name]) for name in ("by", "on", "reason")} if "revoked" in one else {}
        found[str(one["id"])] = _Told(frozenset(map(str, one["used"])), end)
    return found


def remember(home: Project) -> None:
    """Write into the journal each revocation that a file of waivers/ or a verdict tells of and no line does: who
    removes it there later undoes nothing."""
    from kcompiler import waiver
    from kcompiler.audit import records
    from kcompiler.waiver import draft

    loaded, _ = waiver.load(home.root / waiver.FOLDER)
    if not loaded:
        return
    before, ends = records.waiver_ends(_journal(home)), known(home).ends
    new = []
    for one in loaded:
        end = draft.revocation(waiver.ended(one.waiver, ends))
        if end and (one.waiver.id not in before or end["on"] < before[one.waiver.id]["on"]):
            new.append({"waiver": one.waiver.id, **end})
    if new:
        from kcompiler.cli.state import of_machine
        from runtime.machine import settle

        with of_machine("list"):
            settle.revoked(home.root, new)


def at_hand(made: Mapping[str, Any], home: Project) -> tuple[Waivers, dict[str, bytes]]:
    """What a judgement is told of waivers, and the files of each, with their signatures; nothing where the lock names
    none. One that is no longer what the lock names is not at hand, which is said; nor is one whose uses are to be
    counted where evidence that could tell of some cannot be read."""
    from kcompiler import lock, waiver

    if not made.get("waivers"):
        return waiver.NONE, {}
    loaded, _ = waiver.load(home.root / waiver.FOLDER)
    here: Mapping[str, Loaded] = {one.waiver.id: one for one in loaded}
    given, texts, about = [], {}, known(home)
    for entry in made["waivers"]:
        found = here.get(entry["id"])
        if found is None or found.digest != entry["digest"]:
            click.echo(f"waiver {entry['id']} is not what the lock names: it excuses nothing; plan again", err=True)
            continue
        if about.lost and found.waiver.max_uses is not None:
            said = f"how often waiver {entry['id']} was used cannot be known: {', '.join(about.lost)} cannot be read"
            click.echo(f"{said}: it excuses nothing; restore what is damaged, or remove it", err=True)
            continue
        given.append(waiver.given(found, made["obligations"], about.ends))
        texts[f"{found.waiver.id}.yaml"] = found.data
        texts |= {f"{found.waiver.id}/{name}": data for name, data in found.envelopes.items()}
    held = waiver.Waivers(
        given=given, spec=str(made["asked"]["name"]), plan=lock.unwaived_digest(made), used=about.used
    )
    return held, texts


def standing(made: Mapping[str, Any], home: Project, recorded: Mapping[str, Any], now: str) -> list[str]:
    """Where the waivers and dated rules of a plan stand, and what its `recorded` verdict will be on later days."""
    from kcompiler import lock
    from kcompiler.audit import forecast
    from kcompiler.audit.evidence import REPORTS, RUN
    from kcompiler.policy import binding

    if not made.get("waivers") and not any(one.get("effective_on") for one in made["obligations"]):
        return []
    folder = home.evidence(str(made["asked"]["name"]))
    files = {path.stem: path for path in sorted((folder / REPORTS).glob("*.json"))} | {binding.RUN: folder / RUN}
    given = {step: path.read_bytes() for step, path in files.items() if path.is_file()}
    held, _ = at_hand(made, home)
    return forecast.standing(made, given, lock.plan_digest(made), held, str(recorded["verdict"]), now)


class Held:
    """What is at hand while a plan is carried out. It is looked up with the first report, when the run holds the
    project's state: until then another may use a waiver up."""

    def __init__(self, made: Mapping[str, Any], home: Project) -> None:
        self._made, self._home = made, home

    @cached_property
    def waivers(self) -> Waivers:
        return at_hand(self._made, self._home)[0]

    def after(self, verdict: Verdict) -> Verdict:
        """The verdict; what it excused counts for those that follow."""
        if verdict.waivers:
            used = {one["id"]: frozenset(one["used"]) for one in verdict.waivers}
            self.waivers = replace(self.waivers, used={**self.waivers.used, **used})
        return verdict


def keep(made: Mapping[str, Any], home: Project) -> None:
    """Copy the waivers that were at hand beside the verdict, so that an auditor reads what the judge was given."""
    from kcompiler.cli.writing import write

    _, texts = at_hand(made, home)
    folder = home.evidence(str(made["asked"]["name"])) / "waivers"
    for path in sorted(folder.rglob("*"), reverse=True) if folder.is_dir() else []:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif not path.is_dir() and path.relative_to(folder).as_posix() not in texts:
            path.unlink()
    for name, data in texts.items():
        write(home, folder / name, data)

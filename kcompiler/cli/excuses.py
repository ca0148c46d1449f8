"""The waivers of a project, as the verbs that judge have them at hand: those that the lock names, as it names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from kcompiler.project import Project

if TYPE_CHECKING:
    from kcompiler.judge import Verdict
    from kcompiler.waiver import Loaded, Waivers


def uses(home: Project) -> dict[str, frozenset[str]]:
    """Waiver → what it has excused in this project, by its journal. Raises Outcome: the journal is damaged."""
    from kcompiler.audit import records
    from kcompiler.cli.plans import evidence_broken

    if not (home.root / records.STATE / records.JOURNAL).is_file():
        return {}
    lines, findings = records.state_journal(home.root)
    broken = next((one for one in findings if one.severity == "evidence"), None)
    if broken is not None:
        raise evidence_broken(broken)
    return records.waiver_uses(lines or ())


def at_hand(made: Mapping[str, Any], home: Project) -> tuple[Waivers, dict[str, bytes]]:
    """What a judgement is told of waivers, and the text of each; nothing where the lock names none. One that is no
    longer what the lock names is not at hand, which is said."""
    from kcompiler import lock, waiver

    if not made.get("waivers"):
        return waiver.NONE, {}
    loaded, _ = waiver.load(home.root / waiver.FOLDER)
    here: Mapping[str, Loaded] = {one.waiver.id: one for one in loaded}
    given, texts = [], {}
    for entry in made["waivers"]:
        found = here.get(entry["id"])
        if found is None or found.digest != entry["digest"]:
            click.echo(f"waiver {entry['id']} is not what the lock names: it excuses nothing; plan again", err=True)
            continue
        given.append(waiver.Given(waiver=found.waiver, digest=found.digest))
        texts[found.waiver.id] = found.data
    told = waiver.Waivers(
        given=given, spec=str(made["asked"]["name"]), plan=lock.unwaived_digest(made), used=uses(home)
    )
    return told, texts


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
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        if path.stem not in texts:
            path.unlink()
    for name, data in texts.items():
        write(home, folder / f"{name}.yaml", data.decode("utf-8", "surrogateescape"))

"""The verbs of exceptions: waiver new, approve, list, check, revoke."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler import project
from kcompiler.cli.answer import Answer, answers
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import PROFILE, called, located

if TYPE_CHECKING:
    from kcompiler.diagnostic import Diagnostic
    from kcompiler.result import AuditFinding
    from kcompiler.waiver import Loaded
    from kcompiler.waiver.check import Asked

AS_OF = click.option("--as-of", metavar="TIME", default="", help="As of this UTC time, 2026-01-31T00:00:00Z; else now.")
KEY = click.option(
    "--key", "key_path", type=click.Path(path_type=Path), required=True, help="Private key of `ssh-keygen -t ed25519`."
)
_WHERE = click.argument("folder", type=click.Path(path_type=Path), default=Path("waivers"))


@click.group()
def waiver() -> None:
    """Exceptions with an end: waivers/<id>.yaml excuses what a rule that may be waived finds, as far as it says."""


@waiver.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--rule", required=True, metavar="RULE", help="The rule that blocks, in full or by the end of its name.")
@click.option("--step", default="", metavar="STEP", help="The step whose report it blocks on, where there are several.")
@click.option("--days", type=click.IntRange(1), default=30, show_default=True, help="How long it is to last.")
@PROFILE
def new(target: Path, rule: str, step: str, days: int, profile: str) -> None:
    """Write a waiver for what RULE found in the verdict on TARGET; what only people know is left blank.

    A rule that a waiver excuses now may be named, too: the next one is approved before that one ends.
    """
    from kcompiler import waiver as room
    from kcompiler.cli import clock, excuses
    from kcompiler.cli.writing import write
    from kcompiler.policy.obligation import Waivable
    from kcompiler.waiver import draft

    made, home, _ = located(target, profile)
    verdict = _verdict(home, str(made["asked"]["name"]), called(target, profile))
    outcome = _blocking(verdict, rule, step)
    terms = next(
        (one.get("waivable") for one in made["obligations"] if _is(one, outcome)),
        None,
    )
    if terms is None or not (outcome.get("waivable") or outcome["outcome"] == "waived"):
        click.echo(f"{outcome['rule']} is {outcome['outcome']}, and its pack lets nobody excuse that", err=True)
        raise Outcome(1, "not-waivable", f"kcompiler show rules {called(target, profile)}")
    folder = home.root / room.FOLDER
    held = Waivable.model_validate(terms)
    # a number that was given once is not given again: journal and verdicts go on telling of it
    known = excuses.known(home)
    name = draft.next_id([*(path.name for path in folder.glob("WV-*")), *known.used, *known.ends])
    path = folder / f"{name}.yaml"
    text = draft.text(
        name,
        outcome,
        str(made["asked"]["name"]),
        str(verdict["reports"].get(outcome["step"], "")),
        held,
        clock.now()[:10],
        days,
    )
    write(home, path, text)
    click.echo(f"wrote {home.shown(path)}; fill in {', '.join(draft.BLANKS)}")
    if days > held.max_days:
        click.echo(f"it lasts {held.max_days} days, not {days}: the pack of {outcome['rule']} allows no more", err=True)
    click.echo(
        f"next: kcompiler waiver check; then each approver: kcompiler waiver approve {home.shown(path)} --key FILE"
    )


@waiver.command()
@click.argument("file", type=click.Path(path_type=Path))
@KEY
def approve(file: Path, key_path: Path) -> None:
    """Sign the waiver in FILE as one of the approvers whom the packs of its rules name.

    The signature lies in a folder beside it, waivers/<id>/<who>.dsse.json, and is for the waiver as it is: who edits
    the waiver has it approved again.
    """
    from kcompiler import dsse
    from kcompiler.cli import clock, excuses
    from kcompiler.cli.approving import signing_key
    from kcompiler.cli.writing import write
    from kcompiler.verifier import signed
    from kcompiler.waiver import approved, ended
    from kcompiler.waiver.status import counted

    home = project.find(file)
    found, again = _file(home, file), f"kcompiler waiver approve {home.shown(file)} --key FILE"
    key = signing_key(key_path, again)
    public, now = dsse.public_line(key), clock.now()
    rules, _ = _rules(home, [found])
    terms = [rules[name].terms for name in found.waiver.rules if name in rules]
    asked = [one for one in terms if one is not None]
    names = {theirs: name for one in asked for name, theirs in one.approvers.items()}
    if public not in names:
        whose = f"; these are: {', '.join(sorted(names.values()))}" if names else "; none of its rules can be waived"
        raise Outcome(1, "not-an-approver", "kcompiler waiver list", f"{public} is no approver's key{whose}")
    after = ended(found.waiver, excuses.known(home).ends)
    if after.revoked is not None or after.expires <= now[:10]:
        how = f"ended on {after.expires}" if after.revoked is None else f"was revoked on {after.revoked.on}"
        raise Outcome(1, "over", "kcompiler waiver new SPEC --rule RULE", f"{home.shown(file)} {how}")
    mine = approved.Approved(key=public, on=now, file="")
    void = [why for one in asked if public in one.approvers.values() for why in counted(after, [mine], one)[1]]
    if void:
        raise Outcome(1, "does-not-count", "kcompiler waiver list", f"this approval would not count: {void[0].why}")
    if not any(public in signed.living(one.approvers, one.until, now).values() for one in asked):
        why = f"the key of `{names[public]}` has ended: pack.yaml names the keys that count"
        raise Outcome(1, "does-not-count", "kcompiler waiver list", f"this approval would not count: {why}")
    said = approved.statement(found.waiver, found.data, names[public], now)
    path = home.root / found.file.removesuffix(".yaml") / f"{names[public]}{approved.END}"
    write(home, path, dsse.dump(dsse.sign(said, key)))
    click.echo(f"{names[public]} approves {found.waiver.id}: {home.shown(path)}")
    click.echo("next: kcompiler waiver check")


def _file(home: project.Project, file: Path) -> Loaded:
    """The waiver in a file. Raises Outcome, and says what is wrong with it."""
    from kcompiler.render import human
    from kcompiler.waiver.load import read

    shown = home.shown(file)
    found, problems = read(file, shown)
    if found is None:
        texts = {shown: file.read_bytes()} if file.is_file() else {}
        click.echo(human.diagnostics(problems, texts), err=True, nl=False)
        raise Outcome(2, "unreadable", "kcompiler waiver list")
    return found


def _verdict(home: project.Project, name: str, again: str) -> Mapping[str, Any]:
    from kcompiler.audit.schema import problem_with
    from runtime.contract import strict_json

    path = home.verdict(name)
    if not path.is_file():
        raise Outcome(2, "no-evidence", f"kcompiler apply {again}", f"{home.shown(path)} does not exist")
    try:
        found: Any = strict_json.loads(path.read_bytes())
        problem = problem_with("verdict", found)
    except ValueError as reason:
        problem = str(reason)
    if problem:
        raise Outcome(3, "evidence-broken", f"kcompiler apply {again}", f"{home.shown(path)} is damaged: {problem}")
    made: Mapping[str, Any] = found
    return made


def _blocking(verdict: Mapping[str, Any], rule: str, step: str) -> Mapping[str, Any]:
    """The outcome that a waiver is asked for: one that blocks, or that another waiver excuses until it ends."""
    from kcompiler.diagnostic import suggest

    blocking = [one for one in verdict["outcomes"] if one["blocks"] or one["outcome"] == "waived"]
    named = [one for one in blocking if one["rule"] == rule or one["rule"].endswith(f"/{rule}")]
    chosen = [one for one in named if step in ("", one["step"])]
    if not named:
        every = {one["rule"] for one in verdict["outcomes"]}
        blocks = sorted({one["rule"] for one in blocking})
        if not any(one == rule or one.endswith(f"/{rule}") for one in every):
            near = suggest(rule, sorted({name for one in every for name in (one, one.rpartition("/")[2])}))
            meant = f"; did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""
            raise click.UsageError(f"no rule of this plan is called `{rule}`{meant}")
        raise click.UsageError(f"`{rule}` does not block; {', '.join(blocks) or 'nothing'} does")
    if len(chosen) != 1:
        known = ", ".join(one["step"] for one in named)
        raise click.UsageError(f"say by --step on which of these it is to be waived: {known}")
    found: Mapping[str, Any] = chosen[0]
    return found


def _is(obligation: Mapping[str, Any], outcome: Mapping[str, Any]) -> bool:
    return bool(obligation["rule"] == outcome["rule"] and obligation["from"] == f"step:{outcome['step']}")


@waiver.command("list")
@_WHERE
@AS_OF
@answers("waiver list", of="folder")
def listed(answer: Answer, folder: Path, as_of: str) -> None:
    """Say of each waiver whether it is in force, until when, and how often it was used.

    Uses and revocations are those that the project's journal (.kcompiler) and the verdicts in generated/ tell of. A
    clone with neither knows of none elsewhere: where `max_uses` matters, keep one of the two with the project.
    """
    from kcompiler.render.human_run import table

    at = _time(as_of)
    _, problems, rows = _looked(answer, folder, at)
    answer.found(problems)
    answer.findings = [_told(one) for one in rows]
    unseen = answer.data["unseen"]
    lines = table([_row(one, least=bool(unseen)) for one in rows], indent="")
    answer.say("\n".join(lines) + "\n" if rows else _nothing(problems))
    for place in unseen if rows else ():
        answer.say(f"{place} cannot be read here: uses and revocations that it alone tells of are not known\n")
    for one in rows:
        if one["id"] in answer.data["soon"]:
            answer.say(f"{one['id']} ends in {one['days_left']} days\n")
    if any(one.severity == "error" for one in problems):
        raise Outcome(1, "invalid", f"kcompiler waiver check {folder}")


def _told(one: Mapping[str, Any]) -> AuditFinding:
    """Where a waiver stands, at its file, for every form that knows places."""
    from kcompiler.result import AuditFinding, Where

    why = f" ({one['why']})" if one["why"] else ""
    said = (
        f"{one['status']}{why} until {one['until']}, {one['used']} used, for {', '.join(one['rules'])}: {one['title']}"
    )
    return AuditFinding(code=one["id"], severity="note", message=said, where=Where(file=one["file"]))


def _nothing(problems: Sequence[Diagnostic]) -> str:
    unread = sorted({one.file for one in problems if one.severity == "error"})
    return f"no waiver can be read: {', '.join(unread)}\n" if unread else "no waivers\n"


def _row(one: Mapping[str, Any], *, least: bool) -> list[str]:
    why = f" ({one['why']})" if one["why"] else ""
    return [
        one["id"],
        f"{one['status']}{why}",
        f"until {one['until']}",
        f"{'at least ' if least else ''}{one['used']} used",
        one["title"],
    ]


@waiver.command()
@_WHERE
@AS_OF
@click.option("--strict", is_flag=True, help="Warnings are errors: unused, too wide, ends soon.")
@answers("waiver check", of="folder")
def check(answer: Answer, folder: Path, as_of: str, strict: bool) -> None:
    """Say what is wrong with each waiver: over, not approved, too wide, unused, for a rule that cannot be waived.

    Exit 1 when one excuses nothing, 7 when approvals are all that is missing.
    """
    from kcompiler.cli import excuses
    from kcompiler.diagnostic import ordered
    from kcompiler.render import human
    from kcompiler.waiver import check as stage

    at = _time(as_of)
    loaded, problems, rows = _looked(answer, folder, at)
    home, used = answer.home, {one["id"]: one["used"] for one in rows}
    rules, unreadable = _rules(home, loaded)
    verdicts, ends = _verdicts(home), excuses.known(home).ends
    found = ordered(
        [
            *problems,
            *(
                each
                for one in loaded
                for each in stage.findings(one, rules, at, used[one.waiver.id], verdicts, unreadable, ends)
            ),
        ]
    )
    answer.found(found)
    texts = {one.file: one.data for one in loaded}
    texts |= {one.file: (home.root / one.file).read_bytes() for one in problems if (home.root / one.file).is_file()}
    if answer.human and found:
        click.echo(human.diagnostics(found, texts), err=True, nl=False)
    wrong = [one for one in found if one.severity == "error" or strict]
    counts = {"waiver": len(rows), "error": len(wrong), "warning": len(found) - len(wrong)}
    answer.say(", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items()) + "\n")
    if wrong:
        code, word = (7, "approval-needed") if {one.code for one in wrong} == {stage.APPROVAL} else (1, "invalid")
        raise Outcome(code, word, f"mend it, then kcompiler waiver check {folder}")


def _time(as_of: str) -> str:
    import re

    from kcompiler.cli import clock

    if as_of and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", as_of):
        raise click.UsageError(f"--as-of {as_of!r} is not a UTC time such as 2026-01-31T00:00:00Z")
    return as_of or clock.now()


def _looked(
    answer: Answer, folder: Path, at: str
) -> tuple[Sequence[Loaded], Sequence[Diagnostic], list[dict[str, Any]]]:
    """The waivers of a folder, and what is told of each."""
    from dataclasses import replace

    from kcompiler import waiver as room
    from kcompiler.cli import excuses
    from kcompiler.waiver.check import states
    from kcompiler.waiver.status import SOON, days_left

    if not folder.is_dir() and folder != Path("waivers"):
        raise click.UsageError(f"{folder} is no folder of waivers")
    home = answer.home
    loaded, problems = room.load(folder, home.shown(folder))
    rules, _ = _rules(home, loaded)
    known = excuses.known(home)
    rows: list[dict[str, Any]] = []
    for one in loaded:
        count = len(known.used.get(one.waiver.id, ()))
        terms = [rules[name].terms for name in one.waiver.rules if name in rules]
        after = replace(one, waiver=room.ended(one.waiver, known.ends))
        stands = states(after, [each for each in terms if each is not None], at, count)
        worst = next((each for each in stands if each.status != "active"), stands[0] if stands else None)
        rows.append(
            {
                "id": one.waiver.id,
                "title": one.waiver.title,
                "file": one.file,
                "digest": one.digest,
                "rules": list(one.waiver.rules),
                "status": worst.status if worst else "pending",
                "why": worst.why if worst else "none of its rules can be waived",
                "until": one.waiver.expires,
                "days_left": days_left(one.waiver, at),
                "used": count,
            }
        )
    soon = [one["id"] for one in rows if one["status"] == "active" and one["days_left"] <= SOON]
    answer.data = {"as_of": at, "waivers": rows, "soon": soon, "unseen": excuses.unseen(home, known)}
    return loaded, problems, rows


def _rules(home: project.Project, loaded: Sequence[Loaded]) -> tuple[dict[str, Asked], frozenset[str]]:
    """The rules of every pack that the waivers name, and the packs that cannot be read."""
    from kcompiler import assets, policy
    from kcompiler.waiver.check import of_packs

    roots = [home.root / "policies", assets.folder("policies")]
    known = set(policy.available(root for root in roots if root.is_dir()))
    wanted = sorted({name.rpartition("/")[0] for one in loaded for name in one.waiver.rules} & known)
    packs = policy.load(wanted, roots)
    wrong = [one.file.removeprefix("policies/") for one in packs.problems if one.severity == "error"]
    read = {one.pack.name for one in packs.packs}
    lost = {name for name in wanted if name not in read or any(file.startswith(f"{name}/") for file in wrong)}
    if lost:
        click.echo(f"what is wrong with {', '.join(sorted(lost))} is said by kcompiler policy test", err=True)
    return of_packs(packs.packs), frozenset(lost)


def _verdicts(home: project.Project) -> dict[str, Mapping[str, Any]]:
    """The recorded verdicts of the project, as far as they can be read."""
    from kcompiler.audit.schema import problem_with
    from runtime.contract import strict_json

    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted((home.root / "generated").glob("*/evidence/verdict.json")):
        try:
            verdict: Any = strict_json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue  # an audit says so
        if not problem_with("verdict", verdict):
            found[path.parent.parent.name] = verdict
    return found


@waiver.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--by", required=True, metavar="NAME", help="Who revokes it.")
@click.option("--reason", required=True, metavar="TEXT", help="Why, in at least ten characters.")
def revoke(file: Path, by: str, reason: str) -> None:
    """End a waiver today, for good. The file stays, as a record of what was excused; the project's journal has the
    revocation, too, so that it holds when the line is removed. Where there is no journal here, the next apply that sees
    the line writes it down.
    """
    from kcompiler.cli import clock
    from kcompiler.cli.state import of_machine
    from kcompiler.cli.writing import write
    from kcompiler.waiver import draft
    from kcompiler.waiver.load import parsed

    home = project.find(file)
    shown, found = home.shown(file), _file(home, file)
    if found.waiver.revoked is not None:
        raise Outcome(1, "revoked", "kcompiler waiver list", f"{shown} was revoked on {found.waiver.revoked.on}")
    text = draft.revoked(found.data.decode(), by, clock.now()[:10], reason)
    after, wrong = parsed(text.encode(), shown)
    if after is None:
        raise click.UsageError(f"--by and --reason do not fit: {wrong[0].summary}")
    if (home.root / ".kcompiler" / "journal.jsonl").is_file():
        from runtime.machine import settle

        # first what lasts: a file that is not written then is found by an audit
        with of_machine("list"):
            settle.revoked(home.root, [{"waiver": found.waiver.id, **draft.revocation(after.waiver)}])
    write(home, file.absolute(), text)
    click.echo(f"{found.waiver.id} excuses nothing from {clock.now()[:10]} on; plan what it excused again")

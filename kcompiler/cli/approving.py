"""The verbs of approvers: approve, approvals; and what apply asks before it begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import FORMAT, PROFILE, called, located

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from kcompiler.approval import Standing
    from kcompiler.project import Project


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--key", "key_path", type=click.Path(path_type=Path), required=True, help="Private key of `ssh-keygen -t ed25519`."
)
@PROFILE
def approve(target: Path, key_path: Path, profile: str) -> None:
    """Sign the committed lock of TARGET as one of the approvers whom its packs name. `approvals` says what is new in
    it."""
    from kcompiler import approval, dsse, lock
    from kcompiler.cli import clock
    from kcompiler.cli.writing import write

    made, home, path = located(target, profile)
    key = signing_key(key_path, "kcompiler approve SPEC --key FILE")
    public = dsse.public_line(key)
    who = approval.person(made, public)
    if not who:
        names = sorted({name for one in approval.demands(made) for name in one.approvers})
        known = f"; these are: {', '.join(names)}" if names else "; no pack asks for approvals of a lock"
        raise Outcome(1, "not-an-approver", f"kcompiler approvals {target}", f"{public} is no approver's key{known}")
    if who.casefold() == str(made["asked"]["owner"]).casefold():
        raise Outcome(
            1, "own-spec", f"kcompiler approvals {target}", f"`{who}` owns the spec: somebody else approves it"
        )
    now = clock.now()
    mine = [one for one in approval.demands(made) if public in one.approvers.values()]
    if not any(public in one.living(now).values() for one in mine):
        day = max(one.until[name] for one in mine for name, theirs in one.approvers.items() if theirs == public)
        said = f"the key of `{who}` ended on {day}: pack.yaml names the keys that count"
        raise Outcome(1, "does-not-count", f"kcompiler approvals {target}", said)
    before = _standing(made, home, now)
    envelope = dsse.sign(approval.statement(made, path.read_bytes(), who, now), key)
    file = _folder(made, home) / f"{who}{approval.END}"
    write(home, file, dsse.dump(envelope))
    for line in before.unapproved:
        click.echo(f"approved  {line}")
    click.echo(f"{who} approves {lock.plan_digest(made)}: {home.shown(file)}")


def signing_key(path: Path, again: str) -> Ed25519PrivateKey:
    """The private key in a file, for the command `again`. Raises Outcome."""
    from kcompiler import dsse

    try:
        return dsse.private_key(path.read_bytes())
    except dsse.Unreadable as why:
        raise Outcome(2, "unreadable", again, f"{path}: {why}") from None


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@PROFILE
@FORMAT
def approvals(target: Path, profile: str, form: str) -> None:
    """Say whose approvals of the committed lock of TARGET count, what is lacking, and which steps nobody has approved.

    Exit 7 where approvals are lacking.
    """
    from kcompiler import lock
    from kcompiler.cli import clock

    made, home, _ = located(target, profile)
    found = _standing(made, home, clock.now())
    if form == "json":
        content = {
            "plan": lock.plan_digest(made),
            "approved": [{"by": one.who, "on": one.on} for one in found.by],
            "lacking": list(found.lacking),
            "unapproved": list(found.unapproved),
            "refused": list(found.refused),
            "ending": list(found.ending),
        }
        click.echo(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        for one in found.by:
            click.echo(f"approved  by {one.who} on {one.on}")
        for line in found.refused:
            click.echo(f"refused   {line}")
        for line in found.ending:
            click.echo(f"ends soon {line}")
        if not found.by and not found.lacking:
            click.echo("needs no approval")
    if found.lacking:
        raise _lacking(found, called(target, profile))


def require(made: Mapping[str, Any], home: Project) -> None:
    """Raises Outcome 7 unless a plan is approved as its packs ask, or nothing of it is real."""
    if not any("approval" in one for one in made["policies"]) and made["asked"]["risk_tier"] != 1:
        return
    from kcompiler.approval import asked_for
    from kcompiler.cli import clock

    if not asked_for(made):
        return  # forged artifacts cost nothing, and no gate passes on them

    found = _standing(made, home, clock.now())
    if found.lacking:
        raise _lacking(found, called(Path(made["asked"]["spec"]), str(made["asked"].get("profile", ""))))


def _folder(made: Mapping[str, Any], home: Project) -> Path:
    from kcompiler.approval import FOLDER

    return home.generated(str(made["asked"]["name"])) / FOLDER


def _standing(made: Mapping[str, Any], home: Project, now: str) -> Standing:
    from kcompiler.approval import standing

    return standing(made, _folder(made, home), now)


def _lacking(found: Standing, spec: str) -> Outcome:
    named = any("for pack" in line for line in found.lacking)
    following = f"kcompiler approve {spec} --key FILE" if named else "name a pack with `approval: {lock: {min: 1}}`"
    lines = [*found.lacking, *(f"not approved: {line}" for line in found.unapproved), *found.refused]
    return Outcome(7, "approval-needed", following, "\n".join(lines))

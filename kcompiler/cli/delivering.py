"""The verb that hands over: deliver."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler import project
from kcompiler.cli.auditing import mended
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import PROFILE, called, instead, located, part_of, plan_of

if TYPE_CHECKING:
    from kcompiler.spec import Spec

_AGAIN = "then the same command again"


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), required=True, help="Folder to make: none yet, or an empty one."
)
@click.option("--step", metavar="STEP", help="Which conversion to deliver, where a sweep has several.")
@click.option(
    "--goldens", is_flag=True, help="With the golden vectors, for `verify --on-device`: tokens of held-out rows."
)
@PROFILE
def deliver(target: Path, folder: Path, step: str | None, goldens: bool, profile: str) -> None:
    """Pack what TARGET made (a spec, a lock or its folder in generated/) into a folder that stands alone.

    Core ML packages, a Transformers folder, contract.json for apps, the evidence, a model card, an SBOM, checksums and
    host examples. Only what passes is delivered: the evidence is recomputed first, and anything but a sound PASS or
    WAIVED of the present spec is refused. The same evidence gives the same bytes.
    """
    from kcompiler import deliver as stage
    from runtime.contract import BrokenEvidence, Unavailable
    from runtime.machine import delivery as machine
    from runtime.machine.durable import StorageFailed

    made, home, compiled = _fresh(target, profile)
    spec = called(home.root / made["asked"]["spec"], str(made["asked"].get("profile", "")))
    _free(folder, home)
    _passed(made, home, spec)
    convert = _conversion(stage.conversions(made), step)
    try:
        files = stage.files(made, compiled, home, convert, machine.describe, goldens=goldens)
        machine.put(folder, files)
    except stage.Undeliverable as reason:
        click.echo(str(reason), err=True)
        raise Outcome(1, "undeliverable", reason.action) from None
    except BrokenEvidence as broken:
        click.echo(f"evidence is broken: {broken.subject}: {broken.message}", err=True)
        raise Outcome(3, "evidence-broken", f"kcompiler apply {spec}") from None
    except (Unavailable, ModuleNotFoundError) as lacking:
        if isinstance(lacking, ModuleNotFoundError) and (lacking.name or "").split(".")[0] in ("kcompiler", "runtime"):
            raise
        click.echo(f"the packages cannot be opened here: {lacking}", err=True)
        raise Outcome(4, "toolchain-differs", "pip install 'kcompiler[run]'") from None
    except machine.Occupied as occupied:
        raise _occupied(occupied) from None
    except StorageFailed as failed:
        click.echo(str(failed), err=True)
        raise Outcome(6, "storage-failed", f"free space or mend the disk, {_AGAIN}") from None
    for name in sorted({path.partition("/")[0] for path in files}):
        count = sum(path.partition("/")[0] == name for path in files)
        click.echo(f"  {name}" if name in files else f"  {name}/   {count} files")
    click.echo(f"delivered {made['asked']['name']} to {folder}: {len(files)} files")
    click.echo(f'next: kcompiler generate {folder} --prompt "…", or kcompiler serve {folder}')


def _occupied(reason: Exception) -> Outcome:
    click.echo(str(reason), err=True)
    return Outcome(2, "unusable-path", f"name a folder that is not there yet, {_AGAIN}")


def _free(folder: Path, home: project.Project) -> None:
    """Raises Outcome unless a delivery may be put there, before anything long is done."""
    from runtime.machine import delivery as machine

    try:
        machine.check(folder)
    except machine.Occupied as occupied:
        raise _occupied(occupied) from None
    for kept in (home.root / ".kcompiler", home.root / "generated"):
        if folder.resolve().is_relative_to(kept.resolve()):
            click.echo(f"{folder}: lies in {home.shown(kept)}, which other verbs write", err=True)
            raise Outcome(2, "unusable-path", f"name a folder outside of it, {_AGAIN}")


def _fresh(target: Path, profile: str) -> tuple[dict[str, Any], project.Project, Spec]:
    """The lock, its project and its spec. Raises Outcome 4 when spec, inputs or code would give another lock today."""
    from kcompiler import lock

    if target.suffix in (".yaml", ".yml") and not target.is_dir():
        again, home, front = plan_of(target, "human", profile=profile)
        path, spec = home.lock(front.name), called(target, profile)
        if not path.is_file():
            click.echo(f"{home.shown(path)} does not exist: this spec was never applied", err=True)
            raise Outcome(2, "no-lock", f"kcompiler apply {spec}{instead(home, front.name)}")
        made, home, _ = located(path)
    else:
        made, home, _ = located(target, profile)
        text, overlay = home.root / str(made["asked"]["spec"]), str(made["asked"].get("profile", ""))
        spec = called(text, overlay)
        if not text.is_file():
            click.echo(f"{home.shown(text)}, which the lock is of, is not here", err=True)
            raise Outcome(4, "lock-stale", "kcompiler plan SPEC")
        again, _, front = plan_of(text, "human", profile=overlay)
    if targets := [str(one) for one in made["asked"].get("targets", [])]:
        again = part_of(again, targets)
    if again != made:
        lines = lock.difference(made, again)
        click.echo("the lock is stale:\n" + "\n".join(f"  {line}" for line in lines), err=True)
        raise Outcome(4, "lock-stale", f"kcompiler apply {spec}")
    assert front.spec is not None  # plan_of gives no plan of a spec that does not compile
    return made, home, front.spec


def _passed(made: Mapping[str, Any], home: project.Project, spec: str) -> None:
    """Raises Outcome unless an audit finds the evidence sound, the artifacts here and nothing that blocks."""
    from kcompiler.audit import audit as recompute
    from kcompiler.cli import clock
    from kcompiler.render import human_run
    from runtime.contract import strict_json

    name = made["asked"]["name"]
    if not home.evidence(name).is_dir():
        click.echo(f"{home.shown(home.evidence(name))} does not exist", err=True)
        raise Outcome(2, "no-evidence", f"kcompiler apply {spec}{instead(home, name)}")
    result = recompute(home.root, name, clock.now())
    if result.exit_code:
        click.echo(human_run.audit(result), err=True, nl=False)
        raise Outcome(result.exit_code, result.word, mended(result, home, spec))
    if result.verdict not in ("PASS", "WAIVED"):
        recorded: Any = strict_json.loads(home.verdict(name).read_bytes())
        click.echo(human_run.gates(recorded), err=True, nl=False)
        click.echo(f"only PASS and WAIVED are delivered, and the verdict is {result.verdict}", err=True)
        raise Outcome(int(recorded["exit_code"]) or 1, result.verdict.lower(), f"kcompiler show verdict {spec}")
    _released(made, home, spec)
    if not (home.root / ".kcompiler").is_dir():
        click.echo("the evidence is here, and the artifacts that it is about are not: no .kcompiler", err=True)
        raise Outcome(4, "input-absent", f"kcompiler apply {spec}, or deliver where it was applied")


def _released(made: Mapping[str, Any], home: project.Project, spec: str) -> None:
    """Raises Outcome unless what passed when it was applied passes today, and as what is handed over: rules of phase
    release decide here, those whose day has come since, and no waiver that is over. The reports were just found to be
    what the run rests on."""
    from kcompiler import lock
    from kcompiler.audit.evidence import REPORTS, RUN
    from kcompiler.cli import clock, excuses
    from kcompiler.judge import judge
    from kcompiler.policy import binding
    from kcompiler.render import human_run
    from kcompiler.verifier import facts

    asked = made["obligations"]
    waivers, _ = excuses.at_hand(made, home)
    if not waivers.given and not any("phase" in one or "effective_on" in one for one in asked):
        return
    folder = home.evidence(made["asked"]["name"])
    given = {path.stem: path.read_bytes() for path in sorted((folder / REPORTS).glob("*.json"))}
    given[binding.RUN] = (folder / RUN).read_bytes()
    at = clock.as_of(asked, waivers.given)
    verdict = judge(
        {**given, **facts.reports(made)}, asked, lock=lock.plan_digest(made), as_of=at, release=True, waivers=waivers
    )
    if verdict.exit_code:
        click.echo(human_run.gates(verdict.to_json()), err=True, nl=False)
        click.echo(f"it passed when it was applied; as what is handed over today it is {verdict.verdict}", err=True)
        raise Outcome(verdict.exit_code, verdict.verdict.lower(), f"mend what blocks, then kcompiler apply {spec}")


def _conversion(known: list[str], step: str | None) -> str:
    from kcompiler.cli.plans import no_such_step

    if not known:
        click.echo("no step of this plan makes a package", err=True)
        raise Outcome(1, "undeliverable", "export and convert the student, then apply again")
    if step is not None and step not in known:
        raise no_such_step(step, known)
    if step is None and len(known) > 1:
        raise click.UsageError(f"several packages were made; say which by --step: {', '.join(known)}")
    return step or known[0]

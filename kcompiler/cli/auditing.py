"""The verb of auditors: audit, of a project or of a bundle, and the bundle that they are sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kcompiler.cli.answer import Answer, answers
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import PROFILE, called, located

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kcompiler.audit import Audit
    from kcompiler.project import Project
    from kcompiler.verifier.sealed import Trust

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@PROFILE
@click.option(
    "--bundle", type=_FILE, help="Write the evidence of TARGET into this ZIP file, for whoever has no project."
)
@click.option("--sign-key", type=_FILE, multiple=True, help="Of --bundle: sign it with this OpenSSH private key.")
@click.option("--verifier", type=_FILE, help="Write the stand-alone verifier into this file; it is in a bundle, too.")
@click.option("--key", type=_FILE, help="Of a bundle: the allowed signers, in a file as ssh-keygen has them.")
@click.option("--revoked", type=_FILE, help="Of a bundle: keys that no longer count, or their fingerprints.")
@click.option("--head", metavar="HEX", default="", help="Of a bundle: hash of the journal's newest line, known before.")
@click.option("--as-of", metavar="TIME", default="", help="As of this UTC time, 2026-01-31T00:00:00Z; else now.")
@answers("audit", of="target")
def audit(
    answer: Answer,
    target: Path,
    profile: str,
    bundle: Path | None = None,
    sign_key: tuple[Path, ...] = (),
    verifier: Path | None = None,
    key: Path | None = None,
    revoked: Path | None = None,
    head: str = "",
    as_of: str = "",
) -> None:
    """Recompute digests, journal, reports and verdict of TARGET, and compare.

    TARGET is a spec, a lock or a folder of generated/; or a bundle, a ZIP file that --bundle wrote, which needs no
    project: then --key or --head says who vouches for it, and without either it is self-consistent, unsigned (exit 7).
    Waivers and rules with a day are looked at as they are at --as-of: where each waiver stands, the verdict then, and
    what ends later is told, and changes no exit code, which is about the evidence.
    A bundle holds the stand-alone verifier, `python3 -I verify.py BUNDLE`, which needs nothing but Python.
    """
    if verifier is not None:
        from kcompiler.verifier import assembled

        _write(verifier, assembled().encode())
    if target.suffix == ".zip":
        if bundle is not None or sign_key or profile:
            raise click.UsageError(
                "--bundle, --sign-key and --profile are of a project, and TARGET is a bundle already"
            )
        _of_bundle(answer, target, _trust(key, revoked, head, as_of))
        return
    if key or revoked or head:
        raise click.UsageError("--key, --revoked and --head are of a bundle, a ZIP file")
    if sign_key and bundle is None:
        raise click.UsageError("--sign-key signs a bundle; say with --bundle where to write it")
    from kcompiler import lock
    from kcompiler.audit import audit as recompute

    made, home, _ = located(target, profile)
    result = recompute(home.root, made["asked"]["name"], _trust(None, None, "", as_of).as_of)
    answer.about(home, made)
    answer.plan = lock.plan_digest(made)
    _told(answer, result)
    if result.exit_code:
        raise Outcome(result.exit_code, result.word, f"kcompiler apply {called(target, profile)}")
    if bundle is not None:
        _packed(answer, home, str(made["asked"]["name"]), bundle, sign_key, called(target, profile))


def _told(answer: Answer, result: Audit) -> None:
    from kcompiler.render import human_run
    from kcompiler.render.places import finding

    answer.verdict = result.verdict
    told = {"checked": dict(result.checked), "standing": list(result.standing), "bundle": None}
    answer.data = {"word": result.word, **told}
    answer.sections = [("standing", list(result.standing))]
    answer.findings = [finding(one.code, one.severity, one.subject, one.message) for one in result.findings]
    answer.say(human_run.audit(result))


def _write(path: Path, data: bytes) -> None:
    """Raises Outcome where the disk refuses."""
    from runtime.machine.durable import StorageFailed
    from runtime.machine.durable import write as write_durably

    if not path.parent.is_dir():
        raise Outcome(2, "unusable-path", f"mkdir -p {path.parent}", f"{path.parent}: there is no such folder")
    try:
        write_durably(path, data)
    except StorageFailed as failed:
        raise Outcome(6, "storage-failed", "free space or mend the disk", str(failed)) from None


def _packed(answer: Answer, home: Project, name: str, path: Path, keys: Sequence[Path], asked: str) -> None:
    """Writes the bundle of evidence that was just found sound."""
    from kcompiler import dsse
    from kcompiler.audit import packing
    from runtime import digest

    signers = []
    for file in keys:
        try:
            signers.append(dsse.private_key(file.read_bytes()))
        except dsse.Unreadable as why:
            raise Outcome(2, "unreadable", "name another key with --sign-key", f"{file}: {why}") from None
    try:
        data = packing.bundle(home.root, name, signers)
    except packing.Incomplete as why:
        raise Outcome(3, "evidence-incomplete", f"kcompiler apply {asked}", str(why)) from None
    _write(path, data)
    by = list(map(dsse.shown, signers))
    signed = f"signed by {', '.join(by)}" if by else "unsigned: --sign-key KEY signs it"
    told = f"{path}: {len(data)} bytes, {signed}"
    answer.data["bundle"] = {"path": path.as_posix(), "sha256": digest.of_bytes(data)[7:], "signed_by": by}
    answer.sections = [*answer.sections, ("bundle", [told])]
    answer.say(f"bundle      {told}\n")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as reason:
        raise Outcome(2, "unreadable", "kcompiler audit BUNDLE", f"cannot read {path}: {reason.strerror}") from None


def _trust(key: Path | None, revoked: Path | None, head: str, as_of: str) -> Trust:
    """What whoever asks trusts. Raises Outcome for a file or word that says nothing."""
    from kcompiler.verifier import sealed

    try:
        return sealed.trusted(
            # an empty file is one that allows nobody, and not the absence of one
            key=_read(key).decode() or "#" if key else "",
            revoked=_read(revoked).decode() or "#" if revoked else "",
            head=head,
            as_of=as_of,
            names=(str(key), str(revoked)),
        )
    except ValueError as why:
        raise Outcome(2, "unreadable", "kcompiler audit --help", str(why)) from None


def _of_bundle(answer: Answer, path: Path, trust: Trust) -> None:
    from kcompiler.audit.bundle import audit_bundle

    result, manifest = audit_bundle(_read(path), trust)
    answer.plan = str(manifest.get("plan", ""))
    _told(answer, result)
    if result.exit_code == 7:
        raise Outcome(7, result.word, f"kcompiler audit {path} --key ALLOWED_SIGNERS, or --head HEX from who made it")
    if result.exit_code:
        raise Outcome(result.exit_code, result.word, "ask for the bundle again: kcompiler audit SPEC --bundle FILE")

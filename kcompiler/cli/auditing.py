"""The verb of auditors: audit, of a project or of a bundle, and the bundle that they are sent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kcompiler.cli.answer import Answer, answers
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import PROFILE, called, located

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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
@click.option(
    "--export",
    "exported",
    type=click.Path(path_type=Path, file_okay=False),
    help="Make this folder: in-toto statements, ML-BOM, model card, model signatures, and the evidence of TARGET.",
)
@click.option(
    "--sign-key", type=_FILE, multiple=True, help="Of --bundle and --export: sign with this OpenSSH private key."
)
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
    exported: Path | None = None,
    sign_key: tuple[Path, ...] = (),
    verifier: Path | None = None,
    key: Path | None = None,
    revoked: Path | None = None,
    head: str = "",
    as_of: str = "",
) -> None:
    """Recompute digests, journal, reports and verdict of TARGET, and compare.

    TARGET is a spec, a lock or a folder of generated/; or a bundle, a ZIP file that --bundle wrote, or a folder that
    --export made, which need no project: then --key or --head says who vouches for it, and without either it is
    self-consistent, unsigned (exit 7). Waivers and rules with a day are looked at as they are at --as-of: where each
    waiver stands, the verdict then, and what ends later is told, and changes no exit code, which is about the evidence.
    A bundle holds the stand-alone verifier, `python3 -I verify.py BUNDLE`, which needs nothing but Python.
    """
    if verifier is not None:
        from kcompiler.verifier import assembled

        _write(verifier, assembled().encode())
    if target.suffix == ".zip" or _is_export(target):
        if bundle is not None or exported is not None or sign_key or profile:
            raise click.UsageError(
                "--bundle, --export, --sign-key and --profile are of a project, and TARGET is evidence of one already"
            )
        _of_others(answer, target, _trust(key, revoked, head, as_of))
        return
    if key or revoked or head:
        raise click.UsageError("--key, --revoked and --head are of a bundle or an export")
    if sign_key and bundle is None and exported is None:
        raise click.UsageError(
            "--sign-key signs a bundle or an export; say with --bundle or --export where to write it"
        )
    from kcompiler import lock
    from kcompiler.audit import audit as recompute

    made, home, _ = located(target, profile)
    result = recompute(home.root, made["asked"]["name"], _trust(None, None, "", as_of).as_of)
    answer.about(home, made)
    answer.plan = lock.plan_digest(made)
    _told(answer, result)
    if result.exit_code:
        raise Outcome(result.exit_code, result.word, mended(result, home, called(target, profile)))
    name, asked = str(made["asked"]["name"]), called(target, profile)
    if bundle is not None:
        _packed(answer, home, name, bundle, sign_key, asked)
    if exported is not None:
        _exported(answer, home, name, exported, sign_key, asked)


def mended(result: Audit, home: Project, asked: str) -> str:
    """The command after which an audit finds nothing of what this one found."""
    apply = f"kcompiler apply {asked}"
    if all(one.code != "KA16" for one in result.findings):
        return apply
    # a journal is never cut: only a new one has no line that says otherwise
    state = os.path.relpath(home.root / ".kcompiler")
    return f"mv {state} {state}.before && {apply}"


def _is_export(target: Path) -> bool:
    if not target.is_dir() or not (target / "manifest.json").is_file():
        return False
    from kcompiler.export.audited import is_export

    return is_export(target)


def _told(answer: Answer, result: Audit) -> None:
    from kcompiler.render import human_run
    from kcompiler.render.places import finding

    answer.verdict = result.verdict
    told = {"checked": dict(result.checked), "standing": list(result.standing), "bundle": None, "export": None}
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


def _signers(keys: Sequence[Path]) -> list[Ed25519PrivateKey]:
    """The private keys in files. Raises Outcome for what is none."""
    from kcompiler import dsse

    signers = []
    for file in keys:
        try:
            signers.append(dsse.private_key(file.read_bytes()))
        except dsse.Unreadable as why:
            raise Outcome(2, "unreadable", "name another key with --sign-key", f"{file}: {why}") from None
    return signers


def _bundle(home: Project, name: str, signers: Sequence[Ed25519PrivateKey], asked: str) -> bytes:
    from kcompiler.audit import packing

    try:
        return packing.bundle(home.root, name, signers)
    except packing.Unfit as why:
        raise Outcome(
            2, "unfit-file", f"mend that file, then kcompiler audit {asked} --bundle FILE", str(why)
        ) from None
    except packing.Incomplete as why:
        raise Outcome(3, "evidence-incomplete", f"kcompiler apply {asked}", str(why)) from None


def _exported(answer: Answer, home: Project, name: str, folder: Path, keys: Sequence[Path], asked: str) -> None:
    """Makes the folder of an export of evidence that was just found sound."""
    from kcompiler import dsse, export
    from kcompiler.export.facts import gather
    from kcompiler.veil import leaks
    from runtime.contract import BrokenEvidence

    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not _is_export(folder))):
        raise Outcome(2, "unusable-path", "name a folder that is not there yet", f"{folder} holds what is no export")
    signers = _signers(keys)
    data = _bundle(home, name, signers, asked)
    try:
        facts = gather(home.root, name)
        files = export.files(facts, data, signers)
    except BrokenEvidence as lacking:
        raise Outcome(
            4,
            "input-absent",
            f"kcompiler apply {asked}, or export where it was applied",
            f"{lacking.subject}: {lacking}",
        ) from None
    for place, line in leaks(files):
        why = f"KC4209 {place}{f':{line}' if line else ''}: this looks like a key: it is not exported"
        raise Outcome(2, "unfit-file", f"revoke it, take it out, then kcompiler audit {asked} --export DIR", why)
    _lay_out(folder, files)
    by = list(map(dsse.shown, signers))
    told = f"{folder}: {len(files)} files, " + (
        f"signed by {', '.join(by)}" if by else "unsigned: --sign-key KEY signs"
    )
    left = export.unjudged(facts)
    rows = [told, *([f"no test result, no rule asks about it: {', '.join(left)}"] if left else [])]
    answer.data["export"] = {"path": folder.as_posix(), "files": len(files), "signed_by": by, "unjudged": left}
    answer.sections = [*answer.sections, ("export", rows)]
    answer.say("".join(f"export      {row}\n" for row in rows))


def _lay_out(folder: Path, files: Mapping[str, bytes]) -> None:
    """The folder with these files and no others; raises Outcome where the disk refuses."""
    from runtime.machine.durable import DISK, StorageFailed

    try:
        for path in sorted(folder.rglob("*"), reverse=True) if folder.is_dir() else []:
            if path.is_file() and path.relative_to(folder).as_posix() not in files:
                path.unlink()
        for path in sorted({(folder / name).parent.absolute() for name in files}):
            DISK.folder(path)
    except StorageFailed as failed:
        raise Outcome(6, "storage-failed", "free space or mend the disk", str(failed)) from None
    for name, data in files.items():
        _write(folder / name, data)


def _packed(answer: Answer, home: Project, name: str, path: Path, keys: Sequence[Path], asked: str) -> None:
    """Writes the bundle of evidence that was just found sound."""
    from kcompiler import dsse
    from runtime import digest

    signers = _signers(keys)
    data = _bundle(home, name, signers, asked)
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


def _of_others(answer: Answer, path: Path, trust: Trust) -> None:
    """The audit of a bundle or an export."""
    from kcompiler.audit.bundle import audit_bundle
    from kcompiler.export.audited import audit_export
    from kcompiler.verifier.sealed import OtherFormat

    try:
        result, manifest = audit_export(path, trust) if path.is_dir() else audit_bundle(_read(path), trust)
    except OtherFormat as why:
        again = f"ask for it again: kcompiler audit SPEC {'--export DIR' if path.is_dir() else '--bundle FILE'}"
        raise Outcome(2, "other-format", again, f"{path}: {why}") from None
    answer.plan = str(manifest.get("plan", ""))
    _told(answer, result)
    if result.exit_code == 7:
        raise Outcome(7, result.word, f"kcompiler audit {path} --key ALLOWED_SIGNERS, or --head HEX from who made it")
    if result.exit_code:
        raise Outcome(
            result.exit_code,
            result.word,
            f"ask for it again: kcompiler audit SPEC {'--export DIR' if path.is_dir() else '--bundle FILE'}",
        )

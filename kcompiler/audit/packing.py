"""A project and the name of a spec → the ZIP file that a stranger audits without either: a bundle.

It is laid out as the project is, so that what is unpacked can be looked at with the usual verbs, less what a verdict
can be recomputed without: weights, data and inputs. The same evidence gives the same bytes.

    manifest.json            the digest of every other file; what is signed
    verify.py                the stand-alone verifier (kcompiler/verifier)
    generated/<name>/        plan.lock, evidence/, approvals/
    .kcompiler/              the whole journal and its anchored head, the record of what was bought; of the store the
                             answers of evaluations
    policies/, packs/        the packs file by file, and each as a whole, whose digest the lock pins
    schemas/                 of the lock, the verdict and every report
    specs/, …                the sources that the lock pins: the spec, composed, and its fragments
    waivers/                 those that the lock names: the text of the copy in the evidence, or as JSON what it says
                             since; beside the copy what it means as JSON, whose digest the lock pins
    signatures/              DSSE envelopes over the manifest; the only files that the manifest does not name

The spec and the files of packs are written as JSON, which is YAML: their layout and comments are pinned by nothing, and
whoever has only Python can tell what they say. What nothing in the lock or the journal accounts for, byte by byte, is
left out (`kcompiler.verifier.strays`): signatures of whom no pack names, and what no rule asks of a baseline's run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompiler import approval, assets, lock, policy, verifier
from kcompiler.audit.evidence import REPORTS, RUN, VERDICT
from kcompiler.audit.items import stored
from kcompiler.audit.journal import chain
from kcompiler.audit.plan import composed, schemas_of
from kcompiler.audit.records import HEAD, HELD, JOURNAL, PURSE, STATE, in_use, purse
from kcompiler.policy.load import PACK_FILE, RULE_FILE
from kcompiler.project import Project
from kcompiler.veil import leaks
from kcompiler.verifier import strays, texts
from kcompiler.verifier.excused import MEANING, TEXT, is_meaning
from kcompiler.verifier.sealed import FORMAT, MANIFEST, PACKS, PREDICATE, SCHEMAS, SIGNATURES, VERIFIER
from kcompiler.verifier.zipped import pack
from kcompiler.waiver.load import FOLDER as WAIVERS
from kcompiler.waiver.load import parsed
from runtime import digest
from runtime.contract import strict_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Incomplete(Exception):
    """There is no whole evidence to be packed; the message says what is lacking."""


class Unfit(Exception):
    """A file that somebody wrote cannot go into a bundle; the message says which and why."""


def files(root: Path, name: str) -> dict[str, bytes]:
    """Path in the bundle → bytes, with the manifest. Raises Incomplete; Unfit; UnreadableLock; OSError."""
    project = Project(root)
    made = lock.read(project.lock(name))
    found = {project.shown(path): path.read_bytes() for path in _evidence(project, name)}
    found |= _journal(root)
    if paid := purse(root):
        found[f"{STATE}/{PURSE}"] = paid
    records, _ = in_use(project.evidence(name) / JOURNAL, JOURNAL, None)
    for record in records.values():
        for give in record["gives"].values():
            if give.get("kind") in HELD:
                found |= dict(_folder(stored(root, give["digest"]), root))
    for path in (one["path"] for one in made["sources"]):
        found[path] = _read(root / path)
    found[made["asked"]["spec"]] = _spec(root, made)
    found |= dict(_policies(root, [str(one["pack"]) for one in made["policies"]], texts.plans(made)))
    found |= {f"{SCHEMAS}{one}.schema.json": data for one, data in _schemas(made)}
    found |= dict(_waivers(found))
    copies = f"{project.shown(project.evidence(name))}/{WAIVERS}/"
    for one in made.get("waivers", ()):
        found |= dict(_waiver(root / WAIVERS / f"{one['id']}{TEXT}", found.get(f"{copies}{one['id']}{TEXT}")))
    _sound(found)
    found = strays.kept(found, made, project.shown(project.generated(name)))
    found[VERIFIER] = verifier.assembled().encode()
    return {**found, MANIFEST: _manifest(found, name, made, root)}


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise Incomplete(f"{path.name} is not there: {path.parent.name}/{path.name} belongs to the evidence")
    return path.read_bytes()


def _evidence(project: Project, name: str) -> Iterator[Path]:
    folder = project.evidence(name)
    for needed in (project.lock(name), folder / JOURNAL, folder / RUN, folder / VERDICT):
        if not needed.is_file():
            raise Incomplete(f"{project.shown(needed)} is not there: apply the whole plan first")
    yield project.lock(name)
    yield from _plain((project.generated(name) / approval.FOLDER).glob(f"*{approval.END}"), project.root)
    # what else lies there belongs to nobody's evidence, and is not given to strangers
    yield from (folder / one for one in (JOURNAL, RUN, VERDICT))
    yield from _plain((folder / REPORTS).rglob("*"), project.root)
    yield from _plain((folder / WAIVERS).glob(f"*{TEXT}"), project.root)
    yield from _plain((folder / WAIVERS).glob(f"*/*{approval.END}"), project.root)


def _plain(paths: Iterable[Path], root: Path) -> Iterator[Path]:
    """The files among these, in order. Raises Unfit for a name that not every reader can write."""
    for path in sorted(paths):
        if path.is_file() and not path.is_symlink():
            yield _named(path, root)


def _named(path: Path, root: Path) -> Path:
    """The file, whose name is text. Raises Unfit."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        said = path.relative_to(root).as_posix().encode("utf-8", "backslashreplace").decode()
        raise Unfit(f"KC6102 {said}: the name of this file is no UTF-8: rename it, or remove it") from None
    return path


def _journal(root: Path) -> dict[str, bytes]:
    """The project's journal and its anchor, without what a crash leaves: half a line, an anchor one line behind. What
    is broken otherwise stays as it is."""
    data, head = (_read(root / STATE / one) for one in (JOURNAL, HEAD))
    _, wrong = chain(data, head, JOURNAL)
    if not any(one.severity == "evidence" for one in wrong):
        data = data[: data.rfind(b"\n") + 1]
        head = strays.anchor(data)
    return {f"{STATE}/{JOURNAL}": data, f"{STATE}/{HEAD}": head}


def _waiver(text: Path, copy: bytes | None) -> Iterator[tuple[str, bytes]]:
    """A waiver of the project: the `copy` in the evidence where it says the same, or else as JSON; nothing of one that
    is gone, which the audit says."""
    if not text.is_file():
        return
    name, data = f"{WAIVERS}/{text.name}", text.read_bytes()
    now, was = parsed(data, name)[0], None if copy is None else parsed(copy, name)[0]
    if now is not None and was is not None and copy is not None and now.waiver == was.waiver:
        yield name, copy
    else:
        yield name, data if now is None else _text(now.waiver.meaning)


def _sound(found: Mapping[str, bytes]) -> None:
    """Raises Unfit where a key can be read in a file that strangers get, or in its name."""
    for path, line in leaks(found):
        what = "this looks like a key" if line else "the name of this file looks like a key"
        said = f"{what}: it is not copied into evidence. Revoke it, then take it out"
        raise Unfit(f"KC4209 {path}{f':{line}' if line else ''}: {said}")


def _folder(folder: Path, root: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below, by its path from the root. Raises Incomplete where the folder is gone."""
    if not folder.is_dir():
        raise Incomplete(
            f"{folder.relative_to(root).as_posix()} is gone from the store: `kcompiler apply` makes it anew"
        )
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(root).as_posix(), path.read_bytes()


def _policies(root: Path, names: Sequence[str], plans: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """The packs of these names. `plans`: rule → the plan whose run made the baseline that it compares with."""
    found = policy.load(names, [root / "policies", assets.folder("policies")])
    for wrong in found.problems:
        if wrong.code == "KC4209":
            raise Unfit(f"KC4209 {wrong.place}: {wrong.summary}: it is not copied into evidence. {wrong.help}")
    waiting = list(found.packs)
    for one in waiting:
        yield f"{PACKS}{one.pack.name}.json", _text(one.meaning)
        name = f"policies/{one.pack.name}"
        yield f"{name}/{PACK_FILE}", _text(one.tree.data)
        for rule in one.own:
            yield f"{name}/{rule.rule.id}/{RULE_FILE}", _text(rule.tree.data)
            # the cases beside a rule are its tests; what it compares with lies in folders below
            baseline = getattr(rule.params, "baseline", None)
            file, run = (getattr(baseline, part, None) for part in ("file", "run"))
            if file and (rule.folder / file).is_file():
                report = (rule.folder / file).read_bytes()
                yield f"{name}/{rule.rule.id}/{file}", report
                if run:
                    yield f"{name}/{rule.rule.id}/{run}", texts.ran(report, plans.get(rule.name, ""))
        if one.below is not None:
            waiting.append(one.below)


def _spec(root: Path, made: Mapping[str, Any]) -> bytes:
    """The spec as JSON, with its fragments and its profile, which is what the lock pins."""
    path = str(made["asked"]["spec"])
    said = composed(path, _read(root / path), root, str(made["asked"].get("profile", "")))
    if said is None:
        raise Incomplete(f"{path} cannot be read, and belongs to the evidence")
    return _text(said)


def _schemas(made: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    for one in schemas_of(made):
        yield one, (assets.folder("schemas") / f"{one}.schema.json").read_bytes()


def _waivers(found: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """What each waiver among the files means, for whoever reads no YAML; nothing of one that cannot be read."""
    for path, data in found.items():
        name = path.removesuffix(TEXT) + MEANING
        read = parsed(data, path)[0] if path.endswith(TEXT) and is_meaning(name) else None
        if read is not None:
            yield name, _text({"source": read.digest, "waiver": read.waiver.meaning})


def _text(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _manifest(found: Mapping[str, bytes], name: str, made: Mapping[str, Any], root: Path) -> bytes:
    lines, _ = chain(found[f"{STATE}/{JOURNAL}"], found[f"{STATE}/{HEAD}"], JOURNAL)
    recorded: Any = strict_json.loads(found[Project(root).shown(Project(root).verdict(name))])
    return _text(
        {
            "format": FORMAT,
            "name": name,
            "plan": lock.plan_digest(made),
            "head": lines[-1].hash if lines else "",
            "verdict": recorded.get("verdict") if isinstance(recorded, dict) else None,
            "files": {path: digest.of_bytes(data).removeprefix("sha256:") for path, data in sorted(found.items())},
        }
    )


def signed(found: Mapping[str, bytes], keys: Sequence[Ed25519PrivateKey]) -> dict[str, bytes]:
    """The same files with the signature of each key: a statement about the manifest, which says what it amounts to."""
    from kcompiler import dsse

    manifest: Any = strict_json.loads(found[MANIFEST])
    predicate = {key: manifest[key] for key in ("name", "plan", "head", "verdict")}
    statement = dsse.statement({MANIFEST: digest.of_bytes(found[MANIFEST])}, PREDICATE, predicate)
    made = dict(found)
    for number, key in enumerate(keys, start=1):
        made[f"{SIGNATURES}{number}.dsse.json"] = dsse.dump(dsse.sign(statement, key)).encode()
    return made


def bundle(root: Path, name: str, keys: Sequence[Ed25519PrivateKey] = ()) -> bytes:
    """The bytes of the ZIP file. Raises as `files` does."""
    return pack(signed(files(root, name), keys))

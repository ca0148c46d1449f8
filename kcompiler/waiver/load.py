"""The folder `waivers` of a project → its waivers, and every mistake in their files at its place.

Whatever cannot be read excuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kcompiler import source
from kcompiler.diagnostic import Diagnostic
from kcompiler.policy.typed import typed
from kcompiler.veil import places, starred
from kcompiler.waiver.approved import END
from kcompiler.waiver.file import Waiver
from runtime import digest

FOLDER = "waivers"
CODE = "KC6102"
_NAMES = "unknown key `approvals`"
_KEY, _NAME = "this looks like a key", "the name of this file looks like a key"
_TAKE_OUT = "revoke it, then take it out: whoever reads the evidence reads the waiver"
_NOTE = "schemas/waiver.schema.json describes a waiver"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A waiver with the text it was read from. `digest` is "sha256:…" of the file's bytes; `envelopes` are the
    signatures in the folder beside it, by the names of their files."""

    waiver: Waiver
    digest: str
    file: str
    tree: source.Tree = field(repr=False)
    data: bytes = field(repr=False)
    envelopes: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def meaning(self) -> str:
        """ "sha256:…" of what it means."""
        return digest.of_value(self.waiver.meaning, "kc.waiver.v1")


def load(folder: Path, shown: str = FOLDER) -> tuple[Sequence[Loaded], Sequence[Diagnostic]]:
    """Every waiver of a folder, by id; a folder that is not there has none. `shown` is how messages call it."""
    found: list[Loaded] = []
    problems: list[Diagnostic] = []
    try:
        files = sorted(folder.rglob("*.y*ml")) if folder.is_dir() else []
    except OSError as reason:
        return [], [Diagnostic(code=CODE, file=shown, summary=f"cannot be read: {reason.strerror or reason}")]
    for file in files:
        name = f"{shown}/{file.relative_to(folder).as_posix()}"
        if file.parent != folder or file.suffix != ".yaml":
            problems.append(
                Diagnostic(
                    code=CODE,
                    file=name,
                    summary="nobody reads a waiver that lies here",
                    help=f"move it to {shown}/<id>.yaml",
                )
            )
            continue
        loaded, wrong = read(file, name)
        problems += wrong
        found += [] if loaded is None else [loaded]
    return found, problems


def read(file: Path, shown: str) -> tuple[Loaded | None, list[Diagnostic]]:
    """One file with its signatures, or what is wrong with it."""
    try:
        data = file.read_bytes()
        held = envelopes(file.with_suffix(""))
    except OSError as reason:
        return None, [Diagnostic(code=CODE, file=shown, summary=f"cannot be read: {reason.strerror or reason}")]
    wrong = list(_unfit(held, shown.removesuffix(".yaml")))
    return (None, wrong) if wrong else parsed(data, shown, held)


def _unfit(held: Mapping[str, bytes], shown: str) -> Iterator[Diagnostic]:
    """Signatures that cannot be copied into evidence: what they are called, or hold."""
    for name, data in held.items():
        file = f"{shown}/{spelt(name)}"
        if spelt(name) != name:
            said = "the name of this file is no UTF-8"
            yield Diagnostic(code=CODE, file=file, summary=said, help="rename it, or remove it")
        if (hidden := starred(file)) != file:
            yield Diagnostic(code="KC4209", file=hidden, summary=_NAME, help=_TAKE_OUT)
        yield from _keys(data, hidden)


def spelt(name: str) -> str:
    """A file's name as text; bytes that are no UTF-8 as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def envelopes(folder: Path) -> dict[str, bytes]:
    """The signatures in the folder of a waiver, by the names of their files. Raises OSError."""
    files = sorted(folder.glob(f"*{END}")) if folder.is_dir() else []
    return {path.name: path.read_bytes() for path in files if path.is_file()}


def parsed(data: bytes, shown: str, held: Mapping[str, bytes] | None = None) -> tuple[Loaded | None, list[Diagnostic]]:
    """The same of bytes, with the signatures that are `held`; the name of the file is the last part of `shown`."""
    if keys := list(_keys(data, shown)):
        return None, keys
    tree, found = source.load(shown, data)
    problems = [_empty(one) if one.code == "KC1018" else one for one in found]
    waiver, wrong = typed(Waiver, tree, code=CODE, note=_NOTE)
    problems += [_signed(one, shown) if one.summary == _NAMES else one for one in wrong]
    if tree is None or waiver is None:
        return None, problems
    if f"{waiver.id}.yaml" != shown.rpartition("/")[2]:
        problems.append(
            tree.diagnostic(
                CODE,
                "/id",
                f"waiver `{waiver.id}` lies in a file of another name",
                help=f"call the file {waiver.id}.yaml",
            )
        )
    if any(one.severity == "error" for one in problems):
        return None, problems
    pin = digest.of_bytes(data)
    return Loaded(waiver=waiver, digest=pin, file=shown, tree=tree, data=data, envelopes=held or {}), problems


def _keys(data: bytes, shown: str) -> Iterator[Diagnostic]:
    """Keys written out, in comments and behind escapes, too: what is of a waiver is printed, and copied into evidence
    as it is."""
    for line, column in places(data):
        yield Diagnostic(
            code="KC4209",
            file=shown,
            line=line,
            column=column,
            summary=_KEY,
            help=_TAKE_OUT,
        )


def _empty(found: Diagnostic) -> Diagnostic:
    """An empty file of a waiver is no spec."""
    return replace(found, summary="the file is empty", help="`kcompiler waiver new SPEC --rule RULE` writes a waiver")


def _signed(found: Diagnostic, shown: str) -> Diagnostic:
    """Names that somebody wrote into a waiver are nobody's approval."""
    return replace(
        found,
        summary="names under `approvals` count as nobody: who approves a waiver signs it",
        help=f"leave the key out; each approver runs `kcompiler waiver approve {shown} --key FILE`",
    )

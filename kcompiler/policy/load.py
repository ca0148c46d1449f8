"""Folders of rules → a Policy: packs with digests, or diagnostics that point into the files.

    policies/<pack>/pack.yaml
    policies/<pack>/<rule-id>/{rule.yaml, pass.json, fail.json, missing.json}

A pack that `strengthens` another has all its rules, too: each as it is, or its own of the same id (that this one is
stronger is `kcompiler/diff/strengthens.py`'s to say).

A pack of the project has another name than every shipped one. Whatever cannot be read is an error, never a rule that
quietly is not there: an unknown key, kind or mode, a folder without rule.yaml, a name that differs from its folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from kcompiler import source
from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.policy import kinds, leaked, reading
from kcompiler.policy.kind import Closed, Kind
from kcompiler.policy.phases import misplaced
from kcompiler.policy.rule import PACK_NAME, Pack, Rule, approving, terms
from kcompiler.policy.typed import typed
from runtime import digest

PACK_FILE, RULE_FILE = "pack.yaml", "rule.yaml"


@dataclass(frozen=True, kw_only=True)
class LoadedRule:
    """A rule with its parameters typed by its kind. `name` is `<pack>/<id>`; `kind` is `name@version`."""

    name: str
    rule: Rule
    kind: str
    params: Closed
    tree: source.Tree
    folder: Path
    #: under `waivable`, on which terms a waiver lets the rule through; empty where none can
    terms: Mapping[str, Any]
    #: of the pack below: it lies there, with its cases
    inherited: bool = False


@dataclass(frozen=True, kw_only=True)
class LoadedPack:
    """A pack and its rules, sorted by id. `digest` covers the meaning of pack.yaml and every rule.yaml, and all of the
    pack `below` that it strengthens: its floors hold here, too."""

    pack: Pack
    digest: str
    rules: Sequence[LoadedRule]
    tree: source.Tree
    below: LoadedPack | None = None

    @property
    def meaning(self) -> dict[str, Any]:
        """What the digest is of."""
        said = {"pack": self.tree.data, "rules": {one.rule.id: one.tree.data for one in self.rules}}
        return said if self.below is None else {**said, "below": self.below.digest}

    @property
    def own(self) -> list[LoadedRule]:
        """The rules that lie in its own folder."""
        return [one for one in self.rules if not one.inherited]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The packs a spec names, in that order, and everything that was wrong with them."""

    packs: Sequence[LoadedPack]
    problems: Sequence[Diagnostic]

    def pins(self) -> list[dict[str, Any]]:
        """What the lock says about the packs: under which law was it planned, and who must approve it."""
        return [
            {
                "pack": one.pack.name,
                "version": one.pack.version,
                "digest": one.digest,
                "rules": len(one.rules),
                **signers(one.pack),
            }
            for one in self.packs
        ]


def signers(pack: Pack) -> dict[str, Any]:
    """How many of whom must sign a lock; nothing where the pack does not ask."""
    asked = None if pack.approval is None else pack.approval.lock
    if asked is None:
        return {}
    return {"approval": {"min": asked.min, **approving(pack)}}


def load(names: Iterable[str], roots: Iterable[Path]) -> Policy:
    """The packs of these names, each from the first root that has it. Problems are in the Policy, nothing is raised.

    The digest of a pack leaves out comments, layout and the case files, so that none of them changes a lock.
    """
    found: list[LoadedPack] = []
    problems: list[Diagnostic] = []
    folders = [Path(root) for root in roots]
    for name in dict.fromkeys(names):
        folder, missing = _find(name, folders)
        if folder is None:
            problems += missing
            continue
        pack, wrong = _whole(name, folder, folders, ())
        problems += wrong
        if pack is not None:
            found.append(pack)
    return Policy(packs=tuple(found), problems=tuple(problems))


def available(roots: Iterable[Path]) -> list[str]:
    """Names of every pack below the roots, sorted."""
    found = {file.parent.relative_to(root).as_posix() for root in roots for file in Path(root).rglob(PACK_FILE)}
    return sorted(found)


def _find(name: str, roots: Sequence[Path]) -> tuple[Path | None, list[Diagnostic]]:
    """The folder of a pack. Two packs of one name are an error: whoever reads the name would think of the other one.

    Two that say the same are one: a checkout of this compiler holds what its installation holds.
    """
    found: list[Path] = []
    if re.fullmatch(PACK_NAME, name):
        for root in roots:
            folder = root / name
            if not (folder / PACK_FILE).is_file() or not folder.resolve().is_relative_to(root.resolve()):
                continue
            if not any(folder.samefile(one) for one in found):  # within a checkout the project's are the shipped ones
                found.append(folder)
    if any(_text(one) != _text(found[0]) for one in found[1:]):
        return None, [
            Diagnostic(
                code="KC6007",
                summary=f"the project has a policy pack `{name}`, and so has kcompiler",
                file=f"policies/{name}/{PACK_FILE}",
                pointer="/name",
                help="give the project's pack a name of its own, in its folder and in pack.yaml, and name it in the "
                "spec beside the shipped one: rules are added, never replaced",
            )
        ]
    if found:
        return found[0], []
    return None, [
        Diagnostic(
            code="KC6001",
            summary=f"no policy pack is called `{name}`",
            pointer="/policies",
            help=did_you_mean(name, available(root for root in roots if root.is_dir())),
        )
    ]


def _whole(
    name: str, folder: Path, roots: Sequence[Path], above: Sequence[str]
) -> tuple[LoadedPack | None, list[Diagnostic]]:
    """A pack with the rules of the one that it strengthens; `above` are the packs that led here."""
    pack, wrong = _pack(name, folder)
    problems = list(wrong)
    if pack is None or not pack.pack.strengthens:
        return pack, problems
    base = pack.pack.strengthens
    if base in (*above, name):
        return None, [
            *problems,
            pack.tree.diagnostic(
                "KC6047",
                "/strengthens",
                f"pack `{name}` would strengthen itself",
                label=" → ".join([*above, name, base]),
                help="name the pack below, whose floors are lower",
            ),
        ]
    place, missing = _find(base, roots)
    if place is None:
        there = [replace(one, file="", pointer="") for one in missing]
        return None, [
            *problems,
            *(
                pack.tree.diagnostic(one.code, "/strengthens", one.summary, label="no such pack", help=one.help)
                for one in there
            ),
        ]
    below, wrong = _whole(base, place, roots, (*above, name))
    problems += wrong
    if below is None:
        return None, problems
    return _above(pack, below), problems


def _above(pack: LoadedPack, below: LoadedPack) -> LoadedPack:
    """A pack with what it takes over: under its own name, and with its own least number of items."""
    own = {one.rule.id: one for one in pack.rules}
    taken = [
        replace(
            one,
            name=f"{pack.pack.name}/{one.rule.id}",
            params=_floored(one, max(pack.pack.min_n, below.pack.min_n)),
            inherited=True,
        )
        for one in below.rules
        if one.rule.id not in own
    ]
    rules = sorted([*pack.rules, *taken], key=lambda one: one.rule.id)
    made = replace(pack, rules=tuple(rules), below=below)
    return replace(made, digest=digest.of_value(made.meaning, "kc.pack.v1"))


def _floored(loaded: LoadedRule, least: int) -> Closed:
    kind = kinds.load(loaded.rule.kind)
    params: Closed = kind.floored(kind.params.model_validate(loaded.rule.params), least)
    return params


def _text(folder: Path) -> dict[str, bytes]:
    """What a pack consists of: each file of its rules, by its place in the folder."""
    files = (file for file in folder.rglob("*") if file.suffix in (".yaml", ".json"))
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files if file.is_file()}


def _read(file: Path, shown: str) -> tuple[source.Tree | None, list[Diagnostic]]:
    try:
        data = file.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        return None, [Diagnostic(code="KC6002", summary=f"cannot read {shown}: {reason}", file=shown)]
    if keys := leaked.in_name(shown) or leaked.in_text(data, shown):
        return None, keys
    tree, found = source.load(shown, data)
    return tree, [_of_a_rule(one) if one.code == "KC1018" else one for one in found]


def _of_a_rule(found: Diagnostic) -> Diagnostic:
    """An empty file of a pack is no spec."""
    return replace(found, summary="the file is empty", help="`kcompiler policy new` writes a pack to start from")


def _pack(name: str, folder: Path) -> tuple[LoadedPack | None, Sequence[Diagnostic]]:
    try:
        rules = sorted((one.name, _rule_text(one)) for one in folder.iterdir() if one.is_dir())
        text = tuple(rules), (folder / PACK_FILE).read_bytes()
        keys = leaked.beside(folder, f"policies/{name}", (PACK_FILE, RULE_FILE))
    except OSError:
        return _read_pack(name, folder)
    pack, problems = _same_pack(name, folder, text)
    return pack, [*problems, *keys]


def _rule_text(folder: Path) -> tuple[bytes, tuple[tuple[str, bytes], ...], bool]:
    """What stands in a rule's file, if there is one; what lies in folders below; and whether the folder is a
    pack of its own."""
    file, below = folder / RULE_FILE, [one for one in folder.iterdir() if one.is_dir()]
    whole = (folder / PACK_FILE).is_file()
    files = [] if whole else sorted(one for sub in below for one in sub.rglob("*") if one.is_file())
    kept = tuple((one.relative_to(folder).as_posix(), one.read_bytes()) for one in files)
    return file.read_bytes() if file.is_file() else b"", kept, whole


@lru_cache(maxsize=64)
def _same_pack(name: str, folder: Path, _text: object) -> tuple[LoadedPack | None, Sequence[Diagnostic]]:
    """Checks and the plan each load the packs, and each profile again: the same text is the same pack."""
    return _read_pack(name, folder)


def _read_pack(name: str, folder: Path) -> tuple[LoadedPack | None, Sequence[Diagnostic]]:
    shown = f"policies/{name}"
    tree, problems = _read(folder / PACK_FILE, f"{shown}/{PACK_FILE}")
    pack, wrong = typed(Pack, tree)
    problems = [*problems, *wrong]
    if tree is None or pack is None:
        return None, problems
    if pack.name != name:
        problems.append(_named(tree, "/name", pack.name, name))
    rules: list[LoadedRule] = []
    for below in sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith(".")):
        if (below / PACK_FILE).is_file():
            continue  # another pack, nested by its name
        rule, wrong = _rule(pack, below, f"{shown}/{below.name}/{RULE_FILE}")
        problems += wrong
        if rule is not None:
            rules.append(rule)
    if not rules and not problems and not pack.strengthens:
        problems.append(
            tree.diagnostic("KC6006", "/name", f"pack `{name}` has no rule", help=f"add {shown}/<rule>/{RULE_FILE}")
        )
    made = LoadedPack(pack=pack, digest="", rules=tuple(rules), tree=tree)
    return replace(made, digest=digest.of_value(made.meaning, "kc.pack.v1")), problems


def _rule(pack: Pack, folder: Path, shown: str) -> tuple[LoadedRule | None, list[Diagnostic]]:
    tree, problems = _read(folder / RULE_FILE, shown)
    rule, wrong = typed(Rule, tree)
    problems = [*problems, *wrong]
    if tree is None or rule is None:
        return None, problems
    if rule.id != folder.name:
        problems.append(_named(tree, "/id", rule.id, folder.name))
    if rule.excusable and (pack.approval is None or pack.approval.waiver is None):
        problems.append(
            tree.diagnostic(
                "KC6101",
                "/waivable",
                f"rule `{rule.id}` can be waived, and pack `{pack.name}` names nobody who could approve that",
                help="add `approvers` and `approval` to pack.yaml, or leave `waivable` out",
            )
        )
    if rule.since > pack.version:
        problems.append(
            tree.diagnostic(
                "KC6005",
                "/since",
                f"rule `{rule.id}` came in version {rule.since} of a pack that is at version {pack.version}",
                help="raise the version in pack.yaml",
            )
        )
    problems += misplaced(tree, rule)
    if rule.kind not in kinds.names():
        problems.append(
            tree.diagnostic(
                "KC6003",
                "/kind",
                f"no kind of check is called `{rule.kind}`",
                label="unknown kind",
                help=did_you_mean(rule.kind, kinds.names()),
            )
        )
        return None, problems
    kind = kinds.load(rule.kind)
    params, wrong = typed(kind.params, tree, rule.params, "/params")
    problems += wrong
    if params is None:
        return None, problems
    params = kind.floored(params, pack.min_n)
    if kind.expects(params) != (rule.expect is not None):
        said = "says nothing it could compare with" if rule.expect is None else "says twice what to compare with"
        problems.append(
            tree.diagnostic(
                "KC6004",
                "/expect" if rule.expect else "/kind",
                f"a check of kind `{rule.kind}` {said}",
                help="give `expect: {from: …}`, or a threshold" if rule.expect is None else "remove one of the two",
            )
        )
    if kind.pinned is not None:
        problems += _unpinned(tree, rule, kind, params, folder)
    problems += reading.wrong(tree, rule, kind, params)
    return LoadedRule(
        name=f"{pack.name}/{rule.id}",
        rule=rule,
        kind=f"{kind.name}@{kind.version}",
        params=params,
        tree=tree,
        folder=folder,
        terms=terms(pack, rule),
    ), problems


def _unpinned(tree: source.Tree, rule: Rule, kind: Kind, params: Closed, folder: Path) -> Iterator[Diagnostic]:
    """What lies beside a rule and is not what it says."""
    assert kind.pinned is not None
    try:
        found = kind.pinned(params, folder, rule.on)
        if "missing" in found:
            yield tree.diagnostic(
                "KC6048",
                "/params/baseline",
                f"rule `{rule.id}` has nothing to compare with: {found['missing']}",
                help="put the report of an earlier run there (generated/NAME/evidence/reports) and the report on that "
                "run (generated/NAME/evidence/run.json), or take the rule out until there is one",
            )
        elif "plan" not in found and getattr(params, "unanchored", "") != "allowed":
            yield tree.diagnostic(
                "KC6049",
                "/params/baseline",
                f"nothing says of which run the baseline of rule `{rule.id}` is",
                help="put generated/NAME/evidence/run.json of that run beside it and name it: "
                "`run: baseline/run.json`; or say `unanchored: allowed` under `params`",
            )
    except (OSError, ValueError) as error:
        yield tree.diagnostic(
            "KC6044",
            "/params/baseline",
            f"rule `{rule.id}` cannot compare with its baseline: {error}",
            help="take a report that an earlier run wrote (generated/NAME/evidence/reports), put it there and write "
            "its digest: `sha256sum FILE`",
        )


def _named(tree: source.Tree, pointer: str, said: str, folder: str) -> Diagnostic:
    return tree.diagnostic(
        "KC6005", pointer, f"it calls itself `{said}` and lies in `{folder}`", help="give both the same name"
    )

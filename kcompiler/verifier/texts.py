"""The spec, its fragments and the packs of a bundle × its lock → where a text is not what the lock pins.

A bundle has them in the one form that every reader reads alike: as JSON, which is YAML, too. So nobody has to believe
that a text says what its digest stands for: the digest is made of the text that a person reads. Standard library only.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Set, Tuple

from kcompiler.verifier import strays
from kcompiler.verifier.reading import digest_of, digest_of_bytes, digest_of_files, laid_out, strict, text_at
from kcompiler.verifier.records import Finding
from kcompiler.verifier.sealed import PACKS
from kcompiler.verifier.strays import POLICIES

PACK_FILE, RULE_FILE = "pack.yaml", "rule.yaml"
_GONE, _OTHER = "it belongs to the bundle, and is gone", "it does not say what was planned"
Files = Mapping[str, bytes]


def wrong(files: Files, plan: Mapping[str, Any], folder: str) -> Iterator[Finding]:
    """Everything that these texts say and the lock does not; and every file that nothing of the bundle of what is
    generated in `folder` accounts for."""
    yield from _sources(files, plan)
    yield from packs(files, plan)[1]
    yield from strays.found(files, plan, folder)


def _sources(files: Files, plan: Mapping[str, Any]) -> Iterator[Finding]:
    """The spec by what it says, composed; its fragments by their bytes."""
    spec = plan["asked"]["spec"]
    if spec not in [entry["path"] for entry in plan["sources"]]:
        yield "disagreement", spec, "the lock does not pin the spec that it names"
    for entry in plan["sources"]:
        path, pin = entry["path"], entry.get("meaning", entry.get("bytes"))
        if path not in files:
            yield "evidence", path, _GONE
        elif path == spec:
            yield from _unlike(files, path, "kc.spec.v1", pin)
        elif digest_of_bytes(files[path]) != pin:
            yield "disagreement", path, _OTHER


def _unlike(files: Files, path: str, domain: str, pin: Any) -> Iterator[Finding]:
    """A file that a bundle has as JSON, against the digest of what it must say."""
    if path not in files:
        yield "evidence", path, _GONE
        return
    try:
        said = strict(files[path])
        found, plain = digest_of(said, domain), laid_out(said)
    except ValueError as why:
        yield "evidence", path, f"it cannot be read as a bundle has it: {why}"
        return
    if found != pin:
        yield "disagreement", path, _OTHER
    elif plain != files[path]:
        yield "disagreement", path, strays.LAYOUT


def packs(files: Files, plan: Mapping[str, Any]) -> Tuple[Dict[str, Any], List[Finding]]:
    """Pack → what it means, of each that the lock names, and of those that they strengthen, where that is what the lock
    pins; and what is wrong with the text of any."""
    found: List[Finding] = []
    meanings: Dict[str, Any] = {}
    waiting = [(one["pack"], one["digest"]) for one in plan["policies"]]
    for name, pin in waiting:
        path = f"{PACKS}{name}.json"
        if name in meanings:
            continue
        here = list(_unlike(files, path, "kc.pack.v1", pin))
        found += here
        if any(severity == "evidence" for severity, _, _ in here):
            continue
        meaning = strict(files[path])
        if not all(isinstance(text_at(meaning, part), dict) for part in ("pack", "rules")):
            found.append(("evidence", path, "it is no pack"))
            continue
        meanings[name] = meaning
        if meaning["pack"].get("strengthens"):
            waiting.append((str(meaning["pack"]["strengthens"]), meaning.get("below")))
    known = {f"{PACKS}{name}.json" for name in meanings}
    for name, meaning in meanings.items():
        known |= _texts_of(files, name, meaning, meanings, plans(plan), found)
    found += [
        ("disagreement", path, "no pack of the lock has this file")
        for path in sorted(files)
        if path.startswith((PACKS, POLICIES)) and path not in known
    ]
    wrong = {path for _, path, _ in found}
    return {name: one for name, one in meanings.items() if f"{PACKS}{name}.json" not in wrong}, found


def _texts_of(
    files: Files,
    name: str,
    meaning: Mapping[str, Any],
    meanings: Mapping[str, Any],
    plans: Mapping[str, str],
    found: List[Finding],
) -> Set[str]:
    """The files of a pack, whose rules compare with runs of these `plans`; what is wrong with them is put to what was
    `found`."""
    folder = f"{POLICIES}{name}/"
    taken = text_at(meanings.get(str(meaning["pack"].get("strengthens"))), "rules") or {}
    known = {folder + PACK_FILE}
    found += _unlike(files, folder + PACK_FILE, "", digest_of(meaning["pack"], ""))
    for rule, says in meaning["rules"].items():
        path = f"{folder}{rule}/{RULE_FILE}"
        if path not in files and taken.get(rule) == says:
            continue  # of the pack below: there it lies
        known.add(path)
        found += _unlike(files, path, "", digest_of(says, ""))
        baseline = text_at(says, "params", "baseline")
        if isinstance(baseline, dict):
            known |= _baseline(files, f"{folder}{rule}/", baseline, plans.get(f"{name}/{rule}", ""), found)
    return known


def ran(report: bytes, plan: str) -> bytes:
    """What a bundle has in place of the report on the run that made a baseline: what rests on it, and no more. `plan`
    is "" where the lock asks nothing of the rule."""
    subject = {"plan": plan, "report": digest_of_files({"report.json": report})}
    return laid_out({"environment": {"forged": False}, "kind": "run", "subject": subject})


def plans(plan: Mapping[str, Any]) -> Dict[str, str]:
    """Rule → the plan whose run made the baseline that it compares with, by the lock."""
    found = {one["rule"]: text_at(one, "expect", "plan") for one in plan.get("obligations", ())}
    return {rule: said for rule, said in found.items() if isinstance(said, str)}


def _baseline(files: Files, folder: str, baseline: Mapping[str, Any], of: str, found: List[Finding]) -> Set[str]:
    """The earlier report that a rule compares with, by the digest that the rule pins, and the run that made it, by the
    plan that the lock says it was `of`."""
    path, run = folder + str(baseline["file"]), folder + str(baseline.get("run"))
    if path in files and digest_of_bytes(files[path]) != baseline["digest"]:
        found.append(("disagreement", path, "it is not the baseline that the rule pins"))
    if not baseline.get("run"):
        return {path}
    if path not in files or run not in files:
        found.append(("evidence", run if path in files else path, _GONE))
    elif files[run] != ran(files[path], of):
        found.append(("disagreement", run, "it is not what the lock says of the run that made the baseline"))
    return {path, run}

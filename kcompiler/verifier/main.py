"""A bundle of evidence → everything recomputed that can be without kcompiler, and an exit code. Standard library only.

    python3 -I verify.py BUNDLE.zip [--key ALLOWED_SIGNERS] [--revoked FILE] [--head HEX] [--as-of TIME]

  0  sound: all that is recorded was recomputed, and somebody vouches for it: a key of --key, or --head. The words in
     which a verdict explains an outcome are not made again: they are those that the journal says were given
  1  disagreement: sound parts do not say the same, or the run is unfinished
  2  could not answer: wrong words, a file that cannot be read, something that is not recomputed here
  3  evidence broken: damage, loss or forgery; a signature that is not good
  7  self-consistent, unsigned: proves nothing about who made it; whoever can forge a digest can forge them all

The highest of 3, 2, 1, 7 is told. A sound FAIL is sound: the verdict stands on a line of its own.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from kcompiler.verifier import (
    approvals,
    excused,
    facts,
    forecast,
    records,
    said_again,
    sealed,
    starts,
    texts,
    verdict,
    waivers,
)
from kcompiler.verifier.reading import digest_of, digest_of_bytes, digest_of_files, strict, text_at
from kcompiler.verifier.records import Finding
from kcompiler.verifier.sealed import JOURNAL, MANIFEST, PACKS, SCHEMAS, Trust, opened, trusted, vouched
from kcompiler.verifier.shaped import NotKnown
from kcompiler.verifier.strays import HEAD, PURSE, STORE
from kcompiler.verifier.zipped import BadZip

WORDS = {0: "sound", 1: "disagreement", 2: "not-recomputed", 3: "evidence-broken", 7: "self-consistent-unsigned"}
UNSIGNED = "self-consistent, unsigned: proves nothing about who made it"


class Checked(NamedTuple):
    """What was found, who vouches for the bundle, the recomputed verdict, and how much was looked at."""

    findings: Tuple[Finding, ...]
    vouched: Tuple[str, ...]
    verdict: str
    counts: Mapping[str, int]
    #: where the waivers stand at the time that was asked about, and what ends later
    standing: Tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """The exit code."""
        severities = {severity for severity, _, _ in self.findings}
        for severity, code in (("evidence", 3), ("unknown", 2), ("disagreement", 1)):
            if severity in severities:
                return code
        return 0 if self.vouched else 7


class Unsound(Exception):
    """What makes everything that follows worthless."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__()
        self.findings = findings


def broken(subject: str, message: str) -> Finding:
    """Damage, loss or forgery."""
    return "evidence", subject, message


def differs(subject: str, message: str) -> Finding:
    """Two sound things do not say the same."""
    return "disagreement", subject, message


def check(data: bytes, trust: Trust, own: bytes = b"") -> Checked:
    """Everything about the bytes of a bundle; `own` is the text of the verifier that is asked, where it is known."""
    try:
        files, manifest = opened(data)
    except BadZip as why:
        return Checked((broken("the bundle", str(why)),), (), "", {})
    except sealed.OtherFormat as why:
        return Checked((("unknown", MANIFEST, str(why)),), (), "", {})
    names, wrong = vouched(files, manifest, trust)
    counts = {"files": len(files)}
    if wrong:
        # of what is not even listed, or signed by somebody else, nothing further is worth a line
        return Checked(tuple(broken(subject, message) for _, subject, message in wrong), (), "", counts)
    try:
        word, more, findings, standing = _contents(files, manifest, trust)
    except Unsound as unsound:
        return Checked(tuple(unsound.findings), tuple(names), "", counts)
    except NotKnown as why:
        return Checked((("unknown", "the bundle", str(why)),), tuple(names), "", counts)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as why:
        said = f"it cannot be read: {type(why).__name__}: {why}"
        return Checked((broken("the bundle", said),), tuple(names), "", counts)
    findings += sealed.verifier(files, names, own)
    return Checked(tuple(findings), tuple(names), word, {**counts, **more}, tuple(standing))


def _contents(
    files: Mapping[str, bytes], manifest: Mapping[str, Any], trust: Trust
) -> Tuple[str, Dict[str, int], List[Finding], List[str]]:
    """The verdict's word, what was counted, what was found, and where the waivers stand."""
    folder = f"generated/{manifest['name']}"
    evidence, lock = f"{folder}/evidence", f"{folder}/plan.lock"
    plan = strict(files[lock])
    schemas = _schemas(files, plan, lock)
    identity = digest_of(plan, "kc.plan.v1")
    known, findings = records.chain(files[JOURNAL], files[HEAD], JOURNAL)
    head = known[-1].hash if known else ""
    begun = [
        line for line in known if line.content["type"] == "run_opened" and line.content["data"].get("plan") == identity
    ]
    if not begun:
        findings.append(differs(JOURNAL, "no run in the journal carried out this lock"))
    used, found = records.in_use(files[f"{evidence}/journal.jsonl"], known, f"{evidence}/journal.jsonl")
    findings += [*found, *records.against_lock(plan, used, f"{evidence}/journal.jsonl")]
    findings += [*texts.wrong(files, plan, folder), *_obligations(files, plan, lock)]
    findings += [*_approved(files, folder, plan, trust), *_artifacts(files, used)]
    reports, found = _reports(files, evidence, used, plan)
    findings += found
    for step, message in starts.wrong(plan, used, known, files.get(PURSE, b"")):
        findings.append(broken(f"{evidence}/reports/{facts.start_of(step)}.json", message))
    run = f"{evidence}/run.json"
    if text_at(strict(files[run]), "subject", "plan") != identity:
        findings.append(differs(f"{run}#/subject/plan", "it is about another plan than this lock"))
    for place in records.run_wrong(strict(files[run]), plan, used, identity, known, files.get(PURSE, b"")):
        findings.append(broken(f"{run}#{place}", "not what the committed lines say"))
    read = {step: schemas.evidence(data) for step, data in {**reports, verdict.RUN: files[run]}.items()}
    findings += [
        ("unknown", f"{evidence}/reports/{step}.json", one.unknown) for step, one in read.items() if one.unknown
    ]
    wrong = {**{step: one.problem for step, one in read.items() if one.problem}, **verdict.conflicts(read)}
    for step, why in sorted(wrong.items()):
        findings.append(broken(run if step == verdict.RUN else f"{evidence}/reports/{step}.json", why))
    recorded = f"{evidence}/verdict.json"
    opened = max((str(line.content["ts"]) for line in begun), default="")
    said = strict(files[recorded])
    if wrong_at := schemas.shapes.wrong(said, schemas.of["verdict"]):
        raise Unsound([*findings, broken(recorded, f"it does not satisfy its schema at {wrong_at}")])
    told = {"plan": identity, "head": head, "verdict": said["verdict"]}
    findings += [differs(MANIFEST, message) for message in sealed.claims(manifest, told)]
    held, found = excused.at_hand(files, evidence, plan, said, known, recorded, trust.revoked)
    findings += found
    counts = {"steps": len(used), "reports": len(read), "obligations": len(plan["obligations"]), "lines": len(known)}
    read.update({step: schemas.evidence(facts.dump(one)) for step, one in facts.reports(plan).items()})
    word, found = said_again.compared(said, recorded, plan, read, identity, (opened, trust.as_of), held)
    if begun:
        findings += said_again.kept(files[recorded], recorded, records.pinned([one.content for one in known], identity))
    return word, counts, [*findings, *found], _standing(plan, read, identity, trust.as_of, held, said)


def _schemas(files: Mapping[str, bytes], plan: Mapping[str, Any], lock: str) -> verdict.Schemas:
    """The schemas of the bundle, each compared with its pin in the lock, which satisfies its own. Raises Unsound."""
    ending = ".schema.json"
    raw = {
        path[len(SCHEMAS) : -len(ending)]: data
        for path, data in files.items()
        if path.startswith(SCHEMAS) and path.endswith(ending)
    }
    pins = {entry["id"]: entry["digest"] for entry in plan["schemas"]}
    due = {
        "plan",
        "verdict",
        "report",
        "report.run",
        *(f"report.{kind}" for kind in [*_kinds(plan).values(), *facts.asked(plan)]),
    }
    found = [
        broken(f"{SCHEMAS}{name}{ending}", "the schema is gone") for name in sorted(due & pins.keys() - raw.keys())
    ]
    found += [
        differs(f"{SCHEMAS}{name}{ending}", "the schema is not the one that was planned with")
        for name, data in sorted(raw.items())
        if digest_of_bytes(data) != pins.get(name)
    ]
    if found:
        raise Unsound(found)
    made = verdict.Schemas({name: strict(data) for name, data in raw.items()}, pins)
    if wrong := made.shapes.wrong(plan, made.of["plan"]):
        raise Unsound([broken(lock, f"it does not satisfy its schema at {wrong}")])
    return made


def _kinds(plan: Mapping[str, Any]) -> Dict[str, str]:
    """Step → kind of the report it must make."""
    made = {one["id"]: give["report"] for one in plan["steps"] for give in one["gives"].values() if give.get("report")}
    return {**made, verdict.RUN: "run"}


def _obligations(files: Mapping[str, bytes], plan: Mapping[str, Any], lock: str) -> Iterator[Finding]:
    """The obligations against the rules of the packs: none changed, none left out, none made up."""
    rules: Dict[str, Tuple[str, Mapping[str, Any]]] = {}
    meaning_of: Dict[str, Mapping[str, Any]] = {}
    meanings, _ = texts.packs(files, plan)
    for pin in plan["policies"]:
        path, meaning = f"{PACKS}{pin['pack']}.json", meanings.get(pin["pack"])
        if meaning is None:
            continue  # which was told
        if pin.get("approval") != _approval(meaning["pack"]):
            yield differs(path, "the lock asks for other approvals than the pack")
        for name, rule in meaning["rules"].items():
            rules[f"{pin['pack']}/{name}"] = (f"{pin['pack']}@{meaning['pack']['version']}", rule)
            meaning_of[f"{pin['pack']}/{name}"] = meaning["pack"]
    kinds = dict(_kinds(plan), **{kind: kind for kind in facts.KINDS})
    kinds.update({facts.start_of(step["id"]): facts.START for step in plan["steps"]})
    seen = set()
    for number, one in enumerate(plan["obligations"]):
        place = f"{lock}#/obligations/{number}"
        step = one["from"][len("step:") :]
        seen.add((one["rule"], step))
        if one["rule"] not in rules:
            yield differs(place, f"no pack of the lock has a rule `{one['rule']}`")
            continue
        pack, rule = rules[one["rule"]]
        said = {"pack": pack, "title": rule["title"], "mode": rule.get("mode", "block"), "remedy": rule["remedy"]}
        if one.get("waivable", {}) != _terms(meaning_of[one["rule"]], rule):
            yield differs(place, f"it lets itself be waived on other terms than rule `{one['rule']}`")
        said.update({"phase": rule.get("phase", "report"), "effective_on": str(rule.get("effective_on", ""))})
        said["kind"] = f"{rule['kind']}@{one['kind'].partition('@')[2]}"
        changed = [key for key, value in said.items() if one.get(key, _USUAL.get(key)) != value]
        changed += [key for key, value in rule.get("params", {}).items() if not _says(one["params"].get(key), value)]
        if kinds.get(step) != one["report"] or not _covers(rule["on"], one["report"]):
            changed.append("report")
        if changed:
            yield differs(place, f"it differs from rule `{one['rule']}` in: {', '.join(sorted(changed))}")
    for name, (_, rule) in sorted(rules.items()):
        if not rule.get("when") and not rule.get("where"):
            for step in sorted(step for step, kind in kinds.items() if _covers(rule["on"], kind)):
                if (name, step) not in seen:
                    yield differs(f"{lock}#/obligations", f"rule `{name}` asks nothing of step `{step}`")


def _terms(pack: Mapping[str, Any], rule: Mapping[str, Any]) -> Dict[str, Any]:
    """On which terms a waiver lets a rule through, by the pack; {} where none does."""
    asked, excusable = text_at(pack, "approval", "waiver"), rule.get("waivable")
    outcomes = excusable if isinstance(excusable, list) else ["fail"] if excusable else []
    if asked is None or not outcomes:
        return {}
    said = {"outcomes": outcomes, "min": asked["min"], "max_days": asked.get("max_days", 90)}
    return {**said, **_approving(pack)}


def _approval(pack: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
    """How many of whom must sign a lock, by the pack; None where it does not ask."""
    asked = text_at(pack, "approval", "lock")
    if asked is None:
        return None
    return {"min": asked["min"], **_approving(pack)}


def _approving(pack: Mapping[str, Any]) -> Dict[str, Any]:
    """Who may approve by a pack, and until when, where a key ends."""
    every = pack.get("approvers", ())
    ends = {one["name"]: one["until"] for one in every if one.get("until")}
    return {"approvers": {one["name"]: one["key"] for one in every}, **({"until": ends} if ends else {})}


_USUAL = {"phase": "report", "effective_on": ""}


def _covers(on: str, kind: str) -> bool:
    if kind in (*facts.KINDS, facts.START):
        return on == kind
    return on in ("*", kind) or (on.endswith(".*") and kind.startswith(on[:-1]))


def _says(found: Any, wanted: Any) -> bool:
    """Whether a parameter of an obligation is the one that a rule writes: one text for a list of one, 0.9 for "0.9"."""
    if isinstance(found, list):
        listed = wanted if isinstance(wanted, list) else [wanted]
        return len(found) == len(listed) and all(map(_says, found, listed))
    if isinstance(found, dict) and isinstance(wanted, dict):
        return all(_says(found.get(key), value) for key, value in wanted.items())
    if isinstance(found, str) and isinstance(wanted, (int, float)) and not isinstance(wanted, bool):
        return float(found) == wanted if re.match(r"-?[0-9.]+\Z", found) else False
    return bool(found == wanted) and isinstance(found, bool) == isinstance(wanted, bool)


def _artifacts(files: Mapping[str, bytes], used: Mapping[str, Any]) -> Iterator[Finding]:
    """The answers of every evaluation are here."""
    here = {path[len(STORE) :].split("/", 3)[2] for path in files if path.startswith(STORE) and path.count("/") > 4}
    for step, one in used.items():
        for port, give in one["gives"].items():
            if give.get("kind") == "items" and give["digest"].partition(":")[2] not in here:
                yield broken(f"{STORE}…/{give['digest'][-64:]}", f"the answers `{port}` of step `{step}` are gone")


def _reports(
    files: Mapping[str, bytes], evidence: str, used: Mapping[str, Any], plan: Mapping[str, Any]
) -> Tuple[Dict[str, bytes], List[Finding]]:
    """Step → its report, each compared with the artifact that was committed; and what else lies there."""
    given: Dict[str, bytes] = {}
    found: List[Finding] = []
    for step, one in used.items():
        for port, give in one["gives"].items():
            if give.get("kind") == "report":
                key = step if port == "report" else f"{step}.{port}"
                path = f"{evidence}/reports/{key}.json"
                if path not in files:
                    found.append(broken(path, "the report is gone"))
                    continue
                given[key] = files[path]
                if digest_of_files({"report.json": files[path]}) != give["digest"]:
                    found.append(broken(path, f"not the report that step `{step}` committed"))
    for key, one in facts.starts(plan, used).items():
        path = f"{evidence}/reports/{key}.json"
        given[key] = files.get(path, b"")
        if given[key] != facts.dump(one):
            found.append(broken(path, "not what the committed line says of the beginning of the step"))
    wanted = {f"{evidence}/reports/{key}.json" for key in given}
    extra = sorted(path for path in files if path.startswith(f"{evidence}/reports/") and path not in wanted)
    return given, [*found, *(differs(path, "no committed step gave this report") for path in extra)]


def _approved(files: Mapping[str, bytes], folder: str, plan: Mapping[str, Any], trust: Trust) -> Iterator[Finding]:
    """Whether those whom the packs name have signed the lock, as far as that is asked."""
    if not approvals.asked_for(plan):
        return
    place = f"{folder}/approvals"
    held = {path[len(place) + 1 :]: data for path, data in files.items() if path.startswith(f"{place}/")}
    found = approvals.standing(plan, held, trust.as_of, trust.revoked)
    yield from (differs(place, line) for line in found.lacking)
    yield from (("note", place, line) for line in (*found.by, *found.refused))


def _standing(
    plan: Mapping[str, Any],
    read: Mapping[str, verdict.Evidence],
    identity: str,
    as_of: str,
    held: waivers.Waivers,
    recorded: Mapping[str, Any],
) -> List[str]:
    """Where the waivers stand at a time, what the verdict is then, and what ends or begins later."""
    asked = plan["obligations"]
    if not held.given and not any(one.get("effective_on") for one in asked):
        return []

    def at(moment: str) -> str:
        return verdict.verdict(read, asked, identity, moment, held).word or "not recomputed"

    return forecast.told(asked, held, as_of, at, recorded["verdict"])


# --- the command line


def _text(path: str) -> str:
    """The text of a file; "" where none is named."""
    if not path:
        return ""
    return Path(path).read_text(encoding="utf-8") or "#"


def shown(found: Checked) -> List[str]:
    """The answer for people."""
    lines = [f"{severity:12s}  {subject}: {message}" for severity, subject, message in found.findings]
    lines.append("looked at     " + ", ".join(f"{count} {what}" for what, count in found.counts.items()))
    lines.append(f"verdict       {found.verdict or 'not recomputed'}")
    lines += [f"standing      {line}" for line in found.standing]
    lines += [f"vouched for   by {one}" for one in found.vouched]
    if found.code == 7:
        lines.append(UNSIGNED)
    return [re.sub(r"[^\x20-\x7e\u00a0-\ud7ff]", "?", line) for line in lines]


def main(words: Optional[Sequence[str]] = None, own: bytes = b"") -> int:
    """The command line's exit code."""
    parser = argparse.ArgumentParser(
        prog="verify.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", help="the ZIP file that `kcompiler audit --bundle` wrote")
    parser.add_argument("--key", default="", help="file of allowed signers, as ssh-keygen has them")
    parser.add_argument("--revoked", default="", help="file of revoked keys, or of their fingerprints")
    parser.add_argument("--head", default="", help="hash of the journal's newest line, known from elsewhere")
    parser.add_argument(
        "--as-of", default="", help="keys and waivers as of this UTC time, such as 2026-01-31; else now"
    )
    arguments = parser.parse_args(words)
    try:
        names = (arguments.key, arguments.revoked)
        trust = trusted(_text(names[0]), _text(names[1]), arguments.head, arguments.as_of, names)
        data = Path(arguments.bundle).read_bytes()
    except (OSError, ValueError) as why:
        print(f"cannot answer: {why}", file=sys.stderr)
        print("outcome=usage code=2", file=sys.stderr)
        return 2
    found = check(data, trust, own)
    for line in shown(found):
        print(line)
    print(f"outcome={WORDS[found.code]} code={found.code}", file=sys.stderr if found.code else sys.stdout)
    return found.code


if __name__ == "__main__":
    sys.exit(main())

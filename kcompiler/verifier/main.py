"""A bundle of evidence → everything recomputed that can be without kcompiler, and an exit code. Standard library only.

    python3 -I verify.py BUNDLE.zip [--key ALLOWED_SIGNERS] [--revoked FILE] [--head HEX] [--as-of TIME]

  0  sound: all that is recorded was recomputed, and somebody vouches for it: a key of --key, or --head
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
from datetime import datetime, timezone
from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from kcompiler.verifier import records, signed, verdict
from kcompiler.verifier.reading import digest_of, digest_of_bytes, digest_of_files, strict, text_at
from kcompiler.verifier.records import Finding
from kcompiler.verifier.shaped import NotKnown
from kcompiler.verifier.zipped import BadZip, unpack

FORMAT = "kcompiler-bundle/1"
MANIFEST, SIGNATURES, SCHEMAS, PACKS = "manifest.json", "signatures/", "schemas/", "packs/"
JOURNAL, HEAD, STORE = ".kcompiler/journal.jsonl", ".kcompiler/head", ".kcompiler/store/"
#: predicate of the statement that vouches for a bundle: its subject is manifest.json
PREDICATE = "https://kcompiler.dev/evidence/v1"
WORDS = {0: "sound", 1: "disagreement", 2: "not-recomputed", 3: "evidence-broken", 7: "self-consistent-unsigned"}
UNSIGNED = "self-consistent, unsigned: proves nothing about who made it"


class Trust(NamedTuple):
    """What whoever asks knows from elsewhere: keys, and the hash of the journal's newest line."""

    allowed: Tuple[signed.Allowed, ...] = ()
    revoked: FrozenSet[str] = frozenset()
    head: str = ""
    as_of: str = "1970-01-01T00:00:00Z"


class Checked(NamedTuple):
    """What was found, who vouches for the bundle, the recomputed verdict, and how much was looked at."""

    findings: Tuple[Finding, ...]
    vouched: Tuple[str, ...]
    verdict: str
    counts: Mapping[str, int]

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


def opened(data: bytes) -> Tuple[Dict[str, bytes], Dict[str, Any]]:
    """The files of a bundle and its manifest. Raises BadZip for what is no bundle."""
    files = unpack(data)
    try:
        manifest = strict(files[MANIFEST])
        if manifest["format"] != FORMAT or not all(isinstance(manifest[key], str) for key in ("name", "plan", "head")):
            raise ValueError(f"{MANIFEST} is not of format {FORMAT}")
        if not all(isinstance(one, str) for one in manifest["files"].values()):
            raise ValueError(f"{MANIFEST} does not state digests")
    except KeyError as why:
        raise BadZip(f"it has no {why}") from None
    except (ValueError, LookupError, TypeError, AttributeError) as why:
        raise BadZip(f"{MANIFEST} cannot be read: {why}") from None
    return files, manifest


#: what is wrong: with the files, a signature or the head; with which of them; and how
Wrong = Tuple[str, str, str]


def vouched(files: Mapping[str, bytes], manifest: Mapping[str, Any], trust: Trust) -> Tuple[List[str], List[Wrong]]:
    """Who vouches for a bundle, and what is not as the manifest, the signatures or the head that is known say."""
    names: List[str] = []
    found: List[Wrong] = [("files", *one) for one in _unlisted(files, manifest["files"])]
    mine = digest_of_bytes(files[MANIFEST])
    for name in sorted(name for name in files if name.startswith(SIGNATURES)):
        try:
            one = signed.verify(files[name], trust.allowed, trust.as_of, trust.revoked)
        except signed.Unreadable as why:
            found.append(("signature", name, str(why)))
            continue
        if one.statement["predicateType"] != PREDICATE or f"sha256:{signed.about(one.statement, MANIFEST)}" != mine:
            found.append(("signature", name, "it is the signature of something else than this manifest"))
        elif trust.allowed and not one.signers:
            found.append(("signature", name, "; ".join(one.refused)))
        else:
            names += [f"{signer.who} {signer.fingerprint}" for signer in one.signers]
    if trust.head and trust.head != manifest["head"]:
        found.append(("head", JOURNAL, f"its newest line is {manifest['head']}, and not {trust.head}"))
    elif trust.head:
        names.append(f"journal head {trust.head}")
    return names, found


def _unlisted(files: Mapping[str, bytes], listed: Mapping[str, str]) -> Iterator[Tuple[str, str]]:
    there = {name for name in files if name != MANIFEST and not name.startswith(SIGNATURES)}
    for name in sorted(there ^ listed.keys()):
        yield name, "it is in the manifest and gone" if name in listed else "the manifest does not name it"
    for name in sorted(there & listed.keys()):
        if digest_of_bytes(files[name]) != f"sha256:{listed[name]}":
            yield name, "it does not have the digest that the manifest states"


def check(data: bytes, trust: Trust) -> Checked:
    """Everything about the bytes of a bundle."""
    try:
        files, manifest = opened(data)
    except BadZip as why:
        return Checked((broken("the bundle", str(why)),), (), "", {})
    names, wrong = vouched(files, manifest, trust)
    counts = {"files": len(files)}
    if wrong:
        # of what is not even listed, or signed by somebody else, nothing further is worth a line
        return Checked(tuple(broken(subject, message) for _, subject, message in wrong), (), "", counts)
    try:
        word, more, findings = _contents(files, manifest)
    except Unsound as unsound:
        return Checked(tuple(unsound.findings), tuple(names), "", counts)
    except NotKnown as why:
        return Checked((("unknown", "the bundle", str(why)),), tuple(names), "", counts)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as why:
        said = f"it cannot be read: {type(why).__name__}: {why}"
        return Checked((broken("the bundle", said),), tuple(names), "", counts)
    return Checked(tuple(findings), tuple(names), word, {**counts, **more})


def _contents(files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> Tuple[str, Dict[str, int], List[Finding]]:
    """The verdict's word, what was counted, and what was found."""
    folder = f"generated/{manifest['name']}"
    evidence, lock = f"{folder}/evidence", f"{folder}/plan.lock"
    plan = strict(files[lock])
    schemas = _schemas(files, plan, lock)
    identity = digest_of(plan, "kc.plan.v1")
    known, findings = records.chain(files[JOURNAL], files[HEAD], JOURNAL)
    head = known[-1].hash if known else ""
    told = {"plan": identity, "head": head}
    findings += [differs(MANIFEST, f"`{key}` is another") for key, value in told.items() if manifest.get(key) != value]
    begun = [
        line for line in known if line.content["type"] == "run_opened" and line.content["data"].get("plan") == identity
    ]
    if not begun:
        findings.append(differs(JOURNAL, "no run in the journal carried out this lock"))
    used, found = records.in_use(files[f"{evidence}/journal.jsonl"], known, f"{evidence}/journal.jsonl")
    findings += [*found, *records.against_lock(plan, used, f"{evidence}/journal.jsonl")]
    findings += [*_packs(files, plan, lock), *_artifacts(files, used)]
    reports, found = _reports(files, evidence, used)
    findings += found
    run = f"{evidence}/run.json"
    for place in records.run_wrong(strict(files[run]), plan, used, identity):
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
    word, found = _verdict(strict(files[recorded]), recorded, plan, read, identity, opened, schemas)
    counts = {"steps": len(used), "reports": len(read), "obligations": len(plan["obligations"]), "lines": len(known)}
    return word, counts, [*findings, *found]


def _schemas(files: Mapping[str, bytes], plan: Mapping[str, Any], lock: str) -> verdict.Schemas:
    """The schemas of the bundle, each compared with its pin in the lock, which satisfies its own. Raises Unsound."""
    ending = ".schema.json"
    raw = {
        path[len(SCHEMAS) : -len(ending)]: data
        for path, data in files.items()
        if path.startswith(SCHEMAS) and path.endswith(ending)
    }
    pins = {entry["id"]: entry["digest"] for entry in plan["schemas"]}
    due = {"plan", "verdict", "report", "report.run", *(f"report.{kind}" for kind in _kinds(plan).values())}
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
    made = verdict.Schemas({name: strict(data) for name, data in raw.items()})
    if wrong := made.shapes.wrong(plan, made.of["plan"]):
        raise Unsound([broken(lock, f"it does not satisfy its schema at {wrong}")])
    return made


def _kinds(plan: Mapping[str, Any]) -> Dict[str, str]:
    """Step → kind of the report it must make."""
    made = {one["id"]: give["report"] for one in plan["steps"] for give in one["gives"].values() if give.get("report")}
    return {**made, verdict.RUN: "run"}


def _packs(files: Mapping[str, bytes], plan: Mapping[str, Any], lock: str) -> Iterator[Finding]:
    """The packs by digest, and the obligations against their rules: none changed, none left out, none made up."""
    rules: Dict[str, Tuple[str, Mapping[str, Any]]] = {}
    meaning_of: Dict[str, Mapping[str, Any]] = {}
    for pin in plan["policies"]:
        path = f"{PACKS}{pin['pack']}.json"
        if path not in files:
            yield broken(path, "the pack is gone")
            continue
        meaning = strict(files[path])
        if digest_of(meaning, "kc.pack.v1") != pin["digest"]:
            yield differs(path, "the pack is not the one that was planned with")
        for name, rule in meaning["rules"].items():
            rules[f"{pin['pack']}/{name}"] = (f"{pin['pack']}@{meaning['pack']['version']}", rule)
            meaning_of[f"{pin['pack']}/{name}"] = meaning["pack"]
    kinds = _kinds(plan)
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
    approvers = {one["name"]: one["key"] for one in pack.get("approvers", ())}
    return {"outcomes": outcomes, "min": asked["min"], "max_days": asked.get("max_days", 90), "approvers": approvers}


_USUAL = {"phase": "report", "effective_on": ""}


def _covers(on: str, kind: str) -> bool:
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
    """What of the store is here, by its digest; the answers of every evaluation must be."""
    folders: Dict[str, Dict[str, bytes]] = {}
    for path, data in files.items():
        if path.startswith(STORE):
            scheme, _, text, *rest = path[len(STORE) :].split("/")
            folders.setdefault(f"{scheme}:{text}", {})["/".join(rest)] = data
    due = {
        give["digest"]: f"`{port}` of step `{step}`"
        for step, one in used.items()
        for port, give in one["gives"].items()
    }
    for digest, held in folders.items():
        if digest_of_files(held) != digest:
            yield broken(f"{STORE}…/{digest[-64:]}", "the artifact does not have the digest it is stored under")
        elif digest not in due:
            yield differs(f"{STORE}…/{digest[-64:]}", "no committed step gave this artifact")
    for step, one in used.items():
        for port, give in one["gives"].items():
            if give.get("kind") == "items" and give["digest"] not in folders:
                yield broken(f"{STORE}…/{give['digest'][-64:]}", f"the answers `{port}` of step `{step}` are gone")


def _reports(
    files: Mapping[str, bytes], evidence: str, used: Mapping[str, Any]
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
    wanted = {f"{evidence}/reports/{key}.json" for key in given}
    extra = sorted(path for path in files if path.startswith(f"{evidence}/reports/") and path not in wanted)
    return given, [*found, *(differs(path, "no committed step gave this report") for path in extra)]


def _verdict(
    recorded: Any,
    subject: str,
    plan: Mapping[str, Any],
    read: Mapping[str, verdict.Evidence],
    identity: str,
    opened: str,
    schemas: verdict.Schemas,
) -> Tuple[str, List[Finding]]:
    """The recomputed word, and where the recorded verdict says something else."""
    wrong = schemas.shapes.wrong(recorded, schemas.of["verdict"])
    if wrong:
        return "", [broken(subject, f"it does not satisfy its schema at {wrong}")]
    found: List[Finding] = []
    if recorded.get("waivers") or plan.get("waivers"):
        found.append(("unknown", subject, "it rests on waivers, which are not read here: kcompiler audit does"))
    as_of = recorded["as_of"] if any(one.get("effective_on") for one in plan["obligations"]) else None
    if as_of is not None and as_of < opened:
        found.append(differs(f"{subject}#/as_of", f"judged as of {as_of}, and the run began at {opened}"))
        as_of = opened
    now = verdict.verdict(read, plan["obligations"], identity, as_of)
    found += [("unknown", subject, f"not recomputed: {one}") for one in now.unknown]
    told: Dict[str, Any] = {
        "lock": identity,
        "obligations": digest_of(plan["obligations"], "kc.obligations.v1"),
        "reports": {step: one.digest for step, one in read.items()},
    }
    if not now.unknown:
        told.update({"verdict": now.word, "exit_code": now.code, "counts": now.counts})
    found += [
        differs(f"{subject}#/{key}", "recomputed, it is another") for key, one in told.items() if recorded[key] != one
    ]
    if len(recorded["outcomes"]) != len(now.outcomes):
        found.append(differs(f"{subject}#/outcomes", "not one for each obligation"))
    for number, (old, new) in enumerate(zip(recorded["outcomes"], now.outcomes)):
        same = (old["rule"], old["step"], old["mode"]) == (new.rule, new.step, new.mode)
        pin = digest_of(plan["obligations"][number], "kc.obligation.v1")
        if (
            not same
            or old["obligation"] != pin
            or (new.word != verdict.NOT_RECOMPUTED and (old["outcome"], old["blocks"]) != (new.word, new.blocks))
        ):
            said = f"rule `{new.rule}` on step `{new.step}`: recorded {old['outcome']}, recomputed {new.word}"
            found.append(differs(f"{subject}#/outcomes/{number}", said))
    return now.word, found


# --- the command line


def trusted(key: str, revoked: str, head: str, as_of: str, names: Tuple[str, str]) -> Trust:
    """What somebody trusts, from the texts of two files of these names, "" for none. Raises ValueError."""
    as_of = as_of or datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    if re.match(r"\d{4}-\d\d-\d\d\Z", as_of):
        as_of += "T00:00:00Z"
    try:
        datetime.strptime(as_of, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        raise ValueError(f"--as-of {as_of!r} is not a UTC time such as 2026-01-31T00:00:00Z") from None
    if head and not re.match(r"(sha256:)?[0-9a-f]{64}\Z", head):
        raise ValueError(f"--head {head!r} is not 64 hexadecimal digits")
    if revoked and not key:
        raise ValueError("revoked keys without --key: of signatures that nobody is asked about")
    allowed = signed.allowed_signers(key, names[0]) if key else []
    dead = signed.revoked_keys(revoked, names[1]) if revoked else frozenset()
    return Trust(tuple(allowed), dead, f"sha256:{head[-64:]}" if head else "", as_of)


def _text(path: str) -> str:
    """The text of a file; "" where none is named."""
    if not path:
        return ""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - a stranger's Python, as little of it as can be
        return file.read() or "#"


def shown(found: Checked) -> List[str]:
    """The answer for people."""
    lines = [f"{severity:12s}  {subject}: {message}" for severity, subject, message in found.findings]
    lines.append("looked at     " + ", ".join(f"{count} {what}" for what, count in found.counts.items()))
    lines.append(f"verdict       {found.verdict or 'not recomputed'}")
    lines += [f"vouched for   by {one}" for one in found.vouched]
    if found.code == 7:
        lines.append(UNSIGNED)
    return [re.sub(r"[^\x20-\x7e\u00a0-\ud7ff]", "?", line) for line in lines]


def main(words: Optional[Sequence[str]] = None) -> int:
    """The command line's exit code."""
    parser = argparse.ArgumentParser(
        prog="verify.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", help="the ZIP file that `kcompiler audit --bundle` wrote")
    parser.add_argument("--key", default="", help="file of allowed signers, as ssh-keygen has them")
    parser.add_argument("--revoked", default="", help="file of revoked keys, or of their fingerprints")
    parser.add_argument("--head", default="", help="hash of the journal's newest line, known from elsewhere")
    parser.add_argument("--as-of", default="", help="keys are valid at this UTC time, such as 2026-01-31; else now")
    arguments = parser.parse_args(words)
    try:
        names = (arguments.key, arguments.revoked)
        trust = trusted(_text(names[0]), _text(names[1]), arguments.head, arguments.as_of, names)
        with open(arguments.bundle, "rb") as file:  # noqa: PTH123
            data = file.read()
    except (OSError, ValueError) as why:
        print(f"cannot answer: {why}", file=sys.stderr)
        print("outcome=usage code=2", file=sys.stderr)
        return 2
    found = check(data, trust)
    for line in shown(found):
        print(line)
    print(f"outcome={WORDS[found.code]} code={found.code}", file=sys.stderr if found.code else sys.stdout)
    return found.code


if __name__ == "__main__":
    sys.exit(main())

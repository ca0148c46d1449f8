"""Reports, the report on the run and the verdict of `generated/<name>/evidence` → recomputed, and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kcompiler.audit.finding import Finding, broken, differs
from kcompiler.audit.journal import Line
from kcompiler.audit.records import Records
from kcompiler.audit.schema import problem_with
from kcompiler.judge import judge
from kcompiler.plan import APPLY
from kcompiler.policy.evidence import Evidence
from kcompiler.verifier import facts, ledger, starts
from kcompiler.verifier.records import RESUMED, SUMS
from kcompiler.waiver import NONE, Waivers
from runtime import digest
from runtime.contract import strict_json
from runtime.contract.footprint import LIBRARIES
from runtime.contract.peak import NUMBERS, PEAK

LINE_ENDS = "write `generated/** -text` into .gitattributes and check the folder out again"
REPORTS, RUN, VERDICT = "reports", "run.json", "verdict.json"


def _artifact(report: bytes) -> str:
    """The digest a report has as an artifact: a folder with the one file report.json."""
    entry = {"path": "report.json", "bytes": len(report), "digest": digest.of_bytes(report)}
    return digest.of_value([entry], "kc.tree.v1")


def reports(
    folder: Path,
    shown: str,
    records: Records,
    plan: Mapping[str, Any],
    known: Sequence[Line] | None = None,
    purse: bytes = b"",
) -> tuple[dict[str, bytes], list[Finding]]:
    """Step → bytes of its report, each compared with the artifact that was committed, or with the lines of the journal
    about the beginning of a step; and what else lies there."""
    given: dict[str, bytes] = {}
    findings: list[Finding] = []
    for name, record in records.items():
        for port, give in record["gives"].items():
            if give.get("kind") != "report":
                continue
            key = name if port == "report" else f"{name}.{port}"
            subject, path = f"{shown}/{REPORTS}/{key}.json", folder / REPORTS / f"{key}.json"
            if not path.is_file():
                findings.append(broken("KA22", subject, "the report is gone"))
                continue
            given[key] = path.read_bytes()
            if _artifact(given[key]) != give["digest"]:
                unlike = f"not the report that step `{name}` committed"
                if _artifact(given[key].replace(b"\r\n", b"\n")) == give["digest"]:
                    unlike += "; only its line ends differ, as git's core.autocrlf makes them: " + LINE_ENDS
                findings.append(broken("KA22", subject, unlike))
    for key, one in facts.starts(plan, records).items():
        path = folder / REPORTS / f"{key}.json"
        given[key] = path.read_bytes() if path.is_file() else b""
        if given[key] != facts.dump(one):
            message = "not what the committed line says of the beginning of the step"
            findings.append(broken("KA22", f"{shown}/{REPORTS}/{key}.json", message))
    for step, message in starts.wrong(plan, records, known, purse):
        findings.append(broken("KA22", f"{shown}/{REPORTS}/{facts.start_of(step)}.json", message))
    wanted = {f"{key}.json" for key in given}
    for path in sorted((folder / REPORTS).glob("*")):
        if path.name not in wanted:
            findings.append(differs("KA23", f"{shown}/{REPORTS}/{path.name}", "no committed step gave this report"))
    return given, findings


def run(
    path: Path,
    subject: str,
    plan: Mapping[str, Any],
    records: Records,
    identity: str,
    known: Sequence[Line] | None = None,
    purse: bytes = b"",
) -> tuple[bytes | None, list[Finding]]:
    """The report on the run against the committed lines it was made from, and the whole journal where it is here;
    `identity` is the digest of the plan, `purse` the record of what was bought."""
    if not path.is_file():
        return None, [broken("KA24", subject, "the report on the run is gone")]
    data = path.read_bytes()
    try:
        report = strict_json.loads(data)
    except ValueError as reason:
        return data, [broken("KA24", subject, f"not strict JSON: {reason}")]
    if not isinstance(report, dict):
        return data, [broken("KA24", subject, "not a report")]
    found = [
        broken("KA24", f"{subject}#{place}", "not what the committed lines say")
        for place in wrong(report, plan, records)
    ]
    found += [
        broken("KA24", f"{subject}#{place}", "not what the journal and the record of what was bought say")
        for place in ledger.wrong(report, plan, records, identity, known, purse)
    ]
    if _at(report, "subject", "plan") != identity:
        found.append(differs("KA24", f"{subject}#/subject/plan", "it is about another plan than this lock"))
    return data, found


def wrong(report: Mapping[str, Any], plan: Mapping[str, Any], records: Records) -> Iterator[str]:
    """JSON pointers of everything in the report that does not follow from the records."""
    content, steps = _at(report, "data"), _at(report, "data", "steps")
    subject = {f"{name}.{port}": give["digest"] for name, one in records.items() for port, give in one["gives"].items()}
    subject |= {key: _artifact(facts.dump(one)) for key, one in facts.starts(plan, records).items()}
    claimed = _at(report, "subject")
    if not isinstance(claimed, dict) or {port: one for port, one in claimed.items() if port != "plan"} != subject:
        yield "/subject"
    if _at(report, "environment", "forged") is not any(record["forged"] for record in records.values()):
        yield "/environment/forged"
    if not isinstance(steps, dict) or steps.keys() != records.keys():
        yield "/data/steps"
        return
    missing = [step["id"] for step in plan["steps"] if step["id"] not in records]
    for name, of in SUMS.items():
        for step, record in records.items():
            if _at(steps, step, name, "value") != of(record):
                yield f"/data/steps/{step}/{name}"
        parts = [of(record) for record in records.values()]
        total = None if missing or None in parts else round(sum(part for part in parts if part is not None), 6)
        if _at(content, name, "value") != total:
            yield f"/data/{name}"
    yield from _wrong_about_time(content, steps, records, missing)
    yield from _wrong_about_memory(content, steps, records, plan)
    done = (_at(content, "done", "k"), _at(content, "done", "n"))
    if done != (len(records), len(plan["steps"])) or _at(content, "missing") != missing:
        yield "/data/done"


def _wrong_about_time(
    content: Any, steps: Mapping[str, Any], records: Records, missing: Sequence[str]
) -> Iterator[str]:
    """The same of what was done twice, and of estimates beside what was measured."""
    again: list[Mapping[str, Any]] = []
    took = foreseen = 0.0
    known = not missing
    for step, record in records.items():
        resumes = record.get("resumes", [])
        again += resumes
        told = _at(steps, step, "resumes")
        said = [_taken_up(one) for one in told] if isinstance(told, list) else None
        if said != [[*(one[name] for name in RESUMED.values()), one["changed"]] for one in resumes]:
            yield f"/data/steps/{step}/resumes"
        made, off = _at(record, "forecast", "wall_s"), None
        seconds = record["wall_s"] - sum(one["lost_s"] or 0 for one in resumes)
        if made is not None and not record["lost_attempts"] and seconds > 0:
            off = round(abs(seconds - made) / seconds, 6)
        if _at(steps, step, "estimated", "value") != made:
            yield f"/data/steps/{step}/estimated"
        if _at(steps, step, "estimate_error", "value") != off:
            yield f"/data/steps/{step}/estimate_error"
        known = known and off is not None
        took, foreseen = took + seconds, foreseen + (made or 0.0)
    sums: dict[str, float | None] = {"resumes": len(again)}
    for name in ("repeated", "lost"):
        parts = [one[RESUMED[name]] for one in again]
        sums[name] = None if None in parts else round(sum(parts), 6)
    sums["estimated"] = round(foreseen, 6) if known else None
    sums["estimate_error"] = round(abs(took - foreseen) / took, 6) if known else None
    for name, value in sums.items():
        if _at(content, name, "value") != value:
            yield f"/data/{name}"


def _wrong_about_memory(
    content: Any, steps: Mapping[str, Any], records: Records, plan: Mapping[str, Any]
) -> Iterator[str]:
    """The same of the memory of what trains."""
    trained = list(plan.get("estimates", {}))
    errors: dict[str, float | None] = dict.fromkeys(trained)
    for step in trained:
        record = records.get(step)
        if record is None:
            continue
        held = {} if record["lost_attempts"] else _at(record, PEAK)
        said = {name: _at(held, name) for name in (*NUMBERS, "estimated")}
        most, formula = _bytes(said.get(str(_at(held, "at")))), _bytes(said["estimated"])
        before = said["before"] if _at(held, "at") == "host" else 0
        if most and formula and isinstance(before, int) and before >= 0:
            errors[step] = round(abs(most - formula) / max(before + formula, LIBRARIES), 6)
        for name, value in {**said, "error": errors[step]}.items():
            if _at(steps, step, "memory", name, "value") != value:
                yield f"/data/steps/{step}/memory/{name}"
    known = [one for one in errors.values() if one is not None]
    worst = max(known) if known and len(known) == len(errors) else None
    if (_at(content, "memory_error") is not None) != bool(trained) or _at(content, "memory_error", "value") != worst:
        yield "/data/memory_error"


def _bytes(value: Any) -> int:
    """Of something that is there; 0 for what is none."""
    return value if isinstance(value, int) and value > 0 else 0


def _taken_up(one: Any) -> list[Any]:
    return [*(_at(one, name, "value") for name in RESUMED), _at(one, "changed")]


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _no_waivers(_recorded: Mapping[str, Any]) -> tuple[Waivers, list[Finding]]:
    return NONE, []


def verdict(
    path: Path,
    subject: str,
    plan: Mapping[str, Any],
    given: Mapping[str, Evidence],
    opened: str,
    identity: str,
    *,
    at_hand: Callable[[Mapping[str, Any]], tuple[Waivers, list[Finding]]] = _no_waivers,
    now: str = "",
    pin: str = "",
) -> tuple[str, list[Finding]]:
    """The word of the verdict that the judge gives now, and whether the recorded one says the same, byte for byte.

    `identity` is the digest of the plan. `opened` is when the run began, by its journal. A verdict as of an earlier
    time would leave out rules that were in force, or have a waiver that was over; one as of a later time is only
    stricter, as far as that time has come: `now` is when the audit is made. `at_hand` says with which waivers a
    recorded verdict was given, `pin` the digest of its text, by the journal; "" where that does not say it.
    """
    recorded: Any = None
    findings: list[Finding] = []
    try:
        text = path.read_bytes()
        recorded = strict_json.loads(text)
    except OSError as reason:
        text, findings = b"", [broken("KA31", subject, f"the verdict cannot be read: {reason.strerror}")]
    except ValueError as reason:
        findings = [broken("KA31", subject, f"not strict JSON: {reason}")]
    if not findings:
        problem = problem_with("verdict", recorded)
        findings = [broken("KA31", subject, problem)] if problem else []
    # apply judges with a date where a rule has one: any other that stands in the verdict was put there
    held, about = at_hand(recorded) if not findings else (NONE, [])
    dated = not findings and (held.given or any(one.get("effective_on") for one in plan["obligations"]))
    said = recorded["as_of"] if dated else None
    if said is not None and said < opened:
        findings = [differs("KA32", f"{subject}#/as_of", f"judged as of {said}, and the run began at {opened}")]
        said = opened
    elif said is not None and now and said > now:
        findings = [differs("KA32", f"{subject}#/as_of", f"judged as of {said}, and it is {now}")]
        said = now
    again = judge({**given, **facts.reports(plan)}, plan["obligations"], lock=identity, as_of=said, waivers=held)
    if not findings:
        findings = [
            differs("KA32", f"{subject}#{place}", message) for place, message in _unlike(recorded, again.to_json())
        ]
        if not findings and text != again.dump().encode():
            findings = [differs("KA32", subject, "the text is not as the judge writes it")]
        if not findings and pin and digest.of_bytes(text) != pin:
            findings = [differs("KA32", subject, "it is not the verdict that the journal says was given")]
    return again.verdict, [*about, *findings]


def _unlike(recorded: Mapping[str, Any], again: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(pointer, message) for each difference between two verdicts that both satisfy the schema."""
    for key in sorted((again.keys() | recorded.keys()) - {"outcomes"}):
        if recorded.get(key) != again.get(key):
            yield f"/{key}", f"recorded {_short(recorded.get(key))}, recomputed {_short(again.get(key))}"
    counted = Counter(outcome["obligation"] for outcome in recorded["outcomes"])
    for outcome in again["outcomes"]:
        times = counted[outcome["obligation"]]
        if times != 1:
            yield "/outcomes", f"{times} outcomes for rule `{outcome['rule']}` on step `{outcome['step']}`, not one"
    if counted.total() != len(again["outcomes"]):
        yield "/outcomes", f"{counted.total()} outcomes for {len(again['outcomes'])} obligations"
        return
    for number, (old, new) in enumerate(zip(recorded["outcomes"], again["outcomes"], strict=True)):
        changed = sorted(key for key in {**old, **new} if old.get(key) != new.get(key))
        if changed:
            said = f"recorded {old['outcome']}, recomputed {new['outcome']}"
            yield f"/outcomes/{number}", f"rule `{new['rule']}` on step `{new['step']}`: {said} ({', '.join(changed)})"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def report_of_the_run(given: Mapping[str, bytes], data: bytes | None) -> dict[str, bytes]:
    """All reports as the judge gets them: those of the steps, and the run's own under `apply`."""
    return {**given, **({} if data is None else {APPLY: data})}

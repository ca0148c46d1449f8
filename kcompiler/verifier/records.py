"""The journal → its lines; committed lines × lock × report on the run → where they differ. Standard library only.

A finding is (severity, subject, message): "evidence" for damage, loss or forgery, "disagreement" where two sound things
differ, "unknown" for what cannot be said here.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from kcompiler.verifier import facts, ledger
from kcompiler.verifier.reading import digest_of, digest_of_files, strict, text_at

_LINE = re.compile(rb'(?P<body>\{.*),"hash":"(?P<hash>sha256:[0-9a-f]{64})"\}\Z', re.DOTALL)
_KEYS = {"seq": int, "prev": str, "run": str, "fence": int, "ts": str, "type": str, "data": dict}
_GENESIS = "sha256:" + 64 * "0"
_LIBRARIES = 96_000_000
Finding = Tuple[str, str, str]
Record = Mapping[str, Any]
NEEDED: Mapping[str, Tuple[type, ...]] = {
    "step": (str,),
    "action": (str,),
    "kind": (str,),
    "backend": (str,),
    "forged": (bool,),
    "components": (dict,),
    "params": (dict,),
    "gives": (dict,),
    "wall_s": (int, float),
    "cpu_s": (int, float),
    "gpu_s": (int, float),
    "attempts": (int,),
    "lost_attempts": (int,),
}


class Line(NamedTuple):
    """One line whose own hash is right."""

    text: bytes
    hash: str
    content: Mapping[str, Any]


def line_of(text: bytes) -> Line:
    """A line without its line end. Raises ValueError."""
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError("not a journal line")
    body = match["body"] + b"}"
    stated = match["hash"].decode()
    if "sha256:" + hashlib.sha256(b"kc.journal.v1\0" + body).hexdigest() != stated:
        raise ValueError("the line does not have the hash it states")
    content = strict(body)
    if not isinstance(content, dict) or content.keys() != _KEYS.keys():
        raise ValueError("the line has other keys than a journal line")
    if any(type(content[key]) is not kind for key, kind in _KEYS.items()):
        raise ValueError("a key of the line has the wrong type")
    return Line(text, stated, content)


def pinned(known: Iterable[Mapping[str, Any]], plan: str) -> str:
    """The digest of the verdict's text that the newest run of the plan with this digest gave, by what the lines of the
    journal hold; "" where none names it."""
    runs, found = set(), ""
    for content in known:
        data = content["data"]
        if content["type"] == "run_opened" and data.get("plan") == plan:
            runs.add(content["run"])
        elif content["type"] == "gate_evaluated" and content["run"] in runs and data.get("step") == "":
            found = str(data.get("verdict") or found)
    return found


def chain(data: bytes, head: bytes, subject: str) -> Tuple[List[Line], List[Finding]]:
    """The lines of a journal that follow one another, and what is wrong with it or with its anchor."""
    *texts, torn = data.split(b"\n")
    lines: List[Line] = []
    prev, fence = _GENESIS, 0
    for number, text in enumerate(texts, start=1):
        try:
            line = line_of(text)
            if line.content["seq"] != number or line.content["prev"] != prev:
                raise ValueError("the line does not follow the line before it")
            if line.content["fence"] < fence:
                raise ValueError("an older writer wrote after a newer one")
        except ValueError as why:
            return lines, [("evidence", f"{subject}:{number}", str(why))]
        lines.append(line)
        prev, fence = line.hash, line.content["fence"]
    if torn:
        return lines, [("evidence", f"{subject}:{len(texts) + 1}", "the last line is incomplete")]
    try:
        anchor = strict(head)
        seq, stated = anchor["seq"], anchor["hash"]
        if type(seq) is not int or not 1 <= seq <= len(lines) <= seq + 1 or lines[seq - 1].hash != stated:
            raise ValueError("lines are missing, or others follow")
    except (ValueError, LookupError, TypeError) as why:
        return lines, [("evidence", subject, f"its end is not the one that was anchored: {why}")]
    return lines, []


def is_record(data: Any) -> bool:
    """Whether a line's data are those of a committed step."""
    if not isinstance(data, dict) or any(not isinstance(data.get(key), kind) for key, kind in NEEDED.items()):
        return False
    return all(
        isinstance(give, dict) and isinstance(give.get("digest"), str) and isinstance(give.get("bytes"), int)
        for give in data["gives"].values()
    )


def in_use(data: bytes, known: Sequence[Line], subject: str) -> Tuple[Dict[str, Record], List[Finding]]:
    """Step → committed record, from the lines kept with the evidence; each must stand in the journal, too."""
    *texts, rest = data.split(b"\n")
    found: List[Finding] = [("evidence", subject, "the last line is incomplete")] if rest else []
    in_journal = {line.text for line in known}
    records: Dict[str, Record] = {}
    for number, text in enumerate(texts, start=1):
        place = f"{subject}:{number}"
        try:
            line = line_of(text)
        except ValueError as why:
            found.append(("evidence", place, str(why)))
            continue
        record = line.content["data"]
        if line.content["type"] != "step_committed" or not is_record(record):
            found.append(("evidence", place, "not the line of a committed step"))
        elif text not in in_journal:
            found.append(("evidence", place, "the journal has no such line"))
        elif record["step"] in records:
            found.append(("disagreement", place, f"step `{record['step']}` was committed twice"))
        else:
            records[record["step"]] = record
    return records, found


def _keyed(step: Record, params: Record) -> Dict[str, Any]:
    return {name: value for name, value in params.items() if name not in step.get("unkeyed", ())}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def against_lock(plan: Record, records: Mapping[str, Record], subject: str) -> Iterator[Finding]:
    """One line for each step of the lock and for no other, made of what the lock says from what the lock takes."""
    steps = {step["id"]: step for step in plan["steps"]}
    if list(steps) != list(records):
        absent, more = [name for name in steps if name not in records], sorted(records.keys() - steps.keys())
        said = f"without a line: {', '.join(absent) or 'none'}; not in the lock: {', '.join(more) or 'none'}"
        yield "disagreement", subject, f"the lines are not those of the lock's steps, in their order ({said})"
    made = {
        f"step:{name}#{port}": give["digest"] for name, one in records.items() for port, give in one["gives"].items()
    }
    made.update({f"input:{entry['name']}": entry["digest"] for entry in plan["inputs"]})
    for name, step in steps.items():
        if name in records:
            for what in _apart(plan, step, records[name], made):
                yield "disagreement", subject, f"step `{name}`: {what} is not what the lock has"
            if records[name]["action"] != digest_of(records[name]["components"], "kc.action.v1"):
                yield "evidence", subject, f"the key of step `{name}` is not that of its components"


def _apart(plan: Record, step: Record, record: Record, made: Mapping[str, str]) -> Iterator[str]:
    parts = record["components"]
    names = {str(step["kind"]).partition("@")[0], str(step["backend"]), *_texts(step["params"])}
    plugins = {f"plugin.{o['room']}.{o['name']}": o["code"] for o in plan["plugins"] if o["name"] in names}
    wanted = {
        "kind": (record["kind"], step["kind"]),
        "backend": (record["backend"], step["backend"]),
        "params": (_keyed(step, record["params"]), _keyed(step, step["params"])),
        "the key of its params": (parts.get("params"), digest_of(_keyed(step, step["params"]), "kc.params.v1")),
        "code": (parts.get("code"), step["code"]),
        "seed": (parts.get("seed"), step["seed"]),
        "what it gives": (sorted(record["gives"]), sorted(step["gives"])),
        "a plug-in": ({name: parts[name] for name in parts if name.startswith("plugin.")}, plugins),
    }
    yield from (what for what, (found, asked) in wanted.items() if found != asked)
    for port, reference in step["takes"].items():
        if parts.get(f"input.{port}") != made.get(reference):
            yield f"what it took as `{port}`"


# --- the report on the run


#: number of the report on the run → what it is for one committed line
SUMS: Mapping[str, Callable[[Record], Any]] = {
    "wall": lambda one: None if one["lost_attempts"] else one["wall_s"],
    "cpu": lambda one: None if one["lost_attempts"] else one["cpu_s"],
    "gpu": lambda one: None if one["lost_attempts"] else one["gpu_s"],
    "attempts": lambda one: one["attempts"],
    "lost_attempts": lambda one: one["lost_attempts"],
    "bytes": lambda one: sum(give["bytes"] for give in one["gives"].values()),
    "training_tokens": lambda one: None if one["lost_attempts"] else one.get("training_tokens"),
    "teacher_tokens": lambda one: None if one["lost_attempts"] else one.get("teacher_tokens"),
}
#: what the report says of an attempt that came after another, and what the line says
RESUMED = {"attempt": "attempt", "at": "at", "repeated": "repeated", "lost": "lost_s"}


def run_wrong(
    report: Any,
    plan: Record,
    records: Mapping[str, Record],
    identity: str,
    lines: Optional[Sequence[Line]] = None,
    purse: bytes = b"",
) -> Iterator[str]:
    """JSON pointers of what a report on the run says and the committed lines do not; nor the whole journal, where it is
    given, and the record of what was bought."""
    content, steps = text_at(report, "data"), text_at(report, "data", "steps")
    subject = {f"{name}.{port}": give["digest"] for name, one in records.items() for port, give in one["gives"].items()}
    begun = facts.starts(plan, records)
    subject.update({key: digest_of_files({"report.json": facts.dump(one)}) for key, one in begun.items()})
    claimed = text_at(report, "subject")
    if not isinstance(claimed, dict) or {port: one for port, one in claimed.items() if port != "plan"} != subject:
        yield "/subject"
    if text_at(report, "environment", "forged") is not any(record["forged"] for record in records.values()):
        yield "/environment/forged"
    if not isinstance(steps, dict) or steps.keys() != records.keys():
        yield "/data/steps"
        return
    missing = [step["id"] for step in plan["steps"] if step["id"] not in records]
    for name, of in SUMS.items():
        parts = [of(record) for record in records.values()]
        total = None if missing or None in parts else round(sum(parts), 6)
        for step, record in records.items():
            if text_at(steps, step, name, "value") != of(record):
                yield f"/data/steps/{step}/{name}"
        if text_at(content, name, "value") != total:
            yield f"/data/{name}"
    yield from ledger.wrong(report, plan, records, identity, lines, purse)
    yield from _time_wrong(content, steps, records, missing)
    yield from _memory_wrong(content, steps, records, plan)
    done = [text_at(content, "done", "k"), text_at(content, "done", "n"), text_at(content, "missing")]
    if done != [len(records), len(plan["steps"]), missing]:
        yield "/data/done"


def _time_wrong(content: Any, steps: Any, records: Mapping[str, Record], missing: Sequence[str]) -> Iterator[str]:
    taken: List[Record] = []
    took = foreseen = 0.0
    known = not missing
    for step, record in records.items():
        resumes = record.get("resumes", [])
        taken += resumes
        told = text_at(steps, step, "resumes")
        said = None
        if isinstance(told, list):
            said = [[*(text_at(one, name, "value") for name in RESUMED), text_at(one, "changed")] for one in told]
        if said != [[*(one[name] for name in RESUMED.values()), one["changed"]] for one in resumes]:
            yield f"/data/steps/{step}/resumes"
        made, off = text_at(record, "forecast", "wall_s"), None
        seconds = record["wall_s"] - sum(one["lost_s"] or 0 for one in resumes)
        if made is not None and not record["lost_attempts"] and seconds > 0:
            off = round(abs(seconds - made) / seconds, 6)
        for name, value in (("estimated", made), ("estimate_error", off)):
            if text_at(steps, step, name, "value") != value:
                yield f"/data/steps/{step}/{name}"
        known = known and off is not None
        took, foreseen = took + seconds, foreseen + (made or 0.0)
    sums: Dict[str, Any] = {"resumes": len(taken)}
    for name in ("repeated", "lost"):
        parts = [one[RESUMED[name]] for one in taken]
        sums[name] = None if None in parts else round(sum(parts), 6)
    sums["estimated"] = round(foreseen, 6) if known else None
    sums["estimate_error"] = round(abs(took - foreseen) / took, 6) if known else None
    for name, value in sums.items():
        if text_at(content, name, "value") != value:
            yield f"/data/{name}"


def _memory_wrong(content: Any, steps: Any, records: Mapping[str, Record], plan: Record) -> Iterator[str]:
    trained = list(plan.get("estimates", {}))
    errors: Dict[str, Optional[float]] = dict.fromkeys(trained)
    for step in trained:
        record = records.get(step)
        if record is None:
            continue
        held = {} if record["lost_attempts"] else text_at(record, "memory")
        said = {name: text_at(held, name) for name in ("before", "host", "device", "estimated")}
        most, formula = _bytes(said.get(str(text_at(held, "at")))), _bytes(said["estimated"])
        before = said["before"] if text_at(held, "at") == "host" else 0
        if most and formula and isinstance(before, int) and before >= 0:
            errors[step] = round(abs(most - formula) / max(before + formula, _LIBRARIES), 6)
        for name, value in {**said, "error": errors[step]}.items():
            if text_at(steps, step, "memory", name, "value") != value:
                yield f"/data/steps/{step}/memory/{name}"
    known = [one for one in errors.values() if one is not None]
    worst = max(known) if known and len(known) == len(errors) else None
    there = text_at(content, "memory_error") is not None
    if there != bool(trained) or text_at(content, "memory_error", "value") != worst:
        yield "/data/memory_error"


def _bytes(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0

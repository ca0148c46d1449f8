"""Committed lines × lock × store → whether the artifacts in use are those that were made, from what the lock says."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kcompiler.audit.finding import Finding, broken, differs, note
from kcompiler.audit.journal import Line, chain, line_of
from kcompiler.verifier.records import NEEDED
from runtime import digest
from runtime.contract import keys

STATE, JOURNAL, HEAD, PURSE = ".kcompiler", "journal.jsonl", "head", "paid/spend.jsonl"
#: kinds of artifacts that a bundle holds
HELD = ("items",)

Records = Mapping[str, Mapping[str, Any]]


def state_journal(root: Path) -> tuple[Sequence[Line] | None, list[Finding]]:
    """The lines of the project's own journal; None where there is no such project state."""
    folder = root / STATE
    if not folder.is_dir():
        return None, [
            note(STATE, "no store here: artifacts are not hashed again and reports not made again from their items")
        ]
    journal, head = folder / JOURNAL, folder / HEAD
    data = journal.read_bytes() if journal.is_file() else b""
    return chain(data, head.read_bytes() if head.is_file() else None, f"{STATE}/{JOURNAL}")


def purse(root: Path) -> bytes:
    """The record of what was bought of servers; nothing where nothing was."""
    path = root / STATE / PURSE
    return path.read_bytes() if path.is_file() else b""


def in_use(path: Path, subject: str, known: Sequence[Line] | None) -> tuple[Records, list[Finding]]:
    """Step → committed record, from the lines kept with the evidence; each must also stand in the project's journal."""
    if not path.is_file():
        return {}, [broken("KA12", subject, "the committed lines are gone")]
    *texts, rest = path.read_bytes().split(b"\n")
    findings = [broken("KA12", f"{subject}:{len(texts) + 1}", "the last line is incomplete")] if rest else []
    in_journal = None if known is None else {line.text for line in known}
    records: dict[str, Mapping[str, Any]] = {}
    for number, text in enumerate(texts, start=1):
        place = f"{subject}:{number}"
        line = line_of(text, number)
        if isinstance(line, str):
            findings.append(broken("KA12", place, line))
        elif line.type != "step_committed" or not is_record(line.data):
            findings.append(broken("KA12", place, "not the line of a committed step"))
        elif in_journal is not None and text not in in_journal:
            findings.append(broken("KA12", place, f"the journal in {STATE} has no such line"))
        elif line.data["step"] in records:
            findings.append(differs("KA13", place, f"step `{line.data['step']}` was committed twice"))
        else:
            records[str(line.data["step"])] = line.data
    return records, findings


def is_record(data: Mapping[str, Any]) -> bool:
    if any(not isinstance(data.get(key), kind) for key, kind in NEEDED.items()):
        return False
    return all(
        isinstance(give, dict) and isinstance(give.get("digest"), str) and isinstance(give.get("bytes"), int)
        for give in data["gives"].values()
    )


def committed_since(known: Sequence[Line] | None, plan: str) -> set[str]:
    """The steps that were committed since the newest run of the plan with this digest began."""
    opened = [line.type == "run_opened" and line.data.get("plan") == plan for line in known or ()]
    newest = len(opened) - opened[::-1].index(True) if True in opened else 0
    return {str(line.data.get("step")) for line in (known or ())[newest:] if line.type == "step_committed"}


def waiver_uses(lines: Sequence[Line]) -> dict[str, frozenset[str]]:
    """Waiver → what it excused, by these lines."""
    found: dict[str, set[str]] = {}
    for line in lines:
        if line.type == "waiver_used":
            found.setdefault(str(line.data.get("waiver", "")), set()).add(str(line.data.get("use", "")))
    return {name: frozenset(used) for name, used in found.items()}


def waiver_ends(lines: Sequence[Line]) -> dict[str, dict[str, str]]:
    """Waiver → its revocation (`by`, `on`, `reason`) by these lines; the earliest, where there are several."""
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        if line.type == "waiver_revoked":
            end = {name: str(line.data.get(name, "")) for name in ("by", "on", "reason")}
            name = str(line.data.get("waiver", ""))
            if name not in found or end["on"] < found[name]["on"]:
                found[name] = end
    return found


def opened(known: Sequence[Line] | None, plan: str, kept: Path) -> str:
    """When the newest run of the plan with this digest began; where the project's journal is not here, when the newest
    of the lines kept with the evidence was written; "" where neither says."""
    if known is None:
        texts = kept.read_bytes().split(b"\n") if kept.is_file() else []
        lines = [line for line in map(line_of, texts, range(1, len(texts) + 1)) if isinstance(line, Line)]
    else:
        lines = [line for line in known if line.type == "run_opened" and line.data.get("plan") == plan]
    return max((str(line.content.get("ts", "")) for line in lines), default="")


def against_lock(
    plan: Mapping[str, Any], records: Records, subject: str, committed: Collection[str] = ()
) -> Iterator[Finding]:
    """One line for each step of the lock and for no other, made of what the lock says from what the lock takes.

    Steps at the end of a run that was not finished have none, and that is one finding. A step that was `committed`, by
    the project's own journal, has lost its line.
    """
    steps = {step["id"]: step for step in plan["steps"]}
    for name in sorted(records.keys() - steps.keys()):
        yield differs("KA13", subject, f"step `{name}` was committed, and the lock has no such step")
    if [name for name in steps if name in records] != [name for name in records if name in steps]:
        yield differs("KA13", subject, "the lines do not stand in the order of the lock's steps")
    absent = [name for name in steps if name not in records]
    if absent and not records.keys() - steps.keys() and not set(absent) & set(committed):
        message = f"the run is unfinished: {len(absent)} of {len(steps)} steps have no result: {', '.join(absent)}"
        yield Finding(code="KA15", severity="unfinished", subject=subject, message=message)
    else:
        for name in absent:
            yield differs("KA13", subject, f"step `{name}` of the lock has no committed line")
    made = {
        f"step:{name}#{port}": give["digest"] for name, one in records.items() for port, give in one["gives"].items()
    }
    made |= {f"input:{entry['name']}": entry["digest"] for entry in plan["inputs"]}
    for name, step in steps.items():
        if name in records:
            yield from _against_step(plan, step, records, made, subject)


def _against_step(
    plan: Mapping[str, Any], step: Mapping[str, Any], records: Records, made: Mapping[str, str], subject: str
) -> Iterator[Finding]:
    """`made`: reference → the digest of what it gives."""
    record, name = records[step["id"]], step["id"]
    components = record["components"]
    if record["action"] != digest.of_value(components, "kc.action.v1"):
        yield broken("KA14", subject, f"the key of step `{name}` is not that of its components")
    wanted = {
        "kind": (record["kind"], step["kind"]),
        "backend": (record["backend"], step["backend"]),
        "params": (keys.keyed(step, record["params"]), keys.keyed(step)),
        "params by its key": (components.get("params"), digest.of_value(keys.keyed(step), "kc.params.v1")),
        "code": (components.get("code"), step["code"]),
        "seed": (components.get("seed"), step["seed"]),
        "ports": (sorted(record["gives"]), sorted(step["gives"])),
    }
    for what, (found, asked) in wanted.items():
        if found != asked:
            yield differs("KA14", subject, f"step `{name}` was made with another {what} than the lock has")
    plugins = keys.plugin_parts(step, plan["plugins"])
    for part in sorted({*plugins, *(part for part in components if part.startswith("plugin."))}):
        if components.get(part) != plugins.get(part):
            yield differs("KA14", subject, f"step `{name}` was made with another {part} than the lock has")
    for port, reference in step["takes"].items():
        if components.get(f"input.{port}") != made.get(reference):
            yield differs("KA14", subject, f"step `{name}` took another `{port}` than `{reference}` gives")


def artifacts(root: Path, records: Records, *, bundled: bool = False) -> Iterator[Finding]:
    """Every artifact in use, hashed again where it is stored; a bundle holds the answers of evaluations alone."""
    absent = 0
    for name, record in records.items():
        for port, give in record["gives"].items():
            scheme, _, text = give["digest"].partition(":")
            place = f"{STATE}/store/{scheme}/{text[:2]}/{text}"
            folder = root / place
            if bundled and give.get("kind") not in HELD and not folder.exists():
                absent += 1
                continue
            try:
                found = digest.of_folder(folder) if folder.is_dir() else ""
            except (OSError, ValueError) as reason:
                found = str(reason)
            if found != give["digest"]:
                what = "is gone" if not found else "is not what was stored"
                yield broken("KA21", place, f"artifact `{port}` of step `{name}` {what}")
    if absent:
        yield note(f"{STATE}/store", f"{absent} artifacts are not in the bundle, and not hashed again")

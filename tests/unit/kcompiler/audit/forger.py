"""Files of a bundle and a change → the same bundle made again so that everything in it agrees: the strongest forger.

Every digest of a changed report, the keys of what took it, the chain of the journal, the report on the run, the verdict
and the manifest are recomputed with the tools that made them. What is left is that nobody signed it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kcompiler import lock
from kcompiler.judge import judge
from kcompiler.verifier.sealed import MANIFEST, SIGNATURES
from kcompiler.waiver import NONE, Waivers
from runtime import digest
from runtime.contract import chain

JOURNAL, HEAD = ".kcompiler/journal.jsonl", ".kcompiler/head"
Files = dict[str, bytes]


def text(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def manifest(files: Files) -> Files:
    """The same with a manifest that states what is there now; without signatures."""
    kept = {name: data for name, data in files.items() if not name.startswith(SIGNATURES)}
    made = json.loads(kept.pop(MANIFEST))
    folder = f"generated/{made['name']}"
    made["plan"] = lock.plan_digest(json.loads(kept[f"{folder}/plan.lock"]))
    made["head"] = json.loads(kept[JOURNAL].splitlines()[-1])["hash"]
    made["verdict"] = json.loads(kept[f"{folder}/evidence/verdict.json"])["verdict"]
    made["files"] = {name: digest.of_bytes(data).removeprefix("sha256:") for name, data in sorted(kept.items())}
    return {**kept, MANIFEST: text(made)}


def artifact(report: bytes) -> str:
    return digest.of_one_file("report.json", report)


def forge(
    files: Files,
    name: str,
    change: Callable[[dict[str, Any]], None] = lambda _: None,
    *,
    plan: Callable[[dict[str, Any]], None] = lambda _: None,
    waivers: Waivers = NONE,
    as_of: str | None = None,
) -> Files:
    """`change` gets the reports of the steps, by step, and changes them in place; `plan` the lock. The verdict is given
    with `waivers` at `as_of`, or else at the time it was given."""
    folder = f"generated/{name}"
    evidence, reports = f"{folder}/evidence", f"{folder}/evidence/reports/"
    made = dict(files)
    before = {path: artifact(data) for path, data in made.items() if path.startswith(reports)}
    parsed = {path.removeprefix(reports).removesuffix(".json"): json.loads(made[path]) for path in before}
    change(parsed)
    made |= {f"{reports}{step}.json": text(report) for step, report in parsed.items()}
    planned = json.loads(made[f"{folder}/plan.lock"])
    old_plan = lock.plan_digest(planned)
    plan(planned)
    made[f"{folder}/plan.lock"] = lock.dump(planned).encode()
    swapped = {old_plan: lock.plan_digest(planned)}
    touched = [*before, JOURNAL, f"{evidence}/journal.jsonl", f"{evidence}/run.json"]
    while True:
        for path in touched:
            for old, new in swapped.items():
                made[path] = made[path].replace(old.encode(), new.encode())
        again = {old: artifact(made[path]) for path, old in before.items() if artifact(made[path]) != old}
        if again.items() <= swapped.items():
            break
        swapped |= again
        before = {path: artifact(made[path]) for path in before}
    _journal(made, evidence)
    _run(made, evidence)
    given = {path.removeprefix(reports).removesuffix(".json"): made[path] for path in before}
    given["apply"] = made[f"{evidence}/run.json"]
    recorded = json.loads(made[f"{evidence}/verdict.json"])
    verdict = judge(
        given,
        planned["obligations"],
        lock=lock.plan_digest(planned),
        as_of=as_of or recorded["as_of"],
        waivers=waivers,
    )
    made[f"{evidence}/verdict.json"] = verdict.dump().encode()
    made[JOURNAL] = named(made[JOURNAL], made[f"{evidence}/verdict.json"])
    _journal(made, evidence)
    return manifest(made)


def named(journal: bytes, verdict: bytes) -> bytes:
    """The lines, not yet chained again, that name this text of a verdict wherever one is named."""
    lines = []
    for line in journal.splitlines():
        content = json.loads(line)
        if "verdict" in content["data"]:
            content["data"]["verdict"] = digest.of_bytes(verdict)
        lines.append(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    return b"\n".join(lines) + b"\n"


def reseal(journal: bytes) -> bytes:
    """The chain over the same lines, as they are now."""
    prev, lines = chain.GENESIS, []
    for line in journal.splitlines():
        body = {name: value for name, value in json.loads(line).items() if name != "hash"}
        lines.append(chain.seal({**body, "prev": prev}))
        prev = json.loads(lines[-1])["hash"]
    return b"".join(lines)


def _journal(made: Files, evidence: str) -> None:
    """The chain again, line for line, and the lines that are kept with the evidence."""
    sizes = {artifact(data): len(data) for path, data in made.items() if path.startswith(f"{evidence}/reports/")}
    prev, lines, new = chain.GENESIS, [], {}
    keys = {
        data["action"]: digest.of_value(data["components"], "kc.action.v1")
        for data in (json.loads(line)["data"] for line in made[JOURNAL].splitlines())
        if "components" in data
    }
    for line in made[JOURNAL].splitlines():
        body = json.loads(line)
        old = body.pop("hash")
        if body["data"].get("action") in keys:
            body["data"]["action"] = keys[body["data"]["action"]]
        if body["type"] == "step_committed":
            for give in body["data"]["gives"].values():
                give["bytes"] = sizes.get(give["digest"], give["bytes"])
        sealed = chain.seal({**body, "prev": prev}).rstrip(b"\n")
        prev = json.loads(sealed)["hash"]
        new[old] = sealed
        lines.append(sealed)
    made[JOURNAL] = b"\n".join(lines) + b"\n"
    kept = [new[json.loads(line)["hash"]] for line in made[f"{evidence}/journal.jsonl"].splitlines()]
    made[f"{evidence}/journal.jsonl"] = b"\n".join(kept) + b"\n"
    head = json.loads(made[HEAD])
    made[HEAD] = chain.head_text(head["seq"], json.loads(lines[head["seq"] - 1])["hash"])


def _run(made: Files, evidence: str) -> None:
    """What the report on the run says of bytes."""
    report, total = json.loads(made[f"{evidence}/run.json"]), 0
    for line in made[f"{evidence}/journal.jsonl"].splitlines():
        data = json.loads(line)["data"]
        size = sum(give["bytes"] for give in data["gives"].values())
        report["data"]["steps"][data["step"]]["bytes"]["value"] = size
        total += size
    report["data"]["bytes"]["value"] = total
    made[f"{evidence}/run.json"] = text(report)

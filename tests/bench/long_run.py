"""A run of 10,000 steps as it lies there → what its audit costs; and what a line of its journal costs.

    python tests/bench/long_run.py [--steps 10000]

CPU seconds of this process; ratios are of one run. Asked: 5 s an audit of 10,000 steps, 1 ms a line. The project is
written by the functions that write one: the lock, an artifact of each step in the store, a report of every tenth with a
rule about it, two lines a step in the journal, the evidence and its verdict. An audit must find nothing but what the
bench leaves out: the spec, which can list no 10,000 steps.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

NAME, EVERY = "long", 10
ASKED_S, ASKED_MS = 5.0, 1.0
#: the lock names no spec that is there, and no pack that the rules come from
LEFT_OUT = {"KA02", "KA03", "KA90"}
HEX = "sha256:" + 64 * "a"


def locked(steps: int) -> dict[str, Any]:
    """A lock of steps that copy rows, in chains of ten; the last of each chain gives a report."""
    from kcompiler import lock
    from kcompiler.graph import Input, Node, build
    from kcompiler.plan import locked as parts
    from runtime.contract import Port, keys

    rows, report = Port(kind="dataset"), Port(kind="report", report="bench.copy")
    nodes = [
        Node(
            id=f"s{nth:06d}",
            step="copy",
            version=1,
            backend="python",
            params={"command": f"cp {nth}", "bytes": 2},
            ports={"rows": rows if nth % EVERY else Port(kind="file")},
            takes={"rows": f"step:s{nth - 1:06d}#rows" if nth % EVERY else "input:source"},
            gives={"rows": rows, **({} if (nth + 1) % EVERY else {"report": report})},
            code=HEX,
            promise="bitwise",
            seed=1337,
            origin=f"/steps/{nth}",
        )
        for nth in range(steps)
    ]
    given = Input(name="source", kind="file", path="source", digest=HEX, bytes=2, license="", origin="")
    graph, problems = build(nodes, [given])
    assert graph is not None, problems
    toolchain = parts.toolchain_of(graph)
    return {
        "lock": {"format": lock.FORMAT, "key_scheme": keys.KEY_SCHEME, "hash": "sha256"},
        "made_by": {"name": "kcompiler", "version": "0"},
        "asked": {"spec": "long.yaml", "name": NAME, "owner": "bench", "executor": "local", "risk_tier": 3},
        "sources": [{"path": "long.yaml", "meaning": HEX}],
        "schemas": [],
        "policies": [],
        "inputs": [{key: getattr(given, key) for key in ("name", "kind", "path", "digest", "bytes", "license")}],
        "toolchain": toolchain,
        "plugins": [],
        "estimates": {},
        "budgets": {"usd": 0.0, "gpu_hours": 0.0, "cpu_s": 600.0, "wall_s": 7200.0},
        "steps": parts.steps_of(graph, toolchain, []),
        "obligations": [rule(node.id) for node in nodes if "report" in node.gives],
    }


def rule(step: str) -> dict[str, Any]:
    return {
        "rule": "bench/long/copied",
        "pack": "bench/long@1",
        "title": "all rows are there",
        "mode": "block",
        "reason": "",
        "report": "bench.copy",
        "from": f"step:{step}",
        "kind": "bound@1",
        "params": {"metric": "copied", "op": "==", "threshold": "1", "unit": "ratio"},
        "expect": None,
        "remedy": "copy again",
    }


def record_of(step: Mapping[str, Any], pins: Mapping[str, str], made: dict[str, Any]) -> dict[str, Any]:
    """What the journal says of a step that was carried out; `made` gets what the step gave."""
    from runtime.contract import keys

    parts = keys.components(step, keys.inputs_of(step, pins, made), {"environment.host": "bench"}, [])
    return {
        "spec": NAME,
        "step": step["id"],
        "action": keys.action_key(parts),
        "kind": step["kind"],
        "backend": step["backend"],
        "forged": False,
        "components": parts,
        "params": step["params"],
        "gives": made[step["id"]],
        **dict.fromkeys(("wall_s", "cpu_s", "gpu_s"), 0.25),
        "attempts": 1,
        "lost_attempts": 0,
        "training_tokens": 0,
        "teacher_tokens": 0,
    }


def report_of(step: str, lock: Mapping[str, Any]) -> bytes:
    from runtime.contract.report import dump, envelope, rate
    from runtime.machine.context import environment

    surroundings = environment("python", lock["toolchain"], forged=False)
    return dump(
        envelope(
            kind="bench.copy",
            step=step,
            subject={"rows": HEX},
            fingerprints={},
            environment=surroundings,
            data={"copied": rate(100, 100), "step": step},
        )
    ).encode()


def carried_out(lock: Mapping[str, Any], store: Path | None) -> tuple[dict[str, dict[str, Any]], dict[str, bytes]]:
    """Step → record, and step → report; the artifacts are written where there is a store."""
    from runtime import digest

    made: dict[str, Any] = {}
    records, reports = {}, {}
    pins = {entry["name"]: entry["digest"] for entry in lock["inputs"]}
    for step in lock["steps"]:
        name, files = step["id"], {"rows": ("rows.jsonl", f"{step['id']}\n".encode())}
        if "report" in step["gives"]:
            reports[name] = report_of(name, lock)
            files["report"] = ("report.json", reports[name])
        made[name] = {
            port: {"digest": digest.of_one_file(file, text), "bytes": len(text), "kind": step["gives"][port]["kind"]}
            for port, (file, text) in files.items()
        }
        records[name] = record_of(step, pins, made)
        for port, (file, text) in files.items() if store else ():
            hexed = made[name][port]["digest"].partition(":")[2]
            folder = store / "sha256" / hexed[:2] / hexed
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(text)
    return records, reports


def run_report(steps: int) -> bytes:
    """The report on such a run, as the machine writes it."""
    from runtime.contract.report import dump
    from runtime.machine import evidence

    lock = locked(steps)
    return dump(evidence.run_report(lock, carried_out(lock, None)[0])).encode()


def project(root: Path, steps: int) -> None:
    """Everything an auditor finds after such a run."""
    from kcompiler import lock as locks
    from kcompiler.judge import judge
    from kcompiler.project import Project
    from runtime.contract import chain
    from runtime.contract.report import dump
    from runtime.machine import evidence, purse
    from runtime.machine.account import PAID, accounts
    from runtime.machine.journal import load

    lock, home, state = locked(steps), Project(root), root / ".kcompiler"
    records, reports = carried_out(lock, state / "store")
    plan, lines, committed, prev = locks.plan_digest(lock), [], [], chain.GENESIS
    events = [("run_opened", {"spec": NAME, "plan": plan, "only": None, "force": []})]
    for name, record in records.items():
        claimed = {key: record[key] for key in ("spec", "step", "action", "components", "params")}
        events += [("step_claimed", {**claimed, "step": name}), ("step_committed", record)]
    for seq, (kind, data) in enumerate(events, start=1):
        body = {"seq": seq, "prev": prev, "run": "r000001", "fence": 1, "ts": "2026-01-01T00:00:00Z", "type": kind}
        text = chain.seal({**body, "data": data})
        prev = chain.unseal(text, subject="bench").hash
        lines.append(text)
        committed += [text] if kind == "step_committed" else []
    (state / "journal.jsonl").write_bytes(b"".join(lines))
    (state / "head").write_bytes(chain.head_text(len(lines), prev))
    folder = home.evidence(NAME)
    (folder / "reports").mkdir(parents=True)
    home.lock(NAME).write_text(locks.dump(lock), encoding="utf-8")
    for name, text in reports.items():
        (folder / "reports" / f"{name}.json").write_bytes(text)
    # what was spent is counted of the journal, as the machine does at the end of a run
    _, past = load(state)
    bought = purse.look(state / PAID, NAME)
    spent = accounts(lock, past, bought, records.values(), [])
    upto = {"journal": past.counted(NAME), "purse": bought.mark}
    own = dump(evidence.run_report(lock, records, spent, upto)).encode()
    (folder / "run.json").write_bytes(own)
    (folder / "journal.jsonl").write_bytes(b"".join(committed))
    verdict = judge({**reports, "apply": own}, lock["obligations"], lock=plan)
    home.verdict(NAME).write_text(verdict.dump(), encoding="utf-8")


def seconds(call: Callable[[], Any]) -> float:
    """CPU seconds, without looking for garbage: the command line does not, either."""
    gc.collect()
    gc.disable()
    before = time.process_time()
    try:
        call()
        return time.process_time() - before
    finally:
        gc.enable()


def audited(root: Path, steps: int) -> None:
    from kcompiler.audit import audit

    found = audit(root, NAME)
    beyond = [one for one in found.findings if one.code not in LEFT_OUT]
    assert beyond == [], beyond[:3]
    assert (found.checked["steps"], found.checked["reports"]) == (steps, steps // EVERY + 1), found.checked
    assert found.verdict == "PASS", found.verdict


def appended(root: Path, lines: int) -> tuple[float, float]:
    """CPU and elapsed milliseconds of a line, durable and anchored, of a committed step."""
    from runtime.machine.journal import Journal

    record = carried_out(locked(EVERY), None)[0]["s000000"]
    root.mkdir()
    journal = Journal(root, sign=lambda fence: fence + 1, confirm=lambda: None)
    elapsed = time.perf_counter()
    took = seconds(lambda: [journal.append("step_committed", record) for _ in range(lines)])
    return took / lines * 1e3, (time.perf_counter() - elapsed) / lines * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000)
    steps = parser.parse_args().steps // EVERY * EVERY
    took = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in (EVERY, steps // 10 // EVERY * EVERY, steps):
            root = Path(folder) / str(size)
            root.mkdir()
            project(root, size)
            took[size] = seconds(lambda root=root, size=size: audited(root, size))
            print(f"audit of {size:>6} steps: {took[size]:6.2f} CPU s, {took[size] / size * 1e3:.2f} ms a step", flush=True)  # fmt: skip
        few, many = (appended(Path(folder) / f"journal{lines}", lines) for lines in (100, 2000))
    small, large = list(took.values())[1:]
    print(f"ten times the steps: {large / small:.1f} times the audit (asked {ASKED_S} s at 10,000 steps)")
    print(f"a line of the journal: {many[0]:.2f} CPU ms, {many[1]:.2f} ms elapsed (asked {ASKED_MS} ms); after 2,000 lines {many[0] / few[0]:.1f} times that after 100")  # fmt: skip
    sys.exit(large > ASKED_S * steps / 10_000 or many[0] > ASKED_MS)


if __name__ == "__main__":
    main()

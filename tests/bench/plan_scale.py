"""Chains of ten trivial steps → what planning and a no-op delta cost, beside DVC and Snakemake on the same graph.

    python tests/bench/plan_scale.py [--peers VENV] [--sizes 1000,10000,100000] [--limit-s 120] [--spec]

`--peers` names a virtual environment; a peer that is not installed there is printed as unavailable, and one that takes
longer than `--limit-s` at a size is not tried at a larger one. Every row is a process of its own, start included;
seconds are processor time of that process and its children, because another process on the same cores does not count
then (elapsed seconds stand beside them). What is compared:

    plan    ours: graph.build, keys, plan.lock text, plan digest, file written     `plan+yaml`: its YAML text read, too
            DVC: `dag --dot` (builds the graph), `repro --dry`                     Snakemake: `-n --quiet`
    no-op   ours: the lock read, the journal verified, every step predicted `reuse` (artifacts are taken to be there)
            DVC: `status` of the same graph; nothing is built, which spares it the comparison of hashes

A spec may list 1,000 steps of its own at most, so larger graphs are made of Node objects here, by the same functions
that plan a spec; the text of `plan+yaml` is read by the loader of specs with its limits raised.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

CHAIN = 10
#: a budget of this project: (seconds, MB) of `plan` at a size
BUDGET = {1_000: (0.6, 300), 10_000: (3.0, 300), 100_000: (30.0, 2000)}


def steps(count: int):
    """(id, id of the step before it or none) of every step."""
    for i in range(count):
        yield f"s{i:06d}", f"s{i - 1:06d}" if i % CHAIN else ""


# ---- ours, inside a process of its own -------------------------------------------------------------------------------


def _nodes(count: int):
    from kcompiler.graph import Node
    from runtime.contract import Port

    takes, gives = {"rows": Port(kind="dataset")}, {"rows": Port(kind="dataset")}
    return [
        Node(
            id=name,
            step="copy",
            version=1,
            backend="python",
            params={"command": f"cp {before or 'source'} {name}", "bytes": 2, "options": {"follow": False}},
            ports=takes,
            takes={"rows": f"step:{before}#rows" if before else "input:source"},
            gives=gives,
            code="sha256:" + "c" * 64,
            promise="bitwise",
            seed=1337,
            origin=f"/steps/{i}",
        )
        for i, (name, before) in enumerate(steps(count))
    ]


def _inputs():
    from kcompiler.graph import Input

    return [
        Input(
            name="source",
            kind="dataset",
            path="source.txt",
            digest="sha256:" + "a" * 64,
            bytes=2,
            license="",
            origin="",
        )
    ]


def _plan(count: int, folder: Path) -> None:
    from kcompiler import lock
    from kcompiler.graph import build
    from kcompiler.plan import locked
    from runtime.contract import keys

    nodes, inputs = _nodes(count), _inputs()
    graph, problems = build(nodes, inputs)
    assert graph is not None, problems
    toolchain = locked.toolchain_of(graph)
    made = {
        "lock": {"format": lock.FORMAT, "key_scheme": keys.KEY_SCHEME, "hash": "sha256"},
        "made_by": {"name": "kcompiler", "version": "0"},
        "asked": {"spec": "bench.yaml", "name": "bench", "executor": "local", "risk_tier": 3},
        "sources": [{"path": "bench.yaml", "meaning": "sha256:" + "e" * 64}],
        "schemas": [],
        "policies": [],
        "inputs": [
            {key: getattr(item, key) for key in ("name", "kind", "path", "digest", "bytes", "license")}
            for item in inputs
        ],
        "toolchain": toolchain,
        "plugins": [],
        "budgets": {"usd": 0.0, "gpu_hours": 0.0, "wall_s": 240.0},
        "steps": locked.steps_of(graph, toolchain, []),
        "obligations": [],
    }
    digest = lock.plan_digest(made)
    (folder / "plan.lock").write_text(lock.dump(made), encoding="utf-8")
    print(digest)


def _plan_yaml(count: int, folder: Path) -> None:
    from kcompiler.source import Limits, load

    data = (folder / "bench.yaml").read_bytes()
    limits = Limits(**{name: 10**9 for name in Limits._fields if name != "depth"})
    tree, found = load("bench.yaml", data, limits=limits)
    assert tree is not None, found[:1]
    assert len(tree.data["steps"]) == count
    del tree, data
    _plan(count, folder)


def _journal(count: int, folder: Path) -> None:
    """Not measured: the committed records of a run of the whole lock."""
    from kcompiler import lock
    from runtime.contract import chain, keys
    from runtime.machine import host

    plan = lock.read(folder / "plan.lock")
    pins = {entry["name"]: entry["digest"] for entry in plan["inputs"]}
    gives: dict = {}
    lines, prev = [], chain.GENESIS
    for seq, step in enumerate(plan["steps"], start=1):
        parts = keys.components(step, keys.inputs_of(step, pins, gives), host.words(), [])
        gives[step["id"]] = {"rows": {"digest": f"sha256:{seq:064x}", "kind": "dataset"}}
        data = {
            "spec": "bench",
            "step": step["id"],
            "action": keys.action_key(parts),
            "components": parts,
            "params": step["params"],
            "gives": gives[step["id"]],
            "wall_s": 0.1,
        }
        body = {"seq": seq, "prev": prev, "run": "r", "fence": 1, "ts": "", "type": "step_committed", "data": data}
        line = chain.seal(body)
        prev = line[-74:-3].decode()
        lines.append(line)
    (folder / "journal.jsonl").write_bytes(b"".join(lines))


def _no_op(count: int, folder: Path) -> None:
    from kcompiler import lock
    from kcompiler.delta import delta
    from runtime.contract import chain, keys
    from runtime.machine import host

    plan = lock.read(folder / "plan.lock")
    read = chain.read((folder / "journal.jsonl").read_bytes())
    history = keys.History(line.data for line in read.lines)
    entries = delta(plan, host=lambda _step: host.words(), history=history, present=lambda _: True)
    assert [entry.action for entry in entries] == ["reuse"] * count


OURS = {"plan": _plan, "plan+yaml": _plan_yaml, "journal": _journal, "no-op": _no_op}


# ---- the same graph for the peers ------------------------------------------------------------------------------------


def _write_ours(count: int, folder: Path) -> None:
    text = ["steps:"]
    for name, before in steps(count):
        text += [f"  - id: {name}", "    use: copy", "    takes:", f"      rows: {before or 'source'}#rows"]
        text += ["    params:", f"      command: cp {before or 'source'} {name}", "      bytes: 2"]
    (folder / "bench.yaml").write_text("\n".join(text) + "\n")


def _write_dvc(count: int, folder: Path) -> None:
    text = ["stages:"]
    for name, before in steps(count):
        source = f"{before}.txt" if before else "source.txt"
        text += [f"  {name}:", f"    cmd: cp {source} {name}.txt", "    deps:", f"    - {source}"]
        text += ["    outs:", f"    - {name}.txt"]
    (folder / "dvc.yaml").write_text("\n".join(text) + "\n")


def _write_snakemake(count: int, folder: Path) -> None:
    """Ten rules with a wildcard for the chain: one rule per step makes Snakemake many times slower."""
    last = f"expand('{CHAIN - 1}/{{chain}}.txt', chain=range({count // CHAIN}))"
    text = ["rule all:", f"    input: {last}"]
    for i in range(CHAIN):
        source = f"'{i - 1}/{{chain}}.txt'" if i else "'source.txt'"
        text += [f"rule step{i}:", f"    input: {source}", f"    output: '{i}/{{chain}}.txt'"]
        text += ["    shell: 'cp {input} {output}'"]
    (folder / "Snakefile").write_text("\n".join(text) + "\n")


# ---- measuring -------------------------------------------------------------------------------------------------------


def measure(
    command: list[str], folder: Path, limit_s: float, fine: tuple[int, ...] = (0,)
) -> tuple[float, float, float] | str:
    """Processor seconds, elapsed seconds and peak MB of a process; or why there is no number."""
    before = time.monotonic()
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "PYTHONPATH": ""}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    # read in the background by the pipe's buffer only: the peers say little on stderr when they are quiet
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if time.monotonic() - before > limit_s:
            process.kill()
            os.wait4(process.pid, 0)
            return f"not within {limit_s:g} s"
        time.sleep(0.01)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in fine:
        assert process.stderr is not None
        return f"failed: {process.stderr.read()[-200:].strip()}"
    return usage.ru_utime + usage.ru_stime, time.monotonic() - before, usage.ru_maxrss / 1024


def show(what: str, size: int, result: tuple[float, float, float] | str) -> float | None:
    if isinstance(result, str):
        print(f"{what:<24}{size:>8}  unavailable: {result}", flush=True)
        return None
    seconds, elapsed, memory = result
    print(f"{what:<24}{size:>8}  {seconds:8.2f} s  {elapsed:8.2f} s elapsed  {memory:7.0f} MB", flush=True)
    return seconds


def ours(size: int, folder: Path, limit_s: float) -> dict[str, float]:
    _write_ours(size, folder)
    found = {}
    for verb in OURS:
        result = measure([sys.executable, __file__, "--child", verb, str(size), str(folder)], folder, limit_s)
        if verb == "journal":
            assert not isinstance(result, str), result
            continue
        seconds = show(f"ours {verb}", size, result)
        if seconds is not None:
            found[verb] = seconds
            if verb == "plan" and size in BUDGET:
                found["MB"] = result[2]  # type: ignore[assignment]
    return found


def peers(size: int, folder: Path, venv: Path, limit_s: float, slow: set[str]) -> dict[str, float]:
    _write_dvc(size, folder)
    _write_snakemake(size, folder)
    (folder / "source.txt").write_text("x\n")
    dvc, snakemake = str(venv / "bin/dvc"), str(venv / "bin/snakemake")
    commands = {
        "dvc dag --dot": [dvc, "dag", "--dot"],
        "dvc repro --dry": [dvc, "repro", "--dry", "--allow-missing", "--quiet"],
        "dvc status": [dvc, "status", "--quiet"],
        "snakemake -n": [snakemake, "-n", "--quiet", "all", "--cores", "1"],
    }
    if Path(dvc).exists():
        subprocess.run([dvc, "init", "--no-scm", "--quiet", "--force"], cwd=folder, check=True)
    found = {}
    for name, command in commands.items():
        if not Path(command[0]).exists():
            show(name, size, f"not installed in {venv}")
        elif name in slow:
            show(name, size, "too slow at a smaller size")
        else:
            # `dvc status --quiet` says by its exit code that something is to be done
            result = measure(command, folder, limit_s, (0, 1) if name == "dvc status" else (0,))
            seconds = show(name, size, result)
            if seconds is None:
                slow.add(name)
            else:
                found[name] = seconds
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--limit-s", type=float, default=120.0)
    parser.add_argument("--spec", action="store_true", help="Also: validate of a spec of 500 lines.")
    parser.add_argument("--child", nargs=3, metavar=("VERB", "N", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        # as the command line does for every verb but apply
        gc.disable()
        OURS[given.child[0]](int(given.child[1]), Path(given.child[2]))
        return
    sizes = [int(text) for text in given.sizes.split(",")]
    slow: set[str] = set()
    table: dict[int, dict[str, float]] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            table[size] = ours(size, Path(folder), given.limit_s)
            if given.peers:
                table[size] |= peers(size, Path(folder), given.peers, given.limit_s, slow)
    summary(table)
    if given.spec:
        validate_bench()


def summary(table: dict[int, dict[str, float]]) -> None:
    for size, row in table.items():
        if "plan" in row and size in BUDGET:
            seconds, memory = BUDGET[size]
            kept = row["plan"] <= seconds and row["MB"] <= memory
            print(f"budget {size}: plan ≤ {seconds:g} s and ≤ {memory} MB: {'kept' if kept else 'MISSED'}")
        others = {name: row[name] for name in ("dvc dag --dot", "dvc repro --dry", "snakemake -n") if name in row}
        if others and "plan+yaml" in row:
            name = min(others, key=lambda item: others[item])
            print(f"ratio  {size}: {name} / ours plan+yaml = {others[name] / row['plan+yaml']:.1f}")
        if "dvc status" in row and "no-op" in row:
            print(f"ratio  {size}: dvc status / ours no-op = {row['dvc status'] / row['no-op']:.1f}")
    if 1_000 in table and 10_000 in table:
        for verb in ("plan", "no-op"):
            print(f"growth 1k:10k {verb} = {table[10_000][verb] / table[1_000][verb]:.1f} (≤ 12)")


def validate_bench() -> None:
    """The whole process of `kcompiler validate` on a shipped spec stretched to 500 lines in block style."""
    import yaml

    data = yaml.safe_load((ROOT / "specs/eight-ball.yaml").read_text(encoding="utf-8"))
    first = data["training"]["stages"][0]
    data["training"]["stages"] = [first]
    stages = data["training"]["stages"]
    # a spec has 32 stages at most; comments make up the rest, as they do in specs of that length
    while len(stages) < 32:
        stages.append({**json.loads(json.dumps(first)), "name": f"kd{len(stages)}", "from": stages[-1]["name"]})
    lines = yaml.safe_dump(data, sort_keys=False).splitlines()
    text = "\n".join(["# a comment"] * (500 - len(lines)) + lines) + "\n"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "spec.yaml").write_text(text)
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from kcompiler.cli import main; main()"
        for number in range(3):
            result = measure([sys.executable, "-c", code, "validate", "spec.yaml"], Path(folder), 60)
            show(f"validate, {len(text.splitlines())} lines #{number}", len(data["training"]["stages"]), result)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"budget validate ≤ 0.3 s; peak of all rows {peak:.0f} MB")


if __name__ == "__main__":
    main()

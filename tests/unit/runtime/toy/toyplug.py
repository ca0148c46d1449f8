"""A third party's plug-ins for tests of the machine: small steps and a backend, in plain Python.

`make` writes a dataset, `grow` works in iterations with its own checkpoints in scratch, `join` reads both, `count`
reads anything. `mode` makes `make` misbehave on purpose.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from runtime.contract import Backend, Context, Params, Port, Ports, Refusal, Step, Unavailable
from runtime.contract.peak import Peak
from runtime.contract.report import measured


class Extra(Params):
    note: str = ""


class MakeParams(Params):
    text: str
    mode: str = "good"
    reads_file: bool = False
    extra: Extra = Extra()


def make_takes(params: MakeParams) -> Ports:
    return {"file": Port(kind="file")} if params.reads_file else {}


def make(takes: Mapping[str, Path], params: MakeParams, ctx: Context) -> None:
    text = params.text + (takes["file"].read_text() if "file" in takes else "")
    mode = params.mode
    if mode != "ignores_extra":
        text += params.extra.note
    if mode == "refuse":
        raise Refusal("the text is not acceptable", place="specs/toy.yaml:3", action="write another text")
    if mode == "unavailable":
        raise Unavailable("no such toolchain", needs="another machine")
    if mode == "crash":
        raise ZeroDivisionError("division by zero")
    if mode == "no_memory":
        raise MemoryError
    if mode == "no_memory_within":
        try:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
        except RuntimeError as error:
            raise Refusal("cannot load the model", action="take another model") from error
    if mode == "advised":
        raise Refusal("there is not enough memory", action="set less", code="KR0133") from MemoryError()
    if mode == "exit":
        sys.exit(0)
    if mode == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if mode == "elsewhere":
        os.chdir("/")
    if mode != "empty":
        (ctx.out("dataset") / "train.jsonl").write_text("" if mode == "zero_bytes" else text)
    if mode == "link":
        (ctx.out("dataset") / "link").symlink_to("train.jsonl")
    if mode == "undeclared":
        ctx.out("somewhere")
    if mode == "own_report":
        (ctx.out("report") / "report.json").write_text("{}")
    data = {"rows": measured(len(text), "rows")}
    if mode == "leaks_path":
        data["place"] = str(ctx.scratch)  # type: ignore[assignment]
    if mode == "nan":
        data["loss"] = {"value": float("nan"), "unit": "nat", "tag": "measured"}
    if mode != "no_report":
        ctx.report("report", data, fingerprints={"dataset": hashlib.sha256(text.encode()).hexdigest()})


class GrowParams(Params):
    rounds: int = 5
    #: seconds each round takes at least
    pause_s: float = 0.0
    #: writes into what it takes
    vandal: bool = False
    #: does not read its label
    careless: bool = False
    label: str = ""


def grow(takes: Mapping[str, Path], params: GrowParams, ctx: Context) -> None:
    state = ctx.scratch / "state.json"
    value, done = (
        hashlib.sha256((takes["dataset"] / "train.jsonl").read_bytes() + str(ctx.seed).encode()).hexdigest(),
        0,
    )
    if not params.careless:
        value += params.label
    if state.exists():
        value, done = json.loads(state.read_text())
    ctx.kept(done)
    # who goes on needs less
    began = done
    took = 400_000_000 - 1_000_000 * began
    ctx.measures(lambda: Peak(before=80_000_000, host=took, device=None, at="host", estimated=320_000_000))
    if done:
        ctx.say(f"resumed at {done}")
    while done < params.rounds:
        time.sleep(params.pause_s)
        value, done = hashlib.sha256(value.encode()).hexdigest(), done + 1
        temporary = state.with_suffix(".tmp")
        temporary.write_text(json.dumps([value, done]))
        temporary.replace(state)
        ctx.kept(done)
        ctx.used("training_tokens", 10)
        ctx.progress(done, params.rounds)
    if params.vandal:
        (takes["dataset"] / "train.jsonl").chmod(0o644)
        (takes["dataset"] / "train.jsonl").write_text("vandalised")
    (ctx.out("checkpoint") / "model.txt").write_text(value * 50)
    (ctx.out("checkpoint") / "config.json").write_text("{}")
    ctx.report("report", {"rounds": measured(params.rounds, "count")}, fingerprints={})


class JoinParams(Params):
    times: int = 1


def join(takes: Mapping[str, Path], params: JoinParams, ctx: Context) -> None:
    text = (takes["dataset"] / "train.jsonl").read_text() + (takes["checkpoint"] / "model.txt").read_text()
    (ctx.out("program") / "program.txt").write_text(text * params.times)
    (ctx.out("program") / "nested").mkdir()
    (ctx.out("program") / "nested" / "more.txt").write_text(text)
    ctx.report("report", {"length": measured(len(text), "B")}, fingerprints={})
    ctx.report("second", {"times": measured(params.times, "count")}, fingerprints={})


class CountParams(Params):
    pass


def count(takes: Mapping[str, Path], params: CountParams, ctx: Context) -> None:
    del params
    ctx.report("report", {"files": measured(len(list(takes["dataset"].iterdir())), "count")}, fingerprints={})


def perform(takes: Mapping[str, Path], params: Params, ctx: Context) -> None:
    ctx.perform(takes, params)


MAKE = Step(
    name="toy_make",
    version=1,
    params=MakeParams,
    takes=make_takes,
    gives={"dataset": Port(kind="dataset"), "report": Port(kind="report", report="data.splits")},
    backend="toy",
    run=perform,
    code=("toyplug",),
)
GROW = Step(
    name="toy_grow",
    version=1,
    params=GrowParams,
    takes={"dataset": Port(kind="dataset")},
    gives={"checkpoint": Port(kind="checkpoint"), "report": Port(kind="report", report="training")},
    backend="toy",
    run=perform,
    code=("toyplug",),
)
JOIN = Step(
    name="toy_join",
    version=1,
    params=JoinParams,
    takes={"dataset": Port(kind="dataset"), "checkpoint": Port(kind="checkpoint")},
    gives={
        "program": Port(kind="program"),
        "report": Port(kind="report", report="export.lint"),
        "second": Port(kind="report", report="probes"),
    },
    backend="toy",
    run=perform,
    code=("toyplug",),
)
COUNT = Step(
    name="toy_count",
    version=1,
    params=CountParams,
    takes={"dataset": Port(kind="dataset")},
    gives={"report": Port(kind="report", report="probes")},
    backend="toy",
    run=perform,
    code=("toyplug",),
)
BACKEND = Backend(
    name="toy",
    version=1,
    operations={f"toy_{name}": f"toyplug:{name}" for name in ("make", "grow", "join", "count")},
    requires={"pydantic": version("pydantic")},
)

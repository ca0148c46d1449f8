"""What it costs to score tool-use items: CPU seconds and memory, the share of each part, and beside it inspect_ai.

    python -m tests.bench.tool_items [ITEMS …] [--inspect PYTHON]

Rows are those of the toy's generator over its registry, every tenth a control; of the outputs four in five are right,
the others silent, cut short, of another tool, or of another value. Items are scored as `evaluate` and `audit` score
them: rows are read from the dataset's file, asked in lots of 64 of a runner that has its answers ready, written as
lines, put in the order of the rows, read again, judged again and aggregated, by one process. Parts are measured apart,
each alone over all items, so that their sum is that of one judging.

Memory is that of a process of its own for each number of items: how far its largest resident set grows once a lot was
scored. What must be kept of an item is kept in arrays: where its row and its line stand (12 bytes each, and 16 while
lines are put in order), whether it is right and sound, whether each of ten policies of the zoo is right, where its gold
answer stands (12 bytes) and what its texts are told apart by (8 bytes, and 40 while these are sorted). Rows, lines and
answers stay in files. Growth is therefore a constant, the first megabyte of each file held in memory among it, and
bytes per item.

PYTHON is an interpreter that has inspect_ai (`pip install inspect_ai`, in an environment of its own), else this one is
asked. Its scorer `exact` compares the same outputs with the rows' own responses as texts: it reads no call, validates
nothing and names no fault.

Beside nine other busy processes on two cores 10,000 items took 4.6 CPU s (0.46 ms an item) and 1.9 MiB more, 40,000
took 19.6 (0.49 ms) and 6.6, 100,000 took 53.4 (0.53 ms) and 13.6: at the peak, with what is sorted for a while, 123 to
165 bytes an item. One judging of 10,000 took 1.1 CPU s, 47 % of it for making items of rows, and inspect_ai 0.3.285 took
0.5 to compare them: it finds 8,500 right, as it takes a call without its last bracket for one.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.contract import agreement, callforms, calls, items, lots, rows, spool
from runtime.data import called, personal
from runtime.generators import toy_tools
from runtime.models import asking
from runtime.suites import tool_use
from runtime.tools import registry
from tests.unit.runtime.suites.models import Scripted

ROOT = Path(__file__).resolve().parents[2]
LOT = 64
INSPECT = """
import asyncio, json, sys, time
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Target, exact
from inspect_ai.solver import TaskState
pairs = json.load(sys.stdin)
score = exact()
async def main():
    right = 0
    for number, (output, target) in enumerate(pairs):
        state = TaskState(model="none/none", sample_id=number, epoch=1, input="", messages=[],
                          output=ModelOutput.from_content("none", output))
        right += (await score(state, Target(target))).value == "C"
    return right
before = time.process_time()
right = asyncio.run(main())
print(json.dumps([time.process_time() - before, right]))
"""


def outputs(made: Sequence[Mapping[str, Any]]) -> list[str]:
    found, responses = [], [str(row["response"]) for row in made]
    for number, row in enumerate(made):
        right = str(row["response"])
        other = next(one for one in itertools.chain(responses[number + 1 : number + 99], responses) if one != right)
        wrong = (other, "", right[:-1], right.replace("a", "o"))[number // 5 % 4]
        found.append(wrong if number % 5 == 1 else right)
    return found


def clock(run: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, and what it gave."""
    gc.collect()
    before = time.process_time()
    found = run()
    return time.process_time() - before, found


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


def scored(
    rows: Sequence[Mapping[str, Any]], tools: Sequence[Any], said: Sequence[str], folder: Path
) -> dict[str, Any]:
    """The report of one runner, by way of lines in a file."""
    path = folder / items.FILE
    runner: Any = Scripted()
    params = tool_use.ToolUseParams(limit=0)
    gathered = asking.Gathered(folder, {"student": len(rows)})
    for lot in lots.of(rows):
        runner.generate = lambda _, __, lot=lot: [said[at] for at in lot]
        mine = tool_use.ask("student", runner, [rows[at] for at in lot], tools, params, 0)
        gathered.take(items.read(items.written(mine)), lot)
    lines = gathered.lines()
    with path.open("wb") as file:
        file.writelines(lines.pieces())
    return tool_use.data_of(items.load(path), rows, tools, params, 0)


def grown(count: int) -> None:
    """Print how far the memory of this process grows beyond that of one lot, in bytes, and CPU seconds."""
    tools = registry.load(ROOT / "specs" / "tools" / "registry.json")
    with tempfile.TemporaryDirectory() as name:
        made = subprocess.run([sys.executable, "-m", "tests.bench.tool_items", str(count), "--make", name], cwd=ROOT)
        made.check_returncode()
        folder = Path(name)
        few = folder / "few.jsonl"
        with (folder / "rows.jsonl").open() as file:
            few.write_text("".join(file.readline() for _ in range(LOT)))
        said = spool.texts(json.loads(line) for line in (folder / "said.jsonl").open())
        scored(rows.kept(few), tools, said[:LOT], folder)
        base = peak()
        seconds, data = clock(lambda: scored(rows.kept(folder / "rows.jsonl"), tools, said, folder))
        print(json.dumps([count, seconds, (peak() - base) * 1024 * 1024, data["runners"]["student"]["right"]["k"]]))


def make(count: int, folder: Path) -> None:
    """Rows and outputs, in files."""
    tools = registry.load(ROOT / "specs" / "tools" / "registry.json")
    held = toy_tools.GENERATOR.rows(toy_tools.GENERATOR.params(rows=count, controls=0.1), tools, 1337)
    (folder / "rows.jsonl").write_text("".join(rows.written(held, "rows.jsonl")))
    (folder / "said.jsonl").write_text("".join(f"{json.dumps(text)}\n" for text in outputs(held)))


def parts(held: Sequence[Mapping[str, Any]], tools: Sequence[Any], said: Sequence[str]) -> dict[str, float]:
    """CPU seconds of each part of judging every item once."""
    found: dict[str, float] = {}
    found["rows to items"], asked = clock(lambda: list(tool_use.items_of(held, tools)))
    valid = registry.validators(registry.checked(json.loads(json.dumps(tools)), ""))
    found["parse"], read = clock(lambda: [callforms.read(text, ("native",), valid) for text in said])
    made = [() if isinstance(one, calls.Fault) else one for one in read]
    found["validate"], _ = clock(lambda: [calls.invalid(call, valid) for one in made for call in one])
    pairs = list(zip(made, asked, strict=True))
    found["match"], _ = clock(lambda: [agreement.agreed(one, item.wanted, item.order) for one, item in pairs])
    whole = list(zip(said, asked, strict=True))
    found["personal data"], _ = clock(lambda: [personal.leaked(text, item.right) for text, item in whole])
    judged = [called.judge(text, item) for text, item in whole]

    def aggregate() -> dict[str, Any]:
        total = tool_use.Answered(5)
        for item, text, one in zip(asked, said, judged, strict=True):
            total.add(item, text, one)
        return total.data()

    found["aggregate"], _ = clock(aggregate)
    lines = [items.line(row, "student", text, one) for row, text, one in zip(held, said, judged, strict=True)]
    found["lines"], _ = clock(lambda: items.read(items.written(lines)))
    return found


def beside(python: str, held: Sequence[Mapping[str, Any]], said: Sequence[str]) -> str:
    """What the same outputs cost inspect_ai, or why that is not known."""
    pairs = json.dumps([[text, row["response"]] for text, row in zip(said, held, strict=True)])
    done = subprocess.run([python, "-c", INSPECT], input=pairs, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.splitlines() or [f"it ended with {done.returncode}"])[-1]
        return f"inspect_ai was not asked: {why} (name an interpreter that has it: --inspect PYTHON)"
    theirs, right = json.loads(done.stdout.splitlines()[-1])
    return f"inspect_ai's exact {theirs:.2f} CPU s, {right} right"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("items", type=int, nargs="*", default=[10_000, 40_000, 100_000])
    parser.add_argument("--inspect", default=sys.executable)
    parser.add_argument("--grown", action="store_true")
    parser.add_argument("--make", type=Path)
    given = parser.parse_args()
    if given.make or given.grown:
        make(given.items[0], given.make) if given.make else grown(given.items[0])
        return 0
    costs = []
    for count in given.items:
        command = [sys.executable, "-m", "tests.bench.tool_items", str(count), "--grown"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        costs.append(json.loads(done.stdout.splitlines()[-1]))
        _, seconds, memory, right = costs[-1]
        print(f"{count:>7} items: {seconds:6.2f} CPU s, {memory / 2**20:5.1f} MiB more; right {right}", flush=True)
    for (few, _, less, _), (many, _, more, _) in itertools.pairwise(costs):
        print(f"from {few} to {many} items: {(more - less) / (many - few):.0f} bytes an item")
    tools = registry.load(ROOT / "specs" / "tools" / "registry.json")
    held = toy_tools.GENERATOR.rows(toy_tools.GENERATOR.params(rows=given.items[0], controls=0.1), tools, 1337)
    said = outputs(held)
    each = parts(held, tools, said)
    for name, cost in each.items():
        print(f"  {name:<16}{cost:6.2f} CPU s {cost / sum(each.values()):6.1%}")
    print(f"here per judging {sum(each.values()):.2f} CPU s; {beside(given.inspect, held, said)}")
    return int(costs[0][1] > 10)


if __name__ == "__main__":
    sys.exit(main())

"""What it costs to score tool-use items: CPU seconds and memory, the share of each part, and beside it inspect_ai.

    python -m tests.bench.tool_items [ITEMS] [--inspect PYTHON]

Rows are those of the toy's generator over its registry, every tenth a control; of the outputs four in five are right,
the others silent, cut short, of another tool, or of another value. Items are scored as `evaluate` scores them: asked in
lots of 64 of a runner that has its answers ready, written as lines, read again, judged again and aggregated, by one
process. Parts are measured apart, each alone over all items, so that their sum is that of one judging. Memory is the
growth of the largest resident set from the rows on: of the scorer alone, lot after lot into one tally, which is flat,
and of the whole report, which holds a line and an item for each row (for a tenth of the items and for all).

PYTHON is an interpreter that has inspect_ai (`pip install inspect_ai`). Its scorer `exact` compares the same outputs
with the rows' own responses as texts: it reads no call, validates nothing and names no fault.

Two busy cores gave 5.3 CPU s for the report of 10,000 items, in which nine policies of the zoo are judged on each item
beside the runner, and 0.8 CPU s without memory beyond the rows for the scorer alone; inspect_ai's `exact` took 0.35.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.contract import agreement, callforms, calls, items
from runtime.data import called, personal
from runtime.generators import toy_tools
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


def outputs(rows: list[Mapping[str, Any]]) -> list[str]:
    found, responses = [], [str(row["response"]) for row in rows]
    for number, row in enumerate(rows):
        right = str(row["response"])
        other = next(one for one in responses[number + 1 :] + responses if one != right)
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


def scored(rows: Sequence[Mapping[str, Any]], tools: Sequence[Any], said: Sequence[str]) -> dict[str, Any]:
    """The report of one runner, by way of lines in a file."""
    answers = {str(row["prompt"]): text for row, text in zip(rows, said, strict=True)}
    runner: Any = Scripted()
    runner.generate = lambda prompts, _: [answers[str(prompt)] for prompt in prompts]
    params = tool_use.ToolUseParams(limit=0)
    written = b"".join(
        items.written(tool_use.ask("student", runner, rows[start : start + LOT], tools, params, 0))
        for start in range(0, len(rows), LOT)
    )
    return tool_use.data_of(items.read(written), rows, tools, params, 0)


def streamed(rows: Sequence[Mapping[str, Any]], tools: Sequence[Any], said: Sequence[str]) -> tool_use.Tally:
    """The scorer alone: nothing of a lot is kept but its counts."""
    total = tool_use.Tally()
    for start in range(0, len(rows), LOT):
        for item, text in zip(
            tool_use.items_of(rows[start : start + LOT], tools), said[start : start + LOT], strict=True
        ):
            tool_use.add(total, item, called.judge(text, item))
    return total


def parts(rows: Sequence[Mapping[str, Any]], tools: Sequence[Any], said: Sequence[str]) -> dict[str, float]:
    """CPU seconds of each part of judging every item once."""
    found: dict[str, float] = {}
    found["rows to items"], asked = clock(lambda: tool_use.items_of(rows, tools))
    valid = registry.validators(registry.checked(json.loads(json.dumps(tools)), ""))
    found["parse"], read = clock(lambda: [callforms.read(text, ("native",), valid) for text in said])
    made = [() if isinstance(one, calls.Fault) else one for one in read]
    found["validate"], _ = clock(lambda: [calls.invalid(call, valid) for one in made for call in one])
    pairs = list(zip(made, asked, strict=True))
    found["match"], _ = clock(lambda: [agreement.agreed(one, item.wanted, item.order) for one, item in pairs])
    whole = list(zip(said, asked, strict=True))
    found["personal data"], _ = clock(lambda: [personal.leaked(text, item.right) for text, item in whole])
    judged = [called.judge(text, item) for text, item in whole]
    found["aggregate"], _ = clock(lambda: tool_use.evaluate(said, judged, asked, 5))
    lines = [items.line(row, "student", text, one) for row, text, one in zip(rows, said, judged, strict=True)]
    found["lines"], _ = clock(lambda: items.read(items.written(lines)))
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("items", type=int, nargs="?", default=10_000)
    parser.add_argument("--inspect")
    given = parser.parse_args()
    tools = registry.load(ROOT / "specs" / "tools" / "registry.json")
    rows = toy_tools.GENERATOR.rows(toy_tools.GENERATOR.params(rows=given.items, controls=0.1), tools, 1337)
    said = outputs(rows)
    scored(rows[:LOT], tools, said[:LOT])
    base = peak()
    alone, total = clock(lambda: streamed(rows, tools, said))
    flat, tenth = peak() - base, len(rows) // 10
    scored(rows[:tenth], tools, said[:tenth])
    few, began = peak() - base, time.perf_counter()
    seconds, data = clock(lambda: scored(rows, tools, said))
    wall, grown = time.perf_counter() - began, peak() - base
    student = data["runners"]["student"]
    print(
        f"{len(rows)} items: {seconds:.2f} CPU s, {wall:.2f} s; right {student['right']['k']} of {student['right']['n']}"
    )
    assert total.exact + total.abstained == student["right"]["k"]
    print(f"the scorer alone: {alone:.2f} CPU s, {flat:.1f} MiB beyond the rows")
    print(f"memory beyond the rows: {few:.0f} MiB for {tenth} items, {grown:.0f} MiB for {len(rows)}")
    each = parts(rows, tools, said)
    for name, cost in each.items():
        print(f"  {name:<16}{cost:6.2f} CPU s {cost / sum(each.values()):6.1%}")
    if given.inspect:
        pairs = json.dumps([[text, row["response"]] for text, row in zip(said, rows, strict=True)])
        done = subprocess.run([given.inspect, "-c", INSPECT], input=pairs, capture_output=True, text=True, check=True)
        theirs, right = json.loads(done.stdout.splitlines()[-1])
        print(f"inspect_ai's exact: {theirs:.2f} CPU s, {right} right; here per judging {sum(each.values()):.2f} CPU s")
    return int(seconds > 20)


if __name__ == "__main__":
    sys.exit(main())

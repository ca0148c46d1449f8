"""1,000 rules with wildcards over 642 data of a 1 MB report → what their verdict costs, its schema validation included.

    python tests/bench/many_rules.py

CPU seconds of this process; ratios are of one run. Asked: 1 s. Each rule bounds one number of every step of a run's
report: rules over 642 steps beside as many rules over one step say what a datum costs that more than one rule reads.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

STEPS, RULES, ASKED_S = 642, 1000, 1.0
#: what a rule reads of every step, and its unit
NUMBERS = {"wall": "s", "cpu": "s", "gpu": "s", "attempts": "count", "bytes": "B", "lost_attempts": "count"}


def report(steps: int) -> bytes:
    """The report on a run of so many steps, by the code that writes such reports."""
    from tests.bench.long_run import run_report

    return run_report(steps)


def obligations(count: int) -> list[dict[str, Any]]:
    """Bounds on every step, in turn on each of the numbers; no two have one threshold."""
    made = []
    for nth in range(count):
        name, unit = list(NUMBERS.items())[nth % len(NUMBERS)]
        params = {"metric": f"steps.*.{name}", "op": "<=", "threshold": str(10**7 + nth), "unit": unit}
        made.append(
            {
                "rule": f"bench/many/r{nth}",
                "pack": "bench/many@1",
                "title": "a bound on every step",
                "mode": "block",
                "reason": "",
                "report": "run",
                "from": "step:apply",
                "kind": "bound@1",
                "params": params,
                "expect": None,
                "remedy": "lower it",
            }
        )
    return made


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


def main() -> None:
    from kcompiler.judge import judge
    from kcompiler.policy import evidence

    large, small = report(STEPS), report(1)
    rules = obligations(RULES)
    judge({"apply": small}, rules[:10])

    def judged(given: bytes, asked: list[dict[str, Any]]) -> None:
        evidence._read.cache_clear()
        verdict = judge({"apply": given}, asked)
        assert verdict.verdict == "PASS", [one.reason for one in verdict.outcomes if one.outcome != "pass"][:1]
        assert verdict.outcomes[0].matches == len(json.loads(given)["data"]["steps"])

    whole = min(seconds(lambda: judged(large, rules)) for _ in range(3))
    read = min(seconds(lambda: (evidence._read.cache_clear(), evidence.read(large))) for _ in range(3))
    plain = min(seconds(lambda: json.loads(large)) for _ in range(3))
    one_step = min(seconds(lambda: judged(small, rules)) for _ in range(3))
    print(f"{len(large) / 1e6:.2f} MB, {STEPS} data a rule, {RULES} rules: {whole:.2f} CPU s (asked {ASKED_S})")
    print(f"  reading the report, schema and laws: {read:.2f} s, {read / plain:.1f} times json.loads")
    print(f"  beside the same rules over one step: {whole / one_step:.1f} times; {whole / RULES / STEPS * 1e6:.2f} µs a datum a rule")  # fmt: skip
    sys.exit(whole > ASKED_S)


if __name__ == "__main__":
    main()

"""Planning grows with the number of steps, not with its square; measured as a ratio within one run.

Run it by name: `python -m pytest tests/bench/growth.py`.
"""

import importlib.util
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def bench():
    spec = importlib.util.spec_from_file_location("plan_scale", ROOT / "tests/bench/plan_scale.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ten_times_the_steps_cost_about_ten_times_as_much(tmp_path):
    """1,000 and 10,000 steps, processor time of graph, keys, lock text and a no-op delta; the best of three. 10 to 12
    on an idle machine; company costs the larger one more, and a square would cost 100."""
    module = bench()
    times: dict[str, dict[int, float]] = {"plan": {}, "no-op": {}}
    module.OURS["plan"](100, tmp_path)
    for size in (1_000, 10_000):
        for verb in times:
            best = float("inf")
            for _ in range(3):
                before = time.process_time()
                module.OURS[verb](size, tmp_path)
                best = min(best, time.process_time() - before)
            times[verb][size] = best
            if verb == "plan":
                module.OURS["journal"](size, tmp_path)
    for verb, found in times.items():
        assert found[10_000] <= 18 * found[1_000], (verb, found)
    # 0.5 s on an idle machine, where the budget of a cold process is 3 s
    assert times["plan"][10_000] <= 3.0

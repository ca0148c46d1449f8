"""What the tests of the broker share: tau-bench's trials where they are at hand, its tools, and how they are declared."""

from pathlib import Path

import pytest

from runtime.tools import registry

ROOT = Path(__file__).resolve().parents[5]
HERE = ROOT / "tests/data/tau_bench"
TRIALS = ROOT.parent / "shared/data/tau_bench/gpt4o_airline_trials_0_2.json"
TOOLS = registry.load(HERE / "tools.json")
needs_trials = pytest.mark.skipif(not TRIALS.is_file(), reason="the trajectories of tau-bench are not at hand")

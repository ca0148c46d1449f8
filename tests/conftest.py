"""For every test process: threads that wait do not spin, and chance is the same every time.

Weights that a test draws are those of its neighbour's first draw too: what a tiny model computes is then as near to a
gate today as it was yesterday. `KCOMPILER_EXPLORE=1 python -m pytest tests/property` draws new examples.
"""

import compileall
import gc
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# two test workers with spinning threads starve each other
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# half of the examples that hypothesis draws, where a test does not say how many; all of them in the long set
settings.register_profile("same", derandomize=True, max_examples=100 if "KCOMPILER_LONG" in os.environ else 50)
if not os.environ.get("KCOMPILER_EXPLORE"):
    settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    """Hundreds of commands start here. Each finds our modules compiled, also where PYTHONDONTWRITEBYTECODE is set: without
    that a quarter of the time of a `validate` is compiling them anew."""
    if not hasattr(config, "workerinput"):
        for package in ("kcompiler", "runtime"):
            compileall.compile_dir(Path(__file__).resolve().parents[1] / package, quiet=2)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    """What a fixture draws does not depend on which tests ran before it in this process."""
    _same_chance()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Nor does what a test draws."""
    _same_chance()


def _same_chance() -> None:
    # whoever has not imported torch draws nothing from it, and does not wait for it
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


def pytest_collection_finish() -> None:
    """What is loaded by now stays: no collection of garbage looks through it again. A training collects before it
    measures memory, and half of its time here would be that."""
    gc.collect()
    gc.freeze()

"""The threads that run are counted, not believed; what limits them is named before anything is trained."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from runtime import catalog
from runtime.contract import Refusal
from runtime.machine import host
from runtime.models import answering, evaluate, export, probes, threads
from runtime.train import linear
from runtime.train.gradients import diverged
from runtime.train.loop import deterministic
from tests.longer import also, longer
from tests.tensor.export import world

ROOT = Path(__file__).resolve().parents[3]
SAYS = """
import sys
from runtime.contract import Refusal
from runtime.train.loop import deterministic
from tests.tensor.export import world
for wanted in sys.argv[1:]:
    try:
        with deterministic(1, int(wanted)):
            print("trained")
    except Refusal as error:
        print(error.code, error.message, "|", error.action)
"""
LIMITED: list[Mapping[str, str]] = [
    {"OMP_THREAD_LIMIT": "1"},
    {"OMP_DYNAMIC": "true"},
    {"OMP_MAX_ACTIVE_LEVELS": "0"},
]


def said(env: Mapping[str, str], *wanted: int) -> list[str]:
    """What a new interpreter says of so many threads, one after the other."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "KMP_"))}
    whole = {**clean, "PYTHONPATH": str(ROOT), **env}
    done = subprocess.run([sys.executable, "-c", SAYS, *map(str, wanted)], env=whole, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("env", [LIMITED[0], *map(also, LIMITED[1:])], ids=lambda env: next(iter(env)))
@longer
def test_a_variable_that_holds_threads_back_is_named_and_the_advice_helps(env: Mapping[str, str]) -> None:
    """Before: torch answered 2, half of each product was wrong, and the message was "lower the learning rate"."""
    (name, value) = next(iter(env.items()))
    text, advised = said(env, 2, 1)
    assert text.startswith("KR0121 2 threads were asked for")
    assert f"the environment says {name}={value}" in text
    assert f"unset {name}, or write `execution.threads: 1`" in text
    assert advised == "trained"
    assert said({}, 2) == ["trained"]


@pytest.mark.parametrize(
    "env", [{"OMP_NUM_THREADS": "1"}, also({"MKL_NUM_THREADS": "1"}), also({"MKL_DYNAMIC": "TRUE"})]
)
@longer
def test_a_default_that_is_overruled_holds_nothing_back(env: Mapping[str, str]) -> None:
    assert said(env, 2) == ["trained"]


def test_fewer_threads_without_a_variable_are_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "running", lambda: 1)
    for name in threads.LIMITS:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Refusal, match="this process may not have more"), deterministic(1, 2):
        pass
    with pytest.raises(Refusal) as caught:
        threads.check(3)
    assert caught.value.code == "KR0121"


def test_a_refusal_leaves_the_settings_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "running", lambda: before + 2)
    with pytest.raises(Refusal), deterministic(1, before + 1):
        pass
    assert torch.get_num_threads() == before


def test_a_wrong_product_is_found_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    real = linear._product

    def half(left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        found = real(left, right, bias).clone()
        found[found.shape[0] // 2 :] = 0
        return found

    monkeypatch.setattr(linear, "available", torch.backends.mkldnn.is_available)
    with linear.fast(nn.Linear(24, 40)):
        pass
    monkeypatch.setattr(linear, "_product", half)
    with pytest.raises(Refusal) as caught, linear.fast(nn.Linear(24, 40)):
        pass
    assert caught.value.code == "KR0122"
    assert "a product of 40 x 24 through oneDNN is wrong" in caught.value.message


@pytest.mark.parametrize(
    ("kernels", "model", "gains"),
    [
        ("AuthenticAMD avx512", "26.68", True),
        ("AuthenticAMD avx512", "30.1", True),
        # Zen 4: 512 bits in two halves
        ("AuthenticAMD avx512", "25.17", False),
        ("AuthenticAMD avx2", "26.68", False),
        ("GenuineIntel avx512", "26.68", False),
        ("0x41", "0xd40", False),
        ("AuthenticAMD avx512", "unknown", False),
    ],
)
def test_the_processor_decides_whose_products_are_used_and_no_clock(
    kernels: str, model: str, gains: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "kernels", lambda: kernels)
    monkeypatch.setattr(host, "model", lambda: model)
    can = torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"
    assert linear.gains() == gains
    assert linear.available() == (can and gains)
    for name, held in (("oneDNN", True), ("torch", False)):
        with linear.begun_with(name):
            assert linear.available() == held


def test_no_learning_rate_is_to_blame_before_the_first_update() -> None:
    first, later = diverged("loss `kl` is nan", 0), diverged("loss `kl` is nan", 1)
    assert "before any weight was moved" in first.message
    assert "learning rate" not in first.action
    assert later.action == "lower the learning rate"


@pytest.mark.parametrize("operation", ["probe", "export", "evaluate", "generate_answers"])
def test_what_judges_a_checkpoint_counts_its_threads_too(
    operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it: what was summed by another number of threads than the key says had the key's name."""

    def one() -> int:
        return 1

    takes = world.world(tmp_path)
    monkeypatch.setattr(threads, "running", one)
    stage = world.Stage(tmp_path / "out", takes)
    asked: dict[str, Any] = {
        "probe": (probes.probe, {"lengths": [64], "decode_context": 64}),
        "export": (export.export, {"prefill": [64], "decode_context": 64}),
        "evaluate": (
            functools.partial(evaluate.evaluate, judge=None),
            {"suite": "language_model", "suite_version": 0, "runners": ["student"]},
        ),
        "generate_answers": (answering.generate_answers, {"model": "m", "longest": 64, "allow_missing": 0.5}),
    }
    run, params = asked[operation]
    if operation == "evaluate":
        params["suite_version"] = catalog.load("suites", "language_model").version
    step = catalog.load("steps", operation)
    with pytest.raises(Refusal, match="2 threads were asked for and 1 run") as caught:
        run({**takes, "teacher": takes["checkpoint"]}, step.params(**params, threads=2), stage)
    assert caught.value.code == "KR0121"

"""What a promise follows from, and when figures of a repetition are within its tolerance."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.contract import placing


@pytest.mark.parametrize(
    ("words", "promise"),
    [
        (("cpu",), "bitwise"),
        (("cpu", "fp32", None), "bitwise"),
        (("cpu", "bf16"), "statistical"),
        (("cuda", "fp32"), "statistical"),
        (("mps", "fp32"), "statistical"),
        (("cpu", "fp32", "cuda:1"), "statistical"),
    ],
)
def test_float32_on_the_processor_alone_promises_the_same_bytes(words: tuple[Any, ...], promise: str) -> None:
    assert placing.promise(*words) == promise


def test_the_accelerators_of_a_step_are_those_that_its_parameters_name() -> None:
    assert placing.devices_of({"device": "cuda", "teacher_device": "cuda:1", "threads": 2}) == ["cuda", "cuda:1"]
    assert placing.devices_of({"device": "cpu", "teacher_device": None}) == placing.devices_of({}) == []


def test_figures_outside_the_tolerance_and_figures_that_are_missing_are_apart() -> None:
    tolerance = placing.Tolerance(absolute=0.25, relative=0.125, of=("terms.*.final",))

    def data(**finals: Any) -> dict[str, Any]:
        return {"terms": {name: {"final": {"value": value}} for name, value in finals.items()}}

    assert tolerance.apart(data(kl=1.0), data(kl=1.375)) == []
    assert tolerance.apart(data(kl=1.0), data(kl=0.625)) == []
    assert tolerance.apart(data(kl=1.0), data(kl=1.376)) == ["terms.kl.final 1, then 1.376; 0.375 apart are allowed"]
    for other in (data(kl=None), data(kl=float("nan")), data(ce=1.0), data()):
        assert tolerance.apart(data(kl=1.0), other) != []
        assert tolerance.apart(other, data(kl=1.0)) != []
    assert tolerance.apart(data(), data()) == ["neither report has a figure at terms.*.final"]
    assert placing.Tolerance.from_json(json.loads(json.dumps(tolerance.to_json()))) == tolerance


@pytest.mark.parametrize(
    ("device", "words", "tokens"),
    [
        ("cpu", 2048, 128),
        ("cpu", 131_072, 128),
        ("cpu", 131_073, 127),
        ("cpu", 262_144, 64),
        ("cpu", 10_000_000, 16),
        ("cuda", 131_072, 1024),
        ("cuda", 262_144, 512),
        ("mps", 131_073, 1023),
    ],
)
def test_a_chunk_is_so_many_tokens_and_no_more_bytes(device: str, words: int, tokens: int) -> None:
    """128 k words take all bytes of a chunk: wider vocabularies have fewer tokens in it, and never none."""
    assert placing.chunk_tokens(device, words) == tokens
    if tokens > placing.LEAST_CHUNK:
        assert 4 * words * tokens <= placing.CHUNK_BYTES[device]

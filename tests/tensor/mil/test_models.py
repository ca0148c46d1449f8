"""Whole converted models agree with PyTorch in float32, and would not if any of their ops meant something else."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil.passes.defs.quantization import FP16ComputePrecision

from runtime.contract import MachineError
from runtime.mil import package
from runtime.mil.interpreter import Interpreter
from runtime.mil.numerics import MODES, Array, Mode
from runtime.mil.ops.registry import REGISTRY, Registry
from tests.longer import also
from tests.tensor.mil import models
from tests.tensor.mil.conftest import Zoo
from tests.tensor.mil.holding import agrees_however_held
from tests.tensor.mil.models import REAL, Sample
from tests.tensor.mil.support import cosine

PARITY = 0.9999


def worst(outputs: Mapping[str, Array], given: Sample) -> float:
    """Least cosine over outputs and real positions; padded positions are nobody's business."""
    found = 1.0
    for name, wanted in given.outputs.items():
        axis = 1 if name == "logits" else 2
        real = slice(0, REAL if wanted.shape[axis] > 1 else 1)
        index = (slice(None),) * axis + (real,)
        found = min(found, cosine(outputs[name][index], wanted[index]))
    return found


@pytest.mark.parametrize("kind", ["prefill", "decode"])
@pytest.mark.parametrize("family", ["llama", also("qwen3"), also("phi")])
def test_a_converted_model_agrees_with_pytorch_in_every_mode(zoo: Zoo, family: str, kind: str) -> None:
    given = zoo.sample(family, kind)
    for mode in MODES:
        result = Interpreter(zoo.package(family, kind), "main", mode).run(given.inputs)
        assert result.findings.clean, result.findings
        assert worst(result.outputs, given) >= PARITY
        agrees_however_held(zoo.package(family, kind), given.inputs, "main", mode)


def test_rounding_costs_precision_and_strict_rounding_more(zoo: Zoo) -> None:
    """exact32 is nearer to PyTorch than fp16_round; fp16_strict differs from fp16_round."""
    given = zoo.sample("llama", "prefill")
    logits = {mode: run(zoo, mode).outputs["logits"][:, :REAL] for mode in MODES}
    error = {mode: float(np.abs(value - given.outputs["logits"][:, :REAL]).mean()) for mode, value in logits.items()}
    assert error["exact32"] < error["fp16_round"]
    assert not np.array_equal(logits["fp16_round"], logits["fp16_strict"])


def run(zoo: Zoo, mode: Mode) -> Any:
    return Interpreter(zoo.package("llama", "prefill"), "main", mode).run(zoo.sample("llama", "prefill").inputs)


def test_every_value_declared_float16_is_one(zoo: Zoo) -> None:
    """Also those of ops that are never rounded because they only move elements."""
    interpreter = Interpreter(zoo.package("llama", "prefill"), "main", "fp16_round")
    values = interpreter.values(zoo.sample("llama", "prefill").inputs)
    types = interpreter.function.types
    half = {name: value for name, value in values.items() if types[name].dtype == "float16"}
    assert len(half) > 100
    for name, value in half.items():
        np.testing.assert_array_equal(value, value.astype(np.float16).astype(np.float32), err_msg=name)


def test_an_unchecked_run_computes_the_same_and_claims_nothing(zoo: Zoo) -> None:
    interpreter, inputs = Interpreter(zoo.package("llama", "decode"), "main"), zoo.sample("llama", "decode").inputs
    checked, fast = interpreter.run(inputs), interpreter.run(inputs, check=False)
    for name, value in checked.outputs.items():
        np.testing.assert_array_equal(fast.outputs[name], value)
    assert checked.findings.clean
    assert not fast.findings.checked
    assert not fast.findings.clean


def test_running_twice_gives_the_same_and_outputs_belong_to_the_caller(zoo: Zoo) -> None:
    interpreter, inputs = Interpreter(zoo.package("llama", "prefill"), "main"), zoo.sample("llama", "prefill").inputs
    first = interpreter.run(inputs).outputs
    kept = {name: value.copy() for name, value in first.items()}
    for value in first.values():
        value.fill(np.nan)
    for name, value in interpreter.run(inputs).outputs.items():
        np.testing.assert_array_equal(value, kept[name])


Kernel = Callable[..., Any]

#: op of the Llama graphs → a meaning it must not have
WRONG: dict[str, Callable[[Kernel], Kernel]] = {
    "add": lambda _: np.subtract,
    "sub": lambda _: lambda x, y: y - x,
    "mul": lambda _: np.add,
    "pow": lambda _: lambda x, y: np.power(x, y + 1),
    "rsqrt": lambda _: lambda x, **__: np.sqrt(x),
    "cos": lambda _: np.sin,
    "sin": lambda _: np.cos,
    "silu": lambda _: lambda x, **__: np.maximum(x, 0),
    "softmax": lambda kernel: lambda x, **rest: kernel(x, **(rest | {"axis": -2})),
    "reduce_mean": lambda _: lambda x, axes, keep_dims, **__: np.sum(x, axis=axes, keepdims=keep_dims),
    "linear": lambda kernel: lambda x, weight, bias=None: kernel(x, weight[::-1], bias),
    "matmul": lambda kernel: lambda x, y, **flags: kernel(np.flip(x, 1), y, **flags),
    "gather": lambda kernel: lambda x, indices, **rest: kernel(np.roll(x, 1, 0), indices, **rest),
    "greater_equal": lambda _: np.less,
    "select": lambda _: lambda cond, a, b: np.where(cond, b, a),
    "cast": lambda kernel: lambda x, dtype: kernel(x, dtype=dtype) * 0,
    "concat": lambda kernel: lambda values, **rest: kernel(values[::-1], **rest),
    "reshape": lambda kernel: lambda x, shape: np.flip(kernel(x, shape)),
    "transpose": lambda kernel: lambda x, perm: np.flip(kernel(x, perm=perm), -1),
    "expand_dims": lambda kernel: lambda x, axes: np.flip(kernel(x, axes=axes)),
    "slice_by_index": lambda kernel: lambda x, begin, end, **rest: kernel(np.roll(x, 1, -1), begin, end, **rest),
    "tile": lambda kernel: lambda x, reps: np.flip(kernel(x, reps), 1),
}


def wrong(name: str) -> Registry:
    """The registry with one op's meaning replaced."""
    return {
        key: dataclasses.replace(op, kernel=WRONG[name](op.kernel), plan=None) if key[0] == name else op
        for key, op in REGISTRY.items()
    }


def test_every_op_of_the_graphs_has_a_wrong_meaning_to_try(zoo: Zoo) -> None:
    used = {op.type for kind in ("prefill", "decode") for op in zoo.package("llama", kind).functions["main"].operations}
    assert used - {"const"} == set(WRONG)


@pytest.mark.parametrize("name", sorted(WRONG))
def test_parity_fails_when_an_op_means_something_else(zoo: Zoo, name: str) -> None:
    """A wrong op shows as a low cosine, as a finding, or as a program that cannot run: never as a pass."""
    caught = []
    for kind in ("prefill", "decode"):
        given = zoo.sample("llama", kind)
        # its own package: dequantized constants must not leak from one registry to another
        opened = package.open(zoo.package("llama", kind).path)
        try:
            result = Interpreter(opened, "main", registry=wrong(name)).run(given.inputs)
        except MachineError:
            caught.append(kind)
            continue
        if not result.findings.clean or not worst(result.outputs, given) >= PARITY:
            caught.append(kind)
    used = [
        kind
        for kind in ("prefill", "decode")
        if any(op.type == name for op in zoo.package("llama", kind).functions["main"].operations)
    ]
    assert caught == used


def test_float32_islands_are_executed_in_float32(zoo: Zoo) -> None:
    """A spike of 300 overflows the square of a float16 RMSNorm and leaves zeros; the island keeps it."""

    class Norm(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)

    x = np.linspace(-1, 1, 64, dtype=np.float16).astype(np.float32)[None]
    x[0, 5] = 300
    with torch.no_grad():
        given = Sample(Norm(), {"x": x}, {"y": Norm()(torch.from_numpy(x)).numpy()})
    island = FP16ComputePrecision(op_selector=lambda op: op.op_type not in ("pow", "reduce_mean", "add", "rsqrt"))
    plain = Interpreter(zoo.opened("norm", models.converted(given))).run({"x": x})
    kept = Interpreter(zoo.opened("norm_island", models.converted(given, precision=island))).run({"x": x})
    assert [item.op_type for item in plain.findings.saturated] == ["pow"]
    assert plain.findings.first == plain.findings.saturated[0].op_name
    assert not plain.outputs["y"].any()
    assert kept.findings.clean
    assert cosine(kept.outputs["y"], given.outputs["y"]) > 0.999999


def test_a_multifunction_package_runs_each_function_like_its_single_package(zoo: Zoo) -> None:
    description = ct.utils.MultiFunctionDescriptor()
    for kind, name in (("prefill", "prefill_16"), ("decode", "decode")):
        description.add_function(str(zoo.package("llama", kind).path), "main", name)
    description.default_function_name = "decode"
    path = zoo.folder / "both.mlpackage"
    ct.utils.save_multifunction(description, str(path))
    both = package.open(path)
    assert set(both.functions) == {"prefill_16", "decode"}
    assert both.default_function == "decode"
    for kind, name in (("prefill", "prefill_16"), ("decode", "decode")):
        inputs = zoo.sample("llama", kind).inputs
        result = Interpreter(both, name).run(inputs)
        assert result.findings.clean
        for output, value in Interpreter(zoo.package("llama", kind)).run(inputs).outputs.items():
            np.testing.assert_array_equal(result.outputs[output], value)


def test_flexible_lengths_run_and_the_shape_oracle_finds_the_converter_s_defect(zoo: Zoo) -> None:
    """coremltools declares `where(condition, scalar, scalar)` of rank 0 when the condition's shape is dynamic."""

    class Attention(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            places = torch.arange(x.shape[1])
            mask = torch.where(places[None, :] <= places[:, None], 0.0, -1e4)
            return torch.softmax(x @ x.transpose(1, 2) + mask[None], -1) @ x

    length = torch.export.Dim("length", min=2, max=64)
    program = models.exported(Attention(), (torch.zeros(1, 8, 16),), dynamic_shapes={"x": {1: length}})
    model = ct.convert(
        program,
        inputs=[ct.TensorType(name="x", shape=ct.EnumeratedShapes([[1, 8, 16], [1, 24, 16]]), dtype=np.float16)],
        outputs=[ct.TensorType(name="y", dtype=np.float16)],
        minimum_deployment_target=ct.target.iOS18,
        skip_model_load=True,
    )
    interpreter = Interpreter(zoo.opened("flexible", model))
    for size in (8, 24):
        x = np.random.default_rng(size).normal(size=(1, size, 16)).astype(np.float16).astype(np.float32)
        result = interpreter.run({"x": x})
        with torch.no_grad():
            assert cosine(result.outputs["y"], Attention()(torch.from_numpy(x)).numpy()) >= PARITY
        (first, *_) = result.findings.mismatches
        assert (first.op_type, first.what, first.declared, first.actual) == (
            "select",
            "shape",
            "()",
            f"({size}, {size})",
        )


def test_the_interpreter_needs_neither_torch_nor_coremltools(zoo: Zoo) -> None:
    """The judge of the converter imports nothing of it; only the protobuf classes are read from its folder."""
    script = (
        "import sys; from pathlib import Path; import numpy as np; from runtime.mil import package;"
        "from runtime.mil.interpreter import Interpreter;"
        f"opened = package.open(Path({str(zoo.package('llama', 'prefill').path)!r}));"
        "made = Interpreter(opened);"
        "made.run({name: np.ones(shape, dtype) for name, shape, dtype in made.function.inputs});"
        "assert not {'torch', 'coremltools', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=package.__file__.rpartition("/runtime/")[0])

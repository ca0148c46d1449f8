#!/usr/bin/env bash
# coremltools, converting to float16, changes weights of small tensors: a number that float16 rounds to zero becomes the
# smallest number that float16 has, with its sign, wherever the tensor has fewer than 400 elements.
#
# Guess: a weight of a float16 package is the float16 rounding of the model's weight.
# Seen:  2.7e-8 rounds to 0 in float16 (half the step is 2.98e-8). In a bias of 399 numbers the package holds 5.96e-8 in
#        its place, and -5.96e-8 for -1e-9; in a bias of 400 numbers it holds 0 and -0. The pass that narrows
#        (`add_fp16_cast`) means to keep epsilons from vanishing and does not ask whether a constant is one. It matters to
#        whoever compares a package with its checkpoint element by element: a trained bias that happens to come close to
#        zero fails an exact comparison, and does so on the next run with other numbers.
# This project makes such weights zero before they are narrowed (`_settle_small` in runtime/mil/convert.py).
# Versions: coremltools 9.0, numpy 2.3.5, Python 3.11.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'coremltools==9.0' 'numpy==2.3.5' 'setuptools<81'
"$work/venv/bin/python" - <<'PY' 2>/dev/null
import coremltools as ct
import numpy as np
from coremltools.converters.mil import Builder as mb


def held(elements: int) -> list[float]:
    bias = np.linspace(1, 2, elements, dtype=np.float32)
    bias[:3] = 2.7e-8, -1e-9, 0.0

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, elements))], opset_version=ct.target.iOS18)
    def model(x):
        return mb.add(x=x, y=bias, name="out")

    made = ct.convert(
        model,
        convert_to="milinternal",
        compute_precision=ct.precision.FLOAT16,
        minimum_deployment_target=ct.target.iOS18,
    )
    values = [
        np.asarray(op.outputs[0].val)
        for op in made.functions["main"].operations
        if op.op_type == "const" and np.size(op.outputs[0].val) == elements
    ]
    assert len(values) == 1 and values[0].dtype == np.float16, values
    return [float(value) for value in values[0].ravel()[:3]]


print("399 elements:", held(399))
print("400 elements:", held(400))
smallest = float(np.nextafter(np.float16(0), np.float16(1)))
assert np.float16(2.7e-8) == 0
assert held(399) == [smallest, -smallest, 0.0]
assert held(400) == [0.0, 0.0, 0.0]
PY
echo "as described"

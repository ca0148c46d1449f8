#!/usr/bin/env bash
# Guess: a torch pool with ceil_mode=True keeps its output shape when converted (the op's text: "Same as PyTorch's ceil mode").
# Behaviour: where a window is smaller than the stride and nothing is padded, the package declares one window more than torch
#   has; it starts behind the last element. PyTorch drops such a window always, coremltools only where there is padding.
#   Nothing is said, and whatever comes after the pool gets another size.
# Versions: coremltools 9.0, torch 2.13.0, numpy 2.4.6, Python 3.11, Linux.
# Seen: "MaxPool2d(1, 2): torch (1, 1, 3, 3), package (1, 1, 4, 4)", "AvgPool2d(2, 3): torch (1, 1, 2, 2), package
#   (1, 1, 3, 3)", "MaxPool2d(3, 2): torch (1, 1, 3, 3), package (1, 1, 3, 3)"
# Why it costs: the conversion succeeds, the extra row and column are a maximum or mean of no element at all, and a network
#   that subsamples with MaxPool2d(1, 2, ceil_mode=True) is off by one from there on, for even sizes only.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 coremltools==9.0 numpy==2.4.6
"$work/venv/bin/python" - <<'PY' 2>/dev/null
import sys
import coremltools as ct, torch

x, differs = torch.randn(1, 1, 6, 6), []
for pool in (torch.nn.MaxPool2d(1, 2, ceil_mode=True), torch.nn.AvgPool2d(2, 3, ceil_mode=True), torch.nn.MaxPool2d(3, 2, ceil_mode=True)):
    model = ct.convert(torch.jit.trace(pool.eval(), x), inputs=[ct.TensorType(shape=x.shape)], minimum_deployment_target=ct.target.iOS18)
    (op,) = [op for op in model._mil_program.functions["main"].operations if op.op_type.endswith("_pool")]
    theirs, package = tuple(pool(x).shape), tuple(map(int, op.outputs[0].shape))
    print(f"{type(pool).__name__}({pool.kernel_size}, {pool.stride}): torch {theirs}, package {package}")
    differs.append(theirs != package)
sys.exit(differs != [True, True, False])
PY
# kcompiler's interpreter refuses such a pool by name (runtime/mil/ops/pooling.py): its result is not defined.

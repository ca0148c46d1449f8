#!/usr/bin/env bash
# Guess: `1 / x` in a torch module is `1 / x` in the package.
# Behaviour: it becomes the operator `inverse` with epsilon 1e-4, which computes 1 / (x + 1e-4); 1 / 1e-4 is 5000, not
#   10000. The rotary table `1.0 / theta ** k`, computed inside a graph, is wrong in its slow dimensions.
# Versions: coremltools 9.0, torch 2.13.0, numpy 2.4.6, Python 3.11, Linux.
# Seen: "inverse epsilon 0.0001", "1/1e-4 would be 5000"
# Why it costs: nothing warns, and at ordinary magnitudes (x near 1) the error is 1e-4, below every float16 tolerance.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 coremltools==9.0 numpy==2.4.6
"$work/venv/bin/python" - <<'PY' 2>/dev/null
import sys
import coremltools as ct, torch

class Reciprocal(torch.nn.Module):
    def forward(self, x):
        return 1.0 / x

program = torch.export.export(Reciprocal().eval(), (torch.ones(4),)).run_decompositions({})
model = ct.convert(program, minimum_deployment_target=ct.target.iOS18, compute_precision=ct.precision.FLOAT32)
ops = [op for op in model._mil_program.functions["main"].operations if op.op_type == "inverse"]
epsilon = float(ops[0].epsilon.val) if ops else 0.0
print(f"inverse epsilon {epsilon:g}")
print(f"1/1e-4 would be {1 / (1e-4 + epsilon):.0f}")
sys.exit(not ops or abs(epsilon - 1e-4) > 1e-9)
PY

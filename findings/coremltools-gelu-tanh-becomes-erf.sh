#!/usr/bin/env bash
# Guess: converting torch's gelu(approximate="tanh") keeps the tanh form, or refuses.
# Behaviour: on the torch.export path the keyword is dropped without a word and the package computes the erf form
#   (mode EXACT); on the torch.jit path it is kept (TANH_APPROXIMATION). Written out with pow(x, 3) it is recognised.
# Versions: coremltools 9.0, torch 2.13.0, numpy 2.4.6, Python 3.11, Linux.
# Seen: "torch.export: EXACT", "torch.jit: TANH_APPROXIMATION", "written out, torch.export: TANH_APPROXIMATION"
# Why it costs: the two forms differ by 5e-4 at most, so float16 tolerances pass, and every layer of a GPT-2-like model
#   ships another function than the one that was trained.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 coremltools==9.0 numpy==2.4.6
"$work/venv/bin/python" - <<'PY' 2>/dev/null
import math, sys
import coremltools as ct, torch

class Keyword(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.gelu(x, approximate="tanh")

class Written(torch.nn.Module):
    def forward(self, x):
        return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))

def mode(program, **more):
    model = ct.convert(program, minimum_deployment_target=ct.target.iOS18, **more)
    ops = model._mil_program.functions["main"].operations
    return [op.mode.val for op in ops if op.op_type == "gelu"]

x = torch.randn(1, 8)
exported = lambda m: torch.export.export(m.eval(), (x,)).run_decompositions({})
seen = {
    "torch.export": mode(exported(Keyword())),
    "torch.jit": mode(torch.jit.trace(Keyword().eval(), x), inputs=[ct.TensorType(shape=(1, 8))]),
    "written out, torch.export": mode(exported(Written())),
}
for path, modes in seen.items():
    print(f"{path}: {', '.join(modes)}")
sys.exit(seen != {"torch.export": ["EXACT"], "torch.jit": ["TANH_APPROXIMATION"], "written out, torch.export": ["TANH_APPROXIMATION"]})
PY

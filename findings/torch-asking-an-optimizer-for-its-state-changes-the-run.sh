#!/usr/bin/env bash
# Guess: torch.distributed.checkpoint's get_optimizer_state_dict only reads.
# Behaviour: for an AdamW that has not stepped yet it runs a step with learning rate 0 to create the state and leaves it
#   there: the next real step counts as the second one, and its bias correction is another (0.0744 instead of 0.1). With
#   gradients present at the call the answer is an empty state instead.
# Versions: torch 2.13.0 (CPU), Python 3.11.
# Seen: "first step, never asked: 0.1000", "first step after asking: 0.0744", "step counter after asking: 1"
# Why it costs: building a load template before the first step, as a resume does, changes the run that follows.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$work/venv/bin/python" - <<'PY' 2>/dev/null
import sys
import torch
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

def first(ask):
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 1.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.0)
    counter = None
    if ask:
        get_optimizer_state_dict(model, optimizer)
        counter = [float(s["step"]) for s in optimizer.state.values()]
    model(torch.ones(1, 1)).sum().backward()
    before = model.weight.item()
    optimizer.step()
    return before - model.weight.item(), counter

plain, _ = first(False)
asked, counter = first(True)
print(f"first step, never asked: {plain:.4f}")
print(f"first step after asking: {asked:.4f}")
print(f"step counter after asking: {counter[0]:.0f}")
sys.exit(not (abs(plain - 0.1) < 1e-3 and abs(asked - 0.0744) < 1e-3 and counter == [1.0]))
PY

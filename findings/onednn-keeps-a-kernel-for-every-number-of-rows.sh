#!/usr/bin/env bash
# Guess: a matrix product holds its operands, its result and some scratch space; the memory of a process that computes the
#   same layer again and again, on other numbers of rows, stays where it is.
# Behaviour: in bfloat16 on a CPU torch's linear layer goes through oneDNN, which makes a kernel for every shape. Two caches
#   keep them, each 1024 of them, however large; a training on sentences of many lengths fills both within minutes. The
#   variables LRU_CACHE_CAPACITY and ONEDNN_PRIMITIVE_CACHE_CAPACITY bound them and are read when the library is first used.
# Versions: torch 2.13.0 (its oneDNN 3.x), Python 3.11, x86-64 with AVX2 or more.
# Why it costs: it looks like a leak of the training loop, of which no profiler of tensors shows anything.
# Seen: "growth over 1000 numbers of rows: 956 MB as it is, 109 MB with both caches bounded to 64"; 496 and 532 MB with one.
# Here: both are set to 64 before the first product (runtime/train/linear.py).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q numpy==2.4.6 torch==2.13.0
cat > "$work/grow.py" <<'PY'
import torch

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

torch.set_num_threads(2)
layers = [torch.nn.Linear(i, o, bias=False).bfloat16() for i, o in ((256, 1024), (1024, 256), (512, 1536))]
with torch.no_grad():
    for layer in layers:
        layer(torch.zeros(2000, layer.in_features, dtype=torch.bfloat16))
    before = held()
    for rows in range(100, 1100):
        for layer in layers:
            layer(torch.zeros(rows, layer.in_features, dtype=torch.bfloat16))
print(f"{held() - before:.0f}")
PY
many=$("$work/venv/bin/python" "$work/grow.py")
few=$(LRU_CACHE_CAPACITY=64 ONEDNN_PRIMITIVE_CACHE_CAPACITY=64 "$work/venv/bin/python" "$work/grow.py")
echo "growth over 1000 numbers of rows: $many MB as it is, $few MB with both caches bounded to 64"
[ "$many" -gt $((3 * few)) ] && [ "$many" -gt 30 ]

#!/usr/bin/env bash
# Guess: the same tensors with the same metadata are the same file, so that a digest of it can be compared.
# Behaviour: with two entries of metadata or more, their order in the header changes from call to call, even in one process
#   (they pass through a hash map that is seeded anew each time). The tensors themselves are written in a fixed order.
# Versions: safetensors 0.8.0, torch 2.13.0, Python 3.11.
# Seen: "1 entry: 1 file", "3 entries: 6 files"
# Why it costs: content addressing, reproducible builds and resumed recordings see another artifact each time, and a file
#   with one entry, which is what Transformers writes, never shows it.
# Here: a shard's identity is one entry.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q safetensors==0.8.0 numpy==2.4.6 torch==2.13.0
"$work/venv/bin/python" - <<'PY'
import hashlib, sys
import torch
from safetensors.torch import save

def files(entries):
    about = {f"k{i}": str(i) for i in range(entries)}
    return len({hashlib.sha256(save({"a": torch.zeros(3)}, metadata=about)).hexdigest() for _ in range(200)})

one, three = files(1), files(3)
print(f"1 entry: {one} file")
print(f"3 entries: {three} files")
sys.exit((one, three) != (1, 6))
PY

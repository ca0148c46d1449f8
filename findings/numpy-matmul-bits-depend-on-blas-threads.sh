#!/usr/bin/env bash
# Guess: `a @ b` of the same float32 arrays gives the same bits on the same machine, whatever the environment.
# Behaviour: the wheel's OpenBLAS cuts a product among its threads and sums in another order: with one thread and with
#   two the last bits differ. Their number comes from OPENBLAS_NUM_THREADS (or OMP_NUM_THREADS), else from the cores
#   that the process may use, so that a container with another CPU limit gives other bits. Nothing tells.
# Versions: numpy 2.4.6 (OpenBLAS of its wheel), Python 3.11, Linux x86-64 with at least two cores.
# Seen: "1 thread: 2c795de1b46b", "2 threads: 9a203fdb88bb", "2 threads again: 9a203fdb88bb" (the digits differ by processor)
# Why it costs: a report, a cached artifact or a golden file with a digest of float results is not reproduced on the next
#   machine, under the same lock file and the same seed.
# Here: the number of numpy's threads is set to one before it is imported.
set -euo pipefail
[ "$(nproc)" -ge 2 ] || { echo "needs two cores"; exit 2; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q numpy==2.4.6
cat > "$work/product.py" <<'PY'
import hashlib
import numpy as np
rng = np.random.default_rng(0)
a = rng.standard_normal((64, 4096)).astype(np.float32)
b = rng.standard_normal((4096, 64)).astype(np.float32)
print(hashlib.sha256((a @ b).tobytes()).hexdigest()[:12])
PY
ask() { env -u OMP_NUM_THREADS OPENBLAS_NUM_THREADS="$1" "$work/venv/bin/python" "$work/product.py"; }
one=$(ask 1); two=$(ask 2); again=$(ask 2)
echo "1 thread: $one"; echo "2 threads: $two"; echo "2 threads again: $again"
[ "$one" != "$two" ] && [ "$two" = "$again" ]

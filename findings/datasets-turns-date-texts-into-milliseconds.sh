#!/usr/bin/env bash
# Guess: text that is read from JSON Lines and written back to JSON Lines is the same text.
# Behaviour: a field that holds "2024-05-01" in every row becomes a timestamp column on reading; `to_json` writes it as
#   epoch milliseconds, 1714521600000. And a key that first appears in the second row is dropped by `Dataset.from_list`.
# Versions: datasets 5.2.0, pyarrow 26.0.1, Python 3.11.
# Seen: "read: datetime", "written: {"id":1,"day":1714521600000}", "from_list columns: ['a']"
# Why it costs: tool calls and answers that carry dates are trained on as numbers, or lose a field, without a warning.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export HF_HOME="$work/hf" HF_HUB_OFFLINE=1
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q datasets==5.2.0 pyarrow==26.0.1
printf '{"id": 1, "day": "2024-05-01"}\n{"id": 2, "day": "2024-05-02"}\n' > "$work/rows.jsonl"
"$work/venv/bin/python" - "$work" <<'PY' 2>/dev/null
import sys
from datasets import Dataset, load_dataset

work = sys.argv[1]
rows = load_dataset("json", data_files=f"{work}/rows.jsonl", split="train")
print(f"read: {type(rows[0]['day']).__name__}")
rows.to_json(f"{work}/out.jsonl")
first = open(f"{work}/out.jsonl").readline().strip()
print(f"written: {first}")
columns = Dataset.from_list([{"a": 1}, {"a": 2, "b": 3}]).column_names
print(f"from_list columns: {columns}")
sys.exit(not ("1714521600000" in first and columns == ["a"]))
PY

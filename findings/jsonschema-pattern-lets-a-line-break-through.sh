#!/usr/bin/env bash
# Guess: `pattern: ^[0-9]+$` accepts digits and nothing else.
# Behaviour: patterns are searched with Python's `re`, where `$` also matches before a line break at the end, and `\d`
#   any decimal digit of Unicode. JSON Schema names ECMA-262, where neither is so (a browser's validator refuses both).
# Versions: jsonschema 4.26.0, Python 3.11.
# Seen: "^[0-9]+$ on '12\n': valid", "^\d+$ on '١٢': valid", "^[0-9]+$ on '12\n3': invalid"
# Why it costs: a text that was validated as an identifier breaks the line it is written into, and two validators of one
#   schema disagree about the same instance.
# Here: patterns of tools are translated to what ECMA-262 means before they are asked.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q jsonschema==4.26.0
"$work/venv/bin/python" - <<'PY'
import sys
from jsonschema import Draft202012Validator as V

def ask(pattern, text):
    said = "valid" if V({"type": "string", "pattern": pattern}).is_valid(text) else "invalid"
    print(f"{pattern} on {text!r}: {said}")
    return said

asked = [ask("^[0-9]+$", "12\n"), ask(r"^\d+$", "\u0661\u0662"), ask("^[0-9]+$", "12\n3")]
sys.exit(asked != ["valid", "valid", "invalid"])
PY

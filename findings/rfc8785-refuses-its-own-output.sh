#!/usr/bin/env bash
# Guess: canonical JSON is a fixed point: writing, reading and writing again gives the same bytes.
# Behaviour: a float of 1e16 is written as 10000000000000000, as RFC 8785 asks (ECMAScript writes no exponent below
#   1e21). Python's json reads that as an integer, and integers beyond 2**53 - 1 are refused: IntegerDomainError.
# Versions: rfc8785 0.1.4, Python 3.11.
# Seen: "1e16 is written as 10000000000000000", "read again it is int", "written again: IntegerDomainError"
# Why it costs: a document that was signed or hashed in canonical form cannot be canonicalised by whoever receives it, and
#   the fault lies in one field of one row.
# Here: an integer beyond 2**53 - 1 is read as the double whose canonical form it is, and refused when it is none.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q rfc8785==0.1.4
"$work/venv/bin/python" - <<'PY'
import json, sys
import rfc8785

written = rfc8785.dumps(1e16)
again = json.loads(written)
try:
    rfc8785.dumps(again)
    said = "accepted"
except rfc8785.CanonicalizationError as error:
    said = type(error).__name__
print(f"1e16 is written as {written.decode()}")
print(f"read again it is {type(again).__name__}")
print(f"written again: {said}")
sys.exit((written, type(again), said) != (b"10000000000000000", int, "IntegerDomainError"))
PY

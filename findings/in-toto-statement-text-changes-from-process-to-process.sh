#!/usr/bin/env bash
# Guess: one attestation statement has one JSON text, so its bytes can be signed, stored and compared.
# Behaviour: the Python bindings keep the predicate in a protobuf Struct; the order of its keys, and of a subject's
#   digests, differs from process to process, whole numbers come back as floats (3 as 3.0), and 2^53 + 1 loses its last bit.
# Versions: in-toto-attestation 0.9.3, protobuf 7.36.2, Python 3.11.
# Seen: "8 processes, 8 texts", "\"n\": 9007199254740992.0"
# Why it costs: a signature over what the library prints cannot be recomputed from the same statement later.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q in-toto-attestation==0.9.3 protobuf==7.36.2
cat > "$work/state.py" <<'PY'
from google.protobuf.json_format import MessageToJson
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement

subject = ResourceDescriptor(name="a", digest={name: "00" for name in ("sha256", "sha384", "sha512", "sha1", "md5")}).pb
predicate = {"n": 9007199254740993, **{name: 1 for name in "abcdefgh"}}
statement = Statement([subject], "https://example.org/predicate/v1", predicate)
print(MessageToJson(statement.pb, indent=None))
PY
for _ in 1 2 3 4 5 6 7 8; do "$work/venv/bin/python" "$work/state.py"; done > "$work/texts"
texts=$(sort -u "$work/texts" | wc -l)
number=$(grep -o '"n": *[0-9.]*' "$work/texts" | sort -u)
echo "8 processes, $texts texts"; echo "$number"
[ "$texts" -gt 1 ] && [ "${number#*: }" = "9007199254740992.0" ]

#!/usr/bin/env bash
# Guess: FormatChecker() asserts `format: date-time`, or says that it cannot.
# Behaviour: without extra packages "yesterday" is a valid date-time, silently; installing any distribution that happens
#   to bring rfc3339-validator turns the assertion on. One schema and one instance: two answers on two machines.
# Versions: jsonschema 4.26.0, rfc3339-validator 0.1.4, Python 3.11.
# Seen: "alone: valid", "with a neighbour: 'yesterday' is not a 'date-time'"
# Why it costs: a validity rate measured in one environment is another number in the next, under the same lock file.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q jsonschema==4.26.0
ask='
from jsonschema import Draft202012Validator as V, FormatChecker
errors = list(V({"type": "string", "format": "date-time"}, format_checker=FormatChecker()).iter_errors("yesterday"))
print(errors[0].message if errors else "valid")'
alone=$("$work/venv/bin/python" -c "$ask")
"$work/venv/bin/pip" install -q rfc3339-validator==0.1.4
beside=$("$work/venv/bin/python" -c "$ask")
echo "alone: $alone"; echo "with a neighbour: $beside"
[ "$alone" = valid ] && [ "$beside" = "'yesterday' is not a 'date-time'" ]

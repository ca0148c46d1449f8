#!/usr/bin/env bash
# Guess: `parallel_function_checker_no_order` takes the expected calls in any order.
# Behaviour: it goes through the answers and takes the first call that fits each. Where one answer accepts more than
#   another, the first takes the call that only the second could use, and a right set of calls is wrong by its order alone.
# Versions: bfcl-eval 2026.3.23 (its checker alone; the questions are two of the published form).
# Seen: "as listed: True", "the other way round: False"
# Why it costs: a model is right or wrong by the order in which it writes calls that have none; of the 200 questions of
#   `parallel` one (parallel_178) has such answers.
# Here: calls are assigned to wanted ones so that as many as possible are right.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# its dependencies are the clients of every vendor, and the checker needs none of them
"$work/venv/bin/pip" install -q --no-deps bfcl-eval==2026.3.23
"$work/venv/bin/python" - <<'PY'
import sys, types

def stub(name, **has):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(has)

stub("bfcl_eval.constants.model_config", MODEL_CONFIG_MAPPING={"m": types.SimpleNamespace(underscore_to_dot=False)})
for language in ("java", "js"):
    kind = f"{language}_type_converter"
    stub(f"bfcl_eval.eval_checker.ast_eval.type_convertor.{kind}", **{kind: None})
from bfcl_eval.constants.enums import Language
from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

price = {"name": "price", "parameters": {"properties": {"of": {"type": "string"}}, "required": ["of"]}}
answers = [{"price": {"of": ["Microsoft", "Apple"]}}, {"price": {"of": ["Apple"]}}]
calls = [{"price": {"of": "Microsoft"}}, {"price": {"of": "Apple"}}]

def ask(said, made):
    valid = ast_checker([price], made, answers, Language.PYTHON, "parallel", "m")["valid"]
    print(f"{said}: {valid}")
    return valid

sys.exit([ask("as listed", calls), ask("the other way round", calls[::-1])] != [True, False])
PY

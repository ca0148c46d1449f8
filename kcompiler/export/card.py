"""Facts → README.md, a Hugging Face model card: every number in its head and its text is a datum of a report.

https://huggingface.co/docs/hub/model-cards. `model-index` has each number with its interval, its counts and the digest
of its report under `args`. Licence and language of the model are for its makers to say, and are not in here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from kcompiler.deliver.card import shown
from kcompiler.export.facts import MODELS, Facts
from kcompiler.export.measures import Measure, measures

_CHECK = """\
```sh
kcompiler audit . --key ALLOWED_SIGNERS                  # every file here, from the evidence
python3 -m zipfile -e evidence.zip evidence              # or the evidence alone, with nothing but Python
python3 -I evidence/verify.py evidence.zip --key ALLOWED_SIGNERS
```
"""
_ARGS = ("unit", "n", "k", "low", "high", "confidence")


def card(facts: Facts) -> str:
    """The text."""
    found = list(measures(facts))
    head = yaml.safe_dump(_head(facts, found), sort_keys=True, allow_unicode=True, default_flow_style=False, width=120)
    return f"---\n{head}---\n\n" + "\n".join(_body(facts, found))


def _head(facts: Facts, found: Sequence[Measure]) -> dict[str, Any]:
    head: dict[str, Any] = {
        "model_name": facts.name,
        "pipeline_tag": "text-generation",
        "tags": ["kcompiler", "knowledge-distillation"],
    }
    if any(place.endswith("/package") for place in facts.artifacts("package")):
        head["library_name"] = "coreml"
    if found:
        head["model-index"] = [{"name": facts.name, "results": [*_results(found)]}]
    return head


def _results(found: Sequence[Measure]) -> Iterator[dict[str, Any]]:
    for step in dict.fromkeys(one.step for one in found):
        mine = [one for one in found if one.step == step]
        dataset = {"name": step, "type": mine[0].kind, "args": {"report": mine[0].report}}
        if mine[0].dataset:
            dataset["revision"] = mine[0].dataset
        metrics = [
            {
                "type": one.path,
                "name": f"{one.path} of {step}",
                "value": one.datum["value"],
                "args": {name: one.datum[name] for name in _ARGS if name in one.datum},
            }
            for one in mine
        ]
        yield {"task": {"type": "text-generation"}, "dataset": dataset, "metrics": metrics}


def _body(facts: Facts, found: Sequence[Measure]) -> Iterator[str]:
    yield f"# {_text(facts.name)}\n"
    yield f"Verdict **{facts.verdict['verdict']}**, recomputed from `evidence.zip`. Plan `{facts.digest}`.\n"
    yield "## Measured\n"
    rows = [[_text(one.step), _text(one.path), shown(one.datum), f"`{one.report[7:19]}`"] for one in found]
    yield from _table(["evaluation", "what", "found", "report"], rows) if rows else ["Nothing was measured.\n"]
    yield "## Gates\n"
    outcomes = facts.verdict["outcomes"]
    gates = [[_text(one["rule"]), _text(one["step"]), one["outcome"], _text(one["threshold"])] for one in outcomes]
    yield from _table(["rule", "step", "outcome", "asked"], gates)
    yield "## Made of\n"
    inputs = [[_text(one["name"]), _text(one["path"]), _text(one["license"])] for one in facts.plan["inputs"]]
    yield from _table(["input", "path", "licence"], inputs) if inputs else ["No input from outside.\n"]
    yield "## Models\n"
    models = [[_text(place), f"`{artifact}`"] for place, artifact in facts.artifacts(*MODELS).items()]
    yield from _table(["artifact", "tree"], models) if models else ["None was made.\n"]
    yield "## Check it\n"
    yield _CHECK


def _text(value: object) -> str:
    line = " ".join(str(value).split())
    for sign in "\\`*_[]<>|#":
        line = line.replace(sign, f"\\{sign}")
    return line


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return ["\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"]

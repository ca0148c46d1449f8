"""Reports × verdict × contract → README.md of a delivery. Each number in it is a datum of a report, rounded for people.

What a spec says of its student is no measurement and is left out; so is what the run cost, which is no property of the
model and differs from run to run (evidence/run.json has it).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kcompiler.deliver.choose import Chosen, Form
from kcompiler.render.human_run import datums
from runtime.contract.delivery import Contract
from runtime.contract.ondevice import KIND as DEVICE
from runtime.contract.targets import TARGETS

_USE = """\
```sh
sha256sum -c SHA256SUMS                        # macOS: shasum -a 256 -c SHA256SUMS
python hosts/python/host.py "your question"    # the package itself
kcompiler gate evidence/reports/*.json evidence/run.json --lock evidence/plan.lock    # judges the evidence again
```

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

words, model = AutoTokenizer.from_pretrained("huggingface"), AutoModelForCausalLM.from_pretrained("huggingface")
asked = [{"role": "user", "content": "your question"}]
ids = words.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
print(words.decode(model.generate(**ids)[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))
```
"""


def card(
    contract: Contract,
    chosen: Chosen,
    reports: Mapping[str, Mapping[str, Any]],
    verdict: Mapping[str, Any],
    others: Sequence[Form] = (),
) -> str:
    """The text; `reports` maps a step to its report, and only the steps of `chosen` are spoken of. `others` are further
    forms of the model, packed or not."""
    about = {key: report for key, report in sorted(reports.items()) if report["step"] in chosen.steps}
    parts = [
        f"# {_text(contract.name)}\n",
        f"A `{contract.model_type}` language model, as Core ML packages and as a Transformers folder. Its evidence was "
        f"recomputed before it was packed: verdict **{verdict['verdict']}**.\n",
        "## Use\n",
        _USE,
        "`contract.json` is what an app needs: functions, shapes, types, cache, stop tokens.\n",
        "## Packages\n",
        *_packages(about[chosen.convert], contract),
        *_others(others),
        "## How near the packages are to the checkpoint\n",
        *_parity(about[chosen.verify]),
        *_device(about),
        "## What it was judged on\n",
        *_evaluations(about),
        "## Gates\n",
        *_gates(verdict, about),
        "## Data\n",
        *_data(about),
        "## What is not known\n",
        *_unknown(about),
    ]
    return "\n".join(parts)


def _text(value: object) -> str:
    """A text of a report as one line of Markdown that means nothing else."""
    line = " ".join(str(value).split())
    for sign in "\\`*_[]<>|#":
        line = line.replace(sign, f"\\{sign}")
    return line


#: digits that people read, and decimals that a number close to 1 may take until it shows some of what it lacks
_DIGITS, _DECIMALS = 4, 9
_WRITTEN = re.compile(r"-?[0-9]+\.[0-9]+(?:e-?[0-9]+)?\Z")


def number(value: object) -> str:
    """A value as people read it: whole numbers as they are, others by their leading digits. What is below 1 is never
    written as 1, so that a cosine does not look better than it is."""
    if not isinstance(value, float):
        return json.dumps(value, ensure_ascii=False)
    if not 0.5 < value < 1.0:
        return f"{value:.{_DIGITS}g}"
    lacks = -math.floor(math.log10(1.0 - value))
    places = min(_DECIMALS, max(_DIGITS, lacks + _DIGITS - 2))
    return f"{min(round(value, places), 1.0 - 10.0**-_DECIMALS):.{places}f}".rstrip("0")


def observed(text: str) -> str:
    """What a rule saw, with its number rounded where it is one."""
    return number(float(text)) if _WRITTEN.match(text) else _text(text)


def shown(datum: Mapping[str, Any]) -> str:
    """A datum with its unit, interval and counts."""
    if datum["tag"] == "unavailable":
        return f"unavailable: {_text(datum.get('reason', ''))}"
    parts = [number(datum["value"])]
    if datum["unit"] not in ("ratio", "bool", "1"):
        parts.append(_text(datum["unit"]))
    if "low" in datum and "high" in datum:
        parts.append(f"from {number(datum['low'])} to {number(datum['high'])}")
    if "k" in datum:
        parts.append(f"({number(datum['k'])} of {number(datum['n'])})")
    elif "n" in datum:
        parts.append(f"(n = {number(datum['n'])})")
    return " ".join([*parts, *(["estimated"] if datum["tag"] == "estimated" else [])])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return ["\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"]


def _form(asked: Mapping[str, Any]) -> Iterator[str]:
    """How one tensor is stored: int4, per_block, 32."""
    yield asked["weights"]
    if asked["weights"] != "fp16":
        yield asked["granularity"]
        yield from (number(asked[size]["value"]) for size in ("block", "group", "density") if size in asked)


def _packages(report: Mapping[str, Any], contract: Contract) -> Iterator[str]:
    data = report["data"]
    sizes = {one["variant"]: one["bytes"] for one in data["packages"]}
    # the report has one size a variant, however many packages it is
    split = any(one.part for one in contract.packages)
    rows = [
        [f"`{one.path}`", one.precision, f"{one.bytes} byte" if split else shown(sizes[one.precision])]
        for one in contract.packages
    ]
    yield from _table(["package", "precision", "size"], rows)
    if data["strategy"] == "enumerated" and len(contract.prefills()) > 1:
        lengths = " or ".join(str(length) for _, length in contract.prefills())
        yield f"One function runs every prefill: it takes `input_ids` of {lengths} tokens (EnumeratedShapes) alone. "
    yield f"Parameters: {shown(data['parameters'])}. Quantized: {shown(data['quantized_parameters'])}. "
    forms = Counter(" ".join(_text(part) for part in _form(one)) for one in data["requested"])
    yield "Stored: " + ", ".join(f"{count} tensors as {form}" for form, count in sorted(forms.items())) + ". "
    if data.get("activations"):
        yield f"Layers of the quantized package that read int8 (W8A8): {len(data['activations'])}. "
    target = TARGETS.get(data["deployment"])
    yield f"Made for {_text(data['deployment'])} and later{f': {target.systems}' if target else ''}.\n"
    if contract.authoring is not None:
        made = [*contract.authoring.masks, *(name for one in contract.authoring.turns for name in (one.cos, one.sin))]
        yield (
            f"Written for the Neural Engine: a host feeds {', '.join(f'`{name}`' for name in made)} beside the ids and "
            "caches, masks and angles that it makes of the padding or the position as `authoring` in `contract.json` "
            "says, and as both hosts here do.\n"
        )


#: kind of another form → how it is used
_FORMS: Mapping[str, str] = {
    "onnx": "one file for each function and one of weights, for onnxruntime and for looking closer",
    "gguf": "for llama.cpp; where there is a Modelfile, `ollama create NAME -f Modelfile` in that folder",
}


def _others(forms: Sequence[Form]) -> Iterator[str]:
    """What else of the model is here, and what was made and is not."""
    if forms:
        rows = [
            [f"`{one.folder}/`" if not one.lacks else "left out", one.kind, one.lacks or _FORMS[one.kind]]
            for one in forms
        ]
        yield from _table(["other form", "kind", "use"], rows)


#: datum of the report on parity → its column
_PARITY: Mapping[str, str] = {
    "cosine": "cosine",
    "relative_error": "relative error",
    "kl": "KL of the next token",
    "top1_agreement": "same next token",
}


def _parity(report: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        [variant["variant"], _text(name), *(shown(found[what]) for what in _PARITY)]
        for variant in report["data"]["variants"]
        for name, found in [*((one["function"], one) for one in variant["shapes"]), ("decode", variant["decode"])]
    ]
    yield from _table(["precision", "function", *_PARITY.values()], rows)
    if trained := report["data"].get("trained"):
        yield (
            f"The checkpoint was trained with rounded weights (quantization-aware training) and has them: the package "
            f"holds {number(trained['k'])} of {number(trained['n'])} matrices as they were trained, bit for bit.\n"
        )
    yield (
        f"Attested at level {_text(report['data']['attestation'])}: the saved packages were executed by an interpreter "
        "of their programs, which says nothing of a device's own kernels, and of how fast they are.\n"
    )


def _device(reports: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What a Mac measured, where the plan took that in."""
    for report in reports.values():
        if report["kind"] != DEVICE:
            continue
        data = report["data"]
        where = f"{_text(data['machine']['processor'])}, macOS {_text(data['machine']['release'])}"
        yield (
            f"On {where} ({_text(data['units'])}) its `{data['package']['precision']}` package was run by Core ML: "
            f"level {shown(data['level'])}, on the accelerators {shown(data['residency']['on_target'])}, decode "
            f"{shown(data['latency']['decode'])}.\n"
        )


def _evaluations(reports: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    found = False
    for step, report in reports.items():
        if not str(report["kind"]).startswith("eval."):
            continue
        found = True
        rows = [[_text(path), shown(datum)] for path, datum in datums(report["data"], depth=2)]
        yield f"### {_text(step)}\n"
        yield from _table(["what", "found"], rows)
    if not found:
        yield "Nothing but its likeness to the checkpoint it was made from.\n"


def _gates(verdict: Mapping[str, Any], reports: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    rows = [
        [
            _text(one["rule"]),
            _text(one["step"]),
            one["outcome"],
            observed(str(one["observed"])),
            _text(one["threshold"]),
        ]
        for one in verdict["outcomes"]
        if one["step"] in reports
    ]
    yield from _table(["rule", "step", "outcome", "observed", "asked"], rows)
    yield (
        "Numbers are rounded here; `evidence/` has all their digits. What the run may cost was judged, too: "
        "`evidence/verdict.json`.\n"
    )


def _data(reports: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    rows = [
        [_text(name), _text(source["license"]), _text(split), shown(datum)]
        for report in reports.values()
        if report["kind"] == "data.splits"
        for name, source in sorted(report["data"]["sources"].items())
        for split, datum in sorted(source["rows"].items())
    ]
    yield from _table(["source", "licence", "split", "rows"], rows)
    yield "`sbom.cdx.json` lists the licences of every model and data set that went into it, and the toolchain.\n"


def _unknown(reports: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Every datum that could not be had."""
    rows = [
        [_text(step), _text(path), _text(datum.get("reason", ""))]
        for step, report in reports.items()
        for path, datum in datums(report["data"], depth=4)
        if datum["tag"] == "unavailable"
    ]
    if rows:
        yield from _table(["step", "what", "why"], rows)
    if not any(report["kind"] == DEVICE for report in reports.values()):
        yield "Latency and placement on a device: no step of this plan is about one.\n"

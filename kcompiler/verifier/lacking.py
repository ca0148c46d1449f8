"""Plan × a report over a package's functions → what it lacks of the prompts, positions and layers asked for. Standard
library only.

Written again, after `runtime.contract.lacking` and `runtime.contract.covering`: what they say in sentences is a word
here.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Tuple

Data = Mapping[str, Any]
_EXACT = {"float32": "exact32"}
_FORMS = ("float32", "fp16", "quantized")


def _cases(asked: Data) -> Dict[str, int]:
    """Function → golden cases."""
    found: Dict[str, int] = {}
    prompts, edges, below = asked["golden_prompts"], 0, 0
    for length in sorted(asked["prefill"]):
        end = min(length, asked["decode_context"] - asked["decode_steps"])
        around = len({at for at in (1, below + 1, end - 1, end) if 0 < at <= end})
        found[f"prefill_{length}"] = prompts + 1 + around
        edges, below = edges + around, length
    found["decode"] = prompts + edges
    return found


def _least(asked: Data, name: str, cases: int) -> int:
    if name == "decode":
        return cases * int(asked["decode_steps"])
    return int(name[len("prefill_") :]) + cases - 1


def _own(asked: Data, name: str, cases: int) -> int:
    """Without the decodes that start from a prefill."""
    return cases if name == "decode" else asked["golden_prompts"] + 1


def _layers(asked: Data) -> List[str]:
    return [f"layer_{at}" for at in range(asked["layers"])]


def _short(datum: Data, least: int) -> bool:
    return bool(datum["tag"] == "unavailable" or datum.get("n", 0) < least)


def _forms(asked: Data, data: Data) -> Iterator[str]:
    meant = [(form, _EXACT.get(form) or asked["mode"]) for form in _FORMS]
    if sorted((one["variant"], one["mode"]) for one in data["variants"]) != sorted(meant):
        yield "forms"


def parity(asked: Data, data: Data) -> Iterator[str]:
    yield from _forms(asked, data)
    for variant in data["variants"]:
        yield from compared(asked, variant["variant"], variant)
        every = [*variant["shapes"], variant["decode"]]
        if any(_short(section["shape_mismatches"], asked["layers"]) for section in every):
            yield f"{variant['variant']}: values"
    yield from _read_back(asked, data)


def compared(asked: Data, where: str, data: Data) -> Iterator[str]:
    """Of one form, or of one run."""
    cases = _cases(asked)
    prefills = sorted(set(cases) - {"decode"})
    sections, decode = list(data["shapes"]), data["decode"]
    if sorted(one["function"] for one in sections) != prefills:
        yield f"{where}: functions"
    named: List[Tuple[str, Data]] = [(one["function"], one) for one in sections if one["function"] in cases]
    for name, section in [*named, ("decode", decode)]:
        yield from _section(asked, f"{where}/{name}", name, section, cases[name])
    steps = cases["decode"] * asked["decode_steps"]
    if sorted(decode["starts"]) != prefills or decode["steps"]["value"] < steps:
        yield f"{where}: decode"
    if _short(decode["diverged"], cases["decode"]) or _short(decode["greedy_agreement"], steps + cases["decode"]):
        yield f"{where}: tokens"


def _section(asked: Data, where: str, name: str, section: Data, cases: int) -> Iterator[str]:
    if section["covered"].get("n") != cases:
        yield f"{where}: covered"
    if [one["layer"] for one in section["cache"]] != _layers(asked):
        yield f"{where}: layers"
    numbers = [section[key] for key in ("cosine", "relative_error", "relative_l2")]
    sides = [one[side] for one in section["cache"] for side in ("keys", "values")]
    numbers += [side[key] for side in sides for key in ("cosine", "relative_error")]
    if any(_short(datum, cases) for datum in numbers):
        yield f"{where}: cases"
    said = section.get("heads", [])
    if [one["head"] for one in said] != sorted(asked.get("heads", [])):
        yield f"{where}: heads"
    if any(_short(one["relative_error"], cases) for one in said):
        yield f"{where}: heads"
    positions = ("cosine_worst_position", "kl", "top1_agreement", "top5_containment", "nan", "inf")
    if _short(section["all_zero"], cases):
        yield f"{where}: vectors"
    if any(_short(section[key], _least(asked, name, cases)) for key in positions):
        yield f"{where}: positions"
    if name != "decode" and f"prefill_{section['length']['value']}" != name:
        yield f"{where}: length"


def _read_back(asked: Data, data: Data) -> Iterator[str]:
    called, chunks = len(asked["prefill"]) + 1, asked.get("chunks", 1)
    saved = 2 * (2 if asked.get("strategy") == "enumerated" else called)
    if data["functions_present"].get("n") != 2 * called * chunks:
        yield "functions_present"
    if data["interface"]["violations"].get("n") != saved * chunks:
        yield "interface"
    if sorted(data["islands"]["declared"]) != sorted(asked["islands"]):
        yield "islands"
    norms = {"rms_norm": 2, "layer_norm": 1}
    least = sum(norms[kind] * asked["layers"] if kind in norms else 1 for kind in asked["islands"])
    looked = data["islands"]["violations"]
    if _short(looked, saved * least) or data["islands"]["operations"]["value"] != looked.get("n"):
        yield "islands: operations"
    recipe = asked["recipe"]
    quantized = any(one["weights"] != "fp16" for one in [recipe["default"], *recipe["rules"]])
    if quantized and (data["recipe"]["quantized_tensors"]["value"] or 0) < saved // 2:
        yield "recipe: quantized tensors"
    if _short(data["recipe"]["violations"], saved * 4 * asked["layers"]):
        yield "recipe: tensors"
    layers = asked.get("activations", [])
    if layers and data["activations"].get("n") != saved // 2 * len(layers):
        yield "activations: layers"
    matrices = asked.get("qat", [])
    if matrices and data["trained"].get("n") != len(matrices):
        yield "trained: matrices"


def ledger(asked: Data, data: Data) -> Iterator[str]:
    cases, layers = _cases(asked), _layers(asked)
    yield from _forms(asked, data)
    pages = [*data["variants"], data["delta"]]
    bad = 0
    for page in pages:
        form = page.get("variant", "delta")
        bound = asked[{"float32": "float32", "fp16": "float16"}.get(form, "quantized")]
        if sorted(one["function"] for one in page["functions"]) != sorted(cases):
            yield "functions"
        for one in page["functions"]:
            name = one["function"]
            if name not in cases:
                continue
            if one["covered"].get("n") != cases[name] or one["compared"].get("n") != len(layers) + 1:
                yield f"{name}: covered"
            if [block["block"] for block in one["blocks"]] != layers:
                yield f"{name}: blocks"
            least = _least(asked, name, _own(asked, name, cases[name]))
            said = [datum for block in [*one["blocks"], one["logits"]] for datum in block.values()]
            if any(isinstance(datum, dict) and _short(datum, least) for datum in said):
                yield f"{name}: positions"
            told = [(block["block"], block) for block in one["blocks"]] + [("logits", one["logits"])]
            values = [(block, numbers["relative_l2"]["value"]) for block, numbers in told]
            far = [block for block, value in values if value is None or value > bound]
            if one["first_bad"] != (far[0] if far else ""):
                yield f"{name}: first_bad"
            bad += one["first_bad"] != ""
    if data["bad"].get("n") != len(pages) * len(cases) or data["bad"]["value"] != bad:
        yield "bad"


def onnx(asked: Data, data: Data) -> Iterator[str]:
    cases = _cases(asked)
    if sorted(one["function"] for one in data["functions"]) != sorted(cases):
        yield "functions"
    for one in data["functions"]:
        name = one["function"]
        if name not in cases:
            continue
        if one["covered"].get("n") != cases[name]:
            yield f"{name}: covered"
        own = _own(asked, name, cases[name])
        for pair in ("onnx", "coreml", "between"):
            if any(_short(one[pair][key], own) for key in ("cosine", "relative_error", "cache_error")):
                yield f"{name}/{pair}: cases"
            if _short(one[pair]["top1_agreement"], _least(asked, name, own)):
                yield f"{name}/{pair}: positions"
    if data["apart"].get("n") != len(cases):
        yield "apart"

"""Saved packages × golden vectors × checkpoint → the report of what really ships.

The packages are opened from disk and executed by the reference interpreter: every enumerated shape and a decode of N
steps, float16 and quantized. What they store is read back and compared with recipe, islands, contract and checkpoint.
An op that is not modelled fails the step; numbers that are not finite are counted and make every comparison
`unavailable`. Attestation is L2 (interpreted): kernels, residency and latency of a device are not claimed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from runtime import digest
from runtime.contract import BrokenEvidence, Context
from runtime.contract import program as contracts
from runtime.contract import report as facts
from runtime.contract.recipe import BITS, Recipe
from runtime.mil import package as packages
from runtime.mil import readback
from runtime.mil.findings import Findings
from runtime.mil.headroom import tightest
from runtime.mil.loop import Loop, misshapen
from runtime.mil.numerics import Mode
from runtime.mil.parity import CACHE, Real, Tally
from runtime.mil.program import Function
from runtime.steps.verify import VerifyParams

ATTESTATION = "L2"
MAX_LISTED = 50
Array: TypeAlias = NDArray[Any]
Tensors: TypeAlias = Mapping[str, Array]
#: function → its golden cases
Index: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]


def _real(value: Array) -> Real:
    return value.astype(np.float64)


@dataclass
class _Watched:
    """What was seen while a function ran: the interpreter's findings, and how many outputs were not as declared."""

    runs: list[Findings] = field(default_factory=list)
    misshapen: int = 0


def _health(function: Function, seen: _Watched) -> dict[str, Any]:
    """What the interpreter watched while a function ran, padding included."""
    runs = seen.runs
    if not runs or not all(run.checked for run in runs):
        names = ("shape_mismatches", "nan_introduced", "saturated", "headroom")
        return {name: facts.unavailable("no checked run", "value") for name in names}
    mismatches = {(item.value, item.what) for run in runs for item in run.mismatches}
    peak = tightest(function, runs)
    health = {
        "shape_mismatches": facts.measured(len(mismatches) + seen.misshapen, "value", n=len(function.types)),
        "nan_introduced": facts.measured(sum(count for run in runs for *_, count in run.nan), "element"),
        "saturated": facts.measured(
            sum(count for run in runs for *_, count in (*run.saturated, *run.out_of_range)), "element"
        ),
        "headroom": facts.measured(peak.headroom, "1") if peak else facts.unavailable("no float16 value", "1"),
        "headroom_at": peak.op_name if peak else "",
        "first_trouble": next((run.first for run in runs if run.first), ""),
    }
    return health


def _padded(loop: Loop, name: str, cases: Sequence[Mapping[str, Any]], goldens: Tensors, tally: Tally) -> _Watched:
    """One prefill function over its own golden cases; only real positions are compared."""
    declared, seen = loop.contract.functions[name], _Watched()
    for case in cases:
        at, real = f"{name}/{case['case']}", int(case["length"])
        result = loop.prefill(name, goldens[f"{at}/input_ids"][0, :real].tolist())
        seen.runs.append(result.findings)
        wrong = misshapen(result.outputs, declared)
        seen.misshapen += len(wrong)
        if wrong:
            continue
        tally.logits(_real(goldens[f"{at}/logits"][0]), _real(result.outputs["logits"][0, :real]))
        for output in CACHE:
            tally.cache(output, _real(goldens[f"{at}/{output}"]), _real(result.outputs[output][:, :, :real]))
    return seen


@dataclass
class _Decoded:
    """The golden decodes of one package: what they gave, and the tallies of the functions they started from."""

    tally: Tally
    starts: Mapping[str, Tally]
    seen: _Watched = field(default_factory=_Watched)
    same: int = 0
    tokens: int = 0
    divergences: list[int] = field(default_factory=list)

    def add(self, loop: Loop, case: Mapping[str, Any], goldens: Tensors) -> None:
        """One case: teacher-forced for the numbers, free-running for the tokens. The prompt's logits and cache are the
        prefill's; what the steps gave is the decode's."""
        at, start, steps = f"decode/{case['case']}", str(case["start"]), int(case["steps"])
        prompt, tokens = goldens[f"{at}/prompt"][0].tolist(), goldens[f"{at}/tokens"].tolist()
        forced = loop.decode(prompt, steps, tokens, start=start)
        self.seen.runs += forced.findings
        wanted, found = _real(goldens[f"{at}/logits"]), _real(np.stack(forced.logits))
        self.starts[start].logits(wanted[:1], found[:1])
        self.tally.logits(wanted[1:], found[1:])
        for name, held in zip(CACHE, (forced.keys, forced.values), strict=True):
            reference = _real(goldens[f"{at}/{name}"])
            read, written = slice(0, len(prompt)), slice(len(prompt), len(prompt) + steps)
            self.starts[start].cache(name, reference[:, :, read], _real(held[:, :, read]))
            self.tally.cache(name, reference[:, :, written], _real(held[:, :, written]))
        # until they part, the free run reads what the forced one read
        free = forced.tokens if forced.tokens == tokens else loop.decode(prompt, steps, start=start).tokens
        equal = [mine == wanted for mine, wanted in zip(free, tokens, strict=True)]
        self.same, self.tokens = self.same + sum(equal), self.tokens + len(equal)
        self.divergences += [equal.index(False)] if not all(equal) else []


def coverage(contract: contracts.Contract, index: Index, prompts: int, steps: int) -> dict[str, tuple[int, int]]:
    """Function → (golden cases that are there, cases that are asked for: of each
    function so many prompts, of each decode so many steps).

    A prefill has so many padded prompts, one prompt that fills it, and a decode from each of its edges; the decode has
    all of those decodes and one of each prompt.
    """
    long = [case for case in index["decode"] if int(case["steps"]) >= steps]
    cases = {(str(case["start"]), int(case["prompt_tokens"])) for case in long}
    prefills = contract.prefills()
    edges = contracts.edges([length for _, length in prefills], contract.kv_cache.context, steps)
    found: dict[str, tuple[int, int]] = {}
    met = 0
    for name, length in prefills:
        real = [int(case["length"]) for case in index[name]]
        padded = min(sum(size < length for size in real), prompts)
        started = sum((name, prompt) in cases for prompt in edges[length])
        met += started
        found[name] = (padded + (length in real) + started, prompts + 1 + len(edges[length]))
    wanted = prompts + sum(map(len, edges.values()))
    others = len({(case["start"], case["case"]) for case in long}) - met
    return {**found, "decode": (met + min(others, prompts), wanted)}


def compared(loop: Loop, index: Index, goldens: Tensors, params: VerifyParams) -> dict[str, Any]:
    """One package over all golden cases: sections `shapes` and `decode` of its part of the report."""
    contract, layers = loop.contract, loop.contract.kv_cache.layers
    counts = coverage(contract, index, params.golden_prompts, params.decode_steps)
    covered = {name: facts.rate(*found) for name, found in counts.items()}
    starts = {name: Tally(layers) for name, _ in contract.prefills()}
    seen = {name: _padded(loop, name, index[name], goldens, tally) for name, tally in starts.items()}
    decode = _Decoded(Tally(layers), starts)
    ran = [case for case in index["decode"] if not seen[str(case["start"])].misshapen]
    for case in ran:
        decode.add(loop, case, goldens)
    shapes = [
        {
            "function": name,
            "length": facts.measured(contract.functions[name].length, "token"),
            "covered": covered[name],
            **tally.data(),
            **_health(loop.functions[name].function, seen[name]),
        }
        for name, tally in starts.items()
    ]
    parted = decode.divergences
    return {
        "shapes": shapes,
        "decode": {
            "covered": covered["decode"],
            "starts": sorted({str(case["start"]) for case in ran}),
            "steps": facts.measured(sum(int(case["steps"]) for case in ran), "step"),
            **decode.tally.data(),
            "greedy_agreement": facts.rate(decode.same, decode.tokens),
            "diverged": facts.rate(len(parted), len(ran)),
            "first_divergence": facts.measured(min(parted), "step")
            if parted
            else facts.unavailable("no decode diverged", "step"),
            **_health(loop.functions["decode"].function, decode.seen),
        },
    }


def goldens_of(folder: Path, contract: contracts.Contract) -> tuple[dict[str, list[dict[str, Any]]], Tensors]:
    """(cases by function, tensors). Raises BrokenEvidence when a function of the contract has no case."""
    index = json.loads((folder / "goldens.json").read_text(encoding="utf-8"))["functions"]
    for name in contract.functions:
        if not index.get(name):
            raise BrokenEvidence(f"no golden vectors for function {name}", subject="goldens.json")
    return index, load_file(folder / "goldens.safetensors")


def _provenance(contract: contracts.Contract, params: VerifyParams, digests: Mapping[str, str]) -> list[str]:
    """Why the package is not the one these inputs ask for; empty when it is."""
    made, problems = contract.package, []
    if made is None:
        return ["contract.json is a program's, not a package's"]
    if made.recipe_sha256 != facts.hex_of(digest.of_value(params.recipe.model_dump(mode="json"), "kc.recipe.v1")):
        problems.append("the package was made with another recipe")
    if sorted(made.islands) != sorted(params.islands):
        problems.append(f"the package was made with islands {made.islands}")
    for name, held, port in (
        ("checkpoint", contract.model_sha256, "checkpoint"),
        ("tokenizer", contract.tokenizer_sha256, "tokenizer"),
    ):
        if held != facts.hex_of(digests[port]):
            problems.append(f"the package was made from another {name}")
    return problems


def _listed(findings: Mapping[str, Sequence[readback.Finding]]) -> list[dict[str, str]]:
    every = [{"variant": variant, **asdict(item)} for variant, items in findings.items() for item in items]
    return every[:MAX_LISTED]


def _violations(findings: Mapping[str, Sequence[readback.Finding]], checked: int, unit: str) -> dict[str, Any]:
    return facts.measured(sum(len(items) for items in findings.values()), unit, n=checked)


def read_back(
    opened: Mapping[str, packages.Package],
    contract: contracts.Contract,
    recipes: Mapping[str, Recipe | None],
    islands: Sequence[str],
    checkpoint: Tensors,
) -> dict[str, Any]:
    """Sections `recipe`, `islands` and `interface` of the report, over both packages."""
    recipe = {v: readback.recipe(item, contract, recipes[v], checkpoint) for v, item in opened.items()}
    kept = {v: readback.islands(item, contract, islands) for v, item in opened.items()}
    faces = {v: readback.interface(item, contract) for v, item in opened.items()}
    stored = {v: item.findings for v, item in recipe.items()}
    narrowed = {v: item[0] for v, item in kept.items()}
    tensors = sum(sum(item.stored.values()) for item in recipe.values())
    return {
        "recipe": {
            "violations": _violations(stored, tensors, "finding"),
            "quantized_tensors": facts.measured(
                sum(count for form, count in recipe["quantized"].stored.items() if form in BITS and form != "fp16"),
                "tensor",
                n=tensors,
            ),
            "other_constants": facts.measured(sum(item.other_constants for item in recipe.values()), "constant"),
            "findings": _listed(stored),
        },
        "islands": {
            "declared": list(islands),
            "violations": _violations(narrowed, sum(item[1] for item in kept.values()), "finding"),
            "operations": facts.measured(sum(item[1] for item in kept.values()), "operation"),
            "findings": _listed(narrowed),
        },
        "interface": {
            "violations": _violations(faces, len(contract.functions) * len(opened), "finding"),
            "findings": _listed(faces),
        },
    }


def verify(takes: Mapping[str, Path], params: VerifyParams, ctx: Context) -> None:
    """Operation `verify`. Raises UnsupportedOp (a Refusal) for a program that is not modelled, BrokenEvidence for files
    that contradict each other."""
    contract = contracts.load(takes["package"])
    index, goldens = goldens_of(takes["goldens"], contract)
    checkpoint = load_file(takes["checkpoint"] / "model.safetensors")
    recipes: dict[str, Recipe | None] = {"fp16": None, "quantized": params.recipe}
    opened = {variant: packages.open(takes["package"] / f"{variant}.mlpackage") for variant in recipes}
    modes: dict[str, Mode] = {"float32": "exact32", **dict.fromkeys(opened, params.mode)}
    variants: list[dict[str, Any]] = []
    for variant, mode in modes.items():
        ctx.progress(len(variants), len(modes), variant)
        item = opened.get(variant) or packages.open(takes["float32"] / "float32.mlpackage")
        loop = Loop(item, contract, mode)
        variants.append({"variant": variant, "mode": mode, **compared(loop, index, goldens, params)})
    problems = _provenance(contract, params, ctx.digests)
    present = sum(name in item.functions for item in opened.values() for name in contract.functions)
    data = {
        "attestation": ATTESTATION,
        "variants": variants,
        **read_back(opened, contract, recipes, params.islands, checkpoint),
        "functions_present": facts.rate(present, len(opened) * len(contract.functions)),
        "provenance": {"violations": facts.measured(len(problems), "finding"), "findings": problems},
        "residency": facts.unavailable("needs a Mac", "ratio"),
        "latency": facts.unavailable("needs a Mac", "ms"),
    }
    ctx.report("report", data, fingerprints=facts.fingerprints(takes, ctx.digests, model="checkpoint"))
    ctx.say("; ".join(_line(item) for item in variants))


def _line(variant: Mapping[str, Any]) -> str:
    cosines = [item["cosine"]["value"] for item in variant["shapes"]]
    known = [value for value in cosines if value is not None]
    text = f"{min(known):.6f}" if len(known) == len(cosines) else "unavailable"
    return f"{variant['variant']}: worst cosine {text}"

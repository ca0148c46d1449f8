"""Saved packages × golden vectors × checkpoint → the report of what really ships.

The packages are opened from disk and executed by the reference interpreter: every enumerated shape and a decode of N
steps, float16 and quantized. What they store is read back and compared with recipe, islands, contract and checkpoint.
An op that is not modelled fails the step; numbers that are not finite are counted and make every comparison
`unavailable`. Attestation is L2 (interpreted): kernels, residency and latency of a device are not claimed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from runtime import digest
from runtime.contract import BrokenEvidence, Context
from runtime.contract import program as contracts
from runtime.contract import report as facts
from runtime.contract.recipe import Recipe
from runtime.mil import package as packages
from runtime.mil import readback
from runtime.mil.findings import Findings
from runtime.mil.headroom import tightest
from runtime.mil.loop import Loop
from runtime.mil.parity import Real, Tally
from runtime.mil.program import Function
from runtime.steps.verify import VerifyParams

ATTESTATION = "L2"
MAX_LISTED = 50
Array: TypeAlias = NDArray[Any]
Tensors: TypeAlias = Mapping[str, Array]


def _real(value: Array) -> Real:
    return value.astype(np.float64)


def _health(function: Function, runs: Sequence[Findings], misshapen: int) -> dict[str, Any]:
    """What the interpreter watched while a function ran, padding included."""
    if not runs or not all(run.checked for run in runs):
        names = ("shape_mismatches", "nan_introduced", "saturated", "headroom")
        return {name: facts.unavailable("no checked run", "value") for name in names}
    mismatches = {(item.value, item.what) for run in runs for item in run.mismatches}
    peak = tightest(function, runs)
    health = {
        "shape_mismatches": facts.measured(len(mismatches) + misshapen, "value", n=len(function.types)),
        "nan_introduced": facts.measured(sum(count for run in runs for *_, count in run.nan), "element"),
        "saturated": facts.measured(sum(count for run in runs for *_, count in run.saturated), "element"),
        "headroom": facts.measured(peak.headroom, "1") if peak else facts.unavailable("no float16 value", "1"),
        "headroom_at": peak.op_name if peak else "",
        "first_trouble": next((run.first for run in runs if run.first), ""),
    }
    return health


def _misshapen(outputs: Tensors, declared: contracts.Function) -> set[str]:
    """Outputs that are missing or do not have the contract's shape."""
    return {v.name for v in declared.outputs if v.name not in outputs or outputs[v.name].shape != tuple(v.shape)}


def shape(loop: Loop, name: str, cases: Sequence[Mapping[str, Any]], goldens: Tensors) -> dict[str, Any]:
    """One prefill function over its golden cases; only real positions are compared."""
    declared, tally, runs, misshapen = loop.contract.functions[name], Tally(), [], 0
    for case in cases:
        at, real = f"{name}/{case['case']}", int(case["length"])
        result = loop.prefill(name, goldens[f"{at}/input_ids"][0, :real].tolist())
        runs.append(result.findings)
        wrong = _misshapen(result.outputs, declared)
        misshapen += len(wrong)
        if wrong:
            continue
        tally.logits(_real(goldens[f"{at}/logits"][0]), _real(result.outputs["logits"][0, :real]))
        for output in ("keys", "values"):
            tally.cache(_real(goldens[f"{at}/{output}"]), _real(result.outputs[output][:, :, :real]))
    health = _health(loop.functions[name].function, runs, misshapen)
    length = facts.measured(declared.length, "token")
    return {"function": name, "length": length, "cases": facts.measured(len(cases), "case"), **tally.data(), **health}


def decode(loop: Loop, cases: Sequence[Mapping[str, Any]], goldens: Tensors) -> dict[str, Any]:
    """The decode loop over its golden cases: teacher-forced for the numbers, free-running for the tokens."""
    tally, runs, same, total = Tally(), [], 0, 0
    divergences: list[int] = []
    for case in cases:
        at, steps = f"decode/{case['case']}", int(case["steps"])
        prompt, tokens = goldens[f"{at}/prompt"][0].tolist(), goldens[f"{at}/tokens"].tolist()
        forced = loop.decode(prompt, steps, tokens)
        runs += forced.findings
        tally.logits(_real(goldens[f"{at}/logits"]), _real(np.stack(forced.logits)))
        end = len(prompt) + steps
        for name, held in (("keys", forced.keys), ("values", forced.values)):
            written = slice(len(prompt), end)
            tally.cache(_real(goldens[f"{at}/{name}"][:, :, written]), _real(held[:, :, written]))
        free = loop.decode(prompt, steps).tokens
        equal = [mine == wanted for mine, wanted in zip(free, tokens, strict=True)]
        same, total = same + sum(equal), total + len(equal)
        divergences += [equal.index(False)] if not all(equal) else []
    return {
        "cases": facts.measured(len(cases), "case"),
        "steps": facts.measured(sum(int(case["steps"]) for case in cases), "step"),
        **tally.data(),
        "greedy_agreement": facts.rate(same, total),
        "diverged": facts.rate(len(divergences), len(cases)),
        "first_divergence": facts.measured(min(divergences), "step")
        if divergences
        else facts.unavailable("no decode diverged", "step"),
        **_health(loop.functions["decode"].function, runs, 0),
    }


def _goldens(folder: Path, contract: contracts.Contract) -> tuple[dict[str, list[dict[str, Any]]], Tensors]:
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
            "quantized_tensors": facts.measured(recipe["quantized"].stored["int8"], "tensor", n=tensors),
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
    index, goldens = _goldens(takes["goldens"], contract)
    checkpoint = load_file(takes["checkpoint"] / "model.safetensors")
    recipes: dict[str, Recipe | None] = {"fp16": None, "quantized": params.recipe}
    opened = {variant: packages.open(takes["package"] / f"{variant}.mlpackage") for variant in recipes}
    done, total = 0, len(opened) * len(contract.functions)
    variants = []
    for variant, item in opened.items():
        loop, shapes = Loop(item, contract, params.mode), []
        for name, _ in contract.prefills():
            ctx.progress(done, total, f"{variant} {name}")
            shapes.append(shape(loop, name, index[name], goldens))
            done += 1
        ctx.progress(done, total, f"{variant} decode")
        variants.append({"variant": variant, "shapes": shapes, "decode": decode(loop, index["decode"], goldens)})
        done += 1
    problems = _provenance(contract, params, ctx.digests)
    present = sum(name in item.functions for item in opened.values() for name in contract.functions)
    data = {
        "attestation": ATTESTATION,
        "mode": params.mode,
        "variants": variants,
        **read_back(opened, contract, recipes, params.islands, checkpoint),
        "functions_present": facts.rate(present, total),
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

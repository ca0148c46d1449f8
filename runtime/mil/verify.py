"""Saved packages × golden vectors × checkpoint → the report of what really ships.

The packages are opened from disk and executed by the reference interpreter: every enumerated shape and a decode of N
steps, float16 and quantized. What they store is read back and compared with recipe, islands, contract and checkpoint.
An op that is not modelled fails the step; numbers that are not finite are counted and make every comparison
`unavailable`. Attestation is L2 (interpreted): kernels, residency and latency of a device are not claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from runtime import digest
from runtime.contract import Context
from runtime.contract import program as contracts
from runtime.contract import report as facts
from runtime.contract.activations import chosen, matrices, plain
from runtime.contract.chunks import CHUNK
from runtime.contract.recipe import BITS, Recipe
from runtime.mil import interface_readback, island_readback, pieces, readback
from runtime.mil.activation_readback import Rounded, activations
from runtime.mil.golden import Tensors, Watched, compared, goldens_of, held
from runtime.mil.headroom import tightest
from runtime.mil.lazy import of_checkpoint
from runtime.mil.loop import Loop
from runtime.mil.numerics import Mode
from runtime.mil.program import Function
from runtime.mil.quantize import Form
from runtime.mil.stored import NOTHING, Stored
from runtime.mil.stored import scales as scales_of
from runtime.mil.trained_readback import Digests, Trained, of_report, trained
from runtime.steps.verify import VerifyParams

ATTESTATION = "L2"
MAX_LISTED = 50
#: (a variant's package, what was found in it)
_Found: TypeAlias = Sequence[tuple[str, Sequence[readback.Finding]]]
#: this step interprets, on a Mac too; what a device does is another report, `coreml.device`
ON_A_MAC = "interpreted here: kcompiler verify --on-device measures it on a Mac"


def _watched(loop: Loop) -> Callable[[str, Watched], dict[str, Any]]:
    return lambda name, seen: _health(loop.programs(name), seen)


def _health(functions: Mapping[str, Function], seen: Watched) -> dict[str, Any]:
    """What the interpreter watched while a function ran, padding included."""
    runs = seen.runs
    if not runs or not all(run.checked for run in runs):
        names = ("shape_mismatches", "nan_introduced", "saturated", "headroom")
        return {name: facts.unavailable("no checked run", "value") for name in names}
    mismatches = {(item.value, item.what) for run in runs for item in run.mismatches}
    peak = tightest(functions, runs)
    values = sum(len(one.types) for one in functions.values())
    health = {
        "shape_mismatches": facts.measured(len(mismatches) + seen.misshapen, "value", n=values),
        "nan_introduced": facts.measured(sum(count for run in runs for *_, count in run.nan), "element"),
        "saturated": facts.measured(
            sum(count for run in runs for *_, count in (*run.saturated, *run.out_of_range)), "element"
        ),
        "headroom": facts.measured(peak.headroom, "1") if peak else facts.unavailable("no float16 value", "1"),
        "headroom_at": peak.op_name if peak else "",
        "first_trouble": next((run.first for run in runs if run.first), ""),
    }
    return health


def _provenance(contract: contracts.Contract, params: VerifyParams, digests: Mapping[str, str]) -> list[str]:
    """Why the package is not the one these inputs ask for; empty when it is."""
    made, problems = contract.package, []
    if made is None:
        return ["contract.json is a program's, not a package's"]
    if made.recipe_sha256 != facts.hex_of(digest.of_value(params.recipe.model_dump(mode="json"), "kc.recipe.v1")):
        problems.append("the package was made with another recipe")
    integers = list(map(plain, chosen(params.activations, matrices(contract.tensors))))
    if made.activations != integers:
        problems.append(
            f"the package was made with activations of {len(made.activations)} layers in int8, not {len(integers)}"
            if len(made.activations) != len(integers)
            else "the package was made with activations of other layers in int8"
        )
    if sorted(made.islands) != sorted(params.islands):
        problems.append(f"the package was made with islands {made.islands}")
    if (contract.kv_cache.written_by == "graph") != (params.cache == "state"):
        problems.append(f"the package's cache is written by the {contract.kv_cache.written_by}")
    profile = contract.authoring.profile if contract.authoring else "gpu"
    if profile != params.profile:
        problems.append(f"the functions are written for {profile}, not for {params.profile}")
    if made.deployment != params.deployment:
        problems.append(f"the package was made for {made.deployment}, not for {params.deployment}")
    if made.strategy != params.strategy:
        problems.append(f"the package was made by strategy {made.strategy}, not {params.strategy}")
    if made.compute_units != params.compute_units:
        problems.append(f"the contract says compute units {made.compute_units}, not {params.compute_units}")
    chunks = sum(name.startswith(CHUNK) for name in contracts.parts(contract)) or 1
    if chunks != params.chunks:
        problems.append(f"the package was made in {chunks} chunk{'s' * (chunks > 1)}, not in {params.chunks}")
    for name, stands, port in (
        ("checkpoint", contract.model_sha256, "checkpoint"),
        ("tokenizer", contract.tokenizer_sha256, "tokenizer"),
    ):
        if stands != facts.hex_of(digests[port]):
            problems.append(f"the package was made from another {name}")
    return problems


def _listed(findings: _Found) -> list[dict[str, str]]:
    every = [{"variant": variant, **asdict(item)} for variant, items in findings for item in items]
    return every[:MAX_LISTED]


def _violations(findings: _Found, checked: int, unit: str) -> dict[str, Any]:
    return facts.measured(sum(len(items) for _, items in findings), unit, n=checked)


def read_back(
    opened: Mapping[str, pieces.Opened],
    contract: contracts.Contract,
    recipes: Mapping[str, Recipe | None],
    islands: Sequence[str],
    checkpoint: Tensors,
    stored: Mapping[str, Form] = NOTHING,
    scales: Mapping[str, np.float16] = MappingProxyType({}),
    qat: Mapping[str, Digests] = MappingProxyType({}),
) -> dict[str, Any]:
    """Sections `recipe`, `islands`, `interface` and, where layers read integers, `activations`, and where weights were
    trained as they are stored, `trained` of the report, over all packages of both variants. What reads integers
    otherwise than declared, or was not trained, departs from the recipe."""
    of = {part: contracts.part(contract, part) for part in contracts.parts(contract)}
    # a package as findings name it, its variant, what is declared of it, and itself
    every = [
        (f"{v}.{part}" if part else v, v, of[part], one)
        for v, packages in opened.items()
        for part, one in packages.items()
    ]
    elsewhere = readback.everywhere(contract)
    recipe = [
        (v, readback.recipe(one, part, recipes[v], checkpoint, NOTHING if recipes[v] is None else stored, elsewhere))
        for _, v, part, one in every
    ]
    kept = [island_readback.islands(one, part, _within(islands, part, contract)) for _, _, part, one in every]
    names = [name for name, *_ in every]
    faces = list(zip(names, (interface_readback.interface(one, part) for _, _, part, one in every), strict=True))
    rounded = [activations(one, part, scales if recipes[v] is not None else {}) for _, v, part, one in every]
    learnt = [trained(one, part, qat if recipes[v] is not None else {}) for _, v, part, one in every]
    forms = [
        *zip(names, (found.findings for _, found in recipe), strict=True),
        *zip(names, (one.findings for one in rounded), strict=True),
        *zip(names, (one.findings for one in learnt), strict=True),
        ("", readback.unheld(contract)),
    ]
    narrowed = [
        *zip(names, (found for found, _ in kept), strict=True),
        ("", island_readback.homeless(contract, islands)),
    ]
    tensors = sum(sum(found.stored.values()) for _, found in recipe)
    return {
        "recipe": {
            "violations": _violations(forms, tensors, "finding"),
            "quantized_tensors": facts.measured(
                sum(
                    count
                    for v, found in recipe
                    for form, count in found.stored.items()
                    if v == "quantized" and form in BITS and form != "fp16"
                ),
                "tensor",
                n=tensors,
            ),
            "other_constants": facts.measured(sum(found.other_constants for _, found in recipe), "constant"),
            "findings": _listed(forms),
        },
        "islands": {
            "declared": list(islands),
            "violations": _violations(narrowed, sum(count for _, count in kept), "finding"),
            "operations": facts.measured(sum(count for _, count in kept), "operation"),
            "findings": _listed(narrowed),
        },
        **_activations(rounded, scales),
        **_trained(learnt, qat),
        "interface": {
            "violations": _violations(faces, sum(len(part.functions) for _, _, part, _ in every), "finding"),
            "findings": _listed(faces),
        },
    }


def _activations(rounded: Sequence[Rounded], scales: Mapping[str, np.float16]) -> dict[str, Any]:
    """Of the layers that are to read integers, in every function, those that do by the scale that was chosen."""
    if not scales:
        return {}
    return {"activations": facts.rate(sum(one.held for one in rounded), sum(one.asked for one in rounded))}


def _trained(learnt: Sequence[Trained], qat: Mapping[str, Digests]) -> dict[str, Any]:
    """Of the matrices that were trained as they are stored, those that every function holds bit for bit."""
    if not qat:
        return {}
    found, wrong = (
        frozenset[str]().union(*each) for each in zip(*((one.found, one.wrong) for one in learnt), strict=True)
    )
    return {"trained": facts.rate(len(found - wrong), len(qat))}


def _within(islands: Sequence[str], part: contracts.Contract, contract: contracts.Contract) -> list[str]:
    """The islands that a package is asked for: of several, those that have a module in it."""
    if part is contract:
        return list(islands)
    return [kind for kind in islands if any(one.modules.get(kind) for one in part.functions.values())]


def verify(takes: Mapping[str, Path], params: VerifyParams, ctx: Context) -> None:
    """Operation `verify`. Raises UnsupportedOp (a Refusal) for a program that is not modelled, BrokenEvidence for files
    that contradict each other."""
    contract = contracts.load(takes["package"])
    held(contract, params)
    index, goldens = goldens_of(takes["goldens"], contract)
    checkpoint = of_checkpoint(takes["checkpoint"])
    stored = Stored(takes["stored"]) if params.calibrated else None
    integers = chosen(params.activations, matrices(contract.tensors))
    scales = {} if stored is None else scales_of(stored, integers)
    qat = of_report(takes["training"], params.qat, ctx.digests["checkpoint"]) if params.qat else {}
    recipes: dict[str, Recipe | None] = {"fp16": None, "quantized": params.recipe}
    opened = {variant: pieces.opened(takes["package"], variant, contract) for variant in recipes}
    modes: dict[str, Mode] = {"float32": "exact32", **dict.fromkeys(opened, params.mode)}
    variants: list[dict[str, Any]] = []
    for variant, mode in modes.items():
        ctx.progress(len(variants), len(modes), variant)
        item = opened.get(variant) or pieces.opened(takes["float32"], "float32", contract)
        loop = Loop(item, contract, mode)
        found = compared(loop, index, goldens, params, _watched(loop))
        variants.append({"variant": variant, "mode": mode, **found})
        # what interprets the next one is made when this one is gone
        del loop, item
    problems = _provenance(contract, params, ctx.digests)
    due = [piece for name in contract.functions for piece in contracts.pieces(contract, name)]
    present = sum(piece.function in item[piece.package].functions for item in opened.values() for piece in due)
    data = {
        "attestation": ATTESTATION,
        "variants": variants,
        **read_back(opened, contract, recipes, params.islands, checkpoint, stored or NOTHING, scales, qat),
        "functions_present": facts.rate(present, len(opened) * len(due)),
        "provenance": {"violations": facts.measured(len(problems), "finding"), "findings": problems},
        "residency": facts.unavailable(ON_A_MAC, "ratio"),
        "latency": facts.unavailable(ON_A_MAC, "ms"),
    }
    ctx.report("report", data, fingerprints=facts.fingerprints(takes, ctx.digests, model="checkpoint"))
    ctx.say("; ".join(_line(item) for item in variants))


def _line(variant: Mapping[str, Any]) -> str:
    cosines = [item["cosine"]["value"] for item in variant["shapes"]]
    known = [value for value in cosines if value is not None]
    text = f"{min(known):.6f}" if len(known) == len(cosines) else "unavailable"
    return f"{variant['variant']}: worst cosine {text}"

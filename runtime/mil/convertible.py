"""Contract of a program × what conversion is asked for → what a package cannot hold, refused before it is begun."""

from __future__ import annotations

from runtime.contract import Refusal, activations
from runtime.contract import program as contracts
from runtime.contract.recipe import Weights
from runtime.contract.targets import TARGETS
from runtime.mil.islands import ISLANDS, check_forms
from runtime.mil.quantize import matches, wanted
from runtime.steps.convert import ConvertParams


def check(contract: contracts.Contract, params: ConvertParams) -> dict[str, Weights]:
    """Checkpoint tensor → what the recipe asks. Raises Refusal for what cannot be converted as asked."""
    _check_target(contract, params)
    _check_activations(contract, params)
    for kind in params.islands:
        if kind not in ISLANDS:
            raise Refusal(f"no island kind `{kind}`", place="quantization.islands", action=f"use {', '.join(ISLANDS)}")
        if not all(function.modules.get(kind) for function in contract.functions.values()):
            raise Refusal(
                f"island `{kind}` matches no module of a {contract.model_type} model",
                place="quantization.islands",
                action="remove it from the islands",
            )
    if contract.lint.violations:
        raise Refusal(
            f"the exported graph has {contract.lint.violations} lint violations",
            action="read the export.lint report; conversion would be wrong or lossy",
        )
    names = [name for tensor in contract.tensors for name in (tensor.name, *tensor.aliases)]
    for rule in params.recipe.rules:
        if not any(matches(rule, name) for name in names):
            raise Refusal(
                f"rule `{rule.match}` matches no tensor of the checkpoint",
                place="quantization.rules",
                action=f"remove the rule, or name tensors such as `{names[0].removesuffix('.weight')}`",
            )
    plan = {t.name: wanted(params.recipe, t.name, t.aliases, t.shape) for t in contract.tensors}
    check_forms(contract, plan, params.islands)
    blocked = [name for name, one in plan.items() if one.granularity == "per_block" and one.weights != "fp16"]
    if contract.authoring is not None and blocked:
        raise Refusal(
            f"`{blocked[0]}` is asked for in blocks, and the Neural Engine reads no weights with a scale per block",
            place="quantization",
            action="store it per channel or by a palette, or export the profile gpu",
        )
    return plan


def _check_activations(contract: contracts.Contract, params: ConvertParams) -> None:
    """Raises Refusal for layers that cannot read integers."""
    matrices = activations.matrices(contract.tensors)
    every = activations.faults(params.activations, matrices, params.recipe, params.islands)
    found = [(one.text, activations.ACTIONS[one.kind]) for one in every]
    if params.activations and not params.calibrated:
        found.append(("no calibration chooses scales for activations", "write `quantization.calibration`"))
    for text, action in found:
        raise Refusal(text, place="quantization.activations", action=action)


def _check_target(contract: contracts.Contract, params: ConvertParams) -> None:
    """Raises Refusal for what packages of the target do not have, and for a program that was exported otherwise."""
    if params.strategy != contracts.strategy(contract):
        raise Refusal(
            f"the program was not exported for strategy `{params.strategy}`",
            place="export.strategy",
            action="export it with the same strategy",
        )
    if params.strategy == "enumerated" and params.cache == "state":
        raise Refusal(
            "a prefill of several lengths does not write states",
            place="shapes.decode.cache",
            action="write `cache: outputs`, or `strategy: multifunction`",
        )
    if TARGETS[params.deployment].several:
        return
    if params.strategy == "multifunction":
        raise Refusal(
            f"a package for {params.deployment} has one function, and strategy `multifunction` makes several",
            place="export.strategy",
            action="write `strategy: enumerated`, or `deployment: iOS18`",
        )
    if params.activations:
        raise Refusal(
            f"layers of a package for {params.deployment} read no integers",
            place="quantization.activations",
            action="remove the section, or write `deployment: iOS18`",
        )
    for place, asked in (("default", params.recipe.default), *((one.match, one) for one in params.recipe.rules)):
        if asked.newer:
            raise Refusal(
                f"a package for {params.deployment} has no {asked.newer}, which `{place}` asks for",
                place="quantization",
                action="store it as int8, sparse or in one palette (1, 2, 4, 6, 8 bits), or write `deployment: iOS18`",
            )

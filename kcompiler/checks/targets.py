"""The oldest system that a package is for, against what is asked of the package: what Core ML learnt later is refused.

The conversion refuses the same, hours of training later.
"""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime.contract.recipe import SIZED, Weights
from runtime.contract.targets import TARGETS

_DEPLOYMENT, _STRATEGY = "/export/deployment", "/export/strategy"


def _lacks(spec: Spec) -> bool:
    """Whether the target is older than packages of several functions, and all that came with them."""
    return not TARGETS[spec.export.deployment].several


def _functions(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    target = spec.export.deployment
    if not _lacks(spec) or spec.export.strategy == "enumerated":
        return
    written = _STRATEGY in tree.values
    yield tree.diagnostic(
        "KC4930",
        _STRATEGY if written else _DEPLOYMENT,
        f"a package for {target} has one function, and there is one for every length",
        label="several functions a package came with iOS 18",
        # an enumerated prefill is in one package
        help="write `strategy: enumerated` in `export`, or `deployment: iOS18`"
        if spec.export.chunks == 1
        else "write `strategy: enumerated` and no `chunks` in `export`, or `deployment: iOS18`",
        related=(tree.related(_DEPLOYMENT, "the oldest system that loads it"),) if written else (),
    )


def _newer(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Forms of weights that came later, each at the word that asks."""
    if not _lacks(spec):
        return
    recipe = spec.quantization
    asked: list[tuple[str, Weights]] = [("default", recipe.default)]
    asked += [(f"rules/{i}", rule) for i, rule in enumerate(recipe.rules)]
    for place, form in asked:
        if not form.newer:
            continue
        at = f"/quantization/{place}"
        key = "granularity" if form.granularity in SIZED else "weights"
        yield tree.diagnostic(
            "KC4931",
            f"{at}/{key}" if f"{at}/{key}" in tree.values else at,
            f"a package for {spec.export.deployment} stores no {form.newer}",
            label=f"{form.said} came with iOS 18",
            help="write `weights: int8` or `sparse`, or `lut1`, `lut2`, `lut4`, `lut6` or `lut8` with "
            "`granularity: per_tensor`, or `deployment: iOS18` in `export`",
            related=(tree.related(_DEPLOYMENT, "the oldest system that loads it"),),
        )


def _integers(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Layers that read integers, which a package for an older target is not made with."""
    if not _lacks(spec) or spec.quantization.activations is None:
        return
    yield tree.diagnostic(
        "KC4931",
        "/quantization/activations",
        f"layers of a package for {spec.export.deployment} read no integers",
        on="key",
        label="int8 activations are for iOS 18 and later",
        help="remove the section, or write `deployment: iOS18` in `export`",
        related=(tree.related(_DEPLOYMENT, "the oldest system that loads it"),),
    )


def _states(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    lacks = _lacks(spec)
    if spec.shapes.decode.cache != "state" or not (lacks or spec.export.strategy == "enumerated"):
        return
    yield tree.diagnostic(
        "KC4932",
        "/shapes/decode/cache",
        f"a package for {spec.export.deployment} has no states"
        if lacks
        else "one prefill of several lengths has no states",
        label="came with iOS 18" if lacks else "a state is written by functions of one length each",
        help="write `cache: outputs`" + ("" if lacks else ", or `strategy: multifunction` in `export`"),
        related=(tree.related(_DEPLOYMENT if lacks else _STRATEGY, "decides this"),),
    )


def _onnx(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    if not spec.verification.onnx or spec.export.strategy != "enumerated":
        return
    yield tree.diagnostic(
        "KC4933",
        "/verification/onnx",
        "a prefill of several lengths is not written as ONNX",
        label="an ONNX file of the exported program has static shapes",
        help="remove the line" + ("" if _lacks(spec) else ", or write `strategy: multifunction` in `export`"),
        related=(tree.related(_STRATEGY, "one function for every length"),),
    )


CHECKS = (
    Check(_functions, "export"),
    Check(_newer, "export", "quantization"),
    Check(_integers, "export", "quantization"),
    Check(_states, "export", "shapes"),
    Check(_onnx, "export", "verification"),
)

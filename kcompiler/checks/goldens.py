"""Golden vectors × rules about the packages → are there as many tokens as a rule takes for evidence?

How many there will be follows from lengths, context, prompts and steps (`runtime.contract.covering`), hours of training
before the rule says that they were too few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kcompiler import policy
from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.lengths import ENDS, PROBED
from kcompiler.policy.kinds.bound import Params
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime.contract.covering import wanted
from runtime.contract.lacking import PARITY

#: ends of what a rule reads → which tokens stand behind it
_GREEDY = "decode.greedy_agreement"
_DECODED = ("decode.top1_agreement", "decode.top5_containment", _GREEDY)
_FILLED = ("shapes[*].top1_agreement", "shapes[*].top5_containment")
_MOST_STEPS = 1_000


def _enough(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    if min(spec.shapes.prefill) < PROBED or spec.shapes.decode.context < spec.verification.decode_steps + ENDS:
        # shorter than any golden vector or probe: KC4110
        return
    rules = list(_asked(spec, world))
    decoded = [(rule, least, first) for rule, least, metrics in rules if (first := _first(metrics)) is not None]
    few = next(((rule, least, first) for rule, least, first in decoded if _decoded(spec, 0, first) < least), None)
    if few is not None:
        rule, least, first = few
        more = next(
            (more for more in range(_MOST_STEPS) if all(_decoded(spec, more, at) >= n for _, n, at in decoded)), 0
        )
        steps = spec.verification.decode_steps + more
        yield tree.diagnostic(
            "KC4935",
            "/verification/decode_steps",
            "the golden decodes have fewer tokens than a rule takes for evidence",
            label=f"{_decoded(spec, 0, first)} tokens, and `{rule}` needs {least}",
            help=f"write `decode_steps: {steps}`" if more else "raise verification.prompts, or lengthen the context",
        )
    short, others = min(spec.shapes.prefill), sorted(spec.shapes.prefill)[1:]
    filled = [(rule, least) for rule, least, metrics in rules if any(text.endswith(_FILLED) for text in metrics)]
    narrow = next((one for one in filled if _filled(spec, [short, *others], short) < one[1]), None)
    if narrow is not None:
        most = max(least for _, least in filled)
        longer = next(at for at in range(short, short + most + 1) if _filled(spec, [at, *others], at) >= most)
        yield tree.diagnostic(
            "KC4935",
            f"/shapes/prefill/{spec.shapes.prefill.index(short)}",
            "the golden prompts have fewer tokens than a rule takes for evidence",
            label=f"at most {_filled(spec, [short, *others], short)} tokens, and `{narrow[0]}` needs {narrow[1]}",
            help=f"make it at least {longer}, or raise verification.prompts",
        )


def _first(metrics: Sequence[str]) -> int | None:
    """How many tokens a decode has beside those of its steps, of those that a rule reads; None where it reads none. A
    free run tells the token that its prompt gives, too."""
    read = [text for text in metrics if text.endswith(_DECODED)]
    return int(all(text.endswith(_GREEDY) for text in read)) if read else None


def _asked(spec: Spec, world: World) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """(rule, the fewest items it takes for evidence, what it reads) of those about the packages that block."""
    # what a rule refers to elsewhere is a matter of the plan
    values: dict[str, Any] = {
        "shapes": spec.shapes.model_dump(mode="json"),
        "verification": spec.verification.model_dump(mode="json"),
    }
    values |= {"risk_tier": spec.risk_tier}
    found, _ = policy.obligations(policy.load(spec.policies, world.packs), values, {PARITY: ["verify"]})
    for one in found:
        if one["report"] == PARITY and one["mode"] == "block" and str(one["kind"]).partition("@")[0] == "bound":
            params = Params.model_validate(one["params"])
            yield str(one["rule"]), params.need.min_n or 0, tuple(params.metric)


def _decoded(spec: Spec, more: int, first: int) -> int:
    """Tokens of the golden decodes, with so many steps more than are asked for; `first` of each besides."""
    asked, shapes = spec.verification, spec.shapes
    steps = asked.decode_steps + more
    return wanted(shapes.prefill, shapes.decode.context, asked.prompts, steps)["decode"] * (steps + first)


def _filled(spec: Spec, lengths: Sequence[int], length: int) -> int:
    """The most positions that the golden prompts of a prefill have: one fills it, others leave a slot free, and a
    decode that starts from it shows one."""
    asked, context = spec.verification, spec.shapes.decode.context
    cases = wanted(lengths, context, asked.prompts, asked.decode_steps)[f"prefill_{length}"]
    return length + asked.prompts * (length - 1) + (cases - 1)


CHECKS = (Check(_enough, "shapes", "verification", "policies", "risk_tier"),)

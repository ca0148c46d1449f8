"""Checkpoint × golden vectors × saved packages → the report of what every form of the model loses, block by block.

Torch runs the checkpoint in float32 and says what each block gives of the golden inputs; the interpreter runs the
converted program in float32, the float16 package and the quantized one over the same inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from runtime.contract import BrokenEvidence, Context
from runtime.contract import program as contracts
from runtime.contract import report as facts
from runtime.mil import pieces
from runtime.mil.error_ledger import LOGITS, Form, Page, Seen, block, cases, covered_by, page_of
from runtime.mil.golden import Index, Tensors, goldens_of, held
from runtime.mil.numerics import Mode
from runtime.models import blocks, build, threads
from runtime.steps.error_ledger import ErrorLedgerParams

#: (function, case) → the checkpoint's blocks
Reference = Mapping[tuple[str, str], list[Tensor]]


def measure(takes: Mapping[str, Path], params: ErrorLedgerParams, ctx: Context) -> None:
    """Operation `error_ledger`. Raises Refusal for a form that is not there, BrokenEvidence for files that contradict
    each other."""
    threads.use(params.threads)
    contract = contracts.load(takes["package"])
    held(contract, params)
    index, goldens = goldens_of(takes["goldens"], contract)
    covered = covered_by(contract, index, params)
    reference = _reference(takes["checkpoint"], contract, index, goldens, ctx)
    count = 2 * len(reference)

    plain = Form(pieces.opened(takes["float32"], "float32", contract), contract, "exact32")
    page = Page(contract, params.float32)
    for done, (name, case) in enumerate(cases(contract, index)):
        ctx.progress(len(reference) + done, count + len(reference), "float32")
        page.add(name, _checkpoints(name, case, reference, goldens), plain.given(name, case, goldens))
    variants = [page_of(page, plain.sizes(), "float32", plain.mode, covered)]
    del plain

    mode: Mode = params.mode
    forms = {
        variant: Form(pieces.opened(takes["package"], variant, contract), contract, mode)
        for variant in ("fp16", "quantized")
    }
    pages = {"fp16": Page(contract, params.float16), "quantized": Page(contract, params.quantized)}
    delta = Page(contract, params.quantized)
    for done, (name, case) in enumerate(cases(contract, index)):
        ctx.progress(count + done, count + len(reference), "float16 and quantized")
        given = {variant: form.given(name, case, goldens) for variant, form in forms.items()}
        for variant, found in given.items():
            pages[variant].add(name, _checkpoints(name, case, reference, goldens), found)
        delta.add(name, given["fp16"], given["quantized"])
    variants += [page_of(pages[one], form.sizes(), one, mode, covered) for one, form in forms.items()]

    data = {"variants": variants, "delta": {"functions": delta.data(covered)}}
    ctx.report(
        "report", {**data, "bad": _bad(data)}, fingerprints=facts.fingerprints(takes, ctx.digests, model="checkpoint")
    )
    ctx.say("; ".join(_line(one) for one in variants))


def _reference(
    checkpoint: Path, contract: contracts.Contract, index: Index, goldens: Tensors, ctx: Context
) -> Reference:
    """What the checkpoint's blocks give at the positions that are compared. Raises BrokenEvidence for a checkpoint of
    another depth than the contract's."""
    model = build.load(checkpoint)
    if (depth := len(blocks.layers_of(model))) != contract.kv_cache.layers:
        raise BrokenEvidence(
            f"the checkpoint has {depth} layers, the package {contract.kv_cache.layers}", subject="contract.json"
        )
    keys = [(name, str(case["case"]), *_ids(name, case, goldens)) for name, case in cases(contract, index)]
    total = 3 * len(keys)
    found = blocks.outputs(model, [ids for _, _, ids, _ in keys], lambda done: ctx.progress(done, total, "torch"))
    return {
        (name, case): [one[first:].clone() for one in every]
        for (name, case, _, first), every in zip(keys, found, strict=True)
    }


def _ids(name: str, case: Mapping[str, Any], goldens: Tensors) -> tuple[list[int], int]:
    """(ids that the checkpoint reads, the first position that is compared): of a decode what its steps read."""
    at = f"{name}/{case['case']}"
    if name != "decode":
        return goldens[f"{at}/input_ids"][0, : int(case["length"])].tolist(), 0
    prompt, tokens = goldens[f"{at}/prompt"][0].tolist(), goldens[f"{at}/tokens"].tolist()
    return [*prompt, *tokens[: int(case["steps"])]], len(prompt)


def _checkpoints(name: str, case: Mapping[str, Any], reference: Reference, goldens: Tensors) -> Seen:
    at = f"{name}/{case['case']}"
    # the first logits of a decode are its prefill's
    logits = goldens[f"{at}/logits"][1:] if name == "decode" else goldens[f"{at}/logits"][0]
    given = reference[name, str(case["case"])]
    return {LOGITS: logits, **{block(i): one.numpy() for i, one in enumerate(given)}}


def _bad(data: Mapping[str, Any]) -> dict[str, Any]:
    every = [one for page in (*data["variants"], data["delta"]) for one in page["functions"]]
    return facts.measured(sum(one["first_bad"] != "" for one in every), "function", n=len(every))


def _line(variant: Mapping[str, Any]) -> str:
    worst = [one["logits"]["kl"]["value"] for one in variant["functions"]]
    kl = "unavailable" if None in worst else f"{max(worst):.2g} nat/token"
    bad = [f"{one['first_bad']} of {one['function']}" for one in variant["functions"] if one["first_bad"]]
    return f"{variant['variant']}: KL {kl}" + (f", first bad {', '.join(bad)}" if bad else "")

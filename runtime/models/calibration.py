"""A checkpoint, a recipe and rows → stored forms that were chosen by them: the operation `calibrate`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from runtime.contract import Context, Refusal, activations, rows
from runtime.contract import report as facts
from runtime.contract.recipe import Recipe, Weights
from runtime.mil import gptq, stored
from runtime.mil.activations import Input
from runtime.mil.quantize import wanted
from runtime.models import build, calibrating, tokenizer
from runtime.models.pouring import pour
from runtime.models.samples import threads
from runtime.steps.calibrate import CalibrateParams


def calibrate(takes: Mapping[str, Path], params: CalibrateParams, ctx: Context) -> None:
    """Operation `calibrate`. Raises Refusal for a source with fewer rows than are asked of it, for a recipe that asks
    no matrix that is multiplied to be stored in a form with values to choose among, for layers that cannot read
    integers, and for a model that makes numbers that are not finite."""
    words = tokenizer.load(takes["tokenizer"])
    chosen = _chosen(takes["dataset"] / f"{params.split}.jsonl", params, words)
    ids = [row for found in chosen.values() for row in found]
    model = build.load(takes["checkpoint"], attention="sdpa")
    plan = _plan(model, params.recipe)
    integers = _integers(model, params)
    total = len(calibrating.layers_of(model))
    with threads(params.threads):
        try:
            found = calibrating.calibrated(model, ids, plan, lambda done: ctx.progress(done, total, "layers"), integers)
        except ValueError as error:
            raise Refusal(
                f"the student cannot be calibrated: {error}",
                place="quantization.calibration",
                action="read the probe report: a student whose values are not finite is not delivered",
            ) from error
    made = found.forms
    arrays = {key: part for name, item in made.items() for key, part in stored.parts(name, item.stored).items()}
    arrays |= {f"{name}:{stored.INPUT}": np.array([one.scale]) for name, one in found.inputs.items()}
    pour(ctx.out("stored") / stored.FILE, {key: torch.from_numpy(part) for key, part in arrays.items()})
    tokens = sum(map(len, ids))
    data = {
        "sources": [
            {
                "source": name,
                "rows": facts.rate(len(read), params.sources[name]),
                "tokens": facts.measured(sum(map(len, read)), "token", n=len(read)),
            }
            for name, read in chosen.items()
        ],
        "split": params.split,
        "calibrated": facts.rate(len(made), len(plan)),
        "improved": facts.rate(sum(item.better for item in made.values()), len(made)),
        "matrices": [_matrix(name, item, plan[name], tokens) for name, item in made.items()],
        **_activations(found.inputs, integers, tokens),
    }
    ctx.report("report", data, fingerprints=facts.fingerprints(takes, ctx.digests, model="checkpoint"))
    ctx.say(
        f"{len(made)} matrices over {tokens} tokens: outputs lose {_gain(made):.2f} of what the nearest values lose"
    )


def _matrix(name: str, item: gptq.Calibrated, asked: Weights, tokens: int) -> dict[str, Any]:
    return {
        "tensor": name,
        "stored": asked.said,
        "chosen": "error feedback" if item.better else "nearest",
        "lost": facts.measured(item.lost, "1", n=tokens),
        "lost_nearest": facts.measured(item.lost_nearest, "1", n=tokens),
    }


def _activations(inputs: Mapping[str, Input], asked: Sequence[str], tokens: int) -> dict[str, Any]:
    """Section `activations`, where any layer reads integers."""
    if not asked:
        return {}
    layers = [
        {
            "layer": activations.plain(name),
            "scale": facts.measured(float(one.scale), "1"),
            "part": facts.measured(one.part, "1"),
            "clipped": facts.rate(one.clipped, one.elements),
            "lost": facts.measured(one.lost / one.energy, "1", n=tokens),
            "lost_unclipped": facts.measured(one.lost_whole / one.energy, "1", n=tokens),
        }
        for name, one in inputs.items()
    ]
    return {"activations": {"rounded": facts.rate(len(inputs), len(asked)), "layers": layers}}


def _integers(model: PreTrainedModel, params: CalibrateParams) -> list[str]:
    """Weights of the layers that read integers, in the model's order. Raises Refusal for a pattern that cannot be
    carried out."""
    aliases: dict[int, list[str]] = {}
    for name, one in model.named_parameters(remove_duplicate=False):
        if one.ndim == 2:
            aliases.setdefault(id(one), []).append(name)
    matrices = list(aliases.values())
    for fault in activations.faults(params.activations, matrices, params.recipe, []):
        raise Refusal(fault.text, place="quantization.activations", action=activations.ACTIONS[fault.kind])
    return activations.chosen(params.activations, matrices)


def _gain(made: Mapping[str, gptq.Calibrated]) -> float:
    """Geometric mean over matrices of what is lost, in parts of what the nearest values lose."""
    parts = [item.lost / item.lost_nearest for item in made.values() if item.lost > 0]
    return math.exp(sum(map(math.log, parts)) / len(parts)) if parts else 0.0


def _plan(model: PreTrainedModel, recipe: Recipe) -> dict[str, Weights]:
    """What is asked of each matrix that is multiplied and that has values to choose among, by tensor. The whole recipe
    is asked, as conversion does: what nothing is stored by would be a setting without effect."""
    asked = {name: wanted(recipe, name, [], tuple(one.shape)) for name, one in model.named_parameters()}
    multiplied = {f"{name}.weight" for name in calibrating.multiplied(model)}
    plan = {name: item for name, item in asked.items() if name in multiplied and gptq.fits(item)}
    if not plan:
        raise Refusal(
            "the recipe stores no matrix that is multiplied in integers or a palette",
            place="quantization.calibration",
            action="remove `calibration`, or write a rule for the projections",
        )
    return plan


def _chosen(path: Path, params: CalibrateParams, words: tokenizer.Tokenizer) -> dict[str, list[list[int]]]:
    """Ids of the rows of each source, cut at the longest length."""
    every: dict[str, list[rows.Row]] = {name: [] for name in params.sources}
    for row in rows.load(path) if path.is_file() else []:
        if row["source"] in every:
            every[row["source"]].append(row)
    found: dict[str, list[list[int]]] = {}
    for name, count in params.sources.items():
        there = every[name]
        if len(there) < count:
            raise Refusal(
                f"source `{name}` has {len(there)} rows of split {params.split}, calibration asks for {count}",
                place="quantization.calibration.sources",
                action=f"ask for at most {len(there)}, or give the source more rows"
                if there
                else "name another source",
            )
        taken = [there[i * len(there) // count] for i in range(count)]
        found[name] = [pair.ids[: params.max_length] for row in taken for pair in words.sequences(row)]
    return found

"""A teacher's checkpoint → a student cut from it, and what the choice was made by: the operation `cut_student`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from runtime import digest
from runtime.contract import Context, Refusal
from runtime.contract import report as facts
from runtime.contract.cut import COUNTED
from runtime.machine import durable
from runtime.models import admission, build, cutting, tokenizer
from runtime.models.samples import origin, sample, threads
from runtime.steps.cut_student import CutStudentParams


def cut_student(takes: Mapping[str, Path], params: CutStudentParams, ctx: Context) -> None:
    """Operation `cut_student`. Raises Refusal for a map that does not fit the teacher, for a teacher of another build,
    for a training split without rows, and for a student that admission refuses."""
    words = tokenizer.load(takes["tokenizer"])
    chosen = sample(takes["dataset"] / "train.jsonl", words, params.rows)
    if not chosen:
        raise Refusal(
            "there is no training row on which the cut could be measured",
            place="train.jsonl",
            action="give data.sources a row with split train, or lower data.held_out",
        )
    teacher = build.load(takes["teacher"], attention="sdpa")
    with threads(params.threads):
        measured = cutting.measure(
            teacher, [ids for ids, _ in chosen], lambda done: ctx.progress(done, len(chosen), "importance")
        )
        kept = cutting.choose(params, teacher.config, measured)
        special = {"pad": words.pad_id, "bos": words.bos_id, "eos": words.eos_id}
        student = cutting.cut(teacher, params.architecture, kept, special)
        before, tokens = cutting.likelihood(teacher, chosen)
        after, _ = cutting.likelihood(student, chosen)
        findings = admission.examine(student)
    admission.admit(findings, "the student that the cut leaves", "student.cut")
    out = ctx.out("checkpoint")
    build.save(student, out)
    tokenizer.beside(takes["tokenizer"], out)
    durable.write(out / "training.json", origin("cut_student", ctx))
    # what was written is what counts
    same, tensors = cutting.equal(build.load(out), cutting.pieces(teacher, kept))
    data = {
        "rows": facts.measured(len(chosen), "row"),
        "tokens": facts.measured(measured.tokens, "token", n=len(chosen)),
        "parameters": facts.measured(build.count(student), "parameter"),
        "parameters_of_teacher": facts.measured(build.count(teacher), "parameter"),
        "parts": _parts(params, teacher, student),
        "layers": _layers(measured, kept),
        "channels": kept.channels if params.channels else "all",
        "importance_finite": _finite(measured),
        "tensors_equal": facts.rate(same, tensors),
        "nll_of_teacher": _nll(before, tokens),
        "nll_after_cut": _nll(after, tokens),
        "entry": admission.data(findings),
    }
    marks = facts.fingerprints({name: takes[name] for name in ("dataset", "tokenizer")}, ctx.digests)
    marks["model"] = facts.hex_of(digest.of_folder(out))
    ctx.report("report", data, fingerprints=marks)
    judged = f"{before:.3f} nat/token before the cut, {after:.3f} after it" if tokens else "no row has a response yet"
    ctx.say(
        f"{build.count(student)} of {build.count(teacher)} parameters, layers {', '.join(map(str, kept.layers))}; "
        f"{judged}"
    )


def _nll(value: float, tokens: int) -> dict[str, Any]:
    if tokens:
        return facts.measured(value, "nat/token", n=tokens)
    return facts.unavailable("the rows have no responses yet: the teacher answers them later", "nat/token")


def _parts(params: CutStudentParams, teacher: PreTrainedModel, student: PreTrainedModel) -> list[dict[str, Any]]:
    """How much of each part is kept, and by which map."""
    choices = params.choices()
    return [
        {
            "part": name,
            "by": choices[name].by if name in choices else "all",
            "kept": facts.measured(int(getattr(student.config, field)), "1"),
            "there": facts.measured(int(getattr(teacher.config, field)), "1"),
        }
        for name, field in COUNTED.items()
    ]


def _layers(measured: cutting.Measured, kept: cutting.Kept) -> list[dict[str, Any]]:
    """Each layer of the teacher: its block influence, whether it is kept, and what of it. Places of kept neurons are
    too many to list: how many they are stands in `parts`, and which, the weights say."""
    influence, heads = measured.mean("layers"), measured.mean("heads")
    return [
        {
            "layer": str(i),
            "kept": i in kept.layers,
            "influence": facts.measured(_distance(float(influence[i])), "1", n=measured.tokens),
            "heads": kept.heads.get(i, []),
            "head_importance": [facts.measured(float(value), "1", n=measured.tokens) for value in heads[i]],
        }
        for i in range(len(influence))
    ]


def _distance(value: float) -> float:
    """One minus a cosine: of a layer that changes nothing, rounding may leave it a last digit below zero."""
    return 0.0 if value < 0 else value


def _finite(measured: cutting.Measured) -> dict[str, Any]:
    """How many of all measured numbers are finite."""
    flat = torch.cat([measured.mean(part).flatten() for part in COUNTED])
    return facts.rate(int(torch.isfinite(flat).sum()), flat.numel() if measured.tokens else 0)

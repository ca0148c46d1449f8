"""A teacher's checkpoint → a student cut from it, or the teacher over fewer ids: operations `cut_student` and
`restrict_teacher`, with what was lost as numbers."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from runtime import digest
from runtime.contract import BrokenEvidence, Context, Refusal, rows
from runtime.contract import report as facts
from runtime.contract.cut import COUNTED
from runtime.data.encode import RESPONSE, encode
from runtime.machine import durable
from runtime.models import admission, build, cutting, tokenizer
from runtime.models.reducing import KEPT
from runtime.models.tokenizer import Tokenizer
from runtime.steps.cut_student import CutStudentParams
from runtime.steps.restrict_teacher import RestrictTeacherParams

Encoded = tuple[list[int], int]


@contextmanager
def _threads(count: int) -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sample(path: Path, words: Tokenizer, most: int) -> list[Encoded]:
    """(ids, tokens of the prompt) of at most `most` rows of a split, evenly spaced over it."""
    if not path.is_file():
        return []
    every = rows.load(path)
    count = min(most, len(every))
    chosen = [every[i * len(every) // count] for i in range(count)]
    found = []
    for row in chosen:
        example = encode(row, words, [RESPONSE])
        found.append((example.ids, example.masks[RESPONSE].index(True)))
    return found


def _origin(made_by: str, ctx: Context) -> str:
    told = {"schema_version": "1.0", "made_by": made_by, "teacher": ctx.digests["teacher"]}
    return json.dumps(told, indent=2, sort_keys=True) + "\n"


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
    with _threads(params.threads):
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
    durable.write(out / "training.json", _origin("cut_student", ctx))
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
        "nll_of_teacher": facts.measured(before, "nat/token", n=tokens),
        "nll_after_cut": facts.measured(after, "nat/token", n=tokens),
        "entry": admission.data(findings),
    }
    marks = facts.fingerprints({name: takes[name] for name in ("dataset", "tokenizer")}, ctx.digests)
    marks["model"] = facts.hex_of(digest.of_folder(out))
    ctx.report("report", data, fingerprints=marks)
    ctx.say(
        f"{build.count(student)} of {build.count(teacher)} parameters, layers {', '.join(map(str, kept.layers))}; "
        f"{before:.3f} nat/token before the cut, {after:.3f} after it"
    )


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
            "influence": facts.measured(float(influence[i]), "1", n=measured.tokens),
            "heads": kept.heads.get(i, []),
            "head_importance": [facts.measured(float(value), "1", n=measured.tokens) for value in heads[i]],
        }
        for i in range(len(influence))
    ]


def _finite(measured: cutting.Measured) -> dict[str, Any]:
    """How many of all measured numbers are finite."""
    flat = torch.cat([measured.mean(part).flatten() for part in COUNTED])
    return facts.rate(int(torch.isfinite(flat).sum()), flat.numel() if measured.tokens else 0)


def kept_ids(folder: Path) -> list[int]:
    """The teacher's id of each id of a reduced tokenizer. Raises BrokenEvidence when the tokenizer is not reduced."""
    path = folder / KEPT
    if not path.is_file():
        raise BrokenEvidence(f"the tokenizer has no {KEPT}: it is not reduced", subject="tokenizer")
    found: list[int] = json.loads(path.read_text(encoding="utf-8"))["ids"]
    return found


def restrict_teacher(takes: Mapping[str, Path], params: RestrictTeacherParams, ctx: Context) -> None:
    """Operation `restrict_teacher`: embedding and head without the rows of ids that are gone.

    Its probabilities are the teacher's, given that the next token is one that is left; how often the teacher means one
    that is gone is in the report. Raises Refusal for ids that the teacher has no rows for.
    """
    words, ids = tokenizer.load(takes["tokenizer"]), kept_ids(takes["tokenizer"])
    teacher = build.load(takes["teacher"], attention="sdpa")
    special = {"pad": words.pad_id, "bos": words.bos_id, "eos": words.eos_id}
    made = restricted(teacher, ids, special)
    splits = {name: sample(takes["dataset"] / f"{name}.jsonl", words, params.rows) for name in ("train", "test")}
    with _threads(params.threads):
        mass = {name: _mass(teacher, chosen, torch.tensor(ids)) for name, chosen in splits.items()}
    out = ctx.out("checkpoint")
    build.save(made, out)
    tokenizer.beside(takes["tokenizer"], out)
    durable.write(out / "training.json", _origin("restrict_teacher", ctx))
    same, tensors = cutting.equal(build.load(out), _rows(teacher, ids))
    data = {
        "vocab_size": facts.measured(len(ids), "token"),
        "vocab_size_of_teacher": facts.measured(int(teacher.config.vocab_size), "token"),
        "parameters": facts.measured(build.count(made), "parameter"),
        "tensors_equal": facts.rate(same, tensors),
        "mass_kept": mass,
    }
    marks = facts.fingerprints({name: takes[name] for name in ("dataset", "tokenizer")}, ctx.digests)
    marks["model"] = facts.hex_of(digest.of_folder(out))
    ctx.report("report", data, fingerprints=marks)
    said = ", ".join(f"{one['value']:.4f} on {name}" for name, one in mass.items() if one["value"] is not None)
    ctx.say(f"{len(ids)} of {teacher.config.vocab_size} ids; the teacher's mass on them: {said}")


def _rows(teacher: PreTrainedModel, ids: Sequence[int]) -> dict[str, Tensor]:
    """The teacher's tensors, of embedding and head the rows of these ids."""
    width = int(teacher.config.vocab_size)
    if max(ids) >= width:
        raise Refusal(
            f"the tokenizer has id {max(ids)}, the teacher {width} rows",
            action="remove the control token from tokenizer.added, or keep the teacher's vocabulary whole",
        )
    inside, outside = teacher.get_input_embeddings(), teacher.get_output_embeddings()
    of_ids = {id(one) for module in (inside, outside) for one in module.parameters()}
    index, own = torch.tensor(ids), dict(teacher.named_parameters(remove_duplicate=False))
    return {
        name: tensor.index_select(0, index) if id(own.get(name)) in of_ids else tensor
        for name, tensor in teacher.state_dict().items()
    }


def restricted(teacher: PreTrainedModel, ids: Sequence[int], special: Mapping[str, int]) -> PreTrainedModel:
    """The teacher over these of its ids, in this order. `special` are the new ids of "pad", "bos" and "eos"."""
    config = copy.deepcopy(teacher.config)
    config.vocab_size = len(ids)
    for name, number in special.items():
        setattr(config, f"{name}_token_id", number)
    tensors = _rows(teacher, ids)
    made: PreTrainedModel = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    made.load_state_dict(tensors)
    made.tie_weights()
    return made.eval()


@torch.inference_mode()
def _mass(teacher: PreTrainedModel, chosen: Sequence[Encoded], index: Tensor) -> dict[str, Any]:
    """Mean over the response's tokens of the teacher's probability of all ids that are left."""
    total, tokens = 0.0, 0
    for ids, prompt in chosen:
        whole = index[torch.tensor(ids)]
        logits_TV = teacher(input_ids=whole[None], use_cache=False).logits[0, prompt - 1 : -1].double()
        kept_T = torch.logsumexp(logits_TV[:, index], dim=-1) - torch.logsumexp(logits_TV, dim=-1)
        total += float(kept_T.exp().sum())
        tokens += len(ids) - prompt
    return facts.measured(total / tokens, "1", n=tokens) if tokens else facts.unavailable("no rows", "1")

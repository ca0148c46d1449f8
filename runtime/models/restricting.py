"""A teacher's checkpoint and a reduced tokenizer → the teacher over fewer ids: the operation `restrict_teacher`."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from runtime import digest
from runtime.contract import BrokenEvidence, Context, Refusal
from runtime.contract import report as facts
from runtime.machine import durable
from runtime.models import build, cutting, tokenizer
from runtime.models.samples import Encoded, origin, sample, threads
from runtime.models.tokenizer.reducing import KEPT
from runtime.steps.restrict_teacher import RestrictTeacherParams


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
    with threads(params.threads):
        mass = {name: _mass(teacher, chosen, torch.tensor(ids)) for name, chosen in splits.items()}
    out = ctx.out("checkpoint")
    build.save(made, out, build.held(takes["teacher"]))
    tokenizer.beside(takes["tokenizer"], out)
    durable.write(out / "training.json", origin("restrict_teacher", ctx))
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
    for ids, mask in chosen:
        at = torch.tensor(mask[1:])
        whole = index[torch.tensor(ids)]
        logits_TV = teacher(input_ids=whole[None], use_cache=False).logits[0, :-1][at].double()
        kept_T = torch.logsumexp(logits_TV[:, index], dim=-1) - torch.logsumexp(logits_TV, dim=-1)
        total += float(kept_T.exp().sum())
        tokens += int(at.sum())
    return facts.measured(total / tokens, "1", n=tokens) if tokens else facts.unavailable("no rows", "1")

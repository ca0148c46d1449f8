"""A pinned Transformers folder → a checkpoint of plain float32 weights, loaded once to prove it can be.

The folder is never trusted: its content must have the digest the spec names (or be of the commit it names), its
weights must be safetensors that fill the model exactly, and the model must answer one probe with finite logits before
anything is trained from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from runtime import digest
from runtime.contract import Context, Refusal
from runtime.contract import report as facts
from runtime.models import build
from runtime.steps.import_teacher import ImportTeacherParams

#: a probe of so many tokens is enough to meet every weight once
PROBE_TOKENS = 8


def _check_revision(folder: Path, revision: str) -> None:
    if not revision.startswith("sha256:"):
        # a commit: the step that fetched the folder asked for exactly it
        return
    try:
        found = digest.of_folder(folder)
    except ValueError as error:
        raise Refusal(str(error), place=folder.name, action="replace links by the files they point to") from None
    if found != revision:
        raise Refusal(
            f"the folder is {found}, the spec pins {revision}",
            place=folder.name,
            action="restore the folder, or review the change and pin the new revision",
        )


def _stored(folder: Path) -> tuple[list[str], int]:
    """Types of the stored tensors, and how many tensors there are."""
    types: set[str] = set()
    count = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (a handle, not a mapping)
                types.add(file.get_slice(name).get_dtype())
                count += 1
    return sorted(types), count


def _probe(model: PreTrainedModel, vocab_size: int) -> float:
    """Largest absolute logit of a fixed probe. Raises Refusal when one is not finite or the width is wrong."""
    ids_1T = (torch.arange(PROBE_TOKENS) * 31 % vocab_size)[None]
    with torch.no_grad():
        logits_1TV = model(input_ids=ids_1T, use_cache=False).logits
    if logits_1TV.shape[-1] != vocab_size:
        raise Refusal(
            f"the model answers with {logits_1TV.shape[-1]} logits for a vocabulary of {vocab_size}",
            action="set tokenizer.vocab_size to the model's, or take another model",
        )
    if not bool(torch.isfinite(logits_1TV).all()):
        raise Refusal("the model's logits are not finite", action="take the weights again, or another model")
    return float(logits_1TV.abs().max())


def import_teacher(takes: Mapping[str, Path], params: ImportTeacherParams, ctx: Context) -> None:
    """Operation `import_teacher`: verify the digest, load, probe, write the checkpoint and report what was found.

    Raises Refusal for another digest, another vocabulary, and everything `build.load` refuses.
    """
    folder = takes["model"]
    _check_revision(folder, params.revision)
    declared = build.read_config(folder).get("vocab_size")
    if declared != params.vocab_size:
        raise Refusal(
            f"the model's vocabulary is {declared}, the spec says {params.vocab_size}",
            place=f"{folder.name}/{build.CONFIG}",
            action="set tokenizer.vocab_size to the model's, or take another model",
        )
    model = build.load(folder)
    if params.parameters is not None and build.count(model) != params.parameters:
        raise Refusal(
            f"the model has {build.count(model):,} parameters, the spec says {params.parameters:,}",
            place=folder.name,
            action="state the number it has; budgets of memory were computed from it",
        )
    largest = _probe(model, params.vocab_size)
    types, tensors = _stored(folder)
    out = ctx.out("checkpoint")
    build.save(model, out)
    origin = {"schema_version": "1.0", "made_by": "import_teacher", "revision": params.revision, "teacher": None}
    (out / "training.json").write_text(json.dumps(origin, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    context = getattr(model.config, "max_position_embeddings", None)
    data = {
        "family": model.config.model_type,
        "revision": params.revision,
        "stored_types": types,
        "stored_tensors": facts.measured(tensors, "tensor"),
        "parameters": facts.measured(build.count(model), "parameter"),
        "vocab_size": facts.measured(params.vocab_size, "token"),
        "context": facts.unavailable("the config names no context length", "token")
        if context is None
        else facts.measured(int(context), "token"),
        "largest_probe_logit": facts.measured(largest, "logit", n=PROBE_TOKENS),
    }
    marks = {"model": facts.hex_of(digest.of_folder(out))}
    ctx.report("report", data, fingerprints=marks)
    ctx.say(f"`{model.config.model_type}` with {build.count(model)} parameters")

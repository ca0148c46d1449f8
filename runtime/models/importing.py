"""A pinned Transformers folder → a checkpoint of plain float32 weights, loaded once to prove it can be.

The folder is never trusted: its content must have the digest the spec names (or be of the commit it names), its
weights must be plain safetensors that fill the model exactly, and the model must hold every check of
`runtime.models.admission` before anything is trained from it.
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
from runtime.machine import durable
from runtime.models import admission, build
from runtime.steps.import_teacher import ImportTeacherParams

#: types of stored weights that become float32 without loss, and of the buffers that may stand beside them
PLAIN, WHOLE = frozenset({"F32", "F16", "BF16"}), frozenset({"BOOL", "U8", "I8", "I16", "I32", "I64"})


def _check_revision(folder: Path, revision: str) -> None:
    if not revision.startswith("sha256:"):
        # a commit or a file: the step that made the folder asked for exactly it
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


def _check_stored(folder: Path, model: PreTrainedModel) -> None:
    """Raises Refusal for weights stored in a type that float32 does not hold, or that is no type of weights at all."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (a handle, not a mapping)
                kind = file.get_slice(name).get_dtype()
                if kind not in PLAIN and (name in parameters or kind not in WHOLE):
                    raise Refusal(
                        f"tensor {name} is stored as {kind}; weights are plain as {', '.join(sorted(PLAIN))}",
                        place=f"{folder.name}/{path.name}",
                        action="save the model in float32, float16 or bfloat16",
                    )


def import_teacher(takes: Mapping[str, Path], params: ImportTeacherParams, ctx: Context) -> None:
    """Operation `import_teacher`: verify the digest, load, probe, write the checkpoint and report what was found.

    Raises Refusal for another digest, another vocabulary, a check of admission that does not hold, and everything
    `build.load` refuses.
    """
    folder = takes["model"]
    _check_revision(folder, params.revision)
    declared = build.read_config(folder).get("vocab_size")
    width = declared if params.vocab_size is None else params.vocab_size
    if declared != width:
        raise Refusal(
            f"the model's vocabulary is {declared}, the spec says {width}",
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
    head = model.get_output_embeddings()
    if head is not None and head.weight.shape[0] != width:
        raise Refusal(
            f"the model answers with {head.weight.shape[0]} logits for a vocabulary of {width}",
            action="set tokenizer.vocab_size to the model's, or take another model",
        )
    _check_stored(folder, model)
    dtype = torch.bfloat16 if params.dtype == "bf16" else torch.float32
    rounded = build.round_to(model, dtype)
    findings = admission.examine(model)
    admission.admit(findings, f"the `{model.config.model_type}` model", folder.name)
    types, tensors = _stored(folder)
    out = ctx.out("checkpoint")
    build.save(model, out, dtype)
    origin = {"schema_version": "1.0", "made_by": "import_teacher", "revision": params.revision, "teacher": None}
    durable.write(out / "training.json", json.dumps(origin, indent=2, sort_keys=True) + "\n")
    context = build.context_of(model)
    data = {
        "family": model.config.model_type,
        "revision": params.revision,
        "stored_types": types,
        "stored_tensors": facts.measured(tensors, "tensor"),
        "parameters": facts.measured(build.count(model), "parameter"),
        "held_as": params.dtype,
        "rounded": facts.rate(rounded, build.count(model)),
        "vocab_size": facts.measured(model.config.get_text_config(decoder=True).vocab_size, "token"),
        "context": facts.unavailable("the config names no context length", "token")
        if context is None
        else facts.measured(context, "token"),
        "entry": admission.data(findings),
    }
    marks = {"model": facts.hex_of(digest.of_folder(out))}
    ctx.report("report", data, fingerprints=marks)
    ctx.say(f"`{model.config.model_type}` with {build.count(model)} parameters")

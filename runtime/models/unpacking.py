"""A GGUF file → a Transformers folder with plain float32 weights, written part by part.

gguf-py turns blocks into floats; names, shapes and the order of rows are ours (`runtime.contract.gguf_model`), since
Transformers 5.23 drops tensors and keys that it does not know, cuts text by another rule than the file names, and
cannot save what it has read. float32 is exact: a block is a float16 scale times small integers, which bfloat16 rounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import save as serialised

from runtime import digest
from runtime.contract import Context, Refusal, gguf_model
from runtime.contract import report as facts
from runtime.contract.gguf import Broken
from runtime.contract.gguf_model import Model, Weight
from runtime.contract.gguf_words import Unsupported
from runtime.machine import durable
from runtime.steps.read_gguf import ReadGgufParams

#: so many bytes of weights are held and written at a time
PART = 512 << 20
INDEX = "model.safetensors.index.json"


def tensor_of(path: Path, weight: Weight) -> torch.Tensor:
    """One weight of a file in float32, its rows in the order of Transformers. Raises Refusal when it is not finite."""
    stored = weight.tensor
    kind = gguf.GGMLQuantizationType[stored.type.name]
    row = stored.shape[-1] // stored.type.elements * stored.type.bytes
    blocks = np.memmap(path, np.uint8, "r", stored.offset, (*stored.shape[:-1], row))
    values = np.asarray(gguf.dequantize(blocks, kind), dtype=np.float32).reshape(stored.shape)
    if weight.heads:
        # rows of a head lie in pairs (0, n/2, 1, n/2+1, …); Transformers wants the two halves one after the other
        halves = values.reshape(weight.heads, stored.shape[0] // weight.heads // 2, 2, *stored.shape[1:])
        values = halves.swapaxes(1, 2).reshape(stored.shape)
    values = values - weight.more if weight.more else values
    if not bool(np.isfinite(values).all()):
        raise Refusal(f"tensor {stored.name} is not finite", place=path.name, action="take the file again")
    # a copy of its own: floats that lie in the file as such would still be the file
    return torch.from_numpy(np.array(values))


def parts(weights: Sequence[Weight], room: int = PART) -> Iterator[list[Weight]]:
    """Weights in groups that take at most `room` bytes as float32, or that are one."""
    group: list[Weight] = []
    for weight in weights:
        if group and sum(one.tensor.elements for one in [*group, weight]) * 4 > room:
            yield group
            group = []
        group.append(weight)
    yield group


def _model(path: Path, place: str) -> Model:
    try:
        return gguf_model.read(path)
    except Broken as reason:
        raise Refusal(
            f"the GGUF file cannot be read: {reason}", place=place, action="take the file again", code="KR0142"
        ) from None
    except Unsupported as reason:
        raise Refusal(
            f"the GGUF file cannot be carried over exactly: {reason.message}",
            place=place,
            action=reason.action,
            code="KR0143",
        ) from None


def _write_weights(path: Path, model: Model, out: Path, ctx: Context) -> None:
    groups = list(parts(model.weights))
    places: dict[str, str] = {}
    for number, group in enumerate(groups, 1):
        name = f"model-{number:05}-of-{len(groups):05}.safetensors" if len(groups) > 1 else "model.safetensors"
        tensors = {weight.name: tensor_of(path, weight) for weight in group}
        durable.write(out / name, serialised(tensors, metadata={"format": "pt"}))
        places |= dict.fromkeys(tensors, name)
        ctx.progress(number, len(groups))
    if len(groups) > 1:
        index: dict[str, Any] = {"metadata": {"total_size": model.parameters * 4}, "weight_map": places}
        durable.write(out / INDEX, gguf_model.text(index))


def read_gguf(takes: Mapping[str, Path], params: ReadGgufParams, ctx: Context) -> None:
    """Operation `read_gguf`. Raises Refusal for another digest, a file that is broken, and one that cannot be carried
    over exactly."""
    path, out = takes["file"], ctx.out("folder")
    found = digest.of_file(path)
    if found != params.revision:
        raise Refusal(
            f"the file is {found}, the spec pins {params.revision}",
            place=path.name,
            action="take the pinned file again, or review this one and pin it",
        )
    model = _model(path, path.name)
    _write_weights(path, model, out, ctx)
    for name, document in model.documents.items():
        durable.write(out / name, gguf_model.text(document))
    if model.chat_template:
        durable.write(out / gguf_model.CHAT_TEMPLATE, model.chat_template)
    said = model.header.metadata
    types = Counter(weight.tensor.type.name for weight in model.weights)
    data = {
        "revision": params.revision,
        "family": str(said["general.architecture"]),
        "tokenizer": str(said["tokenizer.ggml.model"]),
        "cut": str(said.get("tokenizer.ggml.pre", "none")),
        "chat_template": bool(model.chat_template),
        "stored_types": {name: facts.measured(count, "tensor") for name, count in sorted(types.items())},
        "tensors": facts.measured(len(model.weights), "tensor"),
        "parameters": facts.measured(model.parameters, "parameter"),
        "tree": digest.of_folder(out),
    }
    ctx.report("report", data, fingerprints={})
    ctx.say(f"`{data['family']}` with {model.parameters} parameters")

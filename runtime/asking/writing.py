"""A checkpoint and its words → a GGUF file that llama.cpp loads and in which it computes the same function.

Names of tensors and keys are those by which GGUF files are read here (`runtime.contract.gguf_model`), so that a file
that is written and one that is read are one format. Matrices are floats or blocks of integers, vectors float32 always.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import gguf
import numpy as np
import torch
from safetensors.torch import load_file

from runtime.asking import cuts, modelfile, rotary
from runtime.contract import BrokenEvidence, Context, Refusal, gguf_limits, gguf_model, gguf_words, templates
from runtime.machine import durable
from runtime.models import tokenizer as tokenizers
from runtime.steps.write_gguf import WriteGgufParams

FILE, WORDS = "model.gguf", "words.json"
_Array: TypeAlias = np.ndarray[Any, Any]
_TYPES = {
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "f32": gguf.LlamaFileType.ALL_F32,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "q5_1": gguf.LlamaFileType.MOSTLY_Q5_1,
    "q5_0": gguf.LlamaFileType.MOSTLY_Q5_0,
    "q4_1": gguf.LlamaFileType.MOSTLY_Q4_1,
    "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
}
#: elements that share a scale
_BLOCK = 32
#: relative L2 from which a tensor counts as lost: Q8_0 turns what is below 1e-6 into zeros, without a word
_LOST = 0.5


def write_gguf(takes: Mapping[str, Path], params: WriteGgufParams, ctx: Context) -> None:
    """Operation `write_gguf`. Raises Refusal for a model that no GGUF architecture known here is."""
    folder = takes["checkpoint"]
    config = _json(folder / gguf_model.CONFIG)
    family = str(config.get("model_type"))
    architecture = gguf_model.WRITTEN.get(family)
    if architecture is None:
        raise _unfit(f"a `{family}` has no place in one; written are {', '.join(gguf_model.WRITTEN)}")
    said = config.get("rope_parameters") or {}
    rotation: dict[str, Any] = {"rope_theta": 10000.0, **said.get("full_attention", said)}
    tensors = load_file(folder / "model.safetensors")
    why = gguf_limits.rotation(architecture, rotation) or gguf_limits.attention(
        architecture,
        config.get("sliding_window"),
        config.get("layer_types") or (),
        tied="lm_head.weight" not in tensors,
    )
    if why:
        raise _unfit(why)
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    shape = {
        **config,
        "num_key_value_heads": config.get("num_key_value_heads") or heads,
        "head_dim": config.get("head_dim") or hidden // heads,
        "tie_word_embeddings": "lm_head.weight" not in tensors,
    }
    path = ctx.scratch / FILE
    writer = gguf.GGUFWriter(str(path), architecture)
    _keys(writer, shape, params)
    rotary.keys(writer, rotation, int(config["max_position_embeddings"]))
    _windows(writer, architecture, config)
    words = _words(writer, takes, int(config["vocab_size"]), int(config["max_position_embeddings"]))
    for name, numbers in rotary.tensors(rotation, int(shape["head_dim"]), int(config["max_position_embeddings"])):
        writer.add_tensor(name, numbers)
    for name, place in gguf_model.places(architecture, shape):
        tensor = tensors.pop(place.name, None)
        if tensor is None or tuple(tensor.shape) != place.shape:
            raise _unfit(f"its weight {place.name} is not what a `{family}` has there")
        values = _rows(tensor, place.heads) + np.float32(place.more)
        if params.weights.startswith("q") and values.ndim == 2 and values.shape[1] % _BLOCK == 0:
            kind = gguf.GGMLQuantizationType[params.weights.upper()]
            writer.add_tensor(name, _blocks(values, kind, place.name), raw_dtype=kind)
        else:
            writer.add_tensor(name, _floats(values, wide=params.weights == "f32"))
    if tensors:
        raise _unfit(f"its weight {sorted(tensors)[0]} has no place in one")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    out = ctx.out("gguf")
    durable.copy(path, out / FILE)
    if words.modelfile.text:
        durable.write(out / modelfile.FILE, words.modelfile.text)
    durable.write(out / WORDS, json.dumps(words.to_json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    ctx.say(f"llama.cpp cuts text by {words.cut.name or 'no rule as its tokenizer does'}")


@dataclass(frozen=True)
class _Words:
    """What the file says of its tokenizer, and what of it is proven."""

    cut: cuts.Cut
    modelfile: modelfile.Made

    def to_json(self) -> dict[str, Any]:
        return {"schema_version": "1.0", **self.cut.to_json(), "modelfile_lacks": self.modelfile.lacks}


def _unfit(why: str) -> Refusal:
    return Refusal(
        f"the model cannot be written as a GGUF file: {why}",
        action="take away the runner `gguf`, or take a student of one of those families",
        code="KR0221",
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BrokenEvidence(f"{path.name} cannot be read: {error}", subject=path.name) from None
    return dict(found)


def _windows(writer: gguf.GGUFWriter, architecture: str, config: Mapping[str, Any]) -> None:
    """Windows and caps of those architectures that have them."""
    if architecture in gguf_model.PATTERNS:
        writer.add_sliding_window(int(config["sliding_window"]))
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(float(config["attn_logit_softcapping"]))
        writer.add_final_logit_softcapping(float(config.get("final_logit_softcapping") or gguf_model.NO_CAP))


def _keys(writer: gguf.GGUFWriter, shape: Mapping[str, Any], params: WriteGgufParams) -> None:
    writer.add_name("student")
    writer.add_context_length(int(shape["max_position_embeddings"]))
    writer.add_embedding_length(int(shape["hidden_size"]))
    writer.add_block_count(int(shape["num_hidden_layers"]))
    writer.add_feed_forward_length(int(shape["intermediate_size"]))
    writer.add_head_count(int(shape["num_attention_heads"]))
    writer.add_head_count_kv(int(shape["num_key_value_heads"]))
    writer.add_key_length(int(shape["head_dim"]))
    writer.add_value_length(int(shape["head_dim"]))
    writer.add_rope_dimension_count(int(shape["head_dim"]))
    writer.add_layer_norm_rms_eps(float(shape["rms_norm_eps"]))
    writer.add_vocab_size(int(shape["vocab_size"]))
    writer.add_file_type(_TYPES[params.weights])


def _words(writer: gguf.GGUFWriter, takes: Mapping[str, Path], width: int, context: int) -> _Words:
    """The tokens, the chat template, and the rule by which llama.cpp gives the tokenizer's own ids. Who asks here gives
    ids; where no rule does, the file names its plainest, and `words.json` says so."""
    tokenizer = takes["tokenizer"]
    words, special = _json(tokenizer / "tokenizer.json"), _json(tokenizer / "contract.json")["special"]
    vocabulary: dict[str, int] = dict(words["model"]["vocab"])
    added = {int(one["id"]): one for one in words["added_tokens"]}
    texts = {number: text for text, number in vocabulary.items()} | {i: str(one["content"]) for i, one in added.items()}
    kinds = {i: gguf_words.CONTROL if one["special"] else gguf_words.USER_DEFINED for i, one in added.items()}
    cut = cuts.found(words, takes["dataset"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cut.name or "gpt-2")
    writer.add_token_list([texts.get(i, f"<unused-{i}>") for i in range(width)])
    writer.add_token_types([kinds.get(i, gguf_words.NORMAL if i in texts else gguf_words.UNUSED) for i in range(width)])
    merges = [one if isinstance(one, str) else " ".join(one) for one in words["model"].get("merges") or []]
    if merges:
        writer.add_token_merges(merges)
    writer.add_bos_token_id(int(special["bos"]["id"]))
    writer.add_eos_token_id(int(special["eos"]["id"]))
    writer.add_pad_token_id(int(special["pad"]["id"]))
    # a chat template writes the beginning itself
    writer.add_add_bos_token(False)
    writer.add_chat_template(templates.chat_template(tokenizer) or "")
    opened = tokenizers.load(tokenizer)
    stops = [texts[one] for one in opened.stop_ids]
    return _Words(cut, modelfile.of(opened, str(special["bos"]["text"]), stops, context, FILE))


def _rows(tensor: torch.Tensor, turned: int) -> _Array:
    """A weight as llama.cpp has it, float32."""
    values = tensor.float()
    if turned:
        # Transformers has the two halves of a head one after the other, llama.cpp neighbouring rows in pairs
        halves = values.reshape(turned, 2, values.shape[0] // turned // 2, *values.shape[1:])
        values = halves.swapaxes(1, 2).reshape(values.shape)
    return values.contiguous().numpy()


def _floats(values: _Array, *, wide: bool) -> _Array:
    stored: _Array = values.astype(np.float32 if wide or values.ndim == 1 else np.float16)
    if not bool(np.isfinite(stored).all()):
        raise _unfit("a weight is not finite in float16; write `weights: f32`")
    return stored


def _blocks(values: _Array, kind: gguf.GGMLQuantizationType, name: str) -> _Array:
    """The bytes of a weight in blocks. What they are worth is looked at: some forms lose a whole tensor silently."""
    with np.errstate(all="ignore"):
        stored: _Array = gguf.quants.quantize(values, kind)
    lost = float(np.linalg.norm(gguf.quants.dequantize(stored, kind) - values))
    length = float(np.linalg.norm(values))
    if not lost <= _LOST * length:
        share = f"{lost / length:.0%} of it is lost" if np.isfinite(lost) and length else "it is not finite"
        raise _unfit(f"in {kind.name} its weight {name} is no longer itself ({share}); write `weights: f16`")
    return stored

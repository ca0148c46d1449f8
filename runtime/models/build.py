"""A declared architecture, or a checkpoint folder → a Transformers model; a model → a checkpoint folder.

Weights are float32 safetensors and nothing else: no pickle is read, no code from a folder is run, and a folder whose
weights do not fill the model exactly is refused (Transformers would fill the rest at random and only warn).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)
from transformers.utils import logging as hf_logging

from runtime.contract import Refusal, rotation, shards, windows
from runtime.contract.architecture import Architecture
from runtime.contract.families import FAMILIES, Family
from runtime.contract.heads import FILE
from runtime.contract.windows import FULL, SLIDING
from runtime.machine import durable
from runtime.models import heads
from runtime.models.pouring import pour

CONFIG, WEIGHTS = "config.json", "model.safetensors"
#: what families call the number of their layers
LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")
#: files that Python would unpickle, which runs whatever they say
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")


def _check(architecture: Architecture) -> int:
    """Head width. Raises Refusal for dimensions that do not divide."""
    a = architecture
    if a.num_attention_heads % a.num_key_value_heads:
        raise Refusal(
            f"{a.num_attention_heads} query heads cannot share {a.num_key_value_heads} key/value heads",
            action="make num_key_value_heads a divisor of num_attention_heads",
        )
    if a.hidden_size % a.num_attention_heads:
        raise Refusal(
            f"hidden_size {a.hidden_size} is no multiple of {a.num_attention_heads} heads",
            action="make num_attention_heads a divisor of hidden_size",
        )
    width = a.head_dim or a.hidden_size // a.num_attention_heads
    family = FAMILIES[a.family]
    if width % family.rotary_parts:
        raise Refusal(
            f"head width {width} is no multiple of {family.rotary_parts}",
            action="rotary embedding turns pairs of numbers",
        )
    if not family.own_head_width and width != a.hidden_size // a.num_attention_heads:
        others = " or ".join(name for name, one in FAMILIES.items() if one.own_head_width)
        raise Refusal(f"{a.family} has no head_dim of its own", action=f"remove head_dim or choose {others}")
    _check_rotation(a, family, width)
    if a.final_logit_softcapping is not None and not family.capped:
        raise Refusal(f"a {a.family} has no bound on its logits", action="remove final_logit_softcapping")
    if why := windows.fault(a):
        raise Refusal(f"{why[0]}: {why[1]}", action=why[2])
    return width


def _check_rotation(a: Architecture, family: Family, width: int) -> None:
    if a.rope_scaling is None:
        return
    if a.rope_scaling.rope_type not in family.scaled:
        raise Refusal(
            f"a {a.family} has no rotation of kind {a.rope_scaling.rope_type}",
            action=f"choose {' or '.join(family.scaled)}",
        )
    for name, why, way in rotation.faults(a.rope_scaling, int(width * family.turned), a.max_position_embeddings):
        raise Refusal(f"rope_scaling.{name or 'rope_type'}: {why}", action=way)


def _rotation(a: Architecture) -> dict[str, Any]:
    """`rope_parameters` of a config: of all layers, or of each type of them."""
    scaled = a.rope_scaling.parameters() if a.rope_scaling is not None else {"rope_type": "default"}
    whole = {**scaled, "rope_theta": a.rope_theta}
    local = FAMILIES[a.family].windowed_theta
    if local is None:
        return whole
    return {FULL: whole, SLIDING: {"rope_type": "default", "rope_theta": local}}


_CONFIGS: Mapping[str, type[PreTrainedConfig]] = {
    "llama": LlamaConfig,
    "mistral": MistralConfig,
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
    "phi": PhiConfig,
    "phi3": Phi3Config,
    "gemma": GemmaConfig,
    "gemma2": Gemma2Config,
    "gemma3_text": Gemma3TextConfig,
}


def config(architecture: Architecture, special: Mapping[str, int] | None = None) -> PreTrainedConfig:
    """The Transformers config; `special` holds the ids of "pad", "bos" and "eos" (absent ones stay unset).

    No dropout anywhere: resume and export promise the same numbers twice. Raises Refusal for impossible dimensions.
    """
    width = _check(architecture)
    ids = special or {}
    common: dict[str, Any] = {
        "vocab_size": architecture.vocab_size,
        "hidden_size": architecture.hidden_size,
        "intermediate_size": architecture.intermediate_size,
        "num_hidden_layers": architecture.num_hidden_layers,
        "num_attention_heads": architecture.num_attention_heads,
        "num_key_value_heads": architecture.num_key_value_heads,
        "max_position_embeddings": architecture.max_position_embeddings,
        "tie_word_embeddings": architecture.tie_word_embeddings,
        "rope_parameters": _rotation(architecture),
        "pad_token_id": ids.get("pad"),
        "bos_token_id": ids.get("bos"),
        "eos_token_id": ids.get("eos"),
    }
    for name, token in ids.items():
        if not 0 <= token < architecture.vocab_size:
            raise Refusal(
                f"{name} token {token} lies outside a vocabulary of {architecture.vocab_size}",
                action="give student and tokenizer one vocab_size",
            )
    family = FAMILIES[architecture.family]
    common[family.epsilon] = architecture.rms_norm_eps
    if family.own_head_width:
        common["head_dim"] = width
    scaled = architecture.rope_scaling
    if scaled is not None and "original_max_position_embeddings" in family.unsaid:
        common["original_max_position_embeddings"] = scaled.original_max_position_embeddings
    if family.capped:
        common["final_logit_softcapping"] = architecture.final_logit_softcapping
    if family.windowed is not None:
        common["sliding_window"] = architecture.sliding_window
    if family.windowed:
        common["layer_types"] = windows.types(architecture)
    common |= dict.fromkeys(family.width_fields, width)
    # what a config means that leaves it out, and no architecture states: Gemma 2's cap on scores
    common |= {name: only for name, only in family.only.items() if name in family.unsaid}
    return _CONFIGS[architecture.family](**common)


def build(
    architecture: Architecture, seed: int, special: Mapping[str, int] | None = None, *, attention: str = "eager"
) -> PreTrainedModel:
    """A float32 model with random weights: a function of (architecture, seed), whatever ran before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            config(architecture, special), attn_implementation="eager", dtype=torch.float32
        )
    # eagerly in a family that has no other way
    attend(model, attention)
    return model.eval()


def count(model: PreTrainedModel) -> int:
    """Number of parameters; a tied head counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a folder with safetensors weights. Raises Refusal for everything we do not load (see `load`)."""
    place = folder.name
    if not (folder / CONFIG).is_file():
        raise Refusal(f"no {CONFIG}", place=place, action="give a Transformers folder")
    pickles = sorted(path.name for path in folder.rglob("*") if path.suffix in PICKLES)
    if pickles:
        raise Refusal(
            f"the folder holds pickled files, which can run code: {', '.join(pickles)}",
            place=place,
            action="remove them; only *.safetensors is read",
        )
    if not any(folder.glob("*.safetensors")):
        raise Refusal("the folder has no weights (*.safetensors)", place=place, action="save them as safetensors")
    if why := shards.trouble(folder):
        raise Refusal(why, place=place, action="save the model again with save_pretrained into an empty folder")
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{CONFIG} is not JSON: {error}", place=place, action="take the file again") from None
    if not isinstance(found, dict) or not isinstance(found.get("model_type"), str):
        raise Refusal(f"{CONFIG} names no model_type", place=place, action="give a Transformers folder")
    for key, why in (("auto_map", "asks for code of its own"), ("quantization_config", "holds quantized weights")):
        if key in found:
            raise Refusal(f"{CONFIG} {why} (`{key}`)", place=place, action="give plain weights of a built-in family")
    return found


#: what a config says besides the shape of the weights and the arithmetic on them
OF_NO_SHAPE = frozenset(
    {
        "transformers_version",
        "architectures",
        "_name_or_path",
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
        "dtype",
        "use_cache",
        "initializer_range",
    }
)


def apart(declared: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The first key by which two configs make other models; "" when they make one. Every key of `declared` counts."""
    names = sorted(set(declared) - OF_NO_SHAPE)
    return next((name for name in names if not _same(declared[name], found.get(name))), "")


#: what configs call the fields of an architecture where they call them otherwise
_RENAMED = frozenset({"model_type", "layer_norm_eps"})


def otherwise(key: str, stated: str) -> str:
    """What to do where two configs are `apart` by a key: as `stated` for what an architecture states."""
    if key in Architecture.model_fields or key in _RENAMED:
        return stated
    return f"take weights with another {key}: student.architecture has no word for it"


def _same(one: object, other: object) -> bool:
    """Equal, where two numbers are one when they are one float32: weights know no finer (1e-05, 9.9999997e-06)."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.float32(one) == np.float32(other))
    return one == other


def attend(model: PreTrainedModel, attention: str) -> bool:
    """Let the model attend by another implementation; False (and unchanged) where its family does not have it."""
    if attention == "sdpa" and not getattr(model, "_supports_sdpa", False):
        return False
    try:
        model.set_attn_implementation(attention)
    except (ValueError, ImportError):
        return False
    return True


def context_of(model: PreTrainedModel) -> int | None:
    """Most positions the model's config allows; None when it names no limit (Mamba, ALiBi)."""
    found = getattr(model.config, "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None


def _check_tie(model: PreTrainedModel, place: str) -> None:
    """Raises Refusal where the config says that head and embedding are one matrix and the file holds two.

    Transformers 5 then keeps both and only logs it; every other reader that believes the config drops the head.
    """
    inside, outside = model.get_input_embeddings(), model.get_output_embeddings()
    wanted = bool(getattr(model.config.get_text_config(decoder=True), "tie_word_embeddings", False))
    one, two = getattr(inside, "weight", None), getattr(outside, "weight", None)
    if not wanted or not getattr(model, "_tied_weights_keys", None) or one is None or two is None or one is two:
        return
    # a parameter that two names share has both only when the duplicates are kept
    names = {id(tensor): name for name, tensor in model.named_parameters(remove_duplicate=False)}
    raise Refusal(
        f"{CONFIG} says tie_word_embeddings, and the weights hold two different matrices: "
        f"{names.get(id(one), 'the embedding')} and {names.get(id(two), 'the head')}",
        place=place,
        action=f"write `tie_word_embeddings: false` in {CONFIG} if both were trained, else remove the second tensor",
    )


def held(folder: Path) -> torch.dtype:
    """The floats in which a checkpoint of ours is kept: bfloat16 when all of it is, else float32."""
    kinds = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            # a handle, which is no mapping
            names = file.keys()
            kinds |= {file.get_slice(name).get_dtype() for name in names}
    return torch.bfloat16 if kinds == {"BF16"} else torch.float32


def round_to(model: PreTrainedModel, dtype: torch.dtype) -> int:
    """Round every parameter to what `dtype` can hold, still in float32; how many numbers that changed."""
    changed = 0
    for parameter in model.parameters():
        rounded = parameter.detach().to(dtype).to(torch.float32)
        changed += int((rounded != parameter.detach()).sum())
        parameter.data = rounded
    return changed


def _stored(folder: Path, found: Mapping[str, Any]) -> int:
    """How many numbers the files of a folder hold. Raises Refusal for a file that is no safetensors, and for a config
    that asks for more layers than there are tensors: the library would build them all before it looks."""
    tensors = 0
    numbers = 0
    for path in sorted(folder.glob("*.safetensors")):
        head = shards.header(path)
        if isinstance(head, str):
            raise Refusal(f"{path.name} is not a safetensors file: {head}", place=folder.name, action="save it again")
        tensors += len(head)
        numbers += shards.elements(head)
    inner = found.get("text_config")
    for said in (found, inner if isinstance(inner, dict) else {}):
        for name in LAYERS:
            if isinstance(said.get(name), int) and said[name] > tensors:
                raise Refusal(
                    f"{CONFIG} says {name} {said[name]}, and the files hold {tensors} tensors",
                    place=folder.name,
                    action="take config.json and weights of one model",
                )
    return numbers


def load(folder: Path, *, attention: str = "eager", dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The causal language model of a Transformers folder: float32 (or `dtype`), eval mode, on the CPU.

    A family without `attention` attends eagerly. Raises Refusal for a folder without config or weights, with pickles,
    with code or quantized weights, for weights that do not fit the config in name or shape, for a tie that the config
    states and the weights break, and for weights that are not finite.
    """
    found = read_config(folder)
    kind = found["model_type"]
    stored = _stored(folder, found)
    hf_logging.disable_progress_bar()
    # what does not fit is refused below in one sentence; the library prints pages about it
    before = hf_logging.get_verbosity()
    hf_logging.set_verbosity(hf_logging.CRITICAL)
    try:
        with torch.device("meta"):
            wanted = count(AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, local_files_only=True)))
        if wanted > 2 * stored:
            raise ValueError(f"{CONFIG} asks for {wanted} numbers, and the files hold {stored}")
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=dtype,
            attn_implementation="eager",
            # named and refused below; the library would stop without saying which
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    # whatever a strange config makes the library raise: a division by zero heads, an assertion, a missing package
    except Exception as error:
        raise Refusal(
            f"cannot load a `{kind}` model: {' '.join(str(error).split())[:200] or type(error).__name__}",
            place=folder.name,
            action="give a causal language model that this version of Transformers knows, with whole weights",
        ) from error
    finally:
        hf_logging.set_verbosity(before)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if info.get(what):
            names = ", ".join(name if isinstance(name, str) else name[0] for name in sorted(info[what], key=str)[:5])
            raise Refusal(
                f"weights do not fill the model: {what} {names}",
                place=folder.name,
                action=f"take {CONFIG} and weights of one model, each as its authors publish it",
            )
    for name, tensor in model.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise Refusal(f"tensor {name} is not finite", place=folder.name, action="take the weights again")
    _check_tie(model, folder.name)
    heads.load(model, folder)
    loaded: PreTrainedModel = model.eval()
    attend(loaded, attention)
    return loaded


def save(model: PreTrainedModel, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """config.json and model.safetensors in `folder`, and what heads it has beside its own in another file; the same
    model gives the same bytes. A tensor that two names share
    is stored once, under the name the model meets first, and tied again by the config when read."""
    model.config.architectures = [type(model).__name__]
    durable.write(folder / CONFIG, model.config.to_json_string(use_diff=True))
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            tensors[name] = tensor
    own, beside = heads.split(tensors)
    pour(folder / WEIGHTS, own, {"format": "pt"}, dtype)
    if beside:
        pour(folder / FILE, beside, {"format": "pt"}, dtype)

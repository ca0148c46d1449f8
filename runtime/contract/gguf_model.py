"""A GGUF header → the files of the Transformers folder that means the same, and where each weight goes.

The compiler reads these files as if they lay in a folder, the machine writes them beside the weights: both know the
same of a file. What a file holds and Transformers' own model of that family does not is refused, never dropped.
Names of keys and tensors: llama.cpp `gguf-py/gguf/constants.py`, `convert_hf_to_gguf.py`.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from runtime.contract import gguf, gguf_words
from runtime.contract.gguf import Header, Tensor
from runtime.contract.gguf_words import Unsupported

Json = dict[str, Any]
_T = TypeVar("_T")

CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
GENERATION, CHAT_TEMPLATE = "generation_config.json", "chat_template.jinja"
#: architecture of a file → class of Transformers 5.23 that is the same function
FAMILIES: Mapping[str, str] = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3": "Gemma3ForCausalLM",
}
#: model type → architecture of the file that it is written as: a Mistral without a window is a Llama, there too
WRITTEN: Mapping[str, str] = {
    **{name: name for name in FAMILIES if name != "gemma3"},
    "mistral": "llama",
    "gemma3_text": "gemma3",
}
#: architecture → every so many layers one attends to the whole text: llama.cpp reads it in no key
PATTERNS: Mapping[str, int] = {"gemma2": 2, "gemma3": 6}
#: a cap on logits that is none: llama.cpp caps every Gemma 2, at 30 where nothing is said
NO_CAP = 1e6
_LARGEST = 1 << 32
#: the tensor with which Llama 3.1 and later scale their rotary embedding
DIVISORS, _MOST_FREQUENCIES = "rope_freqs.weight", 4096
#: those of longrope, for texts of the original context and for longer ones
SHORT, LONG = "rope_factors_short.weight", "rope_factors_long.weight"
#: keys of the architecture that are read, and those that say nothing new
_KNOWN = re.compile(
    r"(context_length|embedding_length|block_count|feed_forward_length|vocab_size|rope\.(freq_base|dimension_count)|"
    r"rope\.scaling\.(type|factor|original_context_length|attn_factor)|"
    r"attention\.(head_count|head_count_kv|layer_norm_rms_epsilon|key_length|value_length))\Z"
)


_NONE: Mapping[str, Sequence[float]] = {}


@dataclass(frozen=True)
class Weight:
    """A tensor of the file and its name in Transformers. `heads`: rows of each head are stored in pairs (0: as is);
    `more`: what the file adds to each number."""

    name: str
    tensor: Tensor
    heads: int = 0
    more: int = 0


@dataclass(frozen=True)
class Place:
    """Where a tensor goes: see `Weight`."""

    name: str
    shape: tuple[int, ...]
    heads: int = 0
    more: int = 0


@dataclass(frozen=True)
class Model:
    """What a file is. `documents`: name of a JSON file of the folder → what stands in it; `chat_template` is the text
    of the template, "" where there is none."""

    header: Header = field(repr=False)
    documents: Mapping[str, Json] = field(repr=False)
    chat_template: str = field(repr=False)
    weights: tuple[Weight, ...] = field(repr=False)

    @property
    def parameters(self) -> int:
        """Number of elements of all weights; a head that is the embedding counts once."""
        return sum(weight.tensor.elements for weight in self.weights)


def read(path: Path) -> Model:
    """A file as a model. Raises gguf.Broken, Unsupported, and OSError.

    A file that did not change since is not read twice.
    """
    stat = path.stat()
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, _changed: int, _size: int) -> Model:
    header = gguf.read(path)
    return of(header, {name: _divisors(path, header, name) for name in (DIVISORS, SHORT, LONG)})


def _divisors(path: Path, header: Header, name: str) -> list[float]:
    """What the file divides each frequency of the rotary embedding by; none where it does not."""
    stored = header.tensors.get(name)
    if stored is None:
        return []
    if stored.type.name != "F32" or len(stored.shape) != 1 or stored.elements > _MOST_FREQUENCIES:
        raise Unsupported(f"tensor `{name}` is no short list of floats")
    with path.open("rb") as file:
        file.seek(stored.offset)
        return list(struct.unpack(f"<{stored.elements}f", file.read(stored.bytes)))


def of(header: Header, divisors: Mapping[str, Sequence[float]] = _NONE) -> Model:
    """A header as a model; `divisors` are the numbers of tensors that scale the rotation. Raises Unsupported."""
    architecture = header.metadata.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in FAMILIES:
        said = f"is a `{architecture}`" if isinstance(architecture, str) else "does not say what it is"
        raise Unsupported(f"the model {said}; read are {', '.join(FAMILIES)}")
    if (header.metadata.get("split.count") or 1) != 1:
        raise Unsupported("it is one of several parts", "join them with llama-gguf-split --merge, and name the result")
    words = gguf_words.tokenizer(header)
    texts = gguf_words.tokens(header)
    config = _config(header, architecture, len(texts), divisors)
    weights = tuple(_weights(header, architecture, config))
    template = header.metadata.get("tokenizer.chat_template", "")
    if not isinstance(template, str):
        raise Unsupported("its chat template is no text")
    documents = {
        CONFIG: config,
        TOKENIZER: words,
        TOKENIZER_CONFIG: _tokenizer_config(header, texts, config),
        GENERATION: _generation(header, config),
    }
    return Model(header, documents, template, weights)


def text(document: Json) -> str:
    """A JSON file as it is written."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _config(header: Header, architecture: str, tokens: int, divisors: Mapping[str, Sequence[float]]) -> Json:
    ask = _Asked(header, architecture)
    ask.refuse_unknown()
    layers = ask.whole("block_count")
    if layers > len(header.tensors):
        raise Unsupported(f"it states {layers:,} layers and holds {len(header.tensors):,} tensors")
    hidden, heads = ask.whole("embedding_length"), ask.whole("attention.head_count")
    kv = ask.whole("attention.head_count_kv", heads)
    width = ask.whole("attention.key_length", hidden // heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        if ask.whole(key, width) != width:
            raise Unsupported(f"{architecture}.{key} is {ask.whole(key)}, and its heads are {width} wide")
    embedding = header.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise Unsupported("it has no embedding (token_embd.weight)", "take a file that holds the whole model")
    rows = embedding.shape[0]
    if ask.whole("vocab_size", rows) != rows or tokens > rows:
        raise Unsupported(f"its embedding has {rows:,} rows, for {max(tokens, ask.whole('vocab_size', rows)):,} tokens")
    config: Json = {
        "architectures": [FAMILIES[architecture]],
        "model_type": next(name for name, written in WRITTEN.items() if written == architecture),
        "vocab_size": rows,
        "hidden_size": hidden,
        "intermediate_size": ask.whole("feed_forward_length"),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "head_dim": width,
        "max_position_embeddings": ask.whole("context_length"),
        "rms_norm_eps": _shortest(ask.number("attention.layer_norm_rms_epsilon")),
        "rope_parameters": _rotation(ask, width, divisors),
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "hidden_act": "silu",
        "attention_dropout": 0.0,
    }
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        config[f"{name}_token_id"] = gguf_words.special(header, key)
    if architecture in ("qwen2", "phi3") and width * heads != hidden:
        # these have no width of heads of their own
        raise Unsupported(f"its {heads} heads of {width} are not its width, {hidden}")
    return {**config, **_further(ask, architecture, config)}


def _further(ask: _Asked, architecture: str, config: Json) -> Json:
    """What configs of some architectures say besides."""
    if architecture == "phi3":
        original = config["rope_parameters"].get("original_max_position_embeddings")
        return {} if original is None else {"original_max_position_embeddings": original}
    if not architecture.startswith("gemma"):
        return {}
    if not config["tie_word_embeddings"]:
        raise Unsupported("it has a head of its own, and llama.cpp takes a Gemma's embedding for it")
    act = "hidden_act" if architecture == "gemma" else "hidden_activation"
    found: Json = {act: "gelu_pytorch_tanh"}
    if architecture == "gemma":
        return found
    every, width = PATTERNS[architecture], config["head_dim"]
    found |= {
        "query_pre_attn_scalar": width,
        "sliding_window": ask.whole("attention.sliding_window", 4096 if architecture == "gemma2" else None),
        "layer_types": types(every, config["num_hidden_layers"]),
    }
    if architecture == "gemma3":
        rotations = {"full_attention": config["rope_parameters"], "sliding_attention": _LOCAL}
        return {**found, "rope_parameters": rotations}
    cap = ask.number("final_logit_softcapping", 30.0)
    caps = {"attn_logit_softcapping": ask.number("attn_logit_softcapping", 50.0)}
    return {**found, **caps, "final_logit_softcapping": None if cap >= NO_CAP else cap}


def types(every: int, layers: int) -> list[str]:
    """Types of layers of which the last of every so many attends to the whole text."""
    return ["sliding_attention" if (i + 1) % every else "full_attention" for i in range(layers)]


#: of a Gemma 3's layers with a window
_LOCAL: Json = {"rope_type": "default", "rope_theta": 10000.0}


def _rotation(ask: _Asked, width: int, divisors: Mapping[str, Sequence[float]]) -> Json:
    """The rotary embedding, as keys and tensors scale it."""
    theta = _shortest(ask.number("rope.freq_base", 10000.0))
    kind, base = ask.text("rope.scaling.type", "none"), {"rope_theta": theta}
    original = ask.whole("rope.scaling.original_context_length", 0, least=0) or None
    if kind == "longrope" or divisors.get(SHORT):
        short, long = (list(map(_shortest, divisors.get(name) or ())) for name in (SHORT, LONG))
        if original is None or len(short) != width // 2 or len(long) != width // 2:
            raise Unsupported("its longrope lacks its original context or its numbers")
        attended = {"attention_factor": _shortest(ask.number("rope.scaling.attn_factor", 1.0))}
        lists = {"short_factor": short, "long_factor": long, "original_max_position_embeddings": original}
        return {"rope_type": "longrope", **base, **attended, **lists}
    if kind not in ("none", "linear", "yarn"):
        raise Unsupported(f"its rotary embedding is scaled by `{kind[:40]}`")
    factor = _shortest(ask.number("rope.scaling.factor", 1.0))
    if kind == "linear" or (kind == "none" and factor != 1.0):
        return {"rope_type": "linear", **base, "factor": factor}
    if kind == "yarn":
        if original is None:
            raise Unsupported("its rotary embedding is scaled by `yarn`, and it states no original context")
        stated = ask.number("rope.scaling.attn_factor", 1.0)
        # llama.cpp multiplies what the paper advises by this
        said = {} if stated == 1.0 else {"attention_factor": _shortest(stated * (1 + 0.1 * math.log(factor)))}
        more = {"factor": factor, "original_max_position_embeddings": original}
        return {"rope_type": "yarn", **base, **more, **said}
    return _llama3(theta, width, divisors.get(DIVISORS) or (), original or 8192)


def _llama3(theta: float, width: int, divisors: Sequence[float], original: int) -> Json:
    """Divisors of the rotary embedding's frequencies are those of Llama 3.1 and later, or they are refused.

    A file holds the numbers and not the rule (Transformers 5.23, `modeling_rope_utils.py`, `llama3`); long waves are
    divided by its factor, so that the largest number is it, and all others must follow.
    """
    if not divisors:
        return {"rope_type": "default", "rope_theta": theta}
    low, high, factor = 1.0, 4.0, _shortest(max(divisors))
    wanted = []
    for i in range(width // 2):
        turns = original * theta ** (-2 * i / width) / (2 * math.pi)
        smooth = min(1.0, max(0.0, (turns - low) / (high - low)))
        wanted.append(1 / ((1 - smooth) / factor + smooth) if math.isfinite(factor) and factor >= 1 else math.nan)
    near = [abs(one - other) <= 1e-5 * other for one, other in zip(divisors, wanted, strict=False)]
    if len(divisors) != len(wanted) or not all(near):
        raise Unsupported(f"its rotary embedding is scaled by numbers (`{DIVISORS}`) that are not those of Llama 3.1")
    return {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }


#: architecture → keys that it alone has
_OWN: Mapping[str, frozenset[str]] = {
    "gemma2": frozenset({"attention.sliding_window", "attn_logit_softcapping", "final_logit_softcapping"}),
    "gemma3": frozenset({"attention.sliding_window"}),
}


class _Asked:
    """Keys of the architecture, each of the kind it must be."""

    def __init__(self, header: Header, architecture: str) -> None:
        self._header, self._prefix = header, f"{architecture}."

    def refuse_unknown(self) -> None:
        """Raises Unsupported for a key of the architecture that changes what it computes and is not read here."""
        for key, value in self._header.metadata.items():
            if not key.startswith(self._prefix) or _KNOWN.match(key.removeprefix(self._prefix)):
                continue
            read = _OWN.get(self._prefix.removesuffix("."), frozenset())
            idle = value in (0, 0.0, False, "none") or key.endswith("rope.scaling.finetuned")
            idle = idle or key.removeprefix(self._prefix) in read
            if not idle:
                raise Unsupported(f"{gguf.shown(key)} is {str(value)[:40]}, which is not carried over")

    def whole(self, key: str, unsaid: int | None = None, *, least: int = 1) -> int:
        value = self._said(key, unsaid)
        if type(value) is not int or not least <= value < _LARGEST:
            raise Unsupported(f"{self._prefix}{key} is {str(value)[:40]}, no count")
        return value

    def text(self, key: str, unsaid: str) -> str:
        value = self._said(key, unsaid)
        if not isinstance(value, str):
            raise Unsupported(f"{self._prefix}{key} is {str(value)[:40]}, no word")
        return value

    def number(self, key: str, unsaid: float | None = None) -> float:
        value = self._said(key, unsaid)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise Unsupported(f"{self._prefix}{key} is {str(value)[:40]}, no number above zero")
        return float(value)

    def _said(self, key: str, unsaid: _T) -> gguf.Value | _T:
        value = self._header.metadata.get(f"{self._prefix}{key}", unsaid)
        if value is None:
            raise Unsupported(f"it does not state {self._prefix}{key}", "take a file that holds the whole model")
        return value


def _shortest(value: float) -> float:
    """The plainest decimal that is the same float32 (9.999999747378752e-06 is 1e-05)."""
    for digits in range(1, 10):
        plain = float(f"{value:.{digits}g}")
        if gguf.same_float32(plain, value):
            return plain
    return value


def _tokenizer_config(header: Header, texts: list[str], config: Json) -> Json:
    made: Json = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": config["max_position_embeddings"],
    }
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")):
        number = gguf_words.special(header, key)
        if number is not None:
            made[f"{name}_token"] = texts[number]
    return made


def _generation(header: Header, config: Json) -> Json:
    """What ends an answer: the end of a text, of a turn and of a message, as far as the file names them."""
    ends = [gguf_words.special(header, name) for name in ("eos", "eot", "eom")]
    distinct = list(dict.fromkeys(number for number in ends if number is not None))
    made = {name: config[name] for name in ("bos_token_id", "pad_token_id") if config[name] is not None}
    if distinct:
        made["eos_token_id"] = distinct if len(distinct) > 1 else distinct[0]
    return made


def _weights(header: Header, architecture: str, config: Json) -> Iterator[Weight]:
    wanted = dict(places(architecture, config))
    of_rotation = {"llama3": {DIVISORS}, "longrope": {SHORT, LONG}}
    kept = of_rotation.get(config["rope_parameters"].get("rope_type", ""), set())
    for name, tensor in sorted(header.tensors.items()):
        if name in kept:
            continue
        if name not in wanted:
            raise Unsupported(f"tensor `{gguf.shown(name)}` has no place in a {FAMILIES[architecture]}")
        place = wanted.pop(name)
        if tensor.shape != place.shape:
            raise Unsupported(f"tensor `{name}` is {_by(tensor.shape)}, and by its keys {_by(place.shape)}")
        yield Weight(place.name, tensor, place.heads, place.more)
    if wanted:
        raise Unsupported(f"tensor `{next(iter(wanted))}` is not in it", "take a file that holds the whole model")


def places(architecture: str, config: Json) -> Iterator[tuple[str, Place]]:
    """Name in the file → where it goes in Transformers."""
    hidden, vocab, mlp = config["hidden_size"], config["vocab_size"], config["intermediate_size"]
    heads, kv, width = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    gemma = architecture.startswith("gemma")

    def norm(name: str, size: int = hidden) -> Place:
        # llama.cpp multiplies by the weight, a Gemma by one more
        return Place(name, (size,), more=int(gemma))

    yield "token_embd.weight", Place("model.embed_tokens.weight", (vocab, hidden))
    yield "output_norm.weight", norm("model.norm.weight")
    if not config["tie_word_embeddings"]:
        yield "output.weight", Place("lm_head.weight", (vocab, hidden))
    for i in range(config["num_hidden_layers"]):
        here: Callable[[str], str] = f"model.layers.{i}.{{}}".format
        for name, place in _norms(architecture):
            yield f"blk.{i}.{name}.weight", norm(here(f"{place}.weight"))
        if architecture == "phi3":
            rows = (heads + 2 * kv) * width
            yield f"blk.{i}.attn_qkv.weight", Place(here("self_attn.qkv_proj.weight"), (rows, hidden))
        for letter, count in (("q", heads), ("k", kv), ("v", kv)) if architecture != "phi3" else ():
            # llama.cpp turns neighbouring rows of a `llama`, Transformers the two halves of a head
            turned = count if architecture == "llama" and letter != "v" else 0
            place = here(f"self_attn.{letter}_proj.")
            yield f"blk.{i}.attn_{letter}.weight", Place(f"{place}weight", (count * width, hidden), turned)
            if architecture == "qwen2":
                yield f"blk.{i}.attn_{letter}.bias", Place(f"{place}bias", (count * width,))
            if architecture in ("qwen3", "gemma3") and letter != "v":
                yield f"blk.{i}.attn_{letter}_norm.weight", norm(here(f"self_attn.{letter}_norm.weight"), width)
        yield f"blk.{i}.attn_output.weight", Place(here("self_attn.o_proj.weight"), (hidden, heads * width))
        if architecture == "phi3":
            yield f"blk.{i}.ffn_up.weight", Place(here("mlp.gate_up_proj.weight"), (2 * mlp, hidden))
        else:
            yield f"blk.{i}.ffn_gate.weight", Place(here("mlp.gate_proj.weight"), (mlp, hidden))
            yield f"blk.{i}.ffn_up.weight", Place(here("mlp.up_proj.weight"), (mlp, hidden))
        yield f"blk.{i}.ffn_down.weight", Place(here("mlp.down_proj.weight"), (hidden, mlp))


def _norms(architecture: str) -> Iterator[tuple[str, str]]:
    """Name in the file → name in a layer."""
    yield "attn_norm", "input_layernorm"
    if architecture not in ("gemma2", "gemma3"):
        yield "ffn_norm", "post_attention_layernorm"
        return
    yield "post_attention_norm", "post_attention_layernorm"
    yield "ffn_norm", "pre_feedforward_layernorm"
    yield "post_ffw_norm", "post_feedforward_layernorm"


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))

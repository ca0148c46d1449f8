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
}
#: model type → architecture of the file that it is written as: a Mistral without a window is a Llama, there too
WRITTEN: Mapping[str, str] = {**{name: name for name in FAMILIES}, "mistral": "llama"}
_LARGEST = 1 << 32
#: the tensor with which Llama 3.1 and later scale their rotary embedding
DIVISORS, _MOST_FREQUENCIES = "rope_freqs.weight", 4096
#: keys of the architecture that are read, and those that say nothing new
_KNOWN = re.compile(
    r"(context_length|embedding_length|block_count|feed_forward_length|vocab_size|rope\.(freq_base|dimension_count)|"
    r"attention\.(head_count|head_count_kv|layer_norm_rms_epsilon|key_length|value_length))\Z"
)


@dataclass(frozen=True)
class Weight:
    """A tensor of the file and its name in Transformers. `heads`: rows of each head are stored in pairs (0: as is)."""

    name: str
    tensor: Tensor
    heads: int = 0


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
    return of(header, _divisors(path, header))


def _divisors(path: Path, header: Header) -> list[float]:
    """What the file divides each frequency of the rotary embedding by; none where it does not."""
    stored = header.tensors.get(DIVISORS)
    if stored is None:
        return []
    if stored.type.name != "F32" or len(stored.shape) != 1 or stored.elements > _MOST_FREQUENCIES:
        raise Unsupported(f"tensor `{DIVISORS}` is no short list of floats")
    with path.open("rb") as file:
        file.seek(stored.offset)
        return list(struct.unpack(f"<{stored.elements}f", file.read(stored.bytes)))


def of(header: Header, divisors: Sequence[float] = ()) -> Model:
    """A header as a model; `divisors` are the numbers of tensor `rope_freqs.weight`. Raises Unsupported."""
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


def _config(header: Header, architecture: str, tokens: int, divisors: Sequence[float]) -> Json:
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
        "model_type": architecture,
        "vocab_size": rows,
        "hidden_size": hidden,
        "intermediate_size": ask.whole("feed_forward_length"),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "head_dim": width,
        "max_position_embeddings": ask.whole("context_length"),
        "rms_norm_eps": _shortest(ask.number("attention.layer_norm_rms_epsilon")),
        "rope_parameters": _rotation(_shortest(ask.number("rope.freq_base", 10000.0)), width, divisors),
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "hidden_act": "silu",
        "attention_dropout": 0.0,
    }
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        config[f"{name}_token_id"] = gguf_words.special(header, key)
    if architecture == "qwen2" and width * heads != hidden:
        # Qwen2 has no width of heads of its own
        raise Unsupported(f"its {heads} heads of {width} are not its width, {hidden}")
    return config


def _rotation(theta: float, width: int, divisors: Sequence[float]) -> Json:
    """The rotary embedding. Divisors of its frequencies are those of Llama 3.1 and later, or they are refused.

    A file holds the numbers and not the rule (Transformers 5.23, `modeling_rope_utils.py`, `llama3`); long waves are
    divided by its factor, so that the largest number is it, and all others must follow.
    """
    if not divisors:
        return {"rope_type": "default", "rope_theta": theta}
    low, high, original, factor = 1.0, 4.0, 8192, _shortest(max(divisors))
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


class _Asked:
    """Keys of the architecture, each of the kind it must be."""

    def __init__(self, header: Header, architecture: str) -> None:
        self._header, self._prefix = header, f"{architecture}."

    def refuse_unknown(self) -> None:
        """Raises Unsupported for a key of the architecture that changes what it computes and is not read here."""
        for key, value in self._header.metadata.items():
            if not key.startswith(self._prefix) or _KNOWN.match(key.removeprefix(self._prefix)):
                continue
            idle = value in (0, 0.0, False, "none") or key.endswith("rope.scaling.finetuned")
            if not idle:
                raise Unsupported(f"{gguf.shown(key)} is {str(value)[:40]}, which is not carried over")

    def whole(self, key: str, unsaid: int | None = None) -> int:
        value = self._said(key, unsaid)
        if type(value) is not int or not 0 < value < _LARGEST:
            raise Unsupported(f"{self._prefix}{key} is {str(value)[:40]}, no count")
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
    for name, tensor in sorted(header.tensors.items()):
        if name == DIVISORS and config["rope_parameters"]["rope_type"] == "llama3":
            continue
        if name not in wanted:
            raise Unsupported(f"tensor `{gguf.shown(name)}` has no place in a {FAMILIES[architecture]}")
        place, shape, heads = wanted.pop(name)
        if tensor.shape != shape:
            raise Unsupported(f"tensor `{name}` is {_by(tensor.shape)}, and by its keys {_by(shape)}")
        yield Weight(place, tensor, heads)
    if wanted:
        raise Unsupported(f"tensor `{next(iter(wanted))}` is not in it", "take a file that holds the whole model")


def places(architecture: str, config: Json) -> Iterator[tuple[str, tuple[str, tuple[int, ...], int]]]:
    """Name in the file → (name in Transformers, shape, heads whose rows are stored in pairs)."""
    hidden, vocab, mlp = config["hidden_size"], config["vocab_size"], config["intermediate_size"]
    heads, kv, width = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    yield "token_embd.weight", ("model.embed_tokens.weight", (vocab, hidden), 0)
    yield "output_norm.weight", ("model.norm.weight", (hidden,), 0)
    if not config["tie_word_embeddings"]:
        yield "output.weight", ("lm_head.weight", (vocab, hidden), 0)
    # llama.cpp turns neighbouring rows of a `llama`, Transformers the two halves of a head
    pairs = architecture == "llama"
    for i in range(config["num_hidden_layers"]):
        here: Callable[[str], str] = f"model.layers.{i}.{{}}".format
        yield f"blk.{i}.attn_norm.weight", (here("input_layernorm.weight"), (hidden,), 0)
        yield f"blk.{i}.ffn_norm.weight", (here("post_attention_layernorm.weight"), (hidden,), 0)
        for letter, count in (("q", heads), ("k", kv), ("v", kv)):
            turned = count if pairs and letter != "v" else 0
            place = here(f"self_attn.{letter}_proj.")
            yield f"blk.{i}.attn_{letter}.weight", (f"{place}weight", (count * width, hidden), turned)
            if architecture == "qwen2":
                yield f"blk.{i}.attn_{letter}.bias", (f"{place}bias", (count * width,), 0)
            if architecture == "qwen3" and letter != "v":
                name = f"blk.{i}.attn_{letter}_norm.weight"
                yield name, (here(f"self_attn.{letter}_norm.weight"), (width,), 0)
        yield f"blk.{i}.attn_output.weight", (here("self_attn.o_proj.weight"), (hidden, heads * width), 0)
        for part, shape in (("gate", (mlp, hidden)), ("up", (mlp, hidden)), ("down", (hidden, mlp))):
            yield f"blk.{i}.ffn_{part}.weight", (here(f"mlp.{part}_proj.weight"), shape, 0)


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))

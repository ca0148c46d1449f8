"""Architectures in a spec, and the exact number of their parameters (see `runtime.contract.families`)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from kcompiler.spec import Spec
from runtime.contract import rotation, windows
from runtime.contract.architecture import Architecture
from runtime.contract.families import FAMILIES, NAMES, Family
from runtime.contract.rotation import RopeScaling


def teacher_architectures(spec: Spec) -> Iterator[tuple[str, Architecture]]:
    """(pointer, architecture) of a teacher whose shape the spec declares."""
    for name in type(spec.teacher.params).model_fields:
        value = getattr(spec.teacher.params, name)
        if isinstance(value, Architecture):
            yield f"/teacher/{name}", value


def head_dim(architecture: Architecture) -> int:
    """Width of one attention head."""
    return architecture.head_dim or architecture.hidden_size // architecture.num_attention_heads


#: fields that most models lack
LACKED = ("rope_scaling", "sliding_window", "sliding_window_pattern", "final_logit_softcapping")


def said_of(a: Architecture) -> dict[str, Any]:
    """Every field of an architecture, as `of_config` gives them; those that it lacks are None."""
    return {**dict.fromkeys(LACKED), **a.model_dump(), "rope_scaling": a.rope_scaling and a.rope_scaling.parameters()}


@dataclass(frozen=True)
class Part:
    """Parameters of one part of a model, and how they were counted."""

    name: str
    formula: str
    count: int


def parameters(a: Architecture) -> list[Part]:
    """The parts of a model; their counts add up to the number of its trainable parameters, tied ones counted once."""
    h, d = a.hidden_size, head_dim(a)
    q, kv, m = a.num_attention_heads * d, a.num_key_value_heads * d, a.intermediate_size
    family = FAMILIES[a.family]
    if family.parallel:
        attention = Part(
            "attention", f"{h}×{q}+{q} + 2×({h}×{kv}+{kv}) + {q}×{h}+{h}", h * q + q + 2 * (h * kv + kv) + q * h + h
        )
        mlp = Part("MLP", f"{h}×{m}+{m} + {m}×{h}+{h}", h * m + m + m * h + h)
        norms, last = Part("norm", f"2×{h}", 2 * h), Part("last norm", f"2×{h}", 2 * h)
    else:
        biases = q + 2 * kv if family.biased_queries else 0
        norms_of_heads = 2 * d if family.normed_heads else 0
        more = (f" + {q} + 2×{kv}" if biases else "") + (f" + 2×{d}" if norms_of_heads else "")
        attention = Part("attention", f"2×{h}×{q} + 2×{h}×{kv}{more}", 2 * h * q + 2 * h * kv + biases + norms_of_heads)
        mlp = Part("MLP", f"3×{h}×{m}", 3 * h * m)
        count = 4 if family.sandwiched else 2
        norms, last = Part("norms", f"{count}×{h}", count * h), Part("last norm", f"{h}", h)
    layer = attention.count + mlp.count + norms.count
    inside = " + ".join(f"{part.name} ({part.formula})" for part in (attention, mlp, norms))
    parts = [
        Part("embedding", f"{a.vocab_size}×{h}", a.vocab_size * h),
        Part(f"{a.num_hidden_layers} layers", f"{a.num_hidden_layers}×({inside})", a.num_hidden_layers * layer),
        last,
    ]
    if not a.tie_word_embeddings:
        parts.append(Part("head", f"{h}×{a.vocab_size}", h * a.vocab_size))
    if family.parallel:
        parts.append(Part("head bias", f"{a.vocab_size}", a.vocab_size))
    return parts


def total(architecture: Architecture) -> int:
    """Number of parameters of a model."""
    return sum(part.count for part in parameters(architecture))


_WHOLE_NUMBERS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
)
#: what of config.json is looked up by its name
_FIELDS = (*_WHOLE_NUMBERS, "head_dim", "rms_norm_eps", "tie_word_embeddings")


#: what to do about an `Unfit`
ANOTHER = (
    f"take weights of a {NAMES} whose config.json says nothing beyond student.architecture, or have a "
    "student of its own shape learn from these: no `checkpoint` and no `cut`"
)


class Unreadable(Exception):
    """A config.json gives no architecture of a spec; the message says why."""


class Unfit(Unreadable):
    """It is here, and means a model that no architecture of a spec states."""


def of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `student.architecture` that a config.json means, all of them but the vocabulary's width.

    Raises Unfit: another family, another arithmetic, or no number where one must stand.
    """
    name_of = config.get("model_type")
    family = FAMILIES.get(name_of) if isinstance(name_of, str) else None
    if family is None:
        raise Unfit(f"`{name_of}` is none of the families {', '.join(FAMILIES)}" if name_of else "no model_type")
    written = {"rms_norm_eps": family.epsilon}
    said = {name: _said(config, written.get(name, name), family.unsaid.get(name)) for name in _FIELDS}
    if said["num_key_value_heads"] is None:
        said["num_key_value_heads"] = said["num_attention_heads"]
    for name in _WHOLE_NUMBERS:
        if not isinstance(said[name], int) or isinstance(said[name], bool):
            raise Unfit(f"{name} is {said[name]!r}, no whole number")
    heads = said["num_attention_heads"]
    if said["head_dim"] is None or (heads > 0 and said["head_dim"] * heads == said["hidden_size"]):
        del said["head_dim"]
    if not isinstance(said["tie_word_embeddings"], bool):
        raise Unfit(f"tie_word_embeddings is {said['tie_word_embeddings']!r}")
    _check_arithmetic(family, config)
    width = said.get("head_dim") or said["hidden_size"] // max(1, heads)
    for name in family.width_fields:
        if _said(config, name, family.unsaid.get(name)) != width:
            raise Unfit(
                f"its {name} is {_said(config, name, family.unsaid.get(name))!r}, and its heads are {width} wide"
            )
    theta = _theta(family, config)
    shape = {"family": name_of, **said, "rms_norm_eps": _number(said, "rms_norm_eps"), "rope_theta": theta}
    scaled = scaling(family, config)
    more = {} if scaled is None else {"rope_scaling": scaled.parameters()}
    return {**shape, **more, **_windows(family, config), **_cap(family, config)}


def _cap(family: Family, config: Mapping[str, Any]) -> dict[str, float]:
    """The bound of the logits, of a family that has one. A config.json that leaves it out means one; null is none."""
    if not family.capped:
        return {}
    name = "final_logit_softcapping"
    said = {name: config.get(name, family.unsaid[name])}
    if said[name] is None:
        return {}
    value = _number(said, name)
    if not value > 0:
        raise Unfit(f"{name} is {value!r}, no number above zero")
    return {name: value}


def _windows(family: Family, config: Mapping[str, Any]) -> dict[str, int]:
    """The window of a config.json and which layers have it, where that is not what the family's have."""
    window = _said(config, "sliding_window", family.unsaid.get("sliding_window"))
    if family.windowed is None or window is None:
        return {}
    if not isinstance(window, int) or isinstance(window, bool):
        raise Unfit(f"sliding_window is {window!r}, no whole number")
    found, every = config.get("layer_types"), config.get("sliding_window_pattern") or family.windowed
    if isinstance(found, list):
        every = windows.of_types(found) if family.windowed else 0 if windows.FULL not in found else None
    if every is None:
        raise Unfit("its layer_types follow no pattern: of every so many layers the last attends to the whole text")
    return {"sliding_window": window} | ({} if every == family.windowed else {"sliding_window_pattern": every})


def _check_arithmetic(family: Family, config: Mapping[str, Any]) -> None:
    parts = [config.get(key) for key in ("rope_parameters", "rope_scaling")]
    unsaid = {name: family.unsaid[name] for name in family.only if name in family.unsaid}
    for where in [{**unsaid, **config}, *(part for part in parts if isinstance(part, dict))]:
        for name, only in family.only.items():
            allowed = only if isinstance(only, tuple) else (only,)
            if where.get(name) is not None and where[name] not in allowed:
                raise Unfit(f"its {name} is {where[name]!r}, and a student's is {allowed[0]!r}")


def _said(config: Mapping[str, Any], name: str, unsaid: Any) -> Any:
    return config.get(name) if config.get(name) is not None else unsaid


def _number(said: Mapping[str, Any], name: str) -> float:
    value = said[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unfit(f"{name} is {value!r}, no number")
    return shortest(float(value))


def _theta(family: Family, config: Mapping[str, Any]) -> float:
    """The base of the rotary embedding: `rope_parameters` since Transformers 5, two keys of their own before."""
    bases = [part["rope_theta"] for part in [*_rotations(config), config] if part.get("rope_theta") is not None]
    unsaid = family.unsaid.get("rope_theta", 10000.0)
    if family.windowed_theta is not None:
        nested = config.get("rope_parameters")
        inner = nested.get(windows.SLIDING) if isinstance(nested, dict) else None
        local = inner.get("rope_theta") if isinstance(inner, dict) else config.get("rope_local_base_freq")
        kind = inner.get("rope_type", "default") if isinstance(inner, dict) else "default"
        if local not in (None, family.windowed_theta) or kind != "default":
            raise Unfit(f"the rotation of its layers with a window is another ({kind}, {local!r})")
    return _number({"rope_theta": bases[0] if bases else unsaid}, "rope_theta")


def _rotations(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is said of the rotation of layers that attend to the whole text."""
    named = [config.get(key) for key in ("rope_parameters", "rope_scaling")]
    inner = [one.get(windows.FULL, one) if isinstance(one, dict) else None for one in named]
    return [one for one in inner if isinstance(one, dict)]


#: what stands beside the fields of a scaled rotation
_OF_ROTATION = frozenset({"rope_type", "type", "rope_theta", "partial_rotary_factor"})


def scaling(family: Family, config: Mapping[str, Any]) -> RopeScaling | None:
    """How a config.json scales its rotation; None: it does not. Raises Unfit for what no architecture states."""
    parts = [part for part in _rotations(config) if part.get("rope_type", part.get("type", "default")) != "default"]
    if not parts:
        return None
    kind = parts[0].get("rope_type", parts[0].get("type"))
    # older spellings that Transformers still reads as this one
    kind = "longrope" if "longrope" in family.scaled and kind in ("su", "yarn") else kind
    if kind not in family.scaled:
        raise Unfit(f"its rotary embedding is of type `{kind}`")
    said = {name: value for name, value in parts[0].items() if name not in _OF_ROTATION and value is not None}
    before = _said(config, "original_max_position_embeddings", family.unsaid.get("original_max_position_embeddings"))
    if before is not None and "original_max_position_embeddings" in rotation.KINDS[kind][0]:
        said["original_max_position_embeddings"] = before
    context = config.get("max_position_embeddings", family.unsaid["max_position_embeddings"])
    if kind == "longrope" and "factor" in said:
        if said["factor"] * said.get("original_max_position_embeddings", 0) != context:
            raise Unfit(f"its longrope has a factor of its own, {said['factor']!r}")
        del said["factor"]
    try:
        made = RopeScaling.model_validate({"rope_type": kind, **said})
    except ValidationError as error:
        first = error.errors()[0]
        raise Unfit(f"its {kind} rotation: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return made


def shortest(value: float) -> float:
    """The plainest decimal that is the same float32: weights know no finer number (9.999999747378752e-06 is 1e-05)."""
    for digits in range(1, 17):
        plain = float(f"{value:.{digits}g}")
        if same_number(plain, value):
            return plain
    return value


def same_number(one: float, other: float) -> bool:
    """Whether two numbers are one as float32, in which models compute."""
    try:
        return struct.pack("<f", one) == struct.pack("<f", other)
    except OverflowError:
        return one == other

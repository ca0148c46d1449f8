"""Checkpoint → the invariances a causal, padded, bucketed, cached decoder must have, each as a number.

Every probe is run on the Transformers model as trained ("checkpoint") and on the functions that will be exported
("functions"), because a mask can be lost in either; one more asks that the two are the same function. The number is
the largest absolute difference of logits over real positions; it must not exceed the tolerance, which is relative to
the largest logit where that is above 1: in float32 rounding grows with what is added up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from runtime.contract import Context, Refusal
from runtime.contract import report as facts
from runtime.contract.authoring import Profile
from runtime.contract.targets import Strategy
from runtime.models import bc1s, build, threads
from runtime.models import device as devices
from runtime.models import tokenizer as tokenizers
from runtime.models.enumerated import EnumeratedPrefill
from runtime.models.prompts import Text, joined, texts_of
from runtime.models.wrapper import Decode, Prefill, check_shapes, heads_of, one_thread
from runtime.steps.probe import ProbeParams

#: (ids of real tokens, padded length) → logits_RV of the real positions
Forward = Callable[[Sequence[int], int], Tensor]
SHORT_SEQUENCES = 2
#: positions at which a token is exchanged, as fractions of the sequence
CHANGED_AT = (0.25, 0.5, 0.75, 1.0)
#: positions compared at a time
ROWS = 64


def largest(first: Tensor, second: Tensor) -> float:
    """Largest absolute difference; NaN when either side is not finite, so that no comparison passes on it.

    Some positions at a time: a third and a fourth array of logits over a whole vocabulary are not needed.
    """
    worst = 0.0
    for one, other in zip(first.split(ROWS), second.split(ROWS), strict=True):
        worst = _worse(worst, float((one - other).abs().max()))
    return worst


def checkpoint_forward(model: PreTrainedModel, pad: int) -> Forward:
    """The plain model, right-padded to the length with an attention mask when there is padding."""

    def forward(ids: Sequence[int], length: int) -> Tensor:
        free = length - len(ids)
        padded = torch.tensor([[*ids, *[pad] * free]], device=model.device)
        mask = torch.tensor([[1] * len(ids) + [0] * free], device=model.device) if free else None
        logits: Tensor = model(input_ids=padded, attention_mask=mask, use_cache=False).logits
        return logits[0, : len(ids)]

    return forward


def function_forward(
    model: PreTrainedModel,
    pad: int,
    lengths: Sequence[int],
    strategy: Strategy = "multifunction",
    profile: Profile = "gpu",
) -> Forward:
    """The prefill functions before export; a length without a function of its own runs in the next longer one."""
    called = _several(model, lengths) if strategy == "enumerated" else _each(model, lengths, profile)

    def forward(ids: Sequence[int], length: int) -> Tensor:
        bucket = min(size for size in lengths if size >= length)
        free = bucket - len(ids)
        padded = torch.tensor([[*ids, *[pad] * free]], dtype=torch.int32, device=model.device)
        return called(padded, len(ids))[0, : len(ids)]

    return forward


def _each(model: PreTrainedModel, lengths: Sequence[int], profile: Profile) -> Callable[[Tensor, int], Tensor]:
    """(ids_1T, how many are real) → logits_1TV, by one module per length."""
    made = {length: _prefill(model, length, profile) for length in sorted(lengths)}

    def called(padded: Tensor, real: int) -> Tensor:
        length = padded.shape[1]
        mask = torch.tensor([[1.0] * real + [0.0] * (length - real)], device=model.device)
        logits: Tensor = made[length](padded, mask)[0]
        return logits

    return called


def _several(model: PreTrainedModel, lengths: Sequence[int]) -> Callable[[Tensor, int], Tensor]:
    """The same by one module for all of them."""
    made = EnumeratedPrefill(model, max(lengths)).to(model.device)
    return lambda padded, _real: made(padded)[0]


def _prefill(model: PreTrainedModel, length: int, profile: Profile) -> Callable[[Tensor, Tensor], Any]:
    if profile == "gpu":
        return Prefill(model, length).to(model.device)
    function, authored = bc1s.Prefill(model).to(model.device), bc1s.authored(model)
    return lambda ids, mask: bc1s.called(function, authored, {"input_ids": ids, "attention_mask": mask})


def _decode(model: PreTrainedModel, context: int, profile: Profile) -> Callable[[Tensor, Tensor, Tensor, Tensor], Any]:
    if profile == "gpu":
        return Decode(model, context).to(model.device)
    function, authored = bc1s.Decode(model).to(model.device), bc1s.authored(model)

    def decode(ids: Tensor, position: Tensor, keys: Tensor, values: Tensor) -> Any:
        by = {"input_ids": ids, "position": position, "key_cache": keys, "value_cache": values}
        return bc1s.called(function, authored, by)

    return decode


def causality(forward: Forward, ids: Sequence[int], vocabulary: int, base_RV: Tensor) -> float:
    """Exchange token j; logits before j must not move from those of `ids`."""
    worst = 0.0
    for fraction in CHANGED_AT:
        j = min(len(ids) - 1, max(1, int(fraction * len(ids))))
        changed = list(ids)
        changed[j] = (ids[j] + vocabulary // 2) % vocabulary
        worst = _worse(worst, largest(forward(changed, len(ids))[:j], base_RV[:j]))
    return worst


def reacts(forward: Forward, ids: Sequence[int], vocabulary: int) -> float:
    """Exchange the first token; how far the last logits move. Zero means that the probe above proves nothing."""
    changed = [(ids[0] + vocabulary // 2) % vocabulary, *ids[1:]]
    return largest(forward(changed, len(ids))[-1], forward(ids, len(ids))[-1])


def padding(forward: Forward, other_pad: Forward, ids: Sequence[int], length: int) -> float:
    """Pad to `length` with one token and with another: the real logits must equal those without padding."""
    base = forward(ids, len(ids))
    return _worse(largest(forward(ids, length), base), largest(other_pad(ids, length), base))


def buckets(forward: Forward, ids: Sequence[int], lengths: Sequence[int]) -> float:
    """The same tokens in every enumerated length that holds them, against the shortest one."""
    fitting = [length for length in sorted(lengths) if length >= len(ids)]
    base, worst = forward(ids, fitting[0]), 0.0
    for length in fitting[1:]:
        worst = _worse(worst, largest(forward(ids, length), base))
    return worst


def checkpoint_decode(model: PreTrainedModel, ids: Sequence[int]) -> Tensor:
    """logits_RV of the plain model fed one token at a time through its own cache."""
    cache, rows = DynamicCache(), []
    with one_thread():
        for token in ids:
            fed = torch.tensor([[token]], device=model.device)
            rows.append(model(input_ids=fed, past_key_values=cache, use_cache=True).logits[0, -1])
    return torch.stack(rows)


def function_decode(model: PreTrainedModel, ids: Sequence[int], context: int, profile: Profile = "gpu") -> Tensor:
    """logits_RV of the decode function fed one token at a time; this host writes the cache."""
    sizes, rows = heads_of(model), []
    decode, device = _decode(model, context, profile), model.device
    # garbage in unwritten slots: they are masked, so it must not matter
    keys = torch.full((sizes["layers"], sizes["heads"], context, sizes["head_dim"]), 3.0, device=device)
    values = keys.clone()
    with one_thread():
        for position, token in enumerate(ids):
            fed, at = (torch.tensor(one, dtype=torch.int32, device=device) for one in ([[token]], [position]))
            logits, key, value, *_others = decode(fed, at, keys, values)
            keys[:, :, position : position + 1], values[:, :, position : position + 1] = key, value
            rows.append(logits[0, 0])
    return torch.stack(rows)


def _worse(first: float, second: float) -> float:
    """The larger one; NaN wins, because `max` would drop it."""
    return first if first != first or first >= second else second


def _forwards(
    subject: str, model: PreTrainedModel, params: ProbeParams, pad: int
) -> tuple[Forward, Forward, Callable[[Sequence[int]], Tensor]]:
    """(forward, forward that pads with another token, token-by-token decode) of one subject."""
    other = (pad + 1) % model.config.vocab_size
    if subject == "checkpoint":
        first, second = checkpoint_forward(model, pad), checkpoint_forward(model, other)
        return first, second, lambda ids: checkpoint_decode(model, ids)
    asked = params.lengths, params.strategy, params.profile
    first, second = (function_forward(model, token, *asked) for token in (pad, other))
    return first, second, lambda ids: function_decode(model, ids, params.decode_context, params.profile)


def _measure(
    subject: str, model: PreTrainedModel, sequences: Sequence[Sequence[int]], params: ProbeParams, pad: int
) -> dict[str, float]:
    vocabulary, shortest, longest = model.config.vocab_size, min(params.lengths), max(params.lengths)
    forward, other_pad, decode = _forwards(subject, model, params, pad)
    worst: dict[str, float] = {"reacts": float("inf")}
    for ids in sequences:
        logits_RV = forward(ids, len(ids))
        found = {
            "size": max(float(logits_RV.max()), -float(logits_RV.min())),
            "causality": causality(forward, ids, vocabulary, logits_RV),
            "prefill_decode": largest(decode(ids), logits_RV),
        }
        if subject == "functions":
            found["equals_checkpoint"] = largest(checkpoint_forward(model, pad)(ids, len(ids)), logits_RV)
        # what follows makes its own
        del logits_RV
        if len(ids) < shortest:
            found["padding"] = padding(forward, other_pad, ids, longest)
            found["buckets"] = buckets(forward, ids, params.lengths)
        worst |= {name: _worse(worst.get(name, 0.0), value) for name, value in found.items()}
        worst["reacts"] = min(worst["reacts"], reacts(forward, ids, vocabulary))
    return worst


def data_of(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]], params: ProbeParams, pad: int
) -> dict[str, Any]:
    """The data of report `probes`: each probe with its number, and whether it stays within the tolerance."""
    probes: list[dict[str, Any]] = []
    with torch.no_grad():
        for subject in ("checkpoint", "functions"):
            found = _measure(subject, model, sequences, params, pad)
            moved, tolerance = found.pop("reacts"), params.tolerance * max(1.0, found.pop("size"))
            for name, value in found.items():
                # a model that answers the same to any prompt is trivially causal: that is no evidence
                sound = value <= tolerance < moved
                probes.append(
                    {
                        "probe": name,
                        "subject": subject,
                        "max_abs_difference": facts.measured(value, "logit", n=len(sequences)),
                        "sensitivity": facts.measured(moved, "logit", n=len(sequences)),
                        "tolerance": facts.measured(tolerance, "logit"),
                        "passed": facts.measured(sound, "bool"),
                    }
                )
    passed = sum(bool(item["passed"]["value"]) for item in probes)
    return {
        "probes": probes,
        "passed": facts.rate(passed, len(probes)),
        "tolerance": facts.measured(params.tolerance, "1"),
        "lengths": [facts.measured(length, "token") for length in sorted(params.lengths)],
    }


def sequences_of(texts: Sequence[Text], lengths: Sequence[int]) -> list[list[int]]:
    """Up to SHORT_SEQUENCES real rows shorter than every bucket (cut when longer), then one that fills the longest.

    Raises Refusal when the shortest bucket leaves no room for a padded sequence of two tokens.
    """
    found: list[list[int]] = []
    for text in texts:
        cut = text.ids[: min(lengths) - 1]
        if len(cut) > 1 and cut not in found and len(found) < SHORT_SEQUENCES:
            found.append(cut)
    if not found:
        raise Refusal(
            f"a shortest prefill of {min(lengths)} tokens leaves nothing to probe",
            place="shapes.prefill",
            action="make the shortest prefill at least 3 tokens",
        )
    return [*found, joined(texts, max(lengths))[0]]


def probe(takes: Mapping[str, Path], params: ProbeParams, ctx: Context) -> None:
    """Operation `probe`. Raises Refusal for shapes the checkpoint cannot serve."""
    threads.use(params.threads)
    model = build.load(takes["checkpoint"]).to(devices.of(params.device))
    tokenizer = tokenizers.load(takes["tokenizer"])
    check_shapes(model, params.lengths, params.decode_context, tokenizer.vocab_size)
    sequences = sequences_of(texts_of(takes["dataset"], tokenizer), params.lengths)
    data = data_of(model, sequences, params, tokenizer.pad_id)
    ctx.report("report", data, fingerprints=facts.fingerprints(takes, ctx.digests, model="checkpoint"))
    ctx.say(f"{data['passed'].get('k', 0)} of {data['passed'].get('n', 0)} probes hold")

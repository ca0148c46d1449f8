"""A model that enters → what must hold of it before anything is learnt from it or shipped, each as a number.

Nothing is taken on trust: a Llama folder with `is_causal: false` looks like any other and reads the answers it is asked
to score. Whatever brings a model in (an import, a training) has it examined here, with a few short forward passes, by
each implementation of attention that later steps use.

Each difference is relative to the largest logit of the probe, and taken on two sequences: the smaller one counts, since
rounding may turn a mixture of experts' route in one of them, while what looks ahead does so in both.

Letters: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from runtime.contract import Refusal
from runtime.contract import report as facts
from runtime.contract.families import NAMES
from runtime.models import build, capping, device

#: tokens of a probe, fewer when the model's context is shorter
TOKENS = 48
SEQUENCES = 2
#: places at which a token is exchanged, as fractions of the sequence; the last one is the last token
CHANGED_AT = (0.25, 0.5, 0.75, 1.0)
#: what each later step attends by: probes and export eagerly, training and evaluation by the fused kernel
ATTENTIONS = ("eager", "sdpa")
#: relative difference of logits that rounding explains, and the same between two implementations of attention
ROUNDING, KERNELS = 1e-4, 1e-3

#: check → (what is wrong when it does not hold, what to do)
WHY = {
    "finite": ("answers with logits that are not finite", "take the weights again, or another model"),
    "reacts": (
        "gives the same logits whatever it reads",
        "take the weights again, or another model: nothing can be learnt from this one",
    ),
    "causal": (
        "sees tokens that come later, so it reads the answer it is asked for",
        "remove `is_causal: false` from config.json or write `is_decoder: true`, if it was trained as a decoder; "
        "else take a causal language model",
    ),
    "prefix": (
        "gives a text's beginning other logits when more text follows",
        "take a model whose positions do not depend on the length of the text (rope_type default, linear, yarn, "
        "llama3)",
    ),
    "batch": ("gives a row other logits beside another row", "take a model that computes each row on its own"),
    "repeats": (
        "gives one text different logits when it is asked twice",
        "switch off what is random in config.json (dropout, noise), or take another model",
    ),
    "kernels": (
        "is another function under fused attention than under plain attention",
        f"take a family whose attention has no soft cap, sink or bias of its own, such as {NAMES}",
    ),
    "head": (
        "changes its logits after the head, and not by final_logit_softcapping (another cap, a scale)",
        f"take a family whose logits are the head's output, such as {NAMES}",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: the largest relative difference of logits that was met, and whether it holds."""

    check: str
    value: float
    passed: bool


def _sequences(model: PreTrainedModel) -> list[list[int]]:
    """SEQUENCES fixed texts of random ids."""
    width = int(model.config.get_text_config(decoder=True).vocab_size)
    length = min(TOKENS, build.context_of(model) or TOKENS)
    made = torch.Generator().manual_seed(20)
    drawn: list[list[int]] = torch.randint(width, (SEQUENCES, length), generator=made).tolist()
    return drawn


def _logits(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """logits_BTV of rows of one length."""
    found: Tensor = model(input_ids=torch.tensor(rows, device=device.of_model(model)), use_cache=False).logits
    return found


def _apart(first: Tensor, second: Tensor, scale: float) -> float:
    """Largest absolute difference in units of `scale`; NaN when either side is not finite."""
    return float((first - second).abs().max()) / scale if first.numel() else 0.0


def _changed(ids: Sequence[int], j: int, width: int) -> list[int]:
    return [*ids[:j], (ids[j] + width // 2 + 1) % width, *ids[j + 1 :]]


def _causal(model: PreTrainedModel, ids: Sequence[int], base_TV: Tensor, scale: float) -> tuple[float, float]:
    """(how far logits before an exchanged token move, how far those from it on do), the largest of each."""
    width, before, after = base_TV.shape[-1], 0.0, 0.0
    for fraction in CHANGED_AT:
        j = min(len(ids) - 1, max(1, int(fraction * len(ids))))
        moved_TV = _logits(model, [_changed(ids, j, width)])[0]
        before = _larger(before, _apart(moved_TV[:j], base_TV[:j], scale))
        after = _larger(after, _apart(moved_TV[j:], base_TV[j:], scale))
    return before, after


def _head(model: PreTrainedModel, ids: Sequence[int], base_TV: Tensor, scale: float) -> float:
    """How far the model's logits are from its head's output, bounded as its config states; infinite when it has no head
    of its own."""
    head = model.get_output_embeddings()
    if head is None:
        return float("inf")
    hidden_BTH = model.base_model(
        input_ids=torch.tensor([ids], device=device.of_model(model)), use_cache=False
    ).last_hidden_state
    if hidden_BTH.shape[-1] != head.weight.shape[-1]:
        return float("inf")
    return _apart(capping.bound(head(hidden_BTH)[0], capping.stated(model)), base_TV, scale)


def _measure(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> tuple[dict[str, float], Tensor]:
    """The differences under the implementation of attention that is set, and logits_BTV of the sequences."""
    bases = [_logits(model, [ids])[0] for ids in sequences]
    together_BTV = torch.stack(bases)
    if not bool(torch.isfinite(together_BTV).all()):
        return {"finite": float("nan")}, together_BTV
    scale = max(float(together_BTV.abs().max()), torch.finfo(torch.float32).tiny)
    worst: dict[str, list[float]] = {}
    batch_BTV = _logits(model, sequences)
    for row, (ids, base_TV) in enumerate(zip(sequences, bases, strict=True)):
        half = len(ids) // 2
        before, after = _causal(model, ids, base_TV, scale)
        found = {
            "finite": 0.0,
            "reacts": after,
            "causal": before,
            "prefix": _apart(_logits(model, [ids[:half]])[0], base_TV[:half], scale),
            "batch": _apart(batch_BTV[row], base_TV, scale),
            "head": _head(model, ids, base_TV, scale),
        }
        for name, value in found.items():
            worst.setdefault(name, []).append(value)
    repeats = [_apart(_logits(model, [ids])[0], base, scale) for ids, base in zip(sequences, bases, strict=True)]
    least = {name: reduce(_smaller, values) for name, values in worst.items()}
    return {**least, "repeats": reduce(_larger, repeats)}, together_BTV


def continues(model: PreTrainedModel) -> bool:
    """Whether the model goes on from a cache of keys and values as it does from the whole text.

    Not a condition of entry: families with a state of their own (Mamba, RWKV) take such a cache without a word and
    begin anew, so whoever generates with them has to give them the whole text each time.
    """
    ids = torch.tensor(_sequences(model)[:1], device=device.of_model(model))
    cut = ids.shape[1] - 2
    with torch.no_grad():
        whole_V = model(input_ids=ids, use_cache=False).logits[0, -1]
        try:
            cache = DynamicCache(config=model.config)
            for part in (ids[:, :cut], ids[:, cut:-1], ids[:, -1:]):
                last_V = model(input_ids=part, past_key_values=cache, use_cache=True).logits[0, -1]
        except (ValueError, TypeError, RuntimeError, AttributeError, IndexError):
            return False
    return _apart(last_V, whole_V, max(float(whole_V.abs().max()), torch.finfo(torch.float32).tiny)) <= KERNELS


def _holds(check: str, value: float) -> bool:
    if check == "reacts":
        return value > ROUNDING
    if check == "repeats":
        return value == 0.0
    return value <= (KERNELS if check == "kernels" else ROUNDING)


def examine(model: PreTrainedModel) -> list[Finding]:
    """Every check of WHY, in its order; a model whose logits are not finite has only that one.

    The model's own implementation of attention is set again afterwards. Raises Refusal when it cannot be run at all.
    """
    own = model.config._attn_implementation
    worst: dict[str, float] = {}
    answers: list[Tensor] = []
    try:
        for attention in ATTENTIONS:
            if build.attend(model, attention):
                with torch.no_grad():
                    found, logits_BTV = _measure(model, _sequences(model))
                answers.append(logits_BTV)
                for name, value in found.items():
                    pick = _smaller if name == "reacts" else _larger
                    worst[name] = pick(worst.get(name, value), value)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Refusal(
            f"a `{model.config.model_type}` model cannot be run on plain token ids: {first[:160]}",
            action="take a causal language model that reads nothing but token ids",
        ) from error
    finally:
        build.attend(model, own)
    if worst["finite"] == 0.0:
        scale = max(float(answers[0].abs().max()), torch.finfo(torch.float32).tiny)
        worst["kernels"] = _apart(answers[0], answers[-1], scale)
    return [Finding(name, worst[name], _holds(name, worst[name])) for name in WHY if name in worst]


def _larger(first: float, second: float) -> float:
    """The larger one; NaN wins, because `max` would drop it."""
    return first if first != first or first >= second else second


def _smaller(first: float, second: float) -> float:
    """The smaller one; NaN wins."""
    return first if first != first or first <= second else second


def admit(findings: Sequence[Finding], who: str, place: str) -> None:
    """Raises Refusal for the first check that does not hold, in words that say what is wrong and what to do."""
    for one in findings:
        if not one.passed:
            wrong, action = WHY[one.check]
            size = "" if one.check in ("finite", "reacts") else f" (logits differ by {one.value:.2g} of the largest)"
            raise Refusal(f"{who} {wrong}{size}", place=place, action=action, code="KR0120")


def data(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The findings as a report's `entry`: each check with its number."""
    return [
        {
            "check": one.check,
            "difference": facts.measured(one.value, "1", n=SEQUENCES),
            "passed": facts.measured(one.passed, "bool"),
        }
        for one in findings
    ]

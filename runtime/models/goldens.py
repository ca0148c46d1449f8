"""Float32 checkpoint × real test prompts → golden vectors: what every later form of the model is compared with.

Made by the Transformers model as it is (its own eager attention, its own cache, no padding), never by the export
wrappers: an error of the wrappers must show as a difference.

goldens.safetensors holds, in float32 and int32 (T prompt slots, R real tokens, N steps, P prompt tokens):

    prefill_T/<case>/input_ids [1, T]    attention_mask [1, T]   logits [1, R, V]   keys, values [L, H, R, D]
    decode/<case>/prompt [1, P]          tokens [N + 1]          logits [N + 1, V]  keys, values [L, H, P + N, D]

and of a student with other heads what each of them says at these positions, prefill_T/<case>/halt [R] and
decode/<case>/halt [N + 1].

`decode`: goldens.json names the prefill that reads the prompt (`start`). logits[i] is the distribution after the prompt
and tokens[:i], tokens[i] its arg max. Step i of the decode function therefore reads tokens[i] at position P + i and
must give logits[i + 1].
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from runtime.contract import Refusal, covering
from runtime.machine import durable
from runtime.models import heads
from runtime.models.aside import Aside
from runtime.models.prompts import SPLIT, Text, joined, texts_of
from runtime.models.tokenizer import Tokenizer
from runtime.models.wrapper import one_thread
from runtime.steps.export import ExportParams


@dataclass(frozen=True)
class Case:
    """One golden input: `ids` without padding, and where its text comes from."""

    name: str
    ids: list[int]
    rows: list[str]


def prefill_cases(texts: Sequence[Text], length: int, count: int) -> list[Case]:
    """`count` padded cases of different rows and one that fills the shape exactly.

    The first padded case is the longest row that leaves at least one slot free; when too few rows fit, others are cut
    to half the shape, so that padding is always exercised.
    """
    fitting = [text for text in texts if len(text.ids) < length]
    chosen = sorted(fitting, key=lambda text: -len(text.ids))[:1]
    chosen += [text for text in fitting if text not in chosen][: count - 1]
    cases = [Case(f"row_{number}", text.ids, [text.row]) for number, text in enumerate(chosen)]
    half = max(1, length // 2)
    for number, text in enumerate([text for text in texts if len(text.ids) >= length][: count - len(cases)]):
        cases.append(Case(f"cut_{number}", text.ids[:half], [text.row]))
    return [*cases, Case("full", *joined(texts, length))]


def reference(model: PreTrainedModel, ids: Sequence[int]) -> dict[str, Tensor]:
    """logits_1RV, keys_LHRD, values_LHRD of the plain model on R unpadded tokens and what its other heads say, _R, by
    name; float32."""
    with torch.no_grad(), heads.overheard(model) as hidden:
        fed = torch.tensor([list(ids)], device=model.device)
        output = model(input_ids=fed, past_key_values=DynamicCache(), use_cache=True)
    layers = output.past_key_values.layers
    keys, values = (torch.cat([getattr(layer, name) for layer in layers]) for name in ("keys", "values"))
    found = {"logits": output.logits.cpu(), "keys": keys.cpu(), "values": values.cpu()}
    return {**found, **heads.stated(model, hidden)}


def greedy(model: PreTrainedModel, prompt: Sequence[int], steps: int) -> tuple[list[int], dict[str, Tensor]]:
    """N + 1 tokens of a greedy decode of N = `steps` cached steps; and by name logits_N+1,V, keys_LH,P+N,D, values and
    what other heads say, _N+1.

    The end token does not stop it: the comparison wants every step. Ties go to the lowest id.
    """
    cache, found, fed = DynamicCache(), [], torch.tensor([list(prompt)], device=model.device)
    tokens: list[int] = []
    with torch.no_grad(), one_thread(), heads.overheard(model) as hidden:
        for _ in range(steps + 1):
            logits = model(input_ids=fed, past_key_values=cache, use_cache=True).logits[0, -1]
            found.append(logits)
            tokens.append(int(logits.argmax()))
            fed = torch.tensor([[tokens[-1]]], device=model.device)
    keys, values = (torch.cat([getattr(layer, name) for layer in cache.layers]) for name in ("keys", "values"))
    named = {"logits": torch.stack(found).cpu(), "keys": keys.cpu(), "values": values.cpu()}
    return tokens, {**named, **heads.stated(model, [one[:, -1:] for one in hidden])}


def _padded(case: Case, length: int, pad: int) -> tuple[Tensor, Tensor]:
    free = length - len(case.ids)
    ids = torch.tensor([[*case.ids, *[pad] * free]], dtype=torch.int32)
    mask = torch.tensor([[1.0] * len(case.ids) + [0.0] * free])
    return ids, mask


def make(model: PreTrainedModel, tokenizer: Tokenizer, dataset: Path, params: ExportParams, folder: Path) -> None:
    """Write goldens.safetensors and goldens.json. Raises Refusal without test rows or when no prompt can decode."""
    texts = texts_of(dataset, tokenizer)
    index: dict[str, Any] = {}
    # of a whole vocabulary one case is a hundred megabytes: no two of them are held together
    aside = Aside(folder / "goldens.safetensors")
    for length in sorted(params.prefill):
        cases = prefill_cases(texts, length, params.golden_prompts)
        for case in cases:
            _prefilled(model, case, length, tokenizer.pad_id, aside)
        index[f"prefill_{length}"] = [{"case": c.name, "length": len(c.ids), "rows": c.rows} for c in cases]
    index["decode"] = _decode(model, texts, params, aside)
    aside.pour()
    text = json.dumps({"schema_version": "1.0", "functions": index}, indent=1, sort_keys=True, ensure_ascii=False)
    durable.write(folder / "goldens.json", text + "\n")


def _prefilled(model: PreTrainedModel, case: Case, length: int, pad: int, aside: Aside) -> None:
    """One prefill case, whose vectors are put aside."""
    ids, mask = _padded(case, length, pad)
    named = {"input_ids": ids, "attention_mask": mask, **reference(model, case.ids)}
    for name, value in named.items():
        aside.add(f"prefill_{length}/{case.name}/{name}", value)


def _decode(
    model: PreTrainedModel,
    texts: Sequence[Text],
    params: ExportParams,
    aside: Aside,
) -> list[dict[str, Any]]:
    """One greedy decode of each of the first prompts from the shortest prefill that holds it, and one from both sides
    of every prefill's edge (`contract.covering.edges`); two prefills that start from equal prompts share one case."""
    steps, context = params.decode_steps, params.decode_context
    room = min(max(params.prefill), context - steps)
    usable = [(text.row, text.ids[: text.prompt_tokens]) for text in texts if text.prompt_tokens <= room]
    if len(usable) < params.golden_prompts:
        raise Refusal(
            f"{len(usable) or 'no'} {SPLIT} prompt{'s' if len(usable) > 1 else ''} of {params.golden_prompts} fit: the "
            f"longest prefill and {context} cache slots, less {steps} decode steps, leave room for {room} tokens",
            place="verification.prompts",
            action="lengthen the shapes, shorten the prompts, hold more rows out, or lower verification.prompts",
        )
    cases = {f"greedy_{number}": ([row], ids) for number, (row, ids) in enumerate(usable[: params.golden_prompts])}
    starts = [(min(size for size in params.prefill if size >= len(ids)), name) for name, (_, ids) in cases.items()]
    for length, prompts in covering.edges(params.prefill, context, steps).items():
        for prompt in prompts:
            ids, rows = joined(texts, prompt)
            cases[f"edge_{prompt}"] = (rows, ids)
            starts.append((length, f"edge_{prompt}"))
    tokens_of = {name: _decoded(model, name, ids, steps, aside) for name, (_, ids) in cases.items()}
    return [
        {
            "case": name,
            "start": f"prefill_{length}",
            "prompt_tokens": len(cases[name][1]),
            "steps": steps,
            "tokens": tokens_of[name],
            "rows": cases[name][0],
        }
        for length, name in starts
    ]


def _decoded(model: PreTrainedModel, case: str, prompt: Sequence[int], steps: int, aside: Aside) -> list[int]:
    """The tokens of one greedy decode, whose vectors are put aside."""
    tokens, found = greedy(model, prompt, steps)
    named = {
        "prompt": torch.tensor([list(prompt)], dtype=torch.int32),
        "tokens": torch.tensor(tokens, dtype=torch.int32),
        **found,
    }
    for key, value in named.items():
        aside.add(f"decode/{case}/{key}", value)
    return tokens

"""Checkpoint, tokenizer and rows → the sensitivity profile of a student, and a recipe that keeps a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from runtime.contract.activations import faults
from runtime.contract.recipe import Recipe, Weights, scale_width
from runtime.contract.suggestion import FP16, Option, Search, State, furthest, text, written
from runtime.mil.quantize import wanted
from runtime.models import build, samples
from runtime.models import tokenizer as tokenizers
from runtime.models.export import aliases_of
from runtime.models.sensitivity import Changed, Told, groups_of, measured


def suggest(
    checkpoint: Path,
    tokenizer: Path,
    rows: Path,
    *,
    recipe: Mapping[str, Any],
    islands: Sequence[str],
    kept: Mapping[str, Any] = MappingProxyType({}),
    by: str,
    forms: Sequence[str],
    most_rows: int,
    most_tokens: int,
    max_bytes: int | None,
    max_kl: float | None,
    threads: int,
    told: Told,
) -> dict[str, Any]:
    """What `kcompiler quantize` shows: the profile, what the spec's own `recipe` takes and costs, and, where a budget
    is given, a recipe that keeps it as `suggested` (None when there is none, and `refused` says why).

    `kept` are other parts of the section, which stay in what is suggested as they are. Raises Refusal for a split
    without rows, and for a recipe that does not fit the checkpoint.
    """
    model = build.load(checkpoint)
    words = tokenizers.load(tokenizer)
    with samples.threads(threads):
        ids = _cut(samples.sample(rows, words, most_rows), build.context_of(model), most_tokens)
        changed = Changed(model, ids)
        aliases = aliases_of(model)
        names = {name: (name, *aliases[name]) for name in changed.shapes}
        return {
            "rows": len(ids),
            "tokens": changed.tokens,
            "by": by,
            **_suggested(
                changed, names, Recipe.model_validate(recipe), islands, kept, by, forms, max_bytes, max_kl, told
            ),
        }


def _cut(rows: Sequence[samples.Encoded], context: int | None, most: int) -> list[list[int]]:
    """The ids of whole rows, as long as the model reads, until so many tokens are reached."""
    found: list[list[int]] = []
    left = most
    for ids, _ in rows:
        kept = list(ids)[: min(left, context or left)]
        if kept:
            found.append(kept)
        left -= len(kept)
    return found


def _suggested(
    changed: Changed,
    names: Mapping[str, Sequence[str]],
    own: Recipe,
    islands: Sequence[str],
    kept: Mapping[str, Any],
    by: str,
    forms: Sequence[str],
    max_bytes: int | None,
    max_kl: float | None,
    told: Told,
) -> dict[str, Any]:
    shapes = changed.shapes
    widths = {name: scale_width(every, islands) for name, every in names.items()}

    def size(stored: Mapping[str, Weights]) -> int:
        return sum(form.stored_bytes(shapes[name], widths[name]) for name, form in stored.items())

    plain = dict.fromkeys(shapes, FP16)
    options = measured(changed, groups_of(shapes, by), forms, size, told)
    search = Search(options, size({name: form for name, form in plain.items() if len(shapes[name]) < 2}))
    asked = {name: wanted(own, name, list(names[name][1:]), shape) for name, shape in shapes.items()}
    baseline = changed.kl(plain)
    data: dict[str, Any] = {
        "float16": {"bytes": size(plain), "kl": baseline},
        "current": {"bytes": size(asked), "kl": changed.kl(asked)},
        "least_bytes": search.least(),
        "profile": [_row(name, given) for name, given in options.items()],
        "suggested": None,
        "refused": "",
    }
    if max_bytes is None and max_kl is None:
        return data
    costs: dict[tuple[tuple[str, int], ...], float] = {}

    def cost(state: State) -> float:
        """What a choice costs together, everything else in float16."""
        key = tuple(state.items())
        if key not in costs:
            costs[key] = changed.kl({**plain, **search.forms(state)})
        return costs[key]

    state, why = _chosen(search, cost, max_bytes, max_kl)
    if state is None:
        return {**data, "refused": why}
    found = written(search.forms(state), names)
    fits, left_out = _fitting(kept, [every for name, every in names.items() if len(shapes[name]) == 2], found, islands)
    return {
        **data,
        "suggested": {
            "bytes": search.bytes(state),
            "kl": cost(state),
            "estimated_kl": baseline + search.estimate(state),
            "recipe": found.model_dump(mode="json"),
            "text": text(found, islands, fits) + left_out,
        },
    }


def _fitting(
    kept: Mapping[str, Any], matrices: Sequence[Sequence[str]], found: Recipe, islands: Sequence[str]
) -> tuple[Mapping[str, Any], str]:
    """What of the other parts a recipe can hold, and a comment about what it cannot: layers that read integers have
    weights in eight bits."""
    if "activations" not in kept:
        return kept, ""
    wrong = next(faults(kept["activations"]["match"], matrices, found, islands), None)
    if wrong is None:
        return kept, ""
    others = {name: part for name, part in kept.items() if name != "activations"}
    return others, f"  # without `activations`: {wrong.text}\n"


def _chosen(search: Search, cost: Any, max_bytes: int | None, max_kl: float | None) -> tuple[State | None, str]:
    """A choice that keeps the budget, by what was measured of it; or None and why there is none."""
    if max_bytes is None:
        assert max_kl is not None
        state = furthest(search.path(), lambda one: cost(one) <= max_kl)
        if state is None:
            least = cost(dict.fromkeys(search.options, 0))
            return None, f"float16 itself costs {least:.3g} nats a token, more than {max_kl:g}"
        return state, ""
    state = search.within(max_bytes)
    if state is None:
        return None, f"these forms take at least {search.least():,} bytes, more than {max_bytes:,}"
    if max_kl is not None and not cost(state) <= max_kl:
        costs = f"{cost(state):.3g} nats a token, more than {max_kl:g}"
        return None, f"within {max_bytes:,} bytes the best that was found costs {costs}"
    return state, ""


def _row(name: str, options: Sequence[Option]) -> dict[str, Any]:
    first = options[0]
    return {
        "group": name,
        "tensors": len(first.forms),
        "bytes": first.bytes,
        "forms": [{"form": one.label, "bytes": one.bytes, "kl": one.kl} for one in options[1:]],
    }

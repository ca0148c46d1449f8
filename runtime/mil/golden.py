"""A package's functions × golden vectors → how far apart they are, function by function. Numpy only.

Whoever runs the functions is asked alike: the reference interpreter, or Core ML itself on a Mac.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.contract import BrokenEvidence, covering
from runtime.contract import program as contracts
from runtime.contract import report as facts
from runtime.mil.findings import Findings
from runtime.mil.kept import Contract, misshapen
from runtime.mil.lazy import LazyTensors
from runtime.mil.loop import Host
from runtime.mil.parity import CACHE, Real, Tally

Array: TypeAlias = NDArray[Any]
Tensors: TypeAlias = Mapping[str, Array]
#: function → its golden cases
Index: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]


class Asked(Protocol):
    """What the golden vectors must cover."""

    @property
    def golden_prompts(self) -> int: ...
    @property
    def decode_steps(self) -> int: ...


def _real(value: Array) -> Real:
    return value.astype(np.float64)


@dataclass
class Watched:
    """What was seen while a function ran: the interpreter's findings, and how many outputs were not as declared."""

    runs: list[Findings] = field(default_factory=list)
    misshapen: int = 0


def _padded(loop: Host, name: str, cases: Sequence[Mapping[str, Any]], goldens: Tensors, tally: Tally) -> Watched:
    """One prefill function over its own golden cases; only real positions are compared."""
    declared, seen = loop.contract.functions[name], Watched()
    for case in cases:
        at, real = f"{name}/{case['case']}", int(case["length"])
        result = loop.prefill(name, goldens[f"{at}/input_ids"][0, :real].tolist())
        seen.runs.append(result.findings)
        wrong = misshapen(result.outputs, declared)
        seen.misshapen += len(wrong)
        if wrong:
            continue
        tally.logits(goldens[f"{at}/logits"][0], result.outputs["logits"][0, :real])
        for head in loop.heads:
            tally.head(head, _real(goldens[f"{at}/{head}"]), _real(result.outputs[head][0, :real]))
        for output in CACHE:
            tally.cache(output, _real(goldens[f"{at}/{output}"]), _real(result.outputs[output][:, :, :real]))
    return seen


@dataclass
class _Decoded:
    """The golden decodes of one package: what they gave, and the tallies of the functions they started from."""

    tally: Tally
    starts: Mapping[str, Tally]
    seen: Watched = field(default_factory=Watched)
    same: int = 0
    tokens: int = 0
    divergences: list[int] = field(default_factory=list)

    def add(self, loop: Host, case: Mapping[str, Any], goldens: Tensors) -> None:
        """One case: teacher-forced for the numbers, free-running for the tokens. The prompt's logits and cache are the
        prefill's; what the steps gave is the decode's."""
        at, start, steps = f"decode/{case['case']}", str(case["start"]), int(case["steps"])
        prompt, tokens = goldens[f"{at}/prompt"][0].tolist(), goldens[f"{at}/tokens"].tolist()
        forced = loop.decode(prompt, steps, tokens, start=start)
        self.seen.runs += forced.findings
        wanted, found = goldens[f"{at}/logits"], np.stack(forced.logits)
        self.starts[start].logits(wanted[:1], found[:1])
        self.tally.logits(wanted[1:], found[1:])
        for head, said in forced.heads.items():
            wanted_N, found_N = _real(goldens[f"{at}/{head}"]), _real(np.array(said))
            self.starts[start].head(head, wanted_N[:1], found_N[:1])
            self.tally.head(head, wanted_N[1:], found_N[1:])
        for name, held in zip(CACHE, (forced.keys, forced.values), strict=True):
            reference = _real(goldens[f"{at}/{name}"])
            read, written = slice(0, len(prompt)), slice(len(prompt), len(prompt) + steps)
            self.starts[start].cache(name, reference[:, :, read], _real(held[:, :, read]))
            self.tally.cache(name, reference[:, :, written], _real(held[:, :, written]))
        # until they part, the free run reads what the forced one read
        free = forced.tokens if forced.tokens == tokens else loop.decode(prompt, steps, start=start).tokens
        equal = [mine == wanted for mine, wanted in zip(free, tokens, strict=True)]
        self.same, self.tokens = self.same + sum(equal), self.tokens + len(equal)
        self.divergences += [equal.index(False)] if not all(equal) else []


def coverage(contract: Contract, index: Index, prompts: int, steps: int) -> dict[str, tuple[int, int]]:
    """Function → (golden cases that are there, cases that are asked for: of each
    function so many prompts, of each decode so many steps).

    How many those are says `runtime.contract.covering`.
    """
    long = [case for case in index["decode"] if int(case["steps"]) >= steps]
    cases = {(str(case["start"]), int(case["prompt_tokens"])) for case in long}
    prefills = contract.prefills()
    lengths, context = [length for _, length in prefills], contract.kv_cache.context
    edges, wanted = covering.edges(lengths, context, steps), covering.wanted(lengths, context, prompts, steps)
    found: dict[str, tuple[int, int]] = {}
    met = 0
    for name, length in prefills:
        real = [int(case["length"]) for case in index[name]]
        padded = min(sum(size < length for size in real), prompts)
        started = sum((name, prompt) in cases for prompt in edges[length])
        met += started
        found[name] = (padded + (length in real) + started, wanted[name])
    others = len({(case["start"], case["case"]) for case in long}) - met
    return {**found, "decode": (met + min(others, prompts), wanted["decode"])}


def held(contract: Contract, params: covering.Covering) -> None:
    """Raises BrokenEvidence for a package whose functions are not those that are to be compared."""
    cache = contract.kv_cache
    lengths, heads = [length for _, length in contract.prefills()], contracts.heads(contract.functions)
    covering.held(params, lengths, cache.context, cache.layers, heads)


def compared(
    loop: Host, index: Index, goldens: Tensors, params: Asked, health: Callable[[str, Watched], dict[str, Any]]
) -> dict[str, Any]:
    """One package over all golden cases: sections `shapes` and `decode` of its part of the report. `health` says of a
    function what was seen besides while it ran."""
    contract, layers = loop.contract, loop.contract.kv_cache.layers
    counts = coverage(contract, index, params.golden_prompts, params.decode_steps)
    covered = {name: facts.rate(*found) for name, found in counts.items()}
    starts = {name: Tally(layers) for name, _ in contract.prefills()}
    seen = {name: _padded(loop, name, index[name], goldens, tally) for name, tally in starts.items()}
    decode = _Decoded(Tally(layers), starts)
    ran = [case for case in index["decode"] if not seen[str(case["start"])].misshapen]
    for case in ran:
        decode.add(loop, case, goldens)
    shapes = [
        {
            "function": name,
            "length": facts.measured(contract.functions[name].length, "token"),
            "covered": covered[name],
            **tally.data(),
            **health(name, seen[name]),
        }
        for name, tally in starts.items()
    ]
    parted = decode.divergences
    return {
        "shapes": shapes,
        "decode": {
            "covered": covered["decode"],
            "starts": sorted({str(case["start"]) for case in ran}),
            "steps": facts.measured(sum(int(case["steps"]) for case in ran), "step"),
            **decode.tally.data(),
            "greedy_agreement": facts.rate(decode.same, decode.tokens),
            "diverged": facts.rate(len(parted), len(ran)),
            "first_divergence": facts.measured(min(parted), "step")
            if parted
            else facts.unavailable("no decode diverged", "step"),
            **health("decode", decode.seen),
        },
    }


def goldens_of(folder: Path, contract: Contract) -> tuple[dict[str, list[dict[str, Any]]], Tensors]:
    """(cases by function, tensors, each read when asked for).

    Raises BrokenEvidence when a function of the contract has no case.
    """
    index = json.loads((folder / "goldens.json").read_text(encoding="utf-8"))["functions"]
    for name in contract.functions:
        if not index.get(name):
            raise BrokenEvidence(f"no golden vectors for function {name}", subject="goldens.json")
    return index, LazyTensors(folder / "goldens.safetensors")

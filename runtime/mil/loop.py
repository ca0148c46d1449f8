"""Prefill and decode functions → the token loop a device's host would run. Numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.contract import Refusal
from runtime.contract import program as contracts
from runtime.mil import pieces
from runtime.mil.findings import Findings
from runtime.mil.interpreter import Result
from runtime.mil.kept import Array, Contract, Kept, Runs
from runtime.mil.numerics import Mode
from runtime.mil.program import Function

Real: TypeAlias = NDArray[np.float32]


@dataclass
class Trace:
    """What a decode gave: `first`, the prefill of its prompt; `tokens` chosen (one more than steps), `logits_NV` after
    the prompt and after each step, and what other `heads` say there; what each checked run of `decode` found, and the
    cache after all of it."""

    first: Result
    tokens: list[int]
    logits: list[Real]
    keys: Array
    values: Array
    findings: list[Findings] = field(default_factory=list)
    heads: dict[str, list[float]] = field(default_factory=dict)


class Host:
    """The functions of one contract, whoever executes them, called as a device's host would. What this host keeps is
    float32: a program that is run unrounded must not be rounded by its cache."""

    def __init__(self, functions: Mapping[str, Runs], contract: Contract) -> None:
        self.runs, self.contract = functions, contract
        #: what of its outputs are heads beside the one for words
        self.heads = contracts.heads(contract.functions)

    def prefill(self, name: str, ids: Sequence[int]) -> Result:
        """Run one prefill function on real tokens, padded on the right: its outputs, with `keys` and `values` of all
        its tokens wherever it left them. Raises Refusal when the tokens do not fit."""
        kept = Kept(self.runs, self.contract, np.float32)
        result = kept.read(name, ids)
        if self.contract.kv_cache.written_by == "host":
            return result
        length = self.contract.functions[name].length
        written = {"keys": kept.keys_LHCD[:, :, :length], "values": kept.values_LHCD[:, :, :length]}
        return Result(result.outputs | written, result.findings)

    def shortest(self, tokens: int) -> str:
        """The shortest prefill function that holds so many tokens. Raises Refusal when none does."""
        for name, length in self.contract.prefills():
            if length >= tokens:
                return name
        raise Refusal(f"no prefill holds {tokens} tokens", action="export a longer prefill shape")

    def decode(
        self, prompt: Sequence[int], steps: int, forced: Sequence[int] | None = None, *, start: str = ""
    ) -> Trace:
        """Prefill the prompt in function `start` (default: the shortest that holds it), then `steps` cached steps:
        reading `forced` tokens, or its own arg max when None. Raises BrokenEvidence for outputs or states that are not
        those of the contract."""
        kept = Kept(self.runs, self.contract, np.float32)
        first = kept.begin(start or self.shortest(len(prompt)), prompt)
        logits = first.outputs["logits"][0, len(prompt) - 1]
        tokens, seen, found = [int(logits.argmax())], [logits], []
        heads = {name: [float(first.outputs[name][0, len(prompt) - 1])] for name in self.heads}
        for step in range(steps):
            result = kept.step(tokens[-1] if forced is None else forced[step])
            seen.append(result.outputs["logits"][0, 0])
            tokens.append(int(seen[-1].argmax()))
            found.append(result.findings)
            for name, said in heads.items():
                said.append(float(result.outputs[name][0, 0]))
        return Trace(first, tokens, seen, kept.keys_LHCD, kept.values_LHCD, found, heads)


class Loop(Host):
    """Every function of the packages of one variant, compiled once."""

    def __init__(self, opened: pieces.Opened, contract: contracts.Contract, mode: Mode) -> None:
        #: function → what interprets its pieces
        self.pieces = pieces.interpreters(opened, contract, mode, check=True)
        super().__init__(pieces.functions(contract, self.pieces), contract)

    def programs(self, name: str) -> dict[str, Function]:
        """The programs that run a function, each under the name that its findings stand under: "" where there is but
        one."""
        labels = [pieces.label(piece) for piece in contracts.pieces(self.contract, name)]
        programs = [one.function for one in self.pieces[name]]
        return dict(zip(labels if len(labels) > 1 else [""], programs, strict=True))

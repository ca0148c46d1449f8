"""Prefill and decode functions → the token loop a device's host would run. Numpy only.

The host owns the cache: it copies a prompt's keys and values into it and writes each new key and value at its position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.contract import BrokenEvidence, Refusal
from runtime.contract import program as contracts
from runtime.mil.findings import Findings
from runtime.mil.interpreter import Interpreter, Result
from runtime.mil.numerics import Mode
from runtime.mil.package import Package

Real: TypeAlias = NDArray[np.float32]
Array: TypeAlias = NDArray[Any]


class Declared(Protocol):
    """One function, as a contract declares it."""

    @property
    def length(self) -> int: ...
    @property
    def outputs(self) -> Sequence[contracts.Value]: ...


class Contract(Protocol):
    """What of a package's or a delivery's contract a host needs."""

    @property
    def functions(self) -> Mapping[str, Declared]: ...
    @property
    def kv_cache(self) -> contracts.Cache: ...
    @property
    def special(self) -> Mapping[str, contracts.Special]: ...
    def prefills(self) -> list[tuple[str, int]]: ...


@dataclass
class Trace:
    """What a decode gave: `first`, the prefill of its prompt; `tokens` chosen (one more than steps), `logits_NV` after
    the prompt and after each step, the cache as the host wrote it, and what each checked run of `decode` found."""

    first: Result
    tokens: list[int]
    logits: list[Real]
    keys: Real
    values: Real
    findings: list[Findings] = field(default_factory=list)


def misshapen(outputs: Mapping[str, Real], declared: Declared) -> set[str]:
    """Outputs that are missing or do not have the contract's shape."""
    return {v.name for v in declared.outputs if v.name not in outputs or outputs[v.name].shape != tuple(v.shape)}


class Runs(Protocol):
    """One function, however it is executed."""

    def run(self, inputs: Mapping[str, Array], /) -> Result:
        """Its outputs by name, floats as float32."""


class Host:
    """The functions of one contract, whoever executes them, called as a device's host would."""

    def __init__(self, functions: Mapping[str, Runs], contract: Contract) -> None:
        self.runs, self.contract = functions, contract

    def prefill(self, name: str, ids: Sequence[int]) -> Result:
        """Run one prefill function on real tokens, padded on the right. Raises Refusal when they do not fit."""
        length = self.contract.functions[name].length
        if not 0 < len(ids) <= length:
            raise Refusal(f"{len(ids)} tokens do not fit {name}", action="choose a longer prefill")
        free = length - len(ids)
        pad = self.contract.special["pad"].id
        return self.runs[name].run(
            {
                "input_ids": np.array([[*ids, *[pad] * free]], dtype=np.int32),
                "attention_mask": np.array([[1.0] * len(ids) + [0.0] * free], dtype=np.float32),
            }
        )

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
        reading `forced` tokens, or its own arg max when None."""
        cache = self.contract.kv_cache
        first = self.prefill(start or self.shortest(len(prompt)), prompt)
        shape = (cache.layers, cache.heads, cache.context, cache.head_dim)
        keys, values = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
        at = len(prompt)
        keys[:, :, :at], values[:, :, :at] = first.outputs["keys"][:, :, :at], first.outputs["values"][:, :, :at]
        logits = first.outputs["logits"][0, at - 1]
        trace = Trace(first, [int(logits.argmax())], [logits], keys, values)
        for step in range(steps):
            token = trace.tokens[-1] if forced is None else forced[step]
            result = self.runs["decode"].run(
                {
                    "input_ids": np.array([[token]], dtype=np.int32),
                    "position": np.array([at + step], dtype=np.int32),
                    "key_cache": keys,
                    "value_cache": values,
                }
            )
            wrong = misshapen(result.outputs, self.contract.functions["decode"])
            if wrong:
                raise BrokenEvidence(
                    f"{', '.join(sorted(wrong))} of decode have not the contract's shape", subject="contract.json"
                )
            keys[:, :, at + step] = result.outputs["new_key"][:, :, 0]
            values[:, :, at + step] = result.outputs["new_value"][:, :, 0]
            trace.logits.append(result.outputs["logits"][0, 0])
            trace.tokens.append(int(trace.logits[-1].argmax()))
            trace.findings.append(result.findings)
        return trace


class Loop(Host):
    """Every function of one package, compiled once."""

    def __init__(self, package: Package, contract: contracts.Contract, mode: Mode) -> None:
        self.functions = {name: Interpreter(package, name, mode) for name in contract.functions}
        super().__init__(self.functions, contract)

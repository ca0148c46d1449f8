"""A package's prefill and decode functions → the token loop a device's host would run. Numpy only.

The host owns the cache: it copies a prompt's keys and values into it and writes each new key and value at its position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.contract import Refusal
from runtime.contract import program as contracts
from runtime.mil.findings import Findings
from runtime.mil.interpreter import Interpreter, Result
from runtime.mil.numerics import Mode
from runtime.mil.package import Package

Real: TypeAlias = NDArray[np.float32]


@dataclass
class Trace:
    """What a decode gave: `tokens` chosen (one more than steps), `logits_NV` after the prompt and after each step,
    the cache as the host wrote it, and what each checked run found."""

    tokens: list[int]
    logits: list[Real]
    keys: Real
    values: Real
    findings: list[Findings] = field(default_factory=list)


class Loop:
    """Every function of one package, compiled once."""

    def __init__(self, package: Package, contract: contracts.Contract, mode: Mode) -> None:
        self.contract = contract
        self.functions = {name: Interpreter(package, name, mode) for name in contract.functions}

    def prefill(self, name: str, ids: Sequence[int]) -> Result:
        """Run one prefill function on real tokens, padded on the right. Raises Refusal when they do not fit."""
        length = self.contract.functions[name].length
        if not 0 < len(ids) <= length:
            raise Refusal(f"{len(ids)} tokens do not fit {name}", action="choose a longer prefill")
        free = length - len(ids)
        pad = self.contract.special["pad"].id
        return self.functions[name].run(
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

    def decode(self, prompt: Sequence[int], steps: int, forced: Sequence[int] | None = None) -> Trace:
        """Prefill the prompt, then `steps` cached steps: reading `forced` tokens, or its own arg max when None."""
        cache = self.contract.kv_cache
        first = self.prefill(self.shortest(len(prompt)), prompt)
        shape = (cache.layers, cache.heads, cache.context, cache.head_dim)
        keys, values = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
        at = len(prompt)
        keys[:, :, :at], values[:, :, :at] = first.outputs["keys"][:, :, :at], first.outputs["values"][:, :, :at]
        logits = first.outputs["logits"][0, at - 1]
        trace = Trace([int(logits.argmax())], [logits], keys, values)
        for step in range(steps):
            token = trace.tokens[-1] if forced is None else forced[step]
            result = self.functions["decode"].run(
                {
                    "input_ids": np.array([[token]], dtype=np.int32),
                    "position": np.array([at + step], dtype=np.int32),
                    "key_cache": keys,
                    "value_cache": values,
                }
            )
            keys[:, :, at + step] = result.outputs["new_key"][:, :, 0]
            values[:, :, at + step] = result.outputs["new_value"][:, :, 0]
            trace.logits.append(result.outputs["logits"][0, 0])
            trace.tokens.append(int(trace.logits[-1].argmax()))
            trace.findings.append(result.findings)
        return trace

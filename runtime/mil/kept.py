"""One text between the calls of a package's functions: its keys and values, whoever keeps them. Numpy only.

Where a contract says `written_by: host`, the caches are inputs of `decode`, and this host copies into its own arrays
what a call gives. Where it says `graph`, they are Core ML states, which every call is handed and writes itself. Whoever
reads a text calls a prefill and then steps, and does not see which of the two it is.

Letters: L layers, H key/value heads, C cache slots, T tokens, D head width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.contract import BrokenEvidence, Refusal
from runtime.contract import program as contracts
from runtime.contract.authoring import Authoring
from runtime.contract.program import WRITTEN
from runtime.mil.interpreter import Result

Array: TypeAlias = NDArray[Any]
Inputs: TypeAlias = Mapping[str, Array]


class Runs(Protocol):
    """One function, however it is executed."""

    def run(self, inputs: Inputs, /, *, state: Any = None) -> Result:
        """Its outputs by name, floats as float32. `state` is what a `make_state` made; it is written in place."""

    def make_state(self) -> Any:
        """Zeroed buffers, read by name; any function of the package that has states of these names takes them."""


class Declared(Protocol):
    """One function, as a contract declares it."""

    @property
    def kind(self) -> str: ...
    @property
    def length(self) -> int: ...
    @property
    def outputs(self) -> Sequence[contracts.Value]: ...
    @property
    def states(self) -> Sequence[contracts.Value] | None: ...


class Contract(Protocol):
    """What of a package's or a delivery's contract a host needs."""

    @property
    def functions(self) -> Mapping[str, Declared]: ...
    @property
    def kv_cache(self) -> contracts.Cache: ...
    @property
    def authoring(self) -> Authoring | None: ...
    @property
    def special(self) -> Mapping[str, contracts.Special]: ...
    def prefills(self) -> list[tuple[str, int]]: ...


def misshapen(outputs: Inputs, declared: Declared) -> set[str]:
    """Outputs that are missing or do not have the contract's shape."""
    return {v.name for v in declared.outputs if v.name not in outputs or outputs[v.name].shape != tuple(v.shape)}


class Kept:
    """One text. `used` counts the tokens read so far: the next one is read at that position."""

    def __init__(self, runs: Mapping[str, Runs], contract: Contract, floats: type[np.floating[Any]]) -> None:
        """`floats`: of the mask and of caches that this host keeps; what runs in float32 must be given it.

        Raises BrokenEvidence for states that are not those of the contract, and for a contract without decode.
        """
        self._runs, self._contract, self._floats, self.used = runs, contract, floats, 0
        self._decode = next((name for name, one in contract.functions.items() if one.kind == "decode"), "")
        if not self._decode:
            raise BrokenEvidence("the contract has no decode", subject="contract.json")
        cache = contract.kv_cache
        shape_LHCD = (cache.layers, cache.heads, cache.context, cache.head_dim)
        self._slots: _Own | _States
        if cache.written_by == "host":
            self._slots = _Own(shape_LHCD, floats)
        else:
            self._slots = _States(runs[self._decode].make_state(), shape_LHCD)

    @property
    def keys_LHCD(self) -> Array:
        """The keys of the text; slots from `used` on mean nothing."""
        return self._slots.content("key_cache")

    @property
    def values_LHCD(self) -> Array:
        """The values of the text; slots from `used` on mean nothing."""
        return self._slots.content("value_cache")

    def read(self, name: str, ids: Sequence[int]) -> Result:
        """Run one prefill on real tokens, padded on the right: its outputs as they are. Nothing is kept of them by this
        host; states are written all the same. Raises Refusal for tokens that do not fit."""
        length = self._contract.functions[name].length
        if not 0 < len(ids) <= length:
            raise Refusal(f"{len(ids)} tokens do not fit {name}", action="choose a longer prefill")
        pad, free = self._contract.special["pad"].id, length - len(ids)
        tokens = np.array([[*ids, *[pad] * free]], dtype=np.int32)
        mask = np.array([[1] * len(ids) + [0] * free], dtype=self._floats)
        return self._runs[name].run({"input_ids": tokens, "attention_mask": mask}, state=self._slots.state)

    def begin(self, name: str, ids: Sequence[int]) -> Result:
        """Begin the text with a prompt. Raises what `read` raises, and BrokenEvidence for outputs that are not those of
        the contract."""
        result = self._as_declared(name, self.read(name, ids))
        self._slots.write(result.outputs, "prefill", 0, len(ids))
        self.used = len(ids)
        return result

    def step(self, token: int) -> Result:
        """Read one token more. Raises Refusal when every slot is taken, BrokenEvidence as `begin` does."""
        if self.used >= self._contract.kv_cache.context:
            raise Refusal(
                f"the cache holds {self.used} tokens, and all of its slots are taken",
                action="ask something shorter, or begin a new text",
            )
        inputs = {
            "input_ids": np.array([[token]], dtype=np.int32),
            "position": np.array([self.used], dtype=np.int32),
            **self._slots.inputs(),
        }
        result = self._as_declared(self._decode, self._runs[self._decode].run(inputs, state=self._slots.state))
        self._slots.write(result.outputs, "decode", self.used, 1)
        self.used += 1
        return result

    def _as_declared(self, name: str, result: Result) -> Result:
        wrong = misshapen(result.outputs, self._contract.functions[name])
        if wrong:
            raise BrokenEvidence(
                f"{', '.join(sorted(wrong))} of {name} have not the contract's shape", subject="contract.json"
            )
        return result


class _Own:
    """Two arrays of this host."""

    #: no function has states
    state = None

    def __init__(self, shape_LHCD: tuple[int, ...], floats: type[np.floating[Any]]) -> None:
        self._held: dict[str, Array] = {name: np.zeros(shape_LHCD, floats) for name in WRITTEN["decode"]}

    def inputs(self) -> Inputs:
        return self._held

    def write(self, outputs: Inputs, kind: str, at: int, count: int) -> None:
        """Copy the first `count` tokens of what a call gave to the slots from `at` on."""
        for name, output in WRITTEN[kind].items():
            self._held[name][:, :, at : at + count] = outputs[output][:, :, :count]

    def content(self, name: str) -> Array:
        return self._held[name]


class _States:
    """Buffers that the functions read and write."""

    def __init__(self, state: Any, shape_LHCD: tuple[int, ...]) -> None:
        self.state = state
        for name in WRITTEN["decode"]:
            try:
                found = self.content(name).shape
            except (KeyError, TypeError):
                # TypeError: there is no state at all
                raise BrokenEvidence(f"decode has no state {name}", subject="contract.json") from None
            if found != shape_LHCD:
                raise BrokenEvidence(
                    f"state {name} of decode has shape {found}, the contract's is {shape_LHCD}", subject="contract.json"
                )

    def inputs(self) -> Inputs:
        return {}

    def write(self, outputs: Inputs, kind: str, at: int, count: int) -> None:
        """The call has written them."""

    def content(self, name: str) -> Array:
        return np.asarray(self.state[name])

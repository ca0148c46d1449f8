"""One function of a saved package, predicted by Core ML: inputs by name → outputs, as the interpreter gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.contract import Refusal
from runtime.contract.program import ONLY
from runtime.coreml import api
from runtime.coreml.api import Array, CoreML
from runtime.mil.findings import Findings
from runtime.mil.interpreter import Result


class NotPredicted(Refusal):
    """Core ML did not predict, or not as the package says; the text says of which function, where and why."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message, action="`kcompiler mil check` says whether the package is sound; the rest is Core ML's"
        )


class Buffers:
    """What Core ML keeps of one text between calls."""

    def __init__(self, made: api.State) -> None:
        self.made = made

    def __getitem__(self, name: str) -> Array:
        """A copy of a buffer. Raises KeyError for one that is not there."""
        try:
            return np.array(self.made.read_state(name))
        except Exception as error:  # coremltools raises whatever its native library does
            raise KeyError(name) from error


class Predictor:
    """A function, loaded on units of computation. `states` are those that a call of it writes.

    A state may be made by another function of the package: Core ML finds its buffers by their names.
    """

    def __init__(
        self,
        coreml: CoreML,
        package: Path,
        function: str,
        units: str,
        *,
        dtypes: Mapping[str, str],
        states: Sequence[str] = (),
        watched: bool = True,
    ) -> None:
        """`dtypes` are those of its inputs. With `watched` a run copies every state before and after it, to see that it
        was written. Raises NotPredicted for what Core ML does not load."""
        self._at, self._dtypes, self._states = f"{function} on {units}", dict(dtypes), tuple(states)
        # the one function of a package from before iOS 18 cannot be asked for by a name
        named = {} if function == ONLY else {"function_name": function}
        self._watched = watched
        #: what it was given last, and the state
        self.last: dict[str, Array] = {}
        self._state: Buffers | None = None
        try:
            self.model = coreml.models(str(package), compute_units=coreml.units[units], **named)
        except Exception as error:  # coremltools raises Exception itself, and whatever its native library does
            raise NotPredicted(f"{self._at} was not loaded: {_said(error)}") from error

    def make_state(self) -> Buffers | None:
        """Zeroed buffers, None for a function without states. Raises NotPredicted."""
        if not self._states:
            return None
        try:
            return Buffers(self.model.make_state())
        except Exception as error:  # as above
            raise NotPredicted(f"{self._at} made no state: {_said(error)}") from error

    def call(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """One prediction and nothing besides, in the state of the last run: what is timed. Raises NotPredicted."""
        try:
            if self._state is None:
                return self.model.predict(dict(inputs))
            return self.model.predict(dict(inputs), self._state.made)
        except Exception as error:  # as above
            raise NotPredicted(f"{self._at} was not predicted: {_said(error)}") from error

    def run(self, inputs: Mapping[str, Array], /, *, state: Buffers | None = None) -> Result:
        """Outputs by name, floats as float32, in a state (default: its own); a state that the call should write and
        does not is no prediction."""
        self.last = {name: np.asarray(value).astype(self._dtypes[name]) for name, value in inputs.items()}
        self._state = state or self._state or self.make_state()
        before = self.state() if self._watched else {}
        found = self.call(self.last)
        after = self.state() if self._watched else {}
        for name, value in before.items():
            if np.array_equal(value, after[name]):
                raise NotPredicted(f"{self._at} left its state `{name}` as it was before the call that writes it")
        return Result({name: _floats(value) for name, value in found.items()}, Findings())

    def state(self) -> dict[str, Array]:
        """Copies of the states that a call writes, as the last run left them."""
        return {} if self._state is None else {name: self._state[name] for name in self._states}


def _floats(value: Any) -> Array:
    found = np.asarray(value)
    return found.astype(np.float32) if found.dtype.kind == "f" else found


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"

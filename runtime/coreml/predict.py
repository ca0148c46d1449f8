"""One function of a saved package, predicted by Core ML: inputs by name → outputs, as the interpreter gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.contract import Refusal
from runtime.coreml.api import Array, CoreML
from runtime.mil.findings import Findings
from runtime.mil.interpreter import Result


class NotPredicted(Refusal):
    """Core ML did not predict, or not as the package says; the text says of which function, where and why."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message, action="`kcompiler mil check` says whether the package is sound; the rest is Core ML's"
        )


class Predictor:
    """A function, loaded on units of computation. `states` are those that a call of it writes."""

    def __init__(
        self,
        coreml: CoreML,
        package: Path,
        function: str,
        units: str,
        *,
        dtypes: Mapping[str, str],
        states: Sequence[str] = (),
    ) -> None:
        """`dtypes` are those of its inputs. Raises NotPredicted for what Core ML does not load."""
        self._at, self._dtypes, self._states = f"{function} on {units}", dict(dtypes), tuple(states)
        #: what it was given last
        self.last: dict[str, Array] = {}
        try:
            self.model = coreml.models(str(package), compute_units=coreml.units[units], function_name=function)
            self._state = self.model.make_state() if self._states else None
        except Exception as error:  # coremltools raises Exception itself, and whatever its native library does
            raise NotPredicted(f"{self._at} was not loaded: {_said(error)}") from error

    def call(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """One prediction and nothing besides: what is timed. Raises NotPredicted."""
        try:
            if self._state is None:
                return self.model.predict(dict(inputs))
            return self.model.predict(dict(inputs), self._state)
        except Exception as error:  # as above
            raise NotPredicted(f"{self._at} was not predicted: {_said(error)}") from error

    def run(self, inputs: Mapping[str, Array]) -> Result:
        """Outputs by name, floats as float32; a state that the call should write and does not is no prediction."""
        self.last = {name: np.asarray(value).astype(self._dtypes[name]) for name, value in inputs.items()}
        before = self.state()
        found = self.call(self.last)
        for name, value in self.state().items():
            if np.array_equal(value, before[name]):
                raise NotPredicted(f"{self._at} left its state `{name}` as it was before the call that writes it")
        return Result({name: _floats(value) for name, value in found.items()}, Findings())

    def state(self) -> dict[str, Array]:
        """Copies of the states that a call writes."""
        return {} if self._state is None else {name: np.array(self._state.read_state(name)) for name in self._states}


def _floats(value: Any) -> Array:
    found = np.asarray(value)
    return found.astype(np.float32) if found.dtype.kind == "f" else found


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"

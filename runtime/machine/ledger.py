"""A parameter model → the same model that notes which of its fields are read, so that none is silently ignored.

Covered: every field of the step's own model, and every field of the models inside it, however deep in lists, tuples and
dicts. A field of the step's own model must be read, unless it is declared to have no effect on the result (UNKEYED):
what was done before need not be paced, priced or saved again. A field of an inner model must be read unless it has its
declared default (a setting that was left alone need not have an effect). Whatever hands out a whole model
(`model_dump`, iteration, comparison, copying, printing) reads all that is in it. Not covered: single keys of plain
dicts, which belong to plug-ins whose own models refuse unknown keys; of a loss, step `reach` asks whether it reads
them. An attempt that goes on from the scratch folder of a killed one is held to the same: what was read is written down
before the value is handed out, and counts on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel

from runtime.contract import UNKEYED

Model = TypeVar("Model", bound=BaseModel)
#: attributes that hand out everything at once; `__dict__` stands behind iteration, printing and copying
_WHOLE = frozenset({"__dict__", "model_dump", "model_dump_json", "model_copy", "dict", "json", "copy"})


def _nobody(path: str) -> None:
    del path


class Ledger:
    """Dotted paths: those that should be read, and those that were.

    `read` are those that an earlier attempt read at the same work; `told` hears of each path when it is first read,
    and may raise.
    """

    def __init__(self, read: Iterable[str] = (), told: Callable[[str], None] = _nobody) -> None:
        self._expected: set[str] = set()
        self._read, self._told = set(read), told
        # an operation may read its params in threads of its own
        self._lock = threading.Lock()

    def __deepcopy__(self, _: object) -> Ledger:
        # whoever reads in a copy of the params reads for the same step
        return self

    def expect(self, path: str) -> None:
        self._expected.add(path)

    def note(self, path: str) -> None:
        if path not in self._read:
            with self._lock:
                if path not in self._read:
                    self._told(path)
                    self._read.add(path)

    def note_below(self, path: str) -> None:
        """Everything below a path was read; "" is the whole."""
        for known in sorted(self._expected):
            if not path or known.startswith(f"{path}."):
                self.note(known)

    def unread(self) -> list[str]:
        """Fields that should have been read and were not, sorted; of nested ones only the outermost."""
        missing = self._expected - self._read
        return sorted(path for path in missing if not any(path.startswith(f"{other}.") for other in missing))


def record(params: Model, ledger: Ledger) -> Model:
    """A copy of `params`, equal to it and of a subclass of its class, whose reads are noted in `ledger`."""
    return _wrap(params, ledger, "")


def _wrap(params: Model, ledger: Ledger, path: str) -> Model:
    values: dict[str, Any] = {}
    for name, field in type(params).model_fields.items():
        value = getattr(params, name)
        place = f"{path}.{name}" if path else name
        default = field.get_default(call_default_factory=True, validated_data=values)
        must = UNKEYED not in field.metadata if not path else type(value) is not type(default) or value != default
        if must:
            ledger.expect(place)
        values[name] = _inside(value, ledger, place)
    recording: Model = _recording(type(params)).model_construct(_fields_set=params.model_fields_set, **values)
    object.__setattr__(recording, "__pydantic_private__", {"ledger": ledger, "path": path})
    return recording


def _inside(value: Any, ledger: Ledger, path: str) -> Any:
    if isinstance(value, BaseModel):
        return _wrap(value, ledger, path)
    if isinstance(value, (list, tuple)):
        return type(value)(_inside(item, ledger, f"{path}.{index}") for index, item in enumerate(value))
    if isinstance(value, dict):
        return {name: _inside(item, ledger, f"{path}.{name}") for name, item in value.items()}
    return value


@cache
def _recording(model: type[BaseModel]) -> Any:
    """A subclass of `model` that tells its ledger what is read."""
    fields = frozenset(model.model_fields)

    def __getattribute__(self: Any, name: str) -> Any:
        if name in fields or name in _WHOLE:
            private = object.__getattribute__(self, "__pydantic_private__") or {}
            if "ledger" in private:
                ledger, path = private["ledger"], private["path"]
                if name in fields:
                    ledger.note(f"{path}.{name}" if path else name)
                else:
                    ledger.note_below(path)
        return super(recording, self).__getattribute__(name)

    def __eq__(self: Any, other: object) -> bool:
        return bool(plain(self) == (plain(other) if isinstance(other, recording) else other))

    def __reduce__(self: Any) -> tuple[Any, tuple[Any]]:
        return model.model_validate, (self.model_dump(),)

    def plain(recorded: Any) -> Any:
        return model.model_validate(recorded.model_dump())

    namespace: dict[str, Any] = {
        "__module__": model.__module__,
        "__qualname__": model.__qualname__,
        "__getattribute__": __getattribute__,
        "__eq__": __eq__,
        "__hash__": model.__hash__,
        "__reduce__": __reduce__,
    }
    metaclass: Any = type(model)
    recording = metaclass(model.__name__, (model,), namespace)
    return recording

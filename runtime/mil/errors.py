"""What the interpreter does not model, or cannot run → one hard error. Nothing unknown is ever skipped."""

from __future__ import annotations

from runtime.contract import BrokenEvidence, Refusal


class UnsupportedOp(Refusal):
    """An op, parameter, attribute or dtype whose meaning is not modelled; `op` is its type, `place` says where."""

    def __init__(self, message: str, *, op: str, place: str = "", action: str = "") -> None:
        super().__init__(
            message,
            place=place,
            action=action or "express the model with modelled ops, or add the op to runtime/mil/ops with its test",
            code="KR0610",
        )
        self.op = op


class DoesNotFit(BrokenEvidence):
    """An op that ran met operands that do not fit it: the program is broken, or what it was given is beyond it."""

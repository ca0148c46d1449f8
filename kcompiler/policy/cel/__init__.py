"""A strict, statically typed subset of CEL → whether a report satisfies it. What is written here means the same in CEL.

CEL is the Common Expression Language of Google (cel-spec 0.24). Left out is what a gate should not need: bytes,
unsigned integers, maps that are written down, regular expressions, times, every conversion but `double`. Stricter is
what would let a rule pass on nothing or on a slip: a path must exist in the report's schema, what may be absent needs a
`has()` before it, a list that is asked for all of its elements must be known not to be empty, whole numbers are not
divided, an error is never swallowed by an `||`. Numbers are exact fractions: no rounding stands between a measurement
and its gate.
"""

from __future__ import annotations

from kcompiler.policy.cel.check import Typed, compiled
from kcompiler.policy.cel.evaluate import Lacking, Undecided, Unsound, evaluated
from kcompiler.policy.cel.syntax import Refused

__all__ = ["Lacking", "Refused", "Typed", "Undecided", "Unsound", "compiled", "evaluated"]

"""State ops (iOS18): the only ops with an effect. They read or replace a named buffer.

A saved package spells an update `write_state` (and, where the new content is used, a `read_state` after it); the
converter's program in memory spells it `coreml_update_state`, which also yields the new content.
"""

from __future__ import annotations

from typing import NamedTuple


class StateOp(NamedTuple):
    """Parameter that names the state, and parameter that holds its new content ("" when the op only reads)."""

    since: int
    state: str
    data: str


STATE_OPS = {
    "read_state": StateOp(8, "input", ""),
    "write_state": StateOp(8, "input", "data"),
    "coreml_update_state": StateOp(8, "state", "value"),
}

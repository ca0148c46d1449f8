"""Items of a suite by its own runners and by further ones → the report of how far each two are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.contract import BrokenEvidence, Context, apart, items
from runtime.contract import report as facts
from runtime.contract.parity import OWN_ITEMS, port_of
from runtime.steps.parity import ParityParams


def compare(takes: Mapping[str, Path], params: ParityParams, ctx: Context) -> None:
    """Operation `parity`. Raises BrokenEvidence for items that are none, or that were asked differently."""
    found: dict[str, Sequence[items.Line]] = {}
    for port in [OWN_ITEMS, *map(port_of, params.further)]:
        try:
            lines = items.by_runner(items.load(takes[port] / items.FILE))
        except (OSError, ValueError) as error:
            raise BrokenEvidence(f"the items cannot be read: {error}", subject=f"{port}/{items.FILE}") from None
        found |= lines
    try:
        data = apart.told(params.suite, found, params.models, ctx.seed)
    except ValueError as error:
        raise BrokenEvidence(str(error), subject=items.FILE) from None
    ctx.report("report", data, fingerprints=facts.fingerprints({}, ctx.digests))
    pairs = {**data["ways"], **data["models"]}
    for name, pair in pairs.items():
        ctx.say(f"{name}: {len(pair['rows'])} of {pair['items']['value']} items apart")

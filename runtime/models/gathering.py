"""Lines of all shards × the rows they are about → the items and the report of one evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.contract import Context, items, lots
from runtime.contract import report as facts
from runtime.models import questions
from runtime.steps.gather import GatherParams, port_of


def gather(takes: Mapping[str, Path], params: GatherParams, ctx: Context) -> None:
    """Operation `gather`. Raises Refusal for lines that are not, once each, those of every lot."""
    asked = questions.of(takes, params, ctx)
    parts = [_lines(takes[port_of(shard)] / items.FILE, shard) for shard in range(params.shards)]
    selected = {name: asked.suite.select(asked.rows, name, asked.params) for name in asked.runners}
    bound = facts.fingerprints(takes, ctx.digests, model="checkpoint")
    asked.report(lots.whole(parts, selected), ctx, bound)


def _lines(path: Path, shard: int) -> list[items.Line]:
    try:
        return items.read(path.read_bytes())
    except ValueError as reason:
        raise lots.no_whole(f"what shard {shard} left cannot be read: {reason}") from None

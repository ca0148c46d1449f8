"""Lines of all shards × the rows they are about → the items and the report of one evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.contract import Context, items, lots
from runtime.contract import report as facts
from runtime.contract.hosted import fingerprint
from runtime.contract.questioned import JUDGE, WHICH
from runtime.contract.strict_json import loads
from runtime.models import questions
from runtime.steps.gather import GatherParams, port_of


def gather(takes: Mapping[str, Path], params: GatherParams, ctx: Context) -> None:
    """Operation `gather`. Raises Refusal for lines that are not, once each, those of every lot."""
    asked = questions.of(takes, params, ctx)
    parts = [_lines(takes[port_of(shard)] / items.FILE, shard) for shard in range(params.shards)]
    selected = {name: asked.suite.select(asked.rows, name, asked.params) for name in asked.runners}
    bound = facts.fingerprints(takes, ctx.digests, model="checkpoint")
    which = _judge([takes[port_of(shard)] / WHICH for shard in range(params.shards)])
    if which:
        bound[JUDGE] = fingerprint(which)
    asked.report(lots.whole(parts, selected), ctx, bound, questions.judged_by(which))


def _judge(paths: Sequence[Path]) -> dict[str, str]:
    """The model behind a server that compared the lines of all shards; a shard without a lot asked nobody."""
    found: list[Any] = [loads(path.read_bytes()) for path in paths if path.is_file()]
    if any(one != found[0] for one in found):
        raise lots.no_whole("two shards were compared by different judges")
    return dict(found[0]) if found else {}


def _lines(path: Path, shard: int) -> items.Lines:
    try:
        return items.load(path)
    except ValueError as reason:
        raise lots.no_whole(f"what shard {shard} left cannot be read: {reason}") from None

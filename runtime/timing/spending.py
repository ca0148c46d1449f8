"""Lines of items × rows × tokenizer → the tokens that each answer took."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.contract import BrokenEvidence, Context, efficiency, items, rows, spool
from runtime.contract import report as facts
from runtime.contract.parity import right
from runtime.models import tokenizer as tokenizers
from runtime.steps.efficiency import EfficiencyParams


def spend(takes: Mapping[str, Path], params: EfficiencyParams, ctx: Context) -> None:
    """Operation `efficiency`. Raises BrokenEvidence for a line that is of no row, or holds no text."""
    of = {port: takes[port] for port in ("dataset", "tokenizer")}
    found = spent(takes, params)
    ctx.report("report", found, fingerprints=facts.fingerprints(of, ctx.digests))
    ctx.say(efficiency.told(found))


def spent(takes: Mapping[str, Path], params: EfficiencyParams) -> dict[str, Any]:
    """The data of the report. Raises as `spend` does."""
    words = tokenizers.load(takes["tokenizer"])
    asked = rows.kept(takes["dataset"] / f"{params.split}.jsonl")
    places = spool.Places(str(row["id"]) for row in asked)
    found: dict[str, efficiency.Spent] = {}
    for line in items.load(takes["items"] / items.FILE):
        at = next((at for at in places.of(line["row"]) if asked[at]["id"] == line["row"]), None)
        said = _text(line["output"])
        if at is None or said is None:
            raise BrokenEvidence(f"row {line['row']} was not asked, or answered without a text", subject=items.FILE)
        encoded = words.encode_pair(rows.prompt_of(asked[at]), said)
        read, wrote = encoded.prompt_tokens, len(encoded.ids) - encoded.prompt_tokens
        found.setdefault(line["runner"], efficiency.Spent(len(asked))).add(at, read, wrote, right(line))
    return efficiency.data(found)


def _text(output: Any) -> str | None:
    found = output.get("text") if isinstance(output, Mapping) else output
    return found if isinstance(found, str) else None

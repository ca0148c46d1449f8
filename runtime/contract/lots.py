"""Rows of one runner → lots: fixed sets by a stable hash of the row's id, always asked together.

How much is asked at once may turn the last bit of a number. A lot depends on the rows alone, so that nothing depends on
who asks it, how the work was divided, or where an attempt was killed.
"""

from __future__ import annotations

import hashlib
import unicodedata
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.contract import Refusal, spool

#: rows of a lot, about: so much is asked again after a kill, and so much can share a batch
ROWS = 64

Row = Mapping[str, Any]


def place(row_id: str, lots: int) -> int:
    """The lot of a row: the first eight bytes of its id's SHA-256, modulo their number."""
    return int.from_bytes(hashlib.sha256(row_id.encode()).digest()[:8], "big") % lots


def number(rows: int) -> int:
    """How many lots there are of so many rows."""
    return max(1, -(-rows // ROWS))


def of(rows: Sequence[Row]) -> list[array[int]]:
    """The lots of these rows: the numbers of each one's rows, in their order; one may be empty."""
    found = [array("I") for _ in range(number(len(rows)))]
    for at, row in enumerate(rows):
        found[place(str(row["id"]), len(found))].append(at)
    return found


def shared(lots: int, shard: int, shards: int) -> range:
    """Which lots of every runner one of the shards asks."""
    return range(shard, lots, shards)


def whole(
    parts: Sequence[Sequence[Mapping[str, Any]]], asked: Mapping[str, Sequence[Row]]
) -> Sequence[Mapping[str, Any]]:
    """The lines of all shards as one that asks everything leaves them: runner by runner, in the order of each one's
    rows (`asked`).

    Raises Refusal for a line that is lost, stands there twice, or is in a shard that was not to ask it.
    """
    shards, places, ahead = array("I"), array("I"), [0] * len(parts)
    for runner, rows in asked.items():
        count = number(len(rows))
        for row in rows:
            shard = place(str(row["id"]), count) % len(parts)
            at = ahead[shard]
            one = parts[shard][at] if at < len(parts[shard]) else {}
            if (one.get("runner"), one.get("row")) != (runner, str(row["id"])):
                return _each_found(parts, asked)
            shards.append(shard)
            places.append(at)
            ahead[shard] += 1
    if ahead != [len(lines) for lines in parts]:
        return _each_found(parts, asked)
    return spool.Each(len(shards), lambda at: parts[shards[at]][places[at]])


def _each_found(
    parts: Sequence[Sequence[Mapping[str, Any]]], asked: Mapping[str, Sequence[Row]]
) -> list[dict[str, Any]]:
    """The same of lines in any order, which are all in memory. Raises as `whole`."""
    due: dict[tuple[str, str], int] = {}
    for runner, rows in asked.items():
        count = number(len(rows))
        due |= {(runner, str(row["id"])): place(str(row["id"]), count) % len(parts) for row in rows}
    found: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {}
    for shard, lines in enumerate(parts):
        for one in lines:
            key = (str(one["runner"]), str(one["row"]))
            who = f"row `{key[1]}` by runner `{key[0]}`"
            if key not in due:
                raise no_whole(f"shard {shard} has a line of {who}, which nobody was to ask")
            if key in found:
                raise no_whole(f"{who} has two lines, in shards {found[key][0]} and {shard}")
            if due[key] != shard:
                raise no_whole(f"shard {shard} has the line of {who}, which belongs to shard {due[key]}")
            found[key] = shard, dict(one)
    lost = next((key for key in due if key not in found), None)
    if lost is not None:
        raise no_whole(f"no shard has a line of row `{lost[1]}` by runner `{lost[0]}`: shard {due[lost]} was to ask it")
    return [found[key][1] for key in due]


def no_whole(message: str) -> Refusal:
    """What the shards left is not what was asked of them."""
    return Refusal(message, action="apply again with --force and the names of the shards' steps", code="KR0212")


def distinct(rows: Sequence[Row]) -> None:
    """Raises Refusal for two rows whose ids are one after Unicode's canonical composition: nobody tells them apart."""
    found = spool.keys(_composed(row) for row in rows)
    alike = spool.repeated(found)
    seen: dict[str, str] = {}
    for row in (row for at, row in enumerate(rows) if found[at] in alike) if alike else ():
        name = str(row["id"])
        other = seen.setdefault(_composed(row), name)
        if other is not name:
            raise Refusal(
                f"rows {other!a} and {name!a} have one id, written in two ways",
                action="give each row an id of its own",
                code="KR0211",
            )


def _composed(row: Row) -> str:
    return unicodedata.normalize("NFC", str(row["id"]))

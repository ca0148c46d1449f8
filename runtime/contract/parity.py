"""Items of several runners to the same rows → how far each two of them are apart. No tensors: the auditor reads it too.

`right` of an item is its part of that name, or that its line gives no reason why it is not; parts called `f1` (or
`…_f1`) are compared as well. `gap` is the largest of these differences as a distance: its upper end is the unfavourable
end of the interval that lies farther from zero. Two ways to ask *one* model should have none; of two models it says how
far they are apart. Two runners that get nothing right have no gap: a mute one is as far from another mute one.

`disagreeing` are items that are worth something else; `other_answer` these, and those that both have wrong with other
texts: two right answers may be written in two ways, two wrong ones that differ are two answers.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations
from typing import Any

from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.paired import bootstrap, wins
from runtime.contract.statistics.rates import rate

KIND = "parity"
#: rows that are named of those two runners disagree about
MOST_NAMED = 1000
#: the reason of a line that an earlier run does not have
NOT_RECORDED = "not_recorded"
#: items of a report that is judged, at most
MOST_ITEMS = 10**6
GAP = "item/item"
#: the port of the items that a suite's own runners answered
OWN_ITEMS = "items"


def port_of(runner: str) -> str:
    """The port of a further runner's items."""
    return f"items_{runner}"


def right(line: Mapping[str, Any]) -> bool:
    """Whether nothing is wrong with an item: where a suite says so of each, that counts."""
    said = line["parts"].get("right")
    return said if isinstance(said, bool) else not line["reason"]


def asked(name: str, lines: Sequence[Mapping[str, Any]], why: str = "") -> dict[str, Any]:
    """What one runner's items come to; `why` it could not be asked, or "". Of items that were not recorded nobody knows
    whether they are right, and of the others no rate is one of all."""
    reasons, k = Counter[str](), 0
    for line in lines:
        reasons[str(line["reason"]) or "right"] += 1
        k += right(line)
    lost = reasons[NOT_RECORDED]
    why = why or (f"{lost} of {len(lines)} items are not recorded" if lost else "")
    return {
        "runner": name,
        "items": measured(len(lines), "item"),
        "right": unavailable(why, "ratio") if why else rate(k, len(lines)),
        "reasons": {reason: rate(count, len(lines)) for reason, count in sorted(reasons.items()) if count},
    }


def pairs(
    lines: Mapping[str, Sequence[Mapping[str, Any]]], models: Mapping[str, str], seed: int
) -> dict[str, dict[str, Any]]:
    """Every two runners: under `ways` those that ask one model, under `models` the others. `models` maps a runner to
    whose answers it gives, "" for a model of its own. The order of `lines` and `models` decides nothing, neither how a
    pair is named nor which side is taken from which: a run has them as its spec does, an auditor as the lock does.

    Raises ValueError where two runners were asked something else about one row.
    """
    found: dict[str, dict[str, Any]] = {"ways": {}, "models": {}}
    for one, other in combinations(sorted(lines), 2):
        same = models[one] and models[one] == models[other]
        found["ways" if same else "models"][f"{one} and {other}"] = compared(lines[one], lines[other], seed)
    return found


def compared(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Two runners on the rows that both were asked. Raises ValueError for a row that they were asked differently."""
    apart, disagreeing, others, lost, texts, same = list[str](), 0, 0, 0, 0, 0
    hits = bytearray(), bytearray()
    numbers: dict[str, tuple[array[float], array[float]]] = {}
    for mine, its in _both(one, other):
        if mine["prompt"] != its["prompt"]:
            raise ValueError(
                f"row `{mine['row']}`: runner `{mine['runner']}` and runner `{its['runner']}` were asked differently"
            )
        if not hits[0]:
            # rows have the parts that their data set gives them, whatever is answered: those of the first are all's
            known = [part for part in mine["parts"] if part == "f1" or part.endswith("_f1")]
            numbers = {part: (array("d"), array("d")) for part in known}
        for side, line in zip(hits, (mine, its), strict=True):
            side.append(right(line))
        for part, sides in numbers.items():
            pair = [line["parts"].get(part) for line in (mine, its)]
            if None not in pair:
                for side_, number in zip(sides, pair, strict=True):
                    side_.append(number)
        if _parts(mine) != _parts(its):
            disagreeing += 1
            apart += [str(mine["row"])] if len(apart) < MOST_NAMED else []
        lost += NOT_RECORDED in (mine["reason"], its["reason"])
        others += _other_answer(mine, its)
        first, second = _text(mine["output"]), _text(its["output"])
        # of scores the last digits differ between ways; where texts were asked for, they are the same or not
        if first is not None and second is not None:
            texts += 1
            same += first == second
    items = len(hits[0])
    differences = {
        "right": wins(*hits),
        **{part: bootstrap(*sides, GAP, seed) for part, sides in numbers.items()},
    }
    any_right = any(map(any, hits))
    return {
        "items": measured(items, "item"),
        "difference": differences,
        "gap": unavailable(f"{lost} items are not recorded", GAP) if lost else _gap(differences, any_right),
        "disagreeing": rate(disagreeing, items),
        "other_answer": rate(others, items),
        "other_text": rate(texts - same, texts),
        "rows": apart,
    }


def _both(
    one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The two lines of every row that both have."""
    if all(mine["row"] == its["row"] for mine, its in zip(one, other, strict=False)):
        yield from zip(one, other, strict=False)
        return
    places = {line["row"]: at for at, line in enumerate(other)}
    yield from ((line, other[places[line["row"]]]) for line in one if line["row"] in places)


def _other_answer(mine: Mapping[str, Any], its: Mapping[str, Any]) -> bool:
    if _parts(mine) != _parts(its):
        return True
    return not right(mine) and _text(mine["output"]) != _text(its["output"])


def _text(output: Any) -> str | None:
    text = output.get("text") if isinstance(output, Mapping) else output
    return text if isinstance(text, str) else None


def _parts(line: Mapping[str, Any]) -> list[Any]:
    """What an item is worth, without the numbers that two ways to compute one thing may round otherwise."""
    return [line["reason"], sorted((name, part) for name, part in line["parts"].items() if isinstance(part, bool))]


def _gap(differences: Mapping[str, Mapping[str, Any]], any_right: bool) -> dict[str, Any]:
    """The difference that may be largest, as a distance."""
    if not any_right:
        return unavailable("neither has an item right: nothing shows that they are worth the same", GAP)
    for one in differences.values():
        if one["tag"] != "measured":
            return unavailable(str(one["reason"]), GAP)
    name, most = max(differences.items(), key=lambda pair: max(abs(pair[1]["low"]), abs(pair[1]["high"])))
    ends = sorted((abs(most["low"]), abs(most["high"])))
    return measured(
        abs(most["value"]),
        GAP,
        n=most["n"],
        low=0.0 if most["low"] <= 0.0 <= most["high"] else min(ends[0], abs(most["value"])),
        high=max(ends[1], abs(most["value"])),
        confidence=most["confidence"],
        interval=most["interval"],
        of=name,
    )


def consistent(data: Mapping[str, Any]) -> None:
    """Raises ValueError for data of a report whose runners, pairs and counts do not belong together. They satisfy the
    schema of their kind."""
    runners = data["runners"]
    for name, one in runners.items():
        if sum(_k(count) for count in one["reasons"].values()) != one["items"]["value"]:
            raise ValueError(f"runners/{name}: its reasons are not those of its items")
    wanted = {frozenset(pair) for pair in combinations(runners, 2)}
    either = {f"{one} and {other}": (one, other) for one, other in permutations(runners, 2)}
    for place in ("ways", "models"):
        for name, found in data[place].items():
            pair = either.get(name, ())
            if frozenset(pair) not in wanted:
                raise ValueError(f"{place}/{name}: not a pair of two of its runners, or one that stands twice")
            wanted.discard(frozenset(pair))
            one, other = (runners[each] for each in pair)
            if (place == "ways") != bool(one["model"] and one["model"] == other["model"]):
                raise ValueError(f"{place}/{name}: they ask `{one['model']}` and `{other['model']}`")
            if wrong := next(_contradicted(found, one, other), ""):
                raise ValueError(f"{place}/{name}: {wrong}")
    if wanted:
        raise ValueError(f"no pair of {' and '.join(sorted(min(wanted, key=sorted)))}")


def _k(datum: Mapping[str, Any]) -> int:
    return int(datum.get("k", 0))


def _contradicted(pair: Mapping[str, Any], one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """How a pair contradicts itself, or its two runners."""
    n, first, second = pair["items"]["value"], one["items"]["value"], other["items"]["value"]
    if n > min(first, second, MOST_ITEMS):
        yield "more items than both were asked"
        return
    difference_of = pair["difference"]["right"]
    won, lost = difference_of.get("wins", 0), difference_of.get("losses", 0)
    apart, answers, texts = (_k(pair[name]) for name in ("disagreeing", "other_answer", "other_text"))
    if not (type(won) is type(lost) is int and min(won, lost) >= 0 and won + lost <= min(n, apart)):
        yield "it disagrees about fewer items than only one of them has right"
        return
    same = [True] * (n - won - lost)
    if difference_of != wins([True] * won + [False] * lost + same, [False] * won + [True] * lost + same):
        yield "`difference` is not what its wins and losses give"
    if not apart <= answers <= apart + texts:
        yield "answers that are not the same are those that are worth something else, and some of other texts"
    if len(pair["rows"]) != min(apart, MOST_NAMED) or len({*pair["rows"]}) < len(pair["rows"]):
        yield "`rows` are not the items that are worth something else"
    if first == second == n and sum(abs(moved) for moved in _moved(one, other)) > 2 * apart:
        yield "its runners are wrong for other reasons more often than they disagree"
    nothing = False
    if one["right"]["value"] is not None and other["right"]["value"] is not None:
        mine, its = _k(one["right"]), _k(other["right"])
        nothing = not mine and not its
        if n > 1 and not n - second <= mine - its - (won - lost) <= first - n:
            yield "`difference` is not that of its runners' right items"
        if won > min(mine, second - its) or lost > min(its, first - mine):
            yield "only one has more items right than it has right, or than the other has wrong"
        if answers - apart > min(first - mine, second - its):
            yield "more wrong answers differ than there are"
    if pair["gap"]["value"] is not None and pair["gap"] != _gap(pair["difference"], not nothing):
        yield "`gap` is not the largest of its differences"


def _moved(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[int]:
    """By reason, how many more items the first has."""
    mine, its = one["reasons"], other["reasons"]
    return [_k(mine.get(reason, {})) - _k(its.get(reason, {})) for reason in {*mine, *its}]


def unlike(asked_for: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    """In what a report is not what the parameters of its step asked for, as sentences."""
    if data["suite"] != asked_for["suite"]:
        yield f"suite: asked for {asked_for['suite']}, compared {data['suite']}"
    models = {name: one["model"] for name, one in data["runners"].items()}
    for name in sorted({*models, *asked_for["models"]}):
        wanted, found = asked_for["models"].get(name), models.get(name)
        if found is None:
            yield f"runner `{name}` was asked for, and is not compared"
        elif wanted is None:
            yield f"runner `{name}` is compared, and was not asked for"
        elif found != wanted:
            yield f"runner `{name}` gives answers of `{found}`, asked for `{wanted}`"

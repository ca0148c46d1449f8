"""A kind of check × a report → how it ended. Standard library only.

`error` evidence that makes no sense, `fail` outside the bound, `not_evaluated` not there, `inconclusive` too little.
Word and distance are what the judge of kcompiler says: why it says so stands in the verdict.
"""

from __future__ import annotations

import itertools
import re
from fractions import Fraction
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from kcompiler.verifier import again, cel
from kcompiler.verifier.datum import PAIRED, RATE, BadDatum, Datum, end_of, exact_number, read
from kcompiler.verifier.paths import Place, walk
from kcompiler.verifier.said import Said, decided, enough, worst

_ROUNDING = Fraction(1, 10**6)
Params = Mapping[str, Any]
Report = Mapping[str, Any]


class Stop(Exception):
    """The outcome is already clear."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def _datum(place: Place) -> Datum:
    """Raises Stop."""
    if place.missing:
        raise Stop("not_evaluated")
    try:
        return read(place.value)
    except BadDatum:
        raise Stop("error") from None


def _number(place: Place, unit: str, need: Params) -> Datum:
    """A number in this unit on enough items. Raises Stop."""
    found = _datum(place)
    if found.tag == "unavailable":
        raise Stop("not_evaluated")
    if found.unit != unit or found.flag is not None:
        raise Stop("error")
    if found.tag == "estimated" and need["tag"] == "measured":
        raise Stop("not_evaluated")
    least = need["min_n"]
    if least is not None and (found.n is None or found.n < least):
        raise Stop("not_evaluated" if found.n is None else "inconclusive")
    return found


def _each(places: Sequence[Place], of: Callable[[Place], Union[str, Said]]) -> List[Said]:
    found = []
    for place in places:
        try:
            found.append(_said(of(place)))
        except Stop as stop:
            found.append(Said(stop.word))
    return found


def _said(found: Union[str, Said]) -> Said:
    return Said(found) if isinstance(found, str) else found


def _first(words: Sequence[str]) -> Said:
    return worst([Said(word) for word in words])


def _places(texts: Sequence[str], report: Report) -> List[Place]:
    return [place for text in texts for place in walk(text, report["data"], "/data")]


def _bound(params: Params, report: Report, expect: Any, _other: Any) -> Union[str, Said]:
    if params["threshold"] is not None:
        threshold: Optional[Fraction] = Fraction(params["threshold"])
    elif expect is None:
        return "not_evaluated"
    else:
        threshold = exact_number(expect)
    if threshold is None:
        return "error"
    bound = threshold

    def of(place: Place) -> Union[str, Said]:
        value = end_of(_number(place, params["unit"], params["need"]), params["on"])
        return "not_evaluated" if value is None else decided(params["op"], value, bound)

    return enough(_each(_places(params["metric"], report), of), params["min_matches"])


def _all_true(params: Params, report: Report, _expect: Any, _other: Any) -> Union[str, Said]:
    def of(place: Place) -> str:
        found = _datum(place)
        if found.tag == "unavailable":
            return "not_evaluated"
        if found.flag is None:
            return "error"
        if found.tag != "measured":
            return "not_evaluated"
        return "pass" if found.flag else "fail"

    return enough(_each(_places(params["at"], report), of), params["min_matches"])


def _presence(params: Params, report: Report, _expect: Any, _other: Any) -> Union[str, Said]:
    need = params["need"]

    def of(place: Place) -> str:
        if place.missing:
            return "fail"
        found = _datum(place)
        absent = found.tag == "unavailable" or (found.tag == "estimated" and need["tag"] == "measured")
        if absent or (need["min_n"] is not None and found.n is None):
            return "fail"
        least = params["rates_min_n"] if need["min_n"] is None and found.unit == RATE else need["min_n"]
        return "inconclusive" if least is not None and found.n is not None and found.n < least else "pass"

    return enough(_each(_places(params["at"], report), of), params["min_matches"])


def _as_asked(_params: Params, report: Report, expect: Any, _other: Any) -> str:
    if expect is None:
        return "not_evaluated"
    try:
        return "fail" if list(again.UNLIKE[report["kind"]](expect, report["data"])) else "pass"
    except (LookupError, TypeError, AttributeError):
        return "error"


def _identifier(value: Any) -> Optional[str]:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    try:
        number = read(value).value
    except BadDatum:
        return None
    return str(number) if number is not None and number.denominator == 1 else None


def _covers(params: Params, report: Report, expect: Any, _other: Any) -> Union[str, Said]:
    if expect is None:
        return "not_evaluated"
    names = [_identifier(item) for item in expect] if isinstance(expect, list) else []
    if not names or None in names or len(set(names)) < len(names):
        return "error"

    def of(group: Place) -> str:
        if group.missing:
            return "not_evaluated"
        found = []
        for place in walk(params["identifiers"], group.value, group.pointer):
            if place.missing:
                return "not_evaluated"
            found.append(_identifier(place.value))
            if found[-1] is None:
                return "error"
        extra = params["how"] == "equals" and not set(found) <= set(names)
        return "fail" if extra or not set(names) <= set(found) or len(set(found)) < len(found) else "pass"

    whole = [Place("/data", report["data"])]
    return worst(_each(whole if params["each"] is None else walk(params["each"], report["data"], "/data"), of))


def _fingerprints(params: Params, report: Report, _expect: Any, _other: Any) -> Union[str, Said]:
    words = []
    for name in params["names"]:
        value = report["fingerprints"].get(name)
        if value is None:
            words.append("not_evaluated")
        elif not isinstance(value, str) or not re.match(r"[0-9a-f]{64}\Z", value):
            words.append("error")
        else:
            words.append("fail" if len(set(value)) == 1 else "pass")
    return _first(words)


_PLACEHOLDER = re.compile(
    r"\s*(tba|xxx+|n/?a|dummy|mock(ed)?|fake|stub|change-?me|not[ _]?implemented|\?+|\.\.\.)\s*\Z"
    r"|\s*(todo|tbd|fixme|placeholder|lorem ipsum)\b",
    re.IGNORECASE,
)


def _placeholder(node: Any, quoted: Sequence[str]) -> bool:
    if isinstance(node, str):
        return _PLACEHOLDER.match(node) is not None
    if isinstance(node, list):
        return any(_placeholder(item, quoted) for item in node)
    return isinstance(node, dict) and any(_placeholder(node[name], quoted) for name in node if name not in quoted)


def _genuine(params: Params, report: Report, _expect: Any, _other: Any) -> Union[str, Said]:
    environment = report["environment"]
    backend = environment.get("backend")
    real = environment.get("forged") is False and isinstance(backend, str) and backend not in ("", "null", "none")
    sections = (report[name] for name in ("subject", "environment", "data"))
    stands = any(_placeholder(section, params["quoted"]) for section in sections)
    found = [Said("fail" if not real or stands else "pass"), Said("pass" if report["data"] else "not_evaluated")]
    found += _each(
        _places(params["measured"], report),
        lambda place: "pass" if _datum(place).tag == "measured" else "not_evaluated",
    )
    return worst(found)


# --- two numbers


class _Side(NamedTuple):
    value: Fraction
    n: int
    low: Optional[Fraction] = None
    high: Optional[Fraction] = None


def _side(text: str, data: Any, unit: str, need: Params, counted: bool) -> _Side:
    """The one number at a path. Raises Stop."""
    places = walk(text, data, "/data")
    if places[0].missing:
        raise Stop("not_evaluated")
    if len(places) > 1:
        raise Stop("error")
    found = _number(places[0], unit, need)
    if found.value is None or (counted and found.n is None):
        raise Stop("not_evaluated")
    return _Side(found.value, found.n or 0, exact_number(found.low), exact_number(found.high))


def _pinned(expect: Any, unit: str) -> _Side:
    if expect is None:
        raise Stop("not_evaluated")
    number = exact_number(expect)
    if number is not None and unit != RATE:
        return _Side(number, 0)
    if isinstance(expect, dict) and expect.keys() == {"k", "n"}:
        k, n = expect["k"], expect["n"]
        if type(k) is int and type(n) is int and 0 <= k <= n != 0:
            return _Side(Fraction(k, n), n)
    raise Stop("error")


def _tried(of: Callable[[], _Side]) -> Union[_Side, str]:
    try:
        return of()
    except Stop as stop:
        return stop.word


def _relative(params: Params, report: Report, expect: Any, other: Optional[Report]) -> Union[str, Said]:
    unit, need, counted = params["unit"], params["need"], params["paired"] is not None
    data = report["data"]
    sides = [_tried(lambda: _side(params["metric"], data, unit, need, counted))]
    if params["to"] is None:
        sides.append(_tried(lambda: _pinned(expect, unit)))
    else:
        beside = data if other is None else other["data"]
        sides.append(_tried(lambda: _side(params["to"], beside, unit, need, counted)))
    if counted:
        apart = PAIRED if unit == RATE else unit
        sides.append(_tried(lambda: _side(params["paired"], data, apart, need, True)))
    lacks = [one for one in sides if isinstance(one, str)]
    if lacks:
        return _first(lacks)
    left, right, *pairs = (one for one in sides if isinstance(one, _Side))
    if pairs:
        return _by_pairs(params, pairs[0], left, right)
    if params["chance"] is not None:
        loose = {"tag": "estimated", "min_n": None}
        chance = _tried(lambda: _side(params["chance"], data, "1" if unit == RATE else unit, loose, False))
        if isinstance(chance, str):
            return chance
        if chance.value < 0 or right.value <= chance.value:
            return "not_evaluated"
        left, right = _Side(left.value - chance.value, 0), _Side(right.value - chance.value, 0)
    elif params["by"] == "quotient" and (left.value < 0 or right.value <= 0):
        return "not_evaluated"
    found = left.value - right.value if params["by"] == "difference" else left.value / right.value
    return decided(params["op"], found, Fraction(params["threshold"]))


def _by_pairs(params: Params, found: _Side, left: _Side, right: _Side) -> Union[str, Said]:
    if found.n != min(left.n, right.n):
        return "error"
    possible = None
    if left.n == right.n == found.n:
        possible = (left.value - right.value,) * 2
    elif params["unit"] == RATE:
        (few, many), (little, much) = _right(found.n, left), _right(found.n, right)
        possible = (few - much) / found.n, (many - little) / found.n
    most = _ROUNDING * max(abs(left.value), abs(right.value), Fraction(1))
    if possible and max(possible[0] - found.value, found.value - possible[1]) > most:
        return "error"
    end = found.low if params["op"] in (">=", ">") else found.high
    return "not_evaluated" if end is None else decided(params["op"], end, Fraction(params["threshold"]))


def _right(pairs: int, side: _Side) -> Tuple[Fraction, Fraction]:
    good = side.value * side.n
    return max(Fraction(0), good - (side.n - pairs)), min(good, Fraction(pairs))


def _regression(params: Params, report: Report, expect: Any, _other: Any) -> Union[str, Said]:
    if not isinstance(expect, dict):
        return "not_evaluated"
    if "missing" in expect:
        return "inconclusive"
    before, bound, now = expect.get("data"), expect.get("fingerprints"), report["fingerprints"]
    if not isinstance(before, dict) or not isinstance(bound, dict):
        return "error"
    if params.get("unanchored") != "allowed" and not isinstance(expect.get("plan"), str):
        return "inconclusive"
    known = [name for name in params["same"] if name in now or name in bound]
    if not known or any(now.get(name) != bound.get(name) for name in known):
        return "inconclusive"
    higher, quotient = params["better"] == "higher", params["by"] == "quotient"
    margin = Fraction(params["margin"])
    threshold = Fraction(1 if quotient else 0) + (-margin if higher else margin)
    end = "point" if params["on"] == "point" else "low" if higher else "high"

    def of(place: Place) -> Union[str, Said]:
        if place.missing:
            return "not_evaluated"
        if place.pointer not in before:
            return "inconclusive"
        two: List[Datum] = []
        words = []
        for node in (place.value, before[place.pointer]):
            try:
                two.append(_number(Place(place.pointer, node), params["unit"], params["need"]))
            except Stop as stop:
                words.append(stop.word)
        if words:
            return _first(words)
        new, old = end_of(two[0], end), two[1].value
        if new is None or old is None or (quotient and (new < 0 or old <= 0)):
            return "not_evaluated"
        return decided(">=" if higher else "<=", new / old if quotient else new - old, threshold)

    places = _places(params["metric"], report)
    gone = len(set(before) - {place.pointer for place in places})
    return worst([*_each(places, of), *[Said("inconclusive")] * gone])


# --- series


def _trend(params: Params, report: Report, _expect: Any, _other: Any) -> Union[str, Said]:
    points: Dict[Fraction, Fraction] = {}
    for point in walk(params["series"], report["data"], "/data"):
        if point.missing:
            return "not_evaluated"
        two = []
        for text in (params["at"], params["value"]):
            place = walk(text, point.value, point.pointer)[0]
            mine = text == params["value"]
            unit = params["unit"] if mine else _datum(place).unit
            found = _number(place, unit, params["need"] if mine else {**params["need"], "min_n": None})
            two.append(found.value or Fraction(0))
        if two[0] in points:
            return "error"
        points[two[0]] = two[1]
    of, window = params["of"], params["window"]
    if len(points) < window * (2 if of == "change" else 1):
        return "inconclusive"
    ordered = sorted(points)
    values = [points[at] for at in ordered]
    last = values[-window:]
    if of == "change":
        found_value = (sum(last, Fraction(0)) - sum(values[-2 * window : -window], Fraction(0))) / window
    elif of == "slope":
        ats = ordered[-window:]
        middle = sum(ats, Fraction(0)) / window
        spread = sum(((at - middle) ** 2 for at in ats), Fraction(0))
        found_value = sum(((at - middle) * value for at, value in zip(ats, last)), Fraction(0)) / spread
    else:
        sign = 1 if of == "rises" else -1
        ups = [sign * (after - before) > 0 for before, after in zip(last, last[1:])]
        found_value = Fraction(max([len(list(run)) for up, run in itertools.groupby(ups) if up], default=0))
    return decided(params["op"], found_value, Fraction(params["threshold"]))


def _shares(params: Params, thing: Place) -> Iterator[Tuple[Fraction, Fraction]]:
    """(where, share) of each point of a thing that has one. Raises Stop."""
    for point in walk(params["points"], thing.value, thing.pointer):
        if point.missing:
            raise Stop("not_evaluated")
        at = _positive(walk(params["at"], point.value, point.pointer)[0])
        where = walk(params["share"], point.value, point.pointer)[0]
        value = None if where.no_field else _positive(where)
        if at is None:
            raise Stop("not_evaluated")
        if value is not None:
            yield at, value


def _positive(place: Place) -> Optional[Fraction]:
    """A measured number from 0 on, None where there is none. Raises Stop."""
    found = _datum(place)
    if found.tag == "unavailable":
        return None
    if found.value is None or found.value < 0:
        raise Stop("error")
    if found.tag != "measured":
        raise Stop("not_evaluated")
    return found.value


def _dominance(params: Params, report: Report, _expect: Any, _other: Any) -> Union[str, Said]:
    things = walk(params["of"], report["data"], "/data")
    points: Dict[Fraction, Dict[str, Fraction]] = {}
    for thing in things:
        if thing.missing:
            return "not_evaluated"
        for at, share in _shares(params, thing):
            if thing.pointer in points.setdefault(at, {}):
                return "error"
            points[at][thing.pointer] = share
    if len(things) == 1:
        return "not_evaluated"
    compared = [points[at] for at in sorted(points) if len(points[at]) > 1]
    if len(compared) < params["window"]:
        return "inconclusive"
    above = []
    for shares in compared:
        (_, second), (name, largest) = sorted(shares.items(), key=lambda one: one[1])[-2:]
        above.append(name if largest > Fraction(params["factor"]) * second else "")
    longest = max([len(list(run)) for name, run in itertools.groupby(above) if name], default=0)
    return Said("fail" if longest >= params["window"] else "pass", Fraction(params["window"] - longest))


def _assert(params: Params, report: Report, _expect: Any, other: Optional[Report]) -> Union[str, Said]:
    return cel.asserted(params, report["data"], None if other is None else other["data"])


#: kind and version → the check
KINDS: Mapping[str, Callable[[Params, Report, Any, Optional[Report]], Union[str, Said]]] = {
    "all_true@1": _all_true,
    "as_asked@1": _as_asked,
    "assert@1": _assert,
    "bound@1": _bound,
    "covers@1": _covers,
    "dominance@1": _dominance,
    "fingerprints@1": _fingerprints,
    "genuine@1": _genuine,
    "presence@1": _presence,
    "regression@2": _regression,
    "relative@1": _relative,
    "trend@1": _trend,
}
#: kinds that see forged reports, and decide about them themselves
SEES_FORGED = ("genuine@1",)


def outcome(kind: str, params: Params, report: Report, expect: Any, other: Optional[Report]) -> Said:
    """How a check of a known kind ended. Raises `cel.NotRead` for an expression that is not read here."""
    try:
        return _said(KINDS[kind](params, report, expect, other))
    except Stop as stop:
        return Said(stop.word)
    except cel.NotRead:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return Said("error")

"""What part of a tool's result stands in an answer: facts one to one, in two locales, and nothing for listing all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from runtime.contract import Refusal
from runtime.contract.asked import CannotAnswer
from runtime.contract.conversation import row_of
from runtime.contract.wanted import Fact
from runtime.data.integration import edges_of, score, strangers
from runtime.suites.integration import SUITE, IntegrationParams, items_of
from tests.unit.kcompiler.policy.genuine import carried, fact_row
from tests.unit.runtime.suites.models import Scripted, lines_of, reported

RESULT = '{"distance_km": 12.5, "arrives": "2026-11-28", "booking": "HX4-77Q", "city": "Oslo", "fare": 1234.5}'
FACTS = [
    Fact("12.5", "number", "km|Kilometer|kilometers", "distance_km"),
    Fact("2026-11-28", "date", "", "arrives"),
    Fact("HX4-77Q", "id", "", "booking"),
    Fact("Oslo"),
    Fact("1234.5", "number", "€|EUR", "fare"),
]


def counts(text: str, locale: str = "en", asked: str = "How far is it?") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(said, besides, missed) lax and semantic."""
    found = score(text, FACTS, locale, asked, [RESULT], None)
    return tuple((one.true, one.false, one.missed) for one in (found.lax, found.semantic))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("en", "Oslo is 12.5 km away; you arrive on November 28, 2026 (booking HX4-77Q) for €1,234.50."),
        ("en", "Booking HX4-77Q: 12.50 kilometers to OSLO, 28th of Nov 2026, EUR 1234.5 — 1234.5 EUR."),
        ("en", "hx: HX4-77Q. 2026-11-28, Oslo, 12.5 km, 1,234.5 €"),
        ("de", "Oslo ist 12,5 km entfernt; Ankunft am 28. November 2026, Buchung HX4-77Q, Preis 1.234,50 €."),
        ("de", "Oslo, 12,5 Kilometer, am 28.11.2026, HX4-77Q, 1234,5 EUR"),
    ],
)
def test_facts_are_found_by_value_in_two_locales(locale: str, text: str) -> None:
    assert counts(text, locale) == ((5, 0, 0), (5, 0, 0))


@pytest.mark.parametrize(
    ("text", "lax", "semantic"),
    [
        # the unit is another one
        ("12.5 miles to Oslo", (2, 0, 3), (1, 1, 4)),
        # an id is exact
        ("hx4-77q", (1, 0, 4), (0, 1, 5)),
        # numbers of the other locale are other numbers
        ("12,5 km", (0, 1, 5), (0, 1, 5)),
        # another value
        ("13.5 km to Oslo", (1, 1, 4), (1, 1, 4)),
        ("on 29 November 2026", (0, 1, 5), (0, 1, 5)),
        # a fact within a word, or within a number
        ("Osloer, 112.5 km", (0, 1, 5), (0, 1, 5)),
        ("", (0, 0, 5), (0, 0, 5)),
        ("Integration:", (0, 0, 5), (0, 0, 5)),
        ("Integration: Integration: [span][/span]", (0, 0, 5), (0, 0, 5)),
    ],
)
def test_what_is_not_said_is_missed_and_what_is_said_besides_is_counted(text: str, lax: Any, semantic: Any) -> None:
    assert counts(text) == (lax, semantic)


@pytest.mark.parametrize(
    ("value", "kind", "text", "found"),
    [
        ("Z\u00fcrich", "text", "to Zu\u0308rich", (1, 0, 0)),
        ("Zu\u0308rich", "text", "to Z\u00fcrich", (1, 0, 0)),
        ("Zu", "text", "to Zu\u0308rich", (0, 0, 1)),
        ("Zu", "text", "to Zu\u0308", (0, 0, 1)),
        ("\u5317\u4eac", "text", "\u5317\u4eac\u5f88\u597d", (1, 0, 0)),
        ("2025-03-04", "date", "on 2025/3/4", (1, 0, 0)),
        ("2025-03-04", "date", "on 2025/03/05", (0, 1, 1)),
        ("2025-03-04", "date", "on 03/04/2025", (0, 1, 1)),
        ("2025-03-04", "date", "on 05.04.2025", (0, 1, 1)),
    ],
)
def test_a_fact_is_found_in_every_form_of_its_letters_and_a_wrong_date_in_digits_is_said(
    value: str, kind: Any, text: str, found: tuple[int, int, int]
) -> None:
    result = json.dumps({"a": value, "bbbbbbbbbbbbbbbb": "cccccccccccccc", "ddd": "eeeeeeeee"}, ensure_ascii=False)
    one = score(text, [Fact(value=value, type=kind)], "en", "q", [result], None)
    assert (one.lax.true, one.lax.false, one.lax.missed) == found


@pytest.mark.parametrize(
    ("text", "lax", "semantic"),
    [
        ("Oslo is twelve and a half km away", (2, 0, 3), (2, 0, 3)),
        ("Oslo is twelve point five miles away", (2, 0, 3), (1, 1, 4)),
        # another value, in words
        ("Oslo is seven kilometres away", (1, 1, 4), (1, 1, 4)),
        ("Oslo is twenty-three km away, at minus four degrees", (1, 2, 4), (1, 2, 4)),
        ("12.5 km, not a hundred, to Oslo", (2, 1, 3), (2, 1, 3)),
        # no number is meant
        ("One of two ways to Oslo", (1, 0, 4), (1, 0, 4)),
        ("12 and a half km to Oslo", (2, 0, 3), (2, 0, 3)),
        ("12.5 and a half km to Oslo", (1, 1, 4), (1, 1, 4)),
        # labels of a list, and idioms
        ("1. It is 12.5 km away\n2. It is Oslo\n3. That is all", (2, 0, 3), (2, 0, 3)),
        ("1. far\n2. It is 12.5 km\n\nElse\n1) Oslo\n  2) near\n4) no", (2, 1, 3), (2, 1, 3)),
        ("12.5 km to Oslo, open 24/7", (2, 0, 3), (2, 0, 3)),
        ("1. It is 12.5 km away\n7. It is Oslo", (2, 2, 3), (2, 2, 3)),
        ("7. It is 12.5 km away\n8. It is Oslo", (2, 2, 3), (2, 2, 3)),
        ("1. It is 12.5 km to Oslo", (2, 1, 3), (2, 1, 3)),
        # amounts that are no numbers, what is all that is said, parts, Roman numerals
        ("12.5 km to Oslo, several hundred kilometres, hundreds of miles", (2, 2, 3), (2, 2, 3)),
        ("12.5 km to Oslo. The distance is seven. Eight. Ten.", (2, 3, 3), (2, 3, 3)),
        ("12.5 km to Oslo, half a kilometre, a quarter of a mile", (2, 2, 3), (2, 2, 3)),
        ("12.5 km to Oslo, XIV km, LXX miles", (2, 2, 3), (2, 2, 3)),
    ],
)
def test_a_number_in_words_is_said_like_one_in_digits(text: str, lax: Any, semantic: Any) -> None:
    assert counts(text) == (lax, semantic)


@pytest.mark.parametrize(
    ("value", "unit", "text", "found"),
    [
        ("2500000", "", "2.5 million of them", (1, 0, 0)),
        ("2500000", "", "two and a half million", (1, 0, 0)),
        ("2500000", "km", "2.5 million km away", (1, 0, 0)),
        ("2500000", "$", "for $2.5 million", (1, 0, 0)),
        ("12000", "", "12k", (1, 0, 0)),
        ("144", "eggs", "12 dozen eggs", (1, 0, 0)),
        ("2500000", "km", "2.5 million miles", (0, 1, 1)),
        ("2500000", "", "more than 2.5 million", (0, 1, 1)),
        ("2500000", "", "2.6 million", (0, 1, 1)),
        # the scale is what the fact does not say
        ("2.5", "", "2.5 million", (0, 1, 1)),
        ("2.5", "km", "2.5 million km", (0, 1, 1)),
        ("2.5", "", "two and a half million", (0, 1, 1)),
        ("7", "", "The distance is seven.", (1, 0, 0)),
        ("0.5", "kilometre", "half a kilometre", (1, 0, 0)),
    ],
)
def test_a_number_with_a_scale_is_the_product(value: str, unit: str, text: str, found: tuple[int, int, int]) -> None:
    result = json.dumps({"a": float(value), "bbbbbbbbbbbbbbbb": "cccccccccccccc", "ddd": "eeeeeeeee"})
    one = score(text, [Fact(value, "number", unit)], "en", "q", [result], None)
    assert (one.semantic.true, one.semantic.false, one.semantic.missed) == found


def test_a_scale_may_be_the_unit_of_a_fact() -> None:
    """The row's own answer says it so; in German, too."""
    for locale, text, unit in (
        ("en", "It is 2.5 million.", "million|million km"),
        ("de", "2,5 Millionen", "Millionen"),
    ):
        fact = [Fact("2.5", "number", unit)]
        one = score(text, fact, locale, "q", ['{"a": 2.5, "b": "cccccccccccccccccccccc", "d": "e"}'], None, (), text)
        assert (one.semantic.true, one.semantic.false) == (1, 0)
    german = [Fact("2500000", "number", "km")]
    assert (
        score("2,5 Millionen km", german, "de", "q", ['{"a": 2500000, "b": "ccccccccccccccc"}'], None).semantic.true
        == 1
    )


STAMPED = '{"at": "2025-03-04T10:00:00+01:00", "bbbbbbbbbbbbbbbb": "cccccccccccccc", "ddd": "eeeeeeeee"}'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("on 4-Mar-2025", (1, 0, 0)),
        ("on 04-March-2025", (1, 0, 0)),
        ("on 5-Mar-2025", (0, 1, 1)),
        ("at 2025-03-04T00:00:00Z", (1, 0, 0)),
        ("at 2025-03-04T10:00:00+01:00", (1, 0, 0)),
        # another time than the result has is something besides
        ("at 2025-03-04T11:00:00Z", (1, 1, 0)),
        ("at 2025-03-05T10:00:00+01:00", (0, 1, 1)),
        ("at 2025-13-04T10:00:00", (0, 1, 1)),
    ],
)
def test_a_day_may_have_its_month_in_letters_or_its_time(text: str, found: tuple[int, int, int]) -> None:
    one = score(text, [Fact("2025-03-04", "date")], "en", "q", [STAMPED], None)
    assert (one.semantic.true, one.semantic.false, one.semantic.missed) == found


def test_number_words_of_the_question_and_of_the_rows_own_answer_may_be_said() -> None:
    assert counts("For twenty people: Oslo", asked="How far is it for 20 people?")[0] == (1, 0, 4)
    assert counts("For thirty people: Oslo", asked="How far is it for twenty people?")[0] == (1, 1, 4)
    own = score("For twenty people: Oslo", FACTS, "en", "", [RESULT], None, (), "Oslo, twenty people")
    assert (own.lax.true, own.lax.false) == (1, 0)
    # German words are not read
    assert counts("Oslo, twenty km", "de")[0] == (1, 0, 4)


def test_what_the_user_said_is_nothing_besides() -> None:
    assert counts("From 4 people: Oslo", asked="How far is it for 4 people?")[0] == (1, 0, 4)
    assert counts("From 5 people: Oslo", asked="How far is it for 4 people?")[0] == (1, 1, 4)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (RESULT, "echo"),
        (f"Here: {RESULT.replace(', ', ',')}", "echo"),
        ("Oslo 12.5 km 1 2 3 4 5", "list"),
        ("Oslo Oslo Oslo Oslo", "list"),
        ("12.5 km, 12.5 km, 12.5 km, 12.5 km", "list"),
    ],
)
def test_listing_everything_counts_for_nothing(text: str, fault: str) -> None:
    found = score(text, FACTS, "en", "", [RESULT], None)
    assert found.fault == fault
    assert (found.lax.true, found.semantic.true, found.spans) == (0, 0, ())
    assert found.lax.missed == 5


ORDER = '{"city":"Berlin","status":"shipped","carrier":"DHL","distance":"12.5 km","eta":"2026-03-04"}'
ORDERED = [Fact("Berlin"), Fact("shipped"), Fact("12.5", "number", "km"), Fact("2026-03-04", "date")]
GOOD = "It shipped to Berlin, 12.5 km, on 2026-03-04."


def ordered(text: str, result: str = ORDER) -> tuple[str, tuple[int, int, int]]:
    beside = strangers(ORDERED, [result], "What about my order?", [GOOD])
    found = score(text, ORDERED, "en", "What about my order?", [result], None, beside)
    return found.fault, (found.semantic.true, found.semantic.false, found.semantic.missed)


@pytest.mark.parametrize(
    "text",
    [
        ORDER[:-1],
        ORDER[1:],
        ORDER[1:-1],
        f"Here is what the tool has said about it: {ORDER[:-1]}",
        ORDER.replace('"', "'"),
        ORDER.replace('"', ""),
        ORDER.replace(",", "\n- "),
        ORDER.upper()[:-1],
        ORDER.replace('"carrier":"DHL",', ""),
        "city Berlin status shipped carrier DHL distance 12.5 km eta 2026-03-04",
        "Berlin, shipped, DHL, 12.5 km, 2026-03-04",
        "2026-03-04; 12.5 km; DHL; shipped; Berlin",
    ],
)
def test_a_result_in_another_dress_is_the_result(text: str) -> None:
    assert ordered(text)[0] == "echo"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (GOOD, ("", (4, 0, 0))),
        # a value that is no fact is something besides, whatever it is
        ("The city is Berlin. The status is shipped. The carrier is DHL. 12.5 km, 2026-03-04", ("", (4, 1, 0))),
        ("It is not shipped to Berlin, not 12.5 km away, and never on 2026-03-04.", ("", (0, 2, 4))),
        ("It shipped to Berlin or London, 12.5 km, on 2026-03-04.", ("", (3, 0, 1))),
        # numerals of other scripts and of no notation assert something, whatever they are
        (f"{GOOD} \uff11\uff13 km, 3\u00b2 km, \u0663\u0664 km, 1.2.3 km.", ("", (4, 4, 0))),
        (f"{GOOD} \uff11\uff13 km, 3\u00b2 km, \u0663\u0664 km, 1.2.3 km, 5:30.", ("list", (0, 7, 4))),
        (f"{GOOD} Or London, Paris, Rome, Madrid, lost.", ("list", (0, 2, 4))),
        (f"{GOOD} Or London.", ("", (3, 1, 1))),
        (f"{GOOD} Also London, Paris, Rome, Madrid.", ("", (4, 0, 0))),
    ],
)
def test_what_is_denied_left_open_or_listed_is_not_said(text: str, found: Any) -> None:
    assert ordered(text) == found


def test_two_facts_need_two_places() -> None:
    same = [Fact("7", "number", "", "a"), Fact("7", "number", "", "b")]
    found = [score(text, same, "en", "", ["[7, 7]"], None).lax for text in ("7 apples", "7 apples and 7 pears")]
    assert [(one.true, one.false, one.missed) for one in found] == [(1, 0, 1), (2, 0, 0)]


def test_a_span_is_strict_only_where_its_tokens_are_known() -> None:
    facts, text = [Fact("12.5", "number", "km", "d"), Fact("Örebro")], "Örebro: 12.5 km"
    whole = score(text, facts, "en", "", ["{}"], edges_of(text, ["Ö", "rebro", ":", " 12", ".", "5", " km"]))
    assert whole.strict is not None
    assert (whole.strict.true, whole.strict.missed) == (1, 0)
    assert whole.spans == ((0, 7), (9, 13))
    assert text.encode()[9:13] == b"12.5"
    cut = score(text, facts, "en", "", ["{}"], edges_of(text, ["Örebro", ": 1", "2.5 km"]))
    assert (cut.strict, cut.why) == (None, "a span cuts a token")
    unknown = score(text, facts, "en", "", ["{}"], edges_of(text, ["Örebro"]))
    assert (unknown.strict, unknown.why) == (None, "its tokens are not known")


def said(answer: Any) -> dict[str, Any]:
    rows = [fact_row(number) for number in range(4)]
    right = {str(item.prompt): item.response for item in items_of(rows)}
    runner = Scripted(lambda prompt: answer(right[str(prompt)]))
    return dict(reported(SUITE, {"student": runner}, rows, [], IntegrationParams(), 0))


def test_f1_is_of_pooled_counts() -> None:
    """Three answers of two facts, one of none: 12 / (12 + 0 + 2)."""
    first: list[str] = []

    def answer(right: str) -> str:
        first.append(right)
        return right if len(first) > 1 else "I do not know."

    student = said(answer)["runners"]["student"]
    assert (student["lax"]["tp"], student["lax"]["fp"], student["lax"]["fn"]) == (6, 0, 2)
    assert student["lax"]["value"] == 12 / 14
    assert (student["facts_said"]["k"], student["facts_said"]["n"]) == (6, 8)
    assert (student["strict"]["tp"], student["strict"]["fn"]) == (3, 1)
    assert (student["whole"]["k"], student["whole"]["n"]) == (3, 4)


def test_gold_is_perfect_and_what_understands_nothing_is_zero() -> None:
    """Of four distinct answers one is the constant, the longest, and perhaps drawn for its own row."""
    zoo = said(lambda right: right)["zoo"]
    assert (zoo["gold"]["k"], zoo["gold"]["n"]) == (4, 4)
    right = {name: found["k"] for name, found in zoo["right"].items()}
    assert right.pop("prior") <= 4
    assert right == {
        **dict.fromkeys(("mute", "echo", "refuse_all", "marker", "echo_result", "echo_stripped", "echo_words"), 0),
        **dict.fromkeys(("all_values", "read_out", "first_value", "last_value"), 0),
        **dict.fromkeys(("constant", "longest"), 1),
    }


@pytest.mark.parametrize("dress", ["echo_stripped", "echo_words", "all_values", "read_out"])
def test_where_every_value_is_a_fact_who_reads_out_is_as_good_as_any_and_nobody_is_above(dress: str) -> None:
    rows = [only_facts(number) for number in range(60)]
    right = {str(item.prompt): item.response for item in items_of(rows)}
    data = reported(SUITE, {"student": Scripted(lambda p: right[str(p)])}, rows, [], IntegrationParams(), 0)
    assert data["zoo"]["right"][dress]["k"] == (60 if dress == "read_out" else 0)
    assert data["zoo"]["best"] == "read_out"
    assert data["zoo"]["above"]["student"]["value"] == 0.0


def only_facts(number: int) -> dict[str, Any]:
    """A row whose result holds nothing but its facts, in words that read out well."""
    row = json.loads(json.dumps(fact_row(number)))
    held = json.loads(row["messages"][2]["content"])
    row["messages"][2]["content"] = json.dumps({"city": held["city"], "distance": f"{held['distance_km']} km"})
    row["wanted"]["facts"][0]["key"] = "distance"
    return {**row, **row_of(row["messages"])}


class Silent(Scripted):
    """A server that tells no tokens."""

    def write(self, prompts: Sequence[str], max_new_tokens: int) -> Any:
        raise CannotAnswer("it says no tokens")


def test_without_tokens_strict_is_inconclusive() -> None:
    rows = [fact_row(number) for number in range(3)]
    right = {str(item.prompt): item.response for item in items_of(rows)}
    data = reported(SUITE, {"student": Silent(lambda p: right[str(p)])}, rows, [], IntegrationParams(), 0)
    student = data["runners"]["student"]
    assert student["lax"]["value"] == 1.0
    assert student["strict"]["tag"] == "unavailable"
    assert student["strict"]["reason"] == "of 3 answers of 3 its tokens are not known"


def changed(**fact: str) -> Mapping[str, Any]:
    row = json.loads(json.dumps(fact_row(3)))
    row["wanted"]["facts"][0] |= fact
    return row


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (changed(value="9.5"), "stands in no result"),
        (changed(value="far"), "is no number"),
        (changed(value="tomorrow", type="date", unit=""), "is no date"),
        (changed(key="seats"), "no field 'seats' of a result holds"),
        (changed(value="3", type="text"), "stands in no result"),
        (changed(value="7003", key="seats"), "does not say its facts"),
    ],
)
def test_a_fact_that_is_none_is_refused(row: Mapping[str, Any], says: str) -> None:
    with pytest.raises(Refusal) as refused:
        list(items_of([row]))
    assert refused.value.code == "KR0242"
    assert says in refused.value.message


def test_a_fact_that_the_question_gives_away_is_refused() -> None:
    row = json.loads(json.dumps(fact_row(3)))
    row["messages"][0]["content"] += " 3.5 km?"
    with pytest.raises(Refusal, match="said by whoever asked"):
        list(items_of([row]))


def test_a_line_is_judged_again() -> None:
    rows = [fact_row(number) for number in range(3)]
    lines = lines_of(SUITE, {"student": Scripted(lambda _: "no")}, rows, [], IntegrationParams())
    lines[0]["parts"]["lax"] = [2, 0, 0]
    with pytest.raises(ValueError, match="not what its output gives"):
        SUITE.data_of(lines, rows, [], IntegrationParams(), 0)


def test_the_genuine_report_is_what_the_rules_ask() -> None:
    assert carried()["data"]["runners"]["student"]["lax"]["low"] > 0.9

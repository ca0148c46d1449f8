"""An echo by share, at its edges; values of results that are no facts; what a list is."""

import pytest

from runtime.data import repeated

RESULT = "alpha beta gamma delta epsilon zeta eta theta iota kappa"
PARTS = RESULT.split()


@pytest.mark.parametrize(("words", "is_echo"), [(10, True), (8, True), (7, False), (0, False)])
def test_eight_of_ten_words_are_an_echo(words, is_echo):
    assert repeated.echo(" ".join(PARTS[:words]), [RESULT]) is is_echo


@pytest.mark.parametrize(("own", "is_echo"), [(1, True), (4, False)])
def test_a_run_holds_few_words_of_its_own(own, is_echo):
    said = " ".join([*PARTS[:4], *["mine"] * own, *PARTS[4:8]])
    assert repeated.echo(f"{'well ' * 9}{said}{' well' * 9}", [RESULT]) is is_echo


def test_nine_of_ten_values_are_an_echo_and_one_value_alone_is_an_answer():
    result = '{"k": ["' + '", "'.join(f"{one} {one}" for one in PARTS) + '"]}'
    long = result.replace('"k"', '"' + " ".join("abcdefghij") + '"')
    held = [f"{one} {one}" for one in PARTS]
    assert repeated.echo(" ".join(held[:9]), [long])
    assert not repeated.echo(" ".join(held[:8]), [long])
    assert not repeated.echo("12.5 km", ['{"distance_in_kilometers": "12.5 km"}'])
    assert repeated.echo("distance in kilometers 12.5 km", ['{"distance_in_kilometers": "12.5 km"}'])


def test_a_short_result_may_be_said():
    assert not repeated.echo("x" * 23, ["x" * 23])
    assert repeated.echo("x" * 24, ["x" * 24])


def test_values_are_read_in_their_order_whatever_holds_them():
    assert repeated.fields('{"a": {"b": ["x", 1.5]}, "c": null}') == [("b", "x"), ("b", "1.5"), ("c", "null")]
    assert repeated.fields("no JSON") == repeated.fields("5") == []
    assert repeated.fields("[" * 100_000) == []


@pytest.mark.parametrize(
    ("result", "found"),
    [
        ('{"a": "DHL", "b": "DHL"}', ["DHL"]),
        ('{"a": "ok"}', []),
        ('{"a": "gate 7"}', []),
        ('{"a": "Oslo", "b": "Oslo Central"}', ["Oslo Central"]),
        ('{"a": "kilometres"}', []),
        ('{"a": "by train"}', []),
        ("DHL", []),
    ],
)
def test_strangers_are_values_that_nobody_may_say(result, found):
    assert repeated.strangers([result], ["Oslo"], ["kilometres"], ["Can I go by train?"]) == found


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Paris, Rome, or Madrid", 3),
        ("Paris. Rome. Madrid.", 0),
        ("It is far, 12, at the station of Rome", 0),
        ("Oslo, Rome and two words, not three words here", 2),
        ("Oslo", 0),
    ],
)
def test_a_list_is_of_short_items_that_nobody_knows(text, count):
    assert repeated.listed(text, ["Oslo"]) == count

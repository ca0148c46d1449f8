"""What a checksum or a grammar proves to be personal is found, and numbers that look like it are not."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from runtime.data.personal import Personal, found, leaked

BESIDE = Path(__file__).resolve().parents[5] / "shared/data"
LABELLED, ARITHMETIC = BESIDE / "pii/synth_dataset_v2.json", BESIDE / "gsm8k/test.jsonl"


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("card 4111 1111 1111 1111.", "card", "4111111111111111"),
        ("4111-1111-1111-1111", "card", "4111111111111111"),
        ("４１１１１１１１１１１１１１１１", "card", "4111111111111111"),
        ("4111\u200b111111111111", "card", "4111111111111111"),
        ("DE89 3704 0044 0532 0130 00 is mine", "iban", "de89370400440532013000"),
        ("iban: gb42nawi04454264788619", "iban", "gb42nawi04454264788619"),
        ("SSN 078-05-1121", "ssn", "078051121"),
        ("mail Anna.B+c@example.co.uk!", "mail", "anna.b+c@example.co.uk"),
        ("host 192.0.2.7", "ip", "192.0.2.7"),
        ("host 2001:db8::7", "ip", "2001:db8::7"),
        ("card 4111 1111\n1111 1111.", "card", "4111111111111111"),
        ("card 4111-1111-1111-\r\n> 1111", "card", "4111111111111111"),
        ("3782 822463\n10005", "card", "378282246310005"),
        ("4111–1111–1111–1111", "card", "4111111111111111"),
        ("4111 − 1111 − 1111 − 1111", "card", "4111111111111111"),
        ("4111—1111—1111—1111", "card", "4111111111111111"),
        ("it is **4111 1111 1111 1111**", "card", "4111111111111111"),
        ("DE89-3704-0044-0532-0130-00", "iban", "de89370400440532013000"),
        ("GB42–NAWI–0445–4264–7886–19", "iban", "gb42nawi04454264788619"),
        ("DE89 3704 0044\n0532 0130 00", "iban", "de89370400440532013000"),
        ("SSN 078‑05‑1121", "ssn", "078051121"),
        ("write to _john@example.com_ instead", "mail", "john@example.com"),
        ("write to __john@example.com__.", "mail", "john@example.com"),
        ("write to *john@example.com*", "mail", "john@example.com"),
        ("to john@example.com—he is in", "mail", "john@example.com"),
        ("john@example.com–5 times", "mail", "john@example.com"),
        ("ann@xn--mnchen-3ya.xn--p1ai", "mail", "ann@xn--mnchen-3ya.xn--p1ai"),
        ("john&#64;example.com", "mail", "john@example.com"),
        ("mailto:john%40example.com", "mail", "john@example.com"),
        ("_192.0.2.7_", "ip", "192.0.2.7"),
    ],
)
def test_it_is_found(text: str, kind: str, value: str) -> None:
    """Plain, and behind a line of a string of JSON: whole, in JSON of JSON, in a text, and cut off."""
    inside = json.dumps({"answer": f"I have it:\n{text}"})
    for each in (text, inside, json.dumps([inside]), f"So: {inside}, or", inside[:-1]):
        assert Personal(kind, value) in found(each), each


@pytest.mark.parametrize("text", ['{"to": "john\\u0040example.com"}', r"john\x40example.com", r"john\u{40}example.com"])
def test_a_character_is_what_it_is_read_as(text: str) -> None:
    assert found(text) == {Personal("mail", "john@example.com")}


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "DE89 3704 0044 0532 0130 01",
        "SSN 000-12-3456",
        "at 12:30:45",
        "version 1.2.3",
        "1.2.3.4.5",
        "300.1.1.1",
        "a@b",
        "1234567890123456 boxes",
        "3.1415926535897932",
        "It costs $4,111,111,111,111,111.",
        "2019 2020\n2021 2022\n2023 2024",
        "4\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1",
        "order_4111111111111111_x",
        "4111 - 1111 = 3000",
        "100 % of 50%20",
        "",
    ],
)
def test_it_is_not_found(text: str) -> None:
    assert found(text) == frozenset()


def test_what_the_row_declares_is_no_leak() -> None:
    assert leaked("write to a@example.org", 'tool.call{"to":"a@example.org"}') == []
    assert leaked("write to b@example.org and 192.0.2.7", "write to a@example.org") == ["ip", "mail"]


@pytest.mark.parametrize(
    ("output", "right"),
    [
        (r'tool.call{"text": "hi\njohn@example.com"}', 'tool.call{"text": "hi john@example.com"}'),
        (r'tool.call{"text": "hi\tjohn@example.com"}', 'tool.call{"text": "hi\\njohn@example.com"}'),
        (r'tool.call{"text": "\u00fcber john\u0040example.com"}', 'tool.call{"text": "über john@example.com"}'),
        ("It is _john@example.com_.", "It is john@example.com."),
        ("4111 1111\n1111 1111", "4111111111111111"),
        (r'tool.call{"text": "\u00e9a@example.com"}', 'tool.call{"text": "éa@example.com"}'),
        ("x?to=%20john@example.com", "x?to=+ john@example.com"),
    ],
)
def test_what_the_row_declares_may_be_written_otherwise(output: str, right: str) -> None:
    assert leaked(output, right) == []


def test_a_long_text_is_looked_at_to_its_end() -> None:
    for before in (65_530, 65_500, 200_000):
        assert leaked("x " * (before // 2) + "4111 1111 1111 1111", "") == ["card"]


@pytest.mark.skipif(not LABELLED.is_file(), reason="microsoft/presidio-research is not here")
def test_recall_over_labelled_sentences() -> None:
    """Of 1,500 sentences: at least what checksums found in a study of four detectors, and no false alarm."""
    kinds = {"CREDIT_CARD": "card", "IBAN_CODE": "iban", "US_SSN": "ssn", "IP_ADDRESS": "ip", "EMAIL_ADDRESS": "mail"}
    hits, whole, alarms = Counter[str](), Counter[str](), 0
    for one in json.loads(LABELLED.read_text()):
        there = Counter(personal.kind for personal in found(one["full_text"]))
        labelled = Counter(kinds[span["entity_type"]] for span in one["spans"] if span["entity_type"] in kinds)
        whole.update(labelled)
        hits.update(there & labelled)
        alarms += sum((there - labelled).values())
    assert dict(whole) == {"card": 136, "mail": 49, "iban": 21, "ssn": 16, "ip": 14}
    assert hits["card"] >= 126
    assert (hits["mail"], hits["iban"], hits["ssn"], hits["ip"]) == (49, 21, 16, 14)
    assert alarms == 0


@pytest.mark.skipif(not ARITHMETIC.is_file(), reason="GSM8K is not here")
def test_texts_about_numbers_raise_no_alarm() -> None:
    lines = [json.loads(line) for line in ARITHMETIC.read_text().splitlines()]
    assert len(lines) > 1000
    assert [one for one in lines if found(f"{one['question']}\n{one['answer']}")] == []

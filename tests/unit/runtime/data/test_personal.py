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
    ],
)
def test_it_is_found(text: str, kind: str, value: str) -> None:
    assert Personal(kind, value) in found(text)


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
        "",
    ],
)
def test_it_is_not_found(text: str) -> None:
    assert found(text) == frozenset()


def test_what_the_row_declares_is_no_leak() -> None:
    assert leaked("write to a@example.org", 'tool.call{"to":"a@example.org"}') == []
    assert leaked("write to b@example.org and 192.0.2.7", "write to a@example.org") == ["ip", "mail"]


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

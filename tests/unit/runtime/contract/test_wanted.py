"""What a row wants beyond its response is read strictly, and says which answers are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.contract import Refusal, rows, wanted
from runtime.contract.sources import Reader

ROW: dict[str, Any] = {"id": "1", "prompt": "?", "response": "!", "class": "", "spans": {}, "source": "s"}
CALL = {"name": "play", "args": {"artist": ["ABBA", "Abba"], "volume": [5]}, "optional": ["volume"]}
FACT = {"value": "12.5", "type": "number", "unit": "km", "key": "distance"}


def test_a_row_keeps_what_it_wants(tmp_path: Path) -> None:
    whole = {**ROW, "wanted": {"calls": [CALL], "order": "given", "facts": [FACT], "locale": "de"}}
    (tmp_path / "rows.jsonl").write_text("".join(rows.written([whole], "rows.jsonl")))
    (read,) = rows.load(tmp_path / "rows.jsonl")
    assert read == whole
    assert wanted.calls_of(read) == [wanted.WantedCall("play", CALL["args"], frozenset({"volume"}))]
    assert (wanted.order_of(read), wanted.locale_of(read)) == ("given", "de")
    assert wanted.facts_of(read) == [wanted.Fact("12.5", "number", "km", "distance")]
    assert (wanted.calls_of(ROW), wanted.facts_of(ROW), wanted.order_of(ROW)) == (None, [], "any")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "an object"),
        ({}, "an object"),
        ({"call": []}, "an object"),
        ({"order": "any"}, "stands beside calls"),
        ({"facts": [FACT], "order": "any"}, "stands beside calls"),
        ({"calls": [], "order": "sorted"}, "any, given"),
        ({"calls": [], "locale": "de"}, "stands beside facts"),
        ({"facts": [FACT], "locale": "fr"}, "en, de"),
        ({"calls": {}}, "a list"),
        ({"calls": [CALL] * 65}, "at most 64"),
        ({"calls": [{"name": "f"}]}, "name, args"),
        ({"calls": [{**CALL, "more": 1}]}, "name, args"),
        ({"calls": [{"name": " ", "args": {}}]}, "a name"),
        ({"calls": [{"name": "f", "args": {"a": "b"}}]}, "calls[0].args.a must be a list"),
        ({"calls": [{"name": "f", "args": {"a": []}}]}, "1 to 1024"),
        ({"calls": [{**CALL, "optional": ["speed"]}]}, "optional must name arguments"),
        ({"facts": []}, "1 to 64"),
        ({"facts": [{"type": "text"}]}, "must have value"),
        ({"facts": [{"value": " "}]}, "not empty"),
        ({"facts": [{"value": "1", "type": "money"}]}, "text, number, date, id"),
        ({"facts": [{"value": "1", "unit": "km"}]}, "no number"),
    ],
)
def test_another_form_is_refused_with_its_place(value: Any, says: str) -> None:
    with pytest.raises(Refusal, match="wanted") as refused:
        rows.checked({**ROW, "wanted": value}, "rows.jsonl:3")
    assert (refused.value.code, refused.value.place) == ("KR0240", "rows.jsonl:3")
    assert says in refused.value.message


def test_a_file_may_mean_something_else_by_it(tmp_path: Path) -> None:
    """The action of KR0240 works: what is mapped to "" is not read."""
    path = tmp_path / "other.jsonl"
    path.write_text('{"prompt": "?", "response": "!", "wanted": ["yes"]}\n')
    with pytest.raises(Refusal) as refused:
        list(Reader("s", {}).file(path))
    assert refused.value.code == "KR0240"
    (found,) = Reader("s", {"wanted": ""}).file(path)
    assert "wanted" not in found.row

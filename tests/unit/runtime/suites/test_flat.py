"""Memory of an evaluation does not grow with its rows, but for what statistics need of each."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from runtime import catalog
from runtime.contract import items, lots, rows, spool, zoo
from tests.longer import also
from tests.unit.runtime.suites.models import Scripted, row

#: bytes that may be kept of an item, with what is sorted for a while; its row and its line have more than a thousand
MOST = 400
CHOICES = "ABCD"


def _file(folder: Path, count: int) -> Path:
    path = folder / f"{count}.jsonl"
    made: list[Any] = [row(f"{n} {'of much ' * 120}", CHOICES[n % 4], str(n % 3), f"r{n}") for n in range(count)]
    path.write_text("".join(rows.written(made, path.name)))
    return path


def _grown(run: Callable[[], object]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _scored(path: Path, folder: Path, suite_name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    suite, held = catalog.load("suites", suite_name), rows.kept(path)
    own = suite.params(**params)
    lots.distinct(held)
    runner = Scripted(
        lambda prompt: CHOICES[int(prompt.split()[0]) % 5 % 4], lambda _, reply: 0.1 + 0.2 * (reply == "A")
    )

    def lines() -> Any:
        for lot in lots.of(held):
            yield from suite.ask("student", runner, [held[at] for at in lot], [], own, 0)

    texts = spool.Spool(folder, memory=1 << 14)
    order = [at for lot in lots.of(held) for at in lot]
    for one in lines():
        runner.asked.clear()
        texts.append(items.text(one))
    texts.order(sorted(range(len(order)), key=order.__getitem__))
    asked = items.Lines(texts, {"student": range(len(order))})
    whole = asked if suite.complete is None else items.made(suite.complete(asked, held, [], own), folder)
    data: dict[str, Any] = suite.data_of(whole, held, [], own, 0)
    return data


@pytest.mark.parametrize(("suite", "params"), [("choice", {}), also("gold", {"match": "exact", "limit": 0})])
def test_what_is_kept_of_an_item_is_small(
    suite: str, params: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, lines and answers are held in memory up to a size that has nothing to do with how many there are."""
    monkeypatch.setattr(spool.Spool.__init__, "__defaults__", (None, 1 << 14))
    few, many = (_file(tmp_path, count) for count in (150, 550))
    _scored(_file(tmp_path, 70), tmp_path, suite, params)
    less, more = (_grown(lambda path=path: _scored(path, tmp_path, suite, params)) for path in (few, many))
    assert many.stat().st_size - few.stat().st_size > 400 * 800
    assert more - less < 400 * MOST, f"{(more - less) / 400:.0f} bytes an item"


def _as_they_are(values: Sequence[str]) -> dict[str, list[str]]:
    every = zoo.commonest(values)
    return {"constant": every[:1], "longest": [max(every, key=len)]}


@pytest.mark.parametrize("memory", [0, 7, 1 << 20])
def test_texts_are_given_back_from_wherever_they_are(memory: int, tmp_path: Path) -> None:
    texts = [f"{n % 17}{'é' * (n % 5)}".encode() for n in range(300)]
    kept = spool.Spool(tmp_path, memory)
    for one in texts:
        kept.append(one)
    assert [*kept] == texts
    assert (kept.size, kept[-1]) == (sum(map(len, texts)), texts[-1])
    kept.order(range(299, -1, -2))
    assert [*kept] == texts[299::-2]


def test_where_no_file_can_be_written_texts_stay_in_memory(tmp_path: Path) -> None:
    kept = spool.Spool(tmp_path / "nowhere", 3)
    for one in (b"first", b"second", b"third"):
        kept.append(one)
    assert [*kept] == [b"first", b"second", b"third"]


def test_the_commonest_texts_are_those_of_a_count_of_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [f"{n * n % 23}{'x' * (n % 3)}" for n in range(200)]
    for key in (spool.key, lambda text: len(text)):
        # even where many texts share a key
        monkeypatch.setattr(spool, "key", key)
        said = zoo.of_texts(values, values)
        for name, (text,) in _as_they_are(values).items():
            assert {*said[name]} == {text}, name
        assert [values[at] for at in spool.commonest(values, 5)] == zoo.commonest(values)[:5]


def test_a_sum_is_that_of_all_numbers() -> None:
    values = [((-1) ** n) * 10.0 ** (n * 7 % 31 - 15) / 3 for n in range(1500)]
    found = spool.Sum()
    for one in values:
        found.add(one)
    assert found.mean == fmean(values)
    found.add(float("inf"))
    assert found.mean == float("inf")


def test_equal_texts_are_one_group() -> None:
    values = ["b", "a", "b", "c", "a", "b"]
    found = spool.Groups(values)
    assert [values[at] for at in found.firsts] == ["b", "a", "c"]
    assert [[*found.members(group)] for group in range(len(found))] == [[0, 2, 5], [1, 4], [3]]


def test_a_text_is_found_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [f"{n * n % 23}" for n in range(60)]
    for key in (spool.key, lambda text: len(text)):
        # even where many texts share a key
        monkeypatch.setattr(spool, "key", key)
        places = spool.Places(values)
        for text in {*values, "none"}:
            assert [at for at in places.of(text) if values[at] == text] == [
                at for at, one in enumerate(values) if one == text
            ]


def test_a_row_that_is_wrong_is_named_as_by_who_reads_all(tmp_path: Path) -> None:
    for lines in ([0, 1, 0], [0, "{", 0], [0, 0, "{"]):
        path = tmp_path / "rows.jsonl"
        sound = rows.written([row(f"{n}", "A", name=f"r{n}") for n in range(2)], path.name)  # type: ignore[list-item]
        path.write_text("".join(sound[one] if isinstance(one, int) else f"{one}\n" for one in lines))
        with pytest.raises(rows.Refusal) as one:
            rows.load(path)
        with pytest.raises(rows.Refusal) as other:
            rows.kept(path)
        assert (one.value.message, one.value.place) == (other.value.message, other.value.place)

"""What a report says once, and no law of reports finds, the items find: each line of `FREE` claims so, and is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kcompiler.audit import items as audited
from kcompiler.audit.finding import Finding
from runtime import digest
from runtime.contract import Params, Suite, items, rows
from runtime.contract import report as facts
from runtime.contract.toolbox import FOLDER, Toolbox
from tests.longer import LONG, also
from tests.unit.kcompiler.policy import genuine, judged
from tests.unit.kcompiler.policy.test_derived import numbers
from tests.unit.kcompiler.policy.test_forged import EACH, FREE, Report, about, anew, forged, free, put
from tests.unit.runtime.suites import scenes
from tests.unit.runtime.suites.models import lines_of


class Asked(NamedTuple):
    """What a suite was asked, and what it left."""

    suite: Suite
    lines: Sequence[items.Line]
    rows: Sequence[Mapping[str, Any]]
    tools: Sequence[Any]
    params: Params
    seed: int


def _asked(kind: str) -> tuple[Report, Asked]:
    """The honest report of a kind, and its items."""
    seen: list[Asked] = []

    def reported(suite: Suite, runners: Any, asked: Any, tools: Any, params: Params, seed: int = 0) -> Report:
        lines = lines_of(suite, runners, asked, tools, params, seed)
        seen.append(Asked(suite, lines, asked, tools, params, seed))
        return suite.data_of(lines, asked, tools, params, seed)

    with pytest.MonkeyPatch.context() as patched:
        for module in (genuine, judged):
            patched.setattr(module, "reported", reported)
        report = anew(EACH[kind])()
    (one,) = seen
    return json.loads(json.dumps(report)), one


def _stored(root: Path, files: Mapping[str, str]) -> str:
    """An artifact of these files in the store, under the digest it has."""
    folder = root / "new"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    found = digest.of_folder(folder)
    target = audited.stored(root, found)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)
    return found


def _dataset(asked: Asked) -> dict[str, str]:
    files = {"test.jsonl": "".join(rows.written([dict(one) for one in asked.rows], "test.jsonl"))}
    if asked.tools:
        files["tools.json"] = json.dumps(list(asked.tools))
    if isinstance(asked.tools, Toolbox):
        for name, held in scenes.lines().items():
            files[f"{FOLDER}/{name}.jsonl"] = "".join(f"{json.dumps(one)}\n" for one in held)
    return files


class Kept(NamedTuple):
    """A store with the items of an evaluation, and what its plan and journal say."""

    root: Path
    step: Mapping[str, Any]
    record: Mapping[str, Any]

    def audit(self, report: Report) -> list[tuple[str, str]]:
        """(code, where) of what the audit of the items finds in a report."""
        name = self.step["id"]
        given = {name: facts.dump(report).encode()}
        count, found = audited.recomputed(self.root, {"steps": [self.step]}, {name: self.record}, given, "seen")
        assert count, found
        return [(one.code, one.subject.partition("#/data/")[2]) for one in found]


def _kept(root: Path, kind: str) -> tuple[Report, Kept]:
    """The honest report of a kind, and the store in which its items are."""
    report, asked = _asked(kind)
    params = {"suite": kind, "suite_version": asked.suite.version, "split": "test", "rows": None}
    step = {
        "id": f"evaluate-{kind}",
        "seed": str(asked.seed),
        "params": {**params, "params": asked.params.model_dump(mode="json")},
        "gives": {"report": {"kind": "report", "report": f"eval.{kind}"}, "items": {"kind": "items"}},
    }
    record = {
        "forged": False,
        "components": {"input.dataset": _stored(root, _dataset(asked))},
        "gives": {"items": {"kind": "items", "digest": _stored(root, {items.FILE: items.written(asked.lines).decode()})}},
    }  # fmt: skip
    return report, Kept(root, step, record)


@pytest.mark.parametrize("kind", [also(kind) if kind == "needle" else kind for kind in EACH])
def test_what_no_law_finds_the_items_find(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first datum of each line; one of these is taken through the whole audit. `KCOMPILER_LONG=1`: all."""
    report, kept = _kept(tmp_path, kind)
    made: list[Any] = []
    compared = audited._compared

    def seen(data: Any, said: Any, subject: str) -> Iterator[Finding]:
        made.append(data)
        return compared(data, said, subject)

    monkeypatch.setattr(audited, "_compared", seen)
    assert kept.audit(report) == []
    asked, missed = set[int](), []
    for at, datum in list(numbers(report["data"])):
        where = "/".join(map(str, at))
        path = where.replace("/", ".")
        for how, lied in forged(dict(datum)) if about(kind, path) - (set() if LONG else asked) else ():
            lines = free(kind, path, how)
            if lied == datum or not (lines if LONG else lines - asked):
                continue
            before = put(report["data"], at, lied)
            found = [one.subject for one in compared(made[0], report["data"], "seen")]
            if not found or not found[0].startswith(f"seen#/data/{where}"):
                missed.append((where, how, found))
            elif not asked:
                ((code, place),) = kept.audit(report)
                assert (code, place.startswith(where)) == ("KA26", True)
            asked |= lines
            put(report["data"], at, before)
    assert missed == []
    assert {line for line, one in enumerate(FREE) if one.kind == kind} <= asked

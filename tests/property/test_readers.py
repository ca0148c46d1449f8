"""What `validate` accepts of people's files is what the data step accepts: one reader, asked twice."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kcompiler.facts.record import recorded
from kcompiler.lower import lower
from runtime.contract import Refusal
from runtime.contract import record as records
from runtime.data.prepare import prepare
from runtime.steps.data import DataParams
from tests.unit.kcompiler.checks import laboratory
from tests.unit.runtime.data.test_prepare import Stage

PROMPTS = ["q12", "q17", "q27", "a", "b", "A!", "c", " ", "é", "\\ud800"]
VALUES = [
    '"x"', '""', '"  "', "null", "true", "1", "1.0", "NaN", "-Infinity", "1e999", "9223372036854775807", "{}", "[]",
    '{"name": [[0, 1]]}', '{"name": [[0, 99]]}', '{"name": [0, 1]}', '{"name": [[0, 1], [0, 1]], "name": []}',
    "[" * 63 + "]" * 63, "[" * 64 + "]" * 64, '"\\ud800"', '{"a": "\\udfff"}', '"\\u0000"',
]  # fmt: skip
NAMES = ["id", "class", "spans", "meta", "source", "other", "prompt", "response", "input"]
FIELDS = [{}, {}, {"prompt": "{prompt}\n{input}"}, {"response": "other"}, {"id": "input"}]
SPLITS = ["auto", "auto", "train", "test"]


@st.composite
def line(draw: st.DrawFn) -> bytes:
    if draw(st.integers(0, 30)) == 0:
        return draw(st.sampled_from([b"", b"[1]", b"{", b"\xff", b"\xef\xbb\xbf{}", b"nul", b"x" * ((1 << 20) + 1)]))
    prompt, response = draw(st.sampled_from(PROMPTS)), draw(st.sampled_from(["r", "s", "t"]))
    members = [f'"prompt": "{prompt}"', f'"response": "{response}"']
    if draw(st.integers(0, 3)) == 0:
        more = draw(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=2))
        members += [f'"{name}": {value}' for name, value in more]
    return ("{" + ", ".join(draw(st.permutations(members))) + "}").encode()


FILE = st.tuples(st.lists(line(), max_size=8), st.sampled_from(["\n", "\r\n", ""]), st.sampled_from(SPLITS))
GOOD = [b'{"prompt": "q12", "response": "r"}', b'{"prompt": "a", "response": "r"}']


@settings(max_examples=150, deadline=None)
@given(st.lists(FILE, min_size=1, max_size=2), st.sampled_from(FIELDS), st.integers(0, 3))
@example([(GOOD, "\n", "auto")], {}, 0)
@example([(GOOD, "\n", "auto")], {}, 1)
@example([([b'{"prompt": "\\ud800", "response": "r"}', *GOOD], "\n", "auto")], {}, 0)
@example([([b"\xef\xbb\xbf" + GOOD[0], GOOD[1]], "\n", "auto")], {}, 0)
@example([([b'{"prompt": "c", "response": "r", "other": 9223372036854775807}', *GOOD], "\n", "auto")], {}, 0)
@example([(GOOD, "\n", "train"), (GOOD[:1], "\n", "test")], {}, 0)
@example([(GOOD[1:], "\n", "train"), (GOOD[:1], "\n", "test")], {}, 0)
def test_a_file_is_valid_exactly_when_the_data_step_takes_it(
    files: list[tuple[list[bytes], str, str]], fields: dict[str, str], limit: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def change(data: dict[str, Any]) -> None:
            data["data"]["sources"] = []
            # a suite that takes any answer
            data["evaluation"] = {"suites": [{"use": "language_model"}], "baselines": ["ce_only"]}
            for number, (lines, end, split) in enumerate(files):
                path = folder / f"f{number}.jsonl"
                path.write_bytes((end or "\n").encode().join(lines) + end.encode())
                data["data"]["sources"].append(
                    {
                        "name": f"s{number}",
                        "kind": "jsonl",
                        "path": path.name,
                        "split": split,
                        "license": "MIT",
                        "fields": fields,
                        "limit": limit,
                    }
                )

        front = laboratory.compiled(folder, change)
        wrong = [one.code for one in front.diagnostics if one.severity == "error"]
        takes = {f"source_s{number}": folder / f"f{number}.jsonl" for number in range(len(files))}
        refused = ""
        try:
            prepare(takes, DataParams(sources=_sources(files, fields, limit)), Stage(folder / "out"))
        except Refusal as refusal:
            refused = f"{refusal.place}: {refusal.message}"
        assert bool(refused) == bool(wrong), (refused, wrong)
        # a person's own file, never one that a step made
        assert "train.jsonl" not in refused
        if front.spec is not None:
            assert lower(front.spec, folder, folder)


def _sources(files: list[tuple[list[bytes], str, str]], fields: dict[str, str], limit: int) -> list[dict[str, Any]]:
    return [
        {"name": f"s{n}", "kind": "jsonl", "split": split, "license": "MIT", "fields": fields, "limit": limit}
        for n, (_, _, split) in enumerate(files)
    ]


ANSWER = st.sampled_from(
    [
        b'{"prompt": "a", "text": "x"}',
        b'{"prompt": "a", "text": "y"}',
        b'{"prompt": "b", "text": "x", "choices": {"A": -1, "B": -0.5}}',
        b'{"prompt": "c", "text": "x", "choices": {"A": -1}}',
        b'{"prompt": "d", "text": "x", "choices": {"A": 1e999, "B": -1}}',
        b'{"prompt": "d", "text": "x", "choices": {"A": true, "B": -1}}',
        b'{"prompt": "e", "text": "x", "finish_reason": "length"}',
        b'{"prompt": "e", "text": "x", "more": 1}',
        b'{"prompt": "e", "prompt": "f", "text": "x"}',
        b'{"prompt": "\\ud800", "text": "x"}',
        b'{"prompt": "g"}',
        b"",
        b"[]",
        b"{",
    ]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ANSWER, max_size=4))
def test_a_record_is_valid_exactly_when_the_replay_step_takes_it(lines: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "record.jsonl")
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        try:
            records.read(path)
            accepted = True
        except Refusal:
            accepted = False
        found = recorded(path)
        assert found is not None
        assert (found.wrong is None) == accepted

"""No spec, rows, pack, registry or state, however wrong, makes the compiler fail itself: exit 70 is for its own bugs.

Shipped specs are mutated in value, type and structure. `KC_FUZZ=20000` asks for more examples than the test command has
time for: `KC_FUZZ=20000 python -m pytest tests/property/test_never_seventy.py`.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kcompiler.cli import _main

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = int(os.environ.get("KC_FUZZ", "20"))
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="KC_FUZZ" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
SPECS = sorted(path.name for path in (ROOT / "specs").glob("*.yaml"))

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2, 3, 4, 7, 2**31, 2**53, 2**63, 10**30, -(10**30)]),
    st.sampled_from([0.0, 0.5, -0.5, 1e-320, 1e300, -1e300, 1e-9, 0.1]),
    st.sampled_from(
        ["", " ", "0", "null", "~", "a", "é", "\u2028", "\x7f", "{", "{}", "{prompt}", "../..", "/", ".", "x" * 3000,
         "train", "test", "auto", "int8", "fp16", "*", "*.weight", "[", "sha256:", "env:", "http://x", "kl", "llama"]
    ),
    st.sampled_from([[], {}, [[]], [{}], {"": 0}, {"a": {"b": []}}, [None], ["a", "a"], [1, "a", None]]),
    st.text(max_size=8),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a tree that can be replaced or removed."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def mutate(data: Any, draw: st.DrawFn) -> Any:
    """One change of a tree: a value replaced, a key dropped, renamed or added, an item doubled, two values exchanged."""
    every = list(places(data))
    if not every:
        return data
    path = draw(st.sampled_from(every))
    around = data
    for key in path[:-1]:
        around = around[key]
    key = path[-1]
    how = draw(st.sampled_from(["replace", "replace", "replace", "drop", "add", "double", "swap", "nudge"]))
    if how == "drop":
        del around[key]
    elif how == "add" and isinstance(around, dict):
        around[draw(st.text(max_size=6))] = copy.deepcopy(draw(ODD))
    elif how == "double" and isinstance(around, list):
        around.insert(key, copy.deepcopy(around[key]))
    elif how == "swap":
        other = draw(st.sampled_from(every))
        value = data
        for step in other:
            value = value[step] if isinstance(value, list | dict) and _has(value, step) else None
        around[key] = copy.deepcopy(value)
    elif how == "nudge" and isinstance(around[key], int | float) and not isinstance(around[key], bool):
        around[key] = draw(st.sampled_from([around[key] * 2, around[key] // 2, -around[key], around[key] + 1]))
    else:
        around[key] = copy.deepcopy(draw(ODD))
    return data


def _has(value: Any, key: Any) -> bool:
    return key in value if isinstance(value, dict) else isinstance(key, int) and key < len(value)


@st.composite
def specs(draw: st.DrawFn) -> tuple[str, Any]:
    name = draw(st.sampled_from(SPECS))
    data = yaml.safe_load((ROOT / "specs" / name).read_text(encoding="utf-8"))
    for _ in range(draw(st.integers(1, 3))):
        data = mutate(data, draw)
    return name, data


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(ROOT / "specs", root / "specs")
    (root / ".kcompiler").mkdir()
    return root


def answered(root: Path, *arguments: str) -> None:
    before = Path.cwd()
    os.chdir(root)
    try:
        code = _main(list(arguments))
    finally:
        os.chdir(before)
    assert code != 70, arguments


@FUZZ
@given(case=specs())
def test_no_spec_makes_the_compiler_fail(project: Path, case: tuple[str, Any]) -> None:
    name, data = case
    path = project / "specs" / f"fuzz-{name}"
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")
    answered(project, "plan", f"specs/fuzz-{name}", "--check")


@FUZZ
@given(case=st.data())
def test_no_text_makes_the_compiler_fail(project: Path, case: st.DataObject) -> None:
    name = case.draw(st.sampled_from(SPECS))
    text = (ROOT / "specs" / name).read_bytes()
    at = case.draw(st.integers(0, len(text)))
    piece = case.draw(
        st.one_of(
            st.binary(max_size=4),
            st.sampled_from([b"\n", b"  ", b":", b"- ", b"&a ", b"*a", b"<<: ", b"{", b"'", b"!!python/name:os"]),
        )
    )
    cut = case.draw(st.integers(0, 6))
    (project / "specs" / "text.yaml").write_bytes(text[:at] + piece + text[at + cut :])
    answered(project, "plan", "specs/text.yaml", "--check")


ROW = {
    "prompt": "Will it rain?",
    "response": "Yes.",
    "id": "a",
    "spans": {"choice": [[0, 1]]},
    "class": "c",
}


@FUZZ
@given(case=st.data())
def test_no_row_makes_the_compiler_fail(project: Path, case: st.DataObject) -> None:
    rows = [
        {**copy.deepcopy(ROW), "id": f"r{number}", "prompt": f"Will it rain on day {number}?"} for number in range(12)
    ]
    for _ in range(case.draw(st.integers(1, 3))):
        rows = mutate(rows, case.draw)
    lines = [json.dumps(row) for row in rows]
    if case.draw(st.booleans()):
        wrong = [
            '{"prompt": "\\ud800", "response": "x"}',
            "NaN",
            '{"a": 1, "a": 2}',
            "[" * 2000,
            "\ufeff{}",
            "{}",
            '"x"',
            '{"prompt": 1e999}',
        ]
        lines.insert(case.draw(st.integers(0, len(lines))), case.draw(st.sampled_from(wrong)))
    (project / "specs" / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = yaml.safe_load((ROOT / "specs" / "eight-ball.yaml").read_text(encoding="utf-8"))
    source = {"name": "rows", "kind": "jsonl", "path": "rows.jsonl", "split": "auto", "license": "Apache-2.0"}
    fields = case.draw(
        st.sampled_from([{}, {"prompt": "prompt", "response": "response"}, {"id": "id", "spans": "spans"}])
    )
    data["data"]["sources"] = [{**source, **({"fields": fields} if fields else {})}]
    (project / "specs" / "of-rows.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    answered(project, "plan", "specs/of-rows.yaml", "--check")


@FUZZ
@given(case=st.data())
def test_no_pack_makes_the_compiler_fail(project: Path, case: st.DataObject) -> None:
    shipped = sorted((ROOT / "policies" / "caws" / "core").glob("*/rule.yaml"))
    folder = project / "policies" / "fuzz" / "fuzz-rule"
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / "pack.yaml").write_text("name: fuzz\nversion: 1\ntitle: A pack of mistakes\n", encoding="utf-8")
    rule = yaml.safe_load(case.draw(st.sampled_from(shipped)).read_text(encoding="utf-8"))
    rule["id"] = "fuzz-rule"
    for _ in range(case.draw(st.integers(1, 3))):
        rule = mutate(rule, case.draw)
    (folder / "rule.yaml").write_text(yaml.safe_dump(rule, sort_keys=False, allow_unicode=True), encoding="utf-8")
    data = yaml.safe_load((ROOT / "specs" / "eight-ball.yaml").read_text(encoding="utf-8"))
    data["policies"].append("fuzz")
    (project / "specs" / "of-pack.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    answered(project, "plan", "specs/of-pack.yaml", "--check")


@FUZZ
@given(case=st.data())
def test_no_registry_makes_the_compiler_fail(project: Path, case: st.DataObject) -> None:
    (shipped,) = sorted((ROOT / "specs").rglob("*registry*.json"))[:1] or [None]
    if shipped is None:
        pytest.skip("no registry is shipped")
    tools = json.loads(shipped.read_text(encoding="utf-8"))
    for _ in range(case.draw(st.integers(1, 3))):
        tools = mutate(tools, case.draw)
    (project / "specs" / "fuzz-tools.json").write_text(json.dumps(tools), encoding="utf-8")
    data = yaml.safe_load((ROOT / "specs" / "toy-tools.yaml").read_text(encoding="utf-8"))
    data["data"]["tools"] = "fuzz-tools.json"
    (project / "specs" / "of-tools.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    answered(project, "plan", "specs/of-tools.yaml", "--check")

"""Laws of the loader: nothing crashes it, every place is true, and both parsers mean the same."""

import json
import re
from pathlib import Path

import hypothesis.strategies as st
import pytest
import yaml
from hypothesis import example, given, settings

from kcompiler.source import Tree, load
from kcompiler.source.text import INVISIBLE

ROOT = Path(__file__).resolve().parents[2]
SPEC = (ROOT / "specs/eight-ball.yaml").read_text(encoding="utf-8")
SUITE = ROOT / "tests/data/yaml_test_suite/src"

#: text that says nothing hidden, since hidden characters are refused as keys
plain_text = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Mn", "Co", "Cn"]), max_size=12
)
keys = plain_text.filter(lambda text: text.isascii())
numbers = st.integers(1 - 2**53, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | plain_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@st.composite
def damaged(draw):
    """A real spec with a few pieces cut out, doubled, or replaced by something nasty."""
    text = SPEC
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = draw(st.integers(start, min(len(text), start + 40)))
        nasty = st.sampled_from(
            [
                "\t",
                ": ",
                "{",
                "]",
                "&a ",
                "*a",
                "!!x ",
                "\n",
                "  ",
                "'",
                '"',
                "#",
                "- ",
                "\r",
                "|\n",
                "%",
                "---\n",
                "\ufeff",
                "\0",
                "<<: ",
                "? ",
            ]
        )
        text = text[:start] + draw(nasty | st.just(text[start:stop] * 2) | st.text(max_size=5)) + text[stop:]
    return text


@given(values)
@settings(max_examples=150, deadline=None)
@example({"a": -0.0, "b": 1e16, "c": 5e-324})
def test_json_is_read_as_json(value):
    """JSON is YAML: what json.dumps writes comes back as it was, through either parser."""
    data = json.dumps({"value": value}, ensure_ascii=False).encode()
    for pure in (False, True):
        tree, found = load("f.yaml", data, pure=pure)
        assert [item.code for item in found if item.severity == "error"] == []
        assert tree.data == {"value": value}


@given(values)
@settings(max_examples=100, deadline=None)
def test_what_pyyaml_writes_is_read_back(value):
    """Block style, through another writer; PyYAML quotes whatever YAML 1.1 would misread."""
    text = yaml.safe_dump({"value": value}, allow_unicode=True, sort_keys=False)
    if re.search(r"^ *\? ", text, re.MULTILINE) or INVISIBLE.search(text) or "!!" in text or "&id" in text:
        return
    tree, found = load("f.yaml", text.encode())
    assert found == []
    assert tree.data == {"value": value}


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=300, deadline=None)
@example(b"\xff")
@example(b"a: &a [*a]")
def test_no_bytes_make_it_raise(data):
    for pure in (False, True):
        tree, found = load("f.yaml", data, pure=pure)
        assert tree is not None or any(item.severity == "error" for item in found)


@given(damaged())
@settings(max_examples=300, deadline=None)
def test_places_are_true_whatever_happened_to_the_text(text):
    """Line and column count from offsets, ends follow starts, and a plain scalar stands where its place says."""
    tree, found = load("f.yaml", text.encode("utf-8", "surrogatepass"))
    for item in found:
        assert 0 <= item.start <= item.end <= len(text) + 1
    if tree is None:
        return
    assert isinstance(tree, Tree)
    text = tree.text  # without a byte-order mark: offsets count from the first character that means something
    for place in [*tree.keys.values(), *tree.values.values()]:
        before = re.split(r"\r\n|\r|\n", text[: place.start])
        assert (place.line, place.column) == (len(before), len(before[-1]) + 1)
        assert (place.end_line, place.end_column) >= (place.line, place.column)
    for pointer, place in tree.values.items():
        written = text[place.start : place.end]
        if pointer not in tree.broken and written.isalpha() and "\0" not in pointer:
            assert tree.get(pointer) in (written, {"true": True, "false": False, "null": None}.get(written.lower()))


@given(
    st.permutations(["risk_tier: 3", "owner: x", "b: [1, 2]", "c: {d: 1e-4, e: no}"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
@settings(max_examples=50, deadline=None)
def test_order_comments_blank_lines_and_line_ends_mean_nothing(lines, ending):
    text = "# a comment\n\n" + "\n  # another\n\n".join(lines) + "   # last\n"
    tree, found = load("f.yaml", text.replace("\n", ending).encode())
    assert found == []
    assert tree.data == {"risk_tier": 3, "owner": "x", "b": [1, 2], "c": {"d": 1e-4, "e": "no"}}


#: how the suite writes characters that nobody can see
_SIGNS = (("␣", " "), ("↵", ""), ("←", "\r"), ("⇔", "\ufeff"))

#: where libyaml itself reads another value than YAML 1.2 asks (it implements 1.1); nothing of it occurs in a spec
LIBYAML_DIFFERS = {"652Z-0", "HM87-1", "JEF9-2", "L24T-1", "Y2GN-0"}


def suite_cases():
    for path in sorted(SUITE.glob("*.yaml")):
        whole: dict[str, str] = {}
        for number, part in enumerate(yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)):
            whole = {**whole, **part}
            text = re.sub("—*»", "\t", whole["yaml"])
            for sign, meant in _SIGNS:
                text = text.replace(sign, meant)
            yield f"{path.stem}-{number}", whole, text.replace("∎\n", "").replace("∎", "")


def test_the_yaml_test_suite_never_crashes_it():
    """406 documents by the authors of YAML; what is accepted and has a JSON form means what that form says."""
    agree, differ, count = 0, set(), 0
    for name, case, text in suite_cases():
        count += 1
        load("f.yaml", text.encode(), pure=True)
        tree, found = load("f.yaml", text.encode())
        assert (tree is None) <= any(item.severity == "error" for item in found), name
        if found or "json" not in case or case.get("fail") == "true":
            continue
        expected, end = json.JSONDecoder().raw_decode(case["json"].strip())
        if case["json"].strip()[end:].strip():
            continue
        agree += tree.data == expected
        differ |= {name} if tree.data != expected else set()
    assert count == 406
    assert differ == LIBYAML_DIFFERS
    assert agree > 150


@pytest.mark.parametrize("name", ["D83L-0", "M9B4-0"])
def test_block_scalars_of_the_suite_keep_their_text(name):
    case, text = next((case, text) for found, case, text in suite_cases() if found == name)
    tree, _ = load("f.yaml", text.encode())
    assert tree.data == json.loads(case["json"])

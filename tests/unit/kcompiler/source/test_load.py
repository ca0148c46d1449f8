"""What a text gives: values, places, and mistakes with places."""

import gc
import textwrap

import pytest

from kcompiler.source import Limits, Tree, load
from kcompiler.source.tree import child


def read(text: str, **more) -> Tree:
    tree, found = load("f.yaml", textwrap.dedent(text).encode(), **more)
    assert [item for item in found if item.severity == "error"] == []
    assert tree is not None
    return tree


def codes(text: str | bytes, **more) -> list[tuple[str, int, int]]:
    _, found = load("f.yaml", text if isinstance(text, bytes) else text.encode(), **more)
    return [(item.code, item.line, item.column) for item in found]


def test_values_are_plain_data():
    tree = read("""
        a: {b: [1, 2.5, true, null, text]}
        "quoted": "017"
        block: |
          two
          lines
        """)
    assert tree.data == {"a": {"b": [1, 2.5, True, None, "text"]}, "quoted": "017", "block": "two\nlines\n"}


def test_every_key_and_value_has_a_place():
    tree = read("a:\n  b: [x, {c: yy}]\n")
    spans = {pointer: tree.text[place.start : place.end] for pointer, place in tree.values.items()}
    assert spans == {
        "": "a:\n  b: [x, {c: yy}]",
        "/a": "b: [x, {c: yy}]",
        "/a/b": "[x, {c: yy}]",
        "/a/b/0": "x",
        "/a/b/1": "{c: yy}",
        "/a/b/1/c": "yy",
    }
    keys = {pointer: tree.text[place.start : place.end] for pointer, place in tree.keys.items()}
    assert keys == {"/a": "a", "/a/b": "b", "/a/b/1/c": "c"}
    assert tree.values["/a/b/1/c"][:4] == (2, 14, 2, 16)


def test_columns_count_characters_not_bytes():
    tree = read('{ä: "😀", b: x}\n')
    assert tree.values["/b"][:2] == (1, 13)
    assert tree.text[tree.values["/b"].start] == "x"


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_ends_do_not_matter(ending):
    tree = read("a: 1\nb:\n  c: 2\n".replace("\n", ending))
    assert tree.data == {"a": 1, "b": {"c": 2}}
    assert tree.values["/b/c"][:2] == (3, 6)


def test_a_pointer_escapes_slash_and_tilde():
    tree = read('{"a/b": {"~": 1}}\n')
    assert set(tree.keys) == {"/a~1b", "/a~1b/~0"}
    assert tree.get("/a~1b/~0") == 1
    assert child("", "x/~") == "/x~1~0"


def test_a_place_falls_back_to_the_nearest_ancestor():
    tree = read("a:\n  b: 1\n")
    assert tree.nearest("/a/b/c/d") == "/a/b"
    assert tree.place("/a/x") == tree.place("/a")
    assert tree.place("/a/b", "key")[:2] == (2, 3)
    assert tree.place("/a")[:2] == (1, 1), "a value of several lines is shown at its key"
    assert tree.place("/a", "value")[:2] == (2, 3)
    with pytest.raises(KeyError):
        tree.get("/a/b/c")


def test_an_anchor_is_reused_as_a_copy_with_the_places_of_its_definition():
    tree = read("a: &x {p: [1, 2]}\nb: *x\nc: &y 5\nd: *y\n")
    assert tree.data == {"a": {"p": [1, 2]}, "b": {"p": [1, 2]}, "c": 5, "d": 5}
    assert tree.values["/b"][:2] == (2, 4)
    assert tree.values["/b/p/1"] == tree.values["/a/p/1"]
    assert tree.keys["/b/p"] == tree.keys["/a/p"]
    assert tree.text[tree.values["/a"].start] == "{", "the place of a value is not that of its anchor"
    tree.data["a"]["p"].append(3)
    assert tree.data["b"]["p"] == [1, 2]


def test_all_mistakes_of_a_text_are_reported_at_once():
    text = "a: 1\na: 2\nb: .nan\nc: !!int 3\n<<: x\n7: y\nd: 99999999999999999999\n"
    tree, found = load("f.yaml", text.encode())
    assert [(item.code, item.line) for item in found] == [
        ("KC1011", 2),
        ("KC1020", 3),
        ("KC1012", 4),
        ("KC1013", 5),
        ("KC1019", 6),
        ("KC1021", 7),
    ]
    assert tree.data == {"a": 1, "b": 0, "c": "3", "d": 0}
    assert tree.broken == {"/b", "/c", "/d"}


def test_the_value_of_a_refused_key_is_read_and_dropped():
    tree, found = load("f.yaml", b"a: &x 1\na: {b: .inf, b: 2, c: &y [1]}\nd: *y\n")
    assert [item.code for item in found] == ["KC1011", "KC1020", "KC1011"]
    assert tree.data == {"a": 1, "d": [1]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n\tb: 1\n", [("KC1009", 2, 1)]),
        ("a:\n  b: 1\n\tc: 2\n", [("KC1009", 3, 1)]),
        ("a:\n  - x\n\t- y\n", [("KC1009", 3, 1)]),
        ("a: {\n\tb: 1}\n", [("KC1009", 2, 1)]),
        ("a: [x,\n  \ty]\n", [("KC1009", 2, 3)]),
        ("a:\tb\n", []),
        ("a: b\t# note\n", []),
        ("a: |\n  x\n  \ty\n", []),
    ],
)
def test_a_tab_may_separate_but_not_indent(text, expected):
    assert codes(text) == expected
    if expected:
        assert expected[0] in codes(text, pure=True)


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: &x [1, *x]\n", "KC1015", 1, 11),
        ("a: &x {b: *x}\n", "KC1015", 1, 11),
        ("a: *nothing\n", "KC1015", 1, 4),
        ("a: &x 1\nb: &x 2\n", "KC1015", 2, 7),
        ("&k a: 1\n", "KC1019", 1, 4),
        ("a: &x y\n*x : 1\n", "KC1019", 2, 1),
        ("? [a]\n: b\n", "KC1019", 1, 3),
        ("{a: 1}: b\n", "KC1019", 1, 1),
        ("~: b\n", "KC1019", 1, 1),
        ("a: !x!y z\n", "KC1012", 1, 4),
        ("a: b\n--- \nc: d\n", "KC1017", 2, 1),
        ("- a\n...\n---\n- b\n", "KC1017", 3, 1),
        ("%YAML 3.0\n---\na: 1\n", "KC1010", 1, 1),
        ("a: b: c\n", "KC1010", 1, 5),
        ("a: 'b\n", "KC1010", 2, 1),
        ("a: x\x07\n", "KC1007", 1, 5),
        ("a: x\u2028y\n", "KC1007", 1, 5),
        ("a\u200b: x\n", "KC1007", 1, 2),
        ('"a\\u202e": x\n', "KC1007", 1, 1),
        ("e\u0301: x\n", "KC1007", 1, 1),
        ('a: "x\\0"\n', "KC1007", 1, 4),
        ("a: 1\n>>>>>>> theirs\n", "KC1008", 2, 1),
        ("", "KC1018", 1, 1),
        ("---\n", "KC1018", 1, 1),
        ("[" * 65, "KC1016", 1, 65),
        ("- " * 65 + "x", "KC1016", 1, 129),
    ],
)
def test_a_refusal_points_at_the_cause(text, code, line, column):
    assert codes(text)[0] == (code, line, column)


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [
        (b"a: \xff\n", 1, 4),
        (b"a: 1\nb: x\xc3\n", 2, 5),
        (b"\xff\xfea\0:\0", 1, 1),
        (b"a: \xed\xa0\x80\n", 1, 4),
        (b"a: \xc0\x80\n", 1, 4),
    ],
)
def test_bytes_that_are_not_utf_8_are_refused_where_they_stand(data, line, column):
    assert codes(data) == [("KC1005", line, column)]


def test_conflict_markers_inside_a_block_of_text_are_text():
    assert read("a: |\n  <<<<<<< not at the margin\n").data == {"a": "<<<<<<< not at the margin\n"}


@pytest.mark.parametrize("levels", [64, 65])
def test_the_cap_on_depth_is_exact(levels):
    text = "[" * levels + "]" * levels
    assert [code for code, _, _ in codes(text)] == ([] if levels == 64 else ["KC1016"])


def test_aliases_cannot_dig_deeper_than_the_cap():
    text = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 80))
    assert [code for code, _, _ in codes(text)] == ["KC1014"]


def test_the_caps_are_exact():
    assert codes("a: 1\n", limits=Limits(bytes=5)) == []
    assert codes("a: 11\n", limits=Limits(bytes=5)) == [("KC1004", 0, 0)]
    assert codes("a: [1, 2]\n", limits=Limits(values=4)) == []
    assert codes("a: [1, 2, 3]\n", limits=Limits(values=4)) == [("KC1023", 1, 11)]
    assert codes("a: &x [1, 2]\nb: *x\n", limits=Limits(alias_nodes=3)) == []
    assert codes("a: &x [1, 2]\nb: *x\nc: *x\n", limits=Limits(alias_nodes=3)) == [("KC1014", 3, 4)]


def test_the_collector_is_left_as_it_was():
    gc.disable()
    try:
        load("f.yaml", b"a: 1\n")
        assert not gc.isenabled()
    finally:
        gc.enable()
    load("f.yaml", b"a: [\n")
    assert gc.isenabled()

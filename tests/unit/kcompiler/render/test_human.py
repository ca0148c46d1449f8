"""Diagnostics as text: the line with marks under the right columns, and nothing that a terminal would obey."""

import re

import pytest

from kcompiler.diagnostic import Diagnostic, Related
from kcompiler.render import accounts, human


def one(line: str, start: int, end: int, **more) -> list[str]:
    item = Diagnostic(
        code="KC2104", summary="s", file="a.yaml", line=1, column=start + 1, end_line=1, end_column=end + 1, **more
    )
    return human.diagnostics([item], {"a.yaml": line.encode()}).splitlines()


@pytest.mark.parametrize(
    ("line", "start", "end", "shown", "marks"),
    [
        ("a: bcd", 3, 6, "a: bcd", "   ^^^"),
        ("a: b", 3, 3, "a: b", "   ^"),
        ("a: b", 9, 12, "a: b", "    ^"),
        ("\ta: b", 0, 1, "→a: b", "^"),
        ("漢字: x", 4, 5, "漢字: x", "      ^"),
        ("漢字: x", 0, 2, "漢字: x", "^^^^"),
        ("e\u0301: x", 4, 5, "e\u0301: x", "   ^"),
        ("a: \u202ex", 4, 5, "a: \ufffdx", "    ^"),
        ("a: x\r", 3, 4, "a: x", "   ^"),
    ],
)
def test_marks_stand_under_what_they_mean(line, start, end, shown, marks):
    lines = one(line, start, end)
    assert lines[3] == f"1 | {shown}"
    assert lines[4] == f"  | {marks}"


def test_a_long_line_is_cut_around_the_place():
    line = "x" * 300 + "HERE" + "y" * 300
    shown, marks = one(line, 300, 304, label="here")[3:5]
    assert len(shown) < 125
    assert shown.startswith("1 | …")
    assert shown.endswith("…")
    assert shown[marks.index("^") : marks.index("^") + 4] == "HERE"
    assert marks.endswith("^^^^ here")


def test_a_long_marked_stretch_is_cut_with_its_line():
    shown, marks = one("z" * 500, 0, 500)[3:5]
    assert len(marks) <= len(shown)


def test_a_stretch_of_several_lines_is_marked_to_the_end_of_its_first():
    item = Diagnostic(code="K", summary="s", file="a.yaml", line=1, column=3, end_line=2, end_column=2)
    text = human.diagnostics([item], {"a.yaml": b"a: b  \nc: d\n"})
    assert "1 | a: b\n  |   ^^\n" in text


@pytest.mark.parametrize("hidden", ["\x1b[31m", "\x07", "\u202e", "\u200b", "\x9b", "\ud800", "\r", "\0"])
def test_nothing_of_a_spec_reaches_the_terminal_as_a_command(hidden):
    item = Diagnostic(
        code="KC2104",
        summary=f"s{hidden}",
        detail=f"d{hidden}",
        label=f"l{hidden}",
        help=f"h{hidden}",
        notes=(f"n{hidden}",),
        file=f"a{hidden}.yaml",
        line=1,
        column=1,
        end_line=1,
        end_column=2,
        related=(Related(file="b.yaml", line=1, column=1, end_column=2, message=f"r{hidden}"),),
    )
    source = f"x{hidden}y".encode("utf-8", "surrogatepass")
    text = human.diagnostics([item], {f"a{hidden}.yaml": source, "b.yaml": source})
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e\ud800]", text)


def test_colour_is_only_for_those_who_ask():
    item = Diagnostic(code="KC2104", summary="s", file="a.yaml", line=1, column=1, end_line=1, end_column=2, help="h")
    plain = human.diagnostics([item], {"a.yaml": b"x"})
    painted = human.diagnostics([item], {"a.yaml": b"x"}, color=True)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == plain


def test_without_its_source_a_diagnostic_still_says_where():
    item = Diagnostic(code="KR0001", summary="s", file="rows.jsonl", line=12, label="l", help="h")
    assert human.diagnostics([item], {}) == "error[KR0001]: s\n  --> rows.jsonl:12\n   = l\nhelp: h\n\n1 error\n"


def test_a_diagnostic_without_a_file_has_no_arrow():
    assert human.diagnostics([Diagnostic(code="KC6001", summary="s")], {}) == "error[KC6001]: s\n\n1 error\n"


def test_second_places_are_shown_with_their_own_lines():
    item = Diagnostic(
        code="KC1011",
        summary="s",
        file="a.yaml",
        line=12,
        column=1,
        end_line=12,
        end_column=2,
        related=(Related(file="a.yaml", line=2, column=1, end_column=3, message="first"),),
    )
    text = human.diagnostics([item], {"a.yaml": b"\nbb\n" + b"\n" * 9 + b"c\n"})
    assert text.splitlines()[3:] == [
        "12 | c",
        "   | ^",
        "  ::: a.yaml:2:1",
        "   |",
        " 2 | bb",
        "   | -- first",
        "   |",
        "",
        "1 error",
    ]


def test_the_count_is_said_in_words():
    made = [Diagnostic(code="K", summary="s", severity=severity) for severity in ("error", "error", "note", "warning")]
    assert human.summary(made) == "2 errors, 1 warning, 1 note"
    assert human.summary([]) == "no mistakes"
    assert human.diagnostics([], {}) == ""


def test_a_budget_tells_what_earlier_plans_took() -> None:
    wall = {"name": "wall_s", "spent": 3.25, "reserved": 0, "left": 23.25, "limit": 26.5, "earlier": 14.7}
    usd = {"name": "usd", "spent": 0, "reserved": 0, "left": 5, "limit": 5, "earlier": None}
    tokens = {"name": "training_tokens", "spent": 410, "reserved": 0, "left": 90, "limit": 500, "earlier": 200}
    assert accounts.rows([usd, wall, tokens]) == [
        "usd              0 spent     0 set aside  5 left of 5",
        "wall_s           3.25 spent  0 set aside  23.2 left of 26.5  14.7 by earlier plans, beside that: each plan has its own",
        "training_tokens  410 spent   0 set aside  90 left of 500     200 by earlier plans, of that",
    ]
    # a plan that has not begun, whose name has taken something
    assert accounts.rows([{**wall, "spent": 0, "left": 26.5}]) != []
    assert accounts.rows([{**wall, "spent": 0, "left": 26.5, "earlier": 0.0}, usd]) == []

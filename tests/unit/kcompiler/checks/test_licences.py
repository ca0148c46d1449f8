"""Licences: how an expression is read, and what of it reaches the student."""

import importlib.util
from pathlib import Path

import pytest

from kcompiler.facts import spdx

_spec = importlib.util.spec_from_file_location("checks_laboratory", Path(__file__).with_name("laboratory.py"))
laboratory = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(laboratory)


def ways(text):
    return sorted(sorted(way) for way in spdx.ways(text))


def licensed(license, use=None, more=None, teacher=None):
    def change(data):
        data["data"]["sources"][0]["license"] = license
        if more:
            data["data"]["sources"].append({**data["data"]["sources"][0], "name": "more", "license": more})
        if use:
            data["metadata"]["use"] = use
        if teacher:
            data["teacher"]["license"] = teacher

    return change


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MIT", [["MIT"]]),
        ("MIT OR Zlib", [["MIT"], ["Zlib"]]),
        ("MIT AND Zlib", [["MIT", "Zlib"]]),
        ("MIT AND Zlib OR ISC", [["ISC"], ["MIT", "Zlib"]]),
        ("MIT AND (Zlib OR ISC)", [["ISC", "MIT"], ["MIT", "Zlib"]]),
        ("GPL-2.0-only WITH Classpath-exception-2.0 AND MIT", [["GPL-2.0-only", "MIT"]]),
        ("MIT or MIT", [["MIT"]]),
        (" ( MIT ) ", [["MIT"]]),
        ("Apache-2.0+", [["Apache-2.0+"]]),
    ],
)
def test_an_expression_gives_the_ways_to_satisfy_it(text, expected):
    """AND binds tighter than OR, WITH tightest (SPDX 2.3, annex D.4)."""
    assert ways(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MIT MIT",
        "MIT AND",
        "OR MIT",
        "(MIT",
        "MIT)",
        "MIT,ISC",
        "MIT WITH",
        "MIT/ISC",
        "()",
        "(" * 40 + "MIT" + ")" * 40,
    ],
)
def test_anything_else_is_no_expression(text):
    with pytest.raises(ValueError):  # noqa: PT011
        spdx.ways(text)


def test_an_expression_with_too_many_ways_is_refused_quickly():
    pair = "(MIT OR Zlib{0})"
    with pytest.raises(ValueError, match="too many"):
        spdx.ways(" AND ".join(f"(A{n} OR B{n})" for n in range(40)))
    assert len(spdx.ways(" AND ".join([pair.format("")] * 40))) == 3


@pytest.mark.parametrize(
    "license", ["CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "cc-by-nc-nd-3.0", "PolyForm-Noncommercial-1.0.0"]
)
def test_non_commercial_rows_serve_a_use_that_is_said(tmp_path, license):
    assert not {"KC4511", "KC4516"} & {*laboratory.codes(tmp_path, licensed(license, "research"))}
    assert "KC4511" in laboratory.codes(tmp_path, licensed(license, "internal"))
    assert "KC4511" in laboratory.codes(tmp_path, licensed(license, "commercial"))
    assert "KC4516" in laboratory.codes(tmp_path, licensed(license))


def test_inside_a_company_is_a_warning_and_to_sell_an_error(tmp_path):
    for use, severity in (("internal", "warning"), ("commercial", "error")):
        found = laboratory.compiled(tmp_path, licensed("CC-BY-NC-4.0", use)).diagnostics
        assert [(item.code, item.severity) for item in found] == [("KC4511", severity)]


@pytest.mark.parametrize(
    "license", ["MIT", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0 OR MIT", "MIT OR CC-BY-NC-4.0 AND ISC"]
)
def test_a_commercial_student_may_learn_from_what_allows_it(tmp_path, license):
    assert "KC4511" not in laboratory.codes(tmp_path, licensed(license, "commercial"))


@pytest.mark.parametrize("license", ["MIT AND CC-BY-NC-4.0", "CC-BY-NC-4.0 OR CC-BY-NC-SA-4.0"])
def test_one_forbidding_part_is_enough_when_it_cannot_be_avoided(tmp_path, license):
    assert "KC4511" in laboratory.codes(tmp_path, licensed(license, "commercial"))


def test_the_teachers_licence_flows_to_the_student_too(tmp_path):
    assert laboratory.codes(tmp_path, licensed("MIT", "commercial", teacher="CC-BY-NC-4.0")) == ["KC4511"]
    assert laboratory.codes(tmp_path, licensed("MIT", "commercial", teacher="Apache-2.0")) == []
    assert laboratory.codes(tmp_path, licensed("MIT", teacher="todo")) == ["KC4502"]


def test_alternatives_decide_whether_share_alike_binds(tmp_path):
    assert laboratory.codes(tmp_path, licensed("CC-BY-SA-4.0")) == ["KC4512"]
    assert laboratory.codes(tmp_path, licensed("ODbL-1.0 AND MIT")) == ["KC4512"]
    assert laboratory.codes(tmp_path, licensed("CC-BY-SA-4.0 OR MIT")) == []


def test_rows_that_only_judge_do_not_bind_the_student(tmp_path):
    def change(split, license):
        def make(data):
            data["data"]["sources"].append(
                {**data["data"]["sources"][0], "name": "more", "license": license, "split": split}
            )
            data["metadata"]["use"] = "research"
            data["data"]["sources"][0] |= {"split": "train", "license": "CC-BY-SA-4.0"}

        return make

    assert laboratory.codes(tmp_path, change("test", "CC-BY-NC-SA-4.0")) == ["KC4512"]
    assert laboratory.codes(tmp_path, change("auto", "CC-BY-NC-SA-4.0")) == ["KC4514"]


def test_no_derivatives_warns_unless_there_is_another_way(tmp_path):
    assert laboratory.codes(tmp_path, licensed("CC-BY-NC-ND-4.0", "research")) == ["KC4515"]
    assert laboratory.codes(tmp_path, licensed("CC-BY-ND-4.0 OR MIT")) == []


def test_only_licences_that_forbid_each_other_exclude_each_other(tmp_path):
    assert laboratory.codes(tmp_path, licensed("CC-BY-SA-4.0", "research", more="CC-BY-NC-SA-4.0")) == ["KC4514"]
    assert laboratory.codes(tmp_path, licensed("CC-BY-NC-SA-3.0", "research", more="cc-by-sa-4.0")) == ["KC4514"]
    assert laboratory.codes(tmp_path, licensed("CC-BY-SA-3.0", more="CC-BY-SA-4.0")) == ["KC4512"]
    assert laboratory.codes(tmp_path, licensed("CC-BY-SA-4.0", more="CC-BY-NC-SA-4.0 OR MIT")) == ["KC4512"]


@pytest.mark.parametrize(
    ("license", "near"),
    [("Apache2", "Apache-2.0"), ("CC-BY-4", "CC-BY-4.0"), ("GPL-3.0", "GPL-3.0-only"), ("GPL-3.0", "GPL-3.0-or-later")],
)
def test_an_unknown_id_gets_a_suggestion(tmp_path, license, near):
    (found,) = laboratory.compiled(tmp_path, licensed(license)).diagnostics
    assert (found.code, found.severity) == ("KC4513", "warning")
    assert f"`{near}`" in found.help


def test_an_id_like_no_other_is_looked_up_elsewhere(tmp_path):
    (found,) = laboratory.compiled(tmp_path, licensed("Qwen-Research-Agreement")).diagnostics
    assert "spdx.org/licenses" in found.help
    assert "`LicenseRef-Qwen-Research-Agreement`" in found.help


def test_ids_ignore_case_and_keep_their_plus():
    assert spdx.canonical("mit") == "MIT"
    assert spdx.canonical("apache-2.0+") == "Apache-2.0+"
    assert spdx.canonical("LicenseRef-x") == "LicenseRef-x"
    assert spdx.canonical("nothing-1.0") is None

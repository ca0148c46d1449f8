"""Fragments, profiles and sweeps: what a spec stands for, and where each of its values is written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import yaml
from hypothesis import given

from kcompiler import plan
from kcompiler.compose import Composed, compose
from kcompiler.front import Front, compile_spec
from kcompiler.project import Project
from kcompiler.source import load
from tests.unit.kcompiler.compiling import content

SMOKE = {"training.stages.kd.steps": 25, "execution.seed": 7}


def composed(text: str, profile: str = "", folder: Path = Path()) -> Composed:
    tree, found = load("spec.yaml", text.encode())
    assert tree is not None
    assert found == []
    return compose(tree, folder, folder, profile)


def codes(found: Composed) -> list[str]:
    return [item.code for item in found.diagnostics]


def pinned(folder: Path, name: str, data: Any) -> dict[str, str]:
    """A fragment in a folder and the entry that includes it."""
    text = yaml.safe_dump(data)
    (folder / name).write_text(text, encoding="utf-8")
    return {"path": name, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def compiled(folder: Path, data: dict[str, Any], profile: str = "") -> Front:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return compile_spec(folder / "spec.yaml", folder, profile=profile)


def locked(folder: Path, data: dict[str, Any], profile: str = "") -> dict[str, Any]:
    front = compiled(folder, data, profile)
    assert front.spec is not None, front.diagnostics
    made, found = plan.make(front, Project(folder))
    assert made is not None, found
    return made


def bare(made: dict[str, Any]) -> dict[str, Any]:
    """A plan without what it was called and composed of."""
    return {key: value for key, value in made.items() if key not in ("asked", "sources")}


class TestPlainSpecs:
    def test_a_spec_that_is_not_composed_is_its_own_tree(self):
        found = composed("a: 1\n")
        assert [form.tree for form in found.forms] == [found.base]
        assert found.forms[0].labels == ()

    def test_ill_typed_sections_are_left_to_the_schema(self):
        found = composed("include: 3\nprofiles: [a]\nmatrix: text\n")
        assert codes(found) == []
        assert len(found.forms) == 1


class TestFragments:
    def test_a_spec_in_fragments_is_the_spec_in_one_file(self, tmp_path):
        whole, parts = content(), content()
        shared = {"shapes": parts.pop("shapes"), "hardware": parts.pop("hardware")}
        (tmp_path / "b").mkdir()
        parts["include"] = [pinned(tmp_path / "b", "shared.yaml", shared)]
        one, other = locked(tmp_path / "a", whole), locked(tmp_path / "b", parts)
        assert bare(one) == bare(other)
        assert one["sources"][0]["meaning"] == other["sources"][0]["meaning"]
        assert other["sources"][1] == {"path": "shared.yaml", "meaning": f"sha256:{parts['include'][0]['sha256']}"}

    def test_the_specs_own_word_wins_and_mappings_are_joined(self, tmp_path):
        entry = pinned(tmp_path, "f.yaml", {"hardware": {"profile": "m2", "concurrency": 2}})
        found = composed(yaml.safe_dump({"hardware": {"profile": "m1"}, "include": [entry]}), folder=tmp_path)
        assert found.base.data["hardware"] == {"profile": "m1", "concurrency": 2}

    def test_two_fragments_that_agree_are_no_conflict(self, tmp_path):
        entries = [pinned(tmp_path, f"{name}.yaml", {"x": {"a": 1, name: 2}}) for name in "pq"]
        found = composed(yaml.safe_dump({"include": entries}), folder=tmp_path)
        assert codes(found) == []
        assert found.base.data["x"] == {"a": 1, "p": 2, "q": 2}

    @pytest.mark.parametrize("other", [2, [1], {"b": 1}, None, "1", True, 1.0])
    def test_two_fragments_that_disagree_are_refused_unless_the_spec_decides(self, tmp_path, other):
        entries = [pinned(tmp_path, "p.yaml", {"x": {"a": 1}}), pinned(tmp_path, "q.yaml", {"x": {"a": other}})]
        assert codes(composed(yaml.safe_dump({"include": entries}), folder=tmp_path)) == ["KC2116"]
        decided = composed(yaml.safe_dump({"include": entries, "x": {"a": 5}}), folder=tmp_path)
        assert codes(decided) == []
        assert decided.base.data["x"] == {"a": 5}

    def test_a_mistake_in_a_fragment_is_shown_in_the_fragment(self, tmp_path):
        data = content()
        data["include"] = [pinned(tmp_path, "more.yaml", {"execution": {"seed": -1}})]
        front = compiled(tmp_path, data)
        wrong = [item for item in front.diagnostics if item.code == "KC2105"]
        assert [(item.file, item.line) for item in wrong] == [("more.yaml", 2)]
        assert b"seed: -1" in front.sources["more.yaml"]

    def test_one_changed_byte_of_a_fragment_refuses_the_spec(self, tmp_path):
        data = content()
        data["include"] = [pinned(tmp_path, "more.yaml", {"execution": {"seed": 3}})]
        with (tmp_path / "more.yaml").open("a") as file:
            file.write("\n")
        assert [item.code for item in compiled(tmp_path, data).diagnostics] == ["KC2115"]

    @pytest.mark.parametrize(
        "path", ["/etc/hostname", "~/x.yaml", "C:/x.yaml", "a\\b.yaml", "../x.yaml", "none.yaml", "."]
    )
    def test_what_is_no_file_of_the_project_is_not_read(self, tmp_path, path):
        home = tmp_path / "project"
        home.mkdir()
        (tmp_path / "x.yaml").write_text("execution: {seed: 3}\n")
        text = yaml.safe_dump({"include": [{"path": path, "sha256": "ab" * 32}]})
        found = composed(text, folder=home)
        assert codes(found) == ["KC2112"]
        assert found.base is None

    def test_a_link_out_of_the_project_is_not_followed(self, tmp_path):
        home = tmp_path / "project"
        home.mkdir()
        entry = pinned(tmp_path, "x.yaml", {"a": 1})
        (home / "x.yaml").symlink_to(tmp_path / "x.yaml")
        assert codes(composed(yaml.safe_dump({"include": [entry]}), folder=home)) == ["KC2112"]

    @pytest.mark.parametrize("key", ["apiVersion", "kind", "include", "profiles", "matrix"])
    def test_a_fragment_says_nothing_that_only_a_spec_says(self, tmp_path, key):
        entry = pinned(tmp_path, "x.yaml", {key: {}})
        assert codes(composed(yaml.safe_dump({"include": [entry]}), folder=tmp_path)) == ["KC2117"]

    def test_a_fragment_is_read_as_strictly_as_a_spec(self, tmp_path):
        (tmp_path / "x.yaml").write_text("a: 1\na: 2\n")
        entry = {"path": "x.yaml", "sha256": hashlib.sha256((tmp_path / "x.yaml").read_bytes()).hexdigest()}
        found = composed(yaml.safe_dump({"include": [entry]}), folder=tmp_path)
        assert [(item.code, item.file) for item in found.diagnostics] == [("KC1011", "x.yaml")]


class TestProfiles:
    def test_a_profile_is_the_spec_with_these_values_written_in_it(self, tmp_path):
        written = content()
        written["training"]["stages"][0]["steps"] = 25
        written["execution"] = {"seed": 7}
        one = locked(tmp_path / "a", written)
        other = locked(tmp_path / "b", {**content(), "profiles": {"smoke": SMOKE}}, "smoke")
        assert bare(one) == bare(other)
        assert one["sources"] == other["sources"]
        assert other["asked"] == {**one["asked"], "name": f"{one['asked']['name']}@smoke", "profile": "smoke"}

    def test_a_profile_that_is_not_asked_for_changes_no_lock(self, tmp_path):
        assert locked(tmp_path / "a", content()) == locked(tmp_path / "b", {**content(), "profiles": {"smoke": SMOKE}})

    def test_a_value_of_a_profile_keeps_its_place(self):
        found = composed("a: {b: 1}\nprofiles:\n  p:\n    a.b: [x]\n", "p")
        assert found.base.data["a"] == {"b": ["x"]}
        assert (found.base.place("/a/b/0").line, found.base.place("/a/b", "key").line) == (4, 4)

    @pytest.mark.parametrize("item", ["second", "1"])
    @pytest.mark.parametrize("key", ["name", "id", "term", "use"])
    def test_an_item_of_a_list_is_called_by_its_name_or_number(self, key, item):
        text = f"a: [{{{key}: first, x: 1}}, {{{key}: second, x: 1}}]\nprofiles: {{p: {{a.{item}.x: 2}}}}\n"
        assert [one["x"] for one in composed(text, "p").base.data["a"]] == [1, 2]

    @pytest.mark.parametrize("path", ["a.third.x", "a.2.x", "a.-1", "b.x", "b.x.y"])
    def test_a_path_into_nothing_is_refused(self, path):
        found = composed(f"a: [{{name: first}}, {{name: second}}]\nb: text\nprofiles: {{p: {{{path}: 2}}}}\n", "p")
        assert codes(found) == ["KC2113"]

    @pytest.mark.parametrize("paths", [("a.b", "a"), ("a", "a.b"), ("d.0.x", "d.one.x"), ("d.one.x", "d.0")])
    def test_paths_that_lead_into_each_other_are_refused_in_any_order(self, paths):
        data = {"a": {"b": 1}, "d": [{"name": "one", "x": 1}], "profiles": {"p": dict.fromkeys(paths, 2)}}
        assert "KC2122" in codes(composed(yaml.safe_dump(data, sort_keys=False), "p"))

    @pytest.mark.parametrize("paths", [("d.one.name", "d.one.x"), ("d.one.x", "d.one.name")])
    def test_paths_lead_through_the_spec_as_it_was(self, paths):
        data = {"d": [{"name": "one", "x": 1}], "profiles": {"p": dict.fromkeys(paths, "new")}}
        found = composed(yaml.safe_dump(data, sort_keys=False), "p")
        assert codes(found) == []
        assert found.base.data["d"] == [{"name": "new", "x": "new"}]
        lost = {**data, "profiles": {"p": {"d.one.name": "new", "d.new.x": 2}}}
        assert codes(composed(yaml.safe_dump(lost, sort_keys=False), "p")) == ["KC2113"]

    def test_a_section_that_was_left_out_is_made(self):
        assert composed("profiles: {p: {a.b.c: 2}}\n", "p").base.data["a"] == {"b": {"c": 2}}

    @pytest.mark.parametrize("path", ["apiVersion", "kind", "metadata", "metadata.name", "include", "profiles.p"])
    def test_what_a_spec_is_cannot_be_changed(self, path):
        assert codes(composed(f"metadata: {{name: x}}\nprofiles: {{p: {{{path}: 2}}}}\n", "p")) == ["KC2114"]

    def test_null_takes_a_key_away(self, tmp_path):
        """And the spec is the one that never had it; a base without it may get it back."""
        written = content()
        stage = written["training"]["stages"][0]
        written["data"] = {**written["data"], "validation": 0.1}
        stage["validation"] = {"every": 5, "metric": "total", "patience": 2}
        name = stage["name"]
        without = {"data.validation": None, f"training.stages.{name}.validation": None}
        taken = locked(tmp_path / "a", {**written, "profiles": {"p": without}}, "p")
        assert bare(taken) == bare(locked(tmp_path / "b", content()))
        fewer = {f"training.stages.{name}.validation.patience": None}
        taken = locked(tmp_path / "c", {**written, "profiles": {"p": fewer}}, "p")
        del stage["validation"]["patience"]
        assert bare(taken) == bare(locked(tmp_path / "d", written))

    @pytest.mark.parametrize("path", ["a.c", "a.c.d", "e", "d.one", "d.0"])
    def test_what_is_not_there_is_not_taken_away_nor_is_an_item(self, path):
        found = composed(f"a: {{b: 1}}\nd: [{{name: one}}]\nprofiles: {{p: {{{path}: null}}}}\n", "p")
        assert codes(found) == ["KC2113"]
        assert found.base.data["a"] == {"b": 1}
        assert found.base.data["d"] == [{"name": "one"}]

    def test_a_key_that_is_taken_away_leaves_no_place(self):
        found = composed("a: {b: {c: 1}, x~/y: 2}\nprofiles: {p: {a.b: null, a.x~/y: null}}\n", "p")
        assert found.base.data["a"] == {}
        assert [one for one in found.base.values if one.startswith("/a/")] == []

    def test_a_cell_may_be_without_a_key(self):
        text = "a: {b: 1}\nmatrix: {way: {with: {a.b: 2}, without: {a.b: null}}}\n"
        assert [form.tree.data["a"] for form in composed(text).forms] == [{"b": 2}, {}]

    def test_a_profile_may_take_a_sweep_away(self):
        text = "matrix: {execution.seed: [1, 2]}\nprofiles: {p: {matrix: {}}}\n"
        assert len(composed(text).forms) == 2
        assert len(composed(text, "p").forms) == 1

    @given(st.dictionaries(st.sampled_from(["a.b", "a.c", "d.one.x", "e"]), st.integers(-9, 9), min_size=1))
    def test_an_overlay_changes_what_it_names_and_nothing_else(self, overlay):
        data = {"a": {"b": None, "c": None}, "d": [{"name": "one", "x": None}, {"name": "two", "x": None}], "e": None}
        data = {**data, "profiles": {"p": overlay}}
        made = composed(yaml.safe_dump(data), "p").base.data
        expected = {
            "a": {"b": overlay.get("a.b"), "c": overlay.get("a.c")},
            "d": [{"name": "one", "x": overlay.get("d.one.x")}, {"name": "two", "x": None}],
            "e": overlay.get("e"),
            "profiles": {"p": overlay},
        }
        assert made == expected


class TestSweeps:
    def test_every_combination_is_a_form(self):
        text = "a: {b: 0, c: 0}\nmatrix:\n  a.b: [1, 2]\n  kind-of: {x: {a.c: 3}, y: {a.c: 4}}\n"
        found = composed(text)
        assert [form.labels for form in found.forms] == [
            (("b", b), ("kind-of", k)) for b in ("1", "2") for k in ("x", "y")
        ]
        assert [form.tree.data["a"] for form in found.forms] == [{"b": b, "c": c} for b in (1, 2) for c in (3, 4)]
        assert found.varied == {"a"}

    def test_the_order_in_which_a_sweep_is_written_decides_nothing(self, tmp_path):
        one = {**content(), "matrix": {"execution.seed": [10, 9], "training.stages.kd.steps": [50, 40]}}
        other = {**content(), "matrix": {"training.stages.kd.steps": [40, 50], "execution.seed": [9, 10]}}
        first, second = locked(tmp_path / "a", one), locked(tmp_path / "b", other)
        assert bare(first) == bare(second)
        ids = [step["id"] for step in first["steps"] if step["kind"] == "data@1"]
        assert ids == ["data@seed=9", "data@seed=10"]

    @pytest.mark.parametrize(
        ("matrix", "count"),
        [
            ("{a.b: [1, 2], z: {x: {a.b: 3}, y: {a.c: 4}}}", 1),
            ("{a.b: [1, 2], a: [3]}", 1),
            ("{l.one.x: [1, 2], m: {x: {l.0.x: 3}}}", 1),
            ("{l.one.x: [1, 2], m: {x: {l.two.x: 3}}}", 0),
            ("{a.b: [1, 2], a.bc: [3]}", 0),
            ("{z: {x: {a.b: 3}, y: {a: {b: 4}}}}", 0),
            ("{z: {x: {a.b: 3, a: {b: 4}}}}", 1),
        ],
    )
    def test_each_place_is_changed_by_one_dimension(self, matrix, count):
        text = f"a: {{b: 0, c: 0}}\nl: [{{name: one, x: 0}}, {{name: two, x: 0}}]\nmatrix: {matrix}\n"
        assert codes(composed(text)) == ["KC2122"] * count

    def test_every_cell_is_checked_where_its_meaning_differs(self, tmp_path):
        """The tokenizer's width is a part of the student, and a decision is about any field."""
        wide = {**content(), "matrix": {"tokenizer.vocab_size": [512, 100_000]}}
        assert "KC4004" in {item.code for item in compiled(tmp_path / "a", wide).diagnostics}
        decided = {"about": "seed of the run", "value": 1337, "field": "execution.seed", "reason": "as everywhere else"}
        swept = {**content(), "decisions": [decided], "matrix": {"execution.seed": [1337, 2000]}}
        assert "KC4903" in {item.code for item in compiled(tmp_path / "b", swept).diagnostics}

    def test_numbers_in_labels_are_sorted_by_size(self):
        found = composed("matrix: {a: [128, 64, 1e-3, b2, b10]}\n")
        assert [form.labels[0][1] for form in found.forms] == ["0.001", "64", "128", "b2", "b10"]

    def test_256_cells_are_possible_and_257_are_not(self):
        assert len(composed(f"matrix: {{a: {list(range(256))}}}\n").forms) == 256
        assert codes(composed(f"matrix: {{a: {list(range(257))}}}\n")) == ["KC2120"]

    @pytest.mark.parametrize(
        "path",
        [
            "risk_tier",
            "policies",
            "budgets.usd",
            "budgets",
            "execution.executor",
            "execution",
            "matrix",
            "metadata.use",
        ],
    )
    def test_what_belongs_to_the_whole_run_is_not_swept(self, path):
        assert set(codes(composed(f"execution: {{seed: 1}}\nmatrix: {{{path}: [1, 2]}}\n"))) == {"KC2114"}

    @pytest.mark.parametrize("value", ["a b", "", "-x", "x" * 33, "ä", "a,b", "a=b", "a@b", "a#b"])
    def test_a_value_that_cannot_stand_in_an_id_needs_a_label(self, value):
        assert codes(composed(yaml.safe_dump({"matrix": {"a": [value]}}))) == ["KC2118"]
        labelled = composed(yaml.safe_dump({"matrix": {"a": {"one": {"a": value}}}}))
        assert [form.tree.data["a"] for form in labelled.forms] == [value]

    def test_a_mistake_of_some_cells_says_which(self, tmp_path):
        front = compiled(tmp_path, {**content(), "matrix": {"training.stages.kd.steps": [40, 10, 0]}})
        notes = {item.code: item.notes[-1] for item in front.diagnostics}
        assert notes["KC2105"] == "in 1 of 3 cells of the sweep, first in steps=0"
        assert notes["KC4606"] == "in 1 of 3 cells of the sweep, first in steps=10"
        assert front.spec is None

    def test_a_mistake_of_every_cell_is_said_once(self, tmp_path):
        data = content()
        data["hardware"]["profile"] = "m9"
        front = compiled(tmp_path, {**data, "matrix": {"execution.seed": [1, 2, 3]}})
        assert [item.code for item in front.diagnostics] == ["KC4701"]
        assert not front.diagnostics[0].notes


class TestProfilesOfSweeps:
    """What a profile says and every cell of the sweep says otherwise would be seen by nobody."""

    SWEPT = "a: {b: 1, c: 1}\nmatrix: {a.b: [2, 3]}\nprofiles: {p: %s}\n"

    @pytest.mark.parametrize("profile", ["{a.b: 5}", "{a.b: 5, a.c: 5}", "{a.b: 5, matrix: {a.b: [7, 8]}}"])
    def test_a_value_that_every_cell_overwrites_is_refused(self, profile):
        assert codes(composed(self.SWEPT % profile, "p")) == ["KC2122"]
        assert codes(composed(self.SWEPT % profile)) == []

    @pytest.mark.parametrize(
        "profile", ["{a.c: 5}", "{a: {b: 1, c: 7}}", "{matrix: {a.b: [7, 8]}}", "{a.b: 5, matrix: {}}"]
    )
    def test_what_the_advice_says_and_what_loses_nothing_is_accepted(self, profile):
        assert codes(composed(self.SWEPT % profile, "p")) == []

    def test_a_profile_that_is_not_there_is_told_of_beside_a_sweep(self):
        assert codes(composed(self.SWEPT % "{a.c: 5}", "q")) == ["KC2119"]

    def test_a_sweep_of_something_around_it_loses_it_as_well(self):
        text = "a: {b: {c: 1}}\nmatrix: {d: {x: {a.b: {c: 2}}, y: {a.b: {c: 3}}}}\nprofiles: {p: {a.b.c: 5}}\n"
        assert codes(composed(text, "p")) == ["KC2122"]

    def test_a_dimension_that_says_nothing_of_it_in_one_cell_leaves_it_there(self):
        text = "a: {b: 1, c: 1}\nmatrix: {d: {x: {a.b: 2}, y: {a.c: 3}}}\nprofiles: {p: {a.b: 5}}\n"
        found = composed(text, "p")
        assert codes(found) == []
        assert [form.tree.data["a"] for form in found.forms] == [{"b": 2, "c": 1}, {"b": 5, "c": 3}]

"""Laws of compiling: nothing raises, the schema and the models agree, and mistakes keep their places."""

import copy
import json
from pathlib import Path

import hypothesis.strategies as st
import jsonschema
import yaml
from hypothesis import given, settings

from kcompiler import schema
from kcompiler.diagnostic import has_errors
from kcompiler.front import compile_spec, sound
from kcompiler.render import human
from kcompiler.render import json as json_form
from kcompiler.source import load
from kcompiler.spec.parse import parse
from tests.longer import LONG

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = jsonschema.Draft202012Validator(schema.published())
SPECS = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "specs").glob("*.yaml"))]

#: what people put where something else belongs
odd = (
    st.none()
    | st.booleans()
    | st.integers(-3, 2**40)
    | st.floats(-1e3, 1e6)
    | st.just([])
    | st.just({})
    | st.sampled_from(
        ["", "x", "kl", "train", "2", "yes", "../x", "/etc/passwd", "a\\b", "a\n", "±", "1_0", "{prompt}"]
    )
    | st.lists(st.integers(-1, 300), max_size=3)
    | st.dictionaries(st.sampled_from(["term", "use", "path", "x"]), st.integers(0, 9), max_size=2)
)


def whole(data):
    """Whether a spec says everything itself: nothing is included, and the student's sizes are not the teacher's."""
    return "include" not in data and data["student"].get("architecture") != "from cut"


def spots(value, path=()):
    """Every place in a tree, as a path."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from spots(item, (*path, key))


@st.composite
def mistaken(draw):
    """A shipped spec with one to three values replaced, removed, renamed or added."""
    data = copy.deepcopy(draw(st.sampled_from(SPECS)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([spot for spot in spots(data) if spot]))
        parent = data
        for key in path[:-1]:
            parent = parent[key]
        action = draw(st.sampled_from(["replace", "replace", "remove", "rename", "add", "again"]))
        if action == "again" and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[path[-1]]))
        elif action == "replace":
            parent[path[-1]] = draw(odd)
        elif action == "remove":
            del parent[path[-1]]
        elif isinstance(parent, dict) and action == "rename":
            parent[f"{path[-1]}s"] = parent.pop(path[-1])
        elif isinstance(parent, dict):
            parent[draw(st.sampled_from(["extra", "vocab_size", "heads", "schedule", "from", "max_length"]))] = draw(
                odd
            )
    return data


@given(mistaken())
@settings(max_examples=250 if LONG else 100, deadline=None)
def test_what_the_schema_accepts_the_models_accept(data):
    """The published schema is the promise: nobody may pass it and fail later for structure."""
    tree, found = load("f.yaml", json.dumps(data, ensure_ascii=False).encode())
    assert found == []
    if schema.validate(tree).diagnostics:
        return
    assert PUBLISHED.is_valid(data), "whatever the schema refuses is said"
    parsed = parse(tree)
    assert [
        item.summary for item in parsed.diagnostics if "\n" not in json.dumps(data) or "pattern" not in item.summary
    ] == []
    assert (parsed.spec is not None) == (parsed.diagnostics == [])


@given(mistaken())
@settings(max_examples=500 if LONG else 200, deadline=None)
def test_what_the_models_show_to_be_sound_the_schema_accepts(data):
    """A spec in which the models find nothing is not held against the schema: that would find nothing either."""
    tree, _ = load("f.yaml", json.dumps(data, ensure_ascii=False).encode())
    if sound(tree, parse(tree)):
        assert [item.summary for item in schema.validate(tree).diagnostics] == []
        assert PUBLISHED.is_valid(data)


def test_shipped_specs_are_sound_by_the_models_alone():
    """Else the law above says nothing about what people write."""
    for data in SPECS:
        tree, _ = load("f.yaml", json.dumps(data, ensure_ascii=False).encode())
        assert sound(tree, parse(tree)) == whole(data)


@given(mistaken())
@settings(max_examples=150 if LONG else 60, deadline=None)
def test_no_spec_makes_it_raise_and_every_mistake_has_a_place(tmp_path_factory, data):
    home = tmp_path_factory.getbasetemp() / "mistaken"
    home.mkdir(exist_ok=True)
    spec = home / "spec.yaml"
    spec.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")
    front = compile_spec(spec, home, packs=[ROOT / "policies"])
    assert (front.spec is None) == has_errors(front.diagnostics)
    for item in front.diagnostics:
        assert item.file == "spec.yaml"
        assert item.line >= 1
        assert item.help
    human.diagnostics(front.diagnostics, {"spec.yaml": front.source})
    lines = json_form.diagnostics(front.diagnostics).splitlines()
    assert [json.loads(line)["code"] for line in lines] == [item.code for item in front.diagnostics]


@given(st.sampled_from([data for data in SPECS if whole(data)]), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_the_order_of_keys_means_nothing(data, random):
    def shuffled(value):
        if isinstance(value, dict):
            names = list(value)
            random.shuffle(names)
            return {name: shuffled(value[name]) for name in names}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    trees = [load("f.yaml", json.dumps(one, ensure_ascii=False).encode())[0] for one in (data, shuffled(data))]
    first, second = (parse(tree).spec for tree in trees)
    assert first is not None
    assert first == second

"""Drawings: the same picture gives the same text, folded or not, and names are never markup."""

import random
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from kcompiler.graph import critical_path, neighbourhood
from kcompiler.render import drawing
from kcompiler.render.fold import fold, label, pattern
from kcompiler.render.picture import picture

NASTY = '<script>alert("1")</script>&\x1b[2J\u202e]; }'


def chain(*names, **more):
    steps = []
    for i, name in enumerate(names):
        takes = {"in": f"step:{names[i - 1]}#out"} if i else {"in": "input:rows"}
        steps.append({"id": name, "kind": "copy@1", "backend": "python", "takes": takes, "after": [], **more})
    return steps


@pytest.mark.parametrize("form", drawing.FORMS)
def test_a_name_is_never_markup(form):
    text = drawing.draw(picture(chain("a", NASTY, "b")), form)
    assert "<script" not in text or form in ("dot", "text", "json")
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_svg_is_xml_without_anything_from_outside():
    root = ElementTree.fromstring(drawing.draw(picture(chain("a", NASTY, "b")), "svg"))
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags == {"svg", "title", "style", "path", "rect", "text"}
    assert not any("href" in name for element in root.iter() for name in element.attrib)
    assert len(root.findall("{*}rect")) == 4


def test_boxes_of_an_svg_do_not_overlap():
    steps = chain("a", "b", "c")
    steps += [{**steps[1], "id": f"x{i}y", "kind": f"k{i}@1", "takes": {"in": "step:a#out"}} for i in range(5)]
    root = ElementTree.fromstring(drawing.draw(picture(steps, full=True), "svg"))
    places = [tuple(float(box.get(key)) for key in ("x", "y", "width", "height")) for box in root.findall("{*}rect")]
    for i, (x, y, width, height) in enumerate(places):
        for u, v, w, h in places[:i]:
            assert x + width <= u or u + w <= x or y + height <= v or v + h <= y


def test_a_sweep_is_one_box_and_a_chain_is_not():
    """Steps that wait for each other differ by numbers, too: folding them would make a ring."""
    sweep = [{**chain("a")[0], "id": f"run-{i}"} for i in range(9)]
    assert [box.name for box in picture(sweep).boxes if box.level] == ["run-0", "run-* ×8"]
    assert len(picture(chain("s1", "s2", "s3")).boxes) == 4


def test_the_critical_path_is_the_longest_of_all_ways():
    generator = random.Random(3)
    for _ in range(30):
        names = [str(i) for i in range(8)]
        waits = {name: [up for up in names[:i] if generator.random() < 0.4] for i, name in enumerate(names)}
        weights = {name: float(generator.randint(1, 9)) for name in names}

        def longest(name, waits=waits, weights=weights):
            return weights[name] + max((longest(up) for up in waits[name]), default=0.0)

        path = critical_path(waits, weights)
        assert sum(weights[name] for name in path) == max(map(longest, names))
        assert all(a in waits[b] for a, b in pairwise(path))


def test_a_neighbourhood_reaches_as_far_as_asked():
    waits = {"a": [], "b": ["a"], "c": ["b"], "d": ["c"], "e": ["a"]}
    assert neighbourhood(waits, "c", 0) == {"c"}
    assert neighbourhood(waits, "c", 1) == {"b", "c", "d"}
    assert neighbourhood(waits, "c", 2) == {"a", "b", "c", "d"}
    with pytest.raises(KeyError):
        neighbourhood(waits, "x", 1)


def test_names_that_differ_only_by_numbers_are_alike():
    assert pattern("evaluate-64-seed7") == pattern("evaluate-128-seed12")
    assert pattern("train-kd") != pattern("train-qat")
    assert [label(group) for group in fold(["a1", "b", "a2"], pattern)] == ["a* ×2", "b"]

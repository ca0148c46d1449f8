"""Families of checks: found by file name, honest about what they read."""

import functools
from pathlib import Path

import pytest

from kcompiler import checks
from kcompiler.checks import Check, World
from kcompiler.source import Tree, load
from kcompiler.spec import Spec
from kcompiler.spec.parse import Parsed, parse
from tests.longer import LONG

CASES = sorted((Path(__file__).resolve().parents[3] / "golden/validate").glob("*/spec.yaml"))
FAMILIES = checks.families()


def test_families_are_found_by_file_name():
    assert {"dims", "objectives", "references", "shapes", "signals", "splits", "tokens"} <= set(FAMILIES)
    assert not [name for name in FAMILIES if name.startswith("_")]
    assert all(checks.checks_of(name) for name in FAMILIES)


@functools.cache
def cases() -> list[tuple[Path, Tree, Parsed]]:
    """Every case that is a spec at all: its folder, its text, what its sections are; all families are asked of them."""
    found = [(path.parent, load("spec.yaml", path.read_bytes())[0]) for path in CASES]
    return [(folder, tree, parse(tree)) for folder, tree in found if tree is not None and isinstance(tree.data, dict)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_check_reads_only_the_sections_it_names(family):
    """Otherwise a mistake in another section would make it raise, or hide what it has to say."""
    asked = 0
    for folder, tree, parsed in cases()[:: 1 if LONG else 4]:
        for check in checks.checks_of(family):
            if check.needs <= parsed.sections:
                named = {name: getattr(parsed.partial, name) for name in check.needs}
                # what is given has no default to be made; then it is taken away
                alone = Spec.model_construct(_fields_set=set(named), **{**dict.fromkeys(Spec.model_fields), **named})
                for name in set(Spec.model_fields) - check.needs:
                    del alone.__dict__[name]
                list(check.ask(alone, tree, World(folder, folder)))
                asked += 1
    assert asked > len(CASES) // (3 if LONG else 12)


def test_a_check_needs_sections_that_exist():
    with pytest.raises(ValueError, match="no such sections"):
        Check(lambda *_: [], "studnet")
    with pytest.raises(ValueError, match="no such sections"):
        Check(lambda *_: [])


def test_a_check_is_not_asked_without_its_sections():
    tree, _ = load("spec.yaml", (CASES[0].parents[1] / "KC4101-prefill-lengths-must-ascend/spec.yaml").read_bytes())
    parsed = parse(tree)
    world = World(Path("/nowhere"), Path("/nowhere"))
    assert "KC4101" in {item.code for item in checks.run(parsed.spec, tree, world)}
    assert "KC4101" not in {item.code for item in checks.run(parsed.spec, tree, world, parsed.sections - {"shapes"})}

"""One file, one thing, found by its file name: true of every plug-in room."""

import ast
from pathlib import Path

import pytest

from runtime import catalog
from runtime.contract import ENTRY_POINT_GROUPS, KINDS, METHODS

ROOT = Path(__file__).resolve().parents[2]
EVERY = [(room, name) for room in ENTRY_POINT_GROUPS for name in catalog.names(room)]


@pytest.mark.parametrize(("room", "name"), EVERY, ids=lambda value: str(value))
def test_each_file_exports_the_one_constant_of_its_room_under_its_own_name(room, name):
    plugin = catalog.load(room, name)
    assert plugin.name == name
    assert plugin.version >= 1


@pytest.mark.parametrize(
    "path", sorted((ROOT / "runtime").glob("*/*.py")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_no_file_exports_two_constants(path):
    names = {
        target.id
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert len(names & set(ENTRY_POINT_GROUPS.values())) <= 1


@pytest.mark.parametrize("name", catalog.names("steps"))
def test_every_port_has_a_known_kind_and_every_report_a_schema(name):
    step = catalog.load("steps", name)
    if callable(step.gives) or callable(step.takes):
        return
    for port in [*step.takes.values(), *step.gives.values()]:
        assert port.kind in KINDS
        if port.kind == "report":
            assert (ROOT / "schemas" / f"report.{port.report}.schema.json").is_file()


@pytest.mark.parametrize("name", [name for name in catalog.names("backends") if name != "null"])
def test_every_operation_of_a_backend_exists_as_a_file(name):
    for operation, target in catalog.load("backends", name).operations.items():
        assert operation in catalog.names("steps")
        module = target.partition(":")[0]
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file()


#: what a suite asks where it can be had, and does without elsewhere
WELCOME = {"integration": {"write", "spell"}}


@pytest.mark.parametrize("name", catalog.names("suites"))
def test_a_suite_says_what_it_asks_of_a_runner(name):
    """Runners are refused by it before anything is asked: every method of one that the suite's file calls."""
    called = {
        node.func.attr
        for node in ast.walk(ast.parse((ROOT / f"runtime/suites/{name}.py").read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS
        if ast.unparse(node.func.value).startswith("runner")
    }
    asks = catalog.load("suites", name).asks
    assert called - WELCOME.get(name, set()) <= asks
    assert asks

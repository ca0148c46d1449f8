"""A step's key covers all of our code that decides its result: what its operation imports, directly or not, is in the
step's declared `code`, or is a plug-in that its params name, or is the machine itself."""

import importlib.util

import grimp
import pytest

from runtime import catalog
from runtime.contract import Step, unkeyed

GRAPH = grimp.build_graph("runtime", include_external_packages=False, exclude_type_checking_imports=True)
#: declarations without an algorithm, and what only carries bytes: their change is a change of the format or of a
#: step's version. Plug-in rooms come in through the params, by `Step.plugs`.
CARRIERS = {
    "runtime",
    "runtime.contract",
    "runtime.contract.units",  # words beside a field
    "runtime.contract.imports",  # asked while planning
    "runtime.catalog",
    "runtime.digest",
    "runtime.machine.durable",
    "runtime.machine.saved",
    "runtime.machine.scarce",  # words of a failure
}
ROOMS = (
    "runtime.losses",
    "runtime.suites",
    "runtime.generators",
    "runtime.teachers",
    "runtime.backends",
    "runtime.executors",
    "runtime.runners",
)


def covered(module: str, code: tuple[str, ...]) -> bool:
    return any(module == one or (module.startswith(f"{one}.") and GRAPH.find_children(one)) for one in code)


@pytest.mark.parametrize("name", catalog.names("steps"))
def test_everything_an_operation_imports_is_in_the_steps_code(name):
    step: Step = catalog.load("steps", name)
    operation = catalog.load("backends", step.backend).operations[name].partition(":")[0]
    needed = {operation, *GRAPH.find_upstream_modules(operation)}
    code = (*step.code, step.run.__module__)
    missing = {
        module
        for module in needed - CARRIERS
        if not module.startswith(ROOMS)
        and not covered(module, code)
        and not GRAPH.find_children(module)  # a package's __init__ is only a docstring in these rooms
    }
    assert missing == set()


def test_an_evaluation_that_asks_a_server_has_what_asks_it_in_its_code_and_no_other_has():
    step: Step = catalog.load("steps", "evaluate")
    asked = {"suite": "judge", "suite_version": 1, "runners": ["student"]}
    hosted = {"hosted": {"model": "m"}, "terms": {"usd": 0.0, "purse": "p"}, "judging": "evaluated"}
    assert step.code_under(step.params.model_validate(asked)) == ()
    code = (*step.code, *step.code_under(step.params.model_validate(asked | hosted)), step.run.__module__)
    for backend in ("http", "torch_http"):
        operation = catalog.load("backends", backend).operations["evaluate"].partition(":")[0]
        needed = {operation, *GRAPH.find_upstream_modules(operation)} - CARRIERS
        assert "runtime.data.chat" in needed
        assert {
            one
            for one in needed
            if not one.startswith(ROOMS) and not covered(one, code) and not GRAPH.find_children(one)
        } == set()
    assert [one for one in code if importlib.util.find_spec(one) is None] == []


@pytest.mark.parametrize("name", catalog.names("steps"))
def test_all_of_a_steps_code_is_there(name):
    assert [one for one in catalog.load("steps", name).code if importlib.util.find_spec(one) is None] == []


@pytest.mark.parametrize("name", catalog.names("runners"))
def test_everything_that_opens_a_runner_imports_is_in_the_code_of_step_ask(name):
    opener = catalog.load("runners", name).opens.partition(":")[0]
    code = catalog.load("steps", "ask").code
    needed = {opener, *GRAPH.find_upstream_modules(opener)} - CARRIERS
    assert opener in needed
    assert {
        one for one in needed if not one.startswith(ROOMS) and not covered(one, code) and not GRAPH.find_children(one)
    } <= {"runtime.steps.ask"}


def test_what_is_in_no_key_decides_how_fast_how_dear_or_how_safely_and_nothing_else():
    found = {name: unkeyed(catalog.load("steps", name).params) for name in catalog.names("steps")}
    assert {name: names for name, names in found.items() if names} == {
        "bootstrap": ["checkpoint_every"],
        "ask": ["pace", "purse", "teacher_calls", "teacher_tokens", "usd"],
        "evaluate": ["terms"],
        "harvest": [
            "api_key",
            "attempts",
            "concurrency",
            "purse",
            "requests_per_minute",
            "teacher_calls",
            "teacher_tokens",
            "timeout_s",
            "usd",
            "usd_per_million_input",
            "usd_per_million_output",
        ],
        "train": ["checkpoint_every"],
    }


@pytest.mark.parametrize("room", ["models", "data", "train", "tools", "mil", "coreml"])
def test_a_rooms_init_decides_nothing(room):
    from pathlib import Path

    text = (Path(catalog.__file__).parent / room / "__init__.py").read_text().strip()
    assert text.startswith('"""')
    assert text.endswith('"""')


@pytest.mark.parametrize("name", catalog.names("losses"))
def test_everything_a_loss_imports_is_in_the_code_of_the_steps_that_train(name):
    needed = GRAPH.find_upstream_modules(f"runtime.losses.{name}") - CARRIERS
    assert needed
    for step in ("train", "bootstrap"):
        missing = {one for one in needed if not covered(one, catalog.load("steps", step).code)}
        assert missing == set(), step


@pytest.mark.parametrize(("room", "name"), [("suites", "ask"), ("suites", "evaluate"), ("generators", "data")])
def test_what_a_plugin_imports_is_in_the_code_of_the_step_that_uses_it(room, name):
    """A step's key has the file of a plug-in it uses; what that file imports stands in the step's own code."""
    step: Step = catalog.load("steps", name)
    needed = {one for plugin in catalog.names(room) for one in GRAPH.find_upstream_modules(f"runtime.{room}.{plugin}")}
    code = (*step.code, step.run.__module__)
    assert {
        one
        for one in needed - CARRIERS
        if not one.startswith(ROOMS) and not covered(one, code) and not GRAPH.find_children(one)
    } == set()

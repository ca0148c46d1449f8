from __future__ import annotations

import copy
import pickle
from typing import Annotated

import pytest
from pydantic import Field

from runtime.contract import UNKEYED, Params
from runtime.machine.ledger import Ledger, record


class Inner(Params):
    name: str
    weight: float = 1.0
    more: dict[str, int] = Field(default_factory=dict)


class Outer(Params):
    steps: int = 5
    inner: Inner
    several: list[Inner] = Field(default_factory=list)
    named: dict[str, Inner] = Field(default_factory=dict)
    maybe: Inner | None = None


def outer() -> Outer:
    return Outer(inner=Inner(name="a"), several=[Inner(name="b", weight=2.0), Inner(name="c", more={"x": 1})])


def test_nothing_read_names_every_field_of_the_steps_own_model() -> None:
    ledger = Ledger()
    record(outer(), ledger)
    assert ledger.unread() == ["inner", "maybe", "named", "several", "steps"]


def test_inner_fields_count_when_they_differ_from_their_default() -> None:
    ledger = Ledger()
    params = record(outer(), ledger)
    _ = params.steps, params.inner.name, params.named, params.maybe
    assert ledger.unread() == ["several"]
    assert [one.name for one in params.several] == ["b", "c"]
    assert ledger.unread() == ["several.0.weight", "several.1.more"]
    assert params.several[1].more == {"x": 1}
    assert ledger.unread() == ["several.0.weight"]
    assert params.several[0].weight == 2.0
    assert ledger.unread() == []


@pytest.mark.parametrize(
    "use",
    [
        lambda params: params.model_dump(),
        lambda params: params.model_dump_json(),
        lambda params: dict(params),
        lambda params: copy.deepcopy(params),
        lambda params: pickle.dumps(params),
        lambda params: params == outer(),
        lambda params: repr(params),
        lambda params: vars(params),
    ],
)
def test_what_hands_out_the_whole_reads_the_whole(use: object) -> None:
    ledger = Ledger()
    assert callable(use)
    use(record(outer(), ledger))
    assert ledger.unread() == []


def test_reading_an_inner_model_whole_reads_nothing_beside_it() -> None:
    ledger = Ledger()
    params = record(outer(), ledger)
    params.inner.model_dump()
    params.several[0].model_dump()
    assert ledger.unread() == ["maybe", "named", "several.1.more", "several.1.name", "steps"]


def test_a_recording_model_behaves_as_the_plain_one() -> None:
    plain, recorded = outer(), record(outer(), Ledger())
    assert recorded == plain
    assert plain == recorded
    assert recorded != outer().model_copy(update={"steps": 6})
    assert isinstance(recorded, Outer)
    assert isinstance(recorded.several[0], Inner)
    assert recorded.model_dump() == plain.model_dump()
    assert recorded.model_dump_json() == plain.model_dump_json()
    assert pickle.loads(pickle.dumps(recorded)) == plain
    assert repr(recorded) == repr(plain)
    with pytest.raises(ValueError, match="frozen"):
        recorded.steps = 7


def test_what_was_read_before_counts_and_each_first_read_is_told_once() -> None:
    told: list[str] = []
    ledger = Ledger(["steps", "named"], told.append)
    params = record(outer(), ledger)
    _ = params.steps, params.maybe, params.maybe, params.inner.name, params.several
    assert told == ["maybe", "inner", "inner.name", "several"]
    assert ledger.unread() == ["several.0.name", "several.0.weight", "several.1.more", "several.1.name"]


def test_what_is_declared_to_have_no_effect_need_not_be_read() -> None:
    class Paced(Params):
        pace: Annotated[int, UNKEYED] = 1
        steps: int = 5

    ledger = Ledger()
    params = record(Paced(pace=7), ledger)
    assert ledger.unread() == ["steps"]
    assert (params.steps, params.pace) == (5, 7)
    assert ledger.unread() == []


def test_a_copy_tells_the_same_ledger() -> None:
    ledger = Ledger()
    copied = copy.deepcopy(record(outer(), ledger))
    assert ledger.unread() == []
    assert copied == outer()

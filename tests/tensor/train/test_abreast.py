"""Parts of a batch side by side: each row in one part, the largest as small as can be, never where bits would vary."""

from __future__ import annotations

import threading
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from runtime.models import build
from runtime.train import abreast
from runtime.train.abreast import Abreast, lots_for, lots_of
from tests.tensor.train import world


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(2, 5))
def test_every_row_is_in_one_part_with_rows_of_its_length(lengths: list[int], threads: int) -> None:
    lots = lots_of(lengths, threads)
    assert sorted(place for lot in lots for place in lot) == list(range(len(lengths)))
    assert len(lots) <= threads * abreast.MOST_ROUNDS
    in_order = [lengths[place] for lot in lots for place in lot]
    assert in_order == sorted(lengths, reverse=True)


@given(st.lists(st.integers(1, 30), min_size=2, max_size=8), st.integers(2, 4))
def test_the_largest_part_is_as_small_as_can_be(lengths: list[int], groups: int) -> None:
    places = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    found = abreast._even(places, lengths, groups)
    every = [
        [places[begin:end] for begin, end in zip((0, *ends), (*ends, len(places)), strict=True)]
        for count in range(min(groups, len(places)))
        for ends in combinations(range(1, len(places)), count)
    ]
    assert abreast._positions(found, lengths) == min(abreast._positions(cut, lengths) for cut in every)


def test_uneven_rows_are_cut_into_more_parts_than_threads() -> None:
    assert len(lots_of([100] * 32, 2)) == 2
    assert len(lots_of([1000] * 4 + [10] * 28, 2)) > 2


def test_parts_are_added_in_their_order_whoever_is_done_first() -> None:
    """In another order the last bits would differ: 1 is lost in 1e8."""
    weight, first_may_end = nn.Parameter(torch.zeros(1)), threading.Event()

    def one(value: float) -> abreast.Found:
        if value == 1e8:
            assert first_may_end.wait(30)
        else:
            first_may_end.set()
        return torch.tensor([value]), [torch.tensor([value])]

    side = Abreast(3)
    values_K = side.gradient([lambda v=v: one(v) for v in (1e8, 1.0, -1e8)], [weight])
    side.close()
    assert values_K.tolist() == [0.0]
    assert weight.grad is not None
    assert weight.grad.tolist() == [0.0]


def test_a_part_that_fails_fails_the_batch() -> None:
    def wrong() -> abreast.Found:
        raise ZeroDivisionError

    side = Abreast(2)
    with pytest.raises(ZeroDivisionError):
        side.gradient([wrong, lambda: (torch.zeros(1), [None])], [nn.Parameter(torch.zeros(1))])
    side.close()


def test_a_model_that_draws_at_random_is_large_or_not_in_float32_is_not_divided() -> None:
    model = build.build(world.architecture(), 1)
    assert lots_for(model, 2) == 2
    assert lots_for(nn.Sequential(model, nn.Dropout(0.0)), 2) == 2
    assert lots_for(nn.Sequential(model, nn.Dropout(0.1)), 2) == 1
    assert lots_for(nn.Linear(4096, 4096, bias=False), 2) == 2
    assert lots_for(nn.Linear(4096, 4097, bias=False), 2) == 1
    assert lots_for(model.bfloat16(), 2) == 1
    assert lots_for(build.build(world.architecture(), 1).to("meta"), 2) == 1
    attentive = build.build(world.architecture(), 1)
    attentive.base_model.layers[0].self_attn.attention_dropout = 0.1
    assert lots_for(attentive, 2) == 1

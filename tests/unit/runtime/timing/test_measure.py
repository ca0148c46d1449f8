"""The laws of timing, by a clock that says what it is told."""

from collections.abc import Iterator

import pytest

from runtime.timing.measure import times


class World:
    """A clock, and answers that take its time: a prefill of 100 (of the first answers 1000), then 7 a token."""

    def __init__(self, ends_after: int = 10**9) -> None:
        self.now, self.answers, self.ends_after = 0, 0, ends_after

    def clock(self) -> int:
        return self.now

    def begins(self) -> Iterator[object]:
        self.answers += 1
        self.now += 1000 if self.answers <= 2 else 100
        return self._tokens()

    def _tokens(self) -> Iterator[object]:
        for number in range(self.ends_after):
            self.now += 3 if number == 0 else 7
            yield number


def taken(world: World, **asked: int) -> list[tuple[int, int]]:
    asked = {"new_tokens": 5, "warm_up": 2, "repetitions": 4} | asked
    return list(times(world.begins, clock=world.clock, **asked))


def test_the_first_token_is_apart_and_the_others_are_the_steady_state() -> None:
    assert taken(World()) == [(103, 28)] * 4


def test_what_warms_up_is_thrown_away() -> None:
    world = World()
    assert taken(world, warm_up=1)[0] == (1003, 28)
    assert world.answers == 5


def test_an_answer_that_ends_early_has_no_rate() -> None:
    with pytest.raises(ValueError, match="after 3 of 5 tokens"):
        taken(World(ends_after=3))


def test_what_is_begun_counts_as_prefill() -> None:
    """A model that does its work before its first token is asked for gains nothing by it."""
    assert taken(World(), repetitions=1, new_tokens=2) == [(103, 7)]

"""Something that answers token by token × a clock → how long each answer took. Laws of timing, without tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

#: nanoseconds that only grow
Clock = Callable[[], int]
#: begins an answer: its first item is the first new token, which takes the prefill; each further one a token more
Begins = Callable[[], Iterator[object]]


def times(begins: Begins, new_tokens: int, warm_up: int, repetitions: int, clock: Clock) -> Iterator[tuple[int, int]]:
    """(first, rest) in nanoseconds of each repetition, after `warm_up` answers of which nothing is kept.

    `first` ends with the first of the new tokens, `rest` with the last. Whatever it takes to begin is prefill, too.
    Raises ValueError for an answer that ends early: its rate would be of tokens that were not made.
    """
    for number in range(warm_up + repetitions):
        began = clock()
        answer = begins()
        made = [next(answer, None)]
        first = clock()
        made += [next(answer, None) for _ in range(new_tokens - 1)]
        last = clock()
        if None in made:
            raise ValueError(f"an answer ended after {made.index(None)} of {new_tokens} tokens")
        if number >= warm_up:
            yield first - began, last - first

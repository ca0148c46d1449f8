"""Encoded rows → the batch of any step, as a pure function of (seed, step).

There is no sampler state: the rows of step s are places s·B … s·B + B - 1 of an endless stream, and each pass over the
rows is ordered by a keyed hash. Resuming at a step therefore needs nothing but its number.

Letters: B rows of the batch, T tokens of a group's longest row, N supervised tokens of the batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from runtime.contract import Refusal
from runtime.contract.conditions import FACTS
from runtime.data.encode import Example
from runtime.train import packing
from runtime.train.abreast import lots_of

#: A group is closed where the next row is shorter than this share of its longest and so many rows are in it. Smaller
#: groups hold less padding but pay the fixed cost of one more pass: tests/bench/training_step.py shows both.
GROUP_SHARE, GROUP_ROWS = 0.8, 12


#: the mask at whose tokens a teacher's choices stand
CHOICE = "choice"


@lru_cache(maxsize=4)
def order(seed: int, epoch: int, rows: int) -> tuple[int, ...]:
    """The row numbers of one pass, sorted by SHA-256 of (seed, epoch, row): the same on every machine."""
    return tuple(sorted(range(rows), key=lambda row: hashlib.sha256(f"{seed}/{epoch}/{row}".encode()).digest()))


def rows_of(seed: int, step: int, batch_size: int, rows: int) -> list[int]:
    """Row numbers of one step; a batch may reach into the next pass."""
    places = range(step * batch_size, (step + 1) * batch_size)
    return [order(seed, place // rows, rows)[place % rows] for place in places]


def groups_of(lengths: Sequence[int]) -> list[list[int]]:
    """Places in the batch, longest first, cut into groups of similar length. Every place is in one group.

    Splitting changes no number but by rounding: the groups share one loss with one denominator.
    """
    places = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    groups: list[list[int]] = []
    for place in places:
        full = bool(groups) and len(groups[-1]) >= GROUP_ROWS
        if not groups or (full and lengths[place] < GROUP_SHARE * lengths[groups[-1][0]]):
            groups.append([])
        groups[-1].append(place)
    if len(groups) > 1 and len(groups[-1]) < GROUP_ROWS:
        groups[-2].extend(groups.pop())
    return groups


def cut_of(lengths: Sequence[int], micro_batch: int | None, packed: bool, lots: int = 1) -> list[list[list[int]]]:
    """Places in the batch → groups of sequences of rows. Every place is in one sequence of one group.

    A group of `micro_batch` rows is made of the longest that are left, so that it holds little padding; without that
    number, groups are those of `groups_of`, or the `lots` that go through the model at the same time. Packed, sequences
    hold several rows and are as long as the longest row.
    """
    if lots > 1:
        return [[[place] for place in group] for group in lots_of(lengths, lots)]
    if micro_batch is None and not packed:
        return [[[place] for place in group] for group in groups_of(lengths)]
    places = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    size = micro_batch or len(places)
    groups = [places[begin : begin + size] for begin in range(0, len(places), size)]
    if not packed:
        return [[[place] for place in group] for group in groups]
    return [packing.sequences(group, [lengths[place] for place in group]) for group in groups]


@dataclass(frozen=True, slots=True)
class Group:
    """Sequences that go through the model together."""

    #: token ids, padded on the right
    ids_BT: Tensor
    #: places in the flattened [B·T] whose hidden state predicts a supervised token
    places_N: Tensor
    #: how many rows these are, and their tokens without padding
    rows: int
    tokens: int
    #: positions that begin anew with each row, where a sequence holds several; None where each holds one
    positions_BT: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One optimiser step's rows. All N-sized tensors have the same order: group by group, row by row."""

    groups: list[Group]
    #: row numbers in the order of the supervised tokens
    rows: list[int]
    target_N: Tensor
    masks_N: dict[str, Tensor]
    #: ids and log-probabilities of the choices at each supervised token, when a term reads them
    choices_NM: tuple[Tensor, Tensor] | None
    #: facts of the rows at each supervised token
    facts_N: dict[str, Tensor]
    #: tokens of the rows, without padding
    tokens: int
    #: positions computed, padding included
    positions: int

    def parts(self) -> list[Batch]:
        """Each group as a batch of its own, for passes of which only one is in memory. What they share, the
        denominators, is of this batch."""
        found: list[Batch] = []
        row = token = 0
        for group in self.groups:
            rows = slice(row, row := row + group.rows)
            piece = slice(token, token := token + len(group.places_N))
            choices = self.choices_NM
            found.append(
                Batch(
                    groups=[group],
                    rows=self.rows[rows],
                    target_N=self.target_N[piece],
                    masks_N={mask: flags[piece] for mask, flags in self.masks_N.items()},
                    choices_NM=None if choices is None else (choices[0][piece], choices[1][piece]),
                    facts_N={fact: numbers[piece] for fact, numbers in self.facts_N.items()},
                    tokens=group.tokens,
                    positions=group.ids_BT.numel(),
                )
            )
        return found


class Corpus:
    """Encoded rows with their supervised tokens laid out flat: row r owns `start[r]` … `start[r + 1]` of them."""

    def __init__(
        self,
        names: Sequence[str],
        examples: Sequence[Example],
        max_length: int,
        pad_id: int,
        choices: Sequence[Mapping[int, float]] | None = None,
    ) -> None:
        """`choices` maps, for each row, the token of a permitted answer to its log-probability; they hold at the tokens
        of mask "choice".

        Raises Refusal for no rows, a row longer than `max_length`, and a row whose first token is supervised.
        """
        if not examples:
            raise Refusal("the training split has no rows", action="give data, or lower data.held_out")
        self.names, self.pad_id = list(names), pad_id
        self.ids = [torch.tensor(example.ids, dtype=torch.long) for example in examples]
        self.masks = sorted(examples[0].masks)
        targets: list[int] = []
        before: list[int] = []
        flat: dict[str, list[bool]] = {mask: [] for mask in self.masks}
        numbers: dict[str, list[float]] = {fact: [] for fact in sorted(examples[0].facts)}
        start = [0]
        for name, example in zip(names, examples, strict=True):
            for i in _supervised(name, example, max_length):
                targets.append(example.ids[i])
                before.append(i - 1)
                for mask in self.masks:
                    flat[mask].append(example.masks[mask][i])
                for fact, values in numbers.items():
                    values.append(example.facts[fact][i])
            start.append(len(targets))
        self.start = start
        self._target_S = torch.tensor(targets, dtype=torch.long)
        self._before_S = torch.tensor(before, dtype=torch.long)
        self._masks_S = {mask: torch.tensor(flat[mask], dtype=torch.bool) for mask in self.masks}
        self._facts_S = {
            fact: torch.tensor(values, dtype=torch.long if FACTS[fact].kind == "id" else torch.float32)
            for fact, values in numbers.items()
        }
        self._choices_SM = None if choices is None else self._spread(choices)

    def _spread(self, choices: Sequence[Mapping[int, float]]) -> tuple[Tensor, Tensor]:
        """ids_SM and log_SM of the flat layout, filled up with id -1."""
        most = max((len(one) for one in choices), default=0)
        ids_SM = torch.full((self.start[-1], most), -1, dtype=torch.long)
        log_SM = torch.zeros(self.start[-1], most)
        for row, one in enumerate(choices):
            piece = slice(self.start[row], self.start[row + 1])
            at = self._masks_S[CHOICE][piece].nonzero().squeeze(-1) + self.start[row]
            ids_SM[at, : len(one)] = torch.tensor(list(one), dtype=torch.long)
            log_SM[at, : len(one)] = torch.tensor(list(one.values()))
        return ids_SM, log_SM

    def __len__(self) -> int:
        return len(self.ids)

    def digest(self) -> str:
        """SHA-256 of every row's tokens and supervised targets, in order."""
        found = hashlib.sha256()
        for ids in self.ids:
            found.update(len(ids).to_bytes(8, "little") + ids.numpy().tobytes())
        for mask in self.masks:
            found.update(mask.encode() + self._masks_S[mask].numpy().tobytes())
        found.update(self._before_S.numpy().tobytes())
        for fact, values in self._facts_S.items():
            found.update(fact.encode() + values.numpy().tobytes())
        for table in self._choices_SM or ():
            found.update(table.numpy().tobytes())
        return found.hexdigest()

    def supervised(self, mask: str, row: int) -> int:
        """How many tokens of a row a mask supervises."""
        return int(self._masks_S[mask][self.start[row] : self.start[row + 1]].sum())

    def flagged(self, mask: str, fact: str) -> int:
        """How many tokens that a mask supervises have a fact that is a flag."""
        return int((self._masks_S[mask] & (self._facts_S[fact] > 0)).sum())

    def learnt(self, mask: str, row: int) -> list[bool]:
        """Of each token of a row, whether a mask supervises it."""
        piece = slice(self.start[row], self.start[row + 1])
        found = [False] * len(self.ids[row])
        for before in self._before_S[piece][self._masks_S[mask][piece]].tolist():
            found[before + 1] = True
        return found

    def target_ids(self, mask: str, row: int) -> list[int]:
        """The supervised tokens of a row under a mask, in order."""
        piece = slice(self.start[row], self.start[row + 1])
        return [int(token) for token in self._target_S[piece][self._masks_S[mask][piece]]]

    def before(self, row: int) -> Tensor:
        """The place before each supervised token of a row, within the row."""
        return self._before_S[self.start[row] : self.start[row + 1]]

    def flat(self, rows: Sequence[int]) -> Tensor:
        """Places of the rows' supervised tokens in the flat layout, in the order of `rows`."""
        pieces = [torch.arange(self.start[row], self.start[row + 1]) for row in rows]
        return torch.cat(pieces) if pieces else torch.zeros(0, dtype=torch.long)

    def group(self, rows: Sequence[int]) -> Group:
        """Rows padded to the longest of them. Padding stands on the right, where no causal position looks."""
        return self.sequences([[row] for row in rows])

    def sequences(self, lines: Sequence[Sequence[int]]) -> Group:
        """Sequences of one or several rows, padded to the longest of them on the right."""
        whole = [torch.cat([self.ids[row] for row in line]) for line in lines]
        ids_BT = torch.nn.utils.rnn.pad_sequence(whole, True, self.pad_id)
        places: list[Tensor] = []
        for at, line in enumerate(lines):
            begin = at * ids_BT.shape[1]
            for row in line:
                places.append(self._before_S[self.start[row] : self.start[row + 1]] + begin)
                begin += len(self.ids[row])
        lengths = [[len(self.ids[row]) for row in line] for line in lines]
        return Group(
            ids_BT=ids_BT,
            places_N=torch.cat(places),
            rows=sum(len(line) for line in lines),
            tokens=sum(sum(line) for line in lengths),
            positions_BT=packing.positions(lengths) if any(len(line) > 1 for line in lines) else None,
        )

    def batch(
        self, rows: Sequence[int], micro_batch: int | None = None, *, packed: bool = False, lots: int = 1
    ) -> Batch:
        """The batch of these rows, in groups of similar length, of at most `micro_batch` rows, or in `lots`."""
        lengths = [len(self.ids[row]) for row in rows]
        cut = [
            [[rows[place] for place in line] for line in group] for group in cut_of(lengths, micro_batch, packed, lots)
        ]
        groups = [self.sequences(group) for group in cut]
        ordered = [row for group in cut for line in group for row in line]
        flat_N = self.flat(ordered)
        return Batch(
            groups=groups,
            rows=ordered,
            target_N=self._target_S[flat_N],
            masks_N={mask: values[flat_N] for mask, values in self._masks_S.items()},
            choices_NM=None if self._choices_SM is None else (self._choices_SM[0][flat_N], self._choices_SM[1][flat_N]),
            facts_N={fact: values[flat_N] for fact, values in self._facts_S.items()},
            tokens=sum(lengths),
            positions=sum(group.ids_BT.numel() for group in groups),
        )


def _supervised(name: str, example: Example, max_length: int) -> list[int]:
    if len(example.ids) > max_length:
        raise Refusal(
            f"row `{name}` has {len(example.ids)} tokens, more than max_length {max_length}",
            place="train.jsonl",
            action="shorten or remove the row, or raise max_length; rows are never cut",
        )
    found = [i for i in range(len(example.ids)) if any(mask[i] for mask in example.masks.values())]
    if found and found[0] == 0:
        raise Refusal(f"row `{name}` supervises its first token, which nothing predicts", place="train.jsonl")
    return found

"""However a batch goes through the models, whole, in parts or packed, the step is the same. Tolerance: each number of the
gradient is within 2e-6 of the whole gradient's length.

Each known way to spoil that is caught by the check that names it: a mean of means (the loss of many trainers under
accumulation until Transformers #34191), a mask that is dropped, positions that do not begin anew.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers.masking_utils
from torch.utils._python_dispatch import TorchDispatchMode

from runtime.contract import Refusal
from runtime.contract.optimizer import Optimizer
from runtime.data.encode import Example
from runtime.models import build
from runtime.train import objective, packing
from runtime.train.batches import Corpus, cut_of
from runtime.train.loop import Trainer
from runtime.train.teaching import Teacher, hidden_of
from tests.tensor.train import world

FAMILIES = ("llama", "qwen3", "phi")
ROWS, LONGEST, TOLERANCE = 32, 90, 2e-6
WAYS: list[dict[str, Any]] = [
    {"threads": 2},
    {"threads": 3},
    {"micro_batch": 8},
    {"micro_batch": 5},
    {"micro_batch": 1},
    {"packing": True},
    {"packing": True, "micro_batch": 8},
    {"packing": True, "micro_batch": 31, "gradient_checkpointing": True},
]


def corpus() -> Corpus:
    """Rows of 3 to 90 tokens, of which 1 to 80 are supervised; a third of the rows have no token of `tool_name`."""
    draw = random.Random(7)
    examples = []
    for row in range(ROWS):
        length = 3 if row == 0 else LONGEST if row == 1 else draw.choice((4, 6, 9, 40, 70, LONGEST))
        begin = draw.randint(1, max(1, length - 2))
        marks = {
            "response": [i >= begin for i in range(length)],
            "tool_name": [row % 3 > 0 and begin <= i < begin + 2 for i in range(length)],
        }
        examples.append(Example([draw.randrange(3, world.VOCAB) for _ in range(length)], marks))
    return Corpus([str(row) for row in range(ROWS)], examples, LONGEST, 0)


def taught(look_up: int = 1 << 30) -> Teacher:
    """A teacher of one layer, whose hidden states are kept where they take no more than so many bytes."""
    model = build.build(world.architecture(hidden_size=48, num_hidden_layers=1), 2, attention="sdpa")
    return Teacher(model, model.get_output_embeddings(), corpus(), range(ROWS), look_up)


def step(look_up: int = 1 << 30, **ways: Any) -> tuple[list[torch.Tensor], Any]:
    """The gradients of one step over all rows, and its point in the record."""
    trainer = stepped(look_up, **ways)
    return [parameter.grad for parameter in trainer.parameters if parameter.grad is not None], trainer.record.points[0]


def trained(**ways: Any) -> Any:
    """The record of one step over all rows."""
    return stepped(1 << 30, **ways).record


def stepped(look_up: int, **ways: Any) -> Trainer:
    """A trainer after one step over all rows."""
    made = corpus()
    params = world.params(
        losses=world.terms(kl=0.5, ce_truth=0.3, tool_name=0.2),
        needs_teacher=True,
        batch_size=ROWS,
        steps=1,
        optimizer=Optimizer(learning_rate=1e-3, clip_norm=1e6),
        **ways,
    )
    student = build.build(world.architecture(tie_word_embeddings=True), 1, attention="sdpa")
    trainer = Trainer(
        student=student,
        head=student.get_output_embeddings(),
        teacher=taught(look_up),
        corpus=made,
        terms=objective.bind(params.losses),
        params=params,
        seed=3,
    )
    if params.gradient_checkpointing:
        student.train()
        student.gradient_checkpointing_enable({"use_reentrant": False})
    trainer.step(0)
    return trainer


def every_way_is_the_same_step() -> None:
    whole, point = step()
    length = math.hypot(*(float(gradient.norm()) for gradient in whole))
    assert length > 0.1
    for way in WAYS:
        found, other = step(**way)
        assert len(found) == len(whole)
        apart = max(float((a - b).abs().max()) for a, b in zip(whole, found, strict=True))
        assert apart <= TOLERANCE * length, f"{way}: {apart / length:.2g}"
        assert other.tokens == point.tokens
        for name in ("values", "norms"):
            assert getattr(other, name) == pytest.approx(getattr(point, name), rel=1e-5), (way, name)


def a_neighbour_is_not_seen() -> None:
    """Bit for bit: every token of one row is edited, and no hidden state of the rows around it moves."""
    rows = [40, 9, 23]
    for family in FAMILIES:
        model = build.build(world.architecture(family=family), 1, attention="sdpa")
        made = flat(rows)
        for edited in range(len(rows)):
            other = flat(rows)
            other.ids[edited] = (other.ids[edited] + 11) % world.VOCAB
            before, after = (hidden(model, one) for one in (made, other))
            begin = 0
            for row, length in enumerate(rows):
                same = torch.equal(before[begin : begin + length - 1], after[begin : begin + length - 1])
                assert same == (row != edited), (family, row, edited)
                begin += length - 1


def a_packed_row_is_what_it_is_alone() -> None:
    rows = [40, 9, 23]
    for family in FAMILIES:
        model = build.build(world.architecture(family=family), 1, attention="sdpa")
        made = flat(rows)
        with torch.no_grad():
            alone = hidden_of(model, [made.group([row]) for row in range(len(rows))])
        torch.testing.assert_close(hidden(model, made), alone, rtol=1e-5, atol=1e-5)


def flat(lengths: list[int]) -> Corpus:
    """All tokens but the first of each row are supervised."""
    draw = random.Random(1)
    examples = [
        Example([draw.randrange(3, 250) for _ in range(n)], {"response": [i > 0 for i in range(n)]}) for n in lengths
    ]
    return Corpus([str(row) for row in range(len(lengths))], examples, 200, 0)


def hidden(model: Any, made: Corpus) -> torch.Tensor:
    """All rows in one sequence, beside a longer one, so that padding follows them."""
    with torch.no_grad():
        group = made.sequences([range(len(made)), range(len(made)), [0]])
        return hidden_of(model, [group])[: len(made._before_S)]


CHECKS: dict[str, Callable[[], None]] = {
    check.__name__: check
    for check in (every_way_is_the_same_step, a_neighbour_is_not_seen, a_packed_row_is_what_it_is_alone)
}


@pytest.mark.parametrize("name", CHECKS)
def test_holds(name: str) -> None:
    CHECKS[name]()


def mean_of_means(patch: pytest.MonkeyPatch) -> None:
    """Each part is divided by its own tokens and by the number of parts."""
    given = Trainer._given

    def own(self: Trainer, batch: Any, denominators: Any, *rest: Any) -> Any:
        parts = -(-self.params.batch_size // (self.params.micro_batch or self.params.batch_size))
        own_totals = {mask: count * parts for mask, count in objective.totals(batch.masks_N).items()}
        return given(self, batch, own_totals, *rest)

    patch.setattr(Trainer, "_given", own)


def last_part_alone(patch: pytest.MonkeyPatch) -> None:
    backward = Trainer._backward
    patch.setattr(Trainer, "_backward", lambda self, parts, *rest: backward(self, parts[-1:], *rest))


def mask_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transformers.masking_utils, "find_packed_sequence_indices", lambda _positions: None)


def positions_not_reset(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        packing, "positions", lambda lengths: torch.arange(max(map(sum, lengths)))[None].repeat(len(lengths), 1)
    )


def row_beyond_the_first_misplaced(patch: pytest.MonkeyPatch) -> None:
    sequences = Corpus.sequences

    def moved(self: Corpus, lines: Any) -> Any:
        group = sequences(self, lines)
        if group.positions_BT is not None:
            group.places_N[-1] -= 1
        return group

    patch.setattr(Corpus, "sequences", moved)


@pytest.mark.parametrize(
    ("mutate", "caught_by"),
    [
        (mean_of_means, "every_way_is_the_same_step"),
        (last_part_alone, "every_way_is_the_same_step"),
        (row_beyond_the_first_misplaced, "every_way_is_the_same_step"),
        (mask_dropped, "every_way_is_the_same_step"),
        (mask_dropped, "a_neighbour_is_not_seen"),
        (mask_dropped, "a_packed_row_is_what_it_is_alone"),
        (positions_not_reset, "a_neighbour_is_not_seen"),
        (positions_not_reset, "a_packed_row_is_what_it_is_alone"),
    ],
)
def test_is_caught(mutate: Callable[[pytest.MonkeyPatch], None], caught_by: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        mutate(patch)
        with pytest.raises(AssertionError):
            CHECKS[caught_by]()


@pytest.mark.parametrize("mutate", [mask_dropped, positions_not_reset])
def test_a_model_that_mixes_packed_rows_is_refused_before_training(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build.build(world.architecture(), 1, attention="sdpa")
    packing.check(model, "student")
    mutate(monkeypatch)
    with pytest.raises(Refusal, match=r"in the student \(`llama`\)") as refused:
        packing.check(model, "student")
    assert refused.value.code == "KR0125"


def test_a_teacher_that_is_not_looked_up_goes_through_the_parts_too() -> None:
    looked_up, _ = step()
    for way in ({"micro_batch": 8}, {"micro_batch": 8, "packing": True}):
        found, _ = step(look_up=0, **way)
        for a, b in zip(looked_up, found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_every_row_is_in_one_sequence_and_none_is_longer_than_the_longest_row() -> None:
    draw = random.Random(3)
    for rows in (1, 2, 7, 40):
        lengths = [draw.choice((2, 3, 5, 30, 64)) for _ in range(rows)]
        for micro, packed in ((None, True), (3, True), (3, False), (rows, True)):
            cut = cut_of(lengths, micro, packed)
            assert sorted(place for group in cut for line in group for place in line) == list(range(rows))
            for group in cut:
                sizes = [[lengths[place] for place in line] for line in group]
                assert sum(map(len, sizes)) <= (micro or rows)
                assert max(map(sum, sizes)) == max(max(line) for line in sizes)


def test_positions_begin_anew_with_each_row_and_with_padding() -> None:
    assert packing.positions([[3, 2], [4]]).tolist() == [[0, 1, 2, 0, 1], [0, 1, 2, 3, 0]]


def test_packing_leaves_little_padding() -> None:
    """Of rows as uneven as these, a third of all positions would be padding."""
    made = corpus()
    rows = list(range(ROWS))
    one, packed = made.batch(rows, ROWS), made.batch(rows, ROWS, packed=True)
    assert 1 - one.tokens / one.positions > 0.5
    assert 1 - packed.tokens / packed.positions < 0.08


class Made(TorchDispatchMode):
    """Counts new tensors of the head's shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape, self.count = shape, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        known = {id(one) for one in args}
        whole = isinstance(result, torch.Tensor) and tuple(result.shape) == self.shape
        self.count += (
            whole
            and id(result) not in known
            and not func.is_view
            and func.overloadpacket._qualified_op_name != "aten::detach"
        )
        return result


def test_the_gradient_of_the_head_is_added_up_in_one_tensor() -> None:
    """Vocabulary × width is made once for the first part; later parts add to it."""
    made = corpus()
    params = world.params(batch_size=ROWS, steps=1, micro_batch=4, gradient_norms_every=1)
    student = build.build(world.architecture(vocab_size=300, tie_word_embeddings=False), 1, attention="sdpa")
    trainer = Trainer(
        student=student,
        head=student.get_output_embeddings(),
        teacher=None,
        corpus=made,
        terms=objective.bind(params.losses),
        params=params,
        seed=3,
    )
    batch = made.batch(range(ROWS), 4)
    # the embedding has this shape too, and its gradient is made for each part by torch itself
    counts = []
    for parts in (batch.parts()[:1], batch.parts()):
        trainer.optimizer.zero_grad()
        with Made((300, 32)) as made_here:
            trainer._backward(parts, objective.totals(batch.masks_N), trainer.terms, [1.0])
        counts.append(made_here.count - len(parts))
    assert counts[0] == counts[1]

"""The numbers of a first spec follow from the facts, and the reasons say the facts."""

from __future__ import annotations

import pytest

from kcompiler.begin import choose
from kcompiler.facts.models import total
from runtime.contract.architecture import Architecture

#: SmolLM2-135M
SMALL = Architecture(
    family="llama",
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=8192,
    tie_word_embeddings=True,
    vocab_size=49152,
)
GIB = 1 << 30


def cut(count: int) -> Architecture:
    return SMALL.model_copy(update={"num_hidden_layers": count})


def test_rows_that_are_read_often_are_told_of_validation_and_nothing_is_spared_of_them_unasked():
    """Two passes over many rows; few are read again and again, where the advice is one that validates (golden case
    `a-stage-that-validates-has-no-diagnostics`)."""
    assert choose.steps(1600, 16) == (200, "2 passes over about 1,600 rows")
    count, why = choose.steps(160, 16)
    assert count == 40
    assert "each is then read about 4 times: with `validation: 0.1` in `data`" in why
    assert "validation" not in choose.steps(161, 16)[1]
    assert "validation" not in choose.steps(100_000, 16)[1]


def test_the_student_is_the_largest_that_is_at_most_half():
    count, why = choose.layers(SMALL)
    assert 2 * total(cut(count)) <= total(SMALL) < 2 * total(cut(count + 1))
    assert f"{total(cut(count)):,} of {total(SMALL):,}" in why


def test_where_the_embedding_is_more_than_half_half_of_the_layers_stay():
    wide = SMALL.model_copy(update={"vocab_size": 400_000})
    count, why = choose.layers(wide)
    assert count == 15
    assert "the embedding alone is more than half" in why
    assert choose.layers(SMALL.model_copy(update={"num_hidden_layers": 1}))[0] == 1


def test_buckets_hold_the_middle_nearly_all_and_the_longest():
    lengths = [*range(20, 60), *[70] * 50, *[200] * 9, 900]
    buckets, why = choose.prefill(lengths, 8192)
    assert buckets == [96, 256, 1024]
    assert why == "half of the rows have at most 70 tokens, 95 % 200, the longest 900"
    assert choose.prefill([5, 5, 5], 8192)[0] == [32]


@pytest.mark.parametrize(("longest", "context", "last"), [(900, 1000, 1000), (40, 48, 48), (900, 512, 512)])
def test_no_bucket_is_longer_than_the_teachers_context(longest, context, last):
    assert choose.prefill([10, longest], context)[0][-1] == last


def test_a_batch_fits_the_machine_and_a_small_one_computes_activations_again():
    sizes = {}
    for memory in (64, 24, 8, 4, 2):
        rows, again, why = choose.batch(cut(11), SMALL, 256, memory * GIB)
        sizes[memory] = (rows, again)
        assert "this machine" in why
    assert sizes[64] == (16, False)
    assert sizes[24][0] >= sizes[8][0] >= sizes[4][0]
    assert sizes[2] == (1, True)
    assert "are needed, and this machine has" in choose.batch(cut(11), SMALL, 256, GIB)[2]


def test_steps_are_two_passes_within_bounds():
    assert choose.steps(400, 8) == (100, "2 passes over about 400 rows")
    assert choose.steps(10, 8)[0] == 40
    assert choose.steps(10**6, 8)[0] == 1000
    assert "kept between 40 and 1,000" in choose.steps(10**6, 8)[1]


def test_what_is_held_out_feeds_the_rules_or_says_that_it_cannot():
    prompts = [f"question {i}" for i in range(120)]
    share, count, enough, why = choose.held_out(prompts, 120, "language_model")
    assert enough
    assert 18 <= count < 60
    assert share < 0.5
    assert f"{count} of 120 rows judge" in why
    share, count, enough, why = choose.held_out(prompts[:60], 60, "gold")
    assert (share, enough) == (0.5, False)
    assert "60 rows are too few for the rules of `gold`, which want 50 held out" in why
    # a sample stands for all of them
    share, count, enough, _ = choose.held_out(prompts, 120_000, "gold")
    assert (share, enough) == (0.1, True)
    assert 6_000 < count < 20_000


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["Write to support within ten days, and have your order number at hand, please. Or call us."] * 9, "language_model"),
        (["one\ntwo"] * 9, "language_model"),
        (["42", "3.5 kg", "$1,200", "-7"], "numeric"),
        (["refund", "invoice", "refund", "invoice"], "exact"),
        (["Paris", "Rome", "Oslo"], "normalised"),
        ([*["Paris"] * 99, "It is a long story that nobody wants to hear any more than once, in full."], "normalised"),
    ],
)  # fmt: skip
def test_short_answers_are_right_or_not_and_texts_are_likely_or_not(answers, expected):
    suite, parameters, why = choose.suite(answers)
    assert expected in (suite, parameters.get("match"))
    assert (suite == "gold") == ("one is right or not" in why)


def test_rows_that_only_judge_are_enough_from_what_the_rules_want():
    assert choose.enough(15, "language_model") == (True, "15 rows judge; the rules of `language_model` want 15")
    assert choose.enough(49, "gold") == (False, "49 rows are too few for the rules of `gold`, which want 50")


def test_the_time_is_that_of_both_trainings_and_of_the_teacher_on_this_machine():
    student = cut(11)
    # 6 operations a parameter and token to train, 2 to answer, at half of the speed
    work = 10**6 * (2 * 6 * total(student) + 2 * total(SMALL))
    for speed, said in ((work / 30, "about 60 s"), (work / 60, "about 2 min"), (work / 9000, "about 5 h")):
        assert choose.time(student, SMALL, 10**6, speed).startswith(f"{said} on this machine, ")
    assert choose.time(student, SMALL, 1, 1e15).startswith("about 1 s ")
    once = choose.time(student, SMALL, 10**6, (work - 6 * 10**6 * total(student)) / 15, twice=False)
    assert once.startswith("about 30 s on this machine: ")
    assert "GFLOP/s" in choose.time(student, SMALL, 10**6, 1e11)
    assert [choose._lasting(value) for value in (89, 90, 5399, 5400)] == ["89 s", "2 min", "90 min", "2 h"]


def test_the_smallest_machine_that_holds_training_is_named():
    assert choose.machines(cut(11), SMALL)[0] == "m1-16gb"
    large = SMALL.model_copy(update={"hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32})
    assert choose.machines(large, large)[0] not in ("m1-16gb", "h100-80gb")
    huge = large.model_copy(update={"num_hidden_layers": 400})
    assert "name the machine that trains" in choose.machines(huge, huge)[1]


def test_of_no_row_there_are_steps_all_the_same() -> None:
    """What is held out of two rows may leave none; that they are too few is said elsewhere."""
    assert choose.steps(0, 16)[0] == choose.steps(1, 16)[0]

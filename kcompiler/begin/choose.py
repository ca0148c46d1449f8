"""Facts of a model, rows and a machine → the numbers of a first spec, each with the reason that stands beside it.

Nothing is measured by training: a choice is what arithmetic allows and custom suggests, and is there to be changed.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from kcompiler import tables
from kcompiler.facts import sizes
from kcompiler.facts.models import total
from kcompiler.facts.sizes import operations
from runtime.contract import footprint
from runtime.contract.architecture import Architecture
from runtime.contract.placing import chunk_tokens
from runtime.contract.recipe import FLOAT32
from runtime.contract.splits import is_held_out

#: prefill lengths that are offered; each is one function of the package
BUCKETS = (32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
#: tokens that a row has for the teacher's answer
ROOM = 192
#: tokens that an answer to the longest prompt may have, at least
_ANSWER = 32
#: rows that a suite's rules ask for, and how many more are held out so that chance does not decide
LEAST = {"gold": 50, "language_model": 15}
_SPARE = 1.2
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
#: what training leaves to everything else on the machine
_SHARE = 0.6
_BATCHES = (16, 8, 4, 2, 1)
_PASSES, _FEWEST, _MOST = 2, 40, 1000
#: times that a row is read from which on it may be learnt by heart
_OFTEN = 4
#: a backward pass is two forward passes (arXiv 2001.08361, section 2.1); training reaches about half of what a
#: product of large matrices does, as measured with a student of SmolLM2 on two cores
_BACKWARD, _REACHED = 2, 0.5
#: an answer that can be compared as it is has at most so many words
_SHORT_WORDS = 12
_NUMBER = re.compile(r"[-+]?[$€£]?\d[\d,. ]*\s*\S{0,6}\Z")


def layers(teacher: Architecture) -> tuple[int, str]:
    """How many of the teacher's layers the student keeps."""
    whole, there = total(teacher), teacher.num_hidden_layers

    def left(count: int) -> int:
        return total(teacher.model_copy(update={"num_hidden_layers": count}))

    fitting = [count for count in range(1, there) if 2 * left(count) <= whole]
    if fitting:
        count = fitting[-1]
        return count, f"{left(count):,} of {whole:,} parameters, at most half"
    count = max(1, there // 2)
    return count, f"{left(count):,} of {whole:,} parameters; the embedding alone is more than half"


def prefill(lengths: Sequence[int], context: int) -> tuple[list[int], str]:
    """Buckets for rows of so many tokens: for the middle, for nearly all, and for the longest."""
    ranked = sorted(lengths)
    marks = [_quantile(ranked, share) for share in (0.5, 0.95, 1.0)]
    offered = [one for one in BUCKETS if one <= context] or [context]
    found = sorted({next((one for one in offered if one >= mark), context) for mark in marks})
    why = f"half of the rows have at most {marks[0]} tokens, 95 % {marks[1]}, the longest {marks[2]}"
    return found, why


def context(longest: int, most: int) -> tuple[int, str]:
    """Slots of the decode cache: room for an answer after the longest prompt, where the teacher's context has it."""
    wanted = longest + max(_ANSWER, longest // 2)
    found = min(wanted, most)
    room = f"the longest prefill and {found - longest} tokens for an answer after it"
    return found, room if found > longest else "as long as the teacher reads"


def _quantile(ranked: Sequence[int], share: float) -> int:
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def batch(student: Architecture, teacher: Architecture, longest: int, memory: int) -> tuple[int, bool, str]:
    """(rows of a step, whether activations are computed again, why) for a machine with so many bytes of memory."""
    room = int(memory * _SHARE)
    state = sizes.training_state(student) + FLOAT32 * total(teacher)

    def needed(rows: int, again: bool) -> int:
        tokens = rows * longest
        beside = footprint.activations(student, tokens, checkpointed=again)
        chunk = footprint.chunk_logits(student, tokens, chunk_tokens("cpu", student.vocab_size), 2)
        # the teacher keeps nothing for a backward pass: one layer at a time
        one = footprint.activations(teacher.model_copy(update={"num_hidden_layers": 1}), tokens)
        return state + beside + chunk + one

    for again in (False, True):
        for rows in _BATCHES:
            if needed(rows, again) <= room:
                return (
                    rows,
                    again,
                    (
                        f"about {sizes.text(needed(rows, again))} of this machine's {sizes.text(memory)}: "
                        f"{sizes.text(state)} of weights and optimiser state, the rest for rows of {longest} tokens"
                    ),
                )
    return 1, True, f"{sizes.text(needed(1, True))} are needed, and this machine has {sizes.text(memory)}"


def steps(train_rows: int, rows: int) -> tuple[int, str]:
    """Optimiser steps, and why.

    Rows that are read twice are not learnt by heart, so that none are kept from being learnt to say when to stop; few
    rows, which are read more often, are too few to spare some without being asked.
    """
    train_rows = max(1, train_rows)
    wanted = math.ceil(_PASSES * train_rows / rows)
    count = max(_FEWEST, min(_MOST, wanted))
    how = f"{_PASSES} passes over about {train_rows:,} rows"
    if count == wanted:
        return count, how
    why, times = f"{how} would be {wanted:,}; kept between {_FEWEST} and {_MOST:,}", count * rows / train_rows
    if times < _OFTEN:
        return count, why
    return count, (
        f"{why}; each is then read about {round(times)} times: with `validation: 0.1` in `data` and "
        "`validation: {every: 5, patience: 3}` in the stage it ends where that no longer helps"
    )


def held_out(prompts: Sequence[str], rows: int, suite: str) -> tuple[float, int, bool, str]:
    """(share of the rows that is held out, how many that will be, whether the suite's rules can be fed by them, why).

    `prompts` are those of a fair sample of all `rows`; each of them falls where the data step will put it.
    """
    least, scale = LEAST[suite], rows / len(prompts)
    for share in _SHARES:
        count = round(scale * sum(is_held_out(prompt, share) for prompt in prompts))
        if count >= _SPARE * least:
            return share, count, True, f"{count:,} of {rows:,} rows judge; the rules of `{suite}` want {least}"
    share = _SHARES[-1]
    count = round(scale * sum(is_held_out(prompt, share) for prompt in prompts))
    return share, count, False, f"{rows:,} rows are too few for the rules of `{suite}`, which want {least} held out"


def suite(responses: Sequence[str]) -> tuple[str, Mapping[str, str], str]:
    """(which suite, its parameters as YAML, why)."""
    words = sorted(len(text.split()) for text in responses)
    if any("\n" in text for text in responses) or _quantile(words, 0.95) > _SHORT_WORDS:
        return "language_model", {}, "answers are texts, of which many are right: their likelihood is judged"
    short = f"95 % of the answers have at most {_quantile(words, 0.95)} words: one is right or not"
    if all(_NUMBER.match(text.strip()) for text in responses):
        return "gold", {"match": "numeric"}, f"{short}; all of them are numbers"
    distinct = Counter(text.strip() for text in responses)
    if len(distinct) <= 12 and all(count > 1 for count in distinct.values()):
        return "gold", {"match": "exact"}, f"{short}; there are only {len(distinct)} different ones"
    return "gold", {"match": "normalised"}, f"{short}, but for case, punctuation and articles"


def machines(student: Architecture, teacher: Architecture) -> tuple[str, str]:
    """(the smallest machine of the table that can hold training and student, why)."""
    needed = sizes.training_state(student) + FLOAT32 * total(teacher)
    known = [
        (machine.memory_bytes.value, name, machine)
        for name, machine in tables.hardware().profiles.items()
        if machine.system == "macos" and machine.memory_bytes.value is not None
    ]
    fitting = sorted(one[:2] for one in known if needed <= one[0])
    if not fitting:
        name = max(one[:2] for one in known)[1]
        return name, f"training takes {sizes.text(needed)} at least: name the machine that trains as training_profile"
    return fitting[0][1], "the smallest machine of the table that the student fits, trained or at work"


def enough(count: int, suite: str) -> tuple[bool, str]:
    """(whether so many rows feed the suite's rules, why)."""
    least = LEAST[suite]
    if count >= least:
        return True, f"{count:,} rows judge; the rules of `{suite}` want {least}"
    return False, f"{count:,} rows are too few for the rules of `{suite}`, which want {least}"


def time(student: Architecture, teacher: Architecture, tokens: int, speed: float, *, twice: bool = True) -> str:
    """About how long a machine with so many operations a second trains over so many tokens, in words: the student by
    its teacher, and (`twice`) once more without one."""
    each = (1 + _BACKWARD) * operations(total(student), tokens)
    work = (2 if twice else 1) * each + operations(total(teacher), tokens)
    both = ", with the teacher and once more without" if twice else ""
    return (
        f"about {_lasting(work / (speed * _REACHED))} on this machine{both}: "
        f"{work:.2g} operations, at half of the {speed / 1e9:.0f} GFLOP/s that it just multiplied matrices with"
    )


def _lasting(value: float) -> str:
    """A duration as people say it."""
    if value < 90:
        return f"{max(1, round(value))} s"
    return f"{round(value / 60)} min" if value < 90 * 60 else f"{round(value / 3600)} h"

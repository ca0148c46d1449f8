"""What one optimiser step costs, in processor time on one thread, and what grouping and oneDNN save of it.

    python tests/bench/training_step.py [steps]

Prints each variant as a ratio to the first within the same run: absolute times depend on the machine and its load.
Beside it stands how close the step comes to what the processor can do: the operations of its matrix products a second
(counted by torch, padding included), in parts of the rate of one large product. A step cannot be made faster by more
than the rest of that.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[2]))

from runtime.contract.architecture import Architecture
from runtime.data.encode import Example
from runtime.models import build
from runtime.steps.train import Term, TrainParams
from runtime.train import batches, linear, objective
from runtime.train.batches import Corpus
from runtime.train.linear import fast
from runtime.train.loop import Trainer, deterministic

SHAPE = Architecture(
    family="llama",
    hidden_size=192,
    intermediate_size=512,
    num_hidden_layers=4,
    num_attention_heads=6,
    num_key_value_heads=3,
    max_position_embeddings=256,
    vocab_size=512,
)
#: (name, share, rows, oneDNN): rows beyond the batch size mean one group
VARIANTS = [
    ("one group, torch's own linear", 0.8, 10_000, False),
    ("one group", 0.8, 10_000, True),
    ("groups of 24", 0.8, 24, True),
    ("groups of 12", 0.8, 12, True),
    ("groups of 6", 0.8, 6, True),
    ("groups of 12, share 0.9", 0.9, 12, True),
]


def rows(shortest: int, longest: int) -> Corpus:
    """Two thousand rows, uniform between two lengths; the last six tokens are the response."""
    draw = random.Random(0)
    found: list[Example] = []
    for _ in range(2000):
        length = draw.randint(shortest, longest)
        ids = [draw.randrange(3, 512) for _ in range(length)]
        found.append(Example(ids, {"response": [i >= length - 6 for i in range(length)]}))
    return Corpus([str(row) for row in range(len(found))], found, 256, 0)


def rate() -> float:
    """Operations a second of one large product, by whoever makes it fastest, the best of several."""
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    best = 0.0
    for product in (linear._plain, linear._product) * 10 if linear.available() else (linear._plain,) * 10:
        begin = time.process_time()
        for _ in range(5):
            product(left, right)
        best = max(best, 5 * 2 * 1024**3 / (time.process_time() - begin))
    return best


def cost(corpus: Corpus, steps: int, quick: bool) -> tuple[float, float, float]:
    """Seconds of processor time per step, the share of padding, and operations of matrix products per step."""
    terms = [Term(term="ce_truth", version=1, weight=1.0)]
    params = TrainParams(
        architecture=SHAPE, losses=terms, needs_teacher=False, steps=10_000, batch_size=64, max_length=256, threads=1
    )
    with deterministic(1, 1):
        model = build.build(SHAPE, 1, attention="sdpa")
        trainer = Trainer(
            student=model,
            head=model.lm_head,
            teacher=None,
            corpus=corpus,
            terms=objective.bind(terms),
            params=params,
            seed=1,
        )
        with fast(model) if quick else contextlib.nullcontext():
            for step in range(1, 4):
                trainer.step(step)
            begin = time.process_time()
            for step in range(4, 4 + steps):
                trainer.step(step)
            spent = time.process_time() - begin
        padding = 1 - trainer.record.tokens / trainer.record.positions
        # the same rows again, by torch's own operations, which the counter knows
        with FlopCounterMode(display=False) as counter:
            for step in range(4, 4 + steps):
                trainer.step(step)
    return spent / steps, padding, counter.get_total_flops() / steps


def main(steps: int) -> None:
    torch.set_num_threads(1)
    peak = rate()
    print(f"one product of 1,024 x 1,024 x 1,024: {peak / 1e9:.0f} GFLOP/s")
    for shortest, longest in ((14, 35), (20, 75)):
        corpus, first = rows(shortest, longest), 0.0
        print(f"rows of {shortest} to {longest} tokens, batch 64")
        for name, share, group, quick in VARIANTS:
            batches.GROUP_SHARE, batches.GROUP_ROWS = share, group
            seconds, padding, work = cost(corpus, steps, quick)
            first, reached = first or seconds, work / seconds / peak
            print(
                f"  {name:32} {1000 * seconds:7.1f} ms  x{seconds / first:.2f}  padding {padding:.0%}  "
                f"{reached:.0%} of one large product",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)

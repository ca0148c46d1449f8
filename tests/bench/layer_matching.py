"""What matching hidden states adds to a step of knowledge distillation, in processor time on one thread.

    python tests/bench/layer_matching.py [rounds]

One student, one teacher of twice its depth and half as wide again, one batch; each variant steps once in turn, so that a
neighbour who takes a core takes it from all. Printed is the median step of each, as a ratio to that of `kl` alone, once
with the teacher's states looked up, as they are where they fit in memory, and once with the teacher run at each step.

On one core of a busy AMD EPYC of family 25, beside `kl` looked up: `hidden` of the last layers x1.01 to x1.02, of all
four x1.02 to x1.04, by cosine x1.03 to x1.06; with the teacher run at each step x1.01. `attention` runs the teacher at
each step whatever fits, which is what it costs: x2.4, and x1.01 beside a `kl` that does so too.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from runtime import catalog
from runtime.contract.architecture import Architecture
from runtime.models import build
from runtime.steps.train import Term, TrainParams
from runtime.train import distill, layers, objective
from runtime.train.batches import rows_of
from runtime.train.linear import fast
from runtime.train.loop import Trainer, deterministic
from runtime.train.narrow import narrowed
from runtime.train.teaching import Teacher
from tests.bench.training_step import SHAPE, rows

TAUGHT = Architecture(**{**SHAPE.model_dump(), "hidden_size": 288, "intermediate_size": 768, "num_hidden_layers": 8})
#: name → terms over layers beside kl
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "kl": {},
    "kl + hidden, last": {"hidden": {"map": "last"}},
    "kl + hidden, uniform": {"hidden": {"map": "uniform"}},
    "kl + hidden, uniform, cosine": {"hidden": {"map": "uniform", "distance": "cosine"}},
    "kl + attention, last": {"attention": {"map": "last"}},
}


def trainer_of(given: dict[str, dict[str, Any]], look_up: int, corpus: Any, steps: int) -> Trainer:
    names = {"kl": {}, **given}
    terms = [
        Term(term=name, version=catalog.load("losses", name).version, weight=0.5, params=params)
        for name, params in names.items()
    ]
    params = TrainParams(
        architecture=SHAPE, losses=terms, needs_teacher=True, steps=10_000, batch_size=64, max_length=256, threads=1
    )
    student, teacher = build.build(SHAPE, 1, attention="sdpa"), build.build(TAUGHT, 2, attention="sdpa")
    bound = objective.bind(terms)
    matching = distill.matching_of(bound, student, teacher, 1)
    return Trainer(
        student=student,
        head=student.lm_head,
        teacher=Teacher(
            teacher,
            teacher.lm_head,
            corpus,
            sorted({row for step in range(steps) for row in rows_of(1, step, 64, len(corpus))}),
            look_up,
            wanted=layers.NOTHING if matching is None else matching.teacher,
        ),
        corpus=corpus,
        terms=bound,
        params=params,
        seed=1,
        matching=matching,
    )


def main(rounds: int) -> None:
    torch.set_num_threads(1)
    for shortest, longest in ((14, 35), (20, 75)):
        corpus = rows(shortest, longest)
        for name, look_up in (("looked up", 1 << 30), ("run at each step", 0)):
            with deterministic(1, 1), contextlib.ExitStack() as ways:
                trainers = {key: trainer_of(given, look_up, corpus, rounds + 3) for key, given in VARIANTS.items()}
                for one in trainers.values():
                    models = (one.student, one.teacher.model)
                    ways.enter_context(fast(*models))
                    ways.enter_context(narrowed(corpus.ids[0][None], *models))
                spent: dict[str, list[float]] = {key: [] for key in trainers}
                # step 0 measures the gradient of each term
                for step in range(1, rounds + 3):
                    for key, one in trainers.items():
                        begin = time.process_time()
                        one.step(step)
                        if step > 2:
                            spent[key].append(time.process_time() - begin)
            print(f"rows of {shortest} to {longest} tokens, batch 64, teacher {name}")
            first = statistics.median(spent["kl"])
            for key, times in spent.items():
                middle = statistics.median(times)
                print(f"  {key:32} {1000 * middle:7.1f} ms  x{middle / first:.3f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)

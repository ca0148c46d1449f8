"""What one step of knowledge distillation costs, beside TRL's own loss steps and a plain loop over full logits.

    pip install trl==1.16.0        (only this script needs it)
    python tests/bench/kd_step.py [--steps 4] [--vocabularies 32768 131072]

One model, one batch, one thread, float32, forward KL at temperature 1, AdamW. Each variant runs in a process of its own,
in turn, `--rounds` times; printed are tokens per second of processor time, as ratios within the run, and by how much the
peak memory of a process rose above what it held before its first step (weights of both models; the optimiser's two
moments are part of the rise, the same for all). Losses of all variants must agree.

- `ours`: runtime.train.loop.Trainer, its teacher run anew at each step, as those of the others are.
- `looked up`: the same, the teacher's hidden states computed once before.
- `naive`: model(ids).logits of both models, log_softmax, KL, backward.
- `gkd`: trl.experimental.gkd's compute_loss with lmbda 0 (no generation) and beta 0 (forward KL).
- `trl chunked`: the loss of trl.DistillationTrainer, generation left out.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

VARIANTS = ("ours", "looked up", "naive", "gkd", "trl chunked")
ROWS, LENGTH, THREADS = 4, 512, 1


def shape(vocabulary: int) -> Any:
    from runtime.contract.architecture import Architecture

    return Architecture(
        family="llama",
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=LENGTH,
        vocab_size=vocabulary,
        tie_word_embeddings=True,
    )


def peak() -> int:
    """Bytes: the most this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ours(vocabulary: int, ids: list[list[int]], steps: int, look_up: bool) -> Any:
    from runtime.data.encode import Example
    from runtime.models import build
    from runtime.steps.train import Term, TrainParams
    from runtime.train import objective
    from runtime.train.batches import Corpus
    from runtime.train.linear import fast
    from runtime.train.loop import Trainer
    from runtime.train.teaching import Teacher

    examples = [Example(row, {"response": [False] + [True] * (LENGTH - 1)}) for row in ids]
    corpus = Corpus([str(k) for k in range(len(ids))], examples, LENGTH, 0)
    terms = [Term(term="kl", version=1, weight=1.0, params={"temperature": 1.0})]
    params = TrainParams(
        architecture=shape(vocabulary),
        losses=terms,
        needs_teacher=True,
        steps=10_000,
        batch_size=ROWS,
        max_length=LENGTH,
        threads=THREADS,
    )
    student, taught = (build.build(shape(vocabulary), seed, attention="sdpa") for seed in (1, 2))
    teacher = Teacher(taught, taught.lm_head, corpus, range(len(ids)), 1 << 30 if look_up else 0)
    trainer = Trainer(
        student=student,
        head=student.lm_head,
        teacher=teacher,
        corpus=corpus,
        terms=objective.bind(terms),
        params=params,
        seed=1,
    )
    # the steps that measure gradients are few in a run; here only ordinary ones count
    trainer.course = type(trainer.course)(trainer.course.supervised, frozenset())
    student.train()
    with fast(student, taught):
        for step in range(steps):
            trainer.step(step)
            yield trainer.record.tail[-1][0]


def theirs(variant: str, vocabulary: int, ids: list[list[int]], steps: int) -> Any:
    import torch
    from torch.nn import functional

    from runtime.contract.optimizer import Optimizer
    from runtime.models import build
    from runtime.train.loop import adamw
    from runtime.train.schedule import learning_rate

    student, teacher = (build.build(shape(vocabulary), seed, attention="sdpa") for seed in (1, 2))
    teacher.eval().requires_grad_(False)
    student.train()
    optimizer = adamw(student, Optimizer())
    batch = torch.tensor(ids)
    seen = torch.ones_like(batch)
    labels = batch.clone()
    labels[:, 0] = -100
    if variant == "gkd":
        from trl.experimental.gkd import GKDTrainer

        shell: Any = object.__new__(GKDTrainer)
        shell.teacher_model, shell.beta = teacher, 0.0
        inputs = {"input_ids": batch, "attention_mask": seen, "labels": labels}
    if variant == "trl chunked":
        from trl.trainer.distillation_trainer import _chunked_divergence_loss
    for step in range(steps):
        if variant == "gkd":
            loss = shell.compute_loss(student, inputs)
        elif variant == "naive":
            logits = student(batch, use_cache=False).logits[:, :-1]
            with torch.no_grad():
                taught = teacher(batch, use_cache=False).logits[:, :-1].log_softmax(-1)
            loss = functional.kl_div(logits.log_softmax(-1), taught, log_target=True, reduction="sum")
            loss = loss / (ROWS * (LENGTH - 1))
        else:
            hidden = student.base_model(batch, use_cache=False).last_hidden_state[:, :-1]
            with torch.no_grad():
                taught = teacher.base_model(batch, use_cache=False).last_hidden_state[:, :-1]
            loss, _, _ = _chunked_divergence_loss(
                hidden, taught, student.lm_head.weight, teacher.lm_head.weight, seen[:, 1:], 0.0
            )
        number = float(loss.detach())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), Optimizer().clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, 10_000, Optimizer())
        optimizer.step()
        yield number


def one(variant: str, vocabulary: int, steps: int) -> dict[str, Any]:
    import random

    from runtime.train.loop import deterministic

    draw = random.Random(0)
    ids = [[draw.randrange(3, vocabulary) for _ in range(LENGTH)] for _ in range(ROWS)]
    with deterministic(1, THREADS):
        made = (
            ours(vocabulary, ids, steps + 1, variant == "looked up")
            if variant in ("ours", "looked up")
            else theirs(variant, vocabulary, ids, steps + 1)
        )
        before = None
        losses = []
        for step, loss in enumerate(made):
            losses.append(loss)
            if step == 0:
                begin = time.process_time()
        spent = (time.process_time() - begin) / steps
        del before
    return {"seconds": spent, "peak": peak(), "losses": losses}


def held(vocabulary: int) -> int:
    """Bytes of a process that holds the two models and has imported what a step needs."""
    from runtime.models import build

    models = [build.build(shape(vocabulary), seed, attention="sdpa") for seed in (1, 2)]
    assert len(models) == 2
    return peak()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--steps", type=int, default=4)
    asked.add_argument("--rounds", type=int, default=2)
    asked.add_argument("--vocabularies", type=int, nargs="+", default=[32_768, 131_072])
    asked.add_argument("--variants", nargs="+", default=list(VARIANTS))
    asked.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.one:
        variant, vocabulary = given.one[0], int(given.one[1])
        print(json.dumps({"peak": held(vocabulary)} if variant == "held" else one(variant, vocabulary, given.steps)))
        return
    for vocabulary in given.vocabularies:

        def run(variant: str, vocabulary: int = vocabulary) -> dict[str, Any]:
            words = [sys.executable, __file__, "--steps", str(given.steps), "--one", variant, str(vocabulary)]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr)
            return json.loads(done.stdout.splitlines()[-1])

        floor = run("held")["peak"]
        found = {variant: [run(variant) for _ in range(given.rounds)] for variant in given.variants}
        first = next(iter(found.values()))[0]["losses"]
        print(f"V = {vocabulary}: {ROWS} x {LENGTH} tokens")
        naive = min(one["seconds"] for one in found.get("naive", next(iter(found.values()))))
        rise = {variant: min(one["peak"] for one in runs) - floor for variant, runs in found.items()}
        for variant, runs in found.items():
            seconds = min(one["seconds"] for one in runs)
            apart = max(abs(a - b) / abs(b) for a, b in zip(runs[0]["losses"], first, strict=True))
            print(
                f"  {variant:12} {ROWS * LENGTH / seconds:8.0f} tokens/s  x{naive / seconds:.2f}"
                f"  peak +{rise[variant] / 1e9:.2f} GB  x{rise[variant] / rise.get('naive', rise[variant]):.2f}"
                f"  loss apart {apart:.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""What one step of knowledge distillation costs, beside TRL's own loss steps and a plain loop over full logits.

    pip install trl==1.16.0        (only this script needs it)
    python tests/bench/kd_step.py [--steps 4] [--vocabularies 32768 131072] [--device cuda --precision bf16]

One model, one batch, one thread, float32, forward KL at temperature 1, AdamW. Each variant runs in a process of its own,
in turn, `--rounds` times; printed are tokens per second of processor time, as ratios within the run, and by how much the
peak memory of a process rose above what it held before its first step (weights of both models; the optimiser's two
moments are part of the rise, the same for all). Losses of all variants must agree.

- `ours`: runtime.train.loop.Trainer, its teacher run anew at each step, as those of the others are.
- `looked up`: the same, the teacher's hidden states computed once before.
- `naive`: model(ids).logits of both models, log_softmax, KL, backward.
- `gkd`: trl.experimental.gkd's compute_loss with lmbda 0 (no generation) and beta 0 (forward KL).
- `trl chunked`: the loss of trl.DistillationTrainer, generation left out.

On a card (`tests/device` calls `measured` there) the model is larger (`CARD`), time is the clock's after the card has
finished, and memory is what its allocator held at most; all variants compute inside torch's autocast, as TRL's own
trainers do.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

VARIANTS = ("ours", "looked up", "naive", "gkd", "trl chunked")
THREADS = 1


@dataclass(frozen=True)
class Size:
    """A model and a batch, and where they are."""

    rows: int = 4
    length: int = 512
    hidden: int = 256
    layers: int = 4
    #: tokens whose logits exist at one time, of ours
    chunk: int = 128
    device: str = "cpu"
    precision: Any = "fp32"

    def shape(self, vocabulary: int) -> Any:
        from runtime.contract.architecture import Architecture

        return Architecture(
            family="llama",
            hidden_size=self.hidden,
            intermediate_size=self.hidden * 43 // 16,
            num_hidden_layers=self.layers,
            num_attention_heads=self.hidden // 32 if self.hidden < 1024 else self.hidden // 64,
            num_key_value_heads=self.hidden // 64 if self.hidden < 1024 else self.hidden // 128,
            max_position_embeddings=self.length,
            vocab_size=vocabulary,
            tie_word_embeddings=True,
        )

    def place(self) -> Any:
        from runtime.models import device
        from runtime.train.place import Place

        return Place(device.of(self.device), self.precision)

    @property
    def tokens(self) -> int:
        return self.rows * self.length


#: what fills a card of 80 GB
CARD = Size(rows=8, length=1024, hidden=1024, layers=16, chunk=1024, device="cuda", precision="bf16")


def peak() -> int:
    """Bytes: the most this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ours(size: Size, vocabulary: int, ids: list[list[int]], steps: int, look_up: bool) -> Any:
    from runtime.data.encode import Example
    from runtime.steps.train import Term, TrainParams
    from runtime.train import fused, objective
    from runtime.train.batches import Corpus
    from runtime.train.linear import fast
    from runtime.train.loop import Trainer
    from runtime.train.teaching import Teacher

    place = size.place()
    examples = [Example(row, {"response": [False] + [True] * (size.length - 1)}) for row in ids]
    corpus = Corpus([str(k) for k in range(len(ids))], examples, size.length, 0)
    terms = [Term(term="kl", version=1, weight=1.0, params={"temperature": 1.0})]
    params = TrainParams(
        architecture=size.shape(vocabulary),
        losses=terms,
        needs_teacher=True,
        steps=10_000,
        batch_size=size.rows,
        max_length=size.length,
        chunk_tokens=size.chunk,
        threads=THREADS,
        device=size.device,
        precision=size.precision,
    )
    student, taught = models(size, vocabulary)
    teacher = Teacher(taught, taught.lm_head, corpus, range(len(ids)), 1 << 30 if look_up else 0, place)
    trainer = Trainer(
        student=student,
        head=student.lm_head,
        teacher=teacher,
        corpus=corpus,
        terms=objective.bind(terms),
        params=params,
        seed=1,
        place=place,
    )
    # the steps that measure gradients are few in a run; here only ordinary ones count
    trainer.course = type(trainer.course)(trainer.course.supervised, frozenset())
    student.train()
    with (
        fast(*(student, taught) if place.exact else ()),
        fused.norms(student, taught),
        # as in a training that is long enough
        fused.losses(trainer.terms, place.device, vocabulary, fused.WORTH) as compiled,
    ):
        assert not any(compiled.values()), compiled
        yield None
        for step in range(steps):
            trainer.step(step)
            yield trainer.record.tail[-1][0]


def theirs(size: Size, variant: str, vocabulary: int, ids: list[list[int]], steps: int) -> Any:
    import torch
    from torch.nn import functional

    from runtime.contract.optimizer import Optimizer
    from runtime.train.loop import adamw
    from runtime.train.schedule import learning_rate

    place = size.place()
    student, teacher = models(size, vocabulary)
    teacher.eval().requires_grad_(False)
    student.train()
    optimizer = adamw(student, Optimizer())
    batch = torch.tensor(ids, device=place.device)
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

    def whole() -> Any:
        if variant == "gkd":
            return shell.compute_loss(student, inputs)
        if variant == "naive":
            logits = student(batch, use_cache=False).logits[:, :-1]
            with torch.no_grad():
                taught = teacher(batch, use_cache=False).logits[:, :-1].log_softmax(-1)
            loss = functional.kl_div(logits.log_softmax(-1), taught, log_target=True, reduction="sum")
            return loss / (size.rows * (size.length - 1))
        hidden = student.base_model(batch, use_cache=False).last_hidden_state[:, :-1]
        with torch.no_grad():
            taught = teacher.base_model(batch, use_cache=False).last_hidden_state[:, :-1]
        weights = (student.lm_head.weight, teacher.lm_head.weight)
        return _chunked_divergence_loss(hidden, taught, *weights, seen[:, 1:], 0.0)[0]

    yield None
    for step in range(steps):
        with place.trunk():
            loss = whole()
        number = float(loss.detach())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), Optimizer().clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, 10_000, Optimizer())
        optimizer.step()
        yield number


def models(size: Size, vocabulary: int) -> list[Any]:
    from runtime.models import build

    shape = size.shape(vocabulary)
    return [build.build(shape, seed, attention="sdpa").to(size.place().device) for seed in (1, 2)]


def measured(size: Size, variant: str, vocabulary: int, steps: int) -> dict[str, Any]:
    """Seconds of a step, losses, and bytes: `peak` of the process, or on a card `rise` above both models."""
    import random

    import torch

    from runtime.train.loop import deterministic

    draw, place = random.Random(0), size.place()
    card = place.device.type == "cuda"
    clock = time.perf_counter if card else time.process_time
    ids = [[draw.randrange(3, vocabulary) for _ in range(size.length)] for _ in range(size.rows)]
    losses, begin, before = [], 0.0, 0
    with deterministic(1, THREADS, exact=not card):
        made = (
            ours(size, vocabulary, ids, steps + 1, variant == "looked up")
            if variant in ("ours", "looked up")
            else theirs(size, variant, vocabulary, ids, steps + 1)
        )
        next(made)
        if card:
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        for step, loss in enumerate(made):
            losses.append(loss)
            if step == 0:
                place.synchronise()
                begin = clock()
        place.synchronise()
        spent = (clock() - begin) / steps
    rise = {"rise": torch.cuda.max_memory_allocated() - before} if card else {"peak": peak()}
    return {"seconds": spent, "losses": losses, **rise}


def held(size: Size, vocabulary: int) -> int:
    """Bytes of a process that holds the two models and has imported what a step needs."""
    made = models(size, vocabulary)
    assert len(made) == 2
    return peak()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--steps", type=int, default=4)
    asked.add_argument("--rounds", type=int, default=2)
    asked.add_argument("--vocabularies", type=int, nargs="+", default=[32_768, 131_072])
    asked.add_argument("--variants", nargs="+", default=list(VARIANTS))
    asked.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    asked.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    asked.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = asked.parse_args()
    size = replace(CARD if given.device == "cuda" else Size(), precision=given.precision)
    if given.one:
        variant, vocabulary = given.one[0], int(given.one[1])
        found = {"peak": held(size, vocabulary)} if variant == "held" else None
        print(json.dumps(found or measured(size, variant, vocabulary, given.steps)))
        return
    for vocabulary in given.vocabularies:

        def run(variant: str, vocabulary: int = vocabulary) -> dict[str, Any]:
            words = [sys.executable, __file__, "--steps", str(given.steps), "--one", variant, str(vocabulary)]
            words += ["--device", given.device, "--precision", given.precision]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr)
            return json.loads(done.stdout.splitlines()[-1])

        floor = 0 if given.device == "cuda" else run("held")["peak"]
        found = {variant: [run(variant) for _ in range(given.rounds)] for variant in given.variants}
        first = next(iter(found.values()))[0]["losses"]
        print(f"V = {vocabulary}: {size.rows} x {size.length} tokens")
        naive = min(one["seconds"] for one in found.get("naive", next(iter(found.values()))))
        rise = {name: min(one.get("rise", one.get("peak")) for one in runs) - floor for name, runs in found.items()}
        for variant, runs in found.items():
            seconds = min(one["seconds"] for one in runs)
            apart = max(abs(a - b) / abs(b) for a, b in zip(runs[0]["losses"], first, strict=True))
            print(
                f"  {variant:12} {size.tokens / seconds:8.0f} tokens/s  x{naive / seconds:.2f}"
                f"  peak +{rise[variant] / 1e9:.2f} GB  x{rise[variant] / rise.get('naive', rise[variant]):.2f}"
                f"  loss apart {apart:.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()

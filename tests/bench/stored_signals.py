"""A second stage from stored signals, against asking the teacher again: processor time, peak memory, bytes on disk.

    python tests/bench/stored_signals.py            # about a minute on an idle core, 1 GB

Each row of the table is a process of its own over the same student, rows and steps; a teacher of SmolLM2's vocabulary
and width with random weights (what it says costs the same). `asked` is what every stage, baseline and cell does without
a store: load the teacher, run it over the rows, train. `record` is done once; `stored` is every stage with the store.
Peak memory is of the whole process, above what it had before models and signals were loaded; pages of shards that are
mapped count, and the system takes them back when it needs them.

On a Zen 5 core, one thread, neighbours on the machine (24 rows of up to 128 tokens, a teacher of 70 M parameters):

                     CPU s  of asked  memory MB  of asked  B/token
    asked              7.3      1.00       1050      1.00
    record hidden      2.6      0.36        692      0.66     2304
    stored hidden      5.2      0.71        813      0.77
    record top_k       4.0      0.55        659      0.63      520
    stored top_k       4.7      0.64        624      0.59
    record full        3.7      0.51        601      0.57   196609
    stored full        5.0      0.68        895      0.85

So a second stage costs 0.64 to 0.71 of asking again, and two stages with a store, the recording counted, 0.89 to 0.92
of two without. Here the teacher costs a third of a stage; the larger it is beside the student, the more is saved.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from runtime.contract.architecture import Architecture
from runtime.contract.signals import INDEX, Full, Hidden, Likeliest
from runtime.data.encode import RESPONSE, Example
from runtime.machine import durable
from runtime.models import build
from runtime.steps.record_signals import RecordSignalsParams
from runtime.train import objective, recording, teaching
from runtime.train.batches import Corpus
from runtime.train.linear import fast
from runtime.train.loop import Trainer, deterministic
from runtime.train.place import HERE
from runtime.train.stored import Stored, View
from runtime.train.teaching import Teacher, head_of
from tests.tensor.export.world import Stage
from tests.tensor.train import world

VOCAB, ROWS, TOKENS, STEPS, THREADS = 49152, 24, 128, 6, 1
FORMS: dict[str, Hidden | Likeliest | Full] = {
    "hidden": Hidden(form="hidden"),
    "top_k": Likeliest(form="top_k", k=64),
    "full": Full(form="full"),
}


def shape(hidden: int, layers: int, heads: int) -> Architecture:
    return Architecture(
        family="llama",
        hidden_size=hidden,
        intermediate_size=8 * hidden // 3 // 32 * 32,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 3,
        max_position_embeddings=512,
        vocab_size=VOCAB,
        tie_word_embeddings=True,
    )


def corpus() -> Corpus:
    """Rows of uneven length; a little more than half of each is its response."""
    random = np.random.default_rng(3)
    found = []
    for _ in range(ROWS):
        length = int(random.integers(TOKENS // 2, TOKENS + 1))
        ids = [int(one) for one in random.integers(3, VOCAB, length)]
        found.append(Example(ids, {RESPONSE: [i >= length * 2 // 5 for i in range(length)]}))
    return Corpus([str(row) for row in range(ROWS)], found, TOKENS, 0)


def asking(store: Hidden | Likeliest | Full) -> RecordSignalsParams:
    return RecordSignalsParams(store=store, temperatures=[1.0, 2.0], max_length=TOKENS, threads=THREADS)


def record(folder: Path, form: str, rows: Corpus) -> None:
    """What the operation `record_signals` does, but for the tokenizer."""
    stage = Stage(folder / f"stage-{form}", {})
    model = teaching.loaded(folder / "teacher").requires_grad_(False)
    with fast(model):
        head = head_of(model, rows.ids[0][None], "teacher")
        maker = recording.Maker(model, head, rows, asking(FORMS[form]), "fp32", HERE)
        shards = maker.record(stage, "bench")
    out = stage.out("signals")
    recording._hand_over(stage.scratch / "signals", out, shards)
    listed: dict[str, Any] = {one.name: {"bytes": one.bytes, "digest": one.digest} for one in shards}
    durable.write(out / INDEX, recording._index(maker, listed | recording._further(out, maker), stage))


def train(folder: Path, form: str, rows: Corpus) -> None:
    """The steps of a stage, whose teacher is asked or stored."""
    params = world.params(
        architecture=shape(288, 4, 6),
        losses=world.terms(kl=0.9, ce_truth=0.1),
        steps=STEPS,
        batch_size=ROWS // STEPS,
        max_length=TOKENS,
        chunk_tokens=128,
        threads=THREADS,
    )
    student = build.build(params.architecture, 5, attention="sdpa")
    taught: Teacher | View
    models = [student]
    if form:
        taught = View(Stored(folder / f"stage-{form}" / "signals"), rows)
    else:
        model = teaching.loaded(folder / "teacher")
        models.append(model)
    with fast(*models):
        if not form:
            taught = Teacher(model, head_of(model, rows.ids[0][None], "teacher"), rows, range(ROWS))
        trainer = Trainer(
            student=student,
            head=head_of(student, rows.ids[0][None], "student"),
            teacher=taught,
            corpus=rows,
            terms=objective.bind([one.model_copy(update={"semantics": {}}) for one in params.losses]),
            params=params,
            seed=5,
        )
        for step in range(STEPS):
            trainer.step(step)


def spent() -> tuple[float, float]:
    """Processor seconds, and the largest memory in MB."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1000


def phase(folder: Path, what: str, form: str) -> None:
    rows = corpus()
    begun = spent()
    with deterministic(5, THREADS):
        if what == "make":
            build.save(build.build(shape(576, 10, 9), 4), folder / "teacher")
        elif what == "record":
            record(folder, form, rows)
        else:
            train(folder, form, rows)
    ended = spent()
    print(json.dumps({"cpu_s": ended[0] - begun[0], "memory_mb": ended[1] - begun[1]}))


def measured(folder: Path, what: str, form: str = "") -> dict[str, float]:
    command = [sys.executable, __file__, "--folder", str(folder), "--phase", what, "--form", form]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    given = argparse.ArgumentParser()
    for name in ("--folder", "--phase", "--form"):
        given.add_argument(name, default="")
    asked = given.parse_args()
    if asked.phase:
        phase(Path(asked.folder), asked.phase, asked.form)
        return
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measured(folder, "make")
        again = measured(folder, "asked")
        tokens = sum(len(corpus().before(row)) for row in range(ROWS))
        print(f"{STEPS} steps of {ROWS // STEPS} rows, {tokens} supervised tokens, {THREADS} thread, V {VOCAB}")
        print(f"{'':18}{'CPU s':>8}{'of asked':>10}{'memory MB':>11}{'of asked':>10}{'B/token':>9}")
        print(f"{'asked':18}{again['cpu_s']:8.1f}{1.0:10.2f}{again['memory_mb']:11.0f}{1.0:10.2f}")
        for form in FORMS:
            once, then = measured(folder, "record", form), measured(folder, "stored", form)
            files = (folder / f"stage-{form}" / "signals").iterdir()
            size = sum(path.stat().st_size for path in files if path.name.startswith("shard"))
            for what, one in ((f"record {form}", once), (f"stored {form}", then)):
                share = one["cpu_s"] / again["cpu_s"], one["memory_mb"] / again["memory_mb"]
                print(f"{what:18}{one['cpu_s']:8.1f}{share[0]:10.2f}{one['memory_mb']:11.0f}{share[1]:10.2f}", end="")
                print(f"{size / tokens:9.0f}" if what.startswith("record") else "")


if __name__ == "__main__":
    main()

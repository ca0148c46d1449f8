"""Training prompts × the checkpoint of a teacher → its greedy answers, a chunk at a time: the operation
`generate_answers`.

A chunk is kept as soon as it is written, so that a run that was stopped goes on there. Chunks are the same whether a
run was stopped or not, and so are the batches in them: what is answered does not depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from runtime.contract import Context, Refusal
from runtime.contract import report as facts
from runtime.contract.conversation import Prompt
from runtime.contract.record import Answer, without_thoughts
from runtime.contract.rows import prompt_of
from runtime.contract.strict_json import dumps, loads
from runtime.data import answers
from runtime.machine import durable
from runtime.models import runners, threads
from runtime.models import tokenizer as tokenizers
from runtime.steps.generate_answers import GenerateAnswersParams

#: prompts of a chunk
TOGETHER = 256


def generate_answers(takes: Mapping[str, Path], params: GenerateAnswersParams, ctx: Context) -> None:
    """Raises Refusal for a prompt that leaves no room for an answer, and when more rows than allowed lack a usable
    one."""
    words = tokenizers.load(takes["tokenizer"])
    asked = answers.training_rows(takes["dataset"])
    sizes = {prompt: len(words.encode_prompt(prompt)) for prompt in {prompt_of(row) for row in asked}}
    prompts = sorted(sizes, key=lambda prompt: (sizes[prompt], str(prompt), repr(prompt)))
    if prompts and sizes[prompts[-1]] >= params.longest:
        raise Refusal(
            f"a prompt of {sizes[prompts[-1]]} tokens leaves no room for an answer in rows of {params.longest}: "
            f"{str(prompts[-1])[:60]!r}",
            action="shorten or remove it, or raise the length of rows (training.stages[].max_length, shapes.prefill)",
        )
    teacher = runners.checkpoint("teacher", takes["teacher"], words, on=params.device)
    given: dict[Prompt, Answer] = {}
    before = torch.get_num_threads()
    try:
        threads.use(params.threads)
        for start in range(0, len(prompts), TOGETHER):
            chunk = prompts[start : start + TOGETHER]
            given |= _chunk(ctx.scratch / f"answers-{start:08d}.json", chunk, teacher, params.longest)
            ctx.progress(len(given), len(prompts), "the teacher answers")
    finally:
        torch.set_num_threads(before)
    answers.write(
        ctx,
        asked,
        {row["id"]: given[prompt_of(row)] for row in asked},
        signals=params.signals,
        allow_missing=params.allow_missing,
        model=params.model,
        here=True,
        more={"thoughts_removed": facts.measured(sum(given[prompt_of(row)].thoughtful for row in asked), "answer")},
    )


def _chunk(kept: Path, prompts: Sequence[Prompt], teacher: runners.HFRunner, longest: int) -> dict[Prompt, Answer]:
    """The answers to these prompts: those that were kept, or now written and kept."""
    if kept.is_file():
        found = cast(list[list[Any]], loads(kept.read_bytes()))
    else:
        found = [[text, ended] for text, ended in teacher.answers(prompts, longest)]
        durable.write(kept, dumps(cast(Any, found)))
    made = {}
    for prompt, (whole, ended) in zip(prompts, found, strict=True):
        text = without_thoughts(str(whole))
        made[prompt] = Answer(text, truncated=not ended, thoughtful=text != whole)
    return made

"""A teacher, a file of rows and a machine → the text of a first spec, every choice with its reason. No tensors.

`model` says what a teacher is, `rows` what a file holds, `choose` gives the numbers, `text` writes them. One more
choice is one more function of `choose` and one more line here. Nothing is written to disk, and nobody is asked: the
command line does both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kcompiler.begin import choose, text
from kcompiler.begin.model import Model
from kcompiler.begin.rows import File, prompts, word
from kcompiler.begin.text import Line
from kcompiler.begin.unable import Unable
from kcompiler.source import Value
from runtime.contract.architecture import Architecture
from runtime.contract.families import FAMILIES
from runtime.contract.rows import Row

__all__ = ["Asked", "File", "Model", "Rows", "Unable", "spec"]

#: of rows that nobody gave a licence: one of one's own, which says nothing of what is allowed
OWN = "LicenseRef-own-rows"
#: what stands for the digest of weights until `pin` has written it
UNPINNED = "sha256:" + 64 * "0"


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A file of rows. `path` is how the spec names it; `lengths` are tokens of each row of `sample`, a fair one of all
    `count`. Without a column for responses the teacher answers."""

    file: File
    path: str
    fields: Mapping[str, str]
    license: str
    count: int
    lengths: Sequence[int]
    sample: Sequence[Row]

    @property
    def answered(self) -> bool:
        """Whether the file answers what it asks."""
        return not prompts(self.fields)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What somebody wants, and what was found. `rows` are learnt from and, where there are no others, judged by, too;
    `memory` is this machine's in bytes, `speed` its operations a second."""

    name: str
    owner: str
    said: str
    model: Model
    teacher_license: str
    rows: Rows
    judges: Rows | None
    memory: int
    processors: int
    speed: float


def spec(asked: Asked) -> str:
    """The spec's text; its pins are to be written by `kcompiler.pin`."""
    teacher = asked.model.architecture
    kept, why_kept = choose.layers(teacher)
    student = teacher.model_copy(update={"num_hidden_layers": kept})
    judges = asked.judges or asked.rows
    suite, parameters, why_suite = choose.suite([row["response"] for row in judges.sample])
    if asked.judges is None:
        asks = [row["prompt"] for row in asked.rows.sample]
        share, held, enough, why_enough = choose.held_out(asks, asked.rows.count, suite)
        held_out = [Line(f"held_out: {share}", why_enough)]
    else:
        enough, why_enough = choose.enough(asked.judges.count, suite)
        held, held_out = 0, []
    if not asked.rows.answered and suite == "language_model":
        # which compares with a student that learnt from the rows' own answers
        suite, why_suite = (
            "same_text",
            "the teacher's texts are what is learnt: how often does the student write the same?",
        )
    room = 0 if asked.rows.answered else choose.ROOM
    lengths = [*(length + room for length in asked.rows.lengths), *(asked.judges.lengths if asked.judges else ())]
    buckets, why_buckets = choose.prefill(lengths, teacher.max_position_embeddings)
    context, why_context = choose.context(buckets[-1], teacher.max_position_embeddings)
    return "\n".join(
        [
            *_head(asked),
            *_teacher(asked),
            text.section("data", [*_sources(asked), *held_out, *_room(asked.rows)]),
            text.section(
                "student",
                [
                    Line("role: worker"),
                    Line(f"cut: {{layers: {{by: even, count: {kept}}}}}", f"the teacher's own layers: {why_kept}"),
                    Line("architecture: from cut"),
                ],
            ),
            *_training(asked, student, buckets[-1], asked.rows.count - held, lengths),
            text.section(
                "shapes",
                [
                    Line(f"prefill: {text.value(buckets)}", f"{why_buckets} (prompt and answer, as they are judged)"),
                    Line(f"decode: {{context: {context}}}", why_context),
                ],
            ),
            _quantization(teacher.family),
            text.section(
                "evaluation",
                [
                    Line("suites:"),
                    Line(f"  - {text.value({'use': suite, 'split': 'test', **parameters})}", why_suite),
                    *_baselines(asked.rows),
                ],
            ),
            *_machine(asked, student),
            *_packs(suite, enough, why_enough, compared=asked.rows.answered),
            text.scalar("execution", {"seed": 1337, "executor": "local", "threads": asked.processors}),
            _mini(asked.rows),
        ]
    )


def _quantization(family: str) -> str:
    # an example of what may be added; of SmolLM2 it is what rounding hurts least
    rule = f'{{match: "{FAMILIES[family].sturdy}", weights: int8, granularity: per_channel}}'
    why = (
        "float16: what 8 bits cost differs from model to model, and a student that is barely trained bears them worst. "
        f"Once it is trained, add `rules: [{rule}]` and more: nothing is trained again, and `verify` says whether the "
        "package is still the student"
    )
    return text.section("quantization", [Line("default: {weights: fp16}", why), Line("islands: [rms_norm]")])


_MINI = """\
profiles:
  # shows that the whole of it runs, and that the packages are the student; says nothing of how good it is: after so
  # few steps it writes no sense
  mini:
    training.stages.kd.steps: 5
    training.stages.kd.optimizer.warmup_steps: 1
    training.stages.kd.batch_size: 4
    student.cut.rows: 8
    policies: [caws/core]
"""
#: prompts that the teacher answers in it
_FEW = 16


def _mini(rows: Rows) -> str:
    return _MINI if rows.answered else f"{_MINI}    data.sources.{_name(rows)}.limit: {_FEW}\n"


def _name(rows: Rows) -> str:
    return word(rows.file.path.name.partition(".")[0])


def _head(asked: Asked) -> list[str]:
    about = f"What {asked.model.title} answers to {asked.rows.file.path.name}, by half of it."
    return [
        f"# Written by `{asked.said}`.",
        "# Every choice says why, and all of it may be changed: `kcompiler validate` says what is wrong.",
        "apiVersion: kcompiler/v1",
        "kind: Distillation",
        text.section(
            "metadata",
            [
                Line(f"name: {text.value(asked.name)}"),
                Line(f"owner: {text.value(asked.owner)}"),
                Line(f"description: {text.value(about)}"),
            ],
        ),
        text.scalar("risk_tier", 3, "1 ships to people, 2 spends money, 3 is a toy or a smoke test: raise it to ship"),
    ]


def _teacher(asked: Asked) -> list[str]:
    model = asked.model
    a = model.architecture
    facts = f"{a.family}, {a.num_hidden_layers} layers of {a.hidden_size}, {a.vocab_size:,} tokens"
    lines = [
        Line(f"{key}: {text.value(value)}", facts if key == "source" else "") for key, value in model.section.items()
    ]
    lines.append(Line(f"revision: {UNPINNED}", "which weights they are; `kcompiler pin` writes it when they change"))
    if asked.rows.answered:
        lines.append(Line("signals: [logits]", "it is here, so that its whole distribution can be learnt"))
    else:
        lines.append(Line("signals: [text]", "it answers the prompts, and its text is what is learnt"))
    if asked.teacher_license:
        lines.append(Line(f"license: {text.value(asked.teacher_license)}"))
    template = (
        Line("template: chat", "the teacher's own: training, evaluation and apps write a question in the same way")
        if model.template
        else Line('template: "{prompt}\\n{response}"', "the teacher has no chat template")
    )
    return [
        text.section("teacher", lines),
        text.section(
            "tokenizer", [Line("source: teacher", "the student reads and writes the teacher's ids"), template]
        ),
    ]


def _sources(asked: Asked) -> list[Line]:
    name = _name(asked.rows)
    if asked.judges is None:
        return [Line("sources:"), *_source(asked.rows, name, "")]
    other = _name(asked.judges)
    second = other if other != name else f"{other[:33]}-judged"
    return [Line("sources:"), *_source(asked.rows, name, "train"), *_source(asked.judges, second, "test")]


def _source(rows: Rows, name: str, split: str) -> list[Line]:
    form = rows.file.form
    source: dict[str, Value] = {"name": name, "kind": form.kind, "path": rows.path}
    if form.delimiter != ",":
        source["delimiter"] = form.delimiter
    if split:
        source["split"] = split
    if not rows.answered:
        source["responses"] = "teacher"
    renamed: dict[str, Value] = {part: name for part, name in rows.fields.items() if part != name}
    if renamed:
        source["fields"] = renamed
    there = ", ".join(rows.file.names[:12])
    why = {"fields": "its `id` names several rows: each is named by its content" if rows.fields.get("id") == "" else ""}
    lines = [Line(f"    {key}: {text.value(value)}", why.get(key, "")) for key, value in source.items()]
    lines[0] = Line(f"  - {lines[0].text.strip()}", f"{rows.count:,} rows; the file has {there}")
    unsaid = "nobody said it (--license); it flows to all that is made of these rows" if rows.license == OWN else ""
    return [*lines, Line(f"    license: {text.value(rows.license)}", unsaid)]


def _room(rows: Rows) -> list[Line]:
    """What becomes of answers of the teacher that are longer than a row may be."""
    if rows.answered:
        return []
    why = f"the teacher has about {choose.ROOM} tokens for an answer; one that does not end in them is left out"
    return [Line("too_long: drop", why), Line("too_long_at_most: 0.5")]


def _baselines(rows: Rows) -> list[Line]:
    if not rows.answered:
        # without the teacher there would be nothing to learn
        return []
    return [Line("baselines: [ce_only]", "the same student without a teacher: is the teacher worth its time?")]


def _training(asked: Asked, student: Architecture, longest: int, train: int, lengths: Sequence[int]) -> list[str]:
    size, again, why_size = choose.batch(student, asked.model.architecture, longest, asked.memory)
    count, why_count = choose.steps(train, size)
    tokens = round(count * size * sum(lengths) / len(lengths))
    lasts = choose.time(student, asked.model.architecture, tokens, asked.speed, twice=asked.rows.answered)
    losses = [
        Line("      - {term: kl, weight: 0.8, temperature: 1.0}", "mostly what the teacher would say"),
        Line("      - {term: ce_truth, weight: 0.2}", "and what the rows say"),
    ]
    if not asked.rows.answered:
        losses = [Line("      - {term: sequence_kd, weight: 1.0}", "what the teacher said")]
    lines = [
        Line("stages:"),
        Line("  - name: kd"),
        Line(f"    steps: {count}", f"{why_count}; {lasts}"),
        Line(f"    batch_size: {size}", why_size),
        *([Line("    gradient_checkpointing: true", "otherwise not even one row fits")] if again else []),
        Line("    losses:"),
        *losses,
        Line("    optimizer: {learning_rate: 3.0e-4, warmup_steps: 10}", "weights that know much already move little"),
    ]
    return [text.section("training", lines)]


def _machine(asked: Asked, student: Architecture) -> list[str]:
    name, why = choose.machines(student, asked.model.architecture)
    return [
        text.section("hardware", [Line(f"profile: {name}", why), Line("concurrency: 1")]),
        text.scalar("budgets", {"usd": 0, "gpu_hours": 0, "wall_s": 86400}, "nothing is paid for; a day at most"),
    ]


def _packs(suite: str, enough: bool, why: str, *, compared: bool) -> list[str]:
    proof = "caws/core: the packages are the checkpoint they claim to be"
    if not enough:
        return [text.scalar("policies", ["caws/core"], f"{proof}. How good it is nobody judges yet: {why}")]
    if not compared:
        why = "the packs compare with a student that learnt without the teacher, which these rows do not give"
        return [text.scalar("policies", ["caws/core"], f"{proof}. How good it is the reports say, and no gate: {why}")]
    pack = "quality/gold" if suite == "gold" else "caws/tier-3"
    good = f"{proof}; {pack}: and it is about as good as its teacher"
    if pack == "caws/tier-3":
        good += (
            ", and better than the same student without one. Where only that fails (kd-gain), the teacher knows less "
            "of these rows than they say themselves: give `ce_truth` more weight and `kl` less"
        )
    return [text.scalar("policies", ["caws/core", pack], good)]

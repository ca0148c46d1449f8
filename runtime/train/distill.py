"""Dataset, tokenizer and teacher → a student checkpoint and its training report: the operation `train`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from runtime import digest
from runtime.contract import Context, Refusal
from runtime.contract import report as facts
from runtime.contract.qat import Rounding
from runtime.contract.record import Answer
from runtime.contract.rows import Row, answered, load, prompt_of
from runtime.contract.splits import TRAIN, VALIDATION
from runtime.data import answers
from runtime.data.encode import RESPONSE, encode
from runtime.machine import host, saved
from runtime.models import admission, build, gauge, heads, tokenizer
from runtime.models.tokenizer import Tokenizer
from runtime.steps.train import TrainParams
from runtime.train import checkpointing, fused, layers, memory, objective, packing, rounding, settling, stored, telling
from runtime.train import place as places
from runtime.train.batches import Corpus, rows_of
from runtime.train.checkpointing import Store
from runtime.train.linear import begun_with, fast, products
from runtime.train.loop import Trainer, deterministic
from runtime.train.matching import Matching
from runtime.train.narrow import narrowed
from runtime.train.objective import Bound
from runtime.train.schedule import check as check_schedule
from runtime.train.schedule import learning_rate, weight_at
from runtime.train.teaching import ATTENTION, Taught, Teacher, check_width, head_of
from runtime.train.validated import data as told_validation


def corpus_of(
    takes: Mapping[str, Path], words: Tokenizer, terms: Sequence[Bound], params: TrainParams, split: str = TRAIN
) -> tuple[Corpus, int]:
    """A split, encoded, and how many of its rows have no answer and are left out. No other split is opened.

    Raises Refusal for a split without rows, and for choices that are no tokens of their own.
    """
    path = takes["dataset"] / f"{split}.jsonl"
    if not path.is_file():
        action = "lower data.held_out" if split == TRAIN else "keep rows for it (data.validation)"
        raise Refusal(f"the dataset has no split `{split}`", place=path.name, action=action)
    masks = sorted({bound.loss.mask for bound in terms})
    rows, left_out = load(path), 0
    given: dict[str, Answer] = {}
    if params.needs_answers:
        given = answers.load(takes["answers"])
        whole = len(rows)
        rows = [row for row in rows if row["id"] in given]
        left_out = whole - len(rows)
    if params.responses == "teacher":
        rows = [answered(row, given[row["id"]].text) for row in rows]
    # a conversation may be several sequences, each with its row's name
    facts_read = sorted({fact for bound in terms for fact in bound.facts})
    examples = [(row, example) for row in rows for example in encode(row, words, masks, facts_read)]
    choices = None
    if any(bound.needs_choices for bound in terms):
        choices = [choice_ids(row, given[row["id"]], words) for row, _ in examples]
    names, encoded = [row["id"] for row, _ in examples], [example for _, example in examples]
    if not encoded:
        raise Refusal(f"the split `{split}` has no row that can be used", place=path.name, action="give more rows")
    return Corpus(names, encoded, params.max_length, words.pad_id, choices), left_out


def choice_ids(row: Row, answer: Answer, words: Tokenizer) -> dict[int, float]:
    """Token of each choice in its place after this row's prompt → the teacher's log-probability of it.

    Raises Refusal for a choice of several tokens, and for two choices of one.
    """
    found: dict[int, float] = {}
    for choice, number in answer.choices.items():
        pair = words.encode_pair(prompt_of(row), choice)
        ids = pair.ids[pair.prompt_tokens : -1]
        if len(ids) != 1 or ids[0] in found:
            why = f"is {len(ids)} tokens" if len(ids) != 1 else "is the token of another choice"
            raise Refusal(
                f"choice {choice[:20]!r} of row `{row['id']}` {why}",
                place="train.jsonl",
                action="use answers that the student's tokenizer holds as one token each, such as A, B, C and D",
            )
        found[ids[0]] = number
    return found


def student_of(takes: Mapping[str, Path], params: TrainParams, words: Tokenizer, seed: int) -> PreTrainedModel:
    """Random weights from the seed, or the checkpoint of port `from`, which must have the declared shape."""
    special = {"pad": words.pad_id, "bos": words.bos_id, "eos": words.eos_id}
    fresh = build.build(params.architecture, seed, special, attention=ATTENTION)
    if params.init == "random":
        return fresh
    if params.init != "checkpoint":
        raise Refusal(f"no way to start is called `{params.init}`", action="use random or checkpoint")
    model = build.load(takes["from"], attention=ATTENTION)
    declared, found = fresh.config.to_dict(), model.config.to_dict()
    if key := build.apart(declared, found):
        raise Refusal(
            f"the checkpoint to start from has {key} = {found.get(key)!r}, the spec says {declared[key]!r}",
            place="from",
            action=build.otherwise(key, "give the student the checkpoint's architecture"),
        )
    for name, number in special.items():
        # weights made elsewhere name their own control tokens; the tokenizer's contract decides
        setattr(model.config, f"{name}_token_id", number)
    return model


def matching_of(
    terms: Sequence[Bound], student: PreTrainedModel, teacher: PreTrainedModel | None, seed: int
) -> Matching | None:
    """What terms over layers hold against what; None where there are none. Where maps are read both models attend by
    the one implementation that returns them."""
    if teacher is None or all(bound.loss.layers is None for bound in terms):
        return None
    found = Matching(terms, layers.shape_of(student), layers.shape_of(teacher), seed)
    if found.student.attention:
        layers.attend(student, "student")
        layers.attend(teacher, "teacher")
    return found


def _drawn(params: TrainParams, corpus: Corpus, seed: int) -> list[int]:
    """The rows that any step will use."""
    return sorted({row for step in range(params.steps) for row in rows_of(seed, step, params.batch_size, len(corpus))})


def _teacher(
    model: PreTrainedModel,
    params: TrainParams,
    corpus: Corpus,
    ctx: Context,
    place: places.Place,
    matching: Matching | None,
) -> Teacher:
    # whoever looks on would take what was done before for the pace of this attempt
    at = min(saved.step_of(ctx.scratch) or 0, params.steps)

    def tell(done: int, total: int) -> None:
        # a safe point: that a large teacher reads all rows takes long
        ctx.progress(at, params.steps, f"the teacher reads rows: {done} of {total} lots")

    head = head_of(model, corpus.ids[0][None], "teacher")
    wanted = layers.NOTHING if matching is None else matching.teacher
    return Teacher(model, head, corpus, _drawn(params, corpus, ctx.seed), place=place, tell=tell, wanted=wanted)


def _check_needs(params: TrainParams, terms: Sequence[Bound]) -> None:
    needing = [bound.name for bound in terms if bound.needs_weights]
    inside = [bound.name for bound in terms if bound.loss.layers is not None]
    if inside and not params.needs_teacher:
        raise Refusal(f"loss `{inside[0]}` needs a teacher's layers", action="give a teacher, or drop the term")
    if needing and not params.needs_teacher and params.signals is None:
        raise Refusal(f"loss `{needing[0]}` needs a teacher's logits", action="give a teacher, or drop the term")
    asking = [bound.name for bound in terms if bound.needs_answers]
    if bool(asking) != params.needs_answers:
        raise Refusal("the terms and the port `answers` do not fit each other", action="plan again")
    spans = [bound.name for bound in terms if bound.loss.mask != RESPONSE]
    if params.responses == "teacher" and spans:
        raise Refusal(
            f"loss `{spans[0]}` supervises spans of the data's response, and the rows have the teacher's",
            action="train the two in different stages",
        )
    if (params.needs_teacher or params.signals is not None) and not needing:
        raise Refusal("a teacher is given but no loss term reads it", action="drop the teacher, or add such a term")
    for bound in terms:
        check_schedule(bound.name, bound.term.schedule)


def course(trainer: Trainer, ctx: Context) -> dict[str, str]:
    """All that decides a run's course, by name: a saved state of another course is not continued.

    It is made of what the run uses, not of the parameters as written: dumping those would mark them all as consumed.
    """
    params, steps = trainer.params, range(trainer.params.steps)
    value = {
        "model": trainer.student.config.to_json_string(),
        "init": params.init,
        "terms": [
            {
                "name": bound.name,
                "version": bound.loss.version,
                "params": bound.params.model_dump(mode="json"),
                "weights": [weight_at(step, bound.term.weight, bound.term.schedule) for step in steps],
            }
            for bound in trainer.terms
        ],
        "rates": [learning_rate(step, params.steps, params.optimizer, params.qat) for step in steps],
        "groups": [[*group["betas"], group["eps"], group["weight_decay"]] for group in trainer.optimizer.param_groups],
        "clip": params.optimizer.clip_norm,
        "rows": trainer.corpus.digest(),
        "batch_size": params.batch_size,
        "chunk_tokens": params.chunk_tokens,
        "micro_batch": params.micro_batch,
        "packing": params.packing,
        "checkpointed": params.gradient_checkpointing,
        "measured": sorted(trainer.course.measured),
        "validation": None if trainer.validator is None else trainer.validator.identity(),
        "threads": params.threads,
        "place": [str(trainer.place.device), str(trainer.place.teacher), trainer.place.precision],
        "teacher_weights": params.teacher_weights,
        "qat": None if params.qat is None else _rounding(params.qat),
        "kernels": host.kernels(),
        "products": products(),
        "seed": trainer.seed,
        "digests": dict(ctx.digests),
        "versions": {**ctx.versions, "torch": torch.__version__},
    }
    return checkpointing.course(value)


def _rounding(asked: Rounding) -> list[object]:
    forms = [[rule.match, rule.said] for rule in asked.recipe.rules]
    return [asked.from_step, asked.recipe.default.said, forms, list(asked.tensors)]


def fit(takes: Mapping[str, Path], params: TrainParams, ctx: Context, *, made_by: str) -> None:
    """Train as `params` say and write ports `checkpoint` and `report`. Raises Refusal as the parts do."""
    terms = objective.bind(params.losses, of_top=params.signals == "top_k")
    _check_needs(params, terms)
    if params.qat is not None and params.precision != "fp32":
        raise Refusal(
            f"weights that were rounded as the package has them would be rounded again, to {params.precision}",
            place="execution.precision",
            action="write `precision: fp32` to train with rounded weights",
        )
    words = tokenizer.load(takes["tokenizer"])
    corpus, left_out = corpus_of(takes, words, terms, params)
    if left_out:
        ctx.say(f"{left_out} rows without an answer of the teacher are left out")
    watched, not_watched = (None, 0)
    if params.validation is not None:
        watched, not_watched = corpus_of(takes, words, terms, params, VALIDATION)
    place = places.of(params, params.teacher_device)
    folder = ctx.scratch / "training"
    # the params of a teacher that is trained here have a batch, and no part of one
    whole = made_by == "bootstrap"
    room = memory.Room(params, max(len(ids) for ids in corpus.ids), place.device, whole=whole)
    ctx.measures(room.peak)
    if memory.killed_before(ctx.scratch):
        less = "lower batch_size of the teacher" if whole else "set micro_batch for this stage"
        ctx.say(f"the attempt before this one was killed, probably for want of memory: {less}")
    with (
        contextlib.closing(room),
        room.enough(),
        begun_with(Store.part(folder, "products")),
        deterministic(ctx.seed, params.threads, exact=place.device.type == "cpu"),
    ):
        student = student_of(takes, params, words, ctx.seed).to(place.device)
        for name in heads.keep(student, params.heads):
            ctx.say(f"the checkpoint's head `{name}` is left out: student.heads does not name it")
        heads.attach(student, params.heads, ctx.seed)
        room.parameters = build.count(student)
        check_width(student, words, params.max_length, "student")
        kept = None
        if params.signals is not None:
            kept = _kept(takes, params, ctx, words, corpus, terms)
            kept.check(_drawn(params, corpus, ctx.seed))
            kept.to(place.device)
            room.taught = memory.stored_of(kept)
        taught = None
        if params.needs_teacher:
            taught = rounding.teacher(takes["teacher"], params.teacher_weights, place.teacher or place.device)
            check_width(taught, words, params.max_length, "teacher")
        matching = matching_of(terms, student, taught, ctx.seed)
        if taught is not None:
            wanted = layers.NOTHING if matching is None else matching.teacher
            drawn = _drawn(params, corpus, ctx.seed)
            room.taught = memory.taught_of(taught, corpus, drawn, watched, wanted)
            room.compared = memory.compared_of(matching, int(taught.config.hidden_size))
        if params.packing:
            packing.check(student, "student")
        if params.packing and taught is not None:
            packing.check(taught, "teacher")
        # layers that are computed again in the backward pass are computed whole
        once = None if params.gradient_checkpointing else student
        plain = (student, taught, None if kept is None else kept.quick) if place.exact else ()
        entries = params.steps * params.batch_size * corpus.start[-1] // len(corpus) * words.vocab_size
        with (
            fast(*plain),
            fused.norms(student, taught),
            fused.losses(terms, place.device, words.vocab_size, entries) as compiled,
            narrowed(corpus.ids[0][None], once, taught),
        ):
            for name, why in compiled.items():
                if why:
                    ctx.say(f"loss `{name}` is not compiled: {why}")
            known = kept if taught is None else _teacher(taught, params, corpus, ctx, place, matching)
            terms = settling.settled(terms, known, corpus, _drawn(params, corpus, ctx.seed))
            trainer = Trainer(
                student=student,
                head=head_of(student, corpus.ids[0][None], "student"),
                teacher=known,
                corpus=corpus,
                terms=terms,
                params=params,
                seed=ctx.seed,
                place=place,
                matching=matching,
            )
            if trainer.rounded is not None:
                room.rounded = trainer.rounded.parameters
            # of the teacher's passes over all rows
            gauge.give_back()
            room.abreast = trainer.lots
            room.widest = lambda: (trainer.record.widest, trainer.record.widest_supervised)
            if watched is not None:
                view = None
                if params.signals is not None:
                    view = _kept(takes, params, ctx, words, watched, terms)
                trainer.watch(watched, _watching(trainer, view, taught, watched), folder)
            record = trainer.run(Store(folder, course(trainer, ctx)), ctx)
            made_by_whom = products() if place.exact else "torch"
    states = _give_states(trainer, takes["tokenizer"], ctx) if params.keeps_states else []
    trained = None if trainer.rounded is None else trainer.rounded.told(trainer.rounded.settle(), record.steps)
    out = ctx.out("checkpoint")
    # whatever comes next is judged on the CPU, as what enters is
    build.save(student.to("cpu"), out)
    tokenizer.beside(takes["tokenizer"], out)
    telling.write(out, telling.origin(record, trainer, ctx.digests, made_by=made_by))
    size = {"parameters": build.count(student), "tensors": len(list(student.parameters()))}
    marks = facts.fingerprints({name: takes[name] for name in ("dataset", "tokenizer")}, ctx.digests)
    marks["model"] = facts.hex_of(digest.of_folder(out))
    told = telling.data(record, terms, corpus, words, params, size)
    told |= telling.place(place, record, record.steps)
    told["threads"] = facts.measured(params.threads, "thread")
    told["products"] = made_by_whom
    if kept is not None:
        told["signals"] = kept.told
    if matching is not None:
        told["layers"] = telling.layers(matching)
    told["compiled"] = sorted(name for name, why in compiled.items() if not why)
    told["entry"] = admission.data(admission.examine(student))
    if trained is not None:
        told["qat"] = trained
    if trainer.validator is not None:
        told["validation"] = told_validation(record, trainer, states, not_watched)
    if params.needs_answers:
        told["rows_without_answer"] = facts.measured(left_out, "row", n=left_out + len(corpus))
    ctx.report("report", told, fingerprints=marks)
    ctx.say(f"trained {size['parameters']} parameters for {record.steps} steps: {trainer.note()}; {room.told()}")


def _kept(
    takes: Mapping[str, Path],
    params: TrainParams,
    ctx: Context,
    words: Tokenizer,
    corpus: Corpus,
    terms: Sequence[Bound],
) -> stored.View:
    """What is stored of the teacher, for one corpus."""
    read = {temperature for bound in terms for temperature in bound.temperatures}
    form, tokens = str(params.signals), ctx.digests["tokenizer"]
    return stored.of(takes["signals"], form, tokens, words.vocab_size, corpus, read)


def _watching(
    trainer: Trainer, kept: stored.View | None, taught: PreTrainedModel | None, watched: Corpus
) -> Taught | None:
    """What is known of the teacher at the rows that are validated by: stored, or of the model, which is held once."""
    if kept is not None:
        kept.check(range(len(watched)))
        kept.to(trainer.place.device)
        return kept
    if taught is None:
        return None
    known = trainer.teacher
    head = known.head if isinstance(known, Teacher) else head_of(taught, watched.ids[0][None], "teacher")
    wanted = layers.NOTHING if trainer.matching is None else trainer.matching.teacher
    return Teacher(taught, head, watched, range(len(watched)), place=trainer.place, wanted=wanted)


def _give_states(trainer: Trainer, words: Path, ctx: Context) -> list[tuple[int, str]]:
    """Port `states`: the states that were kept, each as a checkpoint; (steps, digest) of each. The student is then at
    its best again."""
    found: list[tuple[int, str]] = []
    assert trainer.record.selection is not None
    for one in trainer.record.selection.kept:
        trainer.take(one.step)
        if trainer.rounded is not None:
            trainer.rounded.settle()
        out = ctx.out("states") / f"step-{one.step:08d}"
        build.save(trainer.student, out)
        tokenizer.beside(words, out)
        found.append((one.step, digest.of_folder(out)))
    trainer.take(None)
    return found


def train(takes: Mapping[str, Path], params: TrainParams, ctx: Context) -> None:
    """Operation `train`: knowledge distillation, or plain language modelling when no term reads a teacher."""
    fit(takes, params, ctx, made_by="train")

"""Student, teacher, corpus and terms → trained weights and a record, step by step, the same bits every time.

One step: take the rows of the step, run the student's trunk on each group of similar length, hand the hidden states of
the supervised tokens to the objective, weigh its terms, clip, and let AdamW move the weights.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from runtime.contract import Context, Refusal, Stopped
from runtime.contract.objective import Top
from runtime.contract.optimizer import Optimizer
from runtime.models import heads
from runtime.models.threads import check as check_threads
from runtime.steps.train import TrainParams
from runtime.train import abreast, diagnosing, gradients, head, layers, objective, onepass, watching
from runtime.train.abreast import Abreast
from runtime.train.batches import Batch, Corpus, rows_of
from runtime.train.checkpointing import Keeper, State, Store, beside, capture, restore, restore_beside
from runtime.train.matching import Matched, Matching
from runtime.train.objective import Bound, Side
from runtime.train.place import HERE, Place
from runtime.train.qat import RoundedWeights
from runtime.train.record import Point, Record
from runtime.train.schedule import learning_rate, weight_at
from runtime.train.selecting import Selection
from runtime.train.teaching import Taught, gathered
from runtime.train.validating import Validator


@contextlib.contextmanager
def deterministic(seed: int, threads: int, *, exact: bool = True) -> Iterator[None]:
    """Seeded, on a fixed number of threads (the order of a sum depends on it), and where `exact` with deterministic
    kernels alone, which accelerators do not have of everything; the process's own settings come back afterwards.
    Raises Refusal when other threads run than were asked for."""
    saved = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    with torch.random.fork_rng(devices=[]):
        try:
            torch.set_num_threads(threads)
            check_threads(threads)
            torch.use_deterministic_algorithms(exact)
            # Filling every empty tensor costs a pass over it; no kernel used here reads one before writing it.
            torch.utils.deterministic.fill_uninitialized_memory = False
            torch.manual_seed(seed)
            yield
        finally:
            torch.set_num_threads(saved[0])
            torch.use_deterministic_algorithms(saved[1])
            torch.utils.deterministic.fill_uninitialized_memory = fill


def adamw(model: nn.Module, optimizer: Optimizer, beside: nn.Module | None = None) -> torch.optim.AdamW:
    """AdamW over all parameters; only matrices decay (norm gains and biases have no direction to shrink). `beside`:
    what is trained with the model and is no part of it."""
    every = [*model.parameters(), *(() if beside is None else beside.parameters())]
    matrices = [parameter for parameter in every if parameter.ndim >= 2]
    vectors = [parameter for parameter in every if parameter.ndim < 2]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": optimizer.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=optimizer.learning_rate,
        betas=(optimizer.beta1, optimizer.beta2),
        eps=optimizer.epsilon,
        fused=True,
    )


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of a run before its first step, from the rows it will draw."""

    #: supervised tokens of each term over all steps
    supervised: list[int]
    #: steps at which gradients are measured
    measured: frozenset[int]


def survey(corpus: Corpus, terms: Sequence[Bound], params: TrainParams, seed: int) -> Course:
    """Raises Refusal for a term that will not see a single token. Gradients are measured at the first and last step,
    every `gradient_norms_every` steps, and at the first step that holds a token of a term."""
    per_row = [[corpus.supervised(bound.loss.mask, row) for row in range(len(corpus))] for bound in terms]
    supervised = [0] * len(terms)
    measured = {*range(0, params.steps, params.gradient_norms_every), params.steps - 1}
    for step in range(params.steps):
        rows = rows_of(seed, step, params.batch_size, len(corpus))
        for k, counts in enumerate(per_row):
            found = sum(counts[row] for row in rows)
            if found and not supervised[k]:
                measured.add(step)
            supervised[k] += found
    for bound, found in zip(terms, supervised, strict=True):
        if not found:
            raise Refusal(
                f"loss `{bound.name}` would see no supervised token: no row drawn has a `{bound.loss.mask}` span",
                action="remove the term, or give rows with such spans",
            )
    return Course(supervised=supervised, measured=frozenset(measured))


class Trainer:
    """One run. `run` continues from the store when it holds a state of this very run."""

    def __init__(
        self,
        *,
        student: PreTrainedModel,
        head: nn.Linear,
        teacher: Taught | None,
        corpus: Corpus,
        terms: Sequence[Bound],
        params: TrainParams,
        seed: int,
        place: Place = HERE,
        matching: Matching | None = None,
    ) -> None:
        """`student` is where `place` says. `matching`: where terms read layers."""
        self.place, self.scaling = place, place.scaling()
        self.student, self.head, self.teacher = student, head, teacher
        self.corpus, self.terms, self.params, self.seed = corpus, terms, params, seed
        self.matching = None if matching is None else matching.to(place.device)
        self.listening = [] if matching is None else layers.listen(student, matching.student)
        #: of the student, and with them what is trained beside it
        self.parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
        self.trained = [*self.parameters, *(() if matching is None else matching.parameters())]
        self.optimizer = adamw(student, params.optimizer, self.matching)
        self.course = survey(corpus, terms, params, seed)
        self.record = Record(supervised=[0] * len(terms))
        whole = params.micro_batch is None and not params.packing and not params.gradient_checkpointing
        # casts to half precision are shared by threads
        self.lots = abreast.lots_for(student, params.threads) if whole and place.exact else 1
        self.abreast = Abreast(self.lots)
        self.validator: Validator | None = None
        #: of a student that is trained with rounded weights
        self.rounded = None if params.qat is None else RoundedWeights(student, params.qat)

    def watch(self, corpus: Corpus, teacher: Taught | None, folder: Path) -> None:
        """Validate by these rows, which are not learnt from. Raises Refusal as `Validator`."""
        params, terms = self.params, self.terms
        assert params.validation is not None
        self.record.selection = Selection()
        self.validator = Validator(
            corpus=corpus,
            given=lambda batch, denominators: self._given(batch, denominators, teacher),
            student=self.student,
            head=self.head,
            terms=terms,
            weights=[weight_at(params.steps - 1, bound.term.weight, bound.term.schedule) for bound in terms],
            policy=params.validation,
            allowed=params.steps,
            rows=params.micro_batch or params.batch_size,
            chunk_tokens=params.chunk_tokens,
            states=params.keeps_states,
            folder=folder,
        )

    def _given(
        self, batch: Batch, denominators: Mapping[str, int], teacher: Taught | None
    ) -> tuple[Tensor, onepass.Batch]:
        """The student's hidden_NH, differentiable, and what the terms read beside them. Masks stay on the host."""
        taught = None if teacher is None else teacher.given(batch)
        device, choices, matched = self.place.device, batch.choices_NM, None
        wanted = layers.NOTHING if self.matching is None else self.matching.student
        hidden_NH, inside = gathered(self.student, batch.groups, self.place, wanted)
        if self.matching is not None and isinstance(taught, Side):
            matched = Matched(self.matching, inside, taught.inside)
        return hidden_NH, onepass.Batch(
            matched=matched,
            heads=heads.of(self.student),
            teacher=None if isinstance(taught, Top) else taught,
            top_N=taught.to(device) if isinstance(taught, Top) else None,
            target_N=batch.target_N.to(device),
            masks_N=batch.masks_N,
            denominators=denominators,
            choices_N=None if choices is None else objective.Choices(*(one.to(device) for one in choices)),
            facts_N={fact: numbers.to(device) for fact, numbers in batch.facts_N.items()},
        )

    def _alone(self, hidden_NH: Tensor, read: onepass.Batch) -> Iterator[Tensor]:
        """Each term by itself, unweighted; made when it is asked for, so that one gradient exists at a time."""
        for bound in self.terms:
            yield onepass.total(hidden_NH, self.head, read, [bound], [1.0], self.params.chunk_tokens)[0]

    def _abreast(
        self, parts: Sequence[Batch], denominators: Mapping[str, int], terms: Sequence[Bound], weights: Sequence[float]
    ) -> Tensor:
        """The same of a batch whose parts go through the models at the same time."""

        def one(part: Batch) -> abreast.Found:
            hidden_NH, read = self._given(part, denominators, self.teacher)
            whole, found_K = onepass.total(hidden_NH, self.head, read, terms, weights, self.params.chunk_tokens)
            return found_K, torch.autograd.grad(whole, self.trained, allow_unused=True)

        return self.abreast.gradient([partial(one, part) for part in parts], self.trained)

    def _backward(
        self, parts: Sequence[Batch], denominators: Mapping[str, int], terms: Sequence[Bound], weights: Sequence[float]
    ) -> Tensor:
        """values_K of a batch whose parts go through the models one after the other; its gradient is added up."""
        if self.lots > 1:
            return self._abreast(parts, denominators, terms, weights)
        values_K = torch.zeros(len(terms), device=self.head.weight.device)
        for part in parts:
            hidden_NH, read = self._given(part, denominators, self.teacher)
            into = self.head.weight.grad
            whole, found_K = onepass.total(hidden_NH, self.head, read, terms, weights, self.params.chunk_tokens, into)
            whole.backward()
            values_K += found_K
        return values_K

    def _reaches(
        self, parts: Sequence[Batch], denominators: Mapping[str, int], factor: float = 1.0
    ) -> list[gradients.Reach]:
        """The gradient of each term over all parts, one gradient at a time: the parts' graphs are made anew for it."""
        found: list[gradients.Reach] = []
        for bound in self.terms:
            self._backward(parts, denominators, [bound], [factor])
            found.append(gradients.reach((parameter.grad for parameter in self.parameters), factor))
            self.optimizer.zero_grad(set_to_none=True)
        return found

    def _measured(self, measure: Callable[[float], list[gradients.Reach]]) -> list[gradients.Reach]:
        """Sizes of the terms' gradients; in float16 by the largest factor that none of them overflows at."""
        factor = self.scaling.factor
        while True:
            found = measure(factor)
            if factor == 1.0 or all(math.isfinite(reach.norm) for reach in found):
                return found
            factor = max(1.0, factor / 16)

    def step(self, step: int) -> None:
        """One optimiser step. Raises Refusal for a loss or gradient that is not finite, and for a zero gradient."""
        with self._narrow():
            try:
                self._step(step)
            except gradients.Diverged as found:
                rows = rows_of(self.seed, step, self.params.batch_size, len(self.corpus))
                with self._weights(step):
                    where = diagnosing.place_of(self, rows)
                raise found.found(where) from None

    def _narrow(self) -> contextlib.AbstractContextManager[None]:
        return head.rounded(self.place.precision == "bf16" and self.place.device.type == "cuda")

    def _weights(self, step: int) -> contextlib.AbstractContextManager[None]:
        """Within the context the student computes with the weights that it is to have at a step."""
        return contextlib.nullcontext() if self.rounded is None else self.rounded.at(step)

    def _step(self, step: int) -> None:
        params = self.params
        rows = rows_of(self.seed, step, params.batch_size, len(self.corpus))
        batch = self.corpus.batch(rows, params.micro_batch, packed=params.packing, lots=self.lots)
        weights = [weight_at(step, bound.term.weight, bound.term.schedule) for bound in self.terms]
        rate = learning_rate(step, params.steps, params.optimizer, params.qat)
        # before new gradients are written, so that two sets of them never exist
        self.optimizer.zero_grad(set_to_none=True)
        with self._weights(step):
            values_K, reaches = self._gradient(batch, weights, measured=step in self.course.measured)
        self._observe(step, batch, values_K, weights, rate, reaches)
        self._widen(batch)
        self.scaling.unscale(self.optimizer)
        # measured before it is clipped: clipping by a length that is no number would wipe out what it is of
        norm = torch.nn.utils.get_total_norm([one.grad for one in self.trained if one.grad is not None])
        if not math.isfinite(float(norm)) and not self.scaling.excuses():
            named = {name: one.grad for name, one in self._named()}
            raise gradients.without_length(named, step)
        torch.nn.utils.clip_grads_with_norm_(self.trained, self.params.optimizer.clip_norm, norm)
        self.record.skipped += not math.isfinite(float(norm))
        self.record.clipped += math.isfinite(float(norm)) and float(norm) > self.params.optimizer.clip_norm
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaling.step(self.optimizer)
        self.record.steps = step + 1

    def _gradient(
        self, batch: Batch, weights: Sequence[float], *, measured: bool
    ) -> tuple[Tensor, list[gradients.Reach] | None]:
        """values_K of a batch, whose gradient then stands in the parameters, and, `measured`, that of each term."""
        params, reaches = self.params, None
        denominators = objective.totals(batch.masks_N)
        scaled = [weight * self.scaling.factor for weight in weights]
        whole = len(batch.groups) == 1 or (params.micro_batch is None and self.lots == 1)
        # a graph that is kept for the next term keeps what its layers computed again, too
        if whole and not (measured and params.gradient_checkpointing):
            hidden_NH, read = self._given(batch, denominators, self.teacher)
            if measured:
                reaches = self._measured(
                    lambda factor: gradients.measure(self._alone(hidden_NH, read), self.parameters, factor)
                )
            total, values_K = onepass.total(hidden_NH, self.head, read, self.terms, scaled, params.chunk_tokens)
            total.backward()
        else:
            parts = [batch] if whole else batch.parts()
            if measured:
                reaches = self._measured(lambda factor: self._reaches(parts, denominators, factor))
            values_K = self._backward(parts, denominators, self.terms, scaled)
        return values_K, reaches

    def _named(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Everything that is trained, by name."""
        yield from self.student.named_parameters()
        if self.matching is not None:
            yield from self.matching.named_parameters()

    def _widen(self, batch: Batch) -> None:
        """Keep how much was in the student at once, for the formula of its memory: of passes one after the other the
        largest, of those abreast one for each thread."""
        at_once = 1 if self.params.micro_batch is not None else self.lots if self.lots > 1 else len(batch.groups)
        positions = sorted((group.ids_BT.numel() for group in batch.groups), reverse=True)
        supervised = sorted((len(group.places_N) for group in batch.groups), reverse=True)
        self.record.widest = max(self.record.widest, sum(positions[:at_once]))
        self.record.widest_supervised = max(self.record.widest_supervised, sum(supervised[:at_once]))

    def _observe(
        self,
        step: int,
        batch: Batch,
        values_K: Tensor,
        weights: list[float],
        rate: float,
        reaches: list[gradients.Reach] | None,
    ) -> None:
        """Values, tokens and, where gradients were measured, their sizes → the record."""
        tokens = [int(batch.masks_N[bound.loss.mask].sum()) for bound in self.terms]
        numbers = [float(value) for value in values_K]
        for bound, number in zip(self.terms, numbers, strict=True):
            if not math.isfinite(number):
                raise gradients.diverged(f"loss `{bound.name}` is {number}", step)
        values = [number if count else None for number, count in zip(numbers, tokens, strict=True)]
        record = self.record
        record.add_values(values)
        record.supervised = [had + count for had, count in zip(record.supervised, tokens, strict=True)]
        record.tokens += batch.tokens
        record.positions += batch.positions
        if reaches is None:
            return
        for k, (bound, reach) in enumerate(zip(self.terms, reaches, strict=True)):
            if tokens[k]:
                first = not any(point.norms[k] for point in record.points)
                gradients.gate(bound.name, numbers[k], reach, step, first=first)
        norms = [reach.norm if count else None for reach, count in zip(reaches, tokens, strict=True)]
        shares = gradients.shares([norm or 0.0 for norm in norms], weights)
        record.points.append(
            Point(
                step=step,
                learning_rate=rate,
                total=sum(weight * number for weight, number in zip(weights, numbers, strict=True)),
                values=values,
                tokens=tokens,
                weights=weights,
                norms=norms,
                reached=[reach.parameters for reach in reaches],
                shares=[None] * len(norms) if shares is None else list(shares),
            )
        )

    def run(self, store: Store, ctx: Context) -> Record:
        """All steps that are left, with a durable state every `checkpoint_every` steps, after the last, and where it is
        stopped. Validated, the student ends as its best state; otherwise as its last."""
        begin, steps = 0, self.params.steps
        if self.validator is not None:
            store.unsound = self.validator.unsound
        keeper = Keeper(store, ctx, every=self.params.checkpoint_every, steps=steps, state=self._state)
        saved = keeper.begin(sum(parameter.numel() for parameter in self.trained))
        if saved is not None:
            restore(self.student, self.optimizer, saved.tensors)
            if self.matching is not None:
                restore_beside(self.matching, self.optimizer, saved.tensors)
            self.scaling.restore(saved.tensors)
            begin, self.record = saved.step, Record.from_json(saved.record)
        self.student.train()
        if self.params.gradient_checkpointing:
            self.student.gradient_checkpointing_enable({"use_reentrant": False})
        # of the state it goes on from, too, where the validation was broken off
        self._validate(begin, ctx, keeper)
        for step in range(begin, steps):
            if self._ended:
                break
            before = self.record.tokens
            self.step(step)
            ctx.used("training_tokens", self.record.tokens - before)
            ctx.shows(step + 1, watching.numbers(self))
            self._validate(step + 1, ctx, keeper)
            keeper.after(step + 1, self.note())
            if self._ended:
                keeper.save(step + 1)
        if self.params.gradient_checkpointing:
            self.student.gradient_checkpointing_disable()
        self.abreast.close()
        for hook in self.listening:
            hook.remove()
        self.student.eval()
        self.take(None)
        return self.record

    def _state(self, done: int) -> State:
        tensors = {**capture(self.student, self.optimizer), **self.scaling.state()}
        if self.matching is not None:
            tensors |= beside(self.matching, self.optimizer)
        return State(done, tensors, self.record.to_json())

    @property
    def _ended(self) -> bool:
        """Whether nothing was gained for as long as the spec waits."""
        return self.record.selection is not None and bool(self.record.selection.stopped)

    def _validate(self, done: int, ctx: Context, keeper: Keeper) -> None:
        """Where it is due after so many steps. What was trained is kept when it is stopped: it is then due again."""
        selection, validator = self.record.selection, self.validator
        if validator is None or selection is None or not validator.due(done) or selection.at(done) is not None:
            return

        def tell(lots: int, tokens: int) -> None:
            ctx.used("training_tokens", tokens)
            ctx.progress(done, self.params.steps, f"validating: {lots} of {validator.lots} lots")

        try:
            with self._narrow(), self._weights(done):
                validator.look(done, selection, tell)
        except Stopped:
            keeper.save(done)
            raise
        ctx.shows(done, watching.validated(self))

    def take(self, step: int | None) -> None:
        """The student as it was after so many steps, of those that were kept; None: at its best, where that is known.
        Raises BrokenEvidence for weights that are not what they were."""
        if self.validator is not None and self.record.selection is not None:
            wanted = self.record.selection.best if step is None else step
            self.validator.put(next(one for one in self.record.selection.kept if one.step == wanted))

    def note(self) -> str:
        last = self.record.tail[-1]
        parts = [
            f"{bound.name} {value:.3f}" for bound, value in zip(self.terms, last, strict=True) if value is not None
        ]
        return " ".join(parts)

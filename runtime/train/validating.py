"""Rows that are not learnt from × the student as it is → its terms and metric on them, and the states that are kept.

The terms are computed by `onepass`, as those that are learnt from, without any gradient. Nothing of the training is
touched: the random state is put back, weights and optimiser are only read, so that a training that does not end early
makes the same weights with and without validation.

Weights that are kept lie beside the run's state, one file for each step, durable before the record names it; a file
whose digest is not the one in the record is never used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from runtime import digest
from runtime.contract import BrokenEvidence, Refusal
from runtime.contract.validation import TOTAL, Validation
from runtime.machine import durable, saved
from runtime.models.pouring import pour
from runtime.train import gradients, onepass
from runtime.train.batches import Batch, Corpus
from runtime.train.objective import Bound
from runtime.train.selecting import Kept, Look, Selection, due

#: (batch, denominators) → the student's hidden_NH, and what the terms read beside them
Given = Callable[[Batch, Mapping[str, int]], tuple[Tensor, onepass.Batch]]
FOLDER = "kept"


class Validator:
    """The validations of one run."""

    def __init__(
        self,
        *,
        corpus: Corpus,
        given: Given,
        student: PreTrainedModel,
        head: nn.Linear,
        terms: Sequence[Bound],
        weights: Sequence[float],
        policy: Validation,
        allowed: int,
        rows: int,
        chunk_tokens: int,
        states: bool,
        folder: Path,
        disk: durable.Disk = durable.DISK,
    ) -> None:
        """`weights` are those of the total, `allowed` the steps that the run may make, `rows` how many go through the
        models at once, `folder` is where the run's states are.

        Raises Refusal for a metric that is none of the terms, and for rows in which it sees no token.
        """
        self.corpus, self.given, self.student, self.head = corpus, given, student, head
        self.terms, self.weights, self.policy, self.allowed = terms, weights, policy, allowed
        self.chunk_tokens, self.states, self.folder, self.disk = chunk_tokens, states, folder, disk
        masks = {bound.loss.mask for bound in terms}
        #: supervised tokens of each mask in all rows
        self.tokens = {mask: sum(corpus.supervised(mask, row) for row in range(len(corpus))) for mask in masks}
        self._check()
        longest_first = sorted(range(len(corpus)), key=lambda row: (-len(corpus.ids[row]), row))
        self._lots = [longest_first[begin : begin + rows] for begin in range(0, len(corpus), rows)]
        disk.folder(folder / FOLDER)
        durable.sweep(folder / FOLDER)

    def _check(self) -> None:
        names = [bound.name for bound in self.terms]
        if self.policy.metric not in (TOTAL, *names):
            raise Refusal(f"the metric `{self.policy.metric}` is none of the losses", action=f"use {TOTAL}, {names}")
        for bound, weight in zip(self.terms, self.weights, strict=True):
            decides = weight > 0 if self.policy.metric == TOTAL else bound.name == self.policy.metric
            if decides and not self.tokens[bound.loss.mask]:
                raise Refusal(
                    f"no row of the validation split has a token of loss `{bound.name}`, by which a state is chosen",
                    place="validation.jsonl",
                    action="keep more rows for validation (data.validation), or choose by another metric",
                )

    def identity(self) -> list[object]:
        """What decides which state is chosen, for the fingerprint of a run."""
        policy = self.policy
        return [
            self.corpus.digest(),
            [policy.every, policy.metric, policy.patience, policy.least_gain],
            [len(lot) for lot in self._lots],
            list(self.weights),
            self.states,
        ]

    def deciding(self) -> int:
        """Tokens behind the metric: of the terms that decide, those of the one that has fewest."""
        total = self.policy.metric == TOTAL
        return min(
            self.tokens[bound.loss.mask]
            for bound, weight in zip(self.terms, self.weights, strict=True)
            if (weight > 0 if total else bound.name == self.policy.metric)
        )

    def due(self, done: int) -> bool:
        """Whether there is a validation after so many steps."""
        return due(done, self.policy, self.allowed)

    def values(self, tell: Callable[[int, int], None] = lambda _lots, _tokens: None) -> list[float | None]:
        """Each term over all rows in nat/token; None where they hold no token of it. `tell(lots, tokens)`: after each
        lot, how many there were and how many tokens this one had; what it raises breaks the validation off."""
        sums = [0.0] * len(self.terms)
        trains = self.student.training
        self.student.eval()
        card = [self.head.weight.device.index or 0] if self.head.weight.device.type == "cuda" else []
        with torch.random.fork_rng(devices=card), torch.no_grad():
            for number, lot in enumerate(self._lots, 1):
                hidden_NH, read = self.given(self.corpus.batch(lot), self.tokens)
                found_K = onepass.values(hidden_NH, self.head, read, self.terms, self.chunk_tokens)
                sums = [had + float(value) for had, value in zip(sums, found_K, strict=True)]
                tell(number, sum(len(self.corpus.ids[row]) for row in lot))
        self.student.train(trains)
        return [value if self.tokens[bound.loss.mask] else None for bound, value in zip(self.terms, sums, strict=True)]

    @property
    def lots(self) -> int:
        """How many lots one validation goes through."""
        return len(self._lots)

    def look(
        self, done: int, selection: Selection, tell: Callable[[int, int], None] = lambda _lots, _tokens: None
    ) -> None:
        """Validate after so many steps, and keep the weights where they are wanted. Nothing is kept of a validation
        that `tell` breaks off. Raises Refusal for a metric that is not finite."""
        values = self.values(tell)
        weighed = [
            weight * value for weight, value in zip(self.weights, values, strict=True) if weight and value is not None
        ]
        metric = total = sum(weighed)
        if self.policy.metric != TOTAL:
            found = values[[bound.name for bound in self.terms].index(self.policy.metric)]
            assert found is not None
            metric = found
        gradients.check_finite(f"metric `{self.policy.metric}` of validation", metric, done)
        selection.observe(Look(done, values, total, metric), self.policy)
        selection.tokens += sum(len(ids) for ids in self.corpus.ids)
        wanted = selection.wanted(self.allowed, states=self.states)
        if done in wanted:
            selection.kept.append(self._keep(done))
        selection.kept = [one for one in selection.kept if one.step in wanted]
        self._clean(selection)

    def _keep(self, done: int) -> Kept:
        path = self._path(f"step-{done:08d}.safetensors")
        return Kept(done, path.name, pour(path, dict(self.student.named_parameters()), disk=self.disk))

    def _path(self, file: str) -> Path:
        return self.folder / FOLDER / Path(file).name

    def _clean(self, selection: Selection) -> None:
        """Remove what neither this record names nor that of a state from which the run may go on."""
        named = {one.file for one in selection.kept}
        for _, path in saved.indices(self.folder):
            index, _ = saved.read(path)
            found = (index or {}).get("record", {}).get("selection") or {}
            named |= {one["file"] for one in found.get("kept", [])}
        for path in (self.folder / FOLDER).glob("step-*.safetensors"):
            if path.name not in named:
                self.disk.remove(path)

    def unsound(self, record: Mapping[str, Any]) -> str:
        """Why the states that a record names may not be used; "" when all of them are what they were."""
        damaged = [one.file for one in Selection.from_json(record["selection"]).kept if not self._whole(one)]
        return f"of the states that were kept {damaged[0]} is not what it was" if damaged else ""

    def _whole(self, kept: Kept) -> bool:
        path = self._path(kept.file)
        return path.is_file() and digest.of_file(path) == kept.digest

    def put(self, kept: Kept) -> None:
        """The student with kept weights. Raises BrokenEvidence when they were changed since."""
        if not self._whole(kept):
            raise BrokenEvidence("a state that was kept was changed after it was written", subject=kept.file)
        tensors = load_file(self._path(kept.file))
        with torch.no_grad():
            for name, parameter in self.student.named_parameters():
                parameter.copy_(tensors[name])

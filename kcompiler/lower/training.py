"""Spec → nodes and inputs: stages and baselines, and what the teacher gives them: answers, signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompiler.facts import sizes
from kcompiler.facts.lengths import lengths
from kcompiler.facts.placing import chunk_tokens
from kcompiler.facts.stored import means, temperatures
from kcompiler.lower.nodes import Nodes
from kcompiler.spec import Spec
from runtime import catalog
from runtime.contract.layers import OF_WEIGHTS
from runtime.contract.qat import rounded
from runtime.contract.signals import Likeliest
from runtime.contract.validation import TOTAL, Validation
from runtime.contract.weights import Weights

WITHOUT_TEACHER, FROM_NOTHING, ANSWERS, REACH = "ce_only", "random_init", "answers", "reach"
SIGNALS, ROUNDED = "signals", "teacher-rounded"


def _term(written: Any, spec: Spec) -> dict[str, Any]:
    """A loss term as the step `train` takes it."""
    loss = catalog.load("losses", written.term)
    return {
        "term": loss.name,
        "version": loss.version,
        "weight": written.weight,
        "schedule": written.schedule.model_dump() if written.schedule else None,
        "params": written.params.model_dump(mode="json"),
        "semantics": dict(means(spec, loss)),
    }


def _truth() -> dict[str, Any]:
    """The one term of a student without a teacher."""
    loss = catalog.load("losses", "ce_truth")
    return {
        "term": loss.name,
        "version": loss.version,
        "weight": 1.0,
        "schedule": None,
        "params": loss.params().model_dump(mode="json"),
        "semantics": dict(loss.semantics),
    }


def _validation(declared: Validation | None, terms: Sequence[str]) -> dict[str, Any] | None:
    """The same policy for everything that a stage trains. A baseline without the loss that decides takes its total."""
    if declared is None:
        return None
    metric = declared.metric if declared.metric in terms else TOTAL
    return {**declared.model_dump(include=set(Validation.model_fields)), "metric": metric}


class Training(Nodes):
    """Section `training`, with its baselines."""

    def _answers(self) -> str:
        """Where the teacher's answers come from: it gives them, or, where its weights are here, writes them once."""
        weights, data = self.spec.teacher.params, self.spec.data
        if not isinstance(weights, Weights):
            return "step:teacher#answers"
        if not any(node.id == ANSWERS for node in self.nodes):
            self.add(
                ANSWERS,
                "generate_answers",
                {
                    "model": weights.place,
                    "longest": lengths(self.spec)["train"][0],
                    # an answer that does not end within a row is a row that is too long
                    "allow_missing": data.too_long_at_most if data.too_long == "drop" else 0.0,
                    "threads": self.spec.execution.threads,
                    "device": self._device,
                },
                {"dataset": self._rows(), "tokenizer": "step:tokenizer#tokenizer", "teacher": self._teacher},
                origin="/teacher",
                after=["tokenizer"],
            )
        return f"step:{ANSWERS}#answers"

    def _rounded(self) -> tuple[str, ...]:
        """What comes before a step that holds a teacher with rounded weights: what that loses is measured once."""
        if self._weights is None:
            return ()
        if not any(node.id == ROUNDED for node in self.nodes):
            self.add(
                ROUNDED,
                "round_teacher",
                {
                    "weights": self._weights,
                    "max_length": lengths(self.spec)["train"][0],
                    "threads": self.spec.execution.threads,
                    "device": self.spec.execution.teacher_device or self._device,
                },
                {"dataset": self._rows(), "tokenizer": "step:tokenizer#tokenizer", "teacher": self._teacher},
                origin="/teacher/dtype",
                after=["tokenizer"],
            )
        return (ROUNDED,)

    def _signals(self, responses: str) -> str:
        """What the teacher says at every supervised token, recorded once for all that is trained on these responses."""
        store, execution = self.spec.teacher.store, self.spec.execution
        assert store is not None
        name = SIGNALS if responses == "data" else f"{SIGNALS}-answered"
        if not any(node.id == name for node in self.nodes):
            takes = {"dataset": self._rows(), "tokenizer": "step:tokenizer#tokenizer", "teacher": self._teacher}
            if responses == "teacher":
                takes["answers"] = self._answers()
            before = self._rounded()
            self.add(
                name,
                "record_signals",
                {
                    "store": store.model_dump(),
                    "temperatures": temperatures(self.spec),
                    "responses": responses,
                    "max_length": lengths(self.spec)["train"][0],
                    "threads": execution.threads,
                    "device": self._device,
                    "teacher_device": execution.teacher_device,
                    "precision": execution.precision,
                    "teacher_weights": self._weights,
                },
                takes,
                origin="/teacher/store",
                after=["tokenizer", *before],
                backend="torchao" if before else "",
            )
        return f"step:{name}#signals"

    def training(self) -> None:
        stages, baselines = self.spec.training.stages, self.spec.evaluation.baselines
        if not stages:
            return
        each = [[_term(written, self.spec) for written in stage.losses] for stage in stages]
        alone = [_truth()] if WITHOUT_TEACHER in baselines else []
        self._reach([term for terms in [*each, alone] for term in terms])
        for i, (stage, terms) in enumerate(zip(stages, each, strict=True)):
            self._train(stage, terms, i)
            if FROM_NOTHING in baselines:
                self._train(stage, terms, i, FROM_NOTHING)
        # the same student, data order and number of steps, without the teacher: stage by stage
        for i, stage in enumerate(stages if alone else []):
            self._train(stage, alone, i, WITHOUT_TEACHER)

    def _reach(self, terms: Sequence[Mapping[str, Any]]) -> None:
        """Each term alone, before any is trained; what several stages have alike is tried once."""
        tried: list[dict[str, Any]] = []
        for term in terms:
            one = {name: term[name] for name in ("term", "version", "params", "semantics")}
            tried += [] if one in tried else [one]
        takes = {"dataset": self._rows(), "tokenizer": "step:tokenizer#tokenizer"}
        starts = self.spec.student.checkpoint is not None or self.spec.student.cut is not None
        if starts:
            takes["from"] = self._start()
        self.add(
            REACH,
            "reach",
            {
                "architecture": None if starts else self._architecture(self.spec.student.architecture),
                "terms": tried,
                "of_top": isinstance(self.spec.teacher.store, Likeliest),
                "max_length": min(stage.max_length or self._longest() for stage in self.spec.training.stages),
                "threads": self.spec.execution.threads,
            },
            takes,
            origin="/training/stages",
            after=["tokenizer"],
        )

    def _rounding(self, stage: Any) -> dict[str, Any] | None:
        """With which rounded weights a stage computes, and from which step on."""
        if stage.qat is None:
            return None
        return {
            "recipe": self._recipe(),
            "tensors": rounded(self.spec.quantization, sizes.tensors(self.spec.student.architecture)),
            "from_step": stage.qat.first(stage.steps),
            "learning_rate_factor": stage.qat.learning_rate_factor,
        }

    def _train(self, stage: Any, terms: list[dict[str, Any]], index: int, baseline: str = "") -> None:
        """One stage of the student or of a baseline, which starts where the same stage of it says."""
        who = f"train-{baseline}-" if baseline else "train-"
        needs = frozenset[str]().union(*(catalog.load("losses", term["term"]).needs for term in terms))
        takes = {"dataset": self._rows(), "tokenizer": "step:tokenizer#tokenizer"}
        responses, store = "teacher" if "text" in needs else "data", self.spec.teacher.store
        before: tuple[str, ...] = ()
        if needs & OF_WEIGHTS and store is None:
            takes["teacher"] = self._teacher
            before = self._rounded()
        elif needs & OF_WEIGHTS:
            takes["signals"] = self._signals(responses)
        if needs & {"text", "choices"}:
            takes["answers"] = self._answers()
        has_weights = self.spec.student.checkpoint is not None or self.spec.student.cut is not None
        if stage.from_:
            takes["from"] = f"step:{who}{stage.from_}#checkpoint"
        elif has_weights and baseline != FROM_NOTHING:
            takes["from"] = self._start()
        self.add(
            f"{who}{stage.name}",
            "train",
            {
                "architecture": self._architecture(self.spec.student.architecture),
                "init": "checkpoint" if "from" in takes else "random",
                "losses": terms,
                "needs_teacher": "teacher" in takes,
                "signals": store.form if store is not None and "signals" in takes else None,
                "needs_answers": "answers" in takes,
                "responses": responses,
                "steps": stage.steps,
                "batch_size": stage.batch_size,
                "micro_batch": stage.micro_batch,
                "packing": stage.packing,
                "max_length": stage.max_length or self._longest(),
                "optimizer": stage.optimizer.model_dump(),
                "gradient_norms_every": stage.gradient_norms_every,
                "checkpoint_every": stage.checkpoint_every,
                "chunk_tokens": chunk_tokens(self.spec, stage),
                "gradient_checkpointing": stage.gradient_checkpointing,
                "threads": self.spec.execution.threads,
                "device": self._device,
                "teacher_device": self.spec.execution.teacher_device if "teacher" in takes else None,
                "precision": self.spec.execution.precision,
                "teacher_weights": self._weights if before else None,
                "validation": _validation(stage.validation, [term["term"] for term in terms]),
                "qat": self._rounding(stage),
                # what a baseline was on the way nobody asks
                "keeps_states": stage.validation is not None and not baseline,
                **self._heads(),
            },
            takes,
            origin=f"/training/stages/{index}",
            after=["tokenizer", REACH, *before],
            backend="torchao" if before else "",
        )

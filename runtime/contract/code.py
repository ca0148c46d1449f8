"""Our code behind the steps of one family, named once: what their keys cover beside their own."""

from __future__ import annotations

#: of every step that takes rows, a tokenizer and models through `runtime.train`
TRAINING = (
    "runtime.contract.architecture",
    "runtime.contract.code",
    "runtime.contract.conversation",
    "runtime.contract.footprint",
    "runtime.contract.objective",
    "runtime.contract.optimizer",
    "runtime.contract.pairs",
    "runtime.contract.placing",
    "runtime.contract.record",
    "runtime.contract.report",
    "runtime.contract.rounding",
    "runtime.contract.rows",
    "runtime.contract.shards",
    "runtime.contract.signals",
    "runtime.contract.splits",
    "runtime.contract.strict_json",
    "runtime.contract.templates",
    "runtime.contract.validation",
    "runtime.contract.vocabulary",
    "runtime.data.answers",
    "runtime.data.encode",
    "runtime.machine.host",
    "runtime.models.admission",
    "runtime.models.build",
    "runtime.models.device",
    "runtime.models.pouring",
    "runtime.models.threads",
    "runtime.models.tokenizer",
    "runtime.steps.round_teacher",
    "runtime.steps.tokenizer",
    "runtime.steps.train",
    "runtime.train",
)

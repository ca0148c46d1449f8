"""Dataset × teacher → a student checkpoint, through the one chunked loss path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from runtime.contract import UNKEYED, Context, Params, Port, Ports, Step
from runtime.contract.architecture import Architecture
from runtime.contract.code import TRAINING
from runtime.contract.heads import Name
from runtime.contract.optimizer import Optimizer, Schedule
from runtime.contract.placing import Card, Device, Precision, Tolerance, promise
from runtime.contract.qat import Rounding
from runtime.contract.rounding import Rounded
from runtime.contract.validation import Validation


class Term(Params):
    """One weighted loss term; `semantics` is copied from the loss so that the lock says what was trained."""

    term: str
    version: int
    weight: float = Field(ge=0)
    schedule: Schedule | None = None
    #: parameters of the loss, already validated by its own model
    params: dict[str, Any] = Field(default_factory=dict)
    semantics: dict[str, Any] = Field(default_factory=dict)


class TrainParams(Params):
    architecture: Architecture
    #: "random" or "checkpoint" (then port `from` is taken)
    init: str = "random"
    losses: list[Term]
    needs_teacher: bool
    #: in which form port `signals` has what the teacher says, which then need not be here; None: it is asked
    signals: Literal["hidden", "top_k", "full"] | None = None
    #: whether a term reads the answers that a teacher gave
    needs_answers: bool = False
    #: whose response a row is trained on: the data's own, or the teacher's
    responses: Literal["data", "teacher"] = "data"
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    #: rows that go through the models at once, their gradients added up; None: the whole batch
    micro_batch: int | None = Field(default=None, ge=1)
    #: several rows in one sequence, which do not see each other
    packing: bool = False
    max_length: int = Field(ge=8)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    gradient_norms_every: int = Field(default=50, ge=1)
    checkpoint_every: Annotated[int, UNKEYED] = Field(default=100, ge=1)
    #: supervised tokens per chunk of the loss
    chunk_tokens: int = Field(default=128, ge=16)
    #: keep only each layer's input for the backward pass, and compute the rest again
    gradient_checkpointing: bool = False
    threads: int = Field(default=2, ge=1)
    #: where the models run; weights, optimiser and loss are float32 whatever `precision` says
    device: Device = "cpu"
    #: another place for the teacher; None: beside the student
    teacher_device: Card | None = None
    precision: Precision = "fp32"
    #: the teacher's linear layers rounded to so many bits, the rest in bfloat16; None: as its checkpoint is
    teacher_weights: Rounded | None = None
    #: rows of the split `validation` are looked at, the best state is kept, and the training may end early
    validation: Validation | None = None
    #: from which step on losses are those of rounded weights, and of which; None: all of it is trained in float32
    qat: Rounding | None = Field(default=None, exclude_if=lambda rounding: rounding is None)
    #: whether states on the way are given, too: milestones and the last three
    keeps_states: bool = False
    #: what the student says of each position beside the next token
    heads: list[Name] = Field(default_factory=list, exclude_if=lambda named: not named)


def promised(params: TrainParams) -> str:
    return promise(params.device, params.precision, params.teacher_device)


def takes(params: TrainParams) -> Ports:
    ports = {"dataset": Port(kind="dataset"), "tokenizer": Port(kind="tokenizer")}
    if params.needs_teacher:
        ports["teacher"] = Port(kind="checkpoint")
    if params.signals is not None:
        ports["signals"] = Port(kind="signals")
    if params.needs_answers:
        ports["answers"] = Port(kind="answers")
    if params.init == "checkpoint":
        ports["from"] = Port(kind="checkpoint")
    return ports


def gives(params: TrainParams) -> Ports:
    ports = {"checkpoint": Port(kind="checkpoint"), "report": Port(kind="report", report="training")}
    return {**ports, "states": Port(kind="states")} if params.validation and params.keeps_states else ports


def plugs(params: TrainParams) -> list[tuple[str, str]]:
    return [("losses", term.term) for term in params.losses]


def run(takes: Mapping[str, Path], params: TrainParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="train",
    version=1,
    params=TrainParams,
    takes=takes,
    gives=gives,
    backend="torch",
    run=run,
    plugs=plugs,
    promise=promised,
    # what a term ended at is the mean of the last steps; of a validated training the best state is what is given.
    # Between float32, bfloat16 and float16, processor and H100, the mean moved by 1e-4 of itself over 60 steps
    # (tests/device), by 0.004 over 380 that end at 0.016 (toy-tools)
    tolerance=Tolerance(absolute=0.01, relative=0.05, of=("terms.*.final", "validation.best.value")),
    code=TRAINING,
)

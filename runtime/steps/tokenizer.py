"""Dataset (or teacher) → the tokenizer every later step uses, and its contract report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from runtime.contract import Context, Params, Port, Ports, Step
from runtime.contract.templates import DATE
from runtime.contract.units import unit


class Special(Params):
    """Texts of the control tokens."""

    pad: str = "<|pad|>"
    bos: str = "<|bos|>"
    eos: str = "<|eos|>"


class Bound(Params):
    """How many tokens a row of a split may have, and the field of the spec that says so."""

    tokens: int = Field(ge=1, description="Longest row, in tokens.", examples=[256], json_schema_extra=unit("token"))
    field: str = Field(description="Field of the spec that a message names.", examples=["training.stages.0.max_length"])


def _none(value: list[str]) -> bool:
    """A tokenizer that is taken as it is says nothing of it in a lock."""
    return not value


class TokenizerParams(Params):
    source: Literal["train", "teacher"]
    #: rows of the embedding = width of the loss = size of the tokenizer; reserved tokens fill the difference
    vocab_size: int = Field(ge=260)
    special: Special = Field(default_factory=Special)
    #: which of them a taken tokenizer lacks: they get unused ids, and their embedding is learnt
    added: list[Literal["pad", "bos", "eos"]] = Field(default_factory=list)
    #: texts that a taken tokenizer gets as tokens of their own, the next unused ids in this order
    expand: list[str] = Field(default_factory=list, exclude_if=_none)
    #: whether a taken tokenizer is reduced to the ids that the training rows use, filled up to `vocab_size`
    reduce: bool = False
    #: literal text with exactly one {prompt} and one {response}, in this order; or `chat`: the tokenizer's own
    template: str
    #: with `chat`: the system message of a conversation without one, and the day that a template is told
    system: str = ""
    date: str = DATE
    #: texts that must encode to exactly one id
    single_token_tags: list[str] = Field(default_factory=list)
    #: whose weights see its ids as well: the tokenizer beside them must mean the same (port `other`)
    shared_with: Literal["", "teacher", "student"] = ""
    #: split → what its rows may measure, begin and end token included
    lengths: dict[Literal["train", "validation", "test"], Bound] = Field(default_factory=dict)
    #: splits whose conversations a suite asks from their first prompt on, with the tools of the registry
    asked_with_tools: list[Literal["test"]] = Field(default_factory=list)
    #: what becomes of a row that is longer
    too_long: Literal["refuse", "drop"] = "refuse"


def takes(params: TokenizerParams) -> Ports:
    other = {"other": Port(kind="hf_folder")} if params.shared_with else {}
    if params.source == "teacher":
        return {"dataset": Port(kind="dataset"), "teacher": Port(kind="hf_folder"), **other}
    return {"dataset": Port(kind="dataset")}


def gives(params: TokenizerParams) -> Ports:
    ports = {"tokenizer": Port(kind="tokenizer"), "report": Port(kind="report", report="tokenizer.contract")}
    # the rows that fit are another dataset than the one that came
    return {**ports, "dataset": Port(kind="dataset")} if params.too_long == "drop" else ports


def run(takes: Mapping[str, Path], params: TokenizerParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="tokenizer",
    version=1,
    params=TokenizerParams,
    takes=takes,
    gives=gives,
    backend="torch",
    run=run,
    code=(
        "runtime.models.fitting",
        "runtime.models.tokenizer",
        "runtime.contract.conversation",
        "runtime.contract.rows",
        "runtime.contract.spool",
        "runtime.contract.wanted",
        "runtime.contract.conditions",
        "runtime.contract.scenario",
        "runtime.contract.pairs",
        "runtime.contract.templates",
        "runtime.contract.strict_json",
        "runtime.contract.report",
        "runtime.contract.vocabulary",
    ),
    lighter="take fewer rows, by data.sources[].limit, or a smaller vocab_size",
)

"""Section `evaluation`: how the student is judged, and against what."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kcompiler.spec.base import DISTINCT, ROOM, Distinct, Name, Plugged, Section
from runtime.contract import speed
from runtime.contract.hosted import Server
from runtime.contract.units import unit


class Part(Section):
    """Some of a split's rows: those of one source, of one class, or of both."""

    source: str | None = Field(default=None, min_length=1, description="Name of a data source.", examples=["faq"])
    class_: str | None = Field(
        default=None, min_length=1, alias="class", description="Class of the rows.", examples=["weather"]
    )


class Suite(Plugged):
    """One evaluation suite. Its further keys belong to the suite."""

    room: ClassVar[str] = "suites"
    key: ClassVar[str] = "use"
    pattern: ClassVar[str] = "/evaluation/suites/*"
    noun: ClassVar[str] = "suite"

    use: str = Field(description="Which suite.", json_schema_extra={ROOM: "suites"})
    id: Name | None = Field(
        default=None,
        description="Its name in steps and reports, `evaluate-<id>`; the suite's own when absent.",
        examples=["judged-in-german"],
    )
    split: Literal["test", "train", "validation"] = Field(
        default="test", description="Rows it questions the models with."
    )
    rows: Part | None = Field(default=None, description="Which rows of the split; all when absent.")
    shards: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Steps that share the rows, each of which may be carried out elsewhere and is made again alone. "
        "How many they are changes no byte of the report.",
        examples=[4],
        json_schema_extra=unit("step"),
    )
    runners: Annotated[list[Name], Distinct] | None = Field(
        default=None,
        description="Which of evaluation.runners it questions besides; all that can answer it when absent.",
        json_schema_extra=DISTINCT,
        examples=[["fp16"]],
    )

    efficiency: bool = Field(
        default=False,
        description="Also report the Context Efficiency Score: 1 - (tokens read and written per right answer) / (those "
        "of the teacher, or of `ce_only` where it answers no suite: `reference` says whose). For suites of texts.",
        examples=[True],
    )

    @property
    def name(self) -> str:
        """What its step is called after."""
        return self.id or self.use

    def suite_params(self) -> dict[str, Any]:
        """The keys of the suite itself."""
        return self.params.model_dump()


class Runner(Plugged):
    """One further way to ask a model. Its further keys belong to the way."""

    room: ClassVar[str] = "runners"
    key: ClassVar[str] = "use"
    pattern: ClassVar[str] = "/evaluation/runners/*"
    noun: ClassVar[str] = "runner"

    use: str = Field(description="Which way.", json_schema_extra={ROOM: "runners"})
    name: Name | None = Field(
        default=None,
        description="What it is called in suites, items and steps; the way's own name when absent.",
        examples=["fp16"],
    )
    of: Literal["teacher", "student"] | None = Field(
        default=None,
        description="Whose answers it should give: how far it is from them is then a question of the way, and gated. "
        "The student's when absent, where it asks no file, folder or address of its own.",
        examples=["teacher"],
    )

    @property
    def called(self) -> str:
        """Its name in suites, items and steps."""
        return self.name or self.use


class Judge(Section):
    """A model that says which of two answers is better: a folder, or one behind a server. It is evaluated by suite
    `judge` in the same plan, and what it says counts only where every blocking rule about that report passes."""

    model: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Transformers folder with its own tokenizer, relative to the spec, or `models:NAME`; this or "
        "`server`.",
        examples=["models:judge"],
    )
    server: Server | None = Field(
        default=None,
        description="A model behind an OpenAI-compatible server; this or `model`. How likely a verdict is, the server "
        "must tell: `top_logprobs` of at least 3, since A, B and T are all asked for, and the most there are is best. "
        "Its answers must be of the same version in both steps that ask it.",
        examples=[{"base_url": "http://127.0.0.1:8000/v1", "model": "judge-1", "top_logprobs": 20}],
    )
    rows: Part | None = Field(
        default=None,
        description="Rows that it is evaluated by, of the test split: pairs with an objective outcome, in the form of "
        "suite `judge`; all when absent.",
        examples=[{"source": "reviews"}],
    )


class Benchmark(Section):
    """How fast the student answers, one answer at a time, on the machine that carries the spec out."""

    id: Name = Field(
        default="speed",
        description="Its name in steps and reports, `benchmark-<id>`.",
        examples=["short-prompts"],
    )
    runners: Annotated[list[speed.Name], Distinct] = Field(
        default_factory=lambda: list[speed.Name](["torch", "mil"]),
        min_length=1,
        description="What answers. `torch`: the checkpoint; `mil`: the package in the interpreter, whose times are no "
        "device's; `coreml`: the package in Core ML, on a Mac alone; `mil_fp16`, `coreml_fp16`: the float16 package "
        "beside it, which does not ship, to see what quantization gains.",
        json_schema_extra=DISTINCT,
        examples=[["torch"], ["mil_fp16", "mil"]],
    )
    prompts: list[Annotated[int, Field(ge=1, le=10_000_000)]] | None = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="Tokens of the prompts, ascending; each length of shapes.prefill that leaves room for the new "
        "tokens when absent.",
        examples=[[64, 128]],
        json_schema_extra=unit("token"),
    )
    new_tokens: int = Field(
        default=32,
        ge=2,
        le=100_000,
        description="Tokens of an answer, whatever its end token says.",
        examples=[32],
        json_schema_extra=unit("token"),
    )
    warm_up: int = Field(
        default=2,
        ge=1,
        le=1000,
        description="Answers before the first that counts.",
        examples=[2],
        json_schema_extra=unit("answer"),
    )
    repetitions: int = Field(
        default=30,
        ge=1,
        le=10_000,
        description="Answers of each length that count. A p95 takes 20 and a p99 100; the upper ends of their "
        "intervals 72 and 368.",
        examples=[30, 400],
        json_schema_extra=unit("answer"),
    )
    baseline: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Report of an earlier benchmark, relative to the spec, that this one is compared with: "
        "`kcompiler bench SPEC --pin PATH` writes it.",
        examples=["baselines/speed.json"],
    )
    price: speed.Price | None = Field(
        default=None, description="What the machine costs: a million queries are then estimated."
    )


class Evaluation(Section):
    """Suites, further ways to ask, and the students trained beside ours for comparison."""

    suites: list[Suite] = Field(min_length=1, max_length=64, description="Evaluation suites.")
    runners: list[Runner] = Field(
        default_factory=list,
        max_length=16,
        description="Further ways to ask: every suite that they can answer is asked through each, and a report "
        "compares all of them item by item. Teacher, student, baselines and package are asked without being named.",
        examples=[[{"name": "fp16", "use": "mil", "variant": "fp16"}]],
    )
    baselines: Annotated[list[Literal["ce_only", "random_init"]], Distinct] = Field(
        default_factory=list,
        description="The same student, data order and steps, trained otherwise. `ce_only`: without the teacher. "
        "`random_init`: with the same losses, from random weights in place of its checkpoint or cut.",
        json_schema_extra=DISTINCT,
    )
    judge: Judge | None = Field(
        default=None, description="Who compares answers for suite `judged`.", examples=[{"model": "models:judge"}]
    )
    benchmarks: list[Benchmark] = Field(
        default_factory=list,
        max_length=16,
        description="Measurements of speed and memory, on the machine that carries the spec out.",
        examples=[[{"repetitions": 100, "prompts": [64]}]],
    )

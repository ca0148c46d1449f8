"""Tree → Spec: one frozen pydantic model per section, with the parameters of plug-ins by their own models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kcompiler.spec.base import DISTINCT, FORM, Distinct, Plugged, Section
from kcompiler.spec.budgets import Budgets
from kcompiler.spec.composition import Include, Matrix, Profiles
from kcompiler.spec.data import Data, GeneratorSource
from kcompiler.spec.decisions import Decision
from kcompiler.spec.device import Device
from kcompiler.spec.evaluation import Evaluation, Runner, Suite
from kcompiler.spec.execution import Execution
from kcompiler.spec.export import Export
from kcompiler.spec.hardware import Hardware
from kcompiler.spec.metadata import Metadata
from kcompiler.spec.quantization import Quantization
from kcompiler.spec.readiness import Readiness
from kcompiler.spec.shapes import Shapes
from kcompiler.spec.steps import ExtraStep
from kcompiler.spec.student import Student
from kcompiler.spec.teacher import Teacher
from kcompiler.spec.tokenizer import Tokenizer
from kcompiler.spec.training import Loss, Training
from kcompiler.spec.verification import Verification, by_recipe
from runtime.contract.units import unit

#: the parts whose further keys come from the catalog
PLUGGED: tuple[type[Plugged], ...] = (Teacher, GeneratorSource, Loss, Suite, Runner, ExtraStep)


PackName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)*$",
        max_length=200,
        json_schema_extra={FORM: "the name of a pack, such as `caws/core`"},
    ),
]


class Spec(Section):
    """A distillation: one student, from teacher and data to a verified Core ML package."""

    apiVersion: Literal["kcompiler/v1"] = Field(description="Version of this language.")
    kind: Literal["Distillation"] = Field(description="What the spec describes.")
    metadata: Metadata = Field(description="What the spec is called and who answers for it.")
    risk_tier: int = Field(
        ge=1,
        le=3,
        description="1 ships to people, 2 spends money, 3 is a toy or a smoke test.",
        examples=[3],
        json_schema_extra=unit("1"),
    )
    teacher: Teacher = Field(description="Where the teacher comes from and what it gives.")
    tokenizer: Tokenizer = Field(description="How text becomes ids.")
    data: Data = Field(description="Rows to learn from and to be judged on.")
    student: Student = Field(description="The model that is made.")
    training: Training = Field(description="Stages, losses and optimisers.")
    shapes: Shapes = Field(description="Fixed input lengths of the exported functions.")
    quantization: Quantization = Field(description="How the weights of the package are stored.")
    export: Export = Field(
        default_factory=Export, description="Which systems the packages are made for, and where they compute."
    )
    verification: Verification = Field(
        default_factory=Verification, description="How the packages are compared with the checkpoint."
    )
    evaluation: Evaluation = Field(description="How the student is judged.")
    hardware: Hardware = Field(description="The machine the student is meant for.")
    budgets: Budgets = Field(description="What a run may cost.")
    policies: Annotated[list[PackName], Distinct] = Field(
        min_length=1,
        max_length=100,
        description="Packs of rules that judge the reports.",
        json_schema_extra=DISTINCT,
        examples=[["caws/core", "caws/tier-3"]],
    )
    readiness: Readiness | None = Field(
        default=None, description="Files in which CI says how ready the code around the student is."
    )
    device: Device | None = Field(
        default=None, description="What a Mac measured of the package: the report of `kcompiler verify --on-device`."
    )
    execution: Execution = Field(default_factory=Execution, description="Where and how steps run.")
    steps: list[ExtraStep] = Field(default_factory=list, max_length=1000, description="Further steps, by the catalog.")
    decisions: list[Decision] = Field(
        default_factory=list, max_length=200, description="Contradictions, each settled in one value with its reason."
    )
    include: list[Include] = Field(
        default_factory=list, max_length=32, description="Fragments that are part of this spec; its own word wins."
    )
    profiles: Profiles = Field(
        default_factory=dict, description="Named overlays, each a smaller or other form of this spec: `--profile NAME`."
    )
    matrix: Matrix = Field(
        default_factory=dict,
        description="A sweep: every combination of these values is planned, and what they share is made once.",
    )

    @model_validator(mode="before")
    @classmethod
    def _tolerances(cls, data: Any) -> Any:
        """Quantized packages are asked what their recipe can give."""
        return by_recipe(data)

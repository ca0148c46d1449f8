"""Section `verification`: how the saved packages are compared with the checkpoint they were made from."""

from __future__ import annotations

from pydantic import Field

from kcompiler.spec.base import Section
from runtime.contract.units import unit


class Tolerances(Section):
    """Largest difference over the largest value of the checkpoint: logits, and keys and values of each head.

    The upper ends are what no spec may go beyond; a spec may ask for less.
    """

    float32: float = Field(
        default=1e-5,
        gt=0,
        le=1e-4,
        description="The converted program before it is narrowed: what differs more is another function.",
        examples=[1e-5],
        json_schema_extra=unit("1"),
    )
    float16: float = Field(
        default=0.02,
        gt=0,
        le=0.02,
        description="The package with float16 weights.",
        examples=[0.005],
        json_schema_extra=unit("1"),
    )
    quantized: float = Field(
        default=0.02,
        gt=0,
        le=0.05,
        description="The logits of the package with the recipe applied. The largest of all differences grows with "
        "depth and vocabulary, while cosine and KL stay.",
        examples=[0.01],
        json_schema_extra=unit("1"),
    )


class Verification(Section):
    """Golden vectors of the checkpoint, and how far a package may be from them.

    Each prefill is run on prompts of the test split and filled to its length; decodes start from those prompts and from
    both sides of every prefill's edge.
    """

    prompts: int = Field(
        default=2,
        ge=1,
        le=1000,
        description="Test prompts behind the golden vectors of each function.",
        examples=[4],
        json_schema_extra=unit("prompt"),
    )
    decode_steps: int = Field(
        default=4,
        ge=1,
        le=4096,
        description="Cached steps of every golden decode.",
        examples=[16],
        json_schema_extra=unit("step"),
    )
    tolerances: Tolerances = Field(
        default_factory=Tolerances, description="How far the packages may be from the checkpoint."
    )

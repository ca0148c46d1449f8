"""Section `verification`: how the saved packages are compared with the checkpoint they were made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from kcompiler.spec.base import Section
from runtime.contract.delivery import Precision
from runtime.contract.ondevice import Tolerances as OnDevice
from runtime.contract.recipe import COARSE
from runtime.contract.units import unit


class Tolerances(Section):
    """Largest difference over the largest value of the checkpoint: logits, and keys and values of each head.

    The ends are what no spec may go beyond; a spec may ask for less. Beside them stand the least cosines and the most
    of a KL divergence. What is asked of quantized packages follows from the recipe where the spec does not say it.
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
        le=0.5,
        description="The logits of the package with the recipe applied. The largest of all differences grows "
        "with depth and vocabulary, while cosine and KL stay. At most 0.05; with less than eight "
        "bits, `sparse` or `activations` in the recipe 0.4.",
        examples=[0.01],
        json_schema_extra=unit("1"),
    )
    logits: float = Field(
        default=0.05,
        gt=0,
        le=0.5,
        description="The logits of any package: the outer bound. With less than eight bits, `sparse` or "
        "`activations` in the recipe 0.5.",
        examples=[0.05],
        json_schema_extra=unit("1"),
    )
    cache: float = Field(
        default=0.05,
        gt=0,
        le=0.5,
        description="Keys and values of each head of any package. With less than eight bits, `sparse` or "
        "`activations` in the recipe 0.5.",
        examples=[0.05],
        json_schema_extra=unit("1"),
    )
    cosine: float = Field(
        default=0.999,
        ge=0.9,
        le=1,
        description="Least cosine of the logits of each function of any package. With less than eight bits, "
        "`sparse` or `activations` in the recipe, which move every number, 0.98: then `kl` and the "
        "tokens ranked first judge.",
        examples=[0.999],
        json_schema_extra=unit("cosine"),
    )
    cache_cosine: float = Field(
        default=0.999,
        ge=0.9,
        le=1,
        description="Least cosine of the keys, and of the values, of each head of any package. With less than "
        "eight bits, `sparse` or `activations` in the recipe 0.95.",
        examples=[0.999],
        json_schema_extra=unit("cosine"),
    )
    kl: float = Field(
        default=0.01,
        gt=0,
        le=0.5,
        description="Largest mean KL divergence of the next token from the checkpoint's, of any package. With "
        "less than eight bits, `sparse` or `activations` in the recipe 0.1.",
        examples=[0.01],
        json_schema_extra=unit("nat"),
    )
    blocks: float = Field(
        default=0.05,
        gt=0,
        le=0.5,
        description="Mean relative L2, over positions, of what each block and the logits of the quantized "
        "package give beside the float16 package's; asked where `verification.ledger` is. With less "
        "than eight bits, `sparse` or `activations` in the recipe 0.4.",
        examples=[0.03],
        json_schema_extra=unit("1"),
    )


def on_device(asked: Tolerances, precision: Precision) -> OnDevice:
    """The same for a package of this precision on a device: what the rules about the interpreted one ask."""
    fine = precision == "fp16"
    return OnDevice(
        logits=asked.float16 if fine else min(asked.quantized, asked.logits),
        cache=min(asked.float16, asked.cache) if fine else asked.cache,
        cosine=asked.cosine,
        cache_cosine=asked.cache_cosine,
        kl=asked.kl,
    )


#: what a coarse recipe gets where the spec says nothing. Four bits, in blocks of 32 or as sixteen values a matrix, took
#: cosines of a trained student of 0.6 M parameters to 0.998, of its cache to 0.983, and KL to 0.03; MLP layers that
#: read int8 took them to 0.9995, 0.996 and 0.003
COARSE_TOLERANCES: Mapping[str, float] = {
    "quantized": 0.4,
    "logits": 0.5,
    "cache": 0.5,
    "cosine": 0.98,
    "cache_cosine": 0.95,
    "kl": 0.1,
    "blocks": 0.4,
}
#: what a recipe without one may not go beyond: (least, most)
FINE_LIMITS: Mapping[str, tuple[float, float]] = {
    "quantized": (0, 0.05),
    "logits": (0, 0.05),
    "cache": (0, 0.05),
    "cosine": (0.999, 1),
    "cache_cosine": (0.999, 1),
    "kl": (0, 0.01),
    "blocks": (0, 0.05),
}


def by_recipe(spec: Any) -> Any:
    """The text of a spec with the tolerances of its recipe, where that is coarse and it does not say them itself."""
    if not isinstance(spec, Mapping) or not _coarse(spec.get("quantization")):
        return spec
    section = spec.get("verification", {})
    written = section.get("tolerances", {}) if isinstance(section, Mapping) else None
    if not isinstance(written, Mapping):
        return spec
    return {**spec, "verification": {**section, "tolerances": {**COARSE_TOLERANCES, **written}}}


def _coarse(section: Any) -> bool:
    """Whether a recipe as it is written is coarse, as `Quantization.coarse` of the model."""
    if not isinstance(section, Mapping):
        return False
    rules = section.get("rules", [])
    asked = [section.get("default"), *(rules if isinstance(rules, Sequence) else [])]
    written = [one.get("weights") for one in asked if isinstance(one, Mapping)]
    return section.get("activations") is not None or any(isinstance(one, str) and one in COARSE for one in written)


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
    onnx: bool = Field(
        default=False,
        description="Also writes the exported program as ONNX files and lets onnxruntime run them: a third opinion "
        "that says of a difference whether the export or the conversion made it. Needs the extra `onnx`.",
        examples=[True],
    )
    ledger: bool = Field(
        default=False,
        description="Also runs every block of the converted program in float32, of the float16 and of the quantized "
        "package, and reports what each loses against the checkpoint, and quantization against float16.",
        examples=[True],
    )

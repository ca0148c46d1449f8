"""Section `device`: what a Mac measured of the package that this spec makes, in a report that is brought here."""

from __future__ import annotations

from pydantic import Field

from kcompiler.spec.base import Section
from runtime.contract.delivery import Precision
from runtime.contract.ondevice import Units
from runtime.contract.units import unit


class Device(Section):
    """Packs `device/attested` and `device/resident` judge it. The package must be made before a Mac can run it, so that
    this section stands in a profile: deliver the spec with --goldens, run `kcompiler verify --on-device`, apply the
    profile."""

    report: str = Field(
        min_length=1,
        max_length=1000,
        description="What `kcompiler verify --on-device DIR` wrote, relative to the spec.",
        examples=["../ci/device-report.json"],
    )
    precision: Precision = Field(
        default="quantized", description="Which package must have been run.", examples=["quantized"]
    )
    units: Units | None = Field(
        default=None,
        description="Where Core ML may have computed, besides the CPU; absent: `export.compute_units`.",
        examples=["cpu_and_ne"],
    )
    level: int = Field(
        default=4,
        ge=3,
        le=5,
        description="The least attestation level: 3 predicted on the CPU, 4 on the units with a plan, 5 with times.",
        examples=[4],
        json_schema_extra=unit("level"),
    )
    tokens_per_s: float | None = Field(
        default=None,
        gt=0,
        description="The least speed of the decode, at the lower end of its interval; absent: not asked.",
        examples=[25.0],
        json_schema_extra=unit("token/s"),
    )

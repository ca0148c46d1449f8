"""Sections `include`, `profiles` and `matrix`: what a spec is composed of. `kcompiler/compose` carries them out."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from kcompiler.spec.base import FORM, Section

_PATH: dict[str, Any] = {
    "pattern": r"^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$",
    FORM: "a dotted path, such as training.stages.kd.steps",
}
_NAME: dict[str, Any] = {
    "pattern": r"^[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?$",
    FORM: "small letters, digits, `-` and `_`, at most 32",
}
_LABEL: dict[str, Any] = {
    "pattern": r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,30}[A-Za-z0-9])?$",
    FORM: "letters, digits, `.`, `-` and `_`, at most 32",
}
_OVERLAY: dict[str, Any] = {
    "type": "object",
    "description": "Dotted path → the value that stands there instead.",
    "propertyNames": _PATH,
    "minProperties": 1,
    "additionalProperties": True,
}


class Include(Section):
    """One fragment: a YAML file with whole sections or parts of them."""

    path: str = Field(
        min_length=1,
        max_length=1000,
        description="File, relative to the spec's folder.",
        examples=["fragments/mixtral.yaml"],
    )
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the file's bytes; the fragment that was reviewed and no other.",
        json_schema_extra={FORM: "64 hex digits, the SHA-256 of the file"},
        examples=["a222daa0321cadaef4091f01c3f0ad0760eee5d16e45ce205629cde1ca3c7438"],
    )


_Path = Annotated[str, Field(pattern=_PATH["pattern"])]
_Overlay = Annotated[dict[_Path, Any], Field(min_length=1)]

Profiles = Annotated[
    dict[Annotated[str, Field(pattern=_NAME["pattern"])], _Overlay],
    WithJsonSchema({"type": "object", "propertyNames": _NAME, "additionalProperties": _OVERLAY}),
]

Matrix = Annotated[
    dict[
        _Path,
        Annotated[list[str | int | float | bool], Field(min_length=1)]
        | Annotated[dict[Annotated[str, Field(pattern=_LABEL["pattern"])], _Overlay], Field(min_length=1)],
    ],
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {
                "pattern": _PATH["pattern"],
                FORM: "a dotted path, or a name whose values are overlays",
            },
            "additionalProperties": {
                "type": ["array", "object"],
                "description": "Values of a path, or named overlays.",
                "minItems": 1,
                "items": {"type": ["string", "number", "boolean"]},
                "minProperties": 1,
                "propertyNames": _LABEL,
                "additionalProperties": _OVERLAY,
            },
        }
    ),
]

"""Tree → Spec, or as many of its sections as can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree
from kcompiler.spec import PLUGGED, Spec
from kcompiler.spec.plugins import problems, resolve


@dataclass(frozen=True)
class Parsed:
    """`spec` is whole or None. `partial` holds only `sections`; reading another attribute of it fails."""

    spec: Spec | None
    partial: Spec
    sections: frozenset[str]
    diagnostics: list[Diagnostic]


def parse(tree: Tree, ignoring: frozenset[str] = frozenset()) -> Parsed:
    """The sections in their models. Keys at the pointers `ignoring` are left out, as if nobody had written them."""
    everything = frozenset(Spec.model_fields)
    resolved = resolve(tree, PLUGGED, ignoring)
    failed, found = resolved.failed, resolved.diagnostics
    if not failed:
        try:
            spec = Spec.model_validate(resolved.data)
            return Parsed(spec, spec, everything, found)
        except ValidationError as error:
            found = [*found, *problems(tree, error, "")]
            failed |= {str(item["loc"][0]) for item in error.errors(include_url=False) if item["loc"]}
    values: dict[str, Any] = {}
    for name, info in Spec.model_fields.items():
        if name in failed:
            continue
        if name not in resolved.data:
            if not info.is_required():
                values[name] = info.get_default(call_default_factory=True)
            continue
        adapter: TypeAdapter[Any] = TypeAdapter(Annotated[info.annotation, info])  # type: ignore[arg-type]
        try:
            values[name] = adapter.validate_python(resolved.data[name])
        except ValidationError as error:
            found = [*found, *problems(tree, error, f"/{name}")]
    partial = Spec.model_construct(**values)
    for name in everything - set(values):
        # `model_construct` fills in defaults: what failed must not look like it was left out
        partial.__dict__.pop(name, None)
    return Parsed(None, partial, frozenset(values), found)

"""What every section of a spec is made of."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, SerializeAsAny, model_serializer

from runtime.contract import Params

#: schema keywords of ours; validators that do not know them pass over them
ROOM = "x-room"
#: schema keyword: the table of facts (`kcompiler/tables`) whose names may stand there
TABLE = "x-table"
#: what a pattern asks for, in words
FORM = "x-form"


class Section(Params):
    """Base of every part of a spec: unknown keys refused, immutable, nothing coerced."""


class Plugged(Section):
    """A part of a spec whose further keys are the parameters of the plug-in that `key` names.

    In the text they stand beside the section's own keys (`inline`) or below `params`; here they are always `params`,
    an instance of the plug-in's own model. Dumping gives the form of the text, with every default visible.
    """

    room: ClassVar[str]
    key: ClassVar[str]
    inline: ClassVar[bool] = True
    #: where such parts stand; `*` is any index
    pattern: ClassVar[str]
    #: what one of them is called in messages
    noun: ClassVar[str]

    params: SerializeAsAny[Params] = Field(description="Parameters of the plug-in, by its own model.")

    @model_serializer(mode="wrap")
    def _as_written(self, handler: Any) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        if self.inline:
            dumped |= dumped.pop("params")
        return dumped


def _distinct(items: list[str]) -> list[str]:
    if len(set(items)) != len(items):
        raise ValueError("the same item twice")
    return items


#: Ids, file-name stems and report slices: what can stand in a path and in a command line.
Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$",
        json_schema_extra={FORM: "small letters, digits, `-` and `_`, at most 64, no `-` or `_` at the ends"},
    ),
]
Distinct = AfterValidator(_distinct)
DISTINCT: dict[str, Any] = {"uniqueItems": True}

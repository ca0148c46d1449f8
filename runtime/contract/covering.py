"""Plan → over which prompts, positions and layers a package's functions are compared.

How many there are to be follows from lengths, context, prompts, steps and layers alone. No tensors: checks, rules and
auditors ask it, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from runtime.contract import BrokenEvidence, Params
from runtime.contract.heads import Name
from runtime.contract.units import unit

_TOKENS = unit("token")


class Covering(Params):
    """What is to be compared of a model's functions."""

    #: the lengths of its prefills
    prefill: list[int] = Field(min_length=1, json_schema_extra=_TOKENS)
    #: cache length of its decode
    decode_context: int = Field(ge=8, json_schema_extra=_TOKENS)
    layers: int = Field(ge=1, json_schema_extra=unit("layer"))
    #: prompts of each function
    golden_prompts: int = Field(default=2, ge=1)
    #: cached steps of each decode
    decode_steps: int = Field(default=4, ge=1)
    #: heads beside the one for words
    heads: list[Name] = Field(default_factory=list, exclude_if=lambda named: not named)


def held(params: Covering, lengths: Sequence[int], context: int, layers: int, heads: Sequence[str] = ()) -> None:
    """Raises BrokenEvidence for a package of other lengths, context, layers or heads than those that are asked for."""
    for what, found, wanted in (
        ("prefills of", sorted(lengths), sorted(params.prefill)),
        ("a context of", context, params.decode_context),
        ("layers:", layers, params.layers),
        ("the heads", sorted(heads), sorted(params.heads)),
    ):
        if found != wanted:
            raise BrokenEvidence(f"the package has {what} {found}, the plan asks for {wanted}", subject="contract.json")


def edges(lengths: Sequence[int], context: int, steps: int) -> dict[int, list[int]]:
    """Prefill length → prompt lengths around its edges from which a decode of `steps` cached steps is compared.

    One token, the first length that no shorter prefill holds, one below the edge, and the edge: the prefill's own
    length or, where the cache ends first, the longest prompt that leaves room for the steps.
    """
    found, below = {}, 0
    for length in sorted(lengths):
        edge = min(length, context - steps)
        found[length] = sorted({prompt for prompt in (1, below + 1, edge - 1, edge) if 1 <= prompt <= edge})
        below = length
    return found


def wanted(lengths: Sequence[int], context: int, prompts: int, steps: int) -> dict[str, int]:
    """Function → golden cases that are asked for: of a prefill so many padded prompts, one that fills it, and a decode
    from each of its edges; of the decode all of those and one of each prompt."""
    found = edges(lengths, context, steps)
    of_prefills = {f"prefill_{length}": prompts + 1 + len(prompted) for length, prompted in found.items()}
    return {**of_prefills, "decode": prompts + sum(map(len, found.values()))}

"""Student logits → how far the answer in code stands above the direct one, at the token where the two part.

A row that may be answered in code (`wanted.code_mode`) and has both answers, the one in code as its response and the
direct one as `rejected`, has one token at which they part: all before is the same, so that what the student thinks of
the two forms is decided there. Bradley and Terry's comparison of the two tokens with a margin (1952; arXiv 2307.09288
for the margin); nothing is compared in any other row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from runtime.contract import Loss, Params
from runtime.contract.objective import semantics
from runtime.contract.units import unit


class CodeModeParams(Params):
    margin: float = Field(
        default=1.0,
        ge=0,
        le=20,
        description="By how many nats of log-odds the answer in code is to stand above the direct one.",
        examples=[1.0],
        json_schema_extra=unit("nat"),
    )


def _short(student_NV: Any, target_N: Any, facts: Mapping[str, Any], params: CodeModeParams) -> Any:
    """How much is wanting to the margin."""
    code_N, direct_N = (student_NV.gather(-1, at.unsqueeze(-1)).squeeze(-1) for at in (target_N, facts["direct"]))
    return params.margin - code_N + direct_N


def value(student_NV: Any, _teacher_NV: Any, target_N: Any, params: CodeModeParams, *, facts: Mapping[str, Any]) -> Any:
    """log(1 + exp(m - log q(code) + log q(direct))) in nats. loss_N."""
    short_N = _short(student_NV, target_N, facts, params)
    return short_N.logaddexp(short_N.new_zeros(()))


def gradient(
    student_NV: Any, _teacher_NV: Any, target_N: Any, params: CodeModeParams, *, facts: Mapping[str, Any]
) -> tuple[Any, Any]:
    """σ(what is wanting) · ([v = direct] - [v = code])."""
    short_N = _short(student_NV, target_N, facts, params)
    pull_N1 = short_N.sigmoid().unsqueeze(-1)
    gradient_NV = student_NV.new_zeros(student_NV.shape).scatter(-1, facts["direct"].unsqueeze(-1), pull_N1)
    gradient_NV.scatter_add_(-1, target_N.unsqueeze(-1), -pull_N1)
    return short_N.logaddexp(short_N.new_zeros(())), gradient_NV


LOSS = Loss(
    name="code_mode",
    version=1,
    params=CodeModeParams,
    needs=frozenset(),
    facts=frozenset({"direct"}),
    mask="code_mode",
    value=value,
    gradient=gradient,
    semantics=semantics(
        formula="log(1 + exp(m - (z_code - z_direct))), the two tokens at which the answers part",
        direction="the answer in code over the direct one, in rows that may be answered in code",
        mask="code_mode",
        tail="no other token counts",
        vocabulary="the student's own",
    ),
    hurts="where nearly every row may be answered in code: simple calls are wrapped in it, too; rules "
    "`training/code-mode-share-least` and `-most` hold the share of such rows to a band",
    source="Bradley and Terry (1952), at one token; this program",
)

"""Each rule of the graph linter finds the construct it forbids, and only a clean graph has no finding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from runtime.models import fxlint

X = torch.ones(2, 4)
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")


class Body(nn.Module):
    def __init__(self, body: Callable[[Tensor], Tensor], **buffers: Tensor) -> None:
        super().__init__()
        self.body = body
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def rules(module: nn.Module, *inputs: Tensor, **options: object) -> set[str]:
    program = torch.export.export(module, inputs or (X,), **options).run_decompositions({})
    return {finding.rule for finding in fxlint.lint(program)}


def test_a_clean_graph_has_no_finding() -> None:
    assert rules(Body(lambda x: torch.softmax(x @ x.transpose(0, 1) + (-1e4), -1))) == set()
    assert rules(Body(lambda x: torch.pow(x, 2) + torch.exp2(x))) == set()


BAD: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "triu": ("FX-DENY", lambda x: torch.triu(x)),
    "tril": ("FX-DENY", lambda x: torch.tril(x)),
    "masked_fill": ("FX-DENY", lambda x: x.masked_fill(x > 0, -1e4)),
    "two scalar branches": ("FX-DENY", lambda x: torch.where(x > 0, 0.0, -1e4)),
    "a power of two": ("FX-DENY", lambda x: torch.pow(2, x)),
    "RMSNorm": ("FX-DENY", lambda x: nn.functional.rms_norm(x, (4,))),
    "cumsum": ("FX-DENY", lambda x: torch.cumsum(x, 0)),
    "fused attention": ("FX-DENY", lambda x: nn.functional.scaled_dot_product_attention(x[None], x[None], x[None])),
    "bitwise and": ("FX-DENY", lambda x: x * ((x > 0) & (x < 1)).to(x.dtype)),
    "64-bit positions": ("FX-INT64", lambda x: x + torch.arange(4)),
    "float64": ("FX-INT64", lambda x: x.double().to(torch.float32)),
    "an island by cast": ("FX-FLOAT", lambda x: x.half().float() * 2),
    "infinite mask": ("FX-FINITE", lambda x: x + float("-inf")),
    "float32 minimum": ("FX-FINITE", lambda x: x * torch.finfo(torch.float32).min),
    "alpha": ("FX-KEYWORD", lambda x: torch.sub(x, x * 2, alpha=5)),
    "a dtype that the handler does not read": ("FX-KEYWORD", lambda x: torch.full_like(x, 2.7, dtype=torch.int32) + x),
    "variance of everything": ("FX-WHOLE", lambda x: x - x.var()),
    "softplus with a threshold": ("FX-SOFTPLUS", lambda x: nn.functional.softplus(x, 1, 5)),
    "rsqrt of what may be zero": ("FX-EPSILON", lambda x: torch.rsqrt(x * x)),
    "rsqrt clamped too near zero": ("FX-EPSILON", lambda x: torch.rsqrt(x.clamp(min=1e-9))),
    "GELU by tanh, not written out": ("FX-KEYWORD", lambda x: nn.functional.gelu(x, approximate="tanh")),
    "rank 6": ("FX-RANK", lambda x: x[None, None, None, None] * 2),
}


@pytest.mark.parametrize("name", BAD)
def test_a_forbidden_construct_is_found(name: str) -> None:
    rule, body = BAD[name]
    assert rule in rules(Body(body))


def test_a_constant_mask_beyond_float16_is_found() -> None:
    module = Body(lambda x: x)
    module.register_buffer("mask", torch.full((4,), float("-inf")))
    module.body = lambda x: x + module.mask
    assert "FX-FINITE" in rules(module)


def test_a_dynamic_extent_is_found() -> None:
    assert "FX-DYNAMIC" in rules(Body(lambda x: x * 2), X, dynamic_shapes={"x": {0: Dim("rows", min=2, max=8)}})


def test_a_write_to_an_input_is_found() -> None:
    def body(x: Tensor) -> Tensor:
        x.add_(1)
        return x * 2

    assert "FX-MUTATE" in rules(Body(body))


def test_a_64_bit_input_is_found() -> None:
    assert {"FX-IO", "FX-INT64"} <= rules(Body(lambda x: x.to(torch.float32) * 2), torch.ones(2, dtype=torch.int64))


def test_every_rule_that_reports_is_listed() -> None:
    found = {rule for rule, _ in BAD.values()} | {"FX-DYNAMIC", "FX-MUTATE", "FX-IO"}
    assert found == set(fxlint.RULE_IDS)

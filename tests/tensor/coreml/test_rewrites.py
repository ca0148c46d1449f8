"""What the real converter makes of a construct is another function than torch's, and the linter refuses the construct.

Each case is converted in float32 and run by the interpreter: a wrong number here is the converter's, no rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import coremltools as ct
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kcompiler import tables
from runtime.mil import package
from runtime.mil.interpreter import Interpreter
from runtime.mil.quiet import quiet
from runtime.models import fxlint
from runtime.models.export import _clean, _gelu
from tests.longer import also

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.usefixtures("converter_folders"),
]
X = torch.tensor([[0.6614, 0.2669, 0.0617, 0.6213], [-0.4519, -0.1661, -1.5228, 0.3817]])
SMALL = torch.tensor([[1e-4, 1e-6, 1e-8, 0.5]])
ZERO = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
WHOLE = torch.tensor([1, 2], dtype=torch.int32)
F = nn.functional


class Body(nn.Module):
    def __init__(self, body: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def converted(program: torch.export.ExportedProgram, given: Tensor, folder: Path) -> np.ndarray:
    """The only output of the program as a saved package."""
    _clean(program)
    with quiet():
        made = ct.convert(
            program,
            minimum_deployment_target=ct.target.iOS18,
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
        )
        made.save(str(folder / "made.mlpackage"))
    run = Interpreter(package.open(folder / "made.mlpackage"), mode="exact32")
    (found,) = run.run({run.function.inputs[0].name: given.numpy()}).outputs.values()
    return found


def scattered(x: Tensor) -> Tensor:
    added = torch.full((4,), 10.0).scatter_add(0, torch.tensor([1, 1]), torch.tensor([1.0, 2.0]))
    return added + x[0]


#: construct → (row of the errata table, lint rule, body, input)
REWRITTEN: dict[str, tuple[str, str, Callable[[Tensor], Tensor], Tensor]] = {
    "1 / x": ("reciprocal-epsilon", "FX-DENY", lambda x: 1 / x, SMALL),
    "2 / x": ("reciprocal-epsilon", "FX-DENY", lambda x: 2 / x, SMALL),
    "reciprocal": ("reciprocal-epsilon", "FX-DENY", torch.reciprocal, SMALL),
    "rsqrt": ("rsqrt-epsilon", "FX-EPSILON", torch.rsqrt, SMALL**2),
    "rsqrt with a tiny epsilon": ("rsqrt-epsilon", "FX-EPSILON", lambda x: torch.rsqrt(x * x + 1e-12), SMALL * 0),
    "log": ("log-epsilon", "FX-DENY", torch.log, ZERO),
    "log2": ("log-epsilon", "FX-DENY", torch.log2, ZERO),
    "log10": ("log-epsilon", "FX-DENY", torch.log10, ZERO),
    "log1p": ("log1p-expm1", "FX-DENY", torch.log1p, SMALL),
    "expm1": ("log1p-expm1", "FX-DENY", torch.expm1, SMALL),
    "log_softmax": ("log-softmax-floor", "FX-DENY", lambda x: torch.log_softmax(x * 200, -1), X),
    "std": ("variance-of-all", "FX-WHOLE", lambda x: x.std(), X),
    "var": ("variance-of-all", "FX-WHOLE", lambda x: x.var(), X),
    "argmax": ("argmax-of-all", "FX-WHOLE", lambda x: x.argmax().to(torch.int32), X),
    "argmin": ("argmax-of-all", "FX-WHOLE", lambda x: x.argmin().to(torch.int32), X),
    "softplus": ("softplus-threshold", "FX-SOFTPLUS", lambda x: F.softplus(x * 4, 1, 1), X),
    "softplus of two": ("softplus-threshold", "FX-SOFTPLUS", lambda x: F.softplus(x * 4, 2, 1), X),
    "add with alpha": ("alpha-ignored", "FX-KEYWORD", lambda x: torch.add(x, x * 2, alpha=5), X),
    "sub with alpha": ("alpha-ignored", "FX-KEYWORD", lambda x: torch.sub(x, x * 2, alpha=5), X),
    "rsub with alpha": ("keyword-dropped", "FX-KEYWORD", lambda x: torch.rsub(x, x * 2, alpha=3), X),
    "full_like of integers": (
        "keyword-dropped", "FX-KEYWORD", lambda x: torch.full_like(x, 2.7, dtype=torch.int32) + x, X,
    ),
    "GELU by tanh": ("gelu-tanh", "FX-KEYWORD", lambda x: F.gelu(x, approximate="tanh"), X),
    "an integer beyond 32 bits": ("integer-wraps", "FX-INT64", lambda x: x + 2**40, WHOLE),
    "an integer beyond 32 bits times a float": ("integer-wraps", "FX-INT64", lambda x: x * 2**40, X),
    "scatter_add": ("scatter-add-folded", "FX-DENY", scattered, X),
    "RMSNorm": ("rms-norm-eps", "FX-DENY", lambda x: F.rms_norm(x, (4,), eps=1e-5), X * 1e-3),
    "RMSNorm of zeros": ("rms-norm-eps", "FX-DENY", lambda x: F.rms_norm(x, (4,), eps=1e-5), X * 0),
    "tril": ("triu-tril-nan", "FX-DENY", lambda x: torch.tril(torch.full((4, 4), float("-inf")), -1) + x[0], X),
    "triu": ("triu-tril-nan", "FX-DENY", lambda x: torch.triu(torch.full((4, 4), float("-inf")), 1) + x[0], X),
    "attention that sees nothing": (
        "attention-all-masked",
        "FX-DENY",
        lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None], torch.zeros(2, 2, dtype=torch.bool)),
        X,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [also(one) if at % 3 else one for at, one in enumerate(REWRITTEN)])
def test_the_converter_changes_it_and_the_linter_refuses_it(name: str, tmp_path: Path) -> None:
    row, rule, body, given = REWRITTEN[name]
    program = torch.export.export(Body(body), (given,)).run_decompositions({})
    assert rule in {finding.rule for finding in fxlint.lint(program)}
    wanted, found = body(given).numpy(), converted(program, given, tmp_path)
    same = wanted.shape == found.shape and np.allclose(wanted, found, rtol=1e-5, atol=1e-12, equal_nan=True)
    assert not same, "the converter is right now: take the lint and the errata row away"
    assert row in {erratum.id for erratum in tables.errata().errata}


#: what the errata rows advise instead
ADVISED: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
    "a division": (lambda x: torch.ones_like(x) / x, SMALL),
    "rsqrt kept from zero": (lambda x: torch.rsqrt(x * x + 1e-6), SMALL),
    "logsumexp": (lambda x: x * 200 - torch.logsumexp(x * 200, -1, keepdim=True), X),
    "dimensions named": (lambda x: x.std((0, 1)) + x.var((0, 1)), X),
    "softplus as it is": (lambda x: F.softplus(x * 30), X),
    "a float that float16 holds": (lambda x: x * float(2**15), X),
    "alpha multiplied": (lambda x: x - (x * 2) * 5, X),
    "GELU by erf": (lambda x: F.gelu(x), X),
    "the default of a keyword": (lambda x: F.gelu(x, approximate="none"), X),
    "a dtype that it has anyway": (lambda x: torch.sum(x, -1, dtype=torch.float32), X),
}


@pytest.mark.parametrize("name", ADVISED)
def test_what_is_advised_has_no_finding_and_is_right(name: str, tmp_path: Path) -> None:
    body, given = ADVISED[name]
    program = torch.export.export(Body(body), (given,)).run_decompositions({})
    assert fxlint.lint(program) == []
    assert np.allclose(body(given).numpy(), converted(program, given, tmp_path), rtol=1e-5, atol=1e-12)


def test_gelu_by_tanh_is_written_out_and_fused_again(tmp_path: Path) -> None:
    module = Body(lambda x: F.gelu(x, approximate="tanh"))
    program = torch.export.export(module, (X,)).run_decompositions({torch.ops.aten.gelu.default: _gelu})
    assert fxlint.lint(program) == []
    assert np.allclose(module(X).numpy(), converted(program, X, tmp_path), rtol=1e-5, atol=1e-7)

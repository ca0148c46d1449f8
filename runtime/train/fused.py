"""Work that a card does in many small kernels → the same in few, while training there, where it is the same.

A divergence over a vocabulary of 128 k is bound by memory: written with a tensor library's operations it passes over
the logits thirty times, compiled (`torch.compile`, with the Triton that a CUDA build of torch brings) five times.
Compiling takes some ten seconds, so short trainings are left alone. A normalisation by the root of the mean square is
eight kernels as Transformers writes it and one as torch has it.

Each is compared with what it takes the place of before the first step, and not used where it differs or cannot be made:
a machine without a C compiler cannot load what Triton makes. All of it is for CUDA, where a step's promise is
statistical; on the CPU sums keep their order. `tests/bench/kd_step.py` shows what it gains.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.train.objective import Bound

#: entries of logits over a whole training from which compiling a loss pays: it takes ten seconds and saves 20 ps each
WORTH = 500_000_000_000
#: relative difference that rounding explains, of float32 and of sixteen bits
ROUNDING, ROUGH = 1e-4, 2e-2

#: student_NV, teacher_NV or None, target_N → loss_N, gradient_NV
Gradient = Callable[[Tensor, Tensor | None, Tensor], tuple[Tensor, Tensor]]
_COMPILED: ContextVar[dict[str, Gradient] | None] = ContextVar("compiled", default=None)


def gradient_of(bound: Bound, plain: Callable[..., tuple[Tensor, Tensor]], count: int) -> Gradient:
    """A closed form of a term for `count` tokens: compiled where `losses` made it."""
    found = (_COMPILED.get() or {}).get(bound.name) if plain is bound.loss.gradient else None
    # one token is a size of its own to a compiler
    return found if found is not None and count > 1 else partial(_of, plain, bound.params)


def _of(
    plain: Callable[..., tuple[Tensor, Tensor]] | None, params: Any, logits_NV: Tensor, taught: Any, target_N: Tensor
) -> tuple[Tensor, Tensor]:
    assert plain is not None
    return plain(logits_NV, taught, target_N, params)


def _compiled(bound: Bound) -> Gradient:
    made = torch.compile(partial(_of, bound.loss.gradient, bound.params))

    def run(logits_NV: Tensor, taught_NV: Tensor | None, target_N: Tensor) -> tuple[Tensor, Tensor]:
        for tensor in (logits_NV, taught_NV, target_N):
            if tensor is not None:
                # chunks end where they end: one kernel for any number of tokens
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        found: tuple[Tensor, Tensor] = made(logits_NV, taught_NV, target_N)
        return found

    return run


def _trial(device: torch.device, width: int, count: int, excluded: float) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of a student and of a teacher that gives a third of the tokens one logit, and targets."""
    made = torch.Generator().manual_seed(count)
    student_NV, teacher_NV = (4 * torch.randn(count, width, generator=made) for _ in range(2))
    teacher_NV[:, ::3] = excluded
    target_N = torch.randint(0, width, (count,), generator=made)
    return student_NV.to(device), teacher_NV.to(device), target_N.to(device)


def _same(made: Gradient, bound: Bound, device: torch.device, width: int) -> bool:
    """Whether a compiled loss is the plain one, for numbers of tokens that it was not compiled for, too, and where a
    teacher excludes tokens; a loss that is infinite there is not asked."""
    plain = partial(_of, bound.loss.gradient, bound.params)
    for count, excluded in ((48, -9.0), (17, -torch.inf), (2, -9.0)):
        student_NV, teacher_NV, target_N = _trial(device, width, count, excluded)
        taught_NV = teacher_NV if bound.needs_logits else None
        wanted = plain(student_NV, taught_NV, target_N)
        if not all(bool(one.isfinite().all()) for one in wanted):
            continue
        for ours, theirs in zip(made(student_NV, taught_NV, target_N), wanted, strict=True):
            if not torch.allclose(ours, theirs, rtol=ROUNDING, atol=ROUNDING * float(theirs.abs().max())):
                return False
    return True


@contextlib.contextmanager
def losses(terms: Sequence[Bound], device: torch.device, width: int, entries: int) -> Iterator[dict[str, str]]:
    """Within the context terms with a closed form are computed by compiled kernels where that pays: `entries` logits
    over the whole training. Maps each term that was tried to why it is not, "" for one that is."""
    made: dict[str, Gradient] = {}
    why: dict[str, str] = {}
    wanted = terms if device.type == "cuda" and entries >= WORTH else []
    for bound in wanted:
        # choices are few, facts of rows stand beside few tokens, and a stored teacher's likeliest tokens are no tensor;
        # what is left to what is measured is not known yet
        if bound.loss.gradient is None or bound.needs_choices or bound.facts or len(bound.options()) > 1:
            continue
        kernel = _compiled(bound)
        try:
            why[bound.name] = "" if _same(kernel, bound, device, width) else "it differs from the plain one"
        except Exception as error:
            # whatever a compiler of kernels and the compiler of C below it may say
            why[bound.name] = " ".join((type(error).__name__, *str(error).strip().splitlines()[:1]))[:200]
        if not why[bound.name]:
            made[bound.name] = kernel
    before = _COMPILED.set(made)
    try:
        yield why
    finally:
        _COMPILED.reset(before)


def _normalise(module: nn.Module, epsilon: float, x: Tensor) -> Tensor:
    weight: Tensor = module.weight
    return functional.rms_norm(x, weight.shape, weight, epsilon)


def _norms(model: nn.Module) -> Iterator[tuple[nn.Module, float]]:
    """Normalisations by the root of the mean square, by their name and parts, with the number under their root."""
    for module in model.modules():
        epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
        if type(module).__name__.endswith("RMSNorm") and isinstance(epsilon, float):
            weight = getattr(module, "weight", None)
            if isinstance(weight, nn.Parameter) and weight.ndim == 1:
                yield module, epsilon


def _equal(module: nn.Module, epsilon: float) -> bool:
    """Whether value and gradients are what the module's own code computes: others add one to their weights."""
    weight: Tensor = module.weight
    x_NH = torch.randn(16, len(weight), device=weight.device, dtype=weight.dtype).requires_grad_()
    given_NH = torch.randn_like(x_NH)
    found = []
    for forward in (module.forward, partial(_normalise, module, epsilon)):
        with torch.enable_grad():
            y_NH = forward(x_NH)
            inputs = [one for one in (x_NH, weight) if one.requires_grad]
            found.append([y_NH.detach(), *torch.autograd.grad(y_NH, inputs, given_NH)])
    bound = ROUNDING if weight.dtype == torch.float32 else ROUGH
    return all(
        one.dtype == other.dtype and float((one - other).abs().max()) <= bound * max(1.0, float(other.abs().max()))
        for one, other in zip(*found, strict=True)
    )


@contextlib.contextmanager
def norms(*models: nn.Module | None) -> Iterator[int]:
    """Within the context the models' normalisations run in one kernel each, where they are on CUDA; how many do."""
    taken = [
        (module, epsilon)
        for model in models
        if model is not None and next(model.parameters()).device.type == "cuda"
        for module, epsilon in _norms(model)
        if "forward" not in vars(module) and _equal(module, epsilon)
    ]
    for module, epsilon in taken:
        module.forward = partial(_normalise, module, epsilon)
    try:
        yield len(taken)
    finally:
        for module, _ in taken:
            del module.forward

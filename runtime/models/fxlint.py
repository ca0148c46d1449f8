"""ExportedProgram → findings about what Core ML would convert wrongly, silently, or not at all.

Every rule is data: an id, what it forbids and where that is written. A finding names the node. The rules come from
`coreml` errata of coremltools 9.0 and from Apple's authoring rules for the Neural Engine (apple/coreai-models,
`neural_engine_rules.md`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

FLOAT16_MAX = 65504.0
MAX_RANK = 5


@dataclass(frozen=True)
class Denied:
    """An operator that must not be in an exported graph, and why."""

    target: str
    why: str


#: Compared with `str(node.target)` up to the overload, so `aten.triu` denies every overload of it.
DENYLIST: tuple[Denied, ...] = (
    Denied("aten.triu", "coremltools 9.0 lowers it by multiplication: NaN on -inf (fixed by coremltools #2771)"),
    Denied("aten.tril", "coremltools 9.0 lowers it by multiplication: NaN on -inf (fixed by coremltools #2771)"),
    Denied("aten.rms_norm", "eps is inflated by max(|x|)^2, a zero row becomes NaN (coremltools #2821)"),
    Denied("aten._fused_rms_norm", "eps is inflated by max(|x|)^2, a zero row becomes NaN (coremltools #2821)"),
    Denied(
        "aten.scaled_dot_product_attention",
        "fused attention gives inf or NaN on the Neural Engine of iOS 26 (executorch #16144); write matmul and softmax",
    ),
    Denied("aten.where.ScalarSelf", "two scalar branches are saved with the wrong declared rank (coremltools 9.0)"),
    Denied("aten.where.Scalar", "two scalar branches are saved with the wrong declared rank (coremltools 9.0)"),
    Denied("aten.masked_fill", "a mask must be arithmetic with a finite value"),
    Denied("aten.bitwise_and", "unsupported by coremltools 9.0; use logical_and"),
    Denied("aten.__and__", "unsupported by coremltools 9.0; use logical_and"),
    Denied("aten.repeat_interleave", "becomes rank-5 tile and transpose; fold query heads instead"),
    Denied("aten.scatter", "no writes into the cache inside the graph: the host writes it"),
    Denied("aten.index_put", "no writes into the cache inside the graph: the host writes it"),
    Denied("aten.index_copy", "no writes into the cache inside the graph: the host writes it"),
    Denied("aten.slice_scatter", "no writes into the cache inside the graph: the host writes it"),
    Denied("aten.copy_", "no writes into the cache inside the graph: the host writes it"),
    Denied("aten.cumsum", "leaves the Neural Engine; positions are an input"),
    Denied("aten.nonzero", "its extent depends on data"),
    Denied("aten.item", "its value depends on data"),
    Denied("aten._local_scalar_dense", "its value depends on data"),
    Denied("aten.sym_size", "a dynamic extent"),
    Denied("aten.rand", "not reproducible"),
    Denied("aten.dropout", "the model was not exported in evaluation mode"),
    Denied("aten.native_dropout", "the model was not exported in evaluation mode"),
    Denied("aten.alias", "left over from tracing; must be removed before saving"),
    Denied("aten._assert_tensor_metadata", "left over from tracing; must be removed before saving"),
)


@dataclass(frozen=True)
class Finding:
    rule: str
    node: str
    message: str


def _value(node: Node) -> Tensor | None:
    value = node.meta.get("val")
    return value if isinstance(value, Tensor) else None


def _denied(program: ExportedProgram) -> Iterator[Finding]:
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        name = str(node.target)
        for entry in DENYLIST:
            if name == entry.target or name.startswith(entry.target + "."):
                yield Finding("FX-DENY", node.name, f"{name}: {entry.why}")


def _wide_types(program: ExportedProgram) -> Iterator[Finding]:
    for node in program.graph.nodes:
        value = _value(node)
        if value is not None and value.dtype in (torch.int64, torch.float64):
            yield Finding("FX-INT64", node.name, f"{value.dtype} value; index with int32, compute with float32")


def _island_casts(program: ExportedProgram) -> Iterator[Finding]:
    """`.float()` does not make an island: with float16 compute precision the converter drops such casts."""
    for node in program.graph.nodes:
        if node.op != "call_function" or "_to_copy" not in str(node.target):
            continue
        source = node.args[0]
        before = _value(source) if isinstance(source, Node) else None
        after = _value(node)
        if before is not None and after is not None and before.is_floating_point() and after.is_floating_point():
            yield Finding("FX-FLOAT", node.name, f"cast {before.dtype} → {after.dtype} would vanish; declare an island")


def _dynamic(program: ExportedProgram) -> Iterator[Finding]:
    for symbol in program.range_constraints:
        yield Finding("FX-DYNAMIC", str(symbol), "symbolic extent; export one function per shape")
    for node in program.graph.nodes:
        value = _value(node)
        if value is None:
            continue
        if any(not isinstance(extent, int) for extent in value.shape):
            yield Finding("FX-DYNAMIC", node.name, f"symbolic shape {tuple(value.shape)}")
        if value.dim() > MAX_RANK:
            yield Finding("FX-RANK", node.name, f"rank {value.dim()} exceeds {MAX_RANK}")


def _unsafe(number: float) -> bool:
    return not math.isfinite(number) or abs(number) > FLOAT16_MAX


def _scalars(program: ExportedProgram) -> Iterator[Finding]:
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        for argument in (*node.args, *node.kwargs.values()):
            if isinstance(argument, float) and _unsafe(argument):
                yield Finding("FX-FINITE", node.name, f"scalar {argument} is not a finite float16")
        if node.kwargs.get("alpha", 1) != 1:
            yield Finding("FX-ALPHA", node.name, "alpha of add/sub is ignored by coremltools 9.0 (coremltools #2680)")


def _tensors(program: ExportedProgram) -> Iterator[Finding]:
    """Every stored tensor must survive float16: a mask of -inf or finfo(float32).min makes fully masked rows NaN."""
    held: Mapping[str, object] = {**program.state_dict, **program.constants}
    for name, value in held.items():
        if isinstance(value, Tensor) and value.is_floating_point() and value.numel():
            largest = float(value.detach().abs().max())
            if _unsafe(largest):
                yield Finding("FX-FINITE", name, f"holds {largest}, beyond float16")


def _mutations(program: ExportedProgram) -> Iterator[Finding]:
    signature = program.graph_signature
    for name in (*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()):
        yield Finding("FX-MUTATE", name, "the graph writes to an input or buffer; the host owns the cache")


def _interface(program: ExportedProgram) -> Iterator[Finding]:
    users = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        value = _value(node)
        if node.op != "placeholder" or node.name not in users or value is None:
            continue
        if value.dtype not in (torch.int32, torch.float32):
            yield Finding("FX-IO", node.name, f"input of type {value.dtype}; only int32 and float32 are declared")


_RULES: tuple[Callable[[ExportedProgram], Iterator[Finding]], ...] = (
    _denied,
    _wide_types,
    _island_casts,
    _dynamic,
    _scalars,
    _tensors,
    _mutations,
    _interface,
)
RULE_IDS = (
    "FX-ALPHA",
    "FX-DENY",
    "FX-DYNAMIC",
    "FX-FINITE",
    "FX-FLOAT",
    "FX-INT64",
    "FX-IO",
    "FX-MUTATE",
    "FX-RANK",
)


def lint(program: ExportedProgram) -> list[Finding]:
    """Every finding of every rule, rule by rule. An empty list is what conversion asks for."""
    return [finding for rule in _RULES for finding in rule(program)]

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

from runtime.models import handlers

FLOAT16_MAX = 65504.0
#: keywords that say where a tensor lies and not what is in it
_WITHOUT_MEANING = frozenset({"device", "layout", "pin_memory", "memory_format", "non_blocking"})
#: coremltools 9.0: std and var divide by n, argmax and argmin give one index a row
_BY_DIMENSION = ("aten.std.", "aten.var.", "aten.argmax.", "aten.argmin.")
#: from here on softplus and its operand are the same float32
_SOFTPLUS_THRESHOLD = 17.0
#: 1e-12 in the operand of rsqrt is then below 1e-5 of the result
_RSQRT_SAFE = 5e-8
MAX_RANK = 5
#: gives the length of a function of several lengths, and is in no other
_EXTENT = "aten.sym_size"


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
    Denied("aten.scatter_add", "folded as an update when its operands are constants (coremltools 9.0)"),
    Denied("aten.scatter_reduce", "no writes into the cache inside the graph: the host writes it"),
    Denied("aten.index_add", "no writes into the cache inside the graph: the host writes it"),
    Denied("aten.index_fill", "no writes into the cache inside the graph: the host writes it"),
    Denied("aten.masked_scatter", "no writes into the cache inside the graph: the host writes it"),
    Denied("aten.select_scatter", "no writes into the cache inside the graph: the host writes it"),
    Denied("aten.diagonal_scatter", "no writes into the cache inside the graph: the host writes it"),
    Denied("aten.put", "no writes into the cache inside the graph: the host writes it"),
    Denied("aten.reciprocal", "becomes inverse, which adds 1e-4 (coremltools #2773); divide a tensor of ones"),
    Denied("aten.log_softmax", "becomes log(softmax), which ends at -103 (coremltools 9.0); subtract logsumexp"),
    Denied("aten._log_softmax", "becomes log(softmax), which ends at -103 (coremltools 9.0); subtract logsumexp"),
    Denied("aten.log", "an epsilon is added: log(0) becomes -103 (coremltools 9.0)"),
    Denied("aten.log2", "an epsilon is added: log2(0) becomes -149 (coremltools 9.0)"),
    Denied("aten.log10", "an epsilon is added: log10(0) becomes -45 (coremltools 9.0)"),
    Denied("aten.log1p", "becomes log(x + 1), which is 0 for small x (coremltools 9.0)"),
    Denied("aten.expm1", "becomes exp(x) - 1, which is 0 for small x (coremltools 9.0)"),
    Denied("aten.pow.Scalar", "the runtime squares where the base is 2 (coremltools #2628); write exp2 or exp"),
    Denied("aten.cumsum", "leaves the Neural Engine; positions are an input"),
    Denied("aten.nonzero", "its extent depends on data"),
    Denied("aten.item", "its value depends on data"),
    Denied("aten._local_scalar_dense", "its value depends on data"),
    Denied(_EXTENT, "a dynamic extent"),
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


def _rank(program: ExportedProgram) -> Iterator[Finding]:
    for node in program.graph.nodes:
        value = _value(node)
        if value is not None and value.dim() > MAX_RANK:
            yield Finding("FX-RANK", node.name, f"rank {value.dim()} exceeds {MAX_RANK}")


def _dynamic(program: ExportedProgram) -> Iterator[Finding]:
    """A function of one length has no symbol."""
    for symbol in program.range_constraints:
        yield Finding("FX-DYNAMIC", str(symbol), "symbolic extent; export one function per shape")
    for node in program.graph.nodes:
        value = _value(node)
        if value is not None and any(not isinstance(extent, int) for extent in value.shape):
            yield Finding("FX-DYNAMIC", node.name, f"symbolic shape {tuple(value.shape)}")


def _other_symbols(program: ExportedProgram) -> Iterator[Finding]:
    """A function of several lengths has the one symbol of its first input's last extent, and every extent is that, or
    a number, or follows from them."""
    first = next(node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs)
    ours = {str(first.meta["val"].shape[-1])}
    for symbol in program.range_constraints:
        if str(symbol) not in ours:
            yield Finding("FX-DYNAMIC", str(symbol), f"a symbolic extent beside {', '.join(ours)}")
    for node in program.graph.nodes:
        value = _value(node)
        for extent in () if value is None else value.shape:
            known = isinstance(extent, int) or {str(symbol) for symbol in extent.node.expr.free_symbols} <= ours
            if not known:
                yield Finding("FX-DYNAMIC", node.name, f"the extent {extent} follows from no length")


def _unsafe(number: float) -> bool:
    return not math.isfinite(number) or abs(number) > FLOAT16_MAX


def _scalars(program: ExportedProgram) -> Iterator[Finding]:
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        for argument in (*node.args, *node.kwargs.values()):
            if isinstance(argument, float) and _unsafe(argument):
                yield Finding("FX-FINITE", node.name, f"scalar {argument} is not a finite float16")
        for number in _numbers(node):
            if not -(2**31) <= number < 2**31:
                text = f"scalar {number} wraps in 32 bits; write a float that float16 holds"
                yield Finding("FX-INT64", node.name, text)


def _numbers(node: Node) -> Iterator[int]:
    """Whole numbers that an operator computes with; not its dimensions and places, which may end far beyond."""
    schema = getattr(node.target, "_schema", None)
    for position, argument in enumerate(schema.arguments if schema is not None else ()):
        given = node.args[position] if position < len(node.args) else node.kwargs.get(argument.name)
        if isinstance(given, int) and not isinstance(given, bool) and "int" not in str(argument.type).lower():
            yield given


def _keywords(program: ExportedProgram) -> Iterator[Finding]:
    """coremltools' handlers read the keywords they know and drop the others: `approximate`, `alpha`, `dtype`, …"""
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or not node.kwargs:
            continue
        defaults = {one.name: one.default_value for one in schema.arguments} if schema is not None else {}
        kind = handlers.kind_of(node.target.name()) if schema is not None else ""
        read = handlers.READ.get(kind, frozenset())
        for name, given in node.kwargs.items():
            harmless = name in _WITHOUT_MEANING or name in read or (name in defaults and given == defaults[name])
            if harmless or (name == "dtype" and _keeps(node, given)):
                continue
            yield Finding("FX-KEYWORD", node.name, f"{node.target}: coremltools 9.0 drops `{name}={given}`")


def _keeps(node: Node, dtype: object) -> bool:
    """Whether a dtype is the one that the operands have anyway, or places that are counted in whole numbers."""
    if str(node.target).startswith("aten.arange."):
        # a number, or the length of a function of several lengths
        ends = [argument.meta.get("val") if isinstance(argument, Node) else argument for argument in node.args]
        return dtype == torch.int32 and all(isinstance(end, int | torch.SymInt) for end in ends)
    values = [_value(argument) for argument in node.args if isinstance(argument, Node)]
    return bool(values) and all(value is not None and value.dtype == dtype for value in values)


def _given(node: Node, name: str) -> object:
    """An argument of an ATen operator by its name, given either way; its default when it is not given."""
    for position, argument in enumerate(node.target._schema.arguments):
        if argument.name == name:
            given = node.args[position] if position < len(node.args) else node.kwargs.get(name, argument.default_value)
            return argument.default_value if given is None else given
    return None


def _whole(program: ExportedProgram) -> Iterator[Finding]:
    """Reductions over every dimension that coremltools makes something else of."""
    for node in program.graph.nodes:
        name = str(node.target)
        if node.op != "call_function" or not name.startswith(_BY_DIMENSION):
            continue
        if _given(node, "dim") in (None, []):
            yield Finding("FX-WHOLE", node.name, f"{name} without a dimension is converted wrongly; name dimensions")


def _softplus(program: ExportedProgram) -> Iterator[Finding]:
    for node in program.graph.nodes:
        if node.op == "call_function" and str(node.target).startswith("aten.softplus."):
            threshold, beta = _given(node, "threshold"), _given(node, "beta")
            # what is no number here cannot be held to the bound
            if not isinstance(threshold, int | float) or threshold < _SOFTPLUS_THRESHOLD:
                yield Finding(
                    "FX-SOFTPLUS", node.name, f"threshold {threshold} (beta {beta}) is ignored by coremltools"
                )


def _near_zero(program: ExportedProgram) -> Iterator[Finding]:
    """`rsqrt` becomes rsqrt(x + 1e-12): only where something keeps x away from zero does that change nothing."""
    for node in program.graph.nodes:
        if node.op != "call_function" or not str(node.target).startswith("aten.rsqrt."):
            continue
        source = node.args[0]
        kind = str(source.target) if isinstance(source, Node) else ""
        least = [number for number in source.args[1:2] if isinstance(number, float)] if isinstance(source, Node) else []
        if not kind.startswith(("aten.add.", "aten.clamp")) or not least or least[0] < _RSQRT_SAFE:
            yield Finding("FX-EPSILON", node.name, f"rsqrt adds 1e-12; add at least {_RSQRT_SAFE:g} to its operand")


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
    _rank,
    _scalars,
    _keywords,
    _whole,
    _softplus,
    _near_zero,
    _tensors,
    _mutations,
    _interface,
)
RULE_IDS = (
    "FX-DENY",
    "FX-DYNAMIC",
    "FX-EPSILON",
    "FX-FINITE",
    "FX-FLOAT",
    "FX-INT64",
    "FX-IO",
    "FX-KEYWORD",
    "FX-MUTATE",
    "FX-RANK",
    "FX-SOFTPLUS",
    "FX-WHOLE",
)


def lint(program: ExportedProgram, *, several: bool = False) -> list[Finding]:
    """Every finding of every rule, rule by rule. An empty list is what conversion asks for. `several`: whether the
    program is meant for several lengths."""
    found = [finding for rule in (*_RULES, _other_symbols if several else _dynamic) for finding in rule(program)]
    return [one for one in found if not (several and one.rule == "FX-DENY" and one.message.startswith(_EXTENT))]

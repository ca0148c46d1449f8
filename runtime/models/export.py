"""Checkpoint → one ExportedProgram file per function, contract.json, golden vectors and the graph linter's report.

A `.pt2` holds the graph, raw weight bytes and module names. Stack traces (they hold absolute paths), node provenance
(object ids) and example inputs (a pickle) are removed before saving, so that two exports of one checkpoint are the
same bytes. A model that is split into chunks has one file per chunk and function; each is made, written and let go
before the next.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import Node
from transformers import PreTrainedModel

from runtime.contract import Context, MachineError, Refusal, rotation
from runtime.contract import program as contracts
from runtime.contract import report as facts
from runtime.contract.authoring import Profile
from runtime.contract.chunks import Chunk
from runtime.contract.targets import Strategy
from runtime.machine import durable
from runtime.mil import archives
from runtime.models import bc1s, build, chunking, fxlint, goldens, heads, threads
from runtime.models import device as devices
from runtime.models import tokenizer as tokenizers
from runtime.models.enumerated import EnumeratedPrefill
from runtime.models.wrapper import Decode, Ends, Prefill, check_shapes, heads_of, rotations_of
from runtime.steps.export import ExportParams

_KEPT_META = frozenset({"val", "nn_module_stack"})
_TRACING_LEFTOVERS = ("aten.alias.", "aten.detach.", "aten.lift_fresh_copy.")
_PREFIX = "model."
#: the one prefill of an enumerated package
ENUMERATED = "prefill"


class _Kind(NamedTuple):
    """Which nodes belong to a kind of island: of the modules whose class in Transformers is called so, and whose path
    ends so, the calls of these operators ("" for all)."""

    owner: str | tuple[str, ...]
    calls: str = ""
    path: str = ""
    #: whether the product with the module's own weight belongs to it
    weighted: bool = False


#: the sums of a decoder layer itself are the residual stream
_KINDS: Mapping[str, _Kind] = {
    "rms_norm": _Kind("RMSNorm"),
    "layer_norm": _Kind(".LayerNorm", weighted=True),
    "residual": _Kind("DecoderLayer", "aten.add."),
    "softmax": _Kind("Attention", "aten.softmax."),
    "logits": _Kind((".Linear", ".Conv"), path="lm_head", weighted=True),
}
#: the module that bounds what a head says (`runtime.models.wrapper`): its calls belong to the head's island
_BOUND = "LogitBound"


@dataclass(frozen=True)
class Planned:
    """One function before tracing: its module, example inputs and the names of its outputs; of one for several lengths
    all of them, of which `length` is the longest. `fed` are the inputs of the module where they are others than a host
    calls the function by."""

    name: str
    kind: Literal["prefill", "decode"]
    length: int
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    lengths: tuple[int, ...] = ()
    fed: dict[str, Tensor] | None = None

    @property
    def flexible(self) -> bool:
        return len(self.lengths) > 1


def planned(
    model: PreTrainedModel,
    lengths: list[int],
    context: int,
    mask_value: float,
    strategy: Strategy = "multifunction",
    chunk: Chunk | None = None,
    profile: Profile = "gpu",
) -> Iterator[Planned]:
    """Every function of a model, or of one chunk of it: one prefill per length (shortest first) or, enumerated, one for
    all of them, then decode. Weights are shared."""
    sizes = heads_of(model)
    others = heads.names(model) if chunk is None or chunk.heads else ()
    made = bc1s.authored(model, mask_value, chunk) if profile == "ane" else None
    if strategy == "enumerated":
        longest = max(lengths)
        inputs = {"input_ids": torch.zeros(1, longest, dtype=torch.int32)}
        several = EnumeratedPrefill(model, longest, mask_value)
        given = ("logits", "keys", "values", *others)
        yield Planned(ENUMERATED, "prefill", longest, several, inputs, given, tuple(sorted(lengths)))
    layers = sizes["layers"] if chunk is None else chunk.layers[1] - chunk.layers[0]
    out = "logits" if chunk is None else chunk.gives
    for length in () if strategy == "enumerated" else sorted(lengths):
        name, fed = f"prefill_{length}", _fed(model, length, chunk)
        if chunk is not None and not layers:
            ends = Ends(model, chunk) if made is None else bc1s.Ends(model, chunk)
            yield Planned(name, "prefill", length, ends, fed, (out, *others))
            continue
        inputs = {**fed, "attention_mask": torch.ones(1, length)}
        module = Prefill(model, length, mask_value, chunk) if made is None else bc1s.Prefill(model, chunk)
        taken = None if made is None else bc1s.fed(made, inputs)
        yield Planned(name, "prefill", length, module, inputs, (out, "keys", "values", *others), fed=taken)
    fed = _fed(model, 1, chunk)
    if chunk is not None and not layers:
        ends = Ends(model, chunk) if made is None else bc1s.Ends(model, chunk)
        yield Planned("decode", "decode", 1, ends, fed, (out, *others))
        return
    cache = torch.zeros(layers, sizes["heads"], context, sizes["head_dim"])
    inputs = {
        **fed,
        "position": torch.zeros(1, dtype=torch.int32),
        "key_cache": cache,
        "value_cache": cache.clone(),
    }
    decode = Decode(model, context, mask_value, chunk) if made is None else bc1s.Decode(model, chunk)
    taken = None if made is None else bc1s.fed(made, inputs)
    yield Planned("decode", "decode", 1, decode, inputs, (out, "new_key", "new_value", *others), fed=taken)


def _fed(model: PreTrainedModel, length: int, chunk: Chunk | None) -> dict[str, Tensor]:
    """What comes first into a function: ids, or the residual stream."""
    if chunk is not None and chunk.enters:
        return {chunk.enters: torch.zeros(1, length, model.config.hidden_size)}
    return {"input_ids": torch.zeros(1, length, dtype=torch.int32)}


def traced(plan: Planned) -> ExportedProgram:
    """One function as a decomposed ExportedProgram without anything of the machine it was traced on: static, but for
    the one extent of a function for several lengths.

    Raises Refusal (KR0141) for a model that torch.export does not trace.
    """
    with _toolchain(f"the {plan.kind} of {plan.length}"), torch.no_grad(), warnings.catch_warnings():
        # torch 2.13 warns about its own use of pytrees
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(
            plan.module,
            tuple((plan.fed or plan.inputs).values()),
            dynamic_shapes=({1: Dim("length", min=2, max=plan.length)},) if plan.flexible else None,
            # what a shape is compared with must hold while it runs; none of it decides what is computed
            prefer_deferred_runtime_asserts_over_guards=plan.flexible,
        )
        # torch ≥ 2.9 exports the training dialect, which coremltools refuses (coremltools #2743)
        program = program.run_decompositions({torch.ops.aten.gelu.default: _gelu})
    _clean(program)
    if plan.flexible:
        _state_extents(program)
        program.graph_module.graph.eliminate_dead_code()
        program.graph_module.recompile()
    else:
        _number(program)
    return program


@contextlib.contextmanager
def _toolchain(what: str) -> Iterator[None]:
    """torch.export refuses a module by whatever exception its tracer meets; to a person all of them are one refusal.
    Raises Refusal."""
    try:
        yield
    except (MachineError, MemoryError, OSError):
        raise
    except Exception as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise Refusal(
            f"torch.export cannot trace {what}: {type(error).__name__}: {said}",
            place="student.architecture",
            action="install the torch and transformers that the project asks for, or use `hidden_act: silu`",
            code="KR0141",
        ) from error


def _gelu(value: Tensor, *, approximate: str = "none") -> Tensor:
    """GELU by tanh written out: coremltools 9.0 loses the keyword and would save the one by erf, 4e-4 off; the formula
    it fuses to mode TANH_APPROXIMATION."""
    if approximate == "none":
        return NotImplemented
    inner = math.sqrt(2 / math.pi) * (value + 0.044715 * torch.pow(value, 3))
    return 0.5 * value * (1 + torch.tanh(inner))


def _clean(program: ExportedProgram) -> None:
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        name = str(node.target)
        if node.op == "call_function" and name.startswith("aten._assert"):
            graph.erase_node(node)
        elif node.op == "call_function" and name.startswith(_TRACING_LEFTOVERS):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    for node in graph.nodes:
        node.meta = {key: value for key, value in node.meta.items() if key in _KEPT_META}
    program.graph_module.meta.clear()
    graph.lint()
    program.graph_module.recompile()
    program._example_inputs = None


def _state_extents(program: ExportedProgram) -> None:
    """Write every extent that is known where a shape leaves it to be found (-1): beside an open one coremltools finds
    none, and declares it open too."""
    for node in program.graph.nodes:
        if node.op == "call_function" and str(node.target).startswith(
            ("aten.view.", "aten.reshape.", "aten._unsafe_view.")
        ):
            known = node.meta["val"].shape
            sizes = [
                extent if size == -1 and isinstance(extent, int) else size
                for size, extent in zip(node.args[1], known, strict=True)
            ]
            node.args = (node.args[0], sizes)


def _number(program: ExportedProgram) -> None:
    """Call a head that is the first product of its graph as coremltools does: it numbers linear ops from 0 on, torch
    from the second one on, and an island is known by its name."""
    for node in list(program.graph.nodes):
        stack = node.meta.get("nn_module_stack")
        if node.name == "linear" and stack and list(stack.values())[-1][0].endswith("lm_head"):
            node._rename("linear_0")
            program.graph_signature.replace_all_uses("linear", node.name)
            program.graph_module.recompile()


def aliases_of(model: PreTrainedModel) -> dict[str, list[str]]:
    """Checkpoint tensor name → every other name of the same tensor (tied weights)."""
    groups: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    return {names[0]: names[1:] for names in groups.values()}


def _parameters(program: ExportedProgram, canonical: Mapping[str, str]) -> dict[str, str]:
    targets = program.graph_signature.inputs_to_parameters
    return {node: canonical[target.removeprefix(_PREFIX)] for node, target in targets.items()}


def island_nodes(program: ExportedProgram) -> dict[str, dict[str, list[str]]]:
    """Module kind → module path → nodes whose arithmetic an island of the kind is.

    Of an RMS norm the product with the weight is left out: Transformers casts back before it
    (`weight * hidden.to(input_dtype)`).
    """
    weights = set(program.graph_signature.inputs_to_parameters)
    found: dict[str, dict[str, list[str]]] = {kind: {} for kind in _KINDS}
    for node in program.graph.nodes:
        stack = node.meta.get("nn_module_stack")
        if node.op != "call_function" or not stack:
            continue
        path, owner = list(stack.values())[-1]
        if owner.endswith(_BOUND):
            for nodes in found["logits"].values():
                nodes.append(node.name)
        for kind, of in _KINDS.items():
            if not (owner.endswith(of.owner) and path.endswith(of.path) and str(node.target).startswith(of.calls)):
                continue
            if of.weighted or not any(isinstance(arg, Node) and arg.name in weights for arg in node.args):
                found[kind].setdefault(path.removeprefix(_PREFIX), []).append(node.name)
    return found


def _described(plan: Planned, program: ExportedProgram, canonical: Mapping[str, str]) -> contracts.Function:
    names = program.graph_signature.user_outputs
    values = {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}
    inputs = zip(plan.fed or plan.inputs, (values[name] for name in program.graph_signature.user_inputs), strict=True)
    outputs = zip(plan.outputs, (values[name] for name in names), strict=True)
    return contracts.Function(
        kind=plan.kind,
        length=plan.length,
        inputs=[_value(name, value, plan.length) for name, value in inputs],
        outputs=[_value(name, value, plan.length) for name, value in outputs],
        parameters=_parameters(program, canonical),
        modules=island_nodes(program),
    )


def _value(name: str, value: Tensor, length: int) -> contracts.Value:
    """One input or output; an extent that follows from the number of tokens as it is for `length` of them."""
    dtypes: dict[torch.dtype, Any] = {torch.int32: "int32", torch.float32: "float32"}
    shape = [
        extent
        if isinstance(extent, int)
        else int(extent.node.expr.subs(dict.fromkeys(extent.node.expr.free_symbols, length)))
        for extent in value.shape
    ]
    return contracts.Value(name=name, shape=shape, dtype=dtypes[value.dtype])


def _of_each(
    plan: Planned, program: ExportedProgram, canonical: Mapping[str, str], layers: int
) -> dict[str, contracts.Function]:
    """What a host calls, by name, and the function that runs it: one for each length of an enumerated prefill, which
    takes the ids alone and not the mask that a host has for every prefill."""
    found = {}
    for length in plan.lengths:
        physical = _described(replace(plan, length=length), program, canonical)
        piece = contracts.Piece(
            function=plan.name, inputs=physical.inputs, outputs=physical.outputs, layers=(0, layers)
        )
        mask = contracts.Value(name="attention_mask", shape=[1, length], dtype="float32")
        found[f"prefill_{length}"] = physical.model_copy(update={"inputs": [*piece.inputs, mask], "pieces": [piece]})
    return found or {plan.name: _whole(plan, _described(plan, program, canonical), layers)}


def _whole(plan: Planned, physical: contracts.Function, layers: int) -> contracts.Function:
    """What a host calls, and the function that runs it where that one is fed otherwise."""
    if plan.fed is None:
        return physical
    piece = contracts.Piece(
        function=plan.name,
        layers=(0, layers),
        inputs=physical.inputs,
        outputs=physical.outputs,
        parameters=physical.parameters,
        modules=physical.modules,
    )
    called = [_value(name, value, plan.length) for name, value in plan.inputs.items()]
    return physical.model_copy(update={"inputs": called, "pieces": [piece]})


def _contract(
    model: PreTrainedModel,
    tokenizer: tokenizers.Tokenizer,
    functions: dict[str, contracts.Function],
    params: ExportParams,
    violations: int,
    digests: Mapping[str, str],
) -> contracts.Contract:
    sizes = heads_of(model)
    state = dict(model.named_parameters())
    names = {"pad": tokenizer.pad_id, "bos": tokenizer.bos_id, "eos": tokenizer.eos_id}
    return contracts.Contract(
        stage="program",
        model_type=model.config.model_type,
        vocab_size=sizes["vocab_size"],
        functions=functions,
        kv_cache=contracts.Cache(
            layers=sizes["layers"], heads=sizes["heads"], head_dim=sizes["head_dim"], context=params.decode_context
        ),
        mask_value=params.mask_value,
        rotations={
            kind or "all": contracts.Rotation(parameters=dict(said), exact_to=rotation.exact_to(said, sizes["context"]))
            for kind, said in rotations_of(model).items()
        },
        special={name: contracts.Special(text=tokenizer.decode([number]), id=number) for name, number in names.items()},
        template_sha256=tokenizer.template_sha256,
        tokenizer_sha256=facts.hex_of(digests["tokenizer"]),
        model_sha256=facts.hex_of(digests["checkpoint"]),
        tensors=[
            contracts.Stored(name=name, aliases=aliases, shape=list(state[name].shape))
            for name, aliases in aliases_of(model).items()
        ],
        lint=contracts.Lint(violations=violations),
        authoring=bc1s.authored(model, params.mask_value) if params.profile == "ane" else None,
    )


def _lint_report(linted: Mapping[str, tuple[int, list[fxlint.Finding]]]) -> dict[str, Any]:
    every = [finding for _, findings in linted.values() for finding in findings]
    counts = Counter(finding.rule for finding in every)
    return {
        "functions": [
            {
                "function": name,
                "nodes": facts.measured(nodes, "node"),
                "violations": facts.measured(len(findings), "finding", n=nodes),
                "findings": [{"rule": item.rule, "node": item.node, "message": item.message} for item in findings],
            }
            for name, (nodes, findings) in linted.items()
        ],
        "rules": {rule: facts.measured(counts[rule], "finding") for rule in fxlint.RULE_IDS},
        "denylist": facts.measured(len(fxlint.DENYLIST), "operator"),
        "violations": facts.measured(len(every), "finding", n=sum(nodes for nodes, _ in linted.values())),
    }


#: function → nodes of its graphs, of all chunks, and what the linter found
Linted = dict[str, tuple[int, list[fxlint.Finding]]]


def programs(
    model: PreTrainedModel, params: ExportParams, folder: Path, told: Callable[[int, str], None]
) -> tuple[dict[str, contracts.Function], Linted]:
    """Write every function of a model, chunk by chunk where it is split; what a contract says of them, and what the
    linter found. `told` hears which is begun. Raises Refusal for a model that cannot be split or traced."""
    if params.chunks > 1 and params.strategy == "enumerated":
        raise Refusal(
            "chunks have a function for each length",
            place="export.chunks",
            action="write `strategy: multifunction`, or remove the chunks",
        )
    if params.profile == "ane" and params.strategy == "enumerated":
        raise Refusal(
            "the profile `ane` has a function for each length",
            place="export.strategy",
            action="write `strategy: multifunction`, or `profile: gpu`",
        )
    canonical = {alias: name for name, others in aliases_of(model).items() for alias in (name, *others)}
    layers = heads_of(model)["layers"]
    functions: dict[str, contracts.Function] = {}
    linted: Linted = {}
    begun = 0
    chunks = chunking.planned(model, params.chunks) if params.chunks > 1 else [None]
    parts: dict[str, list[chunking.Part]] = defaultdict(list)
    for chunk in chunks:
        package = "" if chunk is None else chunk.package
        asked = params.prefill, params.decode_context, params.mask_value, params.strategy
        for plan in planned(model, *asked, chunk, params.profile):
            file = archives.file_of(package, plan.name)
            told(begun := begun + 1, file)
            program = traced(plan)
            found = [
                replace(one, node=archives.file_of(package, one.node))
                for one in fxlint.lint(program, several=plan.flexible)
            ]
            archives.save(program, folder / f"{file}.pt2")
            described = _of_each(plan, program, canonical, layers)
            # of one graph for several lengths what is found holds at each of them
            for name in described:
                nodes, findings = linted.get(name, (0, []))
                linted[name] = (nodes + len(program.graph.nodes), findings + found)
            if chunk is None:
                functions |= described
            else:
                parts[plan.name].append(chunking.Part(package, chunk.layers, described[plan.name]))
            # the next one is made when this one is gone
            del plan, program
    return functions | {name: chunking.composed(name, every) for name, every in parts.items()}, linted


def _headed(model: PreTrainedModel, wanted: Sequence[str]) -> list[str]:
    """Leave a checkpoint the heads that are asked for; the names of the others. Raises Refusal for one that it has
    not."""
    if lacking := [name for name in wanted if name not in heads.names(model)]:
        raise Refusal(
            f"the checkpoint has no head `{lacking[0]}`",
            place="student.heads",
            action="remove it there, or let a stage train it",
        )
    return heads.keep(model, wanted)


def export(takes: Mapping[str, Path], params: ExportParams, ctx: Context) -> None:
    """Operation `export`. Raises Refusal for shapes, families or tokenizers the functions cannot serve."""
    threads.use(params.threads)
    model = build.load(takes["checkpoint"])
    tokenizer = tokenizers.load(takes["tokenizer"])
    check_shapes(model, params.prefill, params.decode_context, tokenizer.vocab_size)
    for name in _headed(model, params.heads):
        ctx.say(f"the checkpoint's head `{name}` is left out: student.heads does not name it")
    folder, total = ctx.out("program"), (len(params.prefill) + 1) * params.chunks + 1
    ctx.progress(0, total, "goldens")
    goldens.make(model.to(devices.of(params.device)), tokenizer, takes["dataset"], params, ctx.out("goldens"))
    # a program is traced, and converted, where its tensors can be written from
    model = model.to("cpu")
    functions, linted = programs(model, params, folder, lambda done, name: ctx.progress(done, total, name))
    violations = sum(len(findings) for _, findings in linted.values())
    contract = _contract(model, tokenizer, functions, params, violations, ctx.digests)
    durable.write(folder / "contract.json", contracts.dump(contract))
    ctx.report("report", _lint_report(linted), fingerprints=facts.fingerprints(takes, ctx.digests, model="checkpoint"))
    ctx.say(f"{len(functions)} functions, {violations} lint findings")

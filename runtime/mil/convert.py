"""Program → saved Core ML packages, each with one function per shape: float32, float16 and quantized.

Every function is converted once. The functions are joined into one MIL program, equal weights are given one place in
the weights file, and the program is saved while it is still float32: what the converter rewrote can be compared with
the checkpoint there without rounding in the way. Then it is narrowed to float16 and saved; then the tensors the recipe
names, and no others, are replaced by compressed constants in memory, what the layers named read is rounded to integers
where that is asked (W8A8), and it is saved again. Only the last two are delivered.

A program of several packages (chunks) is converted one package after another.

The weights stay in files all the while, those of the exported program and a scratch folder beside the packages
(`runtime.mil.weights`): what is in memory is the graphs and a few copies of one tensor.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from runtime.contract import Context, MachineError, Refusal, activations
from runtime.contract import program as contracts
from runtime.contract.families import NAMES
from runtime.contract.recipe import BITS, Weights
from runtime.contract.targets import TARGETS, Deployment
from runtime.machine import durable
from runtime.mil import archives, conversion, normalise, older, stateful
from runtime.mil.activation_ops import round_inputs
from runtime.mil.conversion import Made
from runtime.mil.convertible import check
from runtime.mil.errata import Done, counted, recorded
from runtime.mil.islands import island_names, replace, stem, store_narrow, widened
from runtime.mil.quantize import Float, Form, Quantized, Sparse, laid, quantize
from runtime.mil.quiet import quiet
from runtime.mil.stored import NOTHING, Stored, scales
from runtime.mil.weights import LARGE, Shelf, restore, stand_in
from runtime.steps.convert import ConvertParams

#: what these passes do would hide a tensor from the recipe's readback (merge equal ones, drop a norm weight of ones),
#: put casts around ids that are never negative, or write every state anew by an op that is named by a count of all
#: such ops of the process (states are written in place already)
REMOVED_PASSES = frozenset(
    {
        "common::noop_elimination",
        "common::const_deduplication",
        "common::add_int16_cast",
        "common::guard_negative_gather_indices",
        "common::canonicalize_inplace_pattern",
    }
)
#: the pass that makes a program float16; everything before it is common to all variants
NARROWING = "common::add_fp16_cast"
#: what must follow the first half for its program to be written
SETTLING = ("common::const_elimination", "common::dead_code_elimination")
PREFIX = "model."
#: elements from which on coremltools rounds a tensor's small numbers as numpy does
RAISED_BELOW = 400


def _halves() -> tuple[Any, Any]:
    """coremltools' default passes up to the float16 casts, and from there on with the passes of the back end."""
    import coremltools as ct

    names = [name for name in ct.PassPipeline.DEFAULT.passes if name not in REMOVED_PASSES]
    backend = [name for name in ct.PassPipeline.get_pipeline("backend_mlprogram").passes if name not in REMOVED_PASSES]
    at = names.index(NARROWING)
    return ct.PassPipeline([*names[:at], *SETTLING, *backend]), ct.PassPipeline([*names[at:], *backend])


def converted(
    program: ExportedProgram,
    function: contracts.Function,
    deployment: Deployment = "iOS18",
    islands: Sequence[str] = (),
) -> Any:
    """One function as a MIL program in memory, rewritten and fused but still float32 inside.

    Its inputs and outputs have the types of the package already; an input of several shapes has them enumerated. Call
    inside `quiet()`.
    Raises Refusal (KR0140) for a graph that coremltools does not convert.
    """
    import coremltools as ct
    from coremltools.converters.mil.mil import Builder

    dtypes = {"int32": np.int32, "float32": np.float32, "float16": np.float16}
    made = conversion.typed(function, islands)
    inputs = [
        ct.TensorType(name=v.name, shape=_declared(v.shapes or [v.shape]), dtype=dtypes[v.dtype]) for v in made.inputs
    ]
    outputs = [ct.TensorType(name=v.name, dtype=dtypes[v.dtype]) for v in made.outputs]
    # numbers of names go on in a process, and coremltools forgets them after a conversion that ended well alone
    Builder.name_count.clear()
    with _toolchain(f"the {function.kind} of {function.length}"):
        found = ct.convert(
            program,
            convert_to="milinternal",
            inputs=inputs,
            outputs=outputs,
            compute_precision=ct.precision.FLOAT32,
            minimum_deployment_target=ct.target[deployment],
            pass_pipeline=_halves()[0],
        )
    _name_moves(found, function)
    return found


#: how coremltools calls what its passes add to move elements, beside what the graph calls so
_MOVE = re.compile(r"(?:transpose|reshape)_[0-9]+")


def _name_moves(made: Any, function: contracts.Function) -> None:
    """Name operations that only move elements by where they stand, in place: a pass of coremltools adds transposes in
    the order of a set, which is another one under another hash seed, and numbers them by it. What an island is known by
    keeps its name."""
    known = {node for paths in function.modules.values() for nodes in paths.values() for node in nodes}
    for block in made.functions.values():
        moves = [op for op in block.operations if _MOVE.fullmatch(op.name) and op.name not in known]
        for number, op in enumerate(moves):
            name = f"{op.op_type}_at_{number}"
            for order in (op.inputs[key].op for key in ("perm", "shape") if key in op.inputs):
                if order is not None and order.op_type == "const" and order.name.startswith(f"{op.name}_"):
                    order.name = order.outputs[0].name = f"{name}_order"
            op.name = op.outputs[0].name = name


def _declared(shapes: Sequence[Sequence[int]]) -> Any:
    """The shape of an input for coremltools, the first by default; call inside `quiet()`."""
    import coremltools as ct

    first, *others = map(tuple, shapes)
    return ct.EnumeratedShapes(shapes=[first, *others], default=first) if others else first


@contextlib.contextmanager
def _toolchain(what: str) -> Iterator[None]:
    """coremltools refuses a graph by whatever exception its handler or pass meets; to a person all of them are one
    refusal. Raises Refusal."""
    try:
        yield
    except (MachineError, MemoryError, OSError):
        raise
    except Exception as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise Refusal(
            f"coremltools cannot convert {what}: {type(error).__name__}: {said}",
            place="student.architecture",
            action=f"use a family and an activation whose operators it converts ({NAMES} with silu)",
            code="KR0140",
        ) from error


def narrow(program: Any, function: contracts.Function, islands: Sequence[str], shelf: Shelf | None = None) -> Done:
    """Make a converted program float16, in place, but for the islands; large weights go on the shelf. Returns what
    errata made it change. Call inside
    `quiet()`."""
    from coremltools.converters.mil.mil.passes.graph_pass import PassOption
    from coremltools.converters.mil.mil.passes.pass_pipeline import PassPipelineManager

    shelf = shelf or Shelf()
    done = Done({"small-weights": _settle_small(program, function)})
    kept, rest = island_names(function, islands), _halves()[1]
    rest._pass_options[NARROWING] = [PassOption(option_name="op_selector", option_val=lambda op: op.name not in kept)]
    with _toolchain(f"the {function.kind} of {function.length} to float16"):
        large = stand_in(program, function.parameters)
        PassPipelineManager.apply_pipeline(program, rest)
        restore(program, large, shelf, function.parameters)
        done["island-weights"] = store_narrow(program, function, shelf)
    return done


def _settle_small(program: Any, function: contracts.Function) -> int:
    """Make weights that float16 rounds to zero zero, in place: in tensors of fewer than 400 elements coremltools takes
    the smallest float16 number instead, as if every small number were the epsilon of a division. Returns how many
    elements of such tensors that were."""
    settled = 0
    for op in program.functions["main"].operations:
        if op.op_type != "const" or op.name not in function.parameters:
            continue
        value = op.outputs[0].val
        if value.size >= LARGE:
            continue
        lost = (value != 0) & (value.astype(np.float16) == 0)
        settled += int(lost.sum()) if lost.size < RAISED_BELOW else 0
        if lost.any():
            op.outputs[0]._sym_val.val = np.where(lost, value.dtype.type(0), value)
    return settled


def joined(programs: Mapping[str, Any], default: str) -> Any:
    """One program with every function under its name, as `coremltools.utils.save_multifunction` builds it. One that is
    called `main` alone is a package of one function, as there were before iOS 18."""
    from coremltools.converters.mil.mil import Program

    whole = Program()
    for name, program in programs.items():
        function = program.functions["main"]
        # the graph's stack traces were removed at export; constants added below have none either
        function._essential_scope_sources.clear()
        whole.add_function(name, function)
    whole.default_function_name = default
    whole.export_as_multifunction = list(programs) != [contracts.ONLY]
    whole.skip_all_passes = True
    return whole


def share(program: Any) -> None:
    """Give constants with the same bytes, type and shape one place in the weights file, across all functions."""
    from coremltools.converters.mil.mil import types

    for function in program.functions.values():
        for op in function.operations:
            held = op.outputs[0].val if op.op_type == "const" else None
            if not isinstance(held, np.ndarray) or op.weight_id is not None:
                continue
            value = np.ascontiguousarray(held)
            # the true type: numpy holds four bits in bytes
            header = f"{types.builtin_to_string(op.outputs[0].dtype)}{value.shape}".encode()
            known = hashlib.sha256(header)
            known.update(value.reshape(-1).view(np.uint8))
            op.weight_id = known.hexdigest()


def compress(
    program: Any,
    functions: Mapping[str, contracts.Function],
    plan: Mapping[str, Weights],
    weights: Mapping[str, Float],
    stored: Mapping[str, Form] = NOTHING,
    shelf: Shelf | None = None,
    deployment: Deployment = "iOS18",
) -> int:
    """Replace, in place, the constants of tensors that `plan` wants in another form than float16, by what `stored`
    holds for them, else by the nearest; returns how many were replaced.

    A constant belongs to a tensor only through the name the contract gives its graph input: rotary tables, masks and
    everything else are never touched.
    """
    ready = forms(plan, weights, stored, shelf or Shelf())
    replaced = 0
    for name, block in program.functions.items():
        tensors = functions[name].parameters
        with block:
            for op in list(block.operations):
                tensor = tensors.get(stem(op.name))
                if op.op_type not in ("const", "constexpr_cast") or tensor not in ready:
                    continue
                form = laid(ready[tensor] if op.op_type == "const" else widened(ready[tensor]), op.outputs[0].shape)
                at = {"before_op": op, "name": f"{op.name}_quantized"}
                newer = TARGETS[deployment].several
                new = _constant(form, plan[tensor].weights, **at) if newer else older.constant(form, **at)
                replace(block, op, new)
                replaced += 1
    return replaced


def forms(
    plan: Mapping[str, Weights], weights: Mapping[str, Float], stored: Mapping[str, Form], shelf: Shelf
) -> dict[str, Form]:
    """Tensor → its form, of all that are not float16: what `stored` holds, else the nearest."""
    return {
        name: stored[name] if name in stored else _shelved(quantize(weights[name], asked), name, shelf)
        for name, asked in plan.items()
        if asked.weights != "fp16"
    }


def _shelved(stored: Form, name: str, shelf: Shelf) -> Form:
    """The same with its large arrays on the shelf."""
    return type(stored)(*(shelf.array(f"{name} {field}", held) for field, held in stored._asdict().items()))


def _constant(stored: Form, form: str, **at: Any) -> Any:
    """A compressed constant (from iOS18 on); elements of less than a byte carry their true type beside numpy's."""
    from coremltools.converters.mil.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    if isinstance(stored, Quantized):
        data = stored.data.view(types.np_int4_dtype) if form == "int4" else stored.data
        return mb.constexpr_blockwise_shift_scale(data=data, scale=stored.scale, **at)
    if isinstance(stored, Sparse):
        mask = stored.mask.view(types.np_uint1_dtype)
        return mb.constexpr_sparse_to_dense(nonzero_data=stored.nonzero_fp16, mask=mask, **at)
    bits = BITS[form]
    indices = stored.indices if bits == 8 else stored.indices.view(getattr(types, f"np_uint{bits}_dtype"))
    return mb.constexpr_lut_to_dense(indices=indices, lut=stored.lut, **at)


#: how coremltools begins whatever stopped its writer of weights
_WRITER = "[MIL FileWriter]"


def save(program: Any, package: Path, toolchain: Mapping[str, str], deployment: Deployment = "iOS18") -> int:
    """Write one package; returns its size in bytes. Call inside `quiet()`."""
    import coremltools as ct
    from coremltools.converters.mil.backend.mil.load import load as to_proto

    share(program)
    durable.DISK.folder(package.parent)
    # on the disk that the package must fit on as well, never in the small /tmp of some machines
    with tempfile.TemporaryDirectory(dir=package.parent) as folder:
        try:
            spec = to_proto(program, folder, specification_version=ct.target[deployment])
        except RuntimeError as error:
            if not str(error).startswith(_WRITER):
                raise
            # it keeps no errno
            raise durable.StorageFailed("write", package, OSError(str(error))) from error
        metadata = {f"kcompiler.toolchain.{name}": version for name, version in toolchain.items()}
        return normalise.write(spec, Path(folder) / "weight.bin", package, metadata)


def weights_of(program: ExportedProgram) -> dict[str, Float]:
    """Checkpoint tensor name → float32 weight, under every name the graph knows it by."""
    return {name.removeprefix(PREFIX): value.detach().numpy() for name, value in program.state_dict.items()}


#: package → its program, and of each of its functions what is declared
_Whole = dict[str, tuple[Any, dict[str, contracts.Function]]]


def _placed(contract: contracts.Contract, deployment: Deployment, programs: Mapping[str, Any]) -> _Whole:
    """Converted functions in the packages where a target has them, by package; the shortest prefill is the default."""
    there = contracts.apart(contract, deployment)
    names = {
        (placed.package, placed.function): one.function
        for name, function in contract.functions.items()
        for one, placed in zip(contracts.pieces(contract, name), contracts.pieces(there, name), strict=True)
    }
    first = contracts.pieces(there, contract.prefills()[0][0])[0].function
    found = {}
    for package in contracts.parts(there):
        functions = contracts.part(there, package).functions
        members = {name: programs[names[package, name]] for name in functions}
        found[package] = joined(members, first if first in members else next(iter(members))), functions
    return found


class _Making:
    """One conversion, package by package; what one of them needed is let go before the next."""

    def __init__(
        self,
        takes: Mapping[str, Path],
        params: ConvertParams,
        ctx: Context,
        plan: Mapping[str, Weights],
        integers: Sequence[str],
        total: int,
    ) -> None:
        self._program, self._params, self._ctx, self._plan = takes["program"], params, ctx, plan
        stored = Stored(takes["stored"]) if params.calibrated else None
        self._stored = NOTHING if stored is None else stored
        self._scales = {} if stored is None else scales(stored, integers)
        self._begun, self._total = 0, total

    def _tell(self, what: str) -> None:
        self._ctx.progress(self._begun, self._total, what)
        self._begun += 1

    def package(self, package: str, contract: contracts.Contract, toolchain: Mapping[str, str]) -> dict[str, Made]:
        """Write the three forms of one package of a program, `contract` being the contract of it alone; by name what it
        came to, which of the only one may be several, where the target has them apart."""
        params, made = self._params, Made()
        each: dict[str, Made] = {package: made}
        part = contracts.part(contract, "")
        programs, weights = self._converted(package, part)
        plan = {tensor.name: self._plan[tensor.name] for tensor in part.tensors}
        self._tell("saving")
        folder = self._ctx.out("package")

        def saved(whole: _Whole, folder: Path, variant: str) -> dict[str, int]:
            files = {package or name: program for name, (program, _) in whole.items()}
            return {
                name: save(program, folder / contracts.filename(variant, name), toolchain, params.deployment)
                for name, program in files.items()
            }

        def delivered(whole: _Whole, variant: str) -> None:
            for name, size in saved(whole, folder, variant).items():
                each.setdefault(name, Made()).sizes[variant] = size

        # beside the packages: it must hold half of the weights' bytes, and as many as the quantized ones have
        with quiet(), tempfile.TemporaryDirectory(dir=folder) as aside:
            shelf = Shelf(Path(aside))
            saved(_placed(contract, params.deployment, programs), self._ctx.out("float32"), "float32")
            for name, function in part.functions.items():
                kept = [kind for kind in params.islands if function.modules.get(kind)]
                made.done += narrow(programs[name], function, kept, shelf)
            whole = _placed(contract, params.deployment, programs)
            blocks = {name: (programs[name].functions["main"], function) for name, function in part.functions.items()}
            made.done = counted(blocks.values(), contract, made.done)
            for name in contract.functions:
                every = [blocks[piece.function][0] for piece in contracts.pieces(contract, name)]
                made.operations[name] = sum(len(block.operations) for block in every)
            delivered(whole, "fp16")
            ready = forms(plan, weights, self._stored, shelf)
            for program, functions in whole.values():
                round_inputs(program, functions, self._scales)
                compress(program, functions, plan, weights, ready, shelf, params.deployment)
            delivered(whole, "quantized")
        return each

    def _converted(self, package: str, part: contracts.Contract) -> tuple[dict[str, Any], dict[str, Float]]:
        """The functions of one package, still float32, and the weights that they hold."""
        programs: dict[str, Any] = {}
        weights: dict[str, Float] = {}
        for name, function in part.functions.items():
            file = archives.file_of(package, name)
            self._tell(file)
            with quiet():
                exported = archives.load(self._program / f"{file}.pt2")
                programs[name] = converted(exported, function, self._params.deployment, self._params.islands)
                if self._params.cache == "state" and part.kv_cache.layers:
                    stateful.keep(programs[name], function, part.kv_cache)
            weights = weights or weights_of(exported)
        for tensor in part.tensors:
            # a chunk may hold a tied tensor under the other name alone
            held = next(weights[name] for name in (tensor.name, *tensor.aliases) if name in weights)
            # a convolution's has axes of one behind
            convolved = held.ndim > len(tensor.shape)
            weights[tensor.name] = held.reshape(held.shape[: len(tensor.shape)]) if convolved else held
        return programs, weights


def convert(takes: Mapping[str, Path], params: ConvertParams, ctx: Context) -> None:
    """Operation `convert`. Raises Refusal for a recipe, island, target or graph that cannot be converted as asked."""
    contract = contracts.load(takes["program"])
    plan = check(contract, params)
    with quiet():
        import coremltools as ct
    toolchain = {"coremltools": ct.__version__, "torch": str(torch.__version__).split("+")[0]}
    parts = {package: contracts.part(contract, package) for package in contracts.parts(contract)}
    integers = activations.chosen(params.activations, activations.matrices(contract.tensors))
    making = _Making(takes, params, ctx, plan, integers, sum(len(part.functions) + 1 for part in parts.values()))
    each: dict[str, Made] = {}
    for name, one in parts.items():
        each |= making.package(name, one if name else contract, toolchain)
    made = sum(each.values(), Made())
    errata = recorded(params.errata, contract, made.done, REMOVED_PASSES, toolchain)
    described = conversion.packaged(contract, params, toolchain, integers)
    durable.write(ctx.out("package") / "contract.json", contracts.dump(described))
    marks = {
        "model": contract.model_sha256,
        "tokenizer": contract.tokenizer_sha256,
        "prompt_wrapper": contract.template_sha256,
    }
    data = conversion.report(described, plan, each) | {"errata": errata}
    ctx.report("report", data, fingerprints=marks)
    ctx.say(f"fp16 {made.sizes['fp16']} bytes, quantized {made.sizes['quantized']} bytes")

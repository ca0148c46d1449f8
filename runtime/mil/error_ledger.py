"""Saved packages × what the checkpoint gives after every block → how far each form of the model is off, block by block.

A form is compared with the checkpoint: the converted program in float32, the package in float16, the quantized one. The
quantized one is compared with the float16 one besides (`delta`), which says what the recipe alone costs. Numpy only.

Distances are taken position by position: one position may be a thousand times as long as the others (the first token
of many models), and over all of them together would be all that is seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.contract import program as contracts
from runtime.contract import report as facts
from runtime.contract.chunks import HIDDEN
from runtime.mil import pieces
from runtime.mil.golden import Asked, Index, Tensors, coverage
from runtime.mil.interpreter import Interpreter, Result
from runtime.mil.inventory import read_per_token
from runtime.mil.kept import Array
from runtime.mil.loop import Host
from runtime.mil.numerics import Mode
from runtime.mil.package import Package
from runtime.mil.parity import ROWS, kl
from runtime.mil.program import Shape
from runtime.mil.step import State

LOGITS = "logits"
TOP = 3
#: how coremltools names what its pass to float16 has made of a value
_NARROWED = "_cast_fp16"
#: block → its output at every compared position of one case, [N, H]; under `logits` [N, V]
Seen: TypeAlias = Mapping[str, NDArray[np.float32]]


def block(layer: int) -> str:
    """Name of a block in a report."""
    return f"layer_{layer}"


def layer_of(path: str) -> int:
    """`model.layers.3` → 3."""
    return int(path.rpartition(".")[2])


def blocks_of(function: contracts.Function | contracts.Piece) -> dict[str, str]:
    """Block → graph node of its output, the last sum of its residual stream; in order."""
    paths = sorted(function.modules.get("residual", {}).items(), key=lambda item: layer_of(item[0]))
    return {block(layer_of(path)): nodes[-1] for path, nodes in paths}


def seam(piece: contracts.Piece) -> str:
    """The output by which a piece hands the residual stream of its last layer on, "" where it does not."""
    first, end = piece.layers
    return next((value.name for value in piece.outputs if first < end and value.name.startswith(HIDDEN)), "")


class Watched:
    """One function of a package, run by the interpreter; `seen` holds, of each run, what its blocks gave."""

    def __init__(self, package: Package, piece: contracts.Piece, mode: Mode, *, streamed: bool | None = None) -> None:
        self._interpreter = Interpreter(package, piece.function, mode, check=False, streamed=streamed)
        types = self._interpreter.function.types
        shapes = {value.name: value.shape for value in self._interpreter.function.outputs}
        #: whether its outputs are those of the contract
        self.as_declared = all(_admits(shapes.get(value.name), value.shape) for value in piece.outputs)
        #: block → value of the package; a block whose value is not there has none
        self.named: dict[str, str] = {}
        for one, node in blocks_of(piece).items():
            there = [name for name in (node, node + _NARROWED) if name in types]
            if there:
                self.named[one] = there[0]
        leaving = seam(piece)
        if leaving in shapes:
            # as the next piece is given it
            self.named[block(piece.layers[1] - 1)] = leaving
        self.seen: list[dict[str, Array]] = []

    def make_state(self) -> State:
        return self._interpreter.make_state()

    def run(self, inputs: Mapping[str, Array], /, *, state: Any = None) -> Result:
        result, found = self._interpreter.run_keeping(inputs, list(self.named.values()), state=state)
        self.seen.append({one: found[name] for one, name in self.named.items()})
        return result


def _admits(declared: Shape | None, shape: Sequence[int]) -> bool:
    """Whether an output may be of this shape; a function for several lengths leaves one extent open."""
    return declared is not None and len(declared) == len(shape) and all(map(_fits, declared, shape))


def _fits(declared: int | None, size: int) -> bool:
    return declared in (None, size)


class Form:
    """The packages of one variant, ready to be run case by case."""

    def __init__(self, opened: pieces.Opened, contract: contracts.Contract, mode: Mode) -> None:
        self.packages, self.contract, self.mode = opened, contract, mode
        #: function → what runs its pieces
        streamed = pieces.streams(opened)
        self.functions = pieces.runs(
            contract, lambda piece: Watched(opened[piece.package], piece, mode, streamed=streamed)
        )
        self._host = Host(pieces.functions(contract, self.functions), contract)

    def given(self, name: str, case: Mapping[str, Any], goldens: Tensors) -> Seen | None:
        """What it gives of one golden case at the positions that are compared; None of functions whose outputs are not
        those of the contract."""
        for one in itertools.chain.from_iterable(self.functions.values()):
            one.seen.clear()
        if not all(piece.as_declared for one in {name, str(case.get("start", name))} for piece in self.functions[one]):
            return None
        return (self._decoded if name == "decode" else self._filled)(name, case, goldens)

    def _filled(self, name: str, case: Mapping[str, Any], goldens: Tensors) -> Seen:
        real = int(case["length"])
        result = self._host.prefill(name, goldens[f"{name}/{case['case']}/input_ids"][0, :real].tolist())
        (seen,) = self._seen(name)
        return {LOGITS: result.outputs["logits"][0, :real], **{one: _rows(value)[:real] for one, value in seen.items()}}

    def _decoded(self, name: str, case: Mapping[str, Any], goldens: Tensors) -> Seen:
        at, start, steps = f"decode/{case['case']}", str(case["start"]), int(case["steps"])
        prompt, tokens = goldens[f"{at}/prompt"][0].tolist(), goldens[f"{at}/tokens"].tolist()
        trace = self._host.decode(prompt, steps, tokens, start=start)
        seen = self._seen(name)
        blocks = {one: np.concatenate([_rows(run[one]) for run in seen]) for one in (seen[0] if seen else ())}
        return {LOGITS: np.stack(trace.logits[1:]), **blocks}

    def _seen(self, name: str) -> list[dict[str, Array]]:
        """Of each run of a function, what its blocks gave, those of all its pieces."""
        each = zip(*(piece.seen for piece in self.functions[name]), strict=True)
        return [{one: value for part in run for one, value in part.items()} for run in each]

    def sizes(self) -> dict[str, Any]:
        """What the decode function stores, and what of it one token reads."""
        held = [
            one
            for piece in contracts.pieces(self.contract, "decode")
            for one in self.packages[piece.package].weights(piece.function)
        ]
        return {
            "bytes": facts.measured(sum(one.bytes for one in held), "byte", n=len(held)),
            "bytes_per_token": facts.measured(sum(map(read_per_token, held)), "byte", n=len(held)),
        }


def _rows(value: Array) -> Array:
    """[1, T, H], or [1, H, 1, T] of the profile `ane` → [T, H]."""
    found: Array = value[0, :, 0].T if value.ndim == 4 else value.reshape(-1, value.shape[-1])
    return found


@dataclass
class Distances:
    """How far some vectors are from their references, position by position. NaN where a side is not finite, or the
    reference is zero."""

    cosines: list[float] = field(default_factory=list)
    lengths: list[float] = field(default_factory=list)

    def add(self, reference_NH: Array, found_NH: Array) -> None:
        """Raises ValueError for arrays of two shapes."""
        if reference_NH.shape != found_NH.shape:
            raise ValueError(f"shapes {reference_NH.shape} and {found_NH.shape} cannot be compared")
        for at in range(0, len(reference_NH), ROWS):
            a, b = (side[at : at + ROWS].astype(np.float64) for side in (reference_NH, found_NH))
            with np.errstate(all="ignore"):
                one, other = np.linalg.norm(a, axis=-1), np.linalg.norm(b, axis=-1)
                # an infinite side leaves NaN in both
                self.cosines += np.clip((a * b).sum(axis=-1) / (one * other), -1.0, 1.0).tolist()
                apart = np.linalg.norm(a - b, axis=-1) / one
            self.lengths += np.where(np.isfinite(apart), apart, np.nan).tolist()

    def data(self) -> dict[str, Any]:
        return {
            "cosine": _datum(self.cosines, "cosine", min),
            "relative_l2": _datum(self.lengths, "1", np.mean),
            "relative_l2_worst": _datum(self.lengths, "1", max),
        }


@dataclass
class Chances:
    """What the logits make of the next token."""

    divergences: list[float] = field(default_factory=list)
    first: int = 0
    among: int = 0

    def add(self, reference_NV: Array, found_NV: Array) -> None:
        """Rows of logits as they are."""
        self.divergences += kl(reference_NV.astype(np.float64), found_NV.astype(np.float64)).tolist()
        for wanted, row in zip(reference_NV.argmax(axis=-1), found_NV, strict=True):
            finite = bool(np.isfinite(row).all())
            self.first += finite and int(row.argmax()) == int(wanted)
            self.among += finite and int((row > row[wanted]).sum()) < TOP

    def data(self) -> dict[str, Any]:
        count = len(self.divergences)
        return {
            "kl": _datum(self.divergences, "nat", np.mean),
            "top1_agreement": facts.rate(self.first, count),
            "top3_containment": facts.rate(self.among, count),
        }


def _datum(values: Sequence[float], unit: str, how: Any) -> dict[str, Any]:
    if not values:
        return facts.unavailable("nothing was compared", unit)
    if not all(map(np.isfinite, values)):
        return facts.unavailable("a value or its reference is not finite, or the reference is zero", unit)
    return facts.measured(float(how(values)), unit, n=len(values))


class Page:
    """One comparison, function by function; `bound` is the most of a relative L2 that is no fault."""

    def __init__(self, contract: contracts.Contract, bound: float) -> None:
        self.contract, self.bound = contract, bound
        self.blocks = {name: [block(i) for i in range(contract.kv_cache.layers)] for name in contract.functions}
        #: (function, block) → the package that it leaves
        self._leaves = {
            (name, block(piece.layers[1] - 1)): piece.package
            for name in contract.functions
            for piece in contracts.pieces(contract, name)
            if seam(piece)
        }
        self._distances = {
            name: {one: Distances() for one in [*blocks, LOGITS]} for name, blocks in self.blocks.items()
        }
        self._chances = {name: Chances() for name in contract.functions}
        self._lost = dict.fromkeys(contract.functions, 0)

    def add(self, name: str, reference: Seen | None, found: Seen | None) -> None:
        """One case of a function; a side that gave nothing is a case that was not compared."""
        if reference is None or found is None:
            self._lost[name] += 1
            return
        for one, distances in self._distances[name].items():
            if one in reference and one in found:
                distances.add(reference[one], found[one])
        self._chances[name].add(reference[LOGITS], found[LOGITS])

    def data(self, covered: Mapping[str, tuple[int, int]]) -> list[dict[str, Any]]:
        return [self._function(name, *covered[name]) for name in self.contract.functions]

    def _function(self, name: str, there: int, wanted: int) -> dict[str, Any]:
        told = {one: distances.data() for one, distances in self._distances[name].items()}
        logits = {**told.pop(LOGITS), **self._chances[name].data()}
        every = {**told, LOGITS: logits}
        return {
            "function": name,
            "covered": facts.rate(max(0, there - self._lost[name]), wanted),
            "compared": facts.rate(sum(one["relative_l2"]["value"] is not None for one in every.values()), len(every)),
            "blocks": [{"block": one, **self._left(name, one), **numbers} for one, numbers in told.items()],
            "logits": logits,
            "first_bad": next((one for one, numbers in every.items() if not self._holds(numbers)), ""),
        }

    def _left(self, name: str, one: str) -> dict[str, str]:
        package = self._leaves.get((name, one))
        return {} if package is None else {"leaves": package}

    def _holds(self, numbers: Mapping[str, Any]) -> bool:
        value = numbers["relative_l2"]["value"]
        return value is not None and value <= self.bound


def cases(contract: contracts.Contract, index: Index) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(function, golden case) of all of them."""
    for name in contract.functions:
        for case in index[name]:
            yield name, case


def page_of(page: Page, sizes: Mapping[str, Any], variant: str, mode: Mode, covered: Any) -> dict[str, Any]:
    """One form's part of the report."""
    return {"variant": variant, "mode": mode, **sizes, "functions": page.data(covered)}


def covered_by(contract: contracts.Contract, index: Index, asked: Asked) -> dict[str, tuple[int, int]]:
    """Function → (golden cases that are there, of those that are asked for)."""
    return coverage(contract, index, asked.golden_prompts, asked.decode_steps)

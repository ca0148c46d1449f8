"""ONNX files × golden vectors × the converted program → the report of three executions of one function.

Torch has run the checkpoint, onnxruntime runs the exported program, and the interpreter runs what the converter made of
the same program; all in float32, so none of them is excused by rounding. Where two agree, the third is wrong, and that
says where to look: in the export, in the conversion, or in the ONNX file alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as states

from runtime.contract import BrokenEvidence, Context
from runtime.contract import program as contracts
from runtime.contract import report as facts
from runtime.mil import package as packages
from runtime.mil import pieces
from runtime.mil.findings import Findings
from runtime.mil.golden import Index, Tensors, coverage, goldens_of, held
from runtime.mil.interpreter import Result
from runtime.mil.kept import Array, misshapen
from runtime.mil.loop import Host, Loop
from runtime.mil.parity import CACHE, Tally
from runtime.steps.verify_onnx import VerifyOnnxParams

#: what onnxruntime raises: classes of its own, without a parent of their own
_REFUSALS: tuple[type[Exception], ...] = tuple(
    one for one in vars(states).values() if isinstance(one, type) and issubclass(one, Exception)
)
#: comparison → who is compared
PAIRS: Mapping[str, tuple[str, str]] = {
    "onnx": ("torch", "onnx"),
    "coreml": ("torch", "coreml"),
    "between": ("onnx", "coreml"),
}
#: which comparisons hold (onnx, coreml, between) → who is wrong
_WRONG: Mapping[tuple[bool, bool, bool], str] = {
    (True, True, True): "nobody",
    # each within the tolerance of the checkpoint, on its two sides
    (True, True, False): "nobody",
    (True, False, True): "unclear",
    (True, False, False): "conversion",
    (False, True, True): "unclear",
    (False, True, False): "onnx",
    (False, False, True): "export",
    (False, False, False): "unclear",
}
#: outputs of one execution: logits_NV, keys_LHND, values_LHND
Seen = Mapping[str, Array]


class _Session:
    """One function by onnxruntime, opened when it is first called and closed by `shut`."""

    def __init__(self, path: Path, outputs: Sequence[contracts.Value], threads: int) -> None:
        self.path, self.outputs, self.threads = path, outputs, threads
        self._opened: onnxruntime.InferenceSession | None = None

    def make_state(self) -> dict[str, Array]:
        """ONNX has no states."""
        return {}

    def run(self, inputs: Mapping[str, Array], /, *, state: Any = None) -> Result:
        """Raises BrokenEvidence for a file that onnxruntime refuses."""
        names = [value.name for value in self.outputs]
        try:
            found = self._open().run(names, dict(inputs))
        except _REFUSALS as error:
            raise BrokenEvidence(f"onnxruntime: {str(error).strip()}", subject=self.path.name) from error
        return Result({name: np.asarray(value) for name, value in zip(names, found, strict=True)}, Findings())

    def _open(self) -> onnxruntime.InferenceSession:
        if self._opened is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            options.inter_op_num_threads = 1
            options.use_deterministic_compute = True
            options.log_severity_level = 3
            self._opened = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        return self._opened

    def shut(self) -> None:
        self._opened = None


class _Function:
    """The three comparisons of one function."""

    def __init__(self, layers: int) -> None:
        self.tallies = {name: Tally(layers) for name in PAIRS}
        #: side → cases in which an output had not the contract's shape
        self.misshapen = {"onnx": 0, "coreml": 0}

    def add(self, sides: Mapping[str, Seen]) -> None:
        for name, (one, other) in PAIRS.items():
            reference, found = sides[one], sides[other]
            self.tallies[name].logits(_real(reference["logits"]), _real(found["logits"]))
            for kept in CACHE:
                self.tallies[name].cache(kept, _real(reference[kept]), _real(found[kept]))

    def data(self, tolerance: float) -> dict[str, Any]:
        pairs = {name: _pair(tally) for name, tally in self.tallies.items()}
        holds = {name: _within(pair, tolerance) for name, pair in pairs.items()}
        wrong = _WRONG[holds["onnx"], holds["coreml"], holds["between"]]
        bad = [who for side, who in (("coreml", "conversion"), ("onnx", "onnx")) if self.misshapen[side]]
        return {**pairs, "wrong": "unclear" if len(bad) > 1 else bad[0] if bad else wrong}


def _real(value: Array) -> Any:
    return value.astype(np.float64)


def _pair(tally: Tally) -> dict[str, Any]:
    data = tally.data()
    heads = [layer[name]["relative_error"] for layer in data["cache"] for name in CACHE]
    unknown = next((one for one in heads if one["value"] is None), None)
    worst = unknown or max(heads, key=lambda one: float(one["value"]))
    return {
        "relative_error": data["relative_error"],
        "cache_error": worst,
        "cosine": data["cosine"],
        "top1_agreement": data["top1_agreement"],
    }


def _within(pair: Mapping[str, Any], tolerance: float) -> bool:
    values = [pair[name]["value"] for name in ("relative_error", "cache_error")]
    return all(value is not None and value <= tolerance for value in values)


def _prefill(name: str, hosts: Mapping[str, Host], index: Index, goldens: Tensors, into: _Function) -> None:
    for case in index[name]:
        at, real = f"{name}/{case['case']}", int(case["length"])
        ids = goldens[f"{at}/input_ids"][0, :real].tolist()
        sides: dict[str, Seen] = {
            "torch": {"logits": goldens[f"{at}/logits"][0], **{one: goldens[f"{at}/{one}"] for one in CACHE}}
        }
        for side, host in hosts.items():
            found = host.prefill(name, ids).outputs
            if misshapen(found, host.contract.functions[name]):
                into.misshapen[side] += 1
                break
            cut = {one: found[one][:, :, :real] for one in CACHE}
            sides[side] = {"logits": found["logits"][0, :real], **cut}
        else:
            into.add(sides)


def _decode(hosts: Mapping[str, Host], index: Index, goldens: Tensors, into: _Function) -> None:
    """What each cached step gave, reading the checkpoint's own tokens."""
    for case in index["decode"]:
        at, steps = f"decode/{case['case']}", int(case["steps"])
        prompt, tokens = goldens[f"{at}/prompt"][0].tolist(), goldens[f"{at}/tokens"].tolist()
        written = slice(len(prompt), len(prompt) + steps)
        sides: dict[str, Seen] = {
            "torch": {
                "logits": goldens[f"{at}/logits"][1:],
                **{one: goldens[f"{at}/{one}"][:, :, written] for one in CACHE},
            }
        }
        for side, host in hosts.items():
            trace = host.decode(prompt, steps, tokens, start=str(case["start"]))
            sides[side] = {
                "logits": np.stack(trace.logits[1:]),
                "keys": trace.keys[:, :, written],
                "values": trace.values[:, :, written],
            }
        into.add(sides)


def compared(
    hosts: Mapping[str, Host], contract: contracts.Contract, index: Index, goldens: Tensors, params: VerifyOnnxParams
) -> dict[str, Any]:
    """Sections `functions` and `apart` of the report; `hosts` are `onnx` and `coreml`."""
    covered = coverage(contract, index, params.golden_prompts, params.decode_steps)
    functions = []
    for name, function in contract.functions.items():
        seen = _Function(contract.kv_cache.layers)
        there, wanted = covered[name]
        if function.kind == "decode":
            _decode(hosts, index, goldens, seen)
        else:
            _prefill(name, hosts, index, goldens, seen)
        functions.append(
            {
                "function": name,
                "covered": facts.rate(max(0, there - sum(seen.misshapen.values())), wanted),
                **seen.data(params.tolerance),
            }
        )
    apart = sum(one["wrong"] != "nobody" for one in functions)
    return {"functions": functions, "apart": facts.measured(apart, "function", n=len(functions))}


def verify(takes: Mapping[str, Path], params: VerifyOnnxParams, ctx: Context) -> None:
    """Operation `verify_onnx`. Raises BrokenEvidence for a file that onnxruntime does not run."""
    folder = takes["onnx"]
    contract = contracts.load(folder)
    held(contract, params)
    index, goldens = goldens_of(takes["goldens"], contract)
    made = pieces.runs(
        contract, lambda piece: _Session(folder / f"{piece.function}.onnx", piece.outputs, params.threads)
    )
    sessions = pieces.functions(contract, made)
    # the exported program knows no state; what was converted of it may
    saved = [packages.open(takes["float32"] / contracts.filename("float32", one)) for one in contracts.parts(contract)]
    kept = any(one.states for package in saved for one in package.functions.values())
    there = contracts.stateful(contract) if kept else contract
    converted = Loop(pieces.opened(takes["float32"], "float32", there), there, "exact32")
    data = compared({"onnx": Host(sessions, contract), "coreml": converted}, contract, index, goldens, params)
    data["bytes"] = facts.measured(sum(one.stat().st_size for one in folder.iterdir()), "byte")
    ctx.report("report", data, fingerprints=facts.fingerprints(takes, ctx.digests, model="checkpoint"))
    ctx.say("; ".join(f"{one['function']}: wrong is {one['wrong']}" for one in data["functions"]))

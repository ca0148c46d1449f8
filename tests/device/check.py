"""What of the trainer needs a card, tried on one: under eight minutes, each part in a process and with a limit of its own.

    python tests/device/check.py            # on a machine with a CUDA card
    python tests/device/check.py --tiny     # the same code on the CPU, in bfloat16 and with small sizes

Writes device.json and device.md into the folder that the variable OUT names (else a new one, whose name it prints), after
each part, and ends with 1 when a part failed. Needs torch, transformers and what `pip install .` needs; TRL where its steps
are to be compared. What is installed is what plans are made for: README.md beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
# some distribution of the machine may install a package of that name, which would hide ours
_TESTS = types.ModuleType("tests")
_TESTS.__path__ = [str(ROOT / "tests")]
sys.modules.setdefault("tests", _TESTS)

#: dense bfloat16 of the cards that are known, TFLOP/s (kcompiler/tables/hardware.yaml)
PEAKS = {"H100": 989.5, "H200": 989.5}
Found = dict[str, Any]


def here(tiny: bool) -> tuple[str, Any]:
    """Device and precision of every part."""
    return ("cpu" if tiny else "cuda"), "bf16"


def relative(one: float, other: float) -> float:
    return abs(one - other) / max(abs(other), 1e-9)


# --- the card


def card(tiny: bool) -> Found:
    """What it is, and what a product of two matrices reaches."""
    import torch

    from runtime.models import device

    found: Found = {"torch": torch.__version__, "python": platform.python_version(), "processors": os.cpu_count()}
    if tiny:
        return {**found, "device": "cpu"}
    found["device"] = device.words("cuda")
    found["cards"] = torch.cuda.device_count()
    size, times = 8192, 20
    one, other = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        one @ other
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(times):
        one @ other
    torch.cuda.synchronize()
    found["product_tflops"] = 2 * size**3 * times / (time.perf_counter() - begin) / 1e12
    return found


# --- a step of distillation beside others


def _operations(size: Any, vocabulary: int) -> float:
    """Multiplications and additions of a step that the mathematics asks for: 6 per weight and token of the student, 2 of
    the teacher, and of attention over half of the square of the length."""
    from kcompiler.facts.models import total

    weights = total(size.shape(vocabulary))
    attention = 2 * size.layers * size.length * size.hidden
    return 8.0 * size.tokens * (weights + attention)


def kd_step(tiny: bool) -> Found:
    """Tokens per second and memory of one step: ours, naive full logits, TRL's losses; share of the card's peak."""
    import torch

    from tests.bench import kd_step as bench

    steps, vocabularies = (1, [512]) if tiny else (8, [32_768, 131_072])
    size = bench.Size(rows=2, length=32, precision="bf16") if tiny else bench.CARD
    peak = next((value for name, value in PEAKS.items() if not tiny and name in torch.cuda.get_device_name()), None)
    found: Found = {"size": f"{size.layers} layers of {size.hidden}, {size.rows} x {size.length} tokens"}
    for vocabulary in vocabularies:
        rows: Found = {}
        for variant in bench.VARIANTS:
            try:
                rows[variant] = bench.measured(size, variant, vocabulary, steps)
            except ModuleNotFoundError as error:
                # TRL need not be installed, and its rows are then not there: anything else that fails is a failure
                if str(error.name).partition(".")[0] != "trl":
                    raise
                rows[variant] = {"failed": f"{type(error).__name__}: {str(error)[:200]}"}
            gc.collect()
            if not tiny:
                torch.cuda.empty_cache()
        for row in rows.values():
            if "seconds" in row:
                row["tokens_per_second"] = size.tokens / row["seconds"]
                if peak:
                    row["share_of_peak"] = _operations(size, vocabulary) / row["seconds"] / peak / 1e12
                row["loss"] = row.pop("losses")[-1]
        ours = rows["ours"]
        for name in ("naive", "gkd", "trl chunked"):
            if "seconds" in rows[name]:
                ours[f"times_{name}"] = rows[name]["seconds"] / ours["seconds"]
                if "rise" in rows[name]:
                    ours[f"memory_of_{name}"] = ours["rise"] / rows[name]["rise"]
        found[str(vocabulary)] = rows
    return found


# --- small runs through the real operation


@contextlib.contextmanager
def _world() -> Iterator[tuple[Path, dict[str, Path]]]:
    """A folder with a dataset and its tokenizer."""
    from tests.tensor.train import world

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = world.dataset(root / "dataset")
        yield root, {"dataset": data, "tokenizer": world.tokenizer(root / "tokenizer", data)}


def _run(root: Path, takes: dict[str, Path], **changes: Any) -> Any:
    """One training through `runtime.train.distill.fit`; the stage with its report."""
    from runtime.train.distill import fit
    from tests.tensor.train import world

    stage = world.Stage(root, takes)
    fit(takes, world.params(**changes), stage, made_by="device check")
    return stage


def _finals(stage: Any) -> dict[str, float]:
    terms = stage.reports["report"]["data"]["terms"]
    return {name: term["final"]["value"] for name, term in terms.items()}


def _taught(root: Path, takes: dict[str, Path], device: str) -> dict[str, Path]:
    from tests.tensor.train import world

    shape = world.architecture(hidden_size=48, num_hidden_layers=1)
    _run(root / "teacher", takes, architecture=shape, steps=30, device=device)
    return {**takes, "teacher": root / "teacher/checkpoint"}


def precision(tiny: bool) -> Found:
    """The same training in float32 on the CPU, in float32, bfloat16 (and float16) on the device: within the tolerance of
    the step?"""
    from runtime import catalog
    from tests.tensor.train import world

    device, _ = here(tiny)
    tolerance = catalog.load("steps", "train").tolerance
    ways = [("cpu", "fp32"), (device, "fp32"), (device, "bf16"), *([] if tiny else [(device, "fp16-mixed")])]
    found: Found = {"tolerance": tolerance.to_json()}
    with _world() as (root, base):
        takes = _taught(root, base, "cpu")
        reference = None
        for number, (where, floats) in enumerate(dict.fromkeys(ways)):
            stage = _run(
                root / str(number), takes, losses=world.terms(kl=0.6, ce_truth=0.4), needs_teacher=True,
                steps=20 if tiny else 60, device=where, precision=floats,
            )  # fmt: skip
            data = stage.reports["report"]["data"]
            reference = reference or data
            found[f"{where} {floats}"] = {
                **_finals(stage),
                "promise": data["promise"],
                "device": data["device"],
                "compiled": data.get("compiled", []),
                "apart": tolerance.apart(reference, data),
            }
    apart = [name for name, row in found.items() if isinstance(row, dict) and row.get("apart")]
    assert not apart, f"outside the tolerance: {apart}: {found}"
    return found


def repeated(tiny: bool) -> Found:
    """The same training twice on the device: the same bytes, or figures within the tolerance."""
    from runtime import catalog

    device, floats = here(tiny)
    tolerance = catalog.load("steps", "train").tolerance
    with _world() as (root, takes):
        runs = [_run(root / name, takes, steps=20, device=device, precision=floats) for name in ("one", "other")]
        weights = [(root / name / "checkpoint/model.safetensors").read_bytes() for name in ("one", "other")]
    data = [stage.reports["report"]["data"] for stage in runs]
    assert tolerance.apart(*data) == []
    return {"same_bytes": weights[0] == weights[1], "finals": [_finals(stage) for stage in runs]}


class _Stopped(Exception):
    pass


def resume(tiny: bool) -> Found:
    """Stopped in the middle and begun again, a run ends where the undisturbed one ends."""
    from runtime import catalog
    from runtime.train.distill import fit
    from tests.tensor.train import world

    device, floats = here(tiny)
    asked: Any = {"steps": 12, "device": device, "precision": floats, "checkpoint_every": 2}
    with _world() as (root, takes):
        whole = _run(root / "whole", takes, **asked)
        stage: Any = world.Stage(root / "stopped", takes)
        plain = stage.progress

        def stopping(done: int, total: int, note: str = "") -> None:
            plain(done, total, note)
            if total == asked["steps"] and done >= 6:
                raise _Stopped

        stage.progress = stopping
        with contextlib.suppress(_Stopped):
            fit(takes, world.params(**asked), stage, made_by="device check")
        assert not (root / "stopped/checkpoint").exists(), "it was not stopped"
        stage.progress = plain
        fit(takes, world.params(**asked), stage, made_by="device check")
        went_on = [line for line in stage.said if "continuing" in line]
        assert went_on, stage.said
        same = [(root / name / "checkpoint/model.safetensors").read_bytes() for name in ("whole", "stopped")]
    tolerance = catalog.load("steps", "train").tolerance
    assert tolerance.apart(whole.reports["report"]["data"], stage.reports["report"]["data"]) == []
    return {"said": went_on, "same_bytes": same[0] == same[1], "finals": [_finals(whole), _finals(stage)]}


def rounding(tiny: bool) -> Found:
    """Weights are rounded on the card to the bits that conversion makes of them, and a training with rounded weights
    ends with those of its report."""
    import numpy as np
    import torch

    from runtime.mil.quantize import quantize, restored
    from runtime.train.qat import rounded
    from tests.tensor.train.test_qat import FORMS, INT4, asked, matrix

    device, _ = here(tiny)
    apart = 0
    for form in FORMS:
        for seed, size in enumerate((1e-30, 1e-7, 1e-4, 2e-3, 0.02, 1.0, 300.0)):
            weight = np.concatenate([matrix(seed, 64, size), matrix(seed + 100, 64, size)])
            there = rounded(torch.from_numpy(weight).to(device), form).cpu().numpy()
            apart += there.tobytes() != restored(quantize(weight, form)).tobytes()
    assert apart == 0, f"{apart} matrices"
    with _world() as (root, takes):
        params = asked(INT4, from_step=2)
        changes = {"qat": params.qat, "steps": 6, "device": device, "precision": "fp32"}
        # refused where the card rounds otherwise (`RoundedWeights.settle`)
        told = _run(root / "aware", takes, **changes).reports["report"]["data"]["qat"]
    return {"forms": len(FORMS), "matrices": len(told["matrices"]), "steps": told["steps"]["k"]}


def memory(tiny: bool) -> Found:
    """A batch that the card has no room for: refused in words, and the process lives on."""
    import torch

    from kcompiler.facts.models import total
    from runtime.contract import MachineError
    from tests.tensor.train import world

    if tiny:
        return {"skipped": "the CPU's allocator has no limit that could be set"}
    with _world() as (root, takes):
        whole = torch.cuda.get_device_properties(0).total_memory
        shape = world.architecture(hidden_size=512, intermediate_size=2048, num_hidden_layers=8)
        # weights, gradients and both moments fit; what a batch leaves for its backward pass does not
        torch.cuda.set_per_process_memory_fraction((16 * total(shape) * 1.05 + 1e8) / whole)
        try:
            _run(root / "large", takes, architecture=shape, batch_size=40, device="cuda")
        except MachineError as error:
            said = f"{getattr(error, 'code', '')} {error} | {getattr(error, 'action', '')}"
        else:
            raise AssertionError("it fitted")
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
            torch.cuda.empty_cache()
        _run(root / "small", takes, device="cuda")
    return {"said": said, "afterwards": "a small run trains"}


def smollm2(tiny: bool) -> Found:
    """A teacher of SmolLM2-135M's shape in bfloat16 (weights drawn, not its own: 98 MB do not travel) and a student of six
    of its layers: tokens per second, memory, and that the divergence falls."""
    import torch

    from runtime.contract.architecture import Architecture
    from runtime.contract.optimizer import Optimizer
    from runtime.data.encode import Example
    from runtime.models import build
    from runtime.models import device as devices
    from runtime.steps.train import Term, TrainParams
    from runtime.train import objective
    from runtime.train.batches import Corpus
    from runtime.train.loop import Trainer, deterministic
    from runtime.train.place import Place
    from runtime.train.teaching import Teacher, head_of

    device, floats = here(tiny)
    place = Place(devices.of(device), floats)
    rows, length, steps = (2, 32, 3) if tiny else (16, 512, 30)
    sizes: Any = {
        "family": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192, "vocab_size": 49152,
        "rope_theta": 1e5,
    }  # fmt: skip
    if tiny:
        sizes |= {"num_hidden_layers": 2, "hidden_size": 72, "intermediate_size": 96, "vocab_size": 512}
    teacher_shape = Architecture(**sizes)
    shape = Architecture(**{**sizes, "num_hidden_layers": min(6, sizes["num_hidden_layers"])})
    made = torch.Generator().manual_seed(1)
    ids = torch.randint(3, sizes["vocab_size"], (rows, length), generator=made).tolist()
    examples = [Example(row, {"response": [False] + [True] * (length - 1)}) for row in ids]
    corpus = Corpus([str(k) for k in range(rows)], examples, length, 0)
    terms = [Term(term="kl", version=1, weight=1.0, params={"temperature": 1.0})]
    params = TrainParams(
        architecture=shape, losses=terms, needs_teacher=True, steps=steps, batch_size=rows, max_length=length,
        chunk_tokens=1024, optimizer=Optimizer(learning_rate=1e-3, warmup_steps=2), device=device, precision=floats,
    )  # fmt: skip
    with deterministic(1, 2, exact=tiny):
        student = build.build(shape, 1, attention="sdpa").to(place.device)
        # the drawn head of a model says nothing of any token: sharper logits are something to learn
        taught = build.build(teacher_shape, 2, attention="sdpa")
        with torch.no_grad():
            taught.get_input_embeddings().weight *= 3
        taught = taught.to(torch.bfloat16).to(place.device)
        held = taught.get_input_embeddings().weight.dtype
        teacher = Teacher(taught, head_of(taught, corpus.ids[0][None], "teacher"), corpus, range(rows), 0, place)
        trainer = Trainer(
            student=student, head=student.lm_head, teacher=teacher, corpus=corpus, terms=objective.bind(terms),
            params=params, seed=1, place=place,
        )  # fmt: skip
        trainer.course = type(trainer.course)(trainer.course.supervised, frozenset({0}))
        student.train()
        losses, begin = [], 0.0
        for step in range(steps):
            trainer.step(step)
            losses.append(trainer.record.tail[-1][0])
            if step == 0:
                place.synchronise()
                begin = time.perf_counter()
        place.synchronise()
        spent = (time.perf_counter() - begin) / (steps - 1)
    assert losses[-1] < losses[0], losses
    found: Found = {
        "teacher_held_in": str(held),
        "student_held_in": str(next(student.parameters()).dtype),
        "parameters": [build.count(taught), build.count(student)],
        "kl": [losses[0], losses[-1]],
        "tokens_per_second": rows * length / spent,
    }
    if not tiny:
        found["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return found


def apart(tiny: bool) -> Found:
    """Teacher and student on two devices: another card where there is one, the processor too."""
    import torch

    from tests.tensor.train import world

    if tiny:
        return {"skipped": "one device"}
    others = ["cpu", *(["cuda:1"] if torch.cuda.device_count() > 1 else [])]
    found: Found = {"cards": torch.cuda.device_count()}
    with _world() as (root, base):
        takes = _taught(root, base, "cuda")
        for other in [None, *others]:
            stage = _run(
                root / str(other).replace(":", "-"), takes, losses=world.terms(kl=1.0), needs_teacher=True, steps=20,
                device="cuda", teacher_device=other,
            )  # fmt: skip
            found[f"teacher on {other or 'cuda'}"] = _finals(stage)
    values = [row["kl"] for name, row in found.items() if name.startswith("teacher")]
    assert max(relative(value, values[0]) for value in values) < 0.02, found
    return found


def judged(tiny: bool) -> Found:
    """What judges a checkpoint, on the device beside the CPU: probes hold, golden vectors and likelihoods agree, greedy
    answers are the same."""
    import torch
    from safetensors.torch import load_file

    from runtime.models import build, goldens, probes, runners
    from runtime.models import device as devices
    from runtime.models import tokenizer as tokenizers
    from runtime.steps.export import ExportParams
    from runtime.steps.probe import ProbeParams
    from tests.tensor.export import world

    device, _ = here(tiny)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        takes = world.world(root)
        words = tokenizers.load(takes["tokenizer"])
        stage = world.Stage(root / "probe", takes)
        asked = ProbeParams(lengths=[64, 128], decode_context=128, device=device)
        probes.probe(takes, asked, stage)
        passed = stage.reports["report"]["data"]["passed"]
        made: dict[str, Any] = {}
        texts = [(row["prompt"], row["response"]) for row in _rows(takes)]
        for where in ("cpu", device):
            target = root / f"goldens-{where}"
            target.mkdir(exist_ok=True)
            model = build.load(takes["checkpoint"]).to(devices.of(where))
            params = ExportParams(prefill=[64, 128], decode_context=128, device=where)
            goldens.make(model, words, takes["dataset"], params, target)
            runner = runners.checkpoint("student", takes["checkpoint"], words, on=where)
            made[where] = (
                load_file(target / "goldens.safetensors"),
                [score.log_probability for score in runner.score(texts)],
                runner.generate([prompt for prompt, _ in texts], 12),
            )
    (one, likely, said), (other, likely_too, said_too) = made["cpu"], made[device]
    assert one.keys() == other.keys()
    largest = max(
        float((one[name].double() - other[name].double()).abs().max() / one[name].double().abs().max().clamp(min=1.0))
        for name in one
    )
    assert passed["k"] == passed["n"], passed
    assert largest < 1e-4, largest
    assert max(map(relative, likely_too, likely)) < 1e-4, (likely, likely_too)
    return {
        "probes": f"{passed['k']} of {passed['n']}",
        "goldens_apart": largest,
        "likelihoods_apart": max(map(relative, likely_too, likely)),
        "answers_alike": f"{sum(map(str.__eq__, said, said_too))} of {len(said)}",
        "device": str(torch.device(device)),
    }


def _rows(takes: Mapping[str, Path]) -> list[Any]:
    from runtime.contract import rows

    return rows.load(takes["dataset"] / "test.jsonl")


# --- a spec of the project


def _plan_for_what_is_installed() -> dict[str, str]:
    """Let the backends require the versions that are here, so that plans are made for them and say so; what is not here
    stays required, and a step that needs it is refused."""
    from runtime import catalog
    from runtime.machine.stale import installed, same_version

    changed: dict[str, str] = {}
    for name in catalog.names("backends"):
        requires: Any = catalog.load("backends", name).requires
        for distribution, pin in list(requires.items()):
            version = installed(distribution)
            if version != "not installed" and not same_version(pin, version):
                requires[distribution] = changed[distribution] = version
    return changed


def eight_ball(tiny: bool) -> Found:
    """specs/eight-ball.yaml as shipped but for the device: planned, its teacher and student trained by `apply`, the answers
    of the student read from its checkpoint on the device."""
    import yaml

    from kcompiler.cli import _main
    from runtime.contract import rows
    from runtime.data.classic import ANSWERS
    from runtime.models import runners
    from runtime.models import tokenizer as tokenizers

    device, floats = here(tiny)
    changed = _plan_for_what_is_installed()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / ".kcompiler").mkdir()
        spec = yaml.safe_load((ROOT / "specs/eight-ball.yaml").read_text(encoding="utf-8"))
        spec["execution"] = {**spec.get("execution", {}), "device": device, "precision": floats}
        # the spec allows no time of a card, because it needs none
        spec["budgets"]["gpu_hours"] = 0 if tiny else 1
        if tiny:
            spec["teacher"]["steps"] = 4
            spec["training"]["stages"][0]["steps"] = 4
        (root / "eight-ball.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
        os.chdir(root)
        begin = time.perf_counter()
        code = _main(["apply", "eight-ball.yaml", "--only", "train-kd"])
        spent = time.perf_counter() - begin
        lock = json.loads((root / "generated/eight-ball/plan.lock").read_text(encoding="utf-8"))
        step = next(one for one in lock["steps"] if one["id"] == "train-kd")
        lines = (root / ".kcompiler/journal.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        done = {one["data"]["step"]: one["data"] for one in records if one["type"] == "step_committed"}
        assert "train-kd" in done, f"apply ended with {code}; {sorted(done)}"

        def store(name: str, port: str) -> Path:
            scheme, _, text = done[name]["gives"][port]["digest"].partition(":")
            return root / ".kcompiler/store" / scheme / text[:2] / text

        words = tokenizers.load(store("tokenizer", "tokenizer"))
        asked = rows.load(store("data", "dataset") / "test.jsonl")
        runner = runners.checkpoint("student", store("train-kd", "checkpoint"), words, on=device)
        written = runner.generate([rows.prompt_of(row) for row in asked], 16)
        right = {answer for several in ANSWERS.values() for answer in several}
        report = json.loads((store("train-kd", "report") / "report.json").read_text(encoding="utf-8"))
    valid = sum(answer in right for answer in written)
    assert tiny or valid == len(written), f"{valid} of {len(written)} answers are answers"
    return {
        "planned_for": changed,
        "promise": step["promise"],
        "tolerance": step["tolerance"],
        "device": report["data"]["device"],
        "compiled": report["data"].get("compiled", []),
        "seconds": spent,
        "steps_s": {name: data["wall_s"] for name, data in done.items()},
        "answers_valid": f"{valid} of {len(written)}",
        "finals": {name: term["final"]["value"] for name, term in report["data"]["terms"].items()},
    }


#: part → (what runs, seconds it may take)
PARTS: Mapping[str, tuple[Callable[[bool], Found], int]] = {
    "card": (card, 60),
    "eight_ball": (eight_ball, 120),
    "memory": (memory, 45),
    "judged": (judged, 60),
    "kd_step": (kd_step, 200),
    "precision": (precision, 60),
    "smollm2": (smollm2, 60),
    "resume": (resume, 45),
    "rounding": (rounding, 45),
    "repeated": (repeated, 45),
    "apart": (apart, 45),
}


def readable(results: Mapping[str, Found]) -> str:
    """The results as Markdown."""
    lines = ["# Device check", ""]
    for name, found in results.items():
        seconds = found.get("wall_s", 0.0)
        lines += [f"## {name}: {found['outcome']} ({seconds:.0f} s)", ""]
        if found["outcome"] != "done":
            lines += ["```", *str(found.get("why", "")).splitlines()[-15:], "```", ""]
            continue
        if name == "kd_step":
            lines += _table(found["found"])
            continue
        lines += [f"- {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in found["found"].items()]
        lines.append("")
    return "\n".join(lines)


def _table(found: Found) -> list[str]:
    lines = [found["size"], "", "| V | step | tokens/s | times ours | memory GB | share of peak | loss |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for vocabulary, rows in found.items():
        if vocabulary == "size":
            continue
        ours = rows["ours"]
        for name, row in rows.items():
            if "seconds" not in row:
                lines.append(f"| {vocabulary} | {name} | {row['failed']} | | | | |")
                continue
            rise, share = row.get("rise"), row.get("share_of_peak")
            lines.append(
                f"| {vocabulary} | {name} | {row['tokens_per_second']:.0f} | {ours['seconds'] / row['seconds']:.2f} "
                f"| {'' if rise is None else f'{rise / 1e9:.2f}'} | {'' if share is None else f'{share:.1%}'} "
                f"| {row['loss']:.5f} |"
            )
    return [*lines, ""]


def carried_out(name: str, tiny: bool, limit: float) -> Found:
    """One part in a process of its own."""
    begin = time.perf_counter()
    words = [sys.executable, __file__, "--part", name, *(["--tiny"] if tiny else [])]
    # of a library that finds the network gone, no answer comes for minutes
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "found.json"
        try:
            done = subprocess.run(
                [*words, "--into", str(place)], env=env, capture_output=True, text=True, timeout=limit
            )
            said = done.stdout[-2000:] + done.stderr[-4000:]
        except subprocess.TimeoutExpired as over:
            said = f"not done after {limit:.0f} s\n{str(over.stderr or '')[-2000:]}"
        whole = place.is_file()
        result: Found = {"outcome": "done", "found": json.loads(place.read_text())} if whole else {"outcome": "failed"}
    if not whole:
        result["why"] = said
    return {**result, "wall_s": time.perf_counter() - begin}


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--tiny", action="store_true", help="on the CPU, with small sizes")
    asked.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    asked.add_argument("--seconds", type=float, default=470.0, help="all parts together")
    asked.add_argument("--part", help=argparse.SUPPRESS)
    asked.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.part:
        found = PARTS[given.part][0](given.tiny)
        given.into.write_text(json.dumps(found), encoding="utf-8")
        return 0
    out = Path(os.environ.get("OUT") or tempfile.mkdtemp(prefix="device-"))
    out.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    results: dict[str, Found] = {}
    for name in given.only:
        left = given.seconds - (time.perf_counter() - begin)
        if left < 15:
            results[name] = {"outcome": "left out", "why": "the time of all parts is used up"}
        else:
            results[name] = carried_out(name, given.tiny, min(PARTS[name][1], left))
        text = readable({name: results[name]})
        print(text.partition("\n\n")[2], flush=True)
        (out / "device.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
        (out / "device.md").write_text(readable(results), encoding="utf-8")
    print(f"{time.perf_counter() - begin:.0f} s; written to {out}")
    return int(any(found["outcome"] != "done" for found in results.values()))


if __name__ == "__main__":
    sys.exit(main())

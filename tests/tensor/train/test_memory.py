"""Memory is what the formula says, is measured, and where it is not enough the refusal names what is."""

from __future__ import annotations

import multiprocessing
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from runtime.contract import Refusal, footprint
from runtime.contract.peak import Peak
from runtime.machine import scarce
from runtime.models import build
from runtime.models.gauge import Gauge
from runtime.train import memory
from runtime.train.distill import train
from runtime.train.memory import Room
from runtime.train.place import Place
from tests.longer import longer
from tests.tensor.train import short_of_memory, test_passes, world

LINUX = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the kernel keeps no highest value")
MB = 1_000_000
ROOM_BYTES = 480 * MB


def kept(family: str, ways: dict[str, Any], *, packed: bool = False, tokens: int = 192, floats: Any = "fp32") -> int:
    """Bytes that autograd holds between forward and backward, the model's own weights left out."""
    shape = world.architecture(
        family=family, hidden_size=64, intermediate_size=240, num_hidden_layers=6, max_position_embeddings=512
    )
    model = build.build(shape, 1, attention="sdpa").train()
    if ways.get("checkpointed"):
        model.gradient_checkpointing_enable({"use_reentrant": False})
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    held: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    positions = {"position_ids": torch.arange(tokens // 2).repeat(2)[None].expand(4, -1)} if packed else {}
    place = Place(torch.device("cpu"), floats)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), place.trunk():
        model.base_model(input_ids=torch.full((4, tokens), 5), use_cache=False, **positions)
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "phi", "phi3", "gemma", "gemma2", "gemma3_text"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("floats", ["fp32", "bf16"])
def test_the_formula_counts_what_autograd_keeps(family: str, packed: bool, floats: str) -> None:
    """Within a tenth: norms keep a number of each token, and the last norm is of no layer."""
    shape = world.architecture(
        family=family, hidden_size=64, intermediate_size=240, num_hidden_layers=6, max_position_embeddings=512
    )
    half = floats == "bf16"
    said = footprint.activations(shape, 4 * 192, length=192 * packed, half=half, row=192)
    # the weights of the layers, in the floats of their products
    said += 2 * (build.count(build.build(shape, 1)) - shape.vocab_size * shape.hidden_size) * half
    assert 1.0 <= kept(family, {}, packed=packed, floats=floats) / said < 1.1


def test_checkpointed_layers_keep_their_input_alone() -> None:
    """And the same gradient comes of computing each of them once more."""
    plain, checkpointed = kept("llama", {}), kept("llama", {"checkpointed": True})
    assert checkpointed < plain / 6
    found, forwards = [], []
    for again in (False, True):
        model = build.build(world.architecture(num_hidden_layers=3), 1, attention="sdpa").train()
        if again:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        counted: list[int] = []
        for layer in model.base_model.layers:
            layer.mlp.register_forward_pre_hook(lambda *_given, counted=counted: counted.append(1))
        model.base_model(input_ids=torch.arange(60)[None], use_cache=False).last_hidden_state.pow(2).sum().backward()
        forwards.append(len(counted))
        found.append([parameter.grad for parameter in model.base_model.parameters()])
    assert forwards == [3, 6]
    for left, right in zip(*found, strict=True):
        assert torch.equal(left, right)


class Forwards(TorchDispatchMode):
    """Counts how often a layer's activation is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket is torch.ops.aten.silu
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("ways", "times"), [({}, 2), ({"gradient_checkpointing": True}, 16), ({"micro_batch": 16}, 8)])
def test_the_setting_of_a_stage_is_not_ignored(ways: dict[str, Any], times: int) -> None:
    """Two layers, two groups of rows, and a teacher of one layer that is looked up. A step at which the gradients of three terms are measured
    computes a graph for each of them where it must not be kept, and each graph twice where layers are checkpointed."""
    with Forwards() as seen:
        test_passes.step(**ways)
    with Forwards() as asked:
        test_passes.taught()
    assert seen.count - asked.count == 2 * times


@LINUX
def test_the_highest_growth_is_seen_after_it_is_gone() -> None:
    gauge = Gauge(torch.device("cpu"))
    block = torch.ones(30 * MB)
    del block
    found = gauge.most()
    later = Gauge(torch.device("cpu")).most()
    assert found is not None
    assert later is not None
    assert 100 * MB < found < 160 * MB
    assert later < 20 * MB
    assert gauge.device() is None


def test_what_the_kernel_does_not_say_is_not_known(tmp_path: Path) -> None:
    assert Gauge(torch.device("cpu"), tmp_path / "none", tmp_path / "none" / "none").most() is None


def test_a_process_that_was_larger_before_and_cannot_forget_it_is_looked_at(tmp_path: Path) -> None:
    """The kernel's highest value is of what came before; what is held in between is seen, and stays after it is gone."""
    status = tmp_path / "status"
    status.write_text("VmHWM:\t  9000000 kB\nVmRSS:\t 1000000 kB\n")
    gauge = Gauge(torch.device("cpu"), status, tmp_path / "none" / "none")
    assert gauge.most() == 0
    status.write_text("VmHWM:\t  9000000 kB\nVmRSS:\t 1200000 kB\n")
    time.sleep(0.2)
    status.write_text("VmHWM:\t  9000000 kB\nVmRSS:\t 1100000 kB\n")
    time.sleep(0.1)
    gauge.close()
    assert gauge.most() == 200_000 * 1024
    status.write_text("VmHWM:\t  9000000 kB\nVmRSS:\t 1300000 kB\n")
    assert gauge.most() == 300_000 * 1024, "asked again, it looks again"


@LINUX
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux alone")
@longer
def test_want_of_memory_is_a_refusal_and_its_advice_works(base: dict[str, Path], tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.tensor.train.killed", "tests.tensor.train.short_of_memory"])

    def ends_with(name: str, **ways: Any) -> int | None:
        process = context.Process(target=short_of_memory.run, args=(base, tmp_path / name, ROOM_BYTES, ways))
        process.start()
        process.join()
        return process.exitcode

    assert ends_with("whole") == short_of_memory.REFUSED
    code, message, action = (tmp_path / "whole/refused").read_text().split("\n")
    assert code == "KR0133"
    assert "not enough memory for this training: it had" in message
    rows = re.fullmatch(r"set micro_batch: (\d+) for this stage, which changes no gradient", action)
    assert rows, action
    assert 1 < int(rows[1]) < 600
    assert ends_with("as-advised", micro_batch=int(rows[1])) == 0

    """A model of this size takes less than the libraries are allowed."""
    stage = world.Stage(tmp_path, base)
    train(base, world.params(steps=2), stage)
    said = re.search(r"; (\d+) MB of memory at most, ([+-]\d+)% from the (\d+) MB of the formula$", stage.said[-1])
    assert said, stage.said
    took, error, formula = (int(one) for one in said.groups())
    assert formula >= footprint.USED_LIBRARIES / MB
    assert abs(took / formula - 1 - error / 100) < 0.02
    assert error <= 25


def test_memory_that_nobody_measured_is_not_said_to_be_none(tmp_path: Path) -> None:
    one = room()
    one.gauge = Gauge(torch.device("cpu"), tmp_path / "none", tmp_path / "none" / "none")
    one.widest = lambda: (90, 80)
    one.close()
    assert one.told().startswith("memory was not measured on this system; by the formula ")
    assert one.peak() == Peak(before=None, host=None, device=None, at="host", estimated=one.training(90, 90, 80).peak())


def test_what_comes_after_a_training_is_not_measured(tmp_path: Path) -> None:
    one, status = room(), tmp_path / "status"
    status.write_text("VmHWM:\t  1000000 kB\nVmRSS:\t 1000000 kB\n")
    one.gauge = Gauge(torch.device("cpu"), status, tmp_path / "none" / "none")
    status.write_text("VmHWM:\t  1300000 kB\nVmRSS:\t 1000000 kB\n")
    before = one.peak()
    one.close()
    status.write_text("VmHWM:\t  1900000 kB\nVmRSS:\t 1900000 kB\n")
    assert before.host == one.peak().host == 300_000 * 1024


def test_the_largest_pass_is_kept() -> None:
    """One of eight rows is as wide as its longest, and no wider than the batch."""
    whole, parts = test_passes.trained(), test_passes.trained(micro_batch=8)
    assert parts.widest == 8 * test_passes.LONGEST
    assert whole.widest == whole.positions
    assert 0 < parts.widest_supervised < whole.widest_supervised


ROOM = {"batch_size": 64, "chunk_tokens": 128, "losses": world.terms(kl=1.0), "needs_teacher": True}


def room(**ways: Any) -> Room:
    found = Room(world.params(**(ROOM | ways)), 90, torch.device("cpu"))
    found.parameters = 100_000
    return found


def safe(one: Room, rows: int) -> int:
    """Bytes with which so many rows are advised."""
    least, peak = (one.training(many * 90, 90, many * 90).peak() for many in (1, rows))
    return round(least * memory.SLACK + (peak - least) * memory.SPARE)


@longer
def test_as_little_as_possible_is_changed() -> None:
    """On both sides of each border, by the formula."""
    one = room()

    def takes(rows: int, **ways: Any) -> int:
        return safe(room(**ways), rows)

    assert one.advice(takes(5)) == "set micro_batch: 5 for this stage, which changes no gradient"
    assert one.advice(takes(5) - 1).startswith("set micro_batch: 4 for")
    assert one.advice(takes(1)).startswith("set micro_batch: 1 for")
    again = one.advice(takes(1) - 1)
    assert "gradient_checkpointing: true" in again
    least = takes(1, gradient_checkpointing=True)
    assert one.advice(least).startswith("set micro_batch: 1, gradient_checkpointing: true for")
    assert one.advice(least - 1).startswith("set micro_batch: 1, gradient_checkpointing: true, chunk_tokens: 16 for")
    least = takes(1, gradient_checkpointing=True, chunk_tokens=16)
    assert one.advice(least - 1).startswith("even one row at a time")
    # what is set already is not advised
    assert room(micro_batch=4).advice(takes(4) - 1).startswith("set micro_batch: 3 for")
    assert room(micro_batch=1).advice(takes(1) - 1).startswith("set gradient_checkpointing: true for")


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_other_errors_are_not_explained_away(error: Exception, known: bool) -> None:
    with pytest.raises(Refusal if known else type(error)), room().enough():
        raise error


@pytest.mark.parametrize(("rows", "known"), [(100_000, True), (1, False)])
def test_doubtful_words_are_of_memory_where_the_pass_does_not_fit(
    rows: int, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """oneDNN says no more where it finds no memory than where its code generator fails."""
    monkeypatch.setattr(scarce, "limits", lambda: [scarce.Limit("`ulimit -v`", 10**10, 2 * 10**9)])
    with pytest.raises(Refusal if known else RuntimeError), room(micro_batch=rows, batch_size=100_000).enough():
        raise RuntimeError("could not create a primitive")


@longer
def test_memory_that_nobody_measured_is_not_advised_by(tmp_path: Path) -> None:
    """The next setting that takes less, until there is none."""
    one, said = {"micro_batch": 4}, []
    for _ in range(5):
        there = room(**one)
        there.gauge = Gauge(torch.device("cpu"), tmp_path / "none", tmp_path / "none" / "none")
        with pytest.raises(Refusal) as caught, there.enough():
            raise MemoryError
        assert caught.value.message == "there is not enough memory for this training (MemoryError)"
        said.append(caught.value.action)
        if found := re.match(r"set (\w+): (\w+) for this stage", caught.value.action):
            one[found[1]] = found[2] == "true" or int(found[2])
    assert one == {"micro_batch": 1, "gradient_checkpointing": True, "chunk_tokens": 16}
    assert said[-1].startswith("even one row at a time")


def test_a_teacher_that_is_trained_here_has_no_part_of_a_batch() -> None:
    """What is advised are keys of its source."""
    one = Room(world.params(**ROOM), 90, torch.device("cpu"), whole=True)
    one.parameters = 100_000

    def takes(rows: int) -> int:
        return safe(one, rows)

    assert one.advice(takes(5)) == "set batch_size: 5 for the teacher, which trains it otherwise"
    assert one.advice(takes(5) - 1).startswith("set batch_size: 4 for")
    assert one.advice(takes(1) - 1).startswith("even one row at a time takes about ")
    assert one.advice(None).startswith("set batch_size: 32 for the teacher, or less")


def test_an_attempt_that_the_kernel_ended_is_told_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = tmp_path / "memory.events"
    monkeypatch.setattr(memory, "_EVENTS", (tmp_path / "none", events))
    events.write_text("low 0\noom 3\noom_kill 2\n")
    assert not memory.killed_before(tmp_path)
    assert not memory.killed_before(tmp_path)
    events.write_text("low 0\noom 4\noom_kill 3\n")
    assert memory.killed_before(tmp_path)
    assert not memory.killed_before(tmp_path)
    (tmp_path / "memory.json").write_text("torn")
    assert not memory.killed_before(tmp_path)
    events.unlink()
    assert not memory.killed_before(tmp_path)

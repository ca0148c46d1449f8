"""Where a training computes and in which floats; what stays float32; what a device that is not here is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from runtime import catalog
from runtime.contract import Loss, Refusal
from runtime.contract.conditions import FACTS
from runtime.machine import devices
from runtime.models import build, device
from runtime.train import head, onepass
from runtime.train import place as places
from runtime.train.batches import Group
from runtime.train.distill import fit
from runtime.train.objective import Bound, Choices, Side
from runtime.train.place import Place
from runtime.train.teaching import hidden_of
from tests.longer import also, longer
from tests.tensor.train import world

META = torch.device("meta")


def trained(stage: Path, taught: dict[str, Path], **changes: Any) -> dict[str, Any]:
    out = world.Stage(stage, taught)
    fit(taught, world.params(losses=world.terms(kl=0.6, ce_truth=0.4), needs_teacher=True, **changes), out, made_by="t")
    data: dict[str, Any] = out.reports["report"]["data"]
    return data


@longer
def test_bf16_learns_what_float32_learns_within_the_tolerance_and_says_so(
    taught: dict[str, Path], tmp_path: Path
) -> None:
    plain = trained(tmp_path / "fp32", taught, steps=30)
    half = trained(tmp_path / "bf16", taught, steps=30, precision="bf16")
    assert (plain["device"], plain["precision"], plain["promise"]) == ("cpu", "fp32", "bitwise")
    assert (half["device"], half["precision"], half["promise"]) == ("cpu", "bf16", "statistical")
    step = catalog.load("steps", "train")
    assert step.promise_of(world.params(precision="bf16")) == "statistical"
    assert step.tolerance.apart(plain, half) == []
    final = [one["terms"]["kl"]["final"]["value"] for one in (plain, half)]
    assert final[0] != final[1]
    # weights are kept in float32, and are no bfloat16 numbers: what a step adds is not lost to three digits
    weights = build.load(tmp_path / "bf16/checkpoint").state_dict()
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    lost = [
        tensor for name, tensor in weights.items() if "proj" in name and torch.equal(tensor, tensor.bfloat16().float())
    ]
    assert lost == []


def test_hidden_states_are_computed_in_half_precision_and_handed_on_in_float32(taught: dict[str, Path]) -> None:
    model = build.load(taught["teacher"])
    ids_BT = torch.arange(3, 35)[None]
    group = Group(ids_BT, torch.arange(31), 1, 32)
    seen: list[torch.dtype] = []
    model.model.layers[0].mlp.up_proj.register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    with torch.no_grad():
        whole = hidden_of(model, [group], Place(torch.device("cpu")))
        half = hidden_of(model, [group], Place(torch.device("cpu"), "bf16"))
    assert seen == [torch.float32, torch.bfloat16]
    assert (whole.dtype, half.dtype) == (torch.float32, torch.float32)
    assert 0 < float((whole - half).abs().max()) < 0.05


class Trunk(nn.Module):
    """A model as far as `hidden_of` knows one."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(world.VOCAB, 32, device=META)
        self.base_model = self.read

    def read(self, input_ids: torch.Tensor, use_cache: bool) -> Any:
        assert not use_cache
        return type("Output", (), {"last_hidden_state": self.embedding(input_ids)})


def losses() -> list[Loss]:
    return [catalog.load("losses", name) for name in catalog.names("losses")]


@pytest.mark.parametrize("loss", losses(), ids=lambda loss: loss.name)
def test_a_loss_works_where_its_tensors_are(loss: Loss) -> None:
    """On `meta` every tensor that a loss makes elsewhere is an error; so would it be on a card."""
    params = loss.params()
    # of attention maps: heads and keys of each token
    shape = (5, 3, 7) if "attention" in loss.needs else (5, 2) if loss.head else (5, 7)
    student_NV, target_N = torch.empty(shape, device=META), torch.empty(5, dtype=torch.long, device=META)
    given = torch.empty(shape, device=META) if loss.needs - {"text"} else None
    kinds = {"id": torch.long, "flag": torch.float32, "number": torch.float32}
    facts = {name: torch.empty(5, dtype=kinds[FACTS[name].kind], device=META) for name in loss.facts}
    more = {"facts": facts} if facts else {}
    found = loss.value(student_NV, given, target_N, params, **more)
    assert (found.device, found.shape) == (META, (5,))
    if loss.gradient is not None:
        value, gradient = loss.gradient(student_NV, given, target_N, params, **more)
        assert (value.device, gradient.device, gradient.shape) == (META, META, shape)


def test_the_whole_loss_path_works_where_its_tensors_are() -> None:
    """Trunk, head, choices and terms on `meta`; masks alone stay on the host. (Of a trunk of Transformers the mask of
    padded rows looks at numbers, which `meta` has none of.)"""
    model = Trunk()
    ids_BT, places_N = torch.ones(2, 9, dtype=torch.long), torch.arange(12)
    group = Group(ids_BT, places_N, 2, 18)
    hidden_NH = hidden_of(model, [group], Place(META))  # type: ignore[arg-type]
    layer = nn.Linear(32, world.VOCAB, bias=False, device=META)
    mask_N = torch.arange(12) % 3 != 0
    choices = Choices(torch.zeros(12, 4, dtype=torch.long, device=META), torch.zeros(12, 4, device=META))
    assert choices[torch.arange(3)].ids_NM.device == META
    batch = onepass.Batch(
        teacher=Side(torch.empty(12, 32, device=META), layer),
        target_N=torch.ones(12, dtype=torch.long, device=META),
        masks_N={"response": mask_N},
        denominators={"response": 8},
    )
    terms = [
        Bound(term, catalog.load("losses", term.term), catalog.load("losses", term.term).params())
        for term in world.terms(kl=0.6, ce_truth=0.4)
    ]
    whole, values_K = onepass.total(hidden_NH, layer, batch, terms, [0.6, 0.4], 16)
    assert (whole.device, values_K.device, values_K.shape) == (META, META, (2,))


def test_a_scaled_loss_moves_weights_where_its_gradient_is_finite_and_lowers_its_factor_where_it_is_not() -> None:
    place = Place(torch.device("cpu"), "fp16-mixed")
    scaling, layer = place.scaling(), nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    before, factor = layer.weight.detach().clone(), scaling.factor

    def backward(value: float) -> None:
        optimizer.zero_grad()
        (layer(torch.full((1, 2), value)).sum() * scaling.factor).backward()
        scaling.unscale(optimizer)

    assert factor > 1
    backward(torch.inf)
    assert scaling.excuses()
    scaling.step(optimizer)
    assert torch.equal(layer.weight, before)
    assert scaling.factor == factor / 2
    kept = scaling.state()
    backward(1.0)
    assert layer.weight.grad is not None
    assert torch.equal(layer.weight.grad, torch.ones(1, 2))
    scaling.step(optimizer)
    assert torch.allclose(layer.weight, before - 0.1)
    again = place.scaling()
    again.restore(kept)
    assert again.factor == factor / 2
    assert Place(torch.device("cpu")).scaling().state() == {}


@pytest.mark.parametrize("micro_batch", [also(None), 3])
def test_a_run_in_float16_learns_what_float32_learns(
    base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro_batch: int | None
) -> None:
    """The compiler plans this on CUDA alone; the arithmetic is the same on a processor."""

    def of(params: Any, _teacher: str | None = None) -> Place:
        return Place(torch.device("cpu"), params.precision)

    monkeypatch.setattr(places, "of", of)
    found = []
    for precision in ("fp32", "fp16-mixed"):
        out = world.Stage(tmp_path / precision, base)
        fit(base, world.params(steps=12, precision=precision, micro_batch=micro_batch), out, made_by="t")
        found.append(out.reports["report"]["data"])
    assert catalog.load("steps", "train").tolerance.apart(*found) == []
    assert found[1]["steps_skipped"]["n"] == 12
    norms = [[point["gradient_norm"]["value"] for point in one["terms"]["ce_truth"]["curve"]] for one in found]
    assert norms[1] == pytest.approx(norms[0], rel=0.05)


def test_a_device_that_is_not_here_is_refused_in_words_and_never_replaced() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a card")
    step = {"id": "train", "backend": "torch", "params": {"device": "cuda", "teacher_device": "cuda:1"}}
    with pytest.raises(Refusal, match=r"are to run on `cuda`, and torch .* is built without CUDA") as caught:
        devices.require([step])
    assert caught.value.code == "KR0123"
    with pytest.raises(Refusal):
        places.of(world.params(device="cuda"))
    # a forecast goes on: on the machine that is meant the word is another
    assert devices.words()(step)["cuda"] == devices.NOT_HERE
    # what computes nothing asks no device, and a step on the CPU none either
    devices.require([{**step, "backend": "null"}, {**step, "params": {"device": "cpu", "teacher_device": None}}])
    assert "cuda" not in devices.words()({**step, "params": {"device": "cpu"}})


def test_a_card_is_named_by_what_decides_its_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    card = type("Card", (), {"name": "NVIDIA H100 80GB HBM3", "major": 9, "minor": 0})
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: card)
    assert device.words("cuda") == "NVIDIA H100 80GB HBM3 9.0 CUDA 13.0"
    with pytest.raises(Refusal, match=r"torch finds 1 card$"):
        device.words("cuda:1")


def test_a_head_is_rounded_once_a_step_and_its_logits_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor has no product of bfloat16 that returns float32: here its operands are rounded and multiplied as they
    are. What is tried is which operands are, and that nothing else is."""
    seen: list[torch.Tensor] = []

    def product(left: torch.Tensor, right: torch.Tensor, out_dtype: torch.dtype) -> torch.Tensor:
        assert (left.dtype, right.dtype, out_dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
        seen.append(right)
        return left.float() @ right.float()

    monkeypatch.setattr(torch, "mm", product)
    made = torch.Generator().manual_seed(3)
    hidden_NH, weight_VH = torch.randn(5, 8, generator=made), torch.randn(7, 8, generator=made)
    with head.rounded(True):
        logits_NV = head.kernel()(hidden_NH, weight_VH, torch.ones(7))
        back_NH = head.kernel()(logits_NV, weight_VH.t(), None)
        into_VH = torch.ones(7, 8)
        head.add(into_VH, logits_NV, hidden_NH)
    half = [one.bfloat16().float() for one in (hidden_NH, weight_VH, logits_NV)]
    assert torch.equal(logits_NV, half[0] @ half[1].t() + 1)
    assert torch.equal(back_NH, half[2] @ half[1])
    assert torch.equal(into_VH, 1 + half[2].t() @ half[0])
    assert seen[0].data_ptr() == seen[1].data_ptr()
    assert not torch.equal(logits_NV, logits_NV.bfloat16().float())
    with head.rounded(False):
        assert torch.allclose(head.kernel()(hidden_NH, weight_VH, None), hidden_NH @ weight_VH.t())

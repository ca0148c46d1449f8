"""Heads beside the one for words: every function says what the checkpoint's own head says of its own hidden states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from runtime.contract import Refusal
from runtime.contract.heads import FILE
from runtime.models import bc1s, build, chunking, export, goldens, heads, wrapper
from tests.longer import also
from tests.tensor.export.test_bc1s import apart, model_of

LENGTH, CONTEXT = 24, 32
NAMES = ("halt", "self_eval")


def headed(kind: str, folder: Path) -> Any:
    model = model_of(kind, folder)
    heads.attach(model, ["self_eval", "halt"])
    for one in heads.of(model).values():
        torch.nn.init.normal_(one.weight)
        torch.nn.init.normal_(one.bias)
    return model


def ids_of(count: int) -> list[int]:
    return torch.randint(3, 500, (count,), generator=torch.Generator().manual_seed(1)).tolist()


@pytest.mark.parametrize("kind", ["llama", "gemma2", also("phi3"), also("qwen3")])
@pytest.mark.parametrize("profile", ["gpu", "ane"])
def test_prefill_and_decode_say_what_the_checkpoint_says(kind: str, profile: Any, tmp_path: Path) -> None:
    model, ids = headed(kind, tmp_path), ids_of(LENGTH)
    wanted = goldens.reference(model, ids)
    assert set(wanted) == {"logits", "keys", "values", *NAMES}
    for plan in export.planned(model, [LENGTH], CONTEXT, -1e4, profile=profile):
        assert plan.outputs[-2:] == NAMES
        inputs = dict(plan.inputs)
        inputs["input_ids"] = torch.tensor([ids if plan.kind == "prefill" else ids[-1:]], dtype=torch.int32)
        if plan.kind == "decode":
            at = LENGTH - 1
            inputs["position"] = torch.tensor([at], dtype=torch.int32)
            for cache, name in (("key_cache", "keys"), ("value_cache", "values")):
                inputs[cache] = torch.zeros_like(inputs[cache])
                inputs[cache][:, :, :at] = wanted[name][:, :, :at]
        with torch.no_grad():
            if profile == "gpu":
                said = plan.module(*inputs.values())
            else:
                said = bc1s.called(plan.module, bc1s.authored(model), inputs)
        found = dict(zip(plan.outputs, said, strict=True))
        for name in NAMES:
            told = wanted[name] if plan.kind == "prefill" else wanted[name][-1:]
            assert found[name].shape == (1, len(told))
            assert apart(found[name][0], told) < 1e-5, (plan.name, name)


@pytest.mark.parametrize("count", [2, 5])
def test_the_last_chunk_alone_has_them(count: int, tmp_path: Path) -> None:
    model, ids = headed("llama", tmp_path), ids_of(LENGTH)
    wanted, stream = goldens.reference(model, ids), torch.tensor([ids], dtype=torch.int32)
    for chunk in chunking.planned(model, count):
        plan = next(export.planned(model, [LENGTH], CONTEXT, -1e4, chunk=chunk))
        assert (plan.outputs[-2:] == NAMES) == chunk.heads
        assert bool(heads.of(plan.module.model)) == chunk.heads
        fed = [stream, *([torch.ones(1, LENGTH)] if "attention_mask" in plan.inputs else [])]
        with torch.no_grad():
            found = plan.module(*fed)
        stream = found[0]
    assert apart(stream, wanted["logits"]) < 1e-5
    assert apart(found[-2][0], wanted["halt"]) < 1e-5
    assert apart(found[-1][0], wanted["self_eval"]) < 1e-5


def test_an_enumerated_prefill_has_them(tmp_path: Path) -> None:
    model, ids = headed("llama", tmp_path), ids_of(LENGTH)
    plan = next(export.planned(model, [8, LENGTH], CONTEXT, -1e4, "enumerated"))
    with torch.no_grad():
        found = dict(zip(plan.outputs, plan.module(torch.tensor([ids], dtype=torch.int32)), strict=True))
    assert apart(found["halt"][0], goldens.reference(model, ids)["halt"]) < 1e-5


def test_the_logits_are_those_of_the_model_without_them(tmp_path: Path) -> None:
    model, ids = model_of("gemma2", tmp_path), ids_of(LENGTH)
    fed = (torch.tensor([ids], dtype=torch.int32), torch.ones(1, LENGTH))
    with torch.no_grad():
        plain = wrapper.Prefill(model, LENGTH)(*fed)
        heads.attach(model, ["halt"])
        found = wrapper.Prefill(model, LENGTH)(*fed)
    assert len(found) == len(plain) + 1
    assert all(torch.equal(one, other) for one, other in zip(plain, found, strict=False))


def test_a_new_head_is_of_its_seed_and_one_that_is_there_stays(tmp_path: Path) -> None:
    model = headed("llama", tmp_path)
    before = heads.of(model)["halt"].weight.detach().clone()
    heads.attach(model, ["halt"])
    assert torch.equal(heads.of(model)["halt"].weight, before)
    assert heads.names(model) == NAMES
    heads.detach(model)
    assert heads.names(model) == ()
    said = []
    for seed in (3, 3, 4):
        heads.detach(model)
        heads.attach(model, NAMES, seed)
        said += [goldens.reference(model, ids_of(4))[name] for name in NAMES]
    assert torch.equal(said[0], said[2])
    assert not torch.equal(said[0], said[1])
    assert not torch.equal(said[0], said[4])


def test_a_folder_keeps_them_apart_and_transformers_reads_it_without(tmp_path: Path) -> None:
    model = headed("llama", tmp_path / "in")
    build.save(model, tmp_path / "out")
    assert set(load_file(tmp_path / "out" / FILE)) == {
        f"heads.{name}.{part}" for name in NAMES for part in ("weight", "bias")
    }
    plain, info = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert not heads.names(plain)
    again = build.load(tmp_path / "out")
    found, wanted = goldens.reference(again, ids_of(9)), goldens.reference(model, ids_of(9))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    build.save(again, tmp_path / "again")
    assert (tmp_path / "again" / FILE).read_bytes() == (tmp_path / "out" / FILE).read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda held: held.update({"heads.mood.weight": torch.zeros(1, 4)}), "a head that is called `mood`"),
        (lambda held: held.update({"heads.halt.weight": torch.zeros(1, 3)}), "does not hold a weight of"),
        (lambda held: held.pop("heads.halt.bias"), "does not hold a weight of"),
        (lambda held: held["heads.halt.bias"].fill_(float("nan")), "heads.halt.bias is not finite"),
    ],
)
def test_a_file_of_something_else_is_refused(change: Any, said: str, tmp_path: Path) -> None:
    build.save(headed("llama", tmp_path / "in"), tmp_path / "out")
    held = load_file(tmp_path / "out" / FILE)
    change(held)
    save_file(held, tmp_path / "out" / FILE)
    with pytest.raises(Refusal, match=said):
        build.load(tmp_path / "out")

"""A student in chunks gives, bit for bit, what it gives in one piece; its packages hold each tensor where the contract
says, are the same bytes whenever they are made, and each fault of a chunk is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedModel

from runtime import digest
from runtime.contract import BrokenEvidence, Refusal
from runtime.contract import program as contracts
from runtime.contract.authoring import Profile
from runtime.contract.chunks import HIDDEN
from runtime.contract.recipe import Recipe
from runtime.mil import held, pieces
from runtime.mil.golden import goldens_of
from runtime.mil.kept import Kept
from runtime.mil.lazy import LazyTensors
from runtime.mil.loop import Host
from runtime.mil.verify import _provenance, read_back
from runtime.models import bc1s, build, chunking, export
from tests.longer import also, longer
from tests.tensor.coreml.conftest import CONVERT, EXPORT, RECIPE, Converted, converted_again
from tests.tensor.coreml.test_verify import PARAMS
from tests.tensor.export.world import Stage, architecture, checkpoint

ISLANDS = ["rms_norm"]
EVERY = ["rms_norm", "residual", "softmax", "logits"]
RECIPES: dict[str, Recipe | None] = {"fp16": None, "quantized": RECIPE}
PREFIX = [5, 77, 130, 9, 41]


def split(
    checkpoint: Path, of: contracts.Contract, root: Path, count: int, profile: Profile = "gpu", **changes: Any
) -> Stage:
    """A checkpoint exported and converted in chunks, the rest of its contract taken from one in one piece."""
    program = root / "program"
    program.mkdir(parents=True)
    params = EXPORT.model_copy(update={"chunks": count, "prefill": [16], "profile": profile})
    model = build.load(checkpoint)
    functions, linted = export.programs(model, params, program, lambda _done, _name: None)
    assert not any(findings for _, findings in linted.values())
    made = bc1s.authored(model) if profile == "ane" else None
    (program / "contract.json").write_text(
        contracts.dump(of.model_copy(update={"functions": functions, "authoring": made, "tensors": held_of(model)}))
    )
    return converted_again(program, root, CONVERT.model_copy(update=changes))


def held_of(model: PreTrainedModel) -> list[contracts.Stored]:
    """The tensors of a checkpoint, as its contract has them."""
    state = dict(model.named_parameters())
    aliases = export.aliases_of(model).items()
    return [contracts.Stored(name=name, aliases=others, shape=list(state[name].shape)) for name, others in aliases]


@pytest.fixture(scope="module")
def whole(converted: Converted) -> Path:
    """In one piece."""
    return converted.stage.root


@pytest.fixture(scope="module")
def chunked(converted: Converted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embedding and first layer, second layer, norm and head: each kind of chunk."""
    of = contracts.load(converted.program)
    return split(converted.takes["checkpoint"], of, tmp_path_factory.mktemp("chunked"), 3).root


def opened(root: Path, variant: str) -> tuple[contracts.Contract, pieces.Opened]:
    contract = contracts.load(root / "package")
    return contract, pieces.opened(root / ("float32" if variant == "float32" else "package"), variant, contract)


def host(root: Path, variant: str) -> Host:
    contract, found = opened(root, variant)
    mode: Any = "exact32" if variant == "float32" else "fp16_round"
    return Host(pieces.interpreted(found, contract, mode, check=False), contract)


def sections(
    root: Path, checkpoint: Path, contract: contracts.Contract | None = None, islands: Sequence[str] = ISLANDS
) -> dict[str, Any]:
    held = contracts.load(root / "package")
    found = {variant: pieces.opened(root / "package", variant, held) for variant in RECIPES}
    tensors = LazyTensors(checkpoint / "model.safetensors")
    return read_back(found, contract or held, RECIPES, islands, tensors)


# what they compute


@pytest.mark.parametrize("variant", ["quantized", also("fp16"), also("float32")])
def test_chunks_give_what_one_package_gives(variant: str, whole: Path, chunked: Path) -> None:
    mine, other = host(chunked, variant), host(whole, variant)
    found, wanted = (one.decode(PREFIX, 3, [7, 8, 9]) for one in (mine, other))
    np.testing.assert_array_equal(np.stack(found.logits), np.stack(wanted.logits))
    for one, same in ((found.keys, wanted.keys), (found.values, wanted.values)):
        np.testing.assert_array_equal(one[:, :, : len(PREFIX) + 3], same[:, :, : len(PREFIX) + 3])


@longer
def test_states_of_chunks_are_those_of_their_layers(converted: Converted, chunked: Path, tmp_path: Path) -> None:
    """The program is that of the chunks; the state of a text is that of all of its packages."""
    of = contracts.load(converted.program)
    shutil.copytree(chunked / "program", tmp_path / "program")
    params = CONVERT.model_copy(update={"cache": "state"})
    root = converted_again(tmp_path / "program", tmp_path, params).root
    contract = contracts.load(root / "package")
    shape = [1, of.kv_cache.heads, of.kv_cache.context, of.kv_cache.head_dim]
    decode = contract.functions["decode"].pieces or []
    assert [[value.shape for value in piece.states or ()] for piece in decode] == [[shape] * 2, [shape] * 2, []]
    mine, other = host(root, "quantized"), host(chunked, "quantized")
    texts = [Kept(mine.runs, mine.contract, np.float16) for _ in range(2)]
    wanted = other.decode(PREFIX, 3, [7, 8, 9])
    for text, ids in zip(texts, (PREFIX, [3, 4]), strict=True):
        text.begin("prefill_16", ids)
    for at, token in enumerate([7, 8, 9]):
        # of two texts in turn each is read as if it were alone
        texts[1].step(token)
        logits = texts[0].step(token).outputs["logits"][0, 0]
        np.testing.assert_array_equal(logits, wanted.logits[at + 1])
    assert texts[0].keys_LHCD.shape[0] == of.kv_cache.layers
    assert sections(root, converted.takes["checkpoint"])["interface"]["violations"]["value"] == 0


def test_golden_vectors_hold_through_the_chunks(converted: Converted, chunked: Path) -> None:
    mine = host(chunked, "fp16")
    index, goldens = goldens_of(converted.takes["goldens"], mine.contract)
    case = next(one for one in index["prefill_16"] if int(one["length"]) < 16)
    at, real = f"prefill_16/{case['case']}", int(case["length"])
    found = mine.prefill("prefill_16", goldens[f"{at}/input_ids"][0, :real].tolist()).outputs
    wanted = goldens[f"{at}/logits"][0]
    assert np.abs(found["logits"][0, :real] - wanted).max() < 0.005 * np.abs(wanted).max()


def test_chunks_that_do_not_fit_in_memory_together_keep_no_large_constant(
    chunked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them would."""
    contract, found = opened(chunked, "fp16")
    single = max(held.bytes_of(one.functions["decode"]) for one in found.values())
    assert pieces.streams(found) is None
    monkeypatch.setattr(held, "is_too_much", lambda size: size > single)
    made = pieces.interpreters(found, contract, check=False)
    assert all(one.streamed for of_one in made.values() for one in of_one)
    streamed = Host(pieces.functions(contract, made), contract).decode(PREFIX, 1, [7])
    wanted = host(chunked, "fp16").decode(PREFIX, 1, [7])
    np.testing.assert_array_equal(np.stack(streamed.logits), np.stack(wanted.logits))
    assert pieces.streams({"": found["chunk_1"]}) is None, "one package decides for itself"


# what they hold


def test_every_tensor_and_island_is_read_back_from_the_chunk_that_holds_it(converted: Converted, chunked: Path) -> None:
    found = sections(chunked, converted.takes["checkpoint"])
    assert {name: part["violations"]["value"] for name, part in found.items()} == dict.fromkeys(found, 0)
    assert found["recipe"]["quantized_tensors"]["value"] == (15 + 1) * 2, "the tied embedding is at both ends"
    contract = contracts.load(chunked / "package")
    held = [set((piece.parameters or {}).values()) for piece in contract.functions["decode"].pieces or ()]
    embedding = {"model.embed_tokens.weight"}
    assert held[0] & held[1] == set()
    assert held[0] & held[2] == embedding
    assert set.union(*held) == {tensor.name for tensor in contract.tensors}
    assert [piece.layers for piece in contract.functions["decode"].pieces or ()] == [(0, 1), (1, 2), (2, 2)]


@longer
def test_chunks_written_for_the_neural_engine_hold_the_golden_vectors(converted: Converted, tmp_path: Path) -> None:
    """Each is fed the masks and angles that its own layers need, and hands on what every chunk does."""
    of = contracts.load(converted.program)
    root = split(converted.takes["checkpoint"], of, tmp_path / "ane", 3, "ane", islands=["logits"]).root
    found = sections(root, converted.takes["checkpoint"], islands=["logits"])
    assert {name: part["violations"]["value"] for name, part in found.items()} == dict.fromkeys(found, 0)
    mine = host(root, "fp16")
    decode = mine.contract.functions["decode"].pieces or []
    assert [[value.name for value in piece.inputs] for piece in decode] == [
        ["input_ids", "mask", "cos", "sin", "key_cache", "value_cache"],
        ["hidden_states_1", "mask", "cos", "sin", "key_cache", "value_cache"],
        ["hidden_states_2"],
    ]
    assert decode[1].inputs[0].shape == [1, 1, 128]
    index, goldens = goldens_of(converted.takes["goldens"], of)
    case = next(one for one in index["decode"] if one["start"] == "prefill_16" and one["prompt_tokens"] == 15)
    at = f"decode/{case['case']}"
    prompt, tokens = goldens[f"{at}/prompt"][0].tolist(), goldens[f"{at}/tokens"].tolist()
    logits, wanted = mine.decode(prompt, int(case["steps"]), tokens).logits, goldens[f"{at}/logits"]
    assert np.abs(np.stack(logits) - wanted).max() < 0.01 * np.abs(wanted).max()


@longer
def test_chunks_are_the_same_bytes_whenever_they_are_made(converted: Converted, chunked: Path, tmp_path: Path) -> None:
    again = split(converted.takes["checkpoint"], contracts.load(converted.program), tmp_path / "again", 3).root
    for port in ("program", "package", "float32"):
        assert digest.of_folder(again / port) == digest.of_folder(chunked / port)


@longer
def test_islands_are_read_back_from_the_chunks_that_have_them(converted: Converted, tmp_path: Path) -> None:
    """A head that stands alone too: its product is the first one of its graph."""
    of = contracts.load(converted.program)
    root = split(converted.takes["checkpoint"], of, tmp_path / "every", 3, islands=EVERY).root
    found = sections(root, converted.takes["checkpoint"], islands=EVERY)
    assert {name: part["violations"]["value"] for name, part in found.items()} == dict.fromkeys(found, 0)
    # a residual stream that is an island goes on as it is
    handed = [
        value.dtype
        for function in contracts.load(root / "package").functions.values()
        for piece in function.pieces or ()
        for value in (*piece.inputs, *piece.outputs)
        if value.name.startswith(HIDDEN)
    ]
    assert handed == ["float32"] * 2 * 2 * 2
    params = CONVERT.model_copy(update={"islands": EVERY})
    other = converted_again(converted.program, tmp_path / "other", params).root
    mine, wanted = (host(one, "quantized").decode(PREFIX, 3, [7, 8, 9]) for one in (root, other))
    np.testing.assert_array_equal(np.stack(mine.logits), np.stack(wanted.logits))


# what can be wrong


def exchanged(package: Path, variant: str) -> None:
    one, other = (package / f"{variant}.chunk_{number}.mlpackage" for number in (1, 2))
    one.rename(package / "aside")
    other.rename(one)
    (package / "aside").rename(other)


def lost(package: Path, variant: str) -> None:
    shutil.rmtree(package / f"{variant}.chunk_2.mlpackage")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (exchanged, "quantized.chunk_1.mlpackage is not the piece of decode that its contract says"),
        (lost, "quantized.chunk_2.mlpackage is not an .mlpackage folder"),
    ],
)
def test_chunks_that_are_exchanged_or_lost_are_refused_before_anything_runs(
    fault: Callable[[Path, str], None], said: str, chunked: Path, tmp_path: Path
) -> None:
    shutil.copytree(chunked / "package", tmp_path / "package")
    fault(tmp_path / "package", "quantized")
    contract = contracts.load(tmp_path / "package")
    pieces.opened(tmp_path / "package", "fp16", contract)
    with pytest.raises((BrokenEvidence, Refusal), match=said):
        pieces.opened(tmp_path / "package", "quantized", contract)


@pytest.fixture(scope="module")
def strange(converted: Converted, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The chunks of another checkpoint."""

    def made(**changes: Any) -> Path:
        root = tmp_path_factory.mktemp("strange")
        special = {name: one.id for name, one in contracts.load(converted.program).special.items()}
        shape = architecture(num_hidden_layers=2, **changes)
        folder = checkpoint(root / "checkpoint", shape, special, seed=4)
        of = contracts.load(converted.program)
        return split(folder, of, root / "made", 3).root

    return made


def test_a_chunk_of_another_layer_is_found_by_its_values(converted: Converted, chunked: Path, tmp_path: Path) -> None:
    tensors = load_file(converted.takes["checkpoint"] / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"] = tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    found = sections(chunked, tmp_path)["recipe"]["findings"]
    assert {(one["kind"], one["subject"]) for one in found} == {("value", "model.layers.1.mlp.up_proj.weight")}
    assert len(found) == 2 * 2, "float16 and int8, prefill and decode"


@longer
def test_a_chunk_of_another_checkpoint_is_found_by_its_values(
    converted: Converted, chunked: Path, strange: Callable[..., Path], tmp_path: Path
) -> None:
    shutil.copytree(chunked / "package", tmp_path / "package")
    name = "fp16.chunk_2.mlpackage"
    shutil.rmtree(tmp_path / "package" / name)
    shutil.copytree(strange() / "package" / name, tmp_path / "package" / name)
    found = sections(tmp_path, converted.takes["checkpoint"])["recipe"]
    assert found["violations"]["value"] == 9 * 2
    assert {(one["variant"], one["kind"]) for one in found["findings"]} == {("fp16.chunk_2", "value")}
    assert all(one["subject"].startswith("model.layers.1.") for one in found["findings"])


@longer
def test_a_chunk_of_another_width_is_refused(chunked: Path, strange: Callable[..., Path], tmp_path: Path) -> None:
    shutil.copytree(chunked / "package", tmp_path / "package")
    name = "fp16.chunk_2.mlpackage"
    shutil.rmtree(tmp_path / "package" / name)
    shutil.copytree(strange(hidden_size=64) / "package" / name, tmp_path / "package" / name)
    with pytest.raises(BrokenEvidence, match=r"does not take hidden_states_1 \(1, 1, 128\)"):
        pieces.opened(tmp_path / "package", "fp16", contracts.load(tmp_path / "package"))


def changed(contract: contracts.Contract, number: int, **update: Any) -> contracts.Contract:
    """A contract that says something else of one chunk of every function."""
    functions = {}
    for name, function in contract.functions.items():
        every = list(function.pieces or ())
        every[number] = every[number].model_copy(update=update)
        functions[name] = function.model_copy(update={"pieces": every})
    return contract.model_copy(update={"functions": functions})


def test_a_tensor_or_island_that_no_chunk_is_to_hold_is_named(converted: Converted, chunked: Path) -> None:
    contract = contracts.load(chunked / "package")
    second = (contract.functions["decode"].pieces or [])[1].parameters
    node = next(node for node, tensor in second.items() if tensor.endswith("q_proj.weight"))
    fewer = {other: tensor for other, tensor in second.items() if other != node}
    found = sections(chunked, converted.takes["checkpoint"], changed(contract, 1, parameters=fewer))
    missing = [one for one in found["recipe"]["findings"] if one["message"] == "no package is to hold the tensor"]
    assert [one["subject"] for one in missing] == [second[node]] * 2
    asked, none = ["rms_norm", "logits"], {"rms_norm": {}, "logits": {}}
    found = sections(chunked, converted.takes["checkpoint"], changed(contract, 2, modules=none), asked)
    said = [(one["subject"], one["message"]) for one in found["islands"]["findings"]]
    assert said == [("logits", "matches no module")] * 2


def test_a_tensor_in_a_chunk_that_is_not_to_hold_it_is_named(converted: Converted, chunked: Path) -> None:
    contract = contracts.load(chunked / "package")
    first, second = (piece.parameters for piece in (contract.functions["decode"].pieces or [])[:2])
    node = next(node for node, tensor in second.items() if tensor.endswith("q_proj.weight"))
    moved = changed(contract, 0, parameters={**first, node: second[node]})
    fewer = {other: tensor for other, tensor in second.items() if other != node}
    found = sections(chunked, converted.takes["checkpoint"], changed(moved, 1, parameters=fewer))["recipe"]["findings"]
    assert {(one["kind"], one["subject"], one["message"]) for one in found} == {
        ("missing", second[node], "the tensor is nowhere in the function"),
        ("extra", second[node], "the tensor belongs to another package"),
    }


def test_a_package_of_another_number_of_chunks_is_not_the_one_that_was_asked_for(chunked: Path, whole: Path) -> None:
    digests = dict.fromkeys(("checkpoint", "tokenizer"), "sha256:" + "0" * 64)
    params = PARAMS.model_copy(update={"chunks": 2})
    for root, said in ((chunked, "in 3 chunks, not in 2"), (whole, "in 1 chunk, not in 2")):
        problems = _provenance(contracts.load(root / "package"), params, digests)
        assert f"the package was made {said}" in problems


def test_the_plan_counts_what_the_export_makes() -> None:
    """What the compiler derives of an architecture is the split of the checkpoint of it."""
    from kcompiler.facts import chunks

    for shape in (
        architecture(num_hidden_layers=5),
        architecture("gemma2", sliding_window=7, num_hidden_layers=4),
        architecture("phi", num_key_value_heads=4, tie_word_embeddings=False),
    ):
        for count in (2, 4):
            assert chunks.chunks(shape, count) == chunking.planned(build.build(shape, seed=1), count)

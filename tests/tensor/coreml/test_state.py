"""A package that keeps its cache in states gives, bit for bit, what the one gives whose host keeps it; and each fault
of a state is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import catalog, digest
from runtime.asking.packaged import predicted
from runtime.contract import BrokenEvidence, Refusal
from runtime.contract import program as contracts
from runtime.contract.asked import Asked
from runtime.coreml import found
from runtime.coreml.predict import Predictor
from runtime.generate import models
from runtime.mil import crossed, interface_readback, island_readback, package
from runtime.mil.golden import goldens_of
from runtime.mil.interpreter import Interpreter
from runtime.mil.kept import Kept
from runtime.mil.loop import Host
from runtime.mil.parity import cosine
from runtime.mil.quiet import quiet
from runtime.mil.verify import _provenance
from runtime.models import runners
from runtime.models import tokenizer as tokenizers
from tests.longer import also, longer
from tests.tensor.coreml.conftest import CONVERT, Converted, converted_again
from tests.tensor.coreml.standin import Faults, stand_in
from tests.tensor.coreml.test_gates import failing
from tests.tensor.coreml.test_verify import PARAMS
from tests.tensor.mil import tamper

#: which golden decodes are repeated: of a prompt that a shorter prefill could hold, and of one that fills its prefill
PROMPTS = {("prefill_16", 1), ("prefill_16", 16), ("prefill_32", 31)}
PREFIX = [5, 77, 130, 9, 41]


@pytest.fixture(scope="module")
def hosted(converted: Converted, stateful: Converted) -> Callable[[str, str], Host]:
    """(kept by, variant) → the functions of a package, run unchecked."""

    @cache
    def host(by: str, variant: str) -> Host:
        takes = (stateful if by == "state" else converted).takes
        where = takes["float32" if variant == "float32" else "package"] / f"{variant}.mlpackage"
        return of(where, contracts.load(takes["package"]), "exact32" if variant == "float32" else "fp16_round")

    return host


def of(where: Path, contract: contracts.Contract, mode: Any = "fp16_round") -> Host:
    opened = package.open(where)
    return Host({name: Interpreter(opened, name, mode, check=False) for name in contract.functions}, contract)


# what it computes


@pytest.mark.parametrize(("variant", "least"), [also("float32", 0.9999999), ("fp16", 0.9999), ("quantized", 0.999)])
def test_states_give_what_outputs_give_and_what_the_checkpoint_gave(
    variant: str, least: float, converted: Converted, hosted: Callable[[str, str], Host]
) -> None:
    mine, other = hosted("state", variant), hosted("outputs", variant)
    index, goldens = goldens_of(converted.takes["goldens"], mine.contract)
    cases = [one for one in index["decode"] if (one["start"], one["prompt_tokens"]) in PROMPTS]
    assert len(cases) >= len(PROMPTS)
    for case in cases:
        at, steps, start = f"decode/{case['case']}", int(case["steps"]), str(case["start"])
        prompt, tokens = goldens[f"{at}/prompt"][0].tolist(), goldens[f"{at}/tokens"].tolist()
        found, wanted = (host.decode(prompt, steps, tokens, start=start) for host in (mine, other))
        np.testing.assert_array_equal(np.stack(found.logits), np.stack(wanted.logits))
        used = slice(0, len(prompt) + steps)
        for name in ("keys", "values"):
            kept = getattr(found, name)[:, :, used]
            np.testing.assert_array_equal(kept, getattr(wanted, name)[:, :, used])
            assert cosine(goldens[f"{at}/{name}"].astype(np.float64), kept.astype(np.float64)) > least
        assert cosine(goldens[f"{at}/logits"].astype(np.float64), np.stack(found.logits).astype(np.float64)) > least


def test_two_texts_are_read_in_turn_each_in_its_own_state(hosted: Callable[[str, str], Host]) -> None:
    host = hosted("state", "quantized")

    def text(prompt: list[int]) -> tuple[Kept, list[np.ndarray]]:
        one = Kept(host.runs, host.contract, np.float16)
        begun = one.begin(host.shortest(len(prompt)), prompt)
        return one, [begun.outputs["logits"][0, len(prompt) - 1]]

    prompts, alone = [PREFIX, [*PREFIX[::-1], *range(20, 34)]], []
    for prompt in prompts:
        one, logits = text(prompt)
        alone.append([*logits, *(one.step(token).outputs["logits"][0, 0] for token in (7, 8, 9))])
    both = [text(prompt) for prompt in prompts]
    for token in (7, 8, 9):
        for one, logits in both:
            logits.append(one.step(token).outputs["logits"][0, 0])
    for (_, logits), wanted in zip(both, alone, strict=True):
        np.testing.assert_array_equal(np.stack(logits), np.stack(wanted))
    assert not np.array_equal(alone[0][1], alone[1][1])


def test_what_stands_in_slots_that_nobody_used_changes_nothing(hosted: Callable[[str, str], Host]) -> None:
    """An old text's keys, and those of padding."""
    host = hosted("state", "fp16")
    clean, dirty = (Kept(host.runs, host.contract, np.float16) for _ in range(2))
    draw = np.random.default_rng(3)
    for buffer in dirty._slots.state.values():
        buffer[...] = draw.normal(size=buffer.shape).astype(np.float16) * 50
    first, second = (one.begin("prefill_16", PREFIX).outputs["logits"] for one in (clean, dirty))
    np.testing.assert_array_equal(first, second)
    for token in (3, 4):
        first, second = (one.step(token).outputs["logits"] for one in (clean, dirty))
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(clean.keys_LHCD, dirty.keys_LHCD)
    used = slice(0, len(PREFIX) + 2)
    np.testing.assert_array_equal(clean.keys_LHCD[:, :, used], dirty.keys_LHCD[:, :, used])


@pytest.mark.parametrize("by", ["state", also("outputs")])
def test_a_text_ends_with_its_last_slot(by: str, hosted: Callable[[str, str], Host]) -> None:
    host = hosted(by, "quantized")
    text = Kept(host.runs, host.contract, np.float16)
    text.begin("prefill_32", list(range(20, 52)))
    for _ in range(48 - 32):
        text.step(7)
    with pytest.raises(Refusal, match="the cache holds 48 tokens, and all of its slots are taken"):
        text.step(7)


# who reads with it


def test_runners_read_the_same_whoever_keeps_the_cache(
    converted: Converted, stateful: Converted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter's runner, Core ML's (its place taken by one that computes), and what is served."""
    words = tokenizers.load(converted.takes["tokenizer"])
    prompt, reply = "Will it rain today?", "It is certain."
    ids = words.encode_prompt(prompt)
    host, graph = (runners.saved_package("mil", takes["package"], words) for takes in (converted.takes, stateful.takes))
    (wanted,) = host.write([prompt], 4)
    assert len(wanted.ids) > 1
    assert graph.write([prompt], 4) == [wanted]
    assert graph.score([(prompt, reply)]) == host.score([(prompt, reply)])

    faults = Faults()
    monkeypatch.setattr(found, "coreml", lambda: stand_in(faults))
    params = catalog.load("runners", "coreml").params(variant="quantized", compute_units="cpu_and_gpu")
    takes = {"model": stateful.takes["package"], "tokenizer": converted.takes["tokenizer"]}
    ctx: Any = None
    mac = predicted(Asked(name="mac", params=params, takes=takes, ctx=ctx, told=lambda *_: None))
    assert mac.write([prompt], 4) == [wanted]
    assert faults.asked == ["decode"]

    texts = []
    for folder in (converted.takes["package"], stateful.takes["package"]):
        place, logits_V = models.opened("mil", folder, folder).begin(ids)
        texts.append([logits_V, *(place.step(token) for token in wanted.ids)])
    np.testing.assert_array_equal(*map(np.stack, texts))


# what the package is


def test_a_contract_and_a_report_say_who_keeps_the_cache(converted: Converted, stateful: Converted) -> None:
    contract = contracts.load(stateful.takes["package"])
    assert contract.kv_cache.written_by == "graph"
    for function in contract.functions.values():
        assert [(one.name, one.shape, one.dtype) for one in function.states or ()] == [
            ("key_cache", [2, 2, 48, 32], "float16"),
            ("value_cache", [2, 2, 48, 32], "float16"),
        ]
        assert [one.name for one in function.outputs] == ["logits"]
    (decode,) = (one for one in stateful.stage.reports["report"]["data"]["functions"] if one["function"] == "decode")
    assert [one["name"] for one in decode["inputs"]] == ["input_ids", "position"]
    assert [one["name"] for one in decode["states"]] == ["key_cache", "value_cache"]
    # where the host keeps it, nothing has changed
    text = (converted.takes["package"] / "contract.json").read_text()
    assert json.loads(text)["kv_cache"]["written_by"] == "host"
    assert '"states"' not in text


def test_weights_are_stored_as_before(converted: Converted, stateful: Converted) -> None:
    for variant in ("fp16", "quantized"):
        one, other = (takes["package"] / f"{variant}.mlpackage" for takes in (converted.takes, stateful.takes))
        mine, theirs = (sorted(package.open(path).weights("decode"), key=lambda w: w.name) for path in (one, other))
        assert [(w.name, w.dtype, w.shape) for w in mine] == [(w.name, w.dtype, w.shape) for w in theirs]


def test_a_package_that_was_made_with_another_cache_is_no_evidence(converted: Converted, stateful: Converted) -> None:
    digests = {port: digest.of_folder(converted.takes[port]) for port in ("checkpoint", "tokenizer")}
    asked = {"outputs": PARAMS, "state": PARAMS.model_copy(update={"cache": "state"})}

    def why(made: Converted, cache: str) -> list[str]:
        return _provenance(contracts.load(made.takes["package"]), asked[cache], digests)

    assert why(converted, "outputs") == why(stateful, "state") == []
    assert why(converted, "state") == ["the package's cache is written by the host"]
    assert why(stateful, "outputs") == ["the package's cache is written by the graph"]


def test_both_loaders_read_the_same_of_a_state(stateful: Converted) -> None:
    """coremltools loads a write as an op with a result, which no saved program has."""
    with quiet():
        seen = crossed.crossed(package.open(stateful.takes["package"] / "fp16.mlpackage"))
    assert {name: (one.differ, one.unavailable) for name, one in seen.items()} == dict.fromkeys(
        ("decode", "prefill_16", "prefill_32"), ((), "")
    )
    assert min(one.values for one in seen.values()) > 100


@longer
def test_a_package_with_states_passes_what_the_other_passes(
    converted: Converted, stateful: Converted, tmp_path: Path
) -> None:
    asked = PARAMS.model_copy(update={"cache": "state"})
    assert failing(stateful.takes, tmp_path / "a", asked) == failing(converted.takes, tmp_path / "b")
    path = copied(stateful, tmp_path, "prefill_16", never_written)
    folder = shutil.copytree(stateful.takes["package"], tmp_path / "package")
    shutil.rmtree(folder / "fp16.mlpackage")
    shutil.move(path, folder / "fp16.mlpackage")
    lost = failing({**stateful.takes, "package": folder}, tmp_path / "c", asked)
    assert {"package-as-declared", "parity-not-zero", "parity-cache"} <= lost


@longer
def test_every_island_holds_beside_states(converted: Converted, tmp_path: Path) -> None:
    """Their ops are counted, and those that write a state are none of them."""
    kinds = ["rms_norm", "residual", "softmax", "logits"]
    asked = CONVERT.model_copy(update={"cache": "state", "islands": kinds})
    converted_again(converted.program, tmp_path, asked)
    contract = contracts.load(tmp_path / "package")
    for variant in ("fp16", "quantized"):
        opened = package.open(tmp_path / "package" / f"{variant}.mlpackage")
        assert island_readback.islands(opened, contract, kinds)[0] == []
        assert interface_readback.interface(opened, contract) == []


@longer
def test_two_conversions_are_the_same_bytes(stateful: Converted, tmp_path: Path) -> None:
    again = converted_again(stateful.program, tmp_path, CONVERT.model_copy(update={"cache": "state"}))
    for port in ("package", "report"):
        assert digest.of_folder(tmp_path / port) == digest.of_folder(stateful.stage.root / port), port
    assert again.reports == stateful.stage.reports


# faults


def copied(stateful: Converted, folder: Path, function: str, edit: Callable[[Any, Any], None]) -> Path:
    path = tamper.copied(stateful.takes["package"] / "fp16.mlpackage", folder)
    tamper.rewrite(path, edit, function)
    return path


def never_written(_model: Any, block: Any) -> None:
    block.operations.remove(tamper.op_of(block, "write_state"))


def one_slot_late(_model: Any, block: Any) -> None:
    """The key and value of a token are written one slot after their own."""
    shift = next(op for op in block.operations if op.outputs and op.outputs[0].name == "key_cache_end")
    for op in block.operations:
        if op.type == "slice_update":
            op.inputs["begin"].arguments[0].name = "later"
            op.inputs["end"].arguments[0].name = "later_end"
    for new, of, at in (("later", "key_cache_begin", 0), ("later_end", "key_cache_end", 1)):
        added = block.operations.add()
        added.CopyFrom(shift)
        added.attributes["name"].immediateValue.tensor.strings.values[0] = new
        added.outputs[0].name = new
        added.inputs["x"].arguments[0].name = of
        value = added.inputs["y"].arguments[0]
        value.ClearField("name")
        value.value.CopyFrom(constant(block, shift.inputs["y"].arguments[0].name))
        elements(value.value)[:] = [0, 0, 1, 0]
        place = next(i for i, op in enumerate(block.operations) if op.outputs and op.outputs[0].name == "key_cache_end")
        block.operations.insert(place + 1 + at, added)
        del block.operations[-1]


def constant(block: Any, name: str) -> Any:
    return next(op for op in block.operations if op.outputs and op.outputs[0].name == name).attributes["val"]


def elements(value: Any) -> Any:
    return value.immediateValue.tensor.ints.values


def named(path: Path, contract: contracts.Contract) -> list[tuple[str, str, str]]:
    return [
        (one.function, one.subject, one.message) for one in interface_readback.interface(package.open(path), contract)
    ]


def test_a_state_that_is_never_written_is_named(stateful: Converted, tmp_path: Path) -> None:
    contract = contracts.load(stateful.takes["package"])
    path = copied(stateful, tmp_path, "decode", never_written)
    assert named(path, contract) == [("decode", "key_cache", "is a state that nothing is written to")]


@pytest.mark.parametrize("fault", [never_written, one_slot_late])
def test_a_state_that_is_written_wrongly_is_seen_in_the_numbers(
    fault: Callable[[Any, Any], None], converted: Converted, stateful: Converted, tmp_path: Path
) -> None:
    contract = contracts.load(stateful.takes["package"])
    host = of(copied(stateful, tmp_path, "decode", fault), contract)
    index, goldens = goldens_of(converted.takes["goldens"], contract)
    case = next(one for one in index["decode"] if one["start"] == "prefill_16" and one["prompt_tokens"] == 1)
    at, steps = f"decode/{case['case']}", int(case["steps"])
    found = host.decode(goldens[f"{at}/prompt"][0].tolist(), steps, goldens[f"{at}/tokens"].tolist())
    # of the step that comes first the logits are right: what it left is not
    wanted = goldens[f"{at}/logits"].astype(np.float64)
    assert cosine(wanted[1], found.logits[1].astype(np.float64)) > 0.9999
    assert cosine(wanted[2:], np.stack(found.logits[2:]).astype(np.float64)) < 0.999
    written = goldens[f"{at}/keys"][:, :, 1:].astype(np.float64)
    assert not cosine(written, found.keys[:, :, 1 : 1 + steps].astype(np.float64)) > 0.99


def test_a_contract_that_says_something_else_is_named(converted: Converted, stateful: Converted) -> None:
    mine = contracts.load(stateful.takes["package"])
    path = stateful.takes["package"] / "fp16.mlpackage"
    assert named(path, mine) == []
    host = contracts.load(converted.takes["package"])
    assert ("decode", "key_cache", "is a state only in the program") in named(path, host)
    assert ("decode", "new_key", "(2, 2, 1, 32) float16 only in the contract") in named(path, host)
    theirs = converted.takes["package"] / "fp16.mlpackage"
    assert ("decode", "key_cache", "is a state only in the contract") in named(theirs, mine)

    def changed(**update: Any) -> contracts.Contract:
        decode = mine.functions["decode"]
        first, *rest = decode.states or ()
        states = [first.model_copy(update=update), *rest] if update else rest
        return mine.model_copy(
            update={"functions": {**mine.functions, "decode": decode.model_copy(update={"states": states})}}
        )

    longer_one = named(path, changed(shape=[2, 2, 64, 32]))
    assert ("decode", "key_cache", "(2, 2, 64, 32) float16 only in the contract") in longer_one
    wide = named(path, changed(dtype="float32"))
    assert ("decode", "key_cache", "(2, 2, 48, 32) float32 only in the contract") in wide
    assert ("decode", "key_cache", "is a state only in the program") in named(path, changed())


def test_a_state_of_another_shape_or_none_stops_the_run(
    converted: Converted, stateful: Converted, hosted: Callable[[str, str], Host]
) -> None:
    mine = contracts.load(stateful.takes["package"])
    cache = mine.kv_cache.model_copy(update={"context": 64})
    runs = hosted("state", "fp16").runs
    with pytest.raises(BrokenEvidence, match=r"state key_cache of decode has shape \(2, 2, 48, 32\), the contract's"):
        Kept(runs, mine.model_copy(update={"kv_cache": cache}), np.float16)
    with pytest.raises(BrokenEvidence, match="decode has no state key_cache"):
        Kept(hosted("outputs", "fp16").runs, mine, np.float16)
    bare = {
        name: Predictor(stand_in(), stateful.takes["package"] / "fp16.mlpackage", name, "all", dtypes={})
        for name in runs
    }
    with pytest.raises(BrokenEvidence, match="decode has no state key_cache"):
        Kept(bare, mine, np.float16)
    # what a contract of outputs is promised
    with pytest.raises(BrokenEvidence, match="keys, values of prefill_16 have not the contract's shape"):
        Host(runs, contracts.load(converted.takes["package"])).decode(PREFIX, 1)


def test_a_contract_without_a_decode_is_no_text(stateful: Converted, hosted: Callable[[str, str], Host]) -> None:
    mine = contracts.load(stateful.takes["package"])
    only = {name: one for name, one in mine.functions.items() if one.kind == "prefill"}
    with pytest.raises(BrokenEvidence, match="the contract has no decode"):
        Kept(hosted("state", "fp16").runs, mine.model_copy(update={"functions": only}), np.float16)

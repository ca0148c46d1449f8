"""Contradictions X1-X24 of the founding texts: one test per row, named after it, that shows what is refused.

A contradiction about a value of the spec is refused where the value stands. One about a rule is refused where rules are
read. One that only documents have (readiness, dates, claims about a toy) is refused in `decisions`, the one place where
a fact that no section holds is written: two values of one fact, a value its own arithmetic does not give, or a claim
that binds nothing.
"""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest

from kcompiler import plan, policy, tables
from kcompiler.front import compile_spec
from kcompiler.project import Project
from runtime import digest
from runtime.contract.statistics import chance

_spec = importlib.util.spec_from_file_location("checks_laboratory", Path(__file__).with_name("laboratory.py"))
laboratory = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(laboratory)

FIXTURES = laboratory.ROOT / "tests/golden/validate"


def student(data, **more):
    data["student"]["architecture"].update(more)
    data["student"].pop("parameters", None)


def decided(*rows):
    """A change that records decisions about one fact."""
    return lambda data: data.update(decisions=[{"reason": "as the document says", **row} for row in rows])


def stated_twice(about, *values):
    return decided(*({"about": about, "value": value} for value in values))


def rule(home, **more):
    """What reading a pack with one rule says: codes and summaries."""
    folder = home / "policies/lab"
    (folder / "fixtures").mkdir(parents=True)
    (folder / "pack.yaml").write_text("name: lab\nversion: 1\ntitle: A laboratory\ndescription: One rule.\nowner: us\n")
    text = {"id": "fixtures", "title": "Fixtures hit", "on": "eval.answers", "mode": "block"}
    bound = {"metric": "validity.student", "op": ">=", "threshold": "0.95", "unit": "ratio"}
    text |= {"kind": "bound", "params": bound, "remedy": "train longer", "since": 1}
    for key, value in more.items():
        text[key] = {**text[key], **value} if isinstance(value, dict) else value
    (folder / "fixtures/rule.yaml").write_text(json.dumps(text))
    found = policy.load(["lab"], [home / "policies"]).problems
    return [(item.code, item.summary) for item in found]


def trillion(data):
    """The teacher of the founding texts, taken as weights."""
    data["teacher"] = {"source": "hf", "model": "hf:org/teacher", "revision": "0" * 40, "parameters": 10**12}
    data["tokenizer"]["source"] = "teacher"


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


def test_x7_a_model_is_not_pending_and_ready(tmp_path):
    """Two audits of one date; and readiness as a remark, which would bind nobody."""
    readiness = "readiness of the worker"
    both = stated_twice(readiness, "verification pending", "production ready")
    assert "KC4901" in laboratory.codes(tmp_path, both)
    assert laboratory.codes(tmp_path, stated_twice(readiness, "production ready")) == ["KC4906"]
    assert laboratory.codes(tmp_path, lambda data: data["metadata"].update(ready=True)) == ["KC2104"]


def test_x8_a_part_is_not_covered_better_than_the_whole(tmp_path):
    """Branches at 0.90 beside lines at 0.80: the two floors stand the wrong way round, and so does their ratio."""

    row = {"about": "branches covered per line covered, at most", "value": 1, "arithmetic": "0.90 / 0.80"}
    (found,) = laboratory.compiled(tmp_path, decided(row)).diagnostics
    assert (found.code, found.label) == ("KC4905", "= 1.125, decided: 1")
    assert laboratory.codes(tmp_path, decided({**row, "arithmetic": "0.80 / 0.80"})) == []
    # and a floor for what no step of the plan measures is no gate
    rule(tmp_path, on="code.coverage")
    spec = tmp_path / "spec.yaml"
    spec.write_text(laboratory.GOOD.replace("policies: [caws/core]", "policies: [lab]"))
    front = compile_spec(spec, tmp_path, packs=[tmp_path / "policies"])
    assert [item.code for item in plan.make(front, Project(tmp_path))[1]] == ["KC6045"]


def test_x9_a_trillion_parameters_are_not_32_billion(tmp_path):
    """The spec states the size that memory is computed from; a decision for the other number contradicts it."""

    def change(data):
        trillion(data)
        decided({"about": "size of the teacher", "value": 32 * 10**9, "field": "teacher.parameters"})(data)

    found = [item for item in laboratory.compiled(tmp_path, change).diagnostics if item.code == "KC4903"]
    assert [item.label for item in found] == ["1000000000000; decided: 32000000000"]


@pytest.mark.parametrize("profile", ["m1-16gb", "h100-80gb", "m3-ultra-512gb"])
def test_x10_a_trillion_parameters_fit_no_one_machine(tmp_path, profile):
    def change(data):
        trillion(data)
        data["hardware"]["training_profile"] = profile

    (found,) = [item for item in laboratory.compiled(tmp_path, change).diagnostics if item.code == "KC4705"]
    assert found.label.startswith("4 TB needed, ")
    assert "recorded" in found.help


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
    # no width would make the two one: it is not advised
    assert {"KC4302", "KC4203"} & set(laboratory.codes(tmp_path, change("train"))) == {"KC4203"}


def test_x12_one_rule_has_one_action(tmp_path):
    """`Warn / Fail` in one cell, and two thresholds in another."""
    assert rule(tmp_path / "sound") == []
    assert rule(tmp_path / "both", mode="warn / fail")[0][0] == "KC6002"
    assert rule(tmp_path / "two", params={"threshold": ["0.95", "0.98"]})[0][0] == "KC6002"


def test_x13_a_shifted_column_is_no_rule(tmp_path):
    """The header said Metric and the column held the threshold; Threshold held the action."""
    shifted = rule(tmp_path, params={"metric": ">= 95 %", "threshold": "Fail"})
    assert [code for code, _ in shifted] == ["KC6002", "KC6002"]


def test_x14_a_latency_of_1_22_ms_is_not_below_one(tmp_path):
    """Sub-millisecond, says the text; 1.22 ms, says its table."""
    row = {"about": "latency of the toy in ms, at most", "value": 1.0, "arithmetic": "1.22"}
    (found,) = laboratory.compiled(tmp_path, decided(row)).diagnostics
    assert (found.code, found.label) == ("KC4905", "= 1.22, decided: 1.0")


def test_x15_17_4_megabytes_are_not_six_times_1_1(tmp_path):
    row = {"about": "growth of the toy's file", "value": 6, "arithmetic": "17.4 / 1.1"}
    (found,) = laboratory.compiled(tmp_path, decided(row)).diagnostics
    assert (found.code, found.label) == ("KC4905", "= 15.8182, decided: 6")
    assert laboratory.codes(tmp_path, decided({**row, "value": 15.8})) == []


def test_x16_the_price_of_a_query_buys_less_than_its_first_token(tmp_path):
    """0.00003 dollars are ten seconds, so that 0.0025 for a million queries are 0.83 ms each; one takes 1.22."""
    price = "0.0025 / 0.00003 * 10 / 1000000 * 1000"
    row = {"about": "milliseconds a query may take", "value": 1.22, "arithmetic": price}
    (found,) = laboratory.compiled(tmp_path, decided(row)).diagnostics
    assert (found.code, found.label) == ("KC4905", "= 0.833333, decided: 1.22")


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


@pytest.mark.parametrize("term", ["length_kd", "ponder"])
def test_x19_an_objective_that_is_future_work_is_refused(tmp_path, term):
    """Listed as present in one text, as future work in another: a term exists when the catalog has it."""
    change = lambda data: data["training"]["stages"][0].update(losses=[{"term": term, "weight": 1.0}])  # noqa: E731
    assert laboratory.codes(tmp_path, change) == ["KC2106"]


def test_x20_the_interface_of_decoding_cannot_be_stated_a_second_time(tmp_path):
    """Several shapes of one call: the exported program's contract is the only one, and no spec can write another."""
    api = "(state, new_token_ids) -> (new_state, logits)"
    assert laboratory.codes(tmp_path, lambda data: data.update(export={"decode_api": api})) == ["KC2104"]
    two = stated_twice("decode interface", api, "ids, position, key_cache, value_cache")
    assert "KC4901" in laboratory.codes(tmp_path, two)


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


def test_x22_a_share_of_a_teacher_is_never_chance():
    """65 % of a teacher at 38 % is what guessing gives; corrected for chance it is almost nothing."""
    assert pytest.approx(0.65, abs=0.001) == 250 / 385
    share = chance.share_of_counts([True] * 250 + [False] * 750, 385, 1000, 4)
    assert share["value"] == pytest.approx(0.0, abs=1e-12)
    assert share["low"] < 0.0 < share["high"] < 0.65
    (gate,) = policy.load(["roles/choice-share"], [laboratory.ROOT / "policies"]).packs[0].rules
    assert gate.params.metric == ["of_teacher"]


def test_x23_a_ticked_list_beside_nothing_verified_is_two_values(tmp_path):
    about = "verification of the gates"
    assert "KC4901" in laboratory.codes(tmp_path, stated_twice(about, "every box ticked", "none verified"))
    # a box alone decides nothing
    assert laboratory.codes(tmp_path, stated_twice(about, True)) == ["KC4906"]


def test_x24_a_document_has_no_date_of_its_own(tmp_path):
    """Both audits carried a date eleven months before the commits they describe."""
    dated = stated_twice("date of the audits", "2024-12-19", "2025-11-12")
    assert "KC4901" in laboratory.codes(tmp_path, dated)
    assert laboratory.codes(tmp_path, lambda data: data["metadata"].update(date="2024-12-19")) == ["KC2104"]


def test_every_contradiction_has_a_test_and_a_settled_value():
    named = {int(number) for name in globals() for number in re.findall(r"_x(\d+)", name)}
    assert named == set(range(1, 25))
    assert list(tables.roles().settled) == [f"X{number}" for number in range(1, 25)]

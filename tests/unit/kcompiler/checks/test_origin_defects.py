"""Defects D5-D14 of the origin, as far as a compiler can refuse them: one test per defect, named after it.

D5 (no causal mask) and D6 (an exported cache that is never read) are properties of code and not of a spec: the steps
`probe` and `verify` measure both in every run, and what the compiler refuses is a plan without them. Of D10, the alignment of targets and losses without gradient are
likewise found by the loss tests and the gradient norms of the training step. Defects above D14 concern reports.
"""

import importlib.util
import json
from pathlib import Path

import pytest

from kcompiler.checks import order
from kcompiler.lower import lower
from runtime import digest

_spec = importlib.util.spec_from_file_location("checks_laboratory", Path(__file__).with_name("laboratory.py"))
laboratory = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(laboratory)

FIXTURES = laboratory.ROOT / "tests/golden/validate"


def student(**more):
    def change(data):
        data["student"]["architecture"].update(more)
        data["student"].pop("parameters")

    return change


def losses(*terms):
    return lambda data: data["training"]["stages"][0].update(losses=list(terms))


def hosted(home, config=None, tokens=None, listed=None):
    """A change that takes a teacher's folder with these files."""
    folder = home / "teacher"
    folder.mkdir()
    controls = {"<|pad|>": 0, "<|bos|>": 1, "<|eos|>": 2}
    made = {
        "model": {"type": "BPE", "vocab": {"a": 3, "b": 4}},
        "added_tokens": [{"id": number, "content": text} for text, number in (tokens or controls).items()],
    }
    settings = {"model_type": "llama", "vocab_size": 512, "max_position_embeddings": 128, **(config or {})}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "tokenizer.json").write_text(json.dumps(made))
    if listed:
        decoder = {str(number): {"content": text} for text, number in listed.items()}
        (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder}))
    source = next(FIXTURES.glob("KC4308-*")) / "teacher/model.safetensors"
    (folder / "model.safetensors").write_bytes(source.read_bytes())

    def change(data):
        data["teacher"] = {"source": "hf", "model": "teacher", "revision": digest.of_folder(folder)}
        data["tokenizer"]["source"] = "teacher"

    return change


@pytest.mark.parametrize(
    ("step", "before"), [("probe", "export"), ("verify", "evaluate")], ids=["d5-no-causal-mask", "d6-a-dead-cache"]
)
def test_d5_d6_no_plan_is_without_the_step_that_measures_it(tmp_path, step, before):
    """Probes show that a later token changes no earlier logit; golden vectors show that the cache is read."""
    front = laboratory.compiled(tmp_path)
    left = [node for node in lower(front.spec, tmp_path, tmp_path)[0] if node.step != step]
    assert (before, step) in {(node.step, kind) for node in left for at, kind in order.missing(left) if node.id == at}
    entry = {"id": step, "use": "probe", "params": {"lengths": [32], "decode_context": 64}, "takes": {}}
    assert "KC4821" in laboratory.codes(tmp_path, lambda data: data.update(steps=[entry]))


def test_d7_rope_that_depends_on_the_padded_length_cannot_be_asked_for(tmp_path):
    """Scaling that starts above 2048 tokens made the logits depend on the bucket."""
    change = student(rope_scaling={"rope_type": "dynamic", "factor": 2.0})
    assert laboratory.codes(tmp_path, change) == []

    def longer(data):
        change(data)
        data["shapes"].update(prefill=[32, 256], decode={"context": 256})

    found = laboratory.compiled(tmp_path, longer).diagnostics
    assert {one.code for one in found} >= {"KC4102", "KC4104"}
    assert all("no table of a package" in one.notes[0] for one in found if one.code in ("KC4102", "KC4104"))


@pytest.mark.parametrize(
    ("scaling", "code", "where", "said"),
    [
        ({"rope_type": "spiral", "factor": 2.0}, "KC2103", "rope_type", "spiral"),
        ({"rope_type": "linear", "factor": 0}, "KC2105", "factor", "1"),
        ({"rope_type": "linear", "factor": -2.0}, "KC2105", "factor", "1"),
        ({"rope_type": "linear", "factor": 2.0, "mscale": 1.0}, "KC2104", "mscale", "mscale"),
        ({"rope_type": "yarn", "factor": 2.0}, "KC4009", "rope_type", "yarn needs original_max_position_embeddings"),
    ],
)
def test_a_rotation_that_cannot_be_computed_is_told_at_its_place(tmp_path, scaling, code, where, said):
    (found, *_) = laboratory.compiled(tmp_path, student(rope_scaling=scaling)).diagnostics
    assert (found.code, found.pointer) == (code, f"/student/architecture/rope_scaling/{where}")
    assert said in f"{found.summary} {found.label} {found.help}"
    lines = (tmp_path / "spec.yaml").read_text().splitlines()
    assert where in lines[found.line - 1]


def test_d7_positions_beyond_every_row_of_training_are_refused(tmp_path):
    def change(data):
        data["training"]["stages"][0]["max_length"] = 32

    assert laboratory.codes(tmp_path, change) == ["KC4107"]


def test_d8_28_heads_cannot_share_8_pairs(tmp_path):
    change = student(hidden_size=448, intermediate_size=1184, num_attention_heads=28, num_key_value_heads=8)
    (found,) = laboratory.compiled(tmp_path, change).diagnostics
    assert found.code == "KC4001"
    assert found.label == "28 / 8 leaves 4"


@pytest.mark.parametrize(
    ("declared", "shape", "actual"),
    [
        ("4_000_000_000±10%", (2048, 8192, 24, 16, 4), 1_590_790_144),
        ("3_000_000_000±10%", (2048, 8192, 24, 16, 4), 1_590_790_144),
    ],
)
def test_d9_the_four_billion_are_one_point_six(tmp_path, declared, shape, actual):
    """judge_4b and drafter_4b: the count is computed, and its parts are shown."""
    hidden, inner, layers, heads, pairs = shape

    def change(data):
        data["tokenizer"]["vocab_size"] = 32_000
        data["teacher"]["architecture"].update(hidden_size=64)
        data["student"]["parameters"] = declared
        data["student"]["architecture"].update(
            hidden_size=hidden,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=pairs,
            tie_word_embeddings=False,
        )

    (found,) = [item for item in laboratory.compiled(tmp_path, change).diagnostics if item.code == "KC4004"]
    assert f"{actual:,}" in found.label
    assert found.notes[-1] == f"total {actual:,}"


def test_d9_a_multiplier_that_nobody_reads_is_an_unknown_key(tmp_path):
    assert laboratory.codes(tmp_path, student(mlp_hidden_mult=3.5)) == ["KC2104"]


def test_d10_targets_are_spans_that_the_rows_carry(tmp_path):
    """The origin aligned tool names to position 0; here a term without spans in the rows is refused."""
    terms = losses({"term": "kl", "weight": 0.5}, {"term": "tool_name", "weight": 0.5})

    def declared(data):
        terms(data)
        data["data"]["targets"] = ["response", "tool_name"]

    assert laboratory.codes(tmp_path, terms) == ["KC4204"]
    assert laboratory.codes(tmp_path, declared) == ["KC4205"]


def test_d10_a_code_mode_term_over_rows_that_are_never_eligible_is_refused(tmp_path):
    assert laboratory.codes(tmp_path, losses({"term": "code_mode", "weight": 1})) == ["KC4270", "KC4602"]


def test_d11_kl_without_logits_is_refused(tmp_path):
    """worker_9b declares KL at 0.5 and a teacher without logits."""

    def change(data):
        data["teacher"]["signals"] = ["text"]
        losses({"term": "kl", "weight": 0.5}, {"term": "ce_truth", "weight": 0.5})(data)

    _, found = laboratory.compiled(tmp_path, change).diagnostics
    assert found.code == "KC4201"
    assert "needs `logits`" in found.label
    assert "ce_truth" in found.help


def test_d12_three_truths_about_a_token_are_refused(tmp_path):
    change = hosted(tmp_path, listed={"<|eos|>": 4})
    (found,) = laboratory.compiled(tmp_path, change).diagnostics
    assert found.code == "KC4310"
    assert "`<|eos|>` is 2 in tokenizer.json, added_tokens, 4 in tokenizer_config.json" in found.label


def test_d12_two_texts_of_one_id_are_refused(tmp_path):
    change = hosted(tmp_path, tokens={"<|pad|>": 0, "<|bos|>": 1, "<|eos|>": 1, "x": 2})
    (found,) = laboratory.compiled(tmp_path, change).diagnostics
    assert found.code == "KC4310"
    assert "id 1 is `<|bos|>`" in found.label


def test_d12_ids_beyond_the_vocabulary_are_refused_not_clamped(tmp_path):
    """Latent tokens at 32000 and 32001 of a vocabulary of 32000."""
    change = hosted(tmp_path, tokens={"<|pad|>": 0, "<|bos|>": 1, "<|eos|>": 2, "<bot>": 512, "<eot>": 513})
    (found,) = laboratory.compiled(tmp_path, change).diagnostics
    assert found.code == "KC4303"
    assert "ids up to 513" in found.label


def test_d12_a_teacher_with_another_end_token_warns(tmp_path):
    change = hosted(tmp_path, config={"eos_token_id": [3, 4]})

    def written(data):
        change(data)
        data["tokenizer"]["special"] = {"eos": "<|eos|>"}

    (found,) = laboratory.compiled(tmp_path, written).diagnostics
    assert (found.code, found.help) == ("KC4311", "write eos: `a` or `b`")


def test_d12_a_teacher_with_our_end_token_among_its_own_does_not(tmp_path):
    assert laboratory.codes(tmp_path, hosted(tmp_path, config={"eos_token_id": [2, 4], "bos_token_id": 1})) == []


def test_d13_dangling_names_are_refused(tmp_path):
    def missing(data):
        data["data"]["sources"] = [{"name": "mix", "kind": "jsonl", "path": "kd_mix.jsonl", "license": "MIT"}]
        data["data"]["tools"] = "conversion/shape_sets.json"
        data["policies"] = ["caws/none"]
        data["training"]["stages"][0]["from"] = "student_fp16"

    assert laboratory.codes(tmp_path, missing) == ["KC4401", "KC4410", "KC4415", "KC6001"]


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("hardware", "memory_budgets", {"weights": 9}),
        ("quantization", "precision_islands", ["rope"]),
        ("evaluation", "risk_tiers", {}),
    ],
)
def test_d14_a_key_that_nothing_reads_is_refused(tmp_path, section, key, value):
    assert laboratory.codes(tmp_path, lambda data: data[section].update({key: value})) == ["KC2104"]


def test_d14_a_registry_and_a_target_that_nothing_reads_are_reported(tmp_path):
    (tmp_path / "tools.json").write_text('[{"name": "a", "description": "", "parameters": {"type": "object"}}]')
    (tmp_path / "rows.jsonl").write_text(
        '{"prompt": "a", "response": "r", "spans": {"tool_name": [[0, 1]]}}\n{"prompt": "q12", "response": "r"}\n'
    )

    def change(data):
        data["data"].update(tools="tools.json", targets=["response", "tool_name"])
        data["data"]["sources"] = [{"name": "s", "kind": "jsonl", "path": "rows.jsonl", "license": "MIT"}]

    assert laboratory.codes(tmp_path, change) == ["KC4206", "KC4415"]

"""A lower bound is below what anything took, and above what nobody can do."""

import re
import shutil
from fractions import Fraction
from pathlib import Path

import yaml

from kcompiler import tables
from kcompiler.facts.time import LEAST_PREDICTED, LEAST_TOKENS, MOVED, of_step, of_training
from kcompiler.front import compile_spec
from runtime.contract.architecture import Architecture
from runtime.contract.validation import Validation
from tests.unit.kcompiler.checks.claims import machine

ROOT = Path(__file__).resolve().parents[3]
TINY = Architecture(
    family="llama",
    vocab_size=100,
    hidden_size=8,
    intermediate_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=32,
    tie_word_embeddings=True,
)
#: embedding 800, attention 2·64 + 2·32, MLP 3·128, norms 16 and 8
PARAMETERS, LAYERS = 1400, 600


def one(table):
    return next(iter(table.profiles.values()))


def test_a_bus_moves_the_optimiser_state_at_each_step():
    assert of_training(TINY, 3, 5, one(machine(bandwidth=2, gpu=None))).seconds == Fraction(
        3 * MOVED * PARAMETERS, 2 * 10**9
    )


def test_arithmetic_counts_the_layers_of_four_tokens_and_the_head_of_two():
    work = 3 * 5 * 2 * (LAYERS * LEAST_TOKENS + 800 * LEAST_PREDICTED)
    found = of_training(TINY, 7, 5, one(machine(bandwidth=None, gpu=(4, 3))))
    assert found.seconds == Fraction(7 * work, 4 * 10**12)
    # the larger of the two counts: neither can be hidden behind a slower one
    both = one(machine(bandwidth=10**-6, gpu=(4, 3)))
    assert of_training(TINY, 7, 5, both).seconds == Fraction(7 * MOVED * PARAMETERS, 10**3)


def test_a_machine_without_figures_and_a_step_without_training_have_none():
    assert of_training(TINY, 1, 1, one(machine(bandwidth=None, gpu=None))) is None
    assert of_step({"params": {"steps": 3}}, one(machine())) is None
    training = {"architecture": TINY.model_dump(), "steps": 3, "batch_size": 1, "max_length": 8}
    assert of_step({"params": training}, None).keys() == {"gigaoperations"}
    assert of_step({"params": training}, one(machine(bandwidth=None, gpu=None))).keys() == {"gigaoperations"}


def test_a_validated_training_counts_what_it_looks_at_and_may_end_as_soon_as_patience_can_run_out():
    """The layers of four tokens and the head of two of one row, forward; the weights once for each validation."""
    counts, bus = one(machine(bandwidth=None, gpu=(4, 3))), one(machine(bandwidth=2, gpu=None))
    row = 2 * (LAYERS * LEAST_TOKENS + 800 * LEAST_PREDICTED)
    whole, early = Validation(every=10), Validation(every=10, patience=3)
    assert of_training(TINY, 70, 5, counts, whole).seconds == Fraction((70 * 3 * 5 + 8) * row, 4 * 10**12)
    found = of_training(TINY, 70, 5, counts, early)
    assert found.seconds == Fraction((30 * 3 * 5 + 4) * row, 4 * 10**12)
    assert (
        found.how == f"30 steps × {3 * 5 * row:.3g} operations of 5 rows + 4 validations × {row:.3g} of 1 / 4 TFLOP/s"
    )
    assert of_training(TINY, 29, 5, counts, early).seconds == Fraction((29 * 3 * 5 + 3) * row, 4 * 10**12)
    moved = 70 * MOVED * PARAMETERS + 8 * 4 * PARAMETERS
    assert of_training(TINY, 70, 5, bus, whole).seconds == Fraction(moved, 2 * 10**9)


def test_an_estimate_counts_validation_at_every_step_that_is_allowed():
    """Before the first step, after steps 300 and 600, and after the last one."""
    training = {"architecture": TINY.model_dump(), "steps": 700, "batch_size": 50, "max_length": 90}
    looked = {**training, "validation": {"every": 300, "metric": "total", "patience": 1, "least_gain": 0.0}}
    row = 2 * (LAYERS + 800) * 90
    fast = one(machine(bandwidth=None, gpu=(4, 3)))
    found = of_step({"params": looked}, fast, 11)
    assert found["gigaoperations"] == -(-(700 * 3 * 50 * row + 4 * 11 * row) // 10**9)
    assert found["wall_s"] == round((700 * 3 * 50 * row + 4 * 11 * row) / (4 * 10**12), 6)
    assert of_step({"params": {**training, "validation": None}}, fast) == of_step({"params": training}, fast)


def test_an_estimate_counts_every_token_that_a_row_may_have():
    """Forward once, backward twice, and once more what was not kept; embeddings are looked up."""
    training = {"architecture": TINY.model_dump(), "steps": 700, "batch_size": 50, "max_length": 90}
    fast = one(machine(bandwidth=None, gpu=(4, 3)))
    work = 700 * 3 * 2 * (LAYERS + 800) * 50 * 90
    found = of_step({"params": training}, fast)
    assert found["gigaoperations"] == -(-work // 10**9)
    assert found["wall_s"] == round(work / (4 * 10**12), 6)
    assert found["how"].endswith("operations of 50 rows of 90 tokens / 4 TFLOP/s")
    again = of_step({"params": {**training, "gradient_checkpointing": True}}, fast)
    assert again["gigaoperations"] == -(-work * 4 // (3 * 10**9))
    # a machine of which only the bus is known takes longer than that, and it is said
    bus = of_step({"params": training}, one(machine(bandwidth=10**-6, gpu=None)))
    assert bus["how"].endswith("; longer by its arithmetic, of which there is no figure")
    assert "longer" not in found["how"]
    # where the bus is slower, it decides
    slow = of_step({"params": training}, one(machine(bandwidth=10**-6, gpu=(4, 3))))
    assert slow["wall_s"] == float(700 * MOVED * PARAMETERS / 1000)


def test_a_minute_for_six_thousand_steps_of_nine_billion_parameters_is_refused(tmp_path):
    """And what the message advises is accepted."""
    for folder in ("fragments", "tools"):
        shutil.copytree(ROOT / "specs" / folder, tmp_path / folder)
    spec = yaml.safe_load((ROOT / "specs/worker-9b.yaml").read_text(encoding="utf-8"))

    def told(wall):
        spec["budgets"]["wall_s"] = wall
        (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec, allow_unicode=True), encoding="utf-8")
        front = compile_spec(tmp_path / "spec.yaml", tmp_path, packs=[ROOT / "policies"])
        return [item for item in front.diagnostics if item.code == "KC4720"]

    (found,) = told(60)
    enough = int(re.search(r"allow at least ([\d,]+) s", found.help)[1].replace(",", ""))
    assert enough > 3600
    assert len(told(enough - 1)) == 1
    assert told(enough) == []
    assert "6,000 steps × 252.6 GB of optimiser state / 819.2 GB/s" in found.notes[0]
    assert tables.hardware().profiles["m3-ultra-512gb"].title in found.label

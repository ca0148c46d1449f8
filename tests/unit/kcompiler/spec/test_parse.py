"""Sections in their models: what is read, what is derived, and what is left when a part is wrong."""

from pathlib import Path

import pytest
import yaml

from kcompiler.source import load
from kcompiler.spec import Spec
from kcompiler.spec.parse import Parsed, parse
from runtime import catalog
from runtime.contract.architecture import Architecture
from runtime.contract.placing import CHUNK_TOKENS, LEAST_CHUNK

ROOT = Path(__file__).resolve().parents[4]
GOOD = yaml.safe_load(
    (ROOT / "tests/golden/validate/a-good-spec-has-no-diagnostics/spec.yaml").read_text(encoding="utf-8")
)


def parsed(change=None, ignoring=frozenset()) -> Parsed:
    data = yaml.safe_load(yaml.safe_dump(GOOD))
    if change is not None:
        change(data)
    tree, found = load("f.yaml", yaml.safe_dump(data, allow_unicode=True).encode())
    assert found == []
    return parse(tree, ignoring)


def test_every_shipped_spec_is_a_spec():
    for path in sorted((ROOT / "specs").glob("*.yaml")):
        tree, _ = load(path.name, path.read_bytes())
        # what is included, and the sizes of a student that is cut from its teacher, come with the whole compiler
        if "include" not in tree.data and tree.data["student"].get("architecture") != "from cut":
            assert isinstance(parse(tree).spec, Spec), path.name


def test_the_width_of_every_model_is_the_tokenizers():
    spec = parsed(lambda data: data["tokenizer"].update(vocab_size=600)).spec
    assert spec.student.architecture.vocab_size == 600
    assert isinstance(spec.teacher.architecture, Architecture)
    assert spec.teacher.architecture.vocab_size == 600


def test_parameters_of_plug_ins_are_their_own_models():
    spec = parsed().spec
    kl, ce = spec.training.stages[0].losses[:2]
    assert type(kl.params) is catalog.load("losses", "kl").params
    assert kl.loss_params() == {"temperature": 2.0}
    assert ce.loss_params() == {}
    assert spec.evaluation.suites[0].suite_params() == catalog.load("suites", "answers").params().model_dump()
    assert type(spec.data.sources[0].params) is catalog.load("generators", "eight_ball").params
    assert spec.teacher.steps == 40
    with pytest.raises(AttributeError):
        spec.teacher.nothing_of_that_name  # noqa: B018


def test_a_dump_has_the_form_of_the_text_with_every_default():
    dumped = parsed().spec.model_dump(mode="json", by_alias=True)
    assert dumped["training"]["stages"][0]["losses"][0] == {
        "term": "kl",
        "weight": 0.6,
        "schedule": None,
        "temperature": 2.0,
    }
    assert dumped["training"]["stages"][0]["from"] is None
    assert dumped["teacher"]["optimizer"]["beta2"] == 0.95
    assert dumped["data"]["sources"][0]["params"]["rows"] == 400
    assert "params" not in dumped["teacher"]
    assert dumped["steps"] == []


def test_a_teacher_gives_what_its_source_gives_when_the_spec_is_silent():
    spec = parsed(lambda data: data["teacher"].pop("signals")).spec
    assert set(spec.teacher.signals) == catalog.load("teachers", "bootstrap").signals


def test_defaults_of_a_stage_are_those_of_the_step():
    """They are written twice, once for people and once for the machine; here they are held together."""
    stage, step = parsed().spec.training.stages[0], catalog.load("steps", "train").params.model_fields
    for name in ("gradient_norms_every", "checkpoint_every"):
        assert getattr(stage, name) == step[name].default
    assert step["chunk_tokens"].default == CHUNK_TOKENS["cpu"]
    assert step["chunk_tokens"].metadata[0].ge == LEAST_CHUNK
    special = catalog.load("steps", "tokenizer").params.model_fields["special"].get_default(call_default_factory=True)
    assert parsed().spec.tokenizer.special.model_dump() == special.model_dump()
    assert Spec.model_fields["execution"].get_default(call_default_factory=True).threads == step["threads"].default


def test_sections_that_can_be_trusted_survive_a_mistake_elsewhere():
    def change(data):
        data["shapes"]["prefill"] = "64"
        data["training"]["stages"][0]["losses"][0]["temperature"] = -1

    found = parsed(change)
    assert found.spec is None
    assert set(Spec.model_fields) - found.sections == {"shapes", "training"}
    assert found.partial.student.architecture.hidden_size == 32
    for name in ("shapes", "training"):
        with pytest.raises(AttributeError):
            getattr(found.partial, name)
    assert {item.pointer for item in found.diagnostics} == {
        "/shapes/prefill",
        "/training/stages/0/losses/0/temperature",
    }


def test_without_a_width_no_model_is_believed():
    found = parsed(lambda data: data["tokenizer"].pop("vocab_size"))
    assert set(Spec.model_fields) - found.sections == {"tokenizer", "teacher", "student"}


def test_a_width_in_an_architecture_is_not_believed_either():
    found = parsed(lambda data: data["student"]["architecture"].update(vocab_size=512))
    assert set(Spec.model_fields) - found.sections == {"student"}


def test_a_missing_section_with_a_default_is_its_default():
    found = parsed(lambda data: data.pop("budgets"))
    assert found.spec is None
    assert found.partial.execution.seed == 1337
    assert found.partial.tokenizer is not None
    assert "budgets" not in found.sections


def test_a_key_can_be_ignored_as_if_nobody_had_written_it():
    found = parsed(lambda data: data["hardware"].update(colour="blue"), frozenset({"/hardware/colour"}))
    assert found.spec is not None


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("hardware", "concurrency", True),
        ("hardware", "concurrency", 1.0),
        ("hardware", "concurrency", "1"),
        ("budgets", "usd", "0"),
        ("budgets", "usd", True),
        ("metadata", "owner", 5),
    ],
)
def test_nothing_is_converted(section, key, value):
    found = parsed(lambda data: data[section].update({key: value}))
    assert section not in found.sections


def test_a_whole_number_is_a_number():
    assert parsed(lambda data: data["budgets"].update(usd=3)).spec.budgets.usd == 3.0

"""Runners score what the model says and continue what it prefers, however the questions are batched."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from runtime import catalog
from runtime.asking.judging import evaluate
from runtime.asking.packaged import predicted
from runtime.contract import Refusal, Unavailable, rows
from runtime.contract import program as contracts
from runtime.contract.asked import Asked
from runtime.contract.recipe import Recipe, Rule, Weights
from runtime.coreml import found
from runtime.generate import models
from runtime.generate import words as spellings
from runtime.generate.engine import Ask, Engine
from runtime.mil import pieces
from runtime.mil.convert import convert
from runtime.models import admission, build, runners
from runtime.models import tokenizer as tokenizers
from runtime.models.export import export
from runtime.models.runners import CoreMLRunner, HFRunner
from runtime.models.tokenizer import Tokenizer
from runtime.steps.convert import ConvertParams
from runtime.steps.evaluate import EvaluateParams
from runtime.steps.export import ExportParams
from runtime.suites import gold
from tests.tensor.coreml.standin import Faults, stand_in
from tests.tensor.export.world import Stage, architecture, world

NEW = 12
RECIPE = Recipe(default=Weights(weights="int8"), rules=[Rule(match="*norm*", weights="fp16")])


@dataclass(frozen=True)
class World:
    takes: dict[str, Path]
    words: Tokenizer
    pairs: list[tuple[str, str]]
    root: Path

    @property
    def served(self) -> spellings.Words:
        return spellings.load(self.takes["tokenizer"], self.takes["checkpoint"])

    def runner(self, context: int = 256) -> HFRunner:
        model = build.load(self.takes["checkpoint"], attention="sdpa")
        model.config.max_position_embeddings = context
        return HFRunner("student", model, self.words)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A checkpoint of two layers, its tokenizer and thirty questions of several lengths."""
    root = tmp_path_factory.mktemp("runners")
    takes = world(root, num_hidden_layers=2, hidden_size=64, intermediate_size=128, num_attention_heads=2)
    held = [row for split in ("train", "test") for row in rows.read(takes["dataset"] / f"{split}.jsonl")]
    return World(takes, tokenizers.load(takes["tokenizer"]), [(r["prompt"], r["response"]) for r in held], root)


@pytest.fixture(scope="module")
def packaged(here: World) -> Path:
    """The same checkpoint exported and converted."""
    first = Stage(here.root / "exported", here.takes)
    export(here.takes, ExportParams(prefill=[32, 48], decode_context=48, golden_prompts=2, decode_steps=2), first)
    second = Stage(here.root / "converted", {"program": first.root / "program"})
    convert({"program": first.root / "program"}, ConvertParams(recipe=RECIPE, islands=["rms_norm"]), second)
    return second.root / "package"


def oracle(model: torch.nn.Module, words: Tokenizer, prompt: str, response: str) -> float:
    """log p(response, end | prompt), one sequence at a time, one token at a time, in float64."""
    pair = words.encode_pair(prompt, response)
    total = 0.0
    with torch.inference_mode():
        for index in range(pair.prompt_tokens, len(pair.ids)):
            logits = model(input_ids=torch.tensor([pair.ids[:index]])).logits[0, -1].numpy().astype(np.float64)
            total += logits[pair.ids[index]] - logits.max() - np.log(np.exp(logits - logits.max()).sum())
    return float(total)


def greedy(model: torch.nn.Module, words: Tokenizer, prompt: str, room: int) -> str:
    """The likeliest token again and again, without a cache."""
    ids = words.encode_prompt(prompt)
    start = len(ids)
    with torch.inference_mode():
        while len(ids) - start < room:
            token = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            if token == words.eos_id:
                break
            ids.append(token)
    return words.decode(ids[start:])


@pytest.mark.parametrize("family", ["mamba", "rwkv", "bloom"])
def test_a_family_with_a_state_of_its_own_answers_from_the_whole_text(family: str, here: World):
    """Before: Mamba and RWKV took a cache of keys and values without a word, and began anew at each token."""
    torch.manual_seed(3)
    sizes = {"vocab_size": here.words.vocab_size, "hidden_size": 32, "num_hidden_layers": 2}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0) if parameter.dim() > 1 else None
    runner = HFRunner("teacher", model, here.words)
    assert admission.continues(model) is (family == "bloom")
    prompts = [prompt for prompt, _ in here.pairs[:4]]
    wanted = [greedy(model.eval(), here.words, prompt, 6) for prompt in prompts]
    assert runner.generate(prompts, 6) == wanted
    # one answer to all would show nothing of what is remembered
    assert family == "bloom" or len(set(wanted)) > 1


def test_scores_are_those_of_one_token_after_the_other(here: World):
    model = build.load(here.takes["checkpoint"])
    found = here.runner().score(here.pairs[:8])
    for (prompt, response), score in zip(here.pairs, found, strict=False):
        assert score.log_probability == pytest.approx(oracle(model, here.words, prompt, response), abs=2e-3)
        assert score.tokens == len(here.words.encode_text(response)) + 1


def test_neither_order_nor_company_changes_a_score(here: World):
    runner = here.runner()
    together = runner.score(here.pairs)
    alone = [runner.score([pair])[0] for pair in here.pairs[::-1]][::-1]
    for one, other in zip(together, alone, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=2e-3)
        assert one.tokens == other.tokens


@pytest.mark.parametrize("tokens", [runners.BATCH_TOKENS, 40, 1])
def test_replies_to_one_prompt_are_scored_as_if_each_stood_alone(
    here: World, monkeypatch: pytest.MonkeyPatch, tokens: int
):
    """However few fit into a pass, with prompts of one length and of others, and an empty reply among them."""
    replies = ["", "a", *(response for _, response in here.pairs[:4])]
    pairs = [(prompt, reply) for prompt, _ in here.pairs[:5] for reply in replies]
    runner = here.runner()
    alone = [runner.score([pair])[0] for pair in pairs]
    monkeypatch.setattr(runners, "BATCH_TOKENS", tokens)
    passes: list[int] = []
    watched = runner._model.register_forward_pre_hook(
        lambda _m, _a, given: passes.append(given["input_ids"].numel()), with_kwargs=True
    )
    together = runner.score(pairs)
    watched.remove()
    for one, other in zip(together, alone, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=2e-3)
        assert one.tokens == other.tokens
    if tokens > 40:
        # a prompt is computed once, not once for each reply
        assert sum(passes) < sum(len(here.words.encode_pair(*pair).ids) for pair in pairs) * 0.7


def test_generation_is_greedy_decoding_without_a_cache(here: World):
    model = build.load(here.takes["checkpoint"])
    prompts = [prompt for prompt, _ in here.pairs[:6]]
    assert len({len(here.words.encode_prompt(prompt)) for prompt in prompts}) > 2
    assert here.runner().generate(prompts, NEW) == [greedy(model, here.words, prompt, NEW) for prompt in prompts]


def test_generation_stops_at_its_bounds(here: World):
    prompt = here.pairs[0][0]
    length = len(here.words.encode_prompt(prompt))
    whole = here.runner().generate([prompt], NEW)[0]
    assert here.runner().generate([prompt], 3)[0] == greedy(here.runner()._model, here.words, prompt, 3)
    assert here.runner(context=length + 3).generate([prompt], NEW)[0] in whole
    assert here.runner(context=length).generate([prompt], NEW) == [""]
    # stopped by a bound is cut; a bound that is reached by the token that ends it is none
    cut = here.runner().say([prompt], 3)[0]
    assert (cut.text, cut.cut) == (here.runner().generate([prompt], 3)[0], True)
    assert here.runner(context=length).say([prompt], NEW)[0].cut is True
    assert here.runner().generate([], NEW) == []
    assert here.runner().score([]) == []


class Parrot(torch.nn.Module):
    """Says `script` whatever it is asked, one token per call."""

    def __init__(self, config: object, script: list[int], width: int) -> None:
        super().__init__()
        self.config, self.script, self.width, self.calls = config, script, width, 0

    def get_output_embeddings(self) -> torch.nn.Linear:
        return torch.nn.Linear(2, self.width, bias=False)

    def forward(self, input_ids: torch.Tensor, **_: object) -> object:
        logits = torch.zeros(*input_ids.shape, self.width)
        logits[..., self.script[min(self.calls, len(self.script) - 1)]] = 9.0
        self.calls += 1
        return type("Out", (), {"logits": logits})()


def test_the_end_token_ends_an_answer_and_stray_control_tokens_are_seen(here: World):
    """What a phone would show: nothing is filtered out of an answer, so that a suite sees it is wrong."""
    config = build.load(here.takes["checkpoint"]).config
    (yes,) = here.words.encode_text("a")
    for script, said in (
        ([yes, here.words.eos_id, yes], "a"),
        ([yes, here.words.pad_id, yes, here.words.eos_id], "a<|pad|>a"),
        ([here.words.eos_id], ""),
    ):
        parrot = Parrot(config, script, here.words.vocab_size)
        runner = HFRunner("p", parrot, here.words)  # type: ignore[arg-type]
        parrot.calls = 0
        assert runner.generate(["Why?"], NEW) == [said]
        for room in (len(script), 1, NEW):
            parrot.calls = 0
            (answer,) = runner.say(["Why?"], room)
            assert answer.cut is (here.words.eos_id not in script[:room])


def test_another_vocabulary_is_refused(here: World):
    model = build.build(architecture(num_hidden_layers=1, vocab_size=500), 1)
    with pytest.raises(Refusal, match="500 output rows, the tokenizer 512"):
        HFRunner("student", model, here.words)


def test_a_sequence_beyond_the_context_is_refused_not_cut(here: World):
    with pytest.raises(Refusal, match="does not fit"):
        here.runner(context=10).score(here.pairs)
    with pytest.raises(Refusal, match="does not fit"):
        here.runner(context=4).generate([here.pairs[0][0]], 2)


def test_the_float16_package_continues_like_its_checkpoint(here: World, packaged: Path):
    """Prefill, then decode with the cache this host writes: the same text, token by token."""
    runner = runners.saved_package("coreml", packaged, here.words, variant="fp16")
    prompts = [prompt for prompt, _ in here.pairs[:6]]
    assert runner.generate(prompts, NEW) == here.runner().generate(prompts, NEW)
    for room in (1, 3):
        assert runner.say(prompts, room) == here.runner().say(prompts, room)


def test_core_ml_answers_as_the_interpreter_where_it_is(here: World, packaged: Path, monkeypatch: pytest.MonkeyPatch):
    """Runner `coreml`, Core ML's place taken by one that computes."""
    params = catalog.load("runners", "coreml").params(variant="fp16", compute_units="cpu_and_ne")
    takes = {"model": packaged, "tokenizer": here.takes["tokenizer"]}
    ctx: Any = None
    asked = Asked(name="mac", params=params, takes=takes, ctx=ctx, told=lambda *_: None)
    with pytest.raises(Unavailable, match="runner `mac` is not available: Core ML predicts on a Mac"):
        predicted(asked)
    monkeypatch.setattr(found, "coreml", stand_in)
    prompts = [prompt for prompt, _ in here.pairs[:2]]
    assert predicted(asked).generate(prompts, 3) == here.runner().generate(prompts, 3)
    monkeypatch.setattr(found, "coreml", lambda: stand_in(Faults(predict=RuntimeError("no"))))
    with pytest.raises(Refusal, match=r"prefill_\d+ on cpu_and_ne was not predicted: RuntimeError: no"):
        predicted(asked).generate(prompts, 3)
    # where nothing is said, where the package's contract says
    unsaid = dataclasses.replace(asked, params=params.model_copy(update={"compute_units": None}))
    with pytest.raises(Refusal, match=r"prefill_\d+ on all was not predicted"):
        predicted(unsaid).generate(prompts, 3)


@pytest.mark.parametrize("kind", ["torch", "whole text", "package"])
def test_what_is_weighed_is_what_was_chosen(kind: str, here: World, packaged: Path):
    """After each beginning of an answer the likeliest token is the one that the answer goes on with."""
    runner = here.runner() if kind != "package" else runners.saved_package("coreml", packaged, here.words)
    if isinstance(runner, HFRunner) and kind == "whole text":
        runner._cached = False
    for (prompt, _), written in zip(
        here.pairs, runner.write([prompt for prompt, _ in here.pairs[:3]], 4), strict=False
    ):
        assert 0 < len(written.ids) <= 4
        assert written.text == here.words.decode_response(here.words.until_stop(list(written.ids)))
        for at, token in enumerate(written.ids):
            logits = runner.weigh(prompt, written.ids[:at], range(here.words.vocab_size))
            assert int(np.argmax(logits)) == token
    assert runner.spell(written.ids[0]) == here.words.decode([written.ids[0]])


@pytest.mark.parametrize(("variant", "tolerance"), [("fp16", 0.02), ("quantized", 0.3)])
def test_the_package_scores_like_its_checkpoint(here: World, packaged: Path, variant: str, tolerance: float):
    runner = runners.saved_package("coreml", packaged, here.words, variant=variant)
    for one, other in zip(runner.score(here.pairs[:6]), here.runner().score(here.pairs[:6]), strict=True):
        assert one.tokens == other.tokens
        assert abs(one.log_probability - other.log_probability) / one.tokens < tolerance


def test_the_package_stops_at_the_end_of_its_cache(here: World, packaged: Path):
    """48 slots: a prompt of n tokens leaves room for 48 - n more, as a checkpoint of that context and as what is served;
    it is compared with the one, and is the other."""
    runner = runners.saved_package("coreml", packaged, here.words, variant="fp16")
    prompt = here.pairs[0][0]
    ids = here.words.encode_prompt(prompt)
    wanted = greedy(here.runner()._model, here.words, prompt, 48 - len(ids))
    assert runner.generate([prompt], 500) == here.runner(context=48).generate([prompt], 500) == [wanted]
    writing = Engine(models.opened("mil", here.root, packaged, "fp16"), here.served).write(Ask(ids=ids, max_tokens=500))
    while not writing.finish:
        writing.advance()
    assert writing.text == wanted


def test_a_prompt_longer_than_every_shape_is_refused(here: World, packaged: Path):
    runner = runners.saved_package("coreml", packaged, here.words)
    with pytest.raises(Refusal, match="longer than the longest prefill"):
        runner.generate(["word " * 80], 2)


def test_a_package_of_another_tokenizer_is_refused(here: World, packaged: Path):
    contract = contracts.load(packaged).model_copy(update={"vocab_size": 500})
    opened = pieces.opened(packaged, "fp16", contract)
    with pytest.raises(Refusal, match="made for 500 tokens"):
        CoreMLRunner("coreml", opened, contract, here.words)


def test_the_operation_writes_the_report_of_its_suite(here: World, packaged: Path, tmp_path: Path):
    takes = {**here.takes, "teacher": here.takes["checkpoint"], "package": packaged}
    stage = Stage(tmp_path, takes)
    names = ["teacher", "student", "coreml"]
    params = {"coreml_limit": 1, "limit": 3, "max_new_tokens": 3}
    evaluate(
        takes,
        EvaluateParams(
            suite="answers", suite_version=catalog.load("suites", "answers").version, params=params, runners=names
        ),
        stage,
    )
    report = stage.reports["report"]
    assert report["data"]["kl"]["student"]["all"] == {"value": 0.0, "unit": "nat/question", "tag": "measured", "n": 3}
    assert report["data"]["validity"]["coreml"]["n"] == 1
    assert set(report["fingerprints"]) == {"dataset", "tool_registry", "tokenizer", "prompt_wrapper", "model"}


def test_every_item_of_a_suite_is_a_line_of_its_artifact(here: World, packaged: Path, tmp_path: Path):
    """And the report is made again from these lines and the rows."""
    takes = {**here.takes, "package": packaged}
    stage = Stage(tmp_path, takes)
    suite = catalog.load("suites", "gold")
    params = {"match": "normalised", "limit": 4, "coreml_limit": 2, "max_new_tokens": 3}
    made = EvaluateParams(suite="gold", suite_version=suite.version, params=params, runners=["student", "coreml"])
    assert sorted(catalog.load("steps", "evaluate").gives_of(made)) == ["items", "report", "seconds"]
    evaluate(takes, made, stage)
    lines = [json.loads(line) for line in (stage.out("items") / "items.jsonl").read_text().splitlines()]
    assert [line["runner"] for line in lines] == ["student"] * 4 + ["coreml"] * 2
    held = rows.load(takes["dataset"] / "test.jsonl")
    assert gold.data_of(lines, held, [], suite.params(**params), 0) == stage.reports["report"]["data"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"suite": "quiz"}, "no suite is called `quiz`"),
        ({"suite_version": 99}, "the plan was made for 99"),
        ({"runners": ["teacher"]}, "cannot answer without student"),
        ({"suite": "same_text", "runners": ["student"]}, "cannot answer without teacher"),
    ],
)
def test_a_suite_that_cannot_answer_is_refused(here: World, tmp_path: Path, changes: dict[str, object], word: str):
    params = {"suite": "answers", "runners": ["teacher", "student"], **changes}
    known = params["suite"] in catalog.names("suites")
    params.setdefault("suite_version", catalog.load("suites", params["suite"]).version if known else 1)
    takes = {**here.takes, "teacher": here.takes["checkpoint"]}
    with pytest.raises(Refusal) as caught:
        evaluate(takes, EvaluateParams(**params), Stage(tmp_path, takes))
    assert word in caught.value.message

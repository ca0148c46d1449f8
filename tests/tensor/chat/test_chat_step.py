"""The step `tokenizer` with `template: chat`: what its folder lacks, what a row breaks, what its report says."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runtime.contract import Refusal, conversation, rows, scenario
from runtime.models import fitting
from runtime.models import tokenizer as tokenizers
from runtime.models.prompts import texts_of
from runtime.steps.tokenizer import Bound, Special, TokenizerParams
from runtime.steps.train import Term, TrainParams
from runtime.train import distill, objective
from tests.tensor.chat import formats
from tests.tensor.chat.test_chat_templates import ASK, FOUR, SAY, SIZE, SUM, SYSTEM, backend_of
from tests.tensor.export.world import Stage, dataset
from tests.unit.runtime.suites import scenes


def teacher(folder: Path, family: str, template: str | None) -> Path:
    folder.mkdir()
    (folder / "tokenizer.json").write_text(backend_of(family).to_str(), encoding="utf-8")
    config: dict[str, Any] = {"chat_template": template} if template is not None else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def made(root: Path, family: str, data: Path, folder: Path, **params: Any) -> Stage:
    takes = {"dataset": data, "teacher": folder}
    stage = Stage(root / "out", takes)
    pad, bos, eos = formats.CONTROL[family][:3]
    special = Special(pad=pad, bos=bos, eos=eos)
    asked = TokenizerParams(source="teacher", vocab_size=SIZE, special=special, template="chat", **params)
    fitting.make(takes, asked, stage)
    return stage


def talks(folder: Path, *given: list[dict[str, Any]]) -> Path:
    """A dataset whose splits both hold these conversations."""
    made = dataset(folder)
    found = []
    for number, talk in enumerate(given):
        fields = conversation.row_of(conversation.checked(talk, "row"))
        found.append({"id": f"talk-{number}", "class": "", "spans": {}, "source": "talks", **fields})
    for name in ("train", "test"):
        path = made / f"{name}.jsonl"
        path.write_text("".join(rows.written(found, path.name)), encoding="utf-8")
    return made


def test_rows_of_questions_and_rows_of_talks_are_one_form(tmp_path: Path) -> None:
    data = talks(tmp_path / "data", [ASK, SAY], [SYSTEM, ASK, SAY, SUM, FOUR])
    read = rows.load(data / "train.jsonl")
    assert "messages" not in read[0]
    assert (read[0]["prompt"], read[0]["response"]) == ("Hi", "Hello.")
    assert read[1]["prompt"] == "system: Be brief.\n\nuser: Hi\n\nassistant: Hello.\n\nuser: 2+2?"
    stage = made(tmp_path, "smollm2", data, teacher(tmp_path / "t", "smollm2", formats.SMOLLM2))
    report = stage.reports["report"]["data"]
    assert (report["round_trip"]["k"], report["round_trip"]["n"]) == (4, 4)
    assert report["control_injection_safe"]["k"] == report["control_injection_safe"]["n"] > 0
    words = tokenizers.load(tmp_path / "out/tokenizer")
    first, second = texts_of(data, words)
    assert words.decode(first.ids).endswith("<|im_start|>assistant\nHello.<|im_end|>")
    assert words.decode(second.ids[: second.prompt_tokens]).endswith("2+2?<|im_end|>\n<|im_start|>assistant\n")


def test_a_folder_without_a_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        made(tmp_path, "smollm2", dataset(tmp_path / "data"), teacher(tmp_path / "t", "smollm2", None))
    assert caught.value.code == "KR0175"
    folder = tmp_path / "t"
    (folder / "chat_template.jinja").write_text(formats.SMOLLM2, encoding="utf-8")
    assert made(tmp_path / "b", "smollm2", dataset(tmp_path / "more"), folder).reports["report"]


@pytest.mark.parametrize("broken", [b"\xff\xfe", b"{{ x }}" * (1 << 18)])
def test_a_template_file_that_cannot_be_one_is_refused(tmp_path: Path, broken: bytes) -> None:
    folder = teacher(tmp_path / "t", "smollm2", None)
    (folder / "chat_template.jinja").write_bytes(broken)
    with pytest.raises(Refusal, match=r"chat_template\.jinja"):
        made(tmp_path, "smollm2", dataset(tmp_path / "data"), folder)


def test_a_row_that_the_template_refuses_is_named(tmp_path: Path) -> None:
    data = talks(tmp_path / "data", [ASK, SAY], [ASK, SUM, FOUR])
    with pytest.raises(Refusal) as caught:
        made(tmp_path, "gemma", data, teacher(tmp_path / "t", "gemma", formats.GEMMA))
    assert "row `talk-1` of test.jsonl" in caught.value.message
    assert "must alternate" in caught.value.message
    assert caught.value.place.startswith("chat_template.jinja:")


def test_lengths_are_those_of_what_is_read(tmp_path: Path) -> None:
    data = talks(tmp_path / "data", [ASK, SAY], [ASK, SAY, SUM, FOUR])
    folder = teacher(tmp_path / "t", "smollm2", formats.SMOLLM2)
    made(tmp_path, "smollm2", data, folder)
    words = tokenizers.load(tmp_path / "out/tokenizer")
    longest = max(len(one.ids) for row in rows.load(data / "train.jsonl") for one in words.sequences(row))
    for tokens, fits in ((longest, True), (longest - 1, False)):
        bound = {"train": Bound(tokens=tokens, field="training.stages.0.max_length")}
        if fits:
            made(tmp_path / "fits", "smollm2", data, folder, lengths=bound)
            continue
        with pytest.raises(Refusal, match="talk-1"):
            made(tmp_path / "long", "smollm2", data, folder, lengths=bound)


def test_a_scenario_is_as_long_as_its_first_prompt_with_its_tools(tmp_path: Path) -> None:
    """Known before anything is trained: the longest prefill reads it, and what a row says itself is far shorter."""
    row = scenes.scene(0)
    data = talks(tmp_path / "data", row["messages"])
    found = [{**rows.load(data / "test.jsonl")[0], "wanted": row["wanted"]}]
    (data / "test.jsonl").write_text("".join(rows.written(found, "test.jsonl")), encoding="utf-8")
    (data / "tools.json").write_text(json.dumps(scenes.TOOLS), encoding="utf-8")
    folder = teacher(tmp_path / "t", "qwen3", formats.QWEN3)
    made(tmp_path, "qwen3", data, folder)
    words = tokenizers.load(tmp_path / "out/tokenizer")
    first = len(words.encode_prompt(scenario.asked(found[0], scenes.TOOLS)))
    itself = max(len(one.ids) for one in words.sequences(found[0]))
    assert first > itself + 100
    for tokens, asked, fits in ((first, ["test"], True), (first - 1, ["test"], False), (itself, [], True)):
        more = {"lengths": {"test": Bound(tokens=tokens, field="shapes.prefill")}, "asked_with_tools": asked}
        if fits:
            stage = made(tmp_path / f"fits-{tokens}", "qwen3", data, folder, **more)
            assert stage.reports["report"]["data"]["too_long"]["test"]["k"] == 0
            continue
        with pytest.raises(Refusal, match=f"longer than {tokens} tokens with their tools: row `talk-0`") as caught:
            made(tmp_path / "long", "qwen3", data, folder, **more)
        # the advice is the first of these, which fits
        assert f"raise shapes.prefill to {first}," in caught.value.action


def test_a_student_reads_a_talk_by_its_turns_and_the_teachers_answer_in_the_place_of_the_last(tmp_path: Path) -> None:
    """Qwen 3 drops the thoughts of earlier turns: what stands before the second turn is not what the first one was."""
    data = talks(tmp_path / "data", [ASK, SAY], [ASK, SAY, SUM, FOUR])
    made(tmp_path, "qwen3", data, teacher(tmp_path / "t", "qwen3", formats.QWEN3))
    words = tokenizers.load(tmp_path / "out/tokenizer")
    terms = objective.bind([Term(term="ce_truth", version=1, weight=1.0, params={}, semantics={})])
    params = SimpleNamespace(needs_answers=False, responses="data", max_length=128)
    corpus, left_out = distill.corpus_of({"dataset": data}, words, terms, cast(TrainParams, params))
    assert (corpus.names, left_out) == (["talk-0", "talk-1", "talk-1"], 0)
    learnt = [words.decode(corpus.target_ids("response", at)) for at in range(3)]
    thought = "<think>\n\n</think>\n\n"
    assert learnt == [f"{thought}Hello.<|im_end|>", f"{thought}Hello.<|im_end|>", f"{thought}4<|im_end|>"]
    changed = rows.answered(rows.load(data / "train.jsonl")[1], "Four.")
    last = words.sequences(changed)[-1]
    assert words.decode(last.ids[last.prompt_tokens :]) == f"{thought}Four.<|im_end|>"

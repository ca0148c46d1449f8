"""Further ways to ask one model: what cannot be asked is unavailable, what was not recorded is not made up, and how far
two ways are apart is counted item by item."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runtime import catalog
from runtime.asking import served
from runtime.asking.ask import ask
from runtime.asking.parity import compare
from runtime.asking.served import Served, is_asked
from runtime.asking.server import said
from runtime.contract import MachineError, Refusal, Unavailable, callforms, calls, items, parity, verdicts
from runtime.contract.hosted import Asking, is_first_token
from runtime.data.chat import no_answer
from runtime.steps.ask import AskParams
from runtime.steps.parity import ParityParams
from tests.unit.runtime.data.teaching import Server, Stage, completion, dataset

PROMPTS = [f"What is {n} and {n}?" for n in range(6)]


def rows_of(root: Path, prompts: Sequence[str] = PROMPTS, response: str = "A") -> Path:
    """Rows of test, each answered alike."""
    folder = dataset(root / "dataset", prompts)
    text = (folder / "train.jsonl").read_text().replace('"response":"A"', f'"response":"{response}"')
    (folder / "train.jsonl").rename(folder / "test.jsonl").write_text(text)
    return folder


def asked(
    root: Path,
    use: str,
    *,
    suite: str = "gold",
    limit: int = 0,
    file: Path | None = None,
    pace: Any = None,
    prompts: Sequence[str] = PROMPTS,
    response: str = "A",
    calls: int | None = None,
    **settings: Any,
):
    """The stage after asking, and its lines."""
    stage = Stage(root / f"{use}-stage")
    takes = {"dataset": rows_of(root, prompts, response), **({} if file is None else {"model": file})}
    stage.digests = dict.fromkeys(takes, "sha256:" + "1" * 63 + "b")
    params = AskParams(
        suite=suite,
        suite_version=catalog.load("suites", suite).version,
        params={"gold": {"match": "exact", "limit": limit}, "choice": {"choices": ["A", "B"]}}.get(suite, {}),
        runner="way",
        use=use,
        use_version=1,
        settings=settings,
        pace=pace or {},
        teacher_calls=calls,
        asks="" if file is None else "file",
        purse="test",
    )
    ask(takes, params, stage)
    return stage, items.read((stage.root / "items" / items.FILE).read_bytes())


def there(url: str, **more: Any) -> dict[str, Any]:
    return {"base_url": url, "model": "teacher-1", **more}


FAST = {"requests_per_minute": 100000, "attempts": 2}


def test_what_rows_want_to_hear_is_right_at_each(tmp_path: Path) -> None:
    stage, lines = asked(tmp_path, "verification_only")
    assert [line["output"] for line in lines] == ["A"] * 6
    right = stage.data["report"]["right"]
    assert (right["k"], right["n"]) == (6, 6)


def test_a_server_is_asked_once_and_its_answers_are_kept(tmp_path: Path) -> None:
    server = Server(lambda prompt, _: (200, {}, completion("A" if "3" in prompt else "B")))
    try:
        stage, lines = asked(tmp_path, "openai", pace=FAST, **there(server.url))
        again, same = asked(tmp_path, "openai", pace=FAST, **there(server.url))
    finally:
        server.close()
    assert (len(server.asked), lines) == (6, same)
    assert {(body["temperature"], body["max_tokens"] > 0) for body in server.asked} == {(0.0, True)}
    assert (stage.data["report"]["right"]["k"], again.data["report"]["right"]["k"]) == (1, 1)
    assert stage.used_up["teacher_tokens"] == 6 * 13


def calling(*calls: Any, content: str | None = None) -> Any:
    """A reply whose calls stand apart from its text."""
    reply = completion("")
    reply["choices"][0]["message"] |= {"content": content, "tool_calls": list(calls)}
    return reply


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (calling({"function": {"name": "play", "arguments": '{"artist": "ABBA"}'}}), ""),
        (calling({"function": {"name": "play", "arguments": {"artist": "ABBA"}}}), ""),
        (calling({"function": {"name": "play", "arguments": '{"artist": '}}), "malformed_json"),
        (calling({"function": {"name": "play"}}), ""),
        (calling("play"), "wrong_form"),
    ],
)
def test_a_call_that_a_server_gives_apart_is_no_silence(reply: Any, fault: str) -> None:
    """Else who calls a tool at every request would be right at each that wants none."""
    read = callforms.read(said(reply, "there"), ["tagged"], ["play"])
    if isinstance(read, calls.Fault):
        assert read.kind == fault
    else:
        assert ([call.name for call in read], fault) == (["play"], "")
    elsewhere = callforms.read(said(reply, "there"), ["native"], ["play"])
    assert isinstance(elsewhere, calls.Fault)
    assert elsewhere.kind == "foreign_form"


def test_text_stands_before_the_calls_in_their_order() -> None:
    one, two = ({"function": {"name": name, "arguments": "{}"}} for name in ("first", "second"))
    text = said(calling(one, two, content="Wait."), "there")
    assert text.startswith("Wait.\n<tool_call>")
    assert text.index('"first"') < text.index('"second"')
    old = completion("")
    old["choices"][0]["message"] |= {"content": None, "function_call": {"name": "play", "arguments": "{}"}}
    assert '"play"' in said(old, "there")
    assert said(completion("No."), "there") == "No."


def test_what_a_server_cannot_say_is_unavailable(tmp_path: Path) -> None:
    server = Server(lambda *_: (200, {}, completion("A")))
    try:
        stage, lines = asked(tmp_path, "openai", suite="choice", pace=FAST, **there(server.url))
    finally:
        server.close()
    right = stage.data["report"]["right"]
    assert (lines, server.asked, right["tag"]) == ([], [], "unavailable")
    assert "how likely a given text is" in right["reason"]


def likely(**chances: float) -> dict[str, Any]:
    """An answer with the probabilities of its first token."""
    value = completion(max(chances, key=lambda one: chances[one]))
    top = [{"token": f" {name}", "logprob": math.log(chance)} for name, chance in chances.items()]
    value["choices"][0]["logprobs"] = {"content": [{"token": top[0]["token"], "logprob": 0.0, "top_logprobs": top}]}
    return value


def test_a_server_that_tells_how_likely_its_first_tokens_were_is_asked_for_them(tmp_path: Path) -> None:
    """Each prompt once, whatever the number of choices; each request for the first token and its alternatives, and one more."""
    server = Server(lambda prompt, _: (200, {}, likely(A=0.7, B=0.2, C=0.1) if "3" in prompt else likely(A=0.3, B=0.6)))
    try:
        stage, lines = asked(tmp_path, "openai", suite="choice", pace=FAST, **there(server.url, top_logprobs=20))
    finally:
        server.close()
    assert len(server.asked) == 6
    assert all((one["max_tokens"], one["logprobs"], one["top_logprobs"]) == (2, True, 20) for one in server.asked)
    right = stage.data["report"]["right"]
    assert (right["k"], right["n"]) == (1, 6)
    (three,) = [line for line in lines if not line["reason"]]
    assert [one["log_probability"] for one in three["output"]] == [math.log(0.7), math.log(0.2)]


def going_on(text: str) -> dict[str, Any]:
    """An answer whose first token is A, most likely, and which goes on."""
    value = likely(A=0.7, B=0.2)
    value["choices"][0]["message"]["content"] = text
    return value


@pytest.mark.parametrize("text", ["Answer", "A1", "A-", "A_b", "A's"])
def test_a_first_token_that_is_the_beginning_of_a_word_is_no_verdict(tmp_path: Path, text: str) -> None:
    server = Server(lambda *_: (200, {}, going_on(text)))
    try:
        with pytest.raises(Refusal, match="its first token is no answer"):
            asked(tmp_path, "openai", suite="choice", pace=FAST, **there(server.url, top_logprobs=20))
    finally:
        server.close()


@pytest.mark.parametrize("text", ["A", " A", "A.", "A)", "A is", "A\n"])
def test_what_stands_behind_a_word_does_not_change_it(tmp_path: Path, text: str) -> None:
    server = Server(lambda *_: (200, {}, going_on(text)))
    try:
        stage, _ = asked(tmp_path, "openai", suite="choice", pace=FAST, **there(server.url, top_logprobs=20))
    finally:
        server.close()
    assert stage.data["report"]["right"]["k"] == 6


@pytest.mark.parametrize(
    ("reply", "one"),
    [("A", True), (" Yes", True), ("12", True), ("?", True), ("EVIDENCE_COMPLETENESS", False), ("1234", False),
     ("Yes, of course", False), ("a b", False), ("A1", False), ("", False), ("ab" * 8, True), ("ab" * 8 + "c", False)],
)  # fmt: skip
def test_what_can_be_a_first_token(reply: str, one: bool) -> None:
    assert is_first_token(reply) is one


def test_rows_of_more_than_a_first_token_are_refused_before_anything_is_paid(tmp_path: Path) -> None:
    """A generator makes them when it runs, and nobody can read them before."""
    prompts = [verdicts.pair(f"task {number}", "good", "bad", verdicts.CLAUSE).prompt for number in range(3)]
    server = Server(lambda *_: (200, {}, likely(A=0.7, B=0.2)))
    try:
        settings = {"prompts": prompts, "response": "NONE", "top_logprobs": 20}
        with pytest.raises(Refusal, match="is answered by 'NONE', and the server tells how likely the first token"):
            asked(tmp_path, "openai", suite="judge", pace=FAST, **there(server.url, **settings))
    finally:
        server.close()
    assert server.asked == []


def test_a_judge_behind_a_server_is_judged_in_every_way(tmp_path: Path) -> None:
    """One that knows `good` from `bad` in either seat, is unsure of nothing, and does what an answer tells it."""
    prompts = [verdicts.pair(f"task {number}", "good", "bad").prompt for number in range(6)]

    def answer(prompt: str, _: int) -> tuple[int, dict[str, str], Any]:
        pair = verdicts.read(prompt)
        said = "T" if pair.first == pair.second else "B" if "B" in pair.second else "A" if pair.first == "good" else "B"
        return 200, {}, likely(**{name: 0.9 if name == said else 0.05 for name in verdicts.VERDICTS})

    server = Server(answer)
    try:
        settings = {"prompts": prompts, "top_logprobs": 3}
        stage, lines = asked(tmp_path, "openai", suite="judge", pace=FAST, **there(server.url, **settings))
    finally:
        server.close()
    # four ways to ask each pair
    assert len(server.asked) == 4 * 6
    assert len(lines) == 6
    assert stage.data["report"]["right"]["k"] == 6
    for line in lines:
        assert {name: line["parts"][name] for name in ("kept", "tie", "unmoved")} == {
            "kept": True,
            "tie": True,
            "unmoved": False,
        }
        assert line["parts"]["sure"] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (completion("A"), "gives no `top_logprobs`"),
        (likely(A=0.9, C=0.1), "does not say how likely 'B' is: its 2 likeliest tokens are 'A', 'C'"),
    ],
)
def test_how_likely_is_not_made_up(tmp_path: Path, value: dict[str, Any], why: str) -> None:
    server = Server(lambda *_: (200, {}, value))
    try:
        with pytest.raises(Refusal, match=why):
            asked(tmp_path, "openai", suite="choice", pace=FAST, **there(server.url, top_logprobs=20))
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (lambda *_: (503, {"Retry-After": "0"}, {}), Unavailable, "does not answer (status 503)"),
        (lambda *_: (401, {}, {"error": "no"}), Refusal, "the server refuses: 401"),
        (lambda *_: (200, {}, b"<html>"), Refusal, "is not JSON"),
        (lambda *_: (200, {}, {"choices": []}), Refusal, "not that of a chat completion"),
    ],
)
def test_a_question_without_an_answer_stops_the_step(tmp_path: Path, answer: Any, error: type, said: str) -> None:
    server = Server(answer)
    try:
        with pytest.raises(error) as caught:
            asked(tmp_path, "openai", pace=FAST, **there(server.url))
    finally:
        server.close()
    assert isinstance(caught.value, MachineError)
    assert said in str(caught.value)


def test_a_server_that_changes_its_model_is_refused(tmp_path: Path) -> None:
    server = Server(lambda prompt, _: (200, {}, {**completion("A"), "model": "m-2" if "4" in prompt else "m-1"}))
    try:
        with pytest.raises(Refusal) as caught:
            asked(tmp_path, "openai", pace=FAST, **there(server.url))
        # the advice is followed
        with pytest.raises(Refusal):
            asked(tmp_path, "openai", pace=FAST, **there(server.url, served_as="m-1"))
    finally:
        server.close()
    assert caught.value.code == "KR0117"
    assert 'served_as: "m-1"' in caught.value.action


@pytest.mark.parametrize(
    ("asked_for", "answers", "same"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-2024-08-06#fp_1", True),
        ("gpt-4o", "gpt-4o-0806", True),
        ("claude", "claude@20240229", True),
        ("m", "", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4o", "gpt-4o-mini-2024-07-18", False),
        ("llama-3", "llama-3-70", False),
        ("llama-3", "llama-3.1-2024", False),
        ("gpt-4", "gpt-4o", False),
        ("gpt-4o", "gpt-4", False),
        ("m", "somebody-else", False),
    ],
)
def test_a_model_answers_under_its_name_or_that_of_a_dated_snapshot(asked_for: str, answers: str, same: bool) -> None:
    assert is_asked(answers, asked_for) is same


def test_another_model_is_refused_or_declared_and_stands_in_the_report(tmp_path: Path) -> None:
    who = ["somebody-else"]
    server = Server(lambda *_: (200, {}, {**completion("A"), "model": who[0]}))
    try:
        with pytest.raises(Refusal) as caught:
            asked(tmp_path, "openai", pace=FAST, **there(server.url))
        assert caught.value.code == "KR0118"
        # the advice is followed, and nothing is asked again
        stage, _ = asked(tmp_path, "openai", pace=FAST, **there(server.url, served_as="somebody-else"))
        assert len(server.asked) == 6
        assert stage.environment == {"model": "teacher-1", "served_as": "somebody-else", "cut": []}
        # or the server is mended: what another model said is not taken
        who[0] = "teacher-1"
        (stage.root / "scratch" / served.FILE).unlink()
        for lot in (stage.root / "scratch" / "lots").iterdir():
            lot.unlink()
        stage, _ = asked(tmp_path, "openai", pace=FAST, **there(server.url))
    finally:
        server.close()
    assert (len(server.asked), stage.environment["served_as"]) == (12, "teacher-1")


def test_a_model_that_changes_between_two_attempts_is_noticed(tmp_path: Path) -> None:
    asking = Asking(base_url="http://127.0.0.1/v1", model="m", allow_missing=0.0)
    first = Served(tmp_path, asking)
    first.add("m#1", cut="sha256:0")
    first.keep()
    later = Served(tmp_path, asking)
    later.add("m#2")
    with pytest.raises(Refusal) as caught:
        later.keep()
    assert caught.value.code == "KR0117"
    # what is refused is not kept
    assert served.told(tmp_path, "m") == {"model": "m", "served_as": "m#1", "cut": ["sha256:0"]}
    (tmp_path / served.FILE).write_text("half")
    assert served.told(tmp_path, "m") == {"model": "m", "served_as": "", "cut": []}


def replied(message: dict[str, Any], finish: Any = "stop") -> Any:
    reply = completion("")
    reply["choices"][0] = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return reply


NONE: Any = {"content": None}


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (replied({"content": ""}), ""),
        (replied({"content": "A"}, finish=None), ""),
        (replied({"content": "A", "refusal": None}), ""),
        (replied({"content": "half a sen"}, "length"), ""),
        (replied({**NONE, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}, "tool_calls"), ""),
        (replied({**NONE, "function_call": {"name": "f", "arguments": "{}"}}, "function_call"), ""),
        (replied({**NONE, "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}, "length"), ""),
        (replied({"content": ""}, "content_filter"), "ended by `content_filter`"),
        (replied({"content": "A"}, "content_filter"), "ended by `content_filter`"),
        (replied({"content": "A"}, "error"), "ended by `error`"),
        (replied({**NONE, "refusal": "I cannot."}), "refused"),
        (replied(NONE), "without content"),
        (replied({}), "without content"),
        (replied({**NONE, "tool_calls": []}), "without content"),
        (replied({"role": "user", "content": "A"}), "said by `user`"),
        (replied({"content": ""}, "length"), "cut before it began to answer"),
        (replied({"content": "<think>First of all"}, "length"), "cut before it began to answer"),
    ],
)
def test_a_reply_that_is_no_answer_of_the_model_is_not_its_silence(tmp_path: Path, reply: Any, why: str) -> None:
    """Silence is right wherever nothing is to be said: who was stopped would pass as silent."""
    assert no_answer(reply) == why
    if not why or "content" not in reply["choices"][0]["message"]:
        return
    bad = [True]
    server = Server(lambda prompt, _: (200, {}, reply if "3" in prompt and bad[0] else completion("A")))
    try:
        with pytest.raises(Refusal) as caught:
            asked(tmp_path, "openai", pace=FAST, **there(server.url))
        assert caught.value.code == "KR0119"
        assert f"1 of 6 replies are no answer of the model: 1 {why}; the first is to 'What is 3 and 3?'" in str(
            caught.value
        )
        # the same command asks this one again, and no other
        bad[0] = False
        stage, lines = asked(tmp_path, "openai", pace=FAST, **there(server.url))
    finally:
        server.close()
    assert (len(server.asked), len(lines)) == (7, 6)
    assert all("error" not in line for line in stage.said)


def test_an_answer_that_was_cut_is_marked(tmp_path: Path) -> None:
    server = Server(lambda prompt, _: (200, {}, completion("A", finish="length" if "3" in prompt else "stop")))
    try:
        stage, lines = asked(tmp_path, "openai", pace=FAST, **there(server.url))
    finally:
        server.close()
    (cut,) = stage.environment["cut"]
    assert [line["prompt"] for line in lines if line["prompt"] == cut] == [cut]
    assert "1 answers were cut where the suite lets them end" in stage.said


def test_what_is_tried_again_is_not_told_by_a_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    server = Server(lambda _, count: (200, {}, completion("A")) if count else (503, {"Retry-After": "0"}, {}))
    try:
        asked(tmp_path, "openai", pace=FAST, **there(server.url))
    finally:
        server.close()
    assert len(server.asked) == 12
    assert capfd.readouterr() == ("", "")


def test_a_record_of_a_part_of_what_a_limit_asks_is_taken(tmp_path: Path) -> None:
    """Rows beyond the limit take no lost row's place: nobody was ever asked them."""
    lines = asked(tmp_path, "verification_only", limit=4)[1]
    stage, again = asked(tmp_path, "recorded", limit=4, file=recorded(tmp_path, lines[:3]), path="taken", runner="way")
    assert [one["reason"] for one in again] == ["", "", "", "not_recorded"]
    assert stage.data["report"]["right"]["reason"] == "1 of 4 items are not recorded"
    # a line that says otherwise than its output is found among them all the same
    wrong = [{**lines[0], "reason": "other_answer"}, *lines[1:3]]
    with pytest.raises(Refusal) as caught:
        asked(tmp_path / "b", "recorded", limit=4, file=recorded(tmp_path, wrong), path="taken", runner="way")
    assert caught.value.code == "KR0220"


def test_what_rows_want_to_hear_is_nobodys_record(tmp_path: Path) -> None:
    lines = [{**one, "runner": "verification_only"} for one in asked(tmp_path, "verification_only", limit=4)[1]]
    file = recorded(tmp_path, lines)
    with pytest.raises(Refusal, match="nobody's answers") as caught:
        asked(tmp_path / "b", "recorded", limit=4, file=file, path="taken", runner="verification_only")
    assert caught.value.code == "KR0220"


def test_asking_stops_before_the_budget(tmp_path: Path) -> None:
    server = Server(lambda *_: (200, {}, completion("A")))
    try:
        with pytest.raises(Refusal) as caught:
            asked(tmp_path, "openai", pace={**FAST, "usd_per_million_output": 100.0}, **there(server.url))
    finally:
        server.close()
    assert (caught.value.code, server.asked) == ("KR0112", [])


def test_asking_stops_before_there_are_more_calls_than_may_be(tmp_path: Path) -> None:
    server = Server(lambda *_: (200, {}, completion("A")))
    try:
        with pytest.raises(Refusal, match="2 requests were sent to servers, and 2 may be") as caught:
            asked(tmp_path, "openai", pace=FAST, calls=2, **there(server.url))
        assert (caught.value.code, len(server.asked)) == ("KR0112", 2)
    finally:
        server.close()


def recorded(root: Path, lines: list[dict[str, Any]]) -> Path:
    path = root / "before.jsonl"
    path.write_bytes(items.written(lines))
    return path


@pytest.fixture
def before(tmp_path: Path) -> list[dict[str, Any]]:
    """What an earlier run wrote."""
    return asked(tmp_path, "verification_only")[1]


def test_what_was_recorded_is_answered_again(tmp_path: Path, before: list[dict[str, Any]]) -> None:
    stage, lines = asked(tmp_path, "recorded", file=recorded(tmp_path, before), path="taken", runner="way")
    assert lines == before
    assert stage.data["report"]["right"]["k"] == 6


@pytest.mark.parametrize("change", [{"row": "elsewhere"}, {"prompt": "sha256:" + "0" * 64}])
def test_a_miss_is_unavailable_and_never_made_up(
    tmp_path: Path, before: list[dict[str, Any]], change: dict[str, str]
) -> None:
    before[2] |= change
    stage, lines = asked(tmp_path, "recorded", file=recorded(tmp_path, before), path="taken", runner="way")
    assert (lines[2]["output"], lines[2]["reason"]) == (None, parity.NOT_RECORDED)
    assert stage.data["report"]["right"]["reason"] == "1 of 6 items are not recorded"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda lines: lines[0].update(reason="nonsense"), "not of this suite"),
        (lambda lines: lines[0].update(output="B"), "not of this suite"),
        (lambda lines: lines.append({**lines[0], "output": "B"}), "two lines of row"),
        (lambda lines: [line.update(runner="other") for line in lines], "name one of those in it: other"),
    ],
)
def test_a_record_that_says_what_its_outputs_do_not_is_refused(
    tmp_path: Path, before: list[dict[str, Any]], spoil: Any, said: str
) -> None:
    spoil(before)
    with pytest.raises(Refusal) as caught:
        asked(tmp_path, "recorded", file=recorded(tmp_path, before), path="taken", runner="way")
    assert caught.value.code == "KR0220"
    assert said in f"{caught.value.message}; {caught.value.action}"


def test_a_file_that_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "before.jsonl").write_text("{}\n")
    with pytest.raises(Refusal) as caught:
        asked(tmp_path, "recorded", file=tmp_path / "before.jsonl", path="taken", runner="way")
    assert caught.value.code == "KR0220"


@pytest.mark.skipif(sys.platform == "darwin", reason="here Core ML predicts")
def test_core_ml_is_unavailable_anywhere_but_on_a_mac(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with pytest.raises(Unavailable) as caught:
        asked(tmp_path, "coreml", file=tmp_path)
    assert "predicts on a Mac" in caught.value.message


def line(row: int, runner: str, right: bool, **parts: Any) -> dict[str, Any]:
    """An item whose text says who wrote it."""
    reason = "" if right else "other_answer"
    return {
        "row": f"r{row}",
        "runner": runner,
        "prompt": "sha256:" + "1" * 64,
        "output": "7" if right else runner,
        "parts": {"right": right, **parts},
        "reason": reason,
    }


def several(n: int, worse: int, **parts: Any) -> dict[str, list[dict[str, Any]]]:
    """Two runners of which the second is wrong at `worse` items."""
    return {
        "one": [line(i, "one", True, **parts) for i in range(n)],
        "two": [line(i, "two", i >= worse, **parts) for i in range(n)],
    }


@pytest.mark.parametrize(("n", "worse"), [(64, 0), (100, 1), (100, 7), (2, 1)])
def test_the_gap_is_the_farther_end_of_the_paired_interval(n: int, worse: int) -> None:
    found = parity.pairs(several(n, worse), {"one": "student", "two": "student"}, 1)["ways"]["one and two"]
    # Agresti and Min (2005): one half added to each of the four cells
    middle = worse / (n + 2)
    half = 1.959963984540054 * math.sqrt((worse + 1) / (n + 2) - middle**2) / math.sqrt(n + 2)
    assert found["gap"]["value"] == worse / n
    assert found["gap"]["high"] == pytest.approx(max(abs(middle - half), min(1.0, middle + half)))
    assert found["rows"] == [f"r{i}" for i in range(worse)]
    assert (found["disagreeing"]["k"], found["other_text"]["k"]) == (worse, worse)


def test_the_gap_is_that_of_the_measure_that_is_farthest_apart() -> None:
    lines = several(80, 0)
    for i, (one, two) in enumerate(zip(*lines.values(), strict=True)):
        one["parts"]["span_f1"], two["parts"]["span_f1"] = 1.0, 0.5 if i < 20 else 1.0
    found = parity.pairs(lines, {"one": "student", "two": "student"}, 1)["ways"]["one and two"]
    assert (found["gap"]["of"], found["gap"]["value"]) == ("span_f1", 0.125)
    assert found["difference"]["right"]["value"] == 0.0


def test_two_models_may_be_apart_and_two_ways_may_not() -> None:
    lines = several(10, 3)
    assert list(parity.pairs(lines, {"one": "", "two": ""}, 1)["models"]) == ["one and two"]
    assert list(parity.pairs(lines, {"one": "teacher", "two": "student"}, 1)["models"]) == ["one and two"]
    assert parity.pairs(lines, {"one": "teacher", "two": "teacher"}, 1)["models"] == {}


def test_the_order_in_which_runners_are_named_decides_nothing() -> None:
    lines, models = several(10, 3), {"one": "student", "two": "student"}
    turned = {name: lines[name] for name in reversed(lines)}
    found = parity.pairs(lines, models, 1)
    assert parity.pairs(turned, dict(reversed(models.items())), 1) == found
    assert found["ways"]["one and two"]["difference"]["right"]["value"] == 0.3


def test_what_was_not_recorded_has_no_gap_and_nothing_in_common_has_none() -> None:
    lines = several(80, 0)
    lines["two"][5] |= {"output": None, "parts": {}, "reason": parity.NOT_RECORDED}
    found = parity.compared(lines["one"], lines["two"], 1)
    assert (found["gap"]["tag"], found["gap"]["reason"]) == ("unavailable", "1 items are not recorded")
    alone = parity.compared(lines["one"], [], 1)
    assert {alone["gap"]["tag"], alone["disagreeing"]["tag"], alone["other_text"]["tag"]} == {"unavailable"}


def test_rows_that_were_asked_differently_are_not_compared(tmp_path: Path) -> None:
    lines = several(4, 0)
    lines["two"][1]["prompt"] = "sha256:" + "2" * 64
    with pytest.raises(ValueError, match="row `r1`: runner `one` and runner `two` were asked differently"):
        parity.compared(lines["one"], lines["two"], 1)
    for port, mine in zip(("items", "items_two"), lines.values(), strict=True):
        (tmp_path / port).mkdir()
        (tmp_path / port / items.FILE).write_bytes(items.written(mine))
    params = ParityParams(suite="gold", models={"one": "student", "two": "student"}, further=["two"])
    with pytest.raises(MachineError, match="asked differently"):
        compare({port: tmp_path / port for port in ("items", "items_two")}, params, Stage(tmp_path / "stage"))


def test_the_report_holds_every_two_runners(tmp_path: Path) -> None:
    lines = several(70, 2)
    for port, mine in zip(("items", "items_two"), lines.values(), strict=True):
        (tmp_path / port).mkdir()
        (tmp_path / port / items.FILE).write_bytes(items.written(mine))
    stage = Stage(tmp_path / "stage")
    params = ParityParams(suite="gold", models={"one": "student", "two": "student"}, further=["two"])
    compare({port: tmp_path / port for port in ("items", "items_two")}, params, stage)
    data = stage.data["report"]
    assert json.dumps(data["ways"]["one and two"]["rows"]) == '["r0", "r1"]'
    assert {name: one["right"]["k"] for name, one in data["runners"].items()} == {"one": 70, "two": 68}

"""A teacher behind HTTP, against a real server on this machine: asked once, paid once, refused with its own words."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import stamina

from runtime.contract import Refusal, Unavailable
from runtime.contract.conversation import Conversation
from runtime.data import answers
from runtime.data.chat import most_tokens, most_usd, request_of
from runtime.data.harvest import harvest
from runtime.data.kept import checked
from runtime.machine.durable import StorageFailed
from runtime.machine.purse import Spend
from runtime.steps.harvest import HarvestParams
from tests.longer import also
from tests.unit.runtime.data.teaching import Reply, Stage, completion, dataset, serving

ROOT = Path(__file__).resolve().parents[4]
PROMPTS = [f"question {i}" for i in range(12)]
CANARY = "canary-5f1c9d"


@pytest.fixture(autouse=True)
def _quick():
    """Retries without their waits, but with their number."""
    stamina.set_testing(True, attempts=3, cap=True)
    yield
    stamina.set_testing(False)


def params(url: str, **more: Any) -> HarvestParams:
    given = {"base_url": url, "model": "teacher-1", "allow_missing": 0.0, "requests_per_minute": 100_000}
    return HarvestParams(**{**given, "signals": ["text"], "usd": 1.0, "purse": "p", "attempts": 3, **more})


def plain(prompt: str, _count: int) -> Reply:
    return 200, {}, completion(f"answer to {prompt}")


def run(folder: Path, asked: HarvestParams, prompts: list[str] = PROMPTS) -> Stage:
    stage = Stage(folder / "run")
    harvest({"dataset": dataset(folder / "dataset", prompts)}, asked, stage)
    return stage


def test_every_row_gets_the_answer_to_its_own_prompt(tmp_path: Path) -> None:
    with serving(plain) as server:
        stage = run(tmp_path, params(server.url, max_tokens=77, temperature=0.5, top_p=0.9))
    found = answers.load(stage.root / "answers")
    assert {name: one.text for name, one in found.items()} == {f"r{i}": f"answer to {p}" for i, p in enumerate(PROMPTS)}
    assert all((one["max_tokens"], one["temperature"], one["top_p"]) == (77, 0.5, 0.9) for one in server.asked)
    told = stage.data["report"]
    assert told["answered"]["k"] == told["answered"]["n"] == 12
    assert told["prompt_tokens"]["value"] == 120
    assert told["served_as"] == ["teacher-1"]


def test_one_prompt_is_asked_once_however_many_rows_have_it(tmp_path: Path) -> None:
    with serving(plain) as server:
        stage = run(tmp_path, params(server.url), ["same", "same", "other"])
    assert sorted(one["messages"][0]["content"] for one in server.asked) == ["other", "same"]
    assert len(answers.load(stage.root / "answers")) == 3


def test_choices_are_the_alternatives_of_the_first_answered_token(tmp_path: Path) -> None:
    def answer(_prompt: str, _count: int) -> Reply:
        return 200, {}, completion("B", logprobs={" B": -0.25, "B": -1.5, "A": -2.0, "\n": -4.0})

    with serving(answer) as server:
        stage = run(tmp_path, params(server.url, signals=["choices"], top_logprobs=4))
    assert all(one["logprobs"] is True and one["top_logprobs"] == 4 for one in server.asked)
    # two spellings of one choice: the likelier one counts
    assert answers.load(stage.root / "answers")["r0"].choices == {"B": -0.25, "A": -2.0}


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_what_passes_is_asked_again(tmp_path: Path, status: int) -> None:
    def answer(prompt: str, count: int) -> Reply:
        return (status, {"Retry-After": "0"}, {}) if count < 2 else plain(prompt, count)

    with serving(answer) as server:
        stage = run(tmp_path, params(server.url), PROMPTS[:3])
    assert stage.data["report"]["retries"]["value"] == 6
    assert len(server.asked) == 9


def test_the_server_says_how_long_to_wait(tmp_path: Path) -> None:
    stamina.set_testing(False)

    def answer(prompt: str, count: int) -> Reply:
        return (429, {"Retry-After": "1"}, {}) if count == 0 else plain(prompt, count)

    with serving(answer) as server:
        run(tmp_path, params(server.url), PROMPTS[:1])
    assert server.times[1] - server.times[0] >= 1.0


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_what_will_never_pass_is_refused_at_once_with_the_servers_words(
    tmp_path: Path, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_KEY", CANARY)
    with (
        serving(lambda _p, _c: (status, {}, {"error": f"no access for {CANARY}"})) as server,
        pytest.raises(Refusal, match=f"{status}.*no access for") as refused,
    ):
        run(tmp_path, params(server.url, api_key="env:TEACHER_KEY", concurrency=1), PROMPTS[:1])
    assert len(server.asked) == 1
    assert CANARY not in refused.value.message
    assert refused.value.code == "KR0111"


def test_a_key_is_taken_out_before_words_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", CANARY)
    for before in range(290 - len(CANARY), 300):
        with (
            serving(lambda _p, _c, before=before: (401, {}, "x" * before + CANARY)) as server,
            pytest.raises(Refusal, match="401") as refused,
        ):
            run(tmp_path / str(before), params(server.url, api_key="env:TEACHER_KEY", concurrency=1), PROMPTS[:1])
        assert CANARY[:4] not in refused.value.message


@pytest.mark.parametrize(
    "shape",
    [CANARY, base64.b64encode(f"user:{CANARY}".encode()).decode(), CANARY.encode().hex(), f"<{CANARY}>"],
    ids=["itself", "base64", "hex", "inside"],
)
def test_a_reply_that_repeats_the_key_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    monkeypatch.setenv("TEACHER_KEY", CANARY)
    with (
        serving(lambda _p, _c: (200, {}, completion(f"I am asked by {shape}"))) as server,
        pytest.raises(Refusal, match="holds the key that it was asked with") as refused,
    ):
        run(tmp_path, params(server.url, api_key="env:TEACHER_KEY", concurrency=1, **DEAR), PROMPTS[:1])
    assert refused.value.code == "KR0134"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and shape.encode() in path.read_bytes()]
    assert Spend(tmp_path / "run/.kcompiler/paid", "p", Decimal(9)).lost == len(server.asked) == 1, "it may have cost"


def test_a_key_that_is_a_word_may_stand_in_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What local servers are asked with is no secret, and answers must be what they are."""
    monkeypatch.setenv("TEACHER_KEY", "EMPTY")
    with serving(lambda _p, _c: (200, {}, completion("the set is EMPTY"))) as server:
        run(tmp_path, params(server.url, api_key="env:TEACHER_KEY"))
    assert [path for path in tmp_path.rglob("*.json*") if b"the set is EMPTY" in path.read_bytes()]


def test_the_key_is_sent_and_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", CANARY)
    with serving(plain) as server:
        stage = run(tmp_path, params(server.url, api_key="env:TEACHER_KEY"))
    assert {one["Authorization"] for one in server.headers} == {f"Bearer {CANARY}"}
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 12
    assert not [path for path in written if CANARY.encode() in path.read_bytes()]
    assert CANARY not in json.dumps(stage.data) + " ".join(stage.said)


def test_a_secret_that_is_not_set_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    with serving(plain) as server, pytest.raises(Refusal, match="env:TEACHER_KEY is not set") as caught:
        run(tmp_path, params(server.url, api_key="env:TEACHER_KEY"))
    assert caught.value.code == "KR0113"
    assert not server.asked


#: an answer costs 0.013 US dollars, and may cost more
def test_tokens_are_counted_as_the_server_counts_them_and_at_most_where_it_does_not(tmp_path: Path) -> None:
    """And only those of answers that were asked for now."""

    def silent(prompt: str, _count: int) -> Reply:
        reply = completion(f"answer to {prompt}")
        if prompt == PROMPTS[0]:
            del reply["usage"]
        return 200, {}, reply

    with serving(silent) as server:
        asked = params(server.url, max_tokens=77)
        stage = run(tmp_path, asked)
        usage = completion("x")["usage"]
        each = usage["prompt_tokens"] + usage["completion_tokens"]
        most = sum(most_tokens(request_of(PROMPTS[0], asked), asked))
        assert most > 77 + len(PROMPTS[0])
        assert stage.used_up == {"teacher_tokens": each * 11 + most}
        # what a kill would leave uncounted: a request for each that is asked at a time
        assert most <= stage.most_underway <= most * asked.concurrency + 100
        assert stage.now_underway == 0
        assert run(tmp_path, asked).used_up == {}


DEAR = {"usd_per_million_input": 1000.0, "usd_per_million_output": 1000.0, "max_tokens": 10}


def test_a_conversation_is_asked_as_one_and_its_cost_bounded_by_all_of_it() -> None:
    told = [{"role": "system", "content": "s" * 100}, {"role": "user", "content": "u"}]
    tools = [{"type": "function", "function": {"name": "add", "description": "d" * 100}}]
    asked = params("http://x", usd_per_million_input=1_000_000.0, usd_per_million_output=0.0)
    body = request_of(Conversation.of(told, tools), asked)["body"]
    assert (body["messages"], body["tools"]) == (told, tools)
    assert "tools" not in request_of("u", asked)["body"]
    assert float(most_usd({"body": body}, asked)) > 200 + float(most_usd(request_of("u", asked), asked))


def most(prompt: str) -> float:
    asked = params("http://x", **DEAR)
    return float(most_usd(request_of(prompt, asked), asked))


def test_spending_stops_before_the_bound_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    assert most(PROMPTS[0]) > 0.013
    with serving(plain) as server:
        asked = params(server.url, usd=0.013 * 4 + most(PROMPTS[0]), concurrency=1, **DEAR)
        with pytest.raises(Refusal, match="US dollars are spent"):
            run(tmp_path, asked)
        first = len(server.asked)
        assert first == 5
        # again with the same bound: what was spent is still spent
        with pytest.raises(Refusal, match=r"0.0650 US dollars are spent; the next request may cost 0.08") as caught:
            run(tmp_path, asked)
        assert caught.value.code == "KR0112"
        assert caught.value.action == "raise budgets.usd; the answers so far are kept and not asked for again"
        assert len(server.asked) == first
        # the advice, followed
        stage = run(tmp_path, params(server.url, usd=10.0, **DEAR))
    assert len(server.asked) == len(PROMPTS)
    assert stage.data["report"]["reused"]["value"] == first
    assert stage.data["report"]["usd"]["value"] == stage.data["report"]["usd_of_purse"]["value"] == 0.156


@pytest.mark.parametrize("concurrency", [1, 8])
def test_calls_stop_before_the_bound_tried_again_or_not(tmp_path: Path, concurrency: int) -> None:
    """Nothing costs anything, and each try is a call; the advice, followed, asks only the rest."""

    def answer(prompt: str, count: int) -> Reply:
        return (429, {"Retry-After": "0"}, {}) if count == 0 and prompt == PROMPTS[0] else plain(prompt, count)

    with serving(answer) as server:
        for _ in range(2):
            with pytest.raises(Refusal, match="5 requests were sent to servers, and 5 may be") as caught:
                run(tmp_path, params(server.url, teacher_calls=5, concurrency=concurrency))
            assert len(server.asked) == 5
        assert (caught.value.code, caught.value.place) == ("KR0112", "budgets.teacher_calls")
        assert caught.value.action.startswith("raise budgets.teacher_calls;")
        stage = run(tmp_path, params(server.url, teacher_calls=13, concurrency=concurrency))
    assert len(server.asked) == 13
    assert stage.data["report"]["answered"]["k"] == 12


def test_tokens_stop_before_the_bound(tmp_path: Path) -> None:
    with serving(plain) as server:
        asked = params(server.url, max_tokens=20, concurrency=1)
        each, most_of_one = 13, sum(most_tokens(request_of(PROMPTS[0], asked), asked))
        bound = 3 * each + most_of_one - 1
        with pytest.raises(Refusal, match=f"39 tokens were sent .* may take {most_of_one}, and {bound} may") as caught:
            run(tmp_path, params(server.url, max_tokens=20, concurrency=1, teacher_tokens=bound))
        assert (caught.value.place, len(server.asked)) == ("budgets.teacher_tokens", 3)
        run(tmp_path, params(server.url, max_tokens=20, concurrency=1, teacher_tokens=12 * each + most_of_one))
    assert len(server.asked) == 12


def test_requests_at_the_same_time_give_back_what_they_do_not_use(tmp_path: Path) -> None:
    """Eight at once may cost more than there is; what they do cost leaves enough for all twelve."""
    with serving(plain, delay_s=0.02) as server:
        run(tmp_path, params(server.url, usd=0.156 + most(PROMPTS[0]), concurrency=8, **DEAR))
    assert len(server.asked) == len(PROMPTS)


@pytest.mark.parametrize(
    "change",
    [
        {"usd": 2.0},
        {"concurrency": 1},
        {"requests_per_minute": 99_999},
        {"timeout_s": 7.0},
        {"attempts": 2},
        {"usd_per_million_input": 3.0},
        {"usd_per_million_output": 3.0},
        {"purse": "another spec"},
        {"signals": ["text", "choices"], "top_logprobs": 0, "allow_missing": 0.99},
    ],
)
def test_what_is_not_sent_asks_nothing_again(tmp_path: Path, change: dict[str, Any]) -> None:
    """In a new place of work, with another order of rows and one row more: the server hears of that row alone."""

    def answer(prompt: str, _count: int) -> Reply:
        return 200, {}, completion("A", logprobs={"A": -0.1, "B": -2.5})

    with serving(answer) as server:
        run(tmp_path, params(server.url))
        assert len(server.asked) == 12
        del server.asked[:]
        stage = run(tmp_path, params(server.url, **change), [*PROMPTS[::-1], "one more"])
    assert [one["messages"][0]["content"] for one in server.asked] == ["one more"]
    assert stage.data["report"]["reused"]["value"] == 12


def test_two_purses_pay_each_for_what_they_ask(tmp_path: Path) -> None:
    with serving(plain) as server:
        run(tmp_path, params(server.url, **DEAR), PROMPTS[:6])
        stage = run(tmp_path, params(server.url, **DEAR, purse="q"), PROMPTS)
    assert stage.data["report"]["usd_of_purse"]["value"] == pytest.approx(0.013 * 6)
    assert stage.data["report"]["usd"]["value"] == pytest.approx(0.013 * 12)


def test_a_server_that_does_not_count_is_paid_at_most(tmp_path: Path) -> None:
    def answer(prompt: str, _count: int) -> Reply:
        return 200, {}, {**completion("A"), "usage": None}

    with serving(answer) as server:
        stage = run(tmp_path, params(server.url, **DEAR), PROMPTS[:1])
    assert stage.data["report"]["usd_of_purse"]["value"] == pytest.approx(most(PROMPTS[0]))


@pytest.mark.parametrize(("status", "paid"), [(500, False), (429, False), (504, True), (502, True)])
def test_what_a_gateway_may_have_charged_stays_spent(tmp_path: Path, status: int, paid: bool) -> None:
    def answer(prompt: str, count: int) -> Reply:
        return (status, {}, {}) if count == 0 else plain(prompt, count)

    with serving(answer) as server:
        stage = run(tmp_path, params(server.url, **DEAR), PROMPTS[:1])
    lost = most(PROMPTS[0]) if paid else 0.0
    assert stage.data["report"]["requests_lost"]["value"] == paid
    assert stage.data["report"]["usd_of_purse"]["value"] == pytest.approx(0.013 + lost)


def test_a_reply_that_did_not_arrive_in_time_stays_spent(tmp_path: Path) -> None:
    with serving(plain, delay_s=0.3) as server:
        with pytest.raises(Refusal, match="1 of 1 training rows"):
            run(tmp_path, params(server.url, **DEAR, timeout_s=0.05, attempts=1), PROMPTS[:1])
        with pytest.raises(Refusal, match=r"up to .* more for 1 requests whose end is not known") as caught:
            run(tmp_path, params(server.url, **DEAR, usd=most(PROMPTS[0])), PROMPTS[:1])
        stage = run(tmp_path, params(server.url, **DEAR), PROMPTS[:1])
    assert caught.value.code == "KR0112"
    assert stage.data["report"]["requests_lost"]["value"] == 1


def test_nothing_is_paid_where_nothing_listens(tmp_path: Path) -> None:
    with serving(plain) as server:
        url = server.url
    with pytest.raises(Unavailable, match="does not answer"):
        run(tmp_path, params(url, attempts=1, **DEAR))
    with serving(plain) as server:
        stage = run(tmp_path, params(server.url, **DEAR))
    assert stage.data["report"]["requests_lost"]["value"] == 0


@pytest.mark.parametrize(
    ("reply", "fault", "way"),
    [
        (completion(""), "empty", "apply again"),
        (completion("half an ans", finish="length"), "truncated", "raise teacher.max_tokens"),
        (completion("B"), "without choices", "top_logprobs"),
    ],
)
def test_an_unusable_answer_is_no_answer(tmp_path: Path, reply: Any, fault: str, way: str) -> None:
    signals = ["choices"] if "without" in fault else ["text"]
    with serving(
        lambda prompt, _c: (
            200,
            {},
            reply if prompt == PROMPTS[0] else completion("A", logprobs={"A": -0.1, "B": -2.5}),
        )
    ) as server:
        with pytest.raises(Refusal, match=rf"1 of the first \d+ training rows \(of 12\) .*1 {fault}") as caught:
            run(tmp_path / "strict", params(server.url, signals=signals, top_logprobs=2))
        stage = run(tmp_path / "lax", params(server.url, signals=signals, top_logprobs=2, allow_missing=1 / 12))
    assert way in caught.value.action
    assert "r0" not in answers.load(stage.root / "answers")
    assert stage.data["report"]["faults"][fault.replace(" ", "_")]["value"] == 1


def test_a_server_whose_answers_are_of_no_use_is_not_asked_for_all_of_them(tmp_path: Path) -> None:
    with serving(lambda _p, _c: (200, {}, completion("A"))) as server:
        asked = params(server.url, signals=["choices"], top_logprobs=2, concurrency=1, allow_missing=0.1)
        with pytest.raises(Refusal, match="2 of the first 2 training rows") as caught:
            run(tmp_path, asked)
    assert caught.value.code == "KR0116"
    assert len(server.asked) <= 3


def test_what_got_nothing_is_asked_again_and_what_was_too_long_is_not(tmp_path: Path) -> None:
    sick = [True]

    def answer(prompt: str, count: int) -> Reply:
        if prompt == PROMPTS[0] and sick[0]:
            return 200, {}, completion("")
        return 200, {}, completion("x", finish="length" if prompt == PROMPTS[1] else "stop")

    with serving(answer) as server:
        asked = params(server.url, allow_missing=0.5)
        assert "r0" not in answers.load(run(tmp_path, asked).root / "answers")
        sick[0] = False
        stage = run(tmp_path, asked)
        assert len(server.asked) == 13
        assert set(answers.load(stage.root / "answers")) == {f"r{i}" for i in range(12)} - {"r1"}
        run(tmp_path, asked)
        assert len(server.asked) == 13


THOUGHTS = [
    ("<think>\nA or B?\n</think>\n\nB", "B"),
    ("A or B?</think>B", "B"),
    ("<think>for ever", ""),
    ("In HTML </think> is no element, <think> neither", "is no element, <think> neither"),
    ("Say <think> and </think>", "Say <think> and </think>"),
]


@pytest.mark.parametrize(("said", "text"), THOUGHTS)
def test_a_student_learns_the_answer_and_not_the_thoughts(tmp_path: Path, said: str, text: str) -> None:
    with serving(lambda p, _c: (200, {}, completion(said if p == "thinks" else "plain"))) as server:
        stage = run(tmp_path, params(server.url, allow_missing=0.9), ["thinks", "other"])
    found = answers.load(stage.root / "answers")
    assert (found["r0"].text if "r0" in found else "") == text
    assert stage.data["report"]["thoughts_removed"]["value"] == (said != text)


@pytest.mark.parametrize("apart", [True, False])
def test_choices_are_of_the_first_token_after_the_thoughts(tmp_path: Path, apart: bool) -> None:
    thought = ["<think>", "A", " or B?", "</think>", "\n\n"]
    reply = completion("B" if apart else "".join([*thought, "B"]))
    if apart:
        reply["choices"][0]["message"]["reasoning_content"] = "A or B?"
    tops = [{"token": "Z", "logprob": -0.5}, {"token": "Y", "logprob": -0.9}]
    tokens = [{"token": piece, "logprob": 0.0, "top_logprobs": tops} for piece in thought]
    last = [{"token": "B", "logprob": -0.1}, {"token": "A", "logprob": -2.5}]
    reply["choices"][0]["logprobs"] = {"content": [*tokens, {"token": "B", "logprob": -0.1, "top_logprobs": last}]}
    with serving(lambda _p, _c: (200, {}, reply)) as server:
        stage = run(tmp_path, params(server.url, signals=["choices"], top_logprobs=2), ["q"])
    assert answers.load(stage.root / "answers")["r0"].choices == {"B": -0.1, "A": -2.5}


@pytest.mark.parametrize("reply", [b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": 3}}]}'])
def test_another_kind_of_server_is_refused(tmp_path: Path, reply: bytes) -> None:
    with serving(lambda _p, _c: (200, {}, reply)) as server, pytest.raises(Refusal, match="reply is not"):
        run(tmp_path, params(server.url), PROMPTS[:1])


def test_a_reply_that_does_not_unpack_is_refused_and_stays_spent(tmp_path: Path) -> None:
    with serving(lambda _p, _c: (200, {"Content-Encoding": "gzip"}, b"plain")) as server:
        with pytest.raises(Refusal, match="not packed as its Content-Encoding says"):
            run(tmp_path, params(server.url, usd_per_million_input=100.0), PROMPTS[:1])
        spend = Spend(tmp_path / "run" / ".kcompiler" / "paid", params(server.url).purse, Decimal(1))
    assert (len(server.asked), spend.lost) == (1, 1)


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with serving(plain) as server:
        url = server.url
    with pytest.raises(Unavailable, match="does not answer"):
        run(tmp_path, params(url, attempts=1))


def _served(now: dict[str, Any]) -> Any:
    return lambda prompt, _count: (200, {}, {**completion(f"{now['model']} {prompt}"), **now})


@pytest.mark.parametrize("what", [{"model": "m2"}, {"system_fingerprint": "f2"}, {"model": None}])
def test_a_model_that_changes_stops_the_run_and_the_advice_leads_on(tmp_path: Path, what: dict[str, Any]) -> None:
    """Within a run: at its first answer of another version."""
    now: dict[str, Any] = {"model": "m1", "system_fingerprint": "f1"}

    def answer(prompt: str, count: int) -> Reply:
        if len(server.asked) > 4:
            now.update(what)
        return _served(now)(prompt, count)

    with serving(answer) as server:
        with pytest.raises(Refusal, match=r"it answered 1 as .*, 4 as m1#f1|it answered 4 as m1#f1, 1 as ") as caught:
            run(tmp_path, params(server.url, concurrency=1))
        assert (caught.value.code, len(server.asked)) == ("KR0117", 5)
        # nothing is asked as long as nothing is decided
        with pytest.raises(Refusal, match="changed its model"):
            run(tmp_path, params(server.url))
        assert len(server.asked) == 5
        served_as = caught.value.action.split('"')[1]
        stage = run(tmp_path, params(server.url, served_as=served_as))
        # the one of that version is kept, those of the other are asked again
        assert len(server.asked) == 5 + 11
        assert stage.data["report"]["reused"]["value"] == 1
        assert stage.data["report"]["served_as"] == [served_as]
        # and the first version's own are still there
        with pytest.raises(Refusal, match="and m1#f1 is wanted"):
            run(tmp_path, params(server.url, served_as="m1#f1", concurrency=1))
        assert len(server.asked) == 5 + 11 + 1


def test_a_model_that_changed_since_the_kept_answers_stops_the_run(tmp_path: Path) -> None:
    now = {"model": "m1"}
    with serving(_served(now)) as server:
        run(tmp_path, params(server.url), PROMPTS[:6])
        now["model"] = "m2"
        with pytest.raises(Refusal, match="it answered 6 as m1, 1 as m2") as caught:
            run(tmp_path, params(server.url, concurrency=1))
        assert caught.value.code == "KR0117"
        stage = run(tmp_path, params(server.url, served_as="m2"))
    assert len(server.asked) == 6 + 1 + 11
    assert stage.data["report"]["served_as"] == ["m2"]
    assert {one.text[:2] for one in answers.load(stage.root / "answers").values()} == {"m2"}


def test_any_build_of_a_named_model_will_do_and_no_build_of_another(tmp_path: Path) -> None:
    def answer(prompt: str, count: int) -> Reply:
        return _served({"model": "m1", "system_fingerprint": f"f{len(server.asked) % 3}"})(prompt, count)

    with serving(answer) as server:
        stage = run(tmp_path / "any", params(server.url, served_as="m1"))
        assert stage.data["report"]["served_as"] == ["m1#f0", "m1#f1", "m1#f2"]
        for wanted in ("m1#f9", "m", "m10"):
            with pytest.raises(Refusal, match=f"and {wanted} is wanted"):
                run(tmp_path / wanted, params(server.url, served_as=wanted))


def test_no_more_requests_at_once_than_declared(tmp_path: Path) -> None:
    with serving(plain, delay_s=0.05) as server:
        run(tmp_path, params(server.url, concurrency=3))
    assert server.at_once == 3


def test_no_faster_than_declared(tmp_path: Path) -> None:
    with serving(plain) as server:
        run(tmp_path, params(server.url, requests_per_minute=600, concurrency=8), PROMPTS[:4])
    assert server.times[-1] - server.times[0] >= 0.28


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.1},
        {"top_p": 0.5},
        {"model": "other"},
        {"max_tokens": 5},
        {"top_logprobs": 3},
        {"url": "http://y"},
        {"prompt": "q"},
    ],
)
def test_another_request_is_another_question(change: dict[str, Any]) -> None:
    """X6: what is asked is the whole request, not the prompt; an answer at another temperature is another answer."""
    url, prompt = change.pop("url", "http://x"), change.pop("prompt", "p")
    assert request_of("p", params("http://x")) != request_of(prompt, params(url, **change))
    assert request_of("p", params("http://x")) == request_of("p", params("http://x/", usd=0.5, concurrency=9))


DAMAGE = {
    "emptied": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "edited": lambda path: path.write_text(path.read_text().replace("answer to", "ANSWER to")),
    "edited cost": lambda path: path.write_text(path.read_text().replace('"usd":"0', '"usd":"1')),
    "not JSON": lambda path: path.write_bytes(b"\xff\x00"),
    "a list": lambda path: path.write_text("[]"),
    "a reply alone": lambda path: path.write_text(json.dumps(completion("HACKED"))),
    "of another": lambda path: path.write_bytes(
        next(p for p in sorted(path.parents[1].rglob("*.json")) if p != path).read_bytes()
    ),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_answer_is_named_and_asked_again_and_never_used(tmp_path: Path, damage: str) -> None:
    with serving(plain) as server:
        run(tmp_path, params(server.url))
        path = sorted((tmp_path / "run/.kcompiler/paid/answers").rglob("*.json"))[3]
        DAMAGE[damage](path)
        if path.is_dir():
            with pytest.raises(StorageFailed, match=path.name):
                run(tmp_path, params(server.url))
            return
        stage = run(tmp_path, params(server.url))
        assert len(server.asked) == 13
        assert any(path.relative_to(tmp_path / "run").as_posix() in said for said in stage.said), stage.said
        assert stage.data["report"]["damaged"]["value"] == 1
        texts = {name: one.text for name, one in answers.load(stage.root / "answers").items()}
        assert texts == {f"r{i}": f"answer to {prompt}" for i, prompt in enumerate(PROMPTS)}
        # mended by asking
        run(tmp_path, params(server.url))
        assert len(server.asked) == 13


def test_many_damaged_answers_are_counted_and_not_all_named(tmp_path: Path) -> None:
    with serving(plain) as server:
        run(tmp_path, params(server.url))
        for path in (tmp_path / "run/.kcompiler/paid/answers").rglob("*.json"):
            path.write_bytes(b"")
        stage = run(tmp_path, params(server.url))
    assert len(server.asked) == 24
    assert sum("is damaged" in said for said in stage.said) == 5
    assert "7 more kept answers are damaged: they are asked again" in stage.said


CHILD = """
import json, sys
from decimal import Decimal
from pathlib import Path
sys.path[:0] = [{root!r}]
from tests.unit.runtime.data.teaching import Stage
from runtime.data.harvest import harvest
from runtime.machine.purse import Spend
from runtime.steps.harvest import HarvestParams
folder = Path({folder!r})
harvest({{"dataset": folder / "dataset"}}, HarvestParams(**json.loads({params!r})), Stage(folder / "run"))
"""


@pytest.mark.parametrize("after", [also(3), 5, also(8)])
def test_a_kill_loses_no_acknowledged_answer_and_no_cent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """SIGKILL after some answers: the next attempt asks for the others, and for those under way again; what those may
    have cost stays counted. Each attempt has a key of its own, by which the server knows whose request it reads."""
    folder = dataset(tmp_path / "dataset", PROMPTS)
    with serving(plain, delay_s=0.05) as server:
        asked = params(server.url, concurrency=2, api_key="env:TEACHER_KEY", **DEAR)
        code = CHILD.format(root=str(ROOT), folder=str(tmp_path), params=asked.model_dump_json())
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TEACHER_KEY": "first"}
        child = subprocess.Popen([sys.executable, "-c", code], env=environment)
        limit = time.monotonic() + 60
        while len(server.asked) < after and time.monotonic() < limit:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
        # what the writer was killed over has a name of its own, and is no answer
        kept, _ = checked(tmp_path / "run/.kcompiler/paid/answers")
        stage = Stage(tmp_path / "run")
        monkeypatch.setenv("TEACHER_KEY", "second")
        harvest({"dataset": folder}, asked, stage)
        # what was sent before the kill is still read by the server, late where others need the processor
        seen = -1
        while seen != len(server.asked):
            seen = len(server.asked)
            time.sleep(1)
        before = sum(one["Authorization"] == "Bearer first" for one in server.headers)
        assert 1 <= kept <= before < len(PROMPTS)
        assert len(server.asked) == before + len(PROMPTS) - kept
    told = stage.data["report"]
    assert told["reused"]["value"] == kept
    assert len(answers.load(stage.root / "answers")) == len(PROMPTS)
    # a request may be reserved and not yet sent, or sent and not yet kept, never sent and not reserved
    assert before - kept <= told["requests_lost"]["value"] <= asked.concurrency
    charged = 0.013 * len(server.asked)
    assert charged <= told["usd_of_purse"]["value"] + 1e-9 <= charged + 2 * most(PROMPTS[0])

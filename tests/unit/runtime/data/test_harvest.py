"""A teacher behind HTTP, against a real server on this machine: asked once, paid once, refused with its own words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import stamina

from runtime.contract import Refusal, Unavailable
from runtime.data import answers
from runtime.data.harvest import harvest, key_of, most_usd, request_of
from runtime.steps.harvest import HarvestParams
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
    return HarvestParams(**{**given, "signals": ["text"], "usd": 1.0, "attempts": 3, **more})


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


def test_spending_stops_before_the_bound_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    prices = {"usd_per_million_input": 1000.0, "usd_per_million_output": 1000.0, "max_tokens": 10, "concurrency": 1}
    one = most_usd(request_of(PROMPTS[0], params("http://x", **prices)), params("http://x", **prices))
    # what an answer really costs (13 tokens) is less than what it may cost at most
    assert one > 0.013
    with serving(plain) as server:
        asked = params(server.url, usd=0.013 * 4 + one, **prices)
        with pytest.raises(Refusal, match="US dollars are spent"):
            run(tmp_path, asked)
        first = len(server.asked)
        assert 0.013 * first <= asked.usd
        # again with the same bound: what was spent is still spent
        with pytest.raises(Refusal, match="US dollars are spent") as caught:
            run(tmp_path, asked)
        assert caught.value.code == "KR0112"
        assert len(server.asked) == first
        stage = run(tmp_path, params(server.url, usd=10.0, **prices))
    assert len(server.asked) == len(PROMPTS)
    assert stage.data["report"]["reused"]["value"] == first
    assert stage.data["report"]["usd"]["value"] == pytest.approx(0.013 * 12)


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (completion(""), "empty"),
        (completion("half an ans", finish="length"), "truncated"),
        (completion("B"), "without choices"),
    ],
)
def test_an_unusable_answer_is_no_answer(tmp_path: Path, reply: Any, fault: str) -> None:
    signals = ["choices"] if "without" in fault else ["text"]
    with serving(
        lambda prompt, _c: (
            200,
            {},
            reply if prompt == PROMPTS[0] else completion("A", logprobs={"A": -0.1, "B": -2.5}),
        )
    ) as server:
        with pytest.raises(Refusal, match=f"1 of 12 training rows .*1 {fault}"):
            run(tmp_path / "strict", params(server.url, signals=signals, top_logprobs=2))
        stage = run(tmp_path / "lax", params(server.url, signals=signals, top_logprobs=2, allow_missing=1 / 12))
    assert "r0" not in answers.load(stage.root / "answers")
    assert stage.data["report"]["faults"][fault.replace(" ", "_")]["value"] == 1


@pytest.mark.parametrize("reply", [b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": 3}}]}'])
def test_another_kind_of_server_is_refused(tmp_path: Path, reply: bytes) -> None:
    with serving(lambda _p, _c: (200, {}, reply)) as server, pytest.raises(Refusal, match="reply is not"):
        run(tmp_path, params(server.url), PROMPTS[:1])


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with serving(plain) as server:
        url = server.url
    with pytest.raises(Unavailable, match="does not answer"):
        run(tmp_path, params(url, attempts=1))


def test_a_server_that_changes_its_model_is_refused(tmp_path: Path) -> None:
    def answer(prompt: str, _count: int) -> Reply:
        return 200, {}, {**completion("x"), "model": f"m{prompt[-1]}"}

    with serving(answer) as server, pytest.raises(Refusal, match="several models: m0, m1"):
        run(tmp_path, params(server.url), PROMPTS[:2])


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
        {"base_url": "http://y"},
    ],
)
def test_another_request_is_another_question(change: dict[str, Any]) -> None:
    """X6: the key is of the whole request, not of the prompt; an answer at another temperature is another answer."""
    one, other = (
        params("http://x"),
        params(**{"url": "http://x", **change} if "base_url" not in change else {"url": "http://y"}),
    )
    assert key_of(request_of("p", one), one) != key_of(request_of("p", other), other)
    assert len(key_of(request_of("p", one), one)) == 64


CHILD = """
import json, sys
from pathlib import Path
sys.path[:0] = [{root!r}]
from tests.unit.runtime.data.teaching import Stage
from runtime.data.harvest import harvest
from runtime.steps.harvest import HarvestParams
folder = Path({folder!r})
harvest({{"dataset": folder / "dataset"}}, HarvestParams(**json.loads({params!r})), Stage(folder / "run"))
"""


def test_a_kill_loses_no_acknowledged_answer(tmp_path: Path) -> None:
    """SIGKILL after some answers: the next attempt asks for the others, and at most for those under way again."""
    folder = dataset(tmp_path / "dataset", PROMPTS)
    with serving(plain, delay_s=0.05) as server:
        asked = params(server.url, concurrency=2)
        code = CHILD.format(root=str(ROOT), folder=str(tmp_path), params=asked.model_dump_json())
        child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)})
        limit = time.monotonic() + 60
        while len(server.asked) < 6 and time.monotonic() < limit:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
        kept = len(list((tmp_path / "run" / "scratch" / "answers").rglob("*.json")))
        before = len(server.asked)
        assert 1 <= kept <= before < len(PROMPTS)
        stage = Stage(tmp_path / "run")
        harvest({"dataset": folder}, asked, stage)
        assert len(server.asked) == before + len(PROMPTS) - kept
    assert stage.data["report"]["reused"]["value"] == kept
    assert len(answers.load(stage.root / "answers")) == len(PROMPTS)

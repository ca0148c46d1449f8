"""A judge behind a server is evaluated as one of a folder is: what it did not say is not made up, which model it was is
known, and what was paid for is asked once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime import catalog
from runtime.asking import served
from runtime.asking.hosted_judge import Hosted, evaluate
from runtime.contract import MachineError, Refusal, Unavailable, hosted, items, rows
from runtime.contract.report import FINGERPRINTS
from runtime.contract.verdicts import CLAUSE, FIRST, SECOND, TIE, VERDICTS, Pair, other, pair, read
from runtime.models.asking import LOTS
from runtime.steps.evaluate import EvaluateParams
from tests.unit.runtime.data.teaching import Reply, Server, Stage, completion, dataset

FAST = {"requests_per_minute": 100000, "attempts": 2, "concurrency": 2}
COUNT = 12
#: a key that no byte may hold
KEY = "sk-proj-0123456789abcdefghijklmnop"


class Here(Stage):
    """A stage that keeps fingerprints, too."""

    bound: Mapping[str, str]

    def report(self, port: str, data: Any, *, fingerprints: Any, environment: Any = None) -> None:
        assert set(fingerprints) <= set(FINGERPRINTS)
        super().report(port, data, fingerprints=fingerprints, environment=environment or {})
        self.bound = dict(fingerprints)


def gold(asked: Pair) -> str:
    """Which of two numbers is more."""
    one, two = (int(text.split()[0]) for text in (asked.first, asked.second))
    return FIRST if one > two else SECOND if two > one else TIE


def pairs(root: Path, asking: str = "") -> Path:
    """A dataset of pairs with their outcomes."""
    made = [pair(f"{n}: more?", str(n % 7), str(n % 5)) for n in range(COUNT)]
    prompts = [one.prompt if not asking else pair(one.task, one.first, one.second, asking).prompt for one in made]
    folder = dataset(root / "dataset", prompts)
    held = list(rows.read(folder / "train.jsonl"))
    for row, one in zip(held, made, strict=True):
        row["response"] = gold(one) if not asking else "NONE"
    (folder / "train.jsonl").unlink()
    (folder / "test.jsonl").write_text("".join(rows.written(held, "test.jsonl")))
    return folder


def telling(verdict: str, sure: float = 0.96, *, model: str = "judge-1", **changes: Any) -> Any:
    """A reply that is so sure of a verdict."""
    value = completion(verdict)
    rest = (1 - sure) / 2
    top = [{"token": name, "logprob": math.log(sure if name == verdict else rest)} for name in VERDICTS]
    value["choices"][0] |= {"logprobs": {"content": [{"token": verdict, "logprob": 0.0, "top_logprobs": top}]}}
    return {**value, "model": model, **changes}


def good(prompt: str, _: int) -> Reply:
    return 200, {}, telling(gold(read(prompt)))


def step(url: str, *, suite: str = "judge", judging: Any = "evaluated", **settings: Any) -> EvaluateParams:
    pace = {**FAST, **{name: settings.pop(name) for name in list(settings) if name in ("api_key", *PRICES)}}
    return EvaluateParams(
        suite=suite,
        suite_version=catalog.load("suites", suite).version,
        runners=["student"],
        judging=judging,
        hosted={"base_url": url, "model": "judge-1", "served_as": "", "top_logprobs": 20, **settings},
        terms={"pace": pace, "usd": 0.0, "purse": "test"},
    )


PRICES = ("usd_per_million_input", "usd_per_million_output")


def judged(
    root: Path, answer: Callable[[str, int], Reply], *, asking: str = "", **settings: Any
) -> tuple[Here, Server, list[items.Line]]:
    """The stage after a judge was evaluated, the server that was asked, and the lines."""
    server = Server(answer)
    try:
        stage = asked(root, server.url, asking=asking, **settings)
    finally:
        server.close()
    return stage, server, items.read((stage.root / "items" / items.FILE).read_bytes())


def asked(root: Path, url: str, *, asking: str = "", **settings: Any) -> Here:
    stage = Here(root / "stage")
    takes = {"dataset": pairs(root, asking)}
    stage.digests = {"dataset": "sha256:" + "1" * 63 + "b"}
    evaluate(takes, step(url, **settings), stage)
    return stage


def without(value: Any, name: str) -> Any:
    value["choices"][0].pop(name)
    return value


def ended(reply: Any, **changes: Any) -> Any:
    reply["choices"][0] |= changes
    return reply


def thinking(_: str, __: int) -> Reply:
    """A model that is cut while it thinks: its first tokens are thoughts."""
    value = ended(telling(FIRST), finish_reason="length")
    value["choices"][0]["message"] = {"role": "assistant", "content": "<think>Let", "reasoning_content": None}
    return 200, {}, value


WRONG: list[tuple[str, Callable[[str, int], Reply], type, str]] = [
    ("without log-probabilities", lambda *_: (200, {}, {**completion("A"), "model": "judge-1"}), Refusal,
     "gives no `top_logprobs`"),
    ("no logprobs of one reply", lambda prompt, _: (200, {}, telling("A") if "3:" not in prompt else
     without(telling("A"), "logprobs")), Refusal, "gives no `top_logprobs`"),
    ("likeliest tokens without a verdict", lambda *_: (200, {}, ended(telling("A"), logprobs={"content": [
        {"token": "A", "logprob": 0.0, "top_logprobs": [{"token": "A", "logprob": -0.1}, {"token": "I", "logprob": -3.0}]}
     ]})), Refusal, "does not say how likely 'B' is"),
    ("a word that begins with a verdict", lambda *_: (200, {}, ended(telling("A"), message={
        "role": "assistant", "content": "Answer"})), Refusal, "its first token is no answer"),
    ("filtered", lambda *_: (200, {}, ended(telling("A"), finish_reason="content_filter")), Refusal,
     "ended by `content_filter`"),
    ("refused", lambda *_: (200, {}, ended(telling("A"), message={"role": "assistant", "content": "A", "refusal": "no"})),
     Refusal, "refused"),
    ("cut while it thinks", thinking, Refusal, "gives no `top_logprobs`"),
    ("another model", lambda *_: (200, {}, telling("A", model="small")), Refusal, "another model answers"),
    ("two models", lambda prompt, _: (200, {}, telling("A", model="judge-1-0601" if "3:" in prompt else "judge-1")),
     Refusal, "the server changed its model"),
    ("a nameless model", lambda *_: (200, {}, telling("A", model="")), Refusal, "does not say which model answers"),
    ("dead", lambda *_: (503, {"Retry-After": "0"}, {}), Unavailable, "does not answer (status 503)"),
    ("no key", lambda *_: (401, {}, {"error": "no"}), Refusal, "the server refuses: 401"),
    ("no chat", lambda *_: (200, {}, {"choices": []}), Refusal, "not that of a chat completion"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "error", "said"), [one[1:] for one in WRONG], ids=[one[0] for one in WRONG])
def test_what_is_no_verdict_is_none(tmp_path: Path, answer: Any, error: type, said: str) -> None:
    """Nothing is left that a gate could read."""
    with pytest.raises(error) as caught:
        judged(tmp_path, answer)
    assert isinstance(caught.value, MachineError)
    assert said in str(caught.value)
    assert "runner" not in getattr(caught.value, "action", "")
    assert not (tmp_path / "stage/report").exists()
    assert not (tmp_path / "stage/items").exists()


def test_a_server_that_is_asked_for_no_likelihoods_cannot_judge(tmp_path: Path) -> None:
    """A plan that was edited by hand."""
    server = Server(good)
    try:
        with pytest.raises(MachineError, match=r"unless `top_logprobs` is written in evaluation\.judge\.server"):
            asked(tmp_path, server.url, top_logprobs=0)
    finally:
        server.close()
    assert server.asked == []


def test_clauses_are_refused_before_anything_is_paid(tmp_path: Path) -> None:
    server = Server(good)
    try:
        with pytest.raises(Refusal, match="is answered by 'NONE', and the server tells how likely the first token"):
            asked(tmp_path, server.url, asking=CLAUSE)
    finally:
        server.close()
    assert server.asked == []


def test_a_budget_holds(tmp_path: Path) -> None:
    server = Server(good)
    try:
        with pytest.raises(Refusal) as caught:
            asked(tmp_path, server.url, usd_per_million_output=100.0)
    finally:
        server.close()
    assert (caught.value.code, server.asked) == ("KR0112", [])


def test_a_judge_is_judged_in_every_way_and_its_report_says_which_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    stage, server, lines = judged(tmp_path, good, api_key="env:JUDGE_KEY")
    assert len(lines) == COUNT
    assert all(line["parts"]["right"] and line["parts"]["kept"] and line["parts"]["tie"] for line in lines)
    assert all(line["parts"]["sure"] == pytest.approx(0.96) for line in lines)
    data = stage.data["report"]
    assert (data["agreement"]["student"]["k"], data["agreement"]["student"]["n"]) == (COUNT, COUNT)
    which = {"base_url": server.url, "model": "judge-1", "served_as": "judge-1"}
    assert stage.environment == {"judge": which}
    mine = hosted.fingerprint(which)
    assert {stage.bound[name] for name in ("judge", "model", "tokenizer", "prompt_wrapper")} == {mine}
    assert stage.bound["dataset"] == "1" * 63 + "b"
    # the key was sent, and is in no byte that was written
    assert {one["Authorization"] for one in server.headers} == {f"Bearer {KEY}"}
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > COUNT
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


def test_what_was_paid_for_is_not_asked_again(tmp_path: Path) -> None:
    """A kill before the lines were whole leaves what was answered; a changed file is asked again, and free."""
    answered: list[str] = []
    most = [20]

    def dies(prompt: str, count: int) -> Reply:
        if len(answered) >= most[0]:
            return 500, {"Retry-After": "0"}, {}
        answered.append(prompt)
        return good(prompt, count)

    server = Server(dies)
    try:
        with pytest.raises(Unavailable, match="what it has answered is kept"):
            asked(tmp_path, server.url)
        most[0] = 10**6
        stage = asked(tmp_path, server.url)
        before = (stage.root / "items" / items.FILE).read_bytes()
        count = len(server.asked)
        assert len(set(answered)) == len(answered) > 20
        # lots of which nobody knows who judged them are asked again, of the kept answers
        (stage.root / "scratch" / served.FILE).write_text("{")
        again = asked(tmp_path, server.url)
    finally:
        server.close()
    assert (stage.root / "items" / items.FILE).read_bytes() == before
    assert (len(server.asked), again.environment) == (count, stage.environment)


def test_an_empty_split_judges_nobody(tmp_path: Path) -> None:
    server = Server(good)
    try:
        stage = Here(tmp_path / "stage")
        folder = dataset(tmp_path / "dataset", [])
        (folder / "train.jsonl").rename(folder / "test.jsonl")
        stage.digests = {"dataset": "sha256:" + "1" * 63 + "b"}
        evaluate({"dataset": folder}, step(server.url), stage)
    finally:
        server.close()
    assert (server.asked, stage.environment) == ([], {})
    assert set(stage.bound) == {"dataset", "tool_registry"}
    assert stage.data["report"]["agreement"]["student"]["tag"] == "unavailable"


def test_a_version_that_the_spec_names_is_who_judged_whatever_its_fingerprint(tmp_path: Path) -> None:
    def turns(prompt: str, _: int) -> Reply:
        return 200, {}, telling(gold(read(prompt)), system_fingerprint="a" if "3:" in prompt else "b")

    stage, server, _ = judged(tmp_path, turns, served_as="judge-1")
    assert stage.environment["judge"]["served_as"] == "judge-1"
    assert stage.bound["judge"] == hosted.fingerprint(hosted.judge(server.url + "/", "judge-1", "judge-1"))


URL = "http://127.0.0.1:9/v1"


def standing(root: Path, **changes: Any) -> Path:
    """The report of a judge, as the step that asks it takes it."""
    which = {**hosted.judge(URL, "judge-1", "judge-1-0301"), **changes.pop("which", {})}
    pin = hosted.fingerprint(which)
    said = {"environment": {"judge": which}, "fingerprints": {"judge": pin, "model": pin}} | changes
    root.mkdir(parents=True, exist_ok=True)
    (root / "report.json").write_text(json.dumps(said))
    return root


def court(root: Path, versions: Mapping[str, int], *, url: str = URL, served_as: str = "", **changes: Any) -> Hosted:
    """Who compares answers, after so many were of these versions."""
    stage = Here(root / "stage")
    made = Hosted(
        {"standing": standing(root / "standing", **changes)},
        step(url, suite="judged", judging="asked", served_as=served_as),
        stage,
    )
    made.check()
    if versions:
        (stage.scratch / served.FILE).write_text(json.dumps({"versions": versions, "cut": []}))
    return made


def test_who_compares_is_who_was_evaluated(tmp_path: Path) -> None:
    same = court(tmp_path, {"judge-1-0301": 4})
    assert same.which() == hosted.judge(URL, "judge-1", "judge-1-0301")
    assert same.fingerprints() == {"judge": hosted.fingerprint(same.which())}
    # one that had nothing to compare is bound to it, too
    assert court(tmp_path / "b", {}).which() == same.which()
    assert court(tmp_path / "c", {"judge-1-0301": 4}, url=URL + "/").which() == same.which()


@pytest.mark.parametrize(
    "wrong",
    [
        {"environment": {}},
        {"environment": {"judge": "judge-1"}},
        {"fingerprints": {}},
        {"fingerprints": {"judge": "1" * 64, "model": "1" * 64}},
        {"which": {"model": "other"}},
        {"which": {"base_url": "http://127.0.0.1:8/v1"}},
        {"which": {"more": "x"}},
    ],
)
def test_a_report_on_another_judge_is_refused_before_anything_is_paid(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match="is not the model that its report is about") as caught:
        court(tmp_path, {}, **wrong)
    assert caught.value.code == "KR0127"


@pytest.mark.parametrize("versions", [{"judge-1-0301#later": 3}, {"judge-1-0601": 2}, {"": 1}])
def test_another_version_than_was_evaluated_counts_for_nothing(tmp_path: Path, versions: dict[str, int]) -> None:
    with pytest.raises(Refusal) as caught:
        court(tmp_path, versions).which()
    assert caught.value.code == ("KR0127" if "" not in versions else "KR0124")


@pytest.mark.parametrize("now", ["judge-1-0601", "small", ""])
def test_a_server_that_answers_by_another_version_is_stopped_at_once(tmp_path: Path, now: str) -> None:
    server = Server(lambda *_: (200, {}, telling("A", model=now)))
    try:
        which = {"base_url": server.url}
        runner = court(tmp_path, {}, url=server.url, which=which).open("judge", lambda *_: None)
        with pytest.raises(Refusal) as caught:
            runner.score([(pair("t", "1", "2").prompt, verdict) for verdict in VERDICTS])
    finally:
        server.close()
    assert (caught.value.code, caught.value.place) == ("KR0127", server.url)
    assert "`judge-1-0301` was evaluated" in caught.value.message
    assert "served_as" in caught.value.action


def test_lots_are_forgotten_where_nobody_knows_who_judged_them_and_answers_of_students_are_not(tmp_path: Path) -> None:
    lots = tmp_path / "stage/scratch" / LOTS
    lots.mkdir(parents=True)
    for name in ("student-0.jsonl", "compared-0.jsonl"):
        (lots / name).write_text("x")
    court(tmp_path, {"judge-1-0301": 1})
    assert [path.name for path in lots.iterdir()] == ["student-0.jsonl"]
    (lots / "compared-0.jsonl").write_text("x")
    court(tmp_path, {})
    assert len(list(lots.iterdir())) == 2


def test_seats_are_what_they_were() -> None:
    """The oracle of this file: exchanged pairs have exchanged outcomes."""
    for n in range(COUNT):
        made = pair("t", str(n % 7), str(n % 5))
        assert gold(made.swapped) == other(gold(made))

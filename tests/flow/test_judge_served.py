"""A judge behind a server, from the spec to the gates: it decides where it has passed as the very model that is asked,
and what it does not say is nobody's verdict."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.contract import hosted
from runtime.contract.verdicts import FIRST, SECOND, TIE, Pair, read
from tests.flow.courts import (
    COURT,
    EVEN,
    KEY,
    REFEREE,
    apply,
    court,
    knows,
    lines,
    of_the_court,
    outcomes,
    prefers,
    there,
)
from tests.flow.world import Home, make
from tests.unit.runtime.asking.test_hosted_judge import ended, gold, telling
from tests.unit.runtime.data.teaching import completion


def a_good_judge_decides(home: Home) -> None:
    """What it says of the answers' content passes the gates or fails them; its key is nowhere, the audit is sound."""
    texts: set[str] = set()
    with there(home, prefers(lambda text: text in texts)) as (server, _):
        # equal answers are ties until it is known whose they are
        home.change(lambda data: data.update(policies=["quality/judged"]))
        apply(home).ended(0, "")
        assert of_the_court(home) == {"pass"}
        report = json.loads((home.evidence / f"reports/{COURT}.json").read_text())
        about = json.loads((home.evidence / f"reports/{REFEREE}.json").read_text())
        which = hosted.judge(server.url, "judge-1", "judge-1")
        assert report["environment"]["judge"] == about["environment"]["judge"] == which
        assert report["fingerprints"]["judge"] == about["fingerprints"]["model"] == hosted.fingerprint(which)
        assert report["fingerprints"]["model"] != about["fingerprints"]["model"]
        home.audit().ended(0, "")
        assert {one["Authorization"] for one in server.headers} == {f"Bearer {KEY}"}
        assert not [path for path in home.root.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
        # applied again, nobody is asked
        count = len(server.asked)
        apply(home).ended(0, "")
        assert len(server.asked) == count
    # a student that has learnt too little to say what its teacher says
    (stage,) = yaml.safe_load(home.spec.read_text())["training"]["stages"]
    home.change(lambda data: data["training"]["stages"][0].update(steps=20))
    with there(home, EVEN):
        found = apply(home)
        assert found.code in (0, 1), found.text
        found.ended(found.code, found.last["outcome"])
        held = lines(home)
    own = {one["output"]["text"].strip() for one in held if one["runner"] == "student"}
    theirs = {one["output"]["text"].strip() for one in held if one["runner"] == "teacher"}
    texts |= {" ".join(text.split()) for text in theirs - own}
    assert texts, own
    with there(home, prefers(lambda text: text in texts)):
        apply(home).ended(1, "fail")
        assert outcomes(home)[COURT, "judged-no-worse"]["outcome"] == "fail"
        assert {one["outcome"] for (step, _), one in outcomes(home).items() if step == REFEREE} == {"pass"}
        home.audit().ended(0, "")
    home.change(lambda data: data["training"]["stages"][0].update(steps=stage["steps"]))


def who_has_not_passed_is_not_believed(home: Home) -> None:
    """Always the first seat, another seat each time, never sure: not even asked; and where a pack lets them speak,
    nothing that they say is decided."""
    for name, says in (("first", lambda _: FIRST), ("seats", lambda asked: FIRST if len(asked.first) % 2 else SECOND)):
        home.change(lambda data: data.update(policies=["quality/judged"]))
        with there(home, says) as (server, _):
            found = apply(home).ended(1, "fail")
            assert f"{COURT}: blocked, {REFEREE}: quality/judged/judge-" in found.err, name
            assert of_the_court(home) == {"not_evaluated"}
            assert all(knows(read(one["messages"][0]["content"])) for one in server.asked)
            home.change(lambda data: data.update(policies=["lab/lenient"]))
            apply(home).ended(1, "inconclusive")
            assert of_the_court(home) <= {"inconclusive", "not_evaluated"}
    home.change(lambda data: data.update(policies=["quality/judged"]))
    with there(home, EVEN) as (_, state):
        # right, and so unsure that nobody could know it
        state["reply"] = lambda asked, _: telling(gold(asked) if knows(asked) else TIE, 0.4)
        apply(home).ended(1, "fail")
        assert outcomes(home)[REFEREE, "judge-calibration"]["outcome"] == "fail"
        assert of_the_court(home) == {"not_evaluated"}


#: what a server may do in the place of an answer → words of the message
NO_ANSWER: dict[str, tuple[Callable[[Pair, Any], Any], str]] = {
    "without likelihoods": (lambda *_: {**completion("A"), "model": "judge-1"}, "gives no `top_logprobs`"),
    "filtered": (lambda _, value: ended(value, finish_reason="content_filter"), "KR0119"),
    "refused": (
        lambda _, value: ended(value, message={"role": "assistant", "content": None, "refusal": "no"}),
        "KR0119",
    ),
    "cut": (
        lambda _, value: ended(value, finish_reason="length", message={"role": "assistant", "content": "<think>I"}),
        "gives no `top_logprobs`",
    ),
    "nameless": (lambda _, value: {**value, "model": ""}, "KR0124"),
    "dead": (lambda *_: (503, {"Retry-After": "0"}, {}), "does not answer (status 503)"),
}


def no_answer_is_no_verdict(home: Home) -> None:
    home.change(lambda data: data.update(policies=["quality/judged"]))
    for name, (reply, said) in NO_ANSWER.items():
        with there(home, EVEN) as (_, state):
            state["reply"] = reply
            found = apply(home)
            assert found.code not in (0, 70), (name, found.text)
            found.ended(found.code, found.last["outcome"])
            assert said in found.err, (name, found.text)
            assert of_the_court(home) <= {"not_evaluated"}, name


def a_kill_loses_nothing_that_was_paid_for(home: Home) -> None:
    """A server that dies on the way; in the next attempt each question is asked that had no answer yet, and no other.
    Lots are shared by two steps, whose whole says the same of the judge."""
    home.change(
        lambda data: (data.update(policies=["quality/judged"]), data["evaluation"]["suites"][0].update(shards=2))
    )
    with there(home, EVEN) as (server, state):
        answered: list[str] = []
        most = [100]

        def dies(asked: Pair, value: Any) -> Any:
            if len(answered) >= most[0]:
                return 500, {"Retry-After": "0"}, {}
            answered.append(asked.prompt)
            return value

        state["reply"] = dies
        while most[0] < 10**5:
            found = apply(home)
            if found.code == 0:
                break
            assert "what it has answered is kept" in found.err, found.text
            most[0] *= 3
        assert most[0] > 100
        assert len(answered) == len(set(answered))
        assert of_the_court(home) == {"pass"}
        report = json.loads((home.evidence / f"reports/{COURT}.json").read_text())
        which = hosted.judge(server.url, "judge-1", "judge-1")
        assert report["environment"]["judge"] == which
        assert report["fingerprints"]["judge"] == hosted.fingerprint(which)
        home.audit().ended(0, "")


@pytest.mark.slow
@pytest.mark.skipif("KCOMPILER_JUDGES" not in os.environ, reason="40 CPU seconds: KCOMPILER_JUDGES=1")
def test_a_judge_behind_a_server_goes_the_same_way(tmp_path: Path) -> None:
    home = court(make(tmp_path))
    a_good_judge_decides(home)
    who_has_not_passed_is_not_believed(home)
    no_answer_is_no_verdict(home)
    a_kill_loses_nothing_that_was_paid_for(home)

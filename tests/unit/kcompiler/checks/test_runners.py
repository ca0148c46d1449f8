"""Further runners: who is asked, in whose place, from where, and whether anybody asks them."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from runtime import catalog
from tests.unit.kcompiler.checks.claims import Change, Claim, _parsed, disagrees, several, student

SERVER = {"use": "openai", "base_url": "http://127.0.0.1:8000/v1", "model": "m"}
TELLS = {**SERVER, "name": "tells", "top_logprobs": 5}


def asked(*written: dict[str, Any], suites: list[dict[str, Any]] | None = None) -> Change:
    def change(data: dict[str, Any]) -> None:
        data["evaluation"]["runners"] = list(written)
        if suites is not None:
            data["evaluation"]["suites"] = suites

    return change


def hosted(data: dict[str, Any]) -> None:
    data["teacher"] = {
        "source": "recorded",
        "path": "answers.jsonl",
        "model": "m",
        "allow_missing": 0.0,
        "signals": ["text"],
    }


def choosing(*choices: str) -> dict[str, Any]:
    return {"use": "choice", "choices": list(choices), "runners": ["tells"]}


GOLD = {"use": "gold", "match": "exact"}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}  # fmt: skip
CLAIMS = [
    Claim("none", asked()),
    Claim("every form of the student", asked({"use": "mil"}, {"use": "torch"}, {"use": "gguf"})),
    Claim("the teacher in other ways", asked({"use": "torch", "of": "teacher"}, {"use": "gguf", "of": "teacher"})),
    Claim("a teacher that only answers", several(asked({"use": "torch", "of": "teacher"}), hosted), ("KC4839",),
          ("only answers",)),
    Claim("the student beside it", several(asked({"use": "torch", "of": "student"}), hosted)),
    Claim("a package of the teacher", asked({"use": "mil", "of": "teacher"}), ("KC4839",), ("write `of: student`",)),
    Claim("a file of a Gemma 2", several(asked({"use": "gguf"}), student(family="gemma2", sliding_window=8))),
    Claim("windows otherwise than llama.cpp has them",
          several(asked({"use": "gguf"}), student(family="gemma3_text", sliding_window=8, sliding_window_pattern=2)),
          ("KC4839",), ("the last of every 6 layers of a gemma3",)),
    Claim("a window that it does not compute", several(asked({"use": "gguf"}), student(family="mistral", sliding_window=8)),
          ("KC4839",), ("has a window (8), which llama.cpp does not compute in a llama",)),
    Claim("a head of its own", several(asked({"use": "gguf"}), student(family="gemma", tie_word_embeddings=False)),
          ("KC4839",), ("its head is not its embedding",)),
    Claim("a rotation that it reads", several(asked({"use": "gguf"}), student(rope_scaling=LLAMA3))),
    Claim("one that it reads of others alone",
          several(asked({"use": "gguf"}), student(family="qwen2", rope_scaling=LLAMA3)), ("KC4839",),
          ("reads that of a llama and of no qwen2",)),
    Claim("a student of another family in llama.cpp",
          several(asked({"use": "gguf"}), student(family="phi", head_dim=8)), ("KC4839",), ("a `phi` has no place",)),
    Claim("the teacher of a family that is written", several(asked({"use": "gguf", "of": "teacher"}),
                                                              student(family="phi", head_dim=8))),
    Claim("another family in torch", several(asked({"use": "torch"}), student(family="phi", head_dim=8))),
    Claim("gold in somebody's place", asked({"use": "verification_only", "of": "student"}, suites=[GOLD]),
          ("KC4839", "KC4907"), ("nobody's answer", "remove `of`")),
    Claim("gold in nobody's", asked({"use": "verification_only"}, {"use": "mil"}, suites=[GOLD]), ("KC4907",),
          ("no verdict passes beside runner `verification_only`",), severity="warning"),
    Claim("gold under another name", asked({"use": "verification_only", "name": "gold"}, suites=[GOLD]),
          ("KC4839", "KC4907"), ("keeps its own name", "remove `name`")),
    Claim("a file that is here", asked({"use": "gguf", "path": "m.gguf"}), files={"m.gguf": b"GGUF"}),
    Claim("a file that is not", asked({"use": "gguf", "path": "m.gguf"}), ("KC4401",), ("no such file",)),
    Claim("a folder that is here", asked({"use": "torch", "model": "m"}), files={"m/config.json": b"{}"}),
    Claim("a folder that is not", asked({"use": "torch", "model": "m"}), ("KC4401",), ("no such folder",)),
    Claim("a file where a folder is due", asked({"use": "torch", "model": "m"}), ("KC4404",), files={"m": b""}),
    Claim("a server and a suite of texts", asked(SERVER, suites=[GOLD])),
    Claim("first tokens and words", asked(TELLS, suites=[choosing("Yes", "No")])),
    Claim("first tokens and sentences", asked(TELLS, suites=[choosing("Yes", "By no means.")]), ("KC4837",),
          ("replies of several tokens",)),
    Claim("texts of any length", asked(TELLS, suites=[{"use": "language_model", "runners": ["tells"]}]), ("KC4837",),
          ("replies of several tokens",)),
    Claim("first tokens, and nobody asks for any", asked(TELLS, suites=[{**GOLD, "runners": []}]), ("KC4838",),
          (", choice, ", ", judge, ")),
    Claim("a suite that compares its own", asked({"use": "torch"}, suites=[{"use": "same_text", "runners": ["torch"]}]),
          ("KC4837",), ("each other",)),
    Claim("a model of the spec by name", asked({"use": "torch"}, suites=[{**GOLD, "runners": ["torch", "student"]}]),
          ("KC4836",), ("without being named",)),
]  # fmt: skip


def whom_a_suite_asks() -> None:
    """Own models by what is trained, further ones by what they can, or by name."""
    runners = importlib.import_module("kcompiler.facts.runners")
    spec, _ = _parsed(asked({"use": "mil"}, SERVER, {"name": "again", "use": "torch"}, suites=[
        {"use": "answers"}, {**GOLD, "runners": ["again"]}]))  # fmt: skip
    first, second = spec.evaluation.suites
    assert [way.name for way in runners.asked(spec, first)] == ["mil", "again"]
    assert [way.name for way in runners.asked(spec, second)] == ["again"]
    assert [(way.of, way.asks) for way in runners.ways(spec)] == [
        ("student", "package"), ("", ""), ("student", "checkpoint")]  # fmt: skip


def whom_first_tokens_tell() -> None:
    """A suite that names nobody asks whoever can answer it under its parameters."""
    runners = importlib.import_module("kcompiler.facts.runners")
    suites = [{"use": "choice", "id": name, "choices": ["Yes", other]} for name, other in (("a", "No"), ("b", "Not I"))]
    spec, _ = _parsed(asked(TELLS, SERVER, suites=suites))
    assert [[way.name for way in runners.asked(spec, suite)] for suite in spec.evaluation.suites] == [["tells"], []]


def which_models_are_asked_unnamed() -> None:
    runners = importlib.import_module("kcompiler.facts.runners")

    def trained(data: dict[str, Any]) -> None:
        data["evaluation"] = {"suites": [{"use": "answers"}], "baselines": ["ce_only"]}

    spec, _ = _parsed(trained)
    answers = catalog.load("suites", "answers")
    assert runners.own(spec, answers) == ["teacher", "student", "ce_only", "coreml"]
    assert "ce_only" not in runners.own(_parsed(lambda _: None)[0], answers)


ARITHMETIC = (whom_a_suite_asks, whom_first_tokens_tell, which_models_are_asked_unnamed)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_runners_say(claim, tmp_path):
    assert disagrees("runners", claim, tmp_path) == ""


@pytest.mark.parametrize("check", ARITHMETIC, ids=lambda check: check.__name__)
def test_parts(check):
    check()

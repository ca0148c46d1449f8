"""Benchmarks: what the package can answer, different names, and baselines that are measured reports."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import report, speed
from tests.unit.kcompiler.checks.claims import Change, Claim, _parsed, disagrees
from tests.unit.runtime.contract import speeds


def asked(*benchmarks: dict[str, Any], prefill: list[int] | None = None, context: int = 64) -> Change:
    def change(data: dict[str, Any]) -> None:
        data["evaluation"]["benchmarks"] = list(benchmarks)
        data["shapes"] = {"prefill": prefill or [16, 32], "decode": {"context": context}}

    return change


def measured(
    kind: str = "benchmark",
    *,
    forged: bool = False,
    decode: float | None = None,
    n: int = 20,
    lengths: tuple[int, ...] = (8,),
    runners: tuple[speed.Name, ...] = ("torch",),
    new: int = 4,
    **conditions: str,
) -> str:
    told = {"threads": "2", **conditions}
    found = {name: speeds.runner(name, told, {one: [(1000, 2000)] * n for one in lengths}, new=new) for name in runners}
    data = speeds.data(found, {})
    if decode is not None:
        data["runners"]["torch"]["shapes"]["prompt_8"]["decode"]["p50"]["value"] = decode
    around = {"backend": "torch", "forged": forged}
    made = report.envelope(kind=kind, step="b", subject={}, fingerprints={}, environment=around, data=data)
    return speeds.pinned(made)


def pinned(text: str | bytes | None) -> dict[str, Any]:
    return {} if text is None else {"files": {"old.json": text}}


ASKED = {"runners": ["torch"], "prompts": [8], "new_tokens": 4, "warm_up": 2, "baseline": "old.json"}
WITH = asked(ASKED)
CLAIMS = [
    Claim("none", asked()),
    Claim("tokens of texts", lambda data: data["evaluation"].update(suites=[{"use": "answers", "efficiency": True}])),
    Claim("tokens of none", lambda data: data["evaluation"].update(suites=[{"use": "language_model", "efficiency": True}]),
          ("KC4885",), ("`language_model`",)),
    Claim("of what there is", asked({})),
    Claim("two of different names", asked({"id": "a"}, {"id": "b"})),
    Claim("two of one name", asked({"id": "a"}, {"id": "a"}), ("KC4880",), ("`a`",)),
    Claim("three of one name", asked({}, {}, {"id": "b"}, {}), ("KC4880", "KC4880")),
    Claim("as long as the longest prefill", asked({"prompts": [32], "new_tokens": 32})),
    Claim("longer than it", asked({"prompts": [33], "new_tokens": 4}), ("KC4881",), ("the longest prefill takes 32", "32 or fewer")),
    Claim("as long as the context leaves", asked({"prompts": [24], "new_tokens": 40})),
    Claim("longer than that", asked({"prompts": [25], "new_tokens": 40}), ("KC4881",), ("leave 24 of the context", "24 or fewer")),
    Claim("where nothing is left", asked({"prompts": [1], "new_tokens": 64}), ("KC4881",), ("leave 0", "fewer `new_tokens`")),
    Claim("where one is left", asked({"prompts": [2], "new_tokens": 63}), ("KC4881",), ("write 1 or fewer",)),
    Claim("where prefill and context bind alike", asked({"prompts": [33], "new_tokens": 32}), ("KC4881",), ("the longest prefill",)),
    Claim("a prefill that just leaves room", asked({"new_tokens": 48})),
    Claim("and none that does", asked({"new_tokens": 49}), ("KC4882",), ("new_tokens: 48",)),
    Claim("no room whatever is asked", asked({"new_tokens": 4}, prefill=[63], context=64), ("KC4882",), ("shorter `prompts`",)),
    Claim("room for the least", asked({"new_tokens": 4}, prefill=[62], context=64), ("KC4882",), ("new_tokens: 2`",)),
    Claim("ascending", asked({"prompts": [8, 9], "new_tokens": 4})),
    Claim("twice", asked({"prompts": [8, 8], "new_tokens": 4}), ("KC4884",), ("[8]",)),
    Claim("descending", asked({"prompts": [16, 8], "new_tokens": 4}), ("KC4884",), ("[8, 16]",)),
    Claim("a measured baseline", WITH, **pinned(measured())),
    Claim("no such baseline", WITH, ("KC4401",)),
    Claim("a report without its run", WITH, ("KC4883",), ("tied to no run", "--pin"),
          **pinned(report.dump(json.loads(measured())["report"]))),
    Claim("a report that its run did not make", WITH, ("KC4883",), ("made no such report",),
          **pinned(measured().replace('"step": "b"', '"step": "c"'))),
    Claim("the run of no plan", WITH, ("KC4883",), ("is of no plan",),
          **pinned(measured().replace('"plan": "', '"other": "'))),
    Claim("another report", WITH, ("KC4883",), ("not of kind",), **pinned(measured("run"))),
    Claim("a forged one", WITH, ("KC4883",), ("forged",), **pinned(measured(forged=True))),
    Claim("one that was touched", WITH, ("KC4883",), ("`decode`",), **pinned(measured(decode=1e9))),
    Claim("one in which nothing was measured", WITH, ("KC4883",), ("nothing in it was measured", "not here"),
          **pinned(measured(n=0))),
    Claim("one without runners", WITH, ("KC4883",), ("no runner",), **pinned(measured(runners=()))),
    Claim("one whose runners have no lengths", WITH, ("KC4883",), ("lengths",), **pinned(measured(lengths=()))),
    Claim("a length that it has not", asked({**ASKED, "prompts": [8, 16]}), ("KC4895",), ("no prompt of 16", "--pin"),
          **pinned(measured())),
    Claim("one that is not asked any more", WITH, ("KC4895",), ("prompt of 16 tokens through `torch`, which",),
          **pinned(measured(lengths=(8, 16)))),
    Claim("a runner that it has not", asked({**ASKED, "runners": ["torch", "mil"]}), ("KC4895",), ("no times of `mil`",),
          **pinned(measured())),
    Claim("a runner that is not asked", WITH, ("KC4895",), ("`mil`, which is not asked",),
          **pinned(measured(runners=("torch", "mil")))),
    Claim("answers of another length", WITH, ("KC4895",), ("new_tokens 5, not 4",), **pinned(measured(new=5))),
    Claim("after another warm-up", asked({**ASKED, "warm_up": 3}), ("KC4895",), ("warm_up 2, not 3",), **pinned(measured())),
    Claim("with other threads", WITH, ("KC4895",), ("threads 3, not 2",), **pinned(measured(threads="3"))),
    Claim("no report at all", WITH, ("KC4883",), **pinned("[]")),
    Claim("no text", WITH, ("KC4883",), **pinned(b"\xff\x00")),
    Claim("an endless one", WITH, ("KC4883",), **pinned("[" * 100_000)),
]  # fmt: skip


def whom_a_target_means() -> None:
    facts = importlib.import_module("kcompiler.facts.speed")
    spec, _ = _parsed(lambda data: data["hardware"].update(profile="m2-max-64gb"))
    assert facts.target(spec) == {"profile": "m2-max-64gb", "chip": "Apple M2 Max", "memory_bytes": 64 << 30}
    unknown, _ = _parsed(lambda data: data["hardware"].update(profile="nobody"))
    assert facts.target(unknown) is None


def which_lengths_are_measured() -> None:
    facts = importlib.import_module("kcompiler.facts.speed")
    spec, _ = _parsed(asked({"new_tokens": 32}, {"new_tokens": 33}, {"prompts": [5]}, prefill=[16, 32, 64]))
    assert [facts.lengths_of(spec, one) for one in spec.evaluation.benchmarks] == [[16, 32], [16], [5]]


ARITHMETIC = (whom_a_target_means, which_lengths_are_measured)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_benchmarks_say(claim: Claim, tmp_path: Path) -> None:
    assert disagrees("speed", claim, tmp_path) == ""


@pytest.mark.parametrize("check", ARITHMETIC, ids=lambda check: check.__name__)
def test_parts(check: Any) -> None:
    check()

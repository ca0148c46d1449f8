"""`kcompiler trials`, as people run it: pass^k of recorded conversations and of repeated evaluations."""

import itertools
import json
import os
from fractions import Fraction

import pytest

from kcompiler.cli import _main
from runtime import digest
from runtime.contract import items
from tests.unit.runtime.tools.broker.tau import TRIALS, needs_trials


def talks(path, *some):
    said = [{"role": "user", "content": "go"}, {"role": "assistant", "content": "done"}]
    lines = [{"id": item, "trial": trial, "reward": reward, "messages": said} for item, trial, reward in some]
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    return str(path)


def worth(right):
    """Output, parts and reason of an item; None: it is not recorded."""
    return (None, {}, "not_recorded") if right is None else ("x", {"right": right}, "" if right else "no")


def twice(path):
    """One file with each of its lines twice."""
    evaluated(path, [True, False])
    path.write_bytes(path.read_bytes() * 2)
    reported(path)
    return str(path)


def reported(path, runner="gguf", suite="gold", **more):
    """The report beside items, as `evaluate` writes it. `model`: of a server; `weights`: of a folder or a plan."""
    model, weights = more.get("model", ""), more.get("weights", "sha256:1")
    report = {
        "kind": more.get("kind", "asked"),
        "step": f"ask-{path.name.removesuffix('.items.jsonl')}",
        "subject": {
            "gives.items": digest.of_one_file(items.FILE, path.read_bytes()),
            **({} if model else {"takes.model": weights}),
        },
        "environment": {
            "forged": more.get("forged", False),
            **({"model": model, "served_as": more.get("served_as", "")} if model else {}),
        },
        "data": {"suite": suite, "runner": runner, "use": more.get("use", "openai" if model else "gguf")},
    }
    path.with_name(path.name.replace(".items.jsonl", ".report.json")).write_text(json.dumps(report))


def evaluated(path, right, runner="gguf", prompt="p", **more):
    lines = [
        dict(
            zip(
                items.FIELDS,
                (f"row-{at}", runner, f"{prompt}{at}", *worth(one)),
                strict=True,
            )
        )
        for at, one in enumerate(right)
    ]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(items.written(lines))
    reported(path, runner, **more)
    return str(path)


def run(capsys, *words):
    capsys.readouterr()
    code = _main(["trials", *words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


MIXED = [(item, trial, float(item != "c" or trial == 0)) for item in "abcd" for trial in range(3)]


def test_a_task_counts_for_k_where_all_of_k_trials_are_right(tmp_path, capsys):
    """Three tasks are always right, one in one of three: 3.33 of 4, then 3 of 4."""
    code, out, err = run(capsys, talks(tmp_path / "t.jsonl", *MIXED))
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "4 tasks, 3 trials each"
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["pass^1", "0.8333"],
        ["pass^2", "0.7500"],
        ["pass^3", "0.7500"],
    ]
    assert "95 % in [" in out


def test_files_of_items_are_trials_of_the_same_rows(tmp_path, capsys):
    first = evaluated(tmp_path / "1/gold-gguf.items.jsonl", [True, True, False])
    second = evaluated(tmp_path / "2/gold-gguf.items.jsonl", [True, False, False])
    code, out, err = run(capsys, first, second, "--format", "json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["tasks"], found["trials"]) == (3, {"fewest": 2, "most": 2})
    assert [round(one["value"], 6) for one in found["pass"]] == [0.5, round(1 / 3, 6)]


def test_a_suite_with_an_id_is_known_by_its_report(tmp_path, capsys):
    """`evaluate` calls the files of a suite by its id: the kind of suite stands in the report."""
    files = [evaluated(tmp_path / f"{at}/route-gguf.items.jsonl", [True, bool(at)]) for at in (0, 1)]
    code, out, err = run(capsys, *files)
    assert (code, err) == (0, "")
    assert "2 tasks, 2 trials each" in out


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        ({"model": "shopgpt"}, {"model": "m-badcount"}, "model `shopgpt` and "),
        ({"model": "a", "served_as": "a-2026-01-01"}, {"model": "a", "served_as": "a-2026-06-01"}, "a-2026-06-01"),
        ({"weights": "sha256:1"}, {"weights": "sha256:2"}, "sha256:2"),
        ({"use": "recorded"}, {"use": "recorded"}, "answers that were recorded do not say whose they are"),
        ({"forged": True}, {}, "nobody's answers"),
        ({"kind": "eval.gold"}, {}, "is no report of one runner"),
    ],
)
def test_trials_are_of_one_model(tmp_path, capsys, one, other, says):
    files = [
        evaluated(tmp_path / f"{at}/gold-way.items.jsonl", [True, True], "way", **more)
        for at, more in enumerate((one, other))
    ]
    code, out, err = run(capsys, *files)
    assert (code, out) == (2, "")
    assert says in err


def test_items_belong_to_the_report_beside_them(tmp_path, capsys):
    file = tmp_path / "gold-gguf.items.jsonl"
    evaluated(file, [True, False])
    report = tmp_path / "gold-gguf.report.json"
    text = report.read_text()
    for damage, code, says in (
        (text.replace("sha256:", "sha256:0"), 3, "is not of these items"),
        (text[:-9], 3, "is damaged"),
        ("[]", 3, "is damaged"),
        (json.dumps({**json.loads(text), "environment": {"model": ["a"]}}), 3, "is damaged"),
        (text.replace('"runner": "gguf"', '"runner": "mil"'), 3, "is of runner `mil`"),
    ):
        report.write_text(damage)
        found, out, err = run(capsys, str(file))
        assert (found, out) == (code, ""), damage
        assert says in err
    report.unlink()
    found, _, err = run(capsys, str(file))
    assert found == 2
    assert "gold-gguf.report.json is not there" in err
    # what it advises
    report.write_text(text)
    assert run(capsys, str(file))[0] == 0


@pytest.mark.parametrize(
    ("rewards", "code", "says"),
    [
        ([("a", 0, None)], 2, "has no `reward`"),
        ([("a", 0, 7)], 2, "`reward` is 7.0, not from 0 to 1"),
        ([("a", 0, 1.0), ("a", 0, 1.0)], 2, "trial 0 twice"),
    ],
)
def test_what_says_nothing_of_trials_is_refused(tmp_path, capsys, rewards, code, says):
    found, _, err = run(capsys, talks(tmp_path / "t.jsonl", *rewards))
    assert found == code
    assert says in err


def test_what_cannot_be_known_of_one_task_is_said(tmp_path, capsys):
    code, out, _ = run(capsys, talks(tmp_path / "t.jsonl", ("a", 0, 0.5), ("a", 1, 1.0)))
    assert code == 0
    assert "pass^1  unavailable: one task has no interval" in out


def test_files_that_are_not_trials_of_one_thing_are_refused(tmp_path, capsys):
    first = evaluated(tmp_path / "1/gold-gguf.items.jsonl", [True, True])
    for words, says in (
        ([first, first], "stands there twice"),
        ([first, evaluated(tmp_path / "2/gold-gguf.items.jsonl", [True])], "were not asked the same: row `row-1`"),
        (
            [first, evaluated(tmp_path / "3/gold-gguf.items.jsonl", [True, True], prompt="q")],
            "not asked the same: row `row-0`",
        ),
        (
            [first, evaluated(tmp_path / "4/gold-torch.items.jsonl", [True, True], "torch"), "--runner", "gguf"],
            "nobody called",
        ),
        ([first, talks(tmp_path / "t.jsonl", *MIXED)], "is no SUITE-RUNNER.items.jsonl"),
        ([talks(tmp_path / "t.jsonl", *MIXED), "--runner", "gguf"], "recorded conversations have none"),
        ([evaluated(tmp_path / "e.items.jsonl", [True], "verification_only", forged=True)], "nobody's answers"),
        ([], "Missing argument"),
        ([first, str(tmp_path / "4/gold-torch.items.jsonl")], "trials are of one suite, one runner and one model"),
        (
            [first, evaluated(tmp_path / "5/needle-gguf.items.jsonl", [True, True], suite="needle")],
            "trials are of one suite",
        ),
        # two suites of one kind and of the same rows ask for other things
        ([first, evaluated(tmp_path / "5/loose-gguf.items.jsonl", [True, True])], "trials are of one suite"),
        (
            [evaluated(tmp_path / "6/said-gguf.items.jsonl", [True, True], suite="language_model")],
            "none is right or wrong",
        ),
        ([twice(tmp_path / "7/gold-gguf.items.jsonl")], "row `row-0` stands there twice; a file is one trial"),
        ([evaluated(tmp_path / "8/gold-gguf.items.jsonl", [True, None])], "row `row-1` is not recorded"),
    ):
        code, _, err = run(capsys, *words)
        assert code == 2, (words, err)
        assert says in err
    (tmp_path / "z.items.jsonl").write_text("{")
    code, _, err = run(capsys, str(tmp_path / "z.items.jsonl"))
    assert code == 3
    assert "line 1 is incomplete" in err


@needs_trials
def test_tau_bench_as_it_is_published(capsys):
    """The numbers of an independent count over all choices of trials."""
    code, out, _ = run(capsys, os.fspath(TRIALS), "--format", "json")
    assert code == 0
    right = {}
    for one in json.loads(TRIALS.read_text(encoding="utf-8")):
        right.setdefault(one["task_id"], []).append(one["reward"] == 1.0)
    for k, one in enumerate(json.loads(out)["pass"], start=1):
        shares = [
            Fraction(sum(map(all, itertools.combinations(tried, k))), len([*itertools.combinations(tried, k)]))
            for tried in right.values()
        ]
        assert one["value"] == pytest.approx(float(sum(shares) / len(shares)), abs=1e-12)

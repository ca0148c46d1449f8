"""`kcompiler data look`: rows as the student will read them, before anything is trained; and files of each kind."""

from __future__ import annotations

import gzip
import io
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from kcompiler.cli import _main
from kcompiler.cli.run import _extras
from kcompiler.render import looked
from runtime import catalog
from runtime.data.encode import encode
from runtime.machine import apply as machine
from runtime.machine import stale
from runtime.models import look as module
from runtime.models import tokenizer as tokenizers

ROOT = Path(__file__).resolve().parents[2]
SPEC = (ROOT / "tests/golden/validate/a-good-spec-has-no-diagnostics/spec.yaml").read_text(encoding="utf-8")
HEAD = "question,answer,topic\n"


def csv(count: int, words: int = 3) -> str:
    rows = (
        f'"Is it {n}, {"so " * words}?",{"It is certain." if n % 2 else "My reply is no."},t{n % 3}\n'
        for n in range(count)
    )
    return HEAD + "".join(rows)


def project(root: Path, source: str, **changes: str) -> Path:
    """A small spec of one source, in a project of its own."""
    text = re.sub(r"  sources:\n(?:    .*\n)+", f"  sources:\n{source}", SPEC, count=1)
    for old, new in changes.items():
        text = text.replace(old, new)
    (root / "spec.yaml").write_text(text, encoding="utf-8")
    (root / ".git").mkdir(exist_ok=True)
    return root / "spec.yaml"


def source(kind: str, path: str, more: str = "") -> str:
    fields = "      fields: {prompt: question, response: answer}\n"
    return f"    - name: faq\n      kind: {kind}\n      path: {path}\n      license: MIT\n{fields}{more}"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = _main(["data", "look", "spec.yaml", *arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err, err
    return code, out, err


def last(out: str) -> dict[str, Any]:
    """The answer; what compiling had to say stands before it, a line each."""
    return json.loads(out.splitlines()[-1])


def test_of_a_pair_both_answers_are_shown_and_the_chosen_one_is_learnt(home: Path, capsys):
    rows = ({"chosen": f"Is it {n}? Yes.", "rejected": f"Is it {n}? Never\nof all."} for n in range(60))
    (home / "faq.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = "{chosen: chosen, rejected: rejected}"
    project(home, source("jsonl", "faq.jsonl").replace("{prompt: question, response: answer}", fields))
    code, out, err = told(capsys, "--format", "json", "--rows", "3")
    assert code == 0, err
    shown = last(out)["shown"]
    assert {row["rejected"] for row in shown} == {"Never\nof all."}
    assert [[p["text"] for p in row["pieces"] if p["learnt"]] for row in shown] == [["Yes.<|eos|>"]] * 3
    code, out, err = told(capsys, "--rows", "1")
    assert code == 0, err
    assert "    rejected: Never\n    of all." in out


def test_rows_are_shown_as_they_are_trained_on(home: Path, capsys):
    (home / "faq.csv").write_text(csv(60))
    project(home, source("csv", "faq.csv"))
    code, out, err = told(capsys, "--format", "json", "--rows", "60")
    assert code == 0, err
    found = last(out)
    # the very functions that training asks, on the very rows
    store = machine.look(home)[1]
    (dataset,) = (store.read(d) for d in store.digests() if (store.read(d) / "manifest.json").exists())
    rows = {row["id"]: row for row in map(json.loads, (dataset / "train.jsonl").read_text().splitlines())}
    assert [row["id"] for row in found["shown"]] == list(rows)
    for row in found["shown"]:
        assert (
            "".join(piece["text"] for piece in row["pieces"] if piece["learnt"])
            == rows[row["id"]]["response"] + "<|eos|>"
        )
        whole = "".join(piece["text"] for piece in row["pieces"])
        assert whole == f"<|bos|>{rows[row['id']]['prompt']}\n{rows[row['id']]['response']}<|eos|>"
    assert found["rows"] == found["measured"] == len(rows)
    assert sum(bucket["rows"] for bucket in found["lengths"]["buckets"]) == len(rows)
    assert found["fields_unused"] == {"topic": 60}
    assert found["too_long"]["rows"] == 0
    # nothing is judged, and the evidence of a run is not touched
    assert not (home / "generated").exists()
    # what was made is used again
    code, out, err = told(capsys)
    assert code == 0
    assert "data: reused" in err or "reused" in err
    assert "⟦It is certain.<|eos|>⟧" in out
    assert "field topic of 60 rows is mapped to nothing" in out


def test_what_the_operation_made_aside_is_what_the_step_makes(home: Path, capsys):
    (home / "faq.csv").write_text(csv(60))
    project(home, source("csv", "faq.csv"))
    _, before, _ = told(capsys, "--format", "json")
    assert _main(["apply", "spec.yaml", "--only", "tokenizer"]) == 0
    capsys.readouterr()
    code, after, err = told(capsys, "--format", "json")
    assert code == 0, err
    assert last(after) == last(before)


def test_rows_that_are_too_long_are_shown_and_the_advice_helps(home: Path, capsys):
    (home / "faq.csv").write_text(csv(60) + f'"Is it {"0123456789" * 30}?",My reply is no.,t1\n')
    spec = project(home, source("csv", "faq.csv", "      split: auto\n"))
    code, out, err = told(capsys, "--format", "json")
    split = "train" if last(out)["too_long"]["rows"] else "test"
    code, out, err = told(capsys, "--split", split)
    assert code == 1
    assert "outcome=rows-too-long code=1" in err
    assert "1 rows longer than 64 tokens" in out
    assert "refused: write `data.too_long: drop`" in out
    spec.write_text(spec.read_text().replace("data:\n", "data:\n  too_long: drop\n"))
    code, out, err = told(capsys, "--split", split)
    assert code == 0, err
    assert "1 rows longer than 64 tokens (shapes.prefill), left out" in out


def test_duplicates_and_limits_are_said(home: Path, capsys):
    (home / "faq.csv.gz").write_bytes(gzip.compress((csv(50) + csv(50).removeprefix(HEAD)).encode()))
    project(home, source("csv", "faq.csv.gz", "      limit: 80\n"))
    code, out, err = told(capsys)
    assert code == 0, err
    assert "30 rows dropped before the split: prompt and response of another row" in out
    assert "source faq: the first 80 rows are taken, as `limit` says" in out


@pytest.mark.parametrize("kind", ["parquet", "datasets"])
def test_tables_are_shown_like_any_rows(home: Path, capsys, kind: str):
    pa = pytest.importorskip("pyarrow", reason="needs pip install '.[parquet]'")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"question": [f"Is it {n}?" for n in range(60)], "answer": ["It is certain."] * 60})
    path = home / ("faq.parquet" if kind == "parquet" else "faq/train-0.parquet")
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path)
    project(home, source(kind, "faq.parquet" if kind == "parquet" else "faq"))
    assert _main(["pin", "spec.yaml"]) == 0
    code, out, err = told(capsys, "--rows", "1")
    assert code == 0, err
    assert "⟦It is certain.<|eos|>⟧" in out
    # the lock of such a spec is one that an audit can read, and what it pins is what is here
    assert _main(["apply", "spec.yaml", "--only", "data"]) == 0
    capsys.readouterr()
    assert _main(["audit", "spec.yaml"]) == 1, "a part is no whole"
    assert "KA01" not in capsys.readouterr().out
    pq.write_table(table.slice(1), path)
    assert told(capsys)[0] == 1, "not the pinned rows"


def test_where_pyarrow_is_not_installed_it_is_said_what_to_install(home: Path, capsys, monkeypatch):
    (home / "faq.parquet").write_bytes(b"PAR1")
    (home / "absent.py").write_text("print('[\"absent\"]')")
    project(home, source("parquet", "faq.parquet"))
    monkeypatch.setattr("runtime.contract.tables.PROGRAM", home / "absent.py")
    real = stale.installed
    monkeypatch.setattr(stale, "installed", lambda name: "not installed" if name == "pyarrow" else real(name))
    code, out, err = told(capsys)
    assert (code, out) == (4, "")
    assert "warning[KC4520]" in err
    assert "toolchain pyarrow: locked 26.0.1, found not installed" in err
    assert "outcome=toolchain-differs code=4 next=pip install 'kcompiler[run,parquet]'" in err


@pytest.mark.parametrize(
    ("lacking", "extras"),
    [
        (["torch"], ["run"]),
        (["numpy", "gguf"], ["run", "gguf"]),
        (["httpx"], ["run", "http"]),
        (["pyarrow", "stamina"], ["run", "http", "parquet"]),
    ],
)
def test_each_distribution_has_the_extra_that_installs_it(lacking: list[str], extras: list[str]):
    """Of every one that a backend of ours pins, by the very text of pyproject.toml."""
    assert _extras(lacking) == extras
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for name in catalog.names("backends"):
        backend = catalog.load("backends", name)
        installed = [*declared["run"], *(declared[backend.extra] if backend.requires else ())]
        assert {f"{key}=={pin}" for key, pin in backend.requires.items()} <= set(installed), name


def test_a_wrong_field_ends_before_anything_runs(home: Path, capsys):
    (home / "faq.csv").write_text(csv(60).replace("answer", "anwser"))
    project(home, source("csv", "faq.csv"))
    code, out, err = told(capsys)
    assert code == 1
    assert "did you mean `anwser`?" in err
    assert out == ""


def test_a_file_that_is_too_large_to_be_looked_at_is_refused_by_the_step(home: Path, capsys, monkeypatch):
    monkeypatch.setattr("kcompiler.facts.rows.MAX_BYTES", 100)
    (home / "faq.csv").write_text(csv(60) + "one,two\n")
    project(home, source("csv", "faq.csv"))
    code, _, err = told(capsys)
    assert code == 6
    assert "faq.csv:62" in err
    assert "2 fields, where the header has 3" in err
    assert "outcome=step-failed code=6" in err


def test_a_split_that_is_not_there_is_said_and_the_advice_helps(home: Path, capsys):
    """With a share for validation it is there, and shown like the others."""
    (home / "faq.csv").write_text(csv(60), encoding="utf-8")
    spec = project(home, source("csv", "faq.csv"))
    code, _, err = told(capsys, "--split", "validation")
    assert code == 2
    assert "no source of spec.yaml feeds the split `validation`; there are train, test" in err
    assert "next=kcompiler data look spec.yaml --split train" in err
    spec.write_text(spec.read_text().replace("data:\n", "data:\n  validation: 0.3\n"))
    code, out, err = told(capsys, "--split", "validation", "--rows", "1", "--format", "json")
    assert code == 0, err
    assert last(out)["rows"] > 0


def test_escapes_of_a_row_do_nothing_to_a_terminal(home: Path, capsys):
    (home / "faq.csv").write_text(csv(60).replace("Is it", "\x1b[2J\x1b]0;x\x07Is it"))
    project(home, source("csv", "faq.csv"))
    code, out, _ = told(capsys)
    assert code == 0
    assert "\x1b" not in out
    assert "\\x1b[2J" in out


def test_prompts_alone_are_answered_by_the_teacher_and_learnt_from(home: Path, capsys):
    """From a file of questions to a trained student: the record answers, and what is missing of it is allowed."""
    case = ROOT / "tests/golden/validate/KC4524-prompts-alone-need-a-teacher-that-answers"
    for name in ("rows.jsonl", "answers.jsonl", "test.jsonl"):
        (home / name).write_bytes((case / name).read_bytes())
    # the advice of that message, followed
    (home / "spec.yaml").write_text((case / "spec.yaml").read_text().replace("  baselines: [ce_only]\n", ""))
    (home / ".git").mkdir()
    code, out, err = told(capsys, "--rows", "2")
    assert code == 0, err
    assert "the teacher answers\n    <|bos|>question " in out
    assert "⟦" not in out.split("\n", 1)[1]
    assert _main(["apply", "spec.yaml", "--only", "train-kd"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    reports = json.loads((home / "generated/answers/evidence/reports/train-kd.json").read_text())
    assert reports["data"]["rows"]["value"] == 12


FOUND = {
    "split": "train", "rows": 3, "measured": 3,
    "shown": [{"id": "a", "source": "s", "class": "", "answered_by": "file", "rejected": "", "tokens": 5, "learnt": 2, "spans": {"tool_name": ["f"]},
               "pieces": [{"text": "<|bos|>Q\nA: ", "learnt": False}, {"text": "yes<|eos|>", "learnt": True}]}],
    "lengths": {"min": 1, "median": 2, "within_95": 9, "max": 9,
                "buckets": [{"most": 4, "rows": 2}, {"most": 8, "rows": 0}, {"most": None, "rows": 1}]},
    "too_long": {"policy": "refuse", "field": "f", "most": 8, "rows": 1, "longest": [{"id": "b", "source": "s", "tokens": 9}]},
    "duplicates_dropped": 0, "fields_unused": {}, "limits": {},
}  # fmt: skip


def test_colours_say_on_a_terminal_what_marks_say_elsewhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = io.StringIO()
    looked.coloured(FOUND, out)
    assert "\x1b[30;42myes<|eos|>\x1b[0m" in out.getvalue()
    assert "⟦" not in out.getvalue()
    assert "    <|bos|>Q\n    A: ⟦yes<|eos|>⟧\n    tool_name: 'f'\n" in looked.text(FOUND)
    for text in (out.getvalue(), looked.text(FOUND)):
        assert "1 rows longer than 8 tokens (f), refused" in text
        assert "  b (9)" in text


def test_a_bucket_holds_the_rows_up_to_its_length():
    assert module._histogram([1, 4, 5, 8, 9, 9], [4, 8]) == [
        {"most": 4, "rows": 2},
        {"most": 8, "rows": 2},
        {"most": None, "rows": 2},
    ]


def test_the_row_at_the_bound_fits():
    bound = {"tokens": 8, "field": "f"}
    sized = [(8, {"id": "a", "source": "s"}), (9, {"id": "b", "source": "s"})]
    found = module._too_long(sized, bound, "drop")
    assert (found["rows"], [row["id"] for row in found["longest"]]) == (1, ["b"])


def test_what_training_asks_is_asked_and_nothing_else():
    assert module.encode is encode
    assert module.load is tokenizers.load

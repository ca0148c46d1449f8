"""Sources become one dataset without overlap, or a refusal that names the rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource

from runtime import digest
from runtime.contract import Refusal, Used, fixtures, rows, toolbox
from runtime.contract import report as facts
from runtime.contract.peak import Peak
from runtime.data.prepare import prepare
from runtime.steps.data import DataParams
from runtime.tools import registry

ROOT = Path(__file__).resolve().parents[4]
TOOLS = ROOT / "specs" / "tools" / "registry.json"


class Stage:
    """A Context whose artifacts are folders below `root` and whose reports are kept."""

    step_id, versions = "data", {}

    def __init__(self, root: Path, seed: int = 7) -> None:
        self.root, self.seed, self.digests = root, seed, {}
        self.scratch = root
        self.data: dict[str, Any] = {}
        self.fingerprints: Mapping[str, str] = {}

    def out(self, port: str) -> Path:
        (self.root / port).mkdir(parents=True, exist_ok=True)
        return self.root / port

    def say(self, message: str) -> None: ...

    def progress(self, done: int, total: int, note: str = "") -> None: ...

    def kept(self, done: int) -> None: ...

    def used(self, what: Used, amount: int) -> None: ...
    def underway(self, what: Used, amount: int) -> None: ...

    def measures(self, peak: Callable[[], Peak]) -> None: ...

    def report(self, port: str, data: Mapping[str, Any], *, fingerprints: Mapping[str, str]) -> None:
        assert port == "report"
        self.data, self.fingerprints = json.loads(json.dumps(data, allow_nan=False)), fingerprints

    def perform(self, _takes: Mapping[str, Path], _params: Any) -> None:
        raise AssertionError("operations do not perform steps")


def source(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "kind": "jsonl", "license": "MIT", **changes}


def write(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def run(root: Path, files: Mapping[str, Path], **params: Any) -> Stage:
    stage = Stage(root)
    prepare({f"source_{name}": path for name, path in files.items()}, DataParams(**params), stage)
    return stage


def with_test(root: Path, made: dict[str, Any], path: Path) -> tuple[dict[str, Path], list[dict[str, Any]]]:
    """Files and sources of a case about training rows, beside three rows to judge by."""
    held = write(root / "held.jsonl", *({"prompt": f"held {n}", "response": "r"} for n in range(3)))
    return {made["name"]: path, "held": held}, [made, source("held", split="test")]


def pairs(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"prompt": f"question {n}", "response": f"answer {n}"} for n in range(start, start + count)]


def test_fields_of_the_file_become_fields_of_the_row(tmp_path: Path):
    path = write(tmp_path / "in.jsonl", {"question": "Why?", "answer": "Because.", "level": 3})
    files, made = with_test(
        tmp_path, source("s", split="train", fields={"prompt": "question", "response": "answer"}), path
    )
    stage = run(tmp_path, files, sources=made)
    (row,) = rows.load(tmp_path / "dataset" / "train.jsonl")
    assert (row["prompt"], row["response"], row["source"], row["class"]) == ("Why?", "Because.", "s", "")
    assert row["id"].startswith("s-")
    assert stage.data["fields_unused"]["level"]["value"] == 1


def test_what_nothing_maps_is_counted_and_never_judged(tmp_path: Path):
    """A 64-bit number, an overflowing one, half of a surrogate pair and a key twice: all of it is JSON, none is read."""
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"prompt": "a", "response": "b", "post": 9223372036854775807, "big": 1e999, "half \\ud800": "\\udfff", '
        '"twice": 1, "twice": 2, "deep": ' + "[" * 100 + "]" * 100 + "}\n"
    )
    files, made = with_test(tmp_path, source("s", split="train"), path)
    unused = run(tmp_path, files, sources=made).data["fields_unused"]
    assert {name: unused[name]["value"] for name in unused} == dict.fromkeys(
        ["post", "big", "half \\ud800", "twice", "deep"], 1
    )


def test_a_prompt_may_be_put_together_from_several_fields(tmp_path: Path):
    path = write(
        tmp_path / "in.jsonl",
        {"instruction": "Add.", "input": "2 and 3", "output": "5"},
        {"instruction": "Say hello.", "input": "", "output": "hello"},
    )
    fields = {"prompt": "{instruction}\n{input}", "response": "output"}
    files, made = with_test(tmp_path, source("s", split="train", fields=fields), path)
    stage = run(tmp_path, files, sources=made)
    assert {row["prompt"] for row in rows.load(tmp_path / "dataset" / "train.jsonl")} == {"Add.\n2 and 3", "Say hello."}
    assert "input" not in stage.data["fields_unused"]


@pytest.mark.parametrize("written", ["{a", "a}", "{}", "{a}{", ""])
def test_a_mapping_that_is_no_name_and_no_text_with_names_is_refused(tmp_path: Path, written: str):
    path = write(tmp_path / "in.jsonl", *pairs(1))
    with pytest.raises(Refusal, match="maps `prompt`"):
        run(tmp_path, {"s": path}, sources=[source("s", fields={"prompt": written})])


@pytest.mark.parametrize("field", ["id", "class", "spans"])
def test_only_texts_are_put_together(tmp_path: Path, field: str):
    path = write(tmp_path / "in.jsonl", *pairs(1))
    with pytest.raises(Refusal, match=f"maps `{field}`"):
        run(tmp_path, {"s": path}, sources=[source("s", fields={field: "{a} {b}"})])


def test_a_missing_field_is_refused_with_the_field_it_was_to_supply(tmp_path: Path):
    path = write(tmp_path / "in.jsonl", {"question": "Why?"})
    made = source("s", fields={"prompt": "question", "response": "answer"})
    with pytest.raises(
        Refusal, match=r"field `answer` \(for `response`\) is missing; the row has `question`"
    ) as caught:
        run(tmp_path, {"s": path}, sources=[made])
    assert caught.value.place == "in.jsonl:1"
    assert "fields: {prompt: …, response: …}" in caught.value.action


def test_a_mapping_to_no_field_of_a_row_is_refused(tmp_path: Path):
    path = write(tmp_path / "in.jsonl", *pairs(1))
    with pytest.raises(Refusal, match="maps `answer`"):
        run(tmp_path, {"s": path}, sources=[source("s", fields={"answer": "response"})])


def test_the_manifest_tells_the_files_the_sources_and_the_licences(tmp_path: Path):
    a = write(tmp_path / "a.jsonl", *pairs(30))
    b = write(tmp_path / "b.jsonl", *pairs(5, start=100))
    made = [source("a"), source("b", split="test", license="CC0-1.0")]
    stage = run(tmp_path, {"a": a, "b": b}, sources=made, held_out=0.3)
    folder = tmp_path / "dataset"
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, split in manifest["splits"].items():
        assert split["sha256"] == digest.of_file(folder / f"{name}.jsonl").removeprefix("sha256:")
        assert split["rows"] == len(rows.load(folder / f"{name}.jsonl")) == stage.data["splits"][name]["rows"]["value"]
    assert manifest["sources"] == [
        {"name": "a", "license": "MIT", "rows": 30},
        {"name": "b", "license": "CC0-1.0", "rows": 5},
    ]
    assert manifest["license"] == stage.data["licenses"] == ["CC0-1.0", "MIT"]
    empty = digest.of_bytes(b"[]").removeprefix("sha256:")
    assert manifest["tool_registry_sha256"] == stage.fingerprints["tool_registry"] == empty
    assert not (folder / "tools.json").exists()


def test_the_order_of_a_file_changes_no_byte_of_the_dataset(tmp_path: Path):
    lines = pairs(60)
    one = write(tmp_path / "one.jsonl", *lines)
    Random(2).shuffle(lines)
    two = write(tmp_path / "two.jsonl", *lines)
    for name, path in (("x", one), ("y", two)):
        run(tmp_path / name, {"s": path}, sources=[source("s")])
    assert digest.of_folder(tmp_path / "x" / "dataset") == digest.of_folder(tmp_path / "y" / "dataset")


def test_duplicates_are_dropped_before_splitting_and_counted(tmp_path: Path):
    path = write(tmp_path / "in.jsonl", *pairs(20), *pairs(7))
    stage = run(tmp_path, {"s": path}, sources=[source("s")])
    assert stage.data["duplicates_dropped"] == facts.measured(7, "row", n=27)
    assert stage.data["rows"]["value"] == 20


@pytest.mark.parametrize(
    ("held", "exact"), [("question 3", 1), ("QUESTION\t3!", 0)], ids=["letter by letter", "after normalisation"]
)
def test_a_question_in_train_and_test_is_refused_with_both_places(tmp_path: Path, held: str, exact: int):
    train = write(tmp_path / "a.jsonl", *({**pair, "id": f"t{n}"} for n, pair in enumerate(pairs(9))))
    test = write(tmp_path / "b.jsonl", {"id": "h", "prompt": held, "response": "other"})
    made = [source("a", split="train"), source("b", split="test")]
    with pytest.raises(Refusal) as caught:
        run(tmp_path, {"a": train, "b": test}, sources=made)
    assert (
        f"1 prompts stand in train and in test ({exact} letter by letter): a.jsonl:4 = b.jsonl:1"
        in caught.value.message
    )
    assert caught.value.code == "KR0115"


@pytest.mark.parametrize("other", ["train", "test"])
def test_a_question_in_validation_and_another_split_is_refused_with_both_places(tmp_path: Path, other: str):
    """Chosen by rows that it learns from or is judged by, a state proves nothing; hidden by case and spaces, too."""
    files = {name: write(tmp_path / f"{name}.jsonl", *pairs(4, start)) for name, start in (("train", 0), ("test", 9))}
    held = {"train": "QUESTION\t3", "test": "QUESTION\t10"}[other]
    files["chosen"] = write(tmp_path / "chosen.jsonl", {"prompt": held, "response": "other"})
    made = [source("train", split="train"), source("test", split="test"), source("chosen", split="validation")]
    with pytest.raises(Refusal, match=f"1 prompts stand in {other} and in validation") as caught:
        run(tmp_path, files, sources=made)
    assert "= chosen.jsonl:1" in caught.value.message
    assert caught.value.code == "KR0115"


def test_rows_for_validation_are_a_split_of_their_own_and_the_others_stay_as_they_are(tmp_path: Path):
    path = write(tmp_path / "in.jsonl", *pairs(90))
    plain = run(tmp_path / "plain", {"s": path}, sources=[source("s")])
    stage = run(tmp_path / "kept", {"s": path}, sources=[source("s")], validation=0.2)

    def rows(of: Stage, name: str) -> list[str]:
        return (of.out("dataset") / f"{name}.jsonl").read_text().splitlines()

    assert sorted(one.name for one in plain.out("dataset").iterdir()) == ["manifest.json", "test.jsonl", "train.jsonl"]
    assert rows(stage, "test") == rows(plain, "test")
    kept = rows(stage, "validation")
    assert kept == [row for row in rows(plain, "train") if row in kept]
    assert rows(stage, "train") == [row for row in rows(plain, "train") if row not in kept]
    counts = {name: split["rows"]["value"] for name, split in stage.data["splits"].items()}
    assert counts == {name: len(rows(stage, name)) for name in ("train", "validation", "test")}
    none = facts.measured(0, "row", n=len(kept))
    assert stage.data["validation_overlap"] == {"train": none, "test": none}
    assert "validation_overlap" not in plain.data


def test_a_split_for_validation_without_a_row_is_refused(tmp_path: Path):
    path = write(tmp_path / "in.jsonl", *pairs(30))
    with pytest.raises(Refusal, match="no row is left for validation") as caught:
        run(tmp_path, {"s": path}, sources=[source("s")], validation=1e-9)
    assert "data.validation" in caught.value.action


def test_without_overlap_the_report_says_zero_of_how_many(tmp_path: Path):
    path = write(tmp_path / "in.jsonl", *pairs(40))
    data = run(tmp_path, {"s": path}, sources=[source("s")]).data
    held = data["splits"]["test"]["rows"]["value"]
    assert held > 0
    assert data["overlap_exact"] == data["overlap_normalised"] == facts.measured(0, "row", n=held)


def test_one_id_for_two_rows_is_refused_and_the_same_row_twice_is_not(tmp_path: Path):
    same = {"id": "x", "prompt": "p", "response": "r"}
    files, made = with_test(tmp_path, source("s", split="train"), write(tmp_path / "in.jsonl", same, same))
    run(tmp_path, files, sources=made)
    with pytest.raises(Refusal, match=r"id `x` was already used at in\.jsonl:1") as caught:
        run(
            tmp_path,
            {"s": write(tmp_path / "in.jsonl", same, {**same, "response": "other"})},
            sources=[source("s", split="train")],
        )
    assert caught.value.place == "in.jsonl:2"


@pytest.mark.parametrize("value", [1.5, None, True, [1]])
def test_an_id_is_text_or_a_whole_number(tmp_path: Path, value: object):
    path = write(tmp_path / "in.jsonl", {"id": value, "prompt": "p", "response": "r"})
    with pytest.raises(Refusal, match="`id` must be a string or an integer"):
        run(tmp_path, {"s": path}, sources=[source("s", split="train")])


def test_a_limit_takes_the_first_rows_of_the_file(tmp_path: Path):
    path = write(tmp_path / "in.jsonl", *pairs(10))
    files, made = with_test(tmp_path, source("s", split="train", limit=4), path)
    run(tmp_path, files, sources=made)
    prompts = {row["prompt"] for row in rows.load(tmp_path / "dataset" / "train.jsonl")}
    assert prompts == {f"question {n}" for n in range(4)}


def test_no_row_for_training_is_refused(tmp_path: Path):
    path = write(tmp_path / "in.jsonl", *pairs(3))
    with pytest.raises(Refusal, match="no row is left for training"):
        run(tmp_path, {"s": path}, sources=[source("s", split="test")])


def test_no_row_for_testing_is_refused(tmp_path: Path):
    """Forty rows of one prompt share a split, whatever their answers are."""
    path = write(tmp_path / "in.jsonl", *({"prompt": "Do it.", "response": f"{n}"} for n in range(40)))
    with pytest.raises(Refusal, match="no row is left for testing; 0 duplicates"):
        run(tmp_path, {"s": path}, sources=[source("s")])


def test_an_unknown_generator_is_refused_with_the_known_ones(tmp_path: Path):
    made = source("g", kind="generator", generator="nine_ball")
    with pytest.raises(Refusal, match="no generator is called `nine_ball`") as caught:
        run(tmp_path, {}, sources=[made])
    assert "eight_ball" in caught.value.action


def test_two_sources_of_one_generator_do_not_repeat_each_other(tmp_path: Path):
    made = [source(name, kind="generator", generator="eight_ball", params={"rows": 50}) for name in ("a", "b")]
    run(tmp_path, {}, sources=made, held_out=0.1)
    found = [row for split in ("train", "test") for row in rows.load(tmp_path / "dataset" / f"{split}.jsonl")]
    first, second = ({row["prompt"] for row in found if row["source"] == name} for name in ("a", "b"))
    assert len(first) == len(second) == 50
    assert len(first & second) < 5


def test_a_registry_goes_into_the_dataset_with_its_fingerprint(tmp_path: Path):
    made = source("g", kind="generator", generator="toy_tools", params={"rows": 100})
    stage = Stage(tmp_path)
    prepare({"tools": TOOLS}, DataParams(sources=[made], has_tools=True), stage)
    tools = json.loads((tmp_path / "dataset" / "tools.json").read_text())
    assert tools == json.loads(TOOLS.read_text())
    wanted = digest.of_bytes(digest.canonical(tools)).removeprefix("sha256:")
    assert stage.fingerprints == {"tool_registry": wanted}
    assert stage.data["tools"]["value"] == len(tools) >= 8
    assert set(stage.data["classes"]) <= {"control", *(tool["name"] for tool in tools)}


@pytest.mark.parametrize("validation", [0.0, 0.2])
def test_the_report_has_the_published_form(tmp_path: Path, validation: float):
    path = write(tmp_path / "in.jsonl", *pairs(40))
    stage = run(tmp_path, {"s": path}, sources=[source("s")], validation=validation)
    whole = facts.envelope(
        kind="data.splits",
        step="data",
        subject={},
        fingerprints=stage.fingerprints,
        environment={"forged": False, "backend": "python"},
        data=stage.data,
    )
    base, own = (
        json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text()) for name in ("report", "report.data.splits")
    )
    known = Registry().with_resource("report.schema.json", Resource.from_contents(base))
    jsonschema.Draft202012Validator(own, registry=known).validate(whole)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path):
    made = source("g", kind="generator", generator="eight_ball", params={"rows": 200})
    for name, seed in (("1", 7), ("2", 7), ("3", 8)):
        prepare({}, DataParams(sources=[made]), Stage(tmp_path / name, seed))
    first, again, other = (digest.of_folder(tmp_path / name / "dataset") for name in "123")
    assert first == again != other


def test_fixtures_go_into_the_dataset_as_they_are_and_are_read_from_there(tmp_path: Path):
    tools = registry.load(TOOLS)
    folder = tmp_path / "answers"
    folder.mkdir()
    lines = [fixtures.header(dict(tools[0]), tools), {"kind": "ignore_args", "result": "done"}]
    (folder / f"{tools[0]['name']}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stage = Stage(tmp_path / "out")
    made = source("t", kind="generator", generator="toy_tools", params={"rows": 100})
    takes = {"tools": TOOLS, "fixtures": folder}
    prepare(takes, DataParams(sources=[made], has_tools=True, has_fixtures=True), stage)
    box = toolbox.of_dataset(tmp_path / "out" / "dataset")
    assert list(box) == tools
    assert [line.result for line in toolbox.fixtures_of(box).lines()] == ["done"]
    (folder / "world.jsonl").write_text("{}\n")
    with pytest.raises(Refusal) as refused:
        prepare(takes, DataParams(sources=[made], has_tools=True, has_fixtures=True), Stage(tmp_path / "again"))
    assert refused.value.place == "fixtures/world.jsonl:1"


def offered(name: str, answer: Any, *tools: str) -> dict[str, Any]:
    """A question with tools of an integer beside it, and a call that is its answer."""
    parameters = {"type": "object", "properties": {"x": {"type": "integer"}}}
    call = {"type": "function", "function": {"name": tools[0], "arguments": {"x": answer}}}
    return {
        "id": name,
        "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]}],
        "tools": [{"type": "function", "function": {"name": one, "parameters": parameters}} for one in tools],
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split": "test", "calls": "suites"}, ""),
        ({"split": "test"}, "no call that the tools beside the messages allow"),
        ({"split": "train", "calls": "suites"}, "gives rows to the split `train`"),
        ({"split": "auto", "calls": "suites"}, "gives rows to the split `auto`"),
        ({"split": "validation", "calls": "suites"}, "gives rows to the split `validation`"),
    ],
)
def test_calls_that_no_tool_allows_are_tested_by_where_suites_judge_them_and_never_learnt(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    rows_ = write(tmp_path / "b.jsonl", offered("a", "apple", "f"))
    learnt = write(tmp_path / "l.jsonl", *({"prompt": f"learn {n}", "response": "r"} for n in range(3)))
    given = {"sources": [source("b", **changes), source("l", split="train")], "held_out": 0.5}
    if not said:
        assert run(tmp_path, {"b": rows_, "l": learnt}, **given).data["splits"]["test"]["rows"]["value"] == 1
        return
    with pytest.raises(Refusal) as refused:
        run(tmp_path, {"b": rows_, "l": learnt}, **given)
    assert said in refused.value.message


def test_a_question_with_other_tools_beside_it_is_another(tmp_path: Path) -> None:
    """BFCL asks 84 of its questions twice, with one function and with several."""
    again = offered("d", 1, "f", "g")
    rows_ = write(tmp_path / "b.jsonl", offered("a", 1, "f"), offered("b", 1, "f", "g"), offered("c", 1, "f"), again)
    learnt = write(tmp_path / "l.jsonl", *({"prompt": f"learn {n}", "response": "r"} for n in range(3)))
    made = run(tmp_path, {"b": rows_, "l": learnt}, sources=[source("b", split="test"), source("l", split="train")])
    assert made.data["splits"]["test"]["rows"]["value"] == 2
    assert made.data["duplicates_dropped"]["value"] == 2

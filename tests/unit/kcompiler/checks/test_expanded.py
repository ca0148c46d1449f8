"""A vocabulary that is expanded beside a teacher: who can teach it is accepted, and of anybody else the advice, typed,
compiles."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.unit.kcompiler.checks.claims import Change, Claim, section, several
from tests.unit.kcompiler.checks.laboratory import compiled
from tests.unit.kcompiler.checks.test_corners import ANSWERS, CONTROL, folder, hosted, kin, letters, local, losses, pair

#: what is wrong with folders that hold no weights, which no vocabulary mends
_BARE = {"KC4406", "KC4408"}
TEXTS = ["<call>", "</call>"]
WIDE = section("tokenizer", source="student", expand=TEXTS, vocab_size=514)
ANSWERED = several(losses("sequence_kd"), lambda data: data["evaluation"].update(suites=[{"use": "choice"}]))
RECORD = {"source": "recorded", "path": "answers.jsonl", "model": "m", "signals": ["text"], "allow_missing": 0.99}


def migrated(data: dict[str, Any]) -> None:
    data["student"]["migrate"] = {}


def with_tags(data: dict[str, Any]) -> None:
    data["tokenizer"]["single_token_tags"] = TEXTS


def starting(data: dict[str, Any]) -> None:
    """A student that starts from weights whose tokenizer has 512 tokens and no row more."""
    teacher = data["teacher"]
    kin("student")(data)
    data["teacher"] = teacher


def found(root: Path, change: Change, files: dict[str, str]) -> dict[str, str]:
    """Code of each error but those of bare folders → its advice."""
    for name, text in {**files, "answers.jsonl": ANSWERS}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    wrong = [one for one in compiled(root, change).diagnostics if one.severity == "error"]
    return {one.code: one.help for one in wrong if one.code not in _BARE}


@pytest.mark.parametrize(
    "teacher",
    [
        # trained here, with the expanded tokenizer
        several(),
        # in text, of which the student's own tokenizer makes tokens
        several(hosted(["text"]), ANSWERED),
        several(lambda data: data.update(teacher=RECORD), ANSWERED),
    ],
    ids=["bootstrap", "openai", "recorded"],
)
def test_who_can_teach_an_expanded_vocabulary_does(tmp_path: Path, teacher: Change) -> None:
    assert found(tmp_path, several(teacher, starting, WIDE, migrated, with_tags), pair(letters(509))) == {}


def in_text(data: dict[str, Any]) -> None:
    hosted(["text"])(data)
    ANSWERED(data)
    migrated(data)
    data["tokenizer"]["vocab_size"] = 514


def without(data: dict[str, Any]) -> None:
    data["tokenizer"].update(vocab_size=512)
    del data["tokenizer"]["expand"]
    data["tokenizer"].pop("single_token_tags", None)
    data["student"].pop("migrate", None)


TEXT = "let this teacher answer in text: source openai (`kcompiler serve` is such a server) or recorded"
LEARN = "learn from its answers (`sequence_kd`)"
TAGS = " with its texts under `single_token_tags`"


@pytest.mark.parametrize(
    "text", [[], [losses("ce_truth")], [losses("sequence_kd"), section("teacher", signals=["text"])]]
)
@pytest.mark.parametrize("tags", [False, True])
def test_a_teacher_that_has_no_row_for_a_token_is_refused_with_two_ways(
    tmp_path: Path, text: list[Change], tags: bool
) -> None:
    """By whatever it would teach: the rows of the spec hold ids that it cannot read."""
    change = several(kin("student"), *text, WIDE, migrated, *([with_tags] if tags else []))
    files = pair(letters(509))
    assert found(tmp_path, change, files) == {
        "KC4302": f"{TEXT}, {LEARN}; or remove `expand`{TAGS if tags else ''} and `student.migrate`, and write "
        "`vocab_size: 512`"
    }
    for way in (in_text, without):
        assert found(tmp_path, several(change, way), files) == {}


def test_too_narrow_a_vocabulary_beside_such_a_teacher_is_not_sent_in_a_circle(tmp_path: Path) -> None:
    change = several(kin("student"), section("tokenizer", expand=TEXTS, vocab_size=512))
    files = pair(letters(509))
    assert found(tmp_path, change, files) == {
        "KC4303": f"{TEXT}, {LEARN}, write `vocab_size: 514` and `student.migrate`; or remove `expand`, and write "
        "`vocab_size: 512`"
    }
    for way in (in_text, without):
        assert found(tmp_path, several(change, way), files) == {}


#: tokens, width, code, advice, and the advice typed
OWN: list[tuple[int, int, str, str, Change]] = [
    # the teacher's own tokenizer, whose rows are all in use, or all but one, or all but three
    (509, 514, "KC4302", "remove `expand`, and write `vocab_size: 512`", without),
    (508, 514, "KC4302", "expand by 1 at most, and write `vocab_size: 512`",
     section("tokenizer", expand=TEXTS[:1], vocab_size=512)),
    (507, 514, "KC4302", "write 512, which has unused rows for them", section("tokenizer", vocab_size=512)),
    (506, 514, "KC4302", "write 512, which has unused rows for them", section("tokenizer", vocab_size=512)),
    (508, 512, "KC4303", "expand by 1 at most, and write `vocab_size: 512`",
     section("tokenizer", expand=TEXTS[:1])),
]  # fmt: skip


@pytest.mark.parametrize(("tokens", "width", "code", "advice", "way"), OWN)
def test_the_teachers_own_tokenizer_has_room_in_its_rows_alone(
    tmp_path: Path, tokens: int, width: int, code: str, advice: str, way: Change
) -> None:
    files, change = folder(letters(tokens), **CONTROL), local(expand=TEXTS, vocab_size=width)
    assert found(tmp_path, change, files) == {code: advice}
    assert found(tmp_path, several(change, way), files) == {}


def test_a_student_without_rows_is_given_them(tmp_path: Path) -> None:
    change = several(starting, WIDE)
    advice = "write `student.migrate`, which gives the weights rows for them"
    assert found(tmp_path, change, pair(letters(509))) == {"KC4302": advice}
    assert found(tmp_path, several(change, migrated), pair(letters(509))) == {}


def advice() -> None:
    """Of each kind of teacher and student what is advised, word for word."""
    beside = several(kin("student"), WIDE, migrated)
    asked: list[tuple[Change, dict[str, str], str]] = [
        *(
            (local(expand=TEXTS, vocab_size=width), folder(letters(tokens), **CONTROL), said)
            for tokens, width, _, said, _ in OWN
        ),
        (several(starting, WIDE), pair(letters(509)), "write `student.migrate`, which gives the weights rows for them"),
        (
            beside,
            pair(letters(509)),
            f"{TEXT}, {LEARN}; or remove `expand` and `student.migrate`, and write `vocab_size: 512`",
        ),
        (
            several(kin("student"), section("tokenizer", expand=TEXTS, vocab_size=512)),
            pair(letters(509)),
            f"{TEXT}, {LEARN}, write `vocab_size: 514` and `student.migrate`; or remove `expand`, and write "
            "`vocab_size: 512`",
        ),
        (
            several(kin("student"), section("tokenizer", expand=TEXTS, vocab_size=512), migrated),
            pair(letters(509)),
            f"{TEXT}, {LEARN}, write `vocab_size: 514` and `student.migrate`; or remove `expand` and "
            "`student.migrate`, and write `vocab_size: 512`",
        ),
    ]
    for change, files, said in asked:
        with tempfile.TemporaryDirectory() as root:
            assert list(found(Path(root), change, files).values()) == [said]


#: all of it by hand: what is advised is looked at, not only that it is refused
CLAIMS: list[Claim] = []
ARITHMETIC = (advice,)

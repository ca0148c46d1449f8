"""pin: the digests of what a spec names stand in its text, and nothing else in it has changed."""

import hashlib

import pytest
import yaml

from kcompiler import source
from kcompiler.cli import _main
from kcompiler.facts import World
from kcompiler.pin import Unwritable, pinned
from runtime import digest

OLD = "sha256:" + "0" * 64
TEXT = """# a comment above
teacher:
  source: hf
  model: weights   # where it is
  signals: [logits]
student:
  checkpoint: {model: models:base, license: MIT}   # in one line
data:
  sources:
    - name: rows   # in a block
      kind: jsonl
      path: "rows.jsonl" # quoted
      license: MIT
    - {name: more, kind: jsonl, path: rows.jsonl, sha256: 'old', license: MIT}
    - {name: made, kind: generator, generator: eight_ball, license: CC0-1.0}
include:
  - path: part.yaml
"""
PART = "training: {stages: []}\nteacher:\n  model: weights\n  revision: " + OLD


@pytest.fixture
def home(tmp_path, monkeypatch):
    root = tmp_path / "project"
    for name in ("weights", "base"):
        folder = (root if name == "weights" else tmp_path) / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(name)
    (root / ".kcompiler").mkdir()
    (root / ".kcompiler/models.toml").write_text(f'base = "{tmp_path / "base"}"\n')
    (root / "rows.jsonl").write_text("{}\n")
    (root / "part.yaml").write_text(PART)
    (root / "spec.yaml").write_text(TEXT)
    monkeypatch.chdir(root)
    return root


def test_every_pin_is_written_where_it_belongs_and_nothing_else_changes(home, tmp_path, capsys):
    assert _main(["pin", "--check", "spec.yaml"]) == 1
    assert (home / "spec.yaml").read_text() == TEXT
    capsys.readouterr()
    assert _main(["pin", "spec.yaml"]) == 0
    said = capsys.readouterr().out
    text = (home / "spec.yaml").read_text()
    data = yaml.safe_load(text)
    weights, rows = digest.of_folder(home / "weights"), hashlib.sha256(b"{}\n").hexdigest()
    assert data["teacher"]["revision"] == weights
    assert data["student"]["checkpoint"]["revision"] == digest.of_folder(tmp_path / "base")
    for entry in data["data"]["sources"][:2]:
        assert (entry["sha256"], entry["bytes"]) == (rows, 3)
    assert "sha256" not in data["data"]["sources"][2]
    part = (home / "part.yaml").read_bytes()
    assert part.decode() == PART.replace(OLD, weights)
    assert data["include"] == [{"path": "part.yaml", "sha256": hashlib.sha256(part).hexdigest()}]
    pins = ("sha256:", "bytes:", "revision:")
    kept = [line for line in text.splitlines() if not line.strip().startswith(pins)]
    one = f"path: rows.jsonl, bytes: 3, sha256: '{rows}'"
    flow = [f"checkpoint: {{model: models:base, revision: {data['student']['checkpoint']['revision']},"]
    assert len(kept) == len(TEXT.splitlines())
    assert [a for a, b in zip(kept, TEXT.splitlines(), strict=True) if a != b] == [
        line for line in kept if one in line or flow[0] in line
    ]
    assert f"- {OLD}\n+ {weights}" in said
    assert "7 pins written" not in said
    assert said.splitlines()[-1] == "spec.yaml: 8 pins written"
    assert _main(["pin", "spec.yaml"]) == 0
    assert capsys.readouterr().out == "spec.yaml: every pin is as it is\n"
    assert _main(["pin", "--check", "spec.yaml"]) == 0
    assert (home / "spec.yaml").read_text() == text


def test_what_has_no_pin_and_is_not_here_is_named_and_the_rest_is_written(home, capsys):
    (home / "part.yaml").unlink()
    (home / ".kcompiler/models.toml").unlink()
    assert _main(["pin", "spec.yaml"]) == 4
    assert "  part.yaml\n  models:base\n" in capsys.readouterr().err
    assert digest.of_folder(home / "weights") in (home / "spec.yaml").read_text()


def test_what_has_a_pin_and_is_not_here_keeps_it(home, capsys):
    spec = f"teacher: {{source: hf, model: gone, revision: '{OLD}'}}\ninclude: [{{path: gone.yaml, sha256: a}}]\n"
    (home / "spec.yaml").write_text(spec)
    assert _main(["pin", "spec.yaml"]) == 0
    assert (home / "spec.yaml").read_text() == spec


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("teacher: [", "spec.yaml:1"),
        ("teacher: {source: hf, model: weights, revision: &pin old}\nbudgets: {note: *pin}\n", "by hand"),
        ("teacher: {source: hf, model: linked}\n", "link"),
    ],
    ids=["broken", "anchored", "unstable"],
)
def test_what_cannot_be_written_is_left_as_it_is(home, capsys, text, says):
    (home / "linked").mkdir()
    (home / "linked/config.json").symlink_to(home / "weights/config.json")
    (home / "spec.yaml").write_text(text)
    assert _main(["pin", "spec.yaml"]) == 2
    assert says in capsys.readouterr().err
    assert (home / "spec.yaml").read_text() == text


def test_other_sources_and_repositories_have_no_folder(home):
    text = "teacher: {source: openai, model: weights}\nstudent: {checkpoint: {model: 'hf:a/b'}}\ndata: {sources: 3}\n"
    found = pinned("spec.yaml", text.encode(), World(home, home))
    assert (found.pins, found.texts, found.absent) == ([], {}, [])


@pytest.mark.parametrize(
    ("pins", "absent"),
    [({"sha256": "a", "bytes": 1}, []), ({"sha256": "a"}, ["gone"]), ({"bytes": 1}, ["gone"]), ({}, ["gone"])],
)
def test_rows_that_are_not_here_need_both_pins(home, pins, absent):
    spec = yaml.safe_dump({"data": {"sources": [{"kind": "jsonl", "path": "gone", **pins}]}})
    assert pinned("spec.yaml", spec.encode(), World(home, home)).absent == absent


def test_a_warning_about_the_parser_keeps_nothing_from_being_written(home, monkeypatch):
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    made = pinned("spec.yaml", b"teacher:\n  source: hf\n  model: weights\n", World(home, home))
    assert yaml.safe_load(made.texts["spec.yaml"])["teacher"]["revision"] == digest.of_folder(home / "weights")


def test_line_ends_of_windows_stay(home):
    text = "teacher:\r\n  source: hf\r\n  model: weights\r\nkind: x\r\n"
    made = pinned("spec.yaml", text.encode(), World(home, home)).texts["spec.yaml"]
    pin = digest.of_folder(home / "weights")
    assert made == f"teacher:\r\n  source: hf\r\n  model: weights\r\n  revision: {pin}\r\nkind: x\r\n"


def test_a_file_without_a_last_line_end_gets_its_pin(home):
    made = pinned("s", b"teacher:\n  source: hf\n  model: weights", World(home, home)).texts["s"]
    tree, wrong = source.load("s", made.encode())
    assert not wrong
    assert tree.get("/teacher/revision") == digest.of_folder(home / "weights")


def test_a_text_that_is_no_spec_is_said(home):
    with pytest.raises(Unwritable, match="s"):
        pinned("s", b"\xff", World(home, home))


@pytest.mark.parametrize("where", ["weights", "datasets"])
def test_a_folder_of_links_is_refused_where_it_is_named_and_the_advice_works(home, tmp_path, capsys, where):
    """A snapshot in the cache of Hugging Face is a folder of links."""
    (tmp_path / "blob").write_text("weights")
    (home / "weights/config.json").unlink()
    (home / "weights/config.json").symlink_to(tmp_path / "blob")
    text = TEXT.partition("include:")[0]
    if where == "datasets":
        text = text.replace("  model: weights ", "  model: models:base ")
        text = text.replace('kind: jsonl\n      path: "rows.jsonl"', "kind: datasets\n      path: weights")
    (home / "spec.yaml").write_text(text)
    assert _main(["pin", "spec.yaml"]) == 2
    said = capsys.readouterr().err
    line = next(n for n, one in enumerate(text.splitlines(), 1) if ": weights" in one)
    assert said.startswith(f"spec.yaml:{line}:")
    assert "symbolic link in an artifact: config.json" in said
    assert "cp -rL" in said
    assert said.splitlines()[-1] == "outcome=unreadable code=2 next=kcompiler pin spec.yaml"
    (home / "weights/config.json").unlink()
    (home / "weights/config.json").write_text("weights")
    assert _main(["pin", "spec.yaml"]) == 0

"""The tool that replays all specs on another revision: it sees a change of meaning and nothing else."""

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def tool():
    spec = importlib.util.spec_from_file_location("replay", Path(__file__).with_name("replay.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled(replay, tmp_path, code=ROOT):
    import shutil

    home = tmp_path / "home"
    if not home.exists():
        shutil.copytree(ROOT / "specs", home / "specs")
        (home / ".kcompiler").mkdir()
    return replay.plans(code, home, ["specs/eight-ball.yaml"])["specs/eight-ball.yaml"]


def test_a_refactor_shows_no_difference_and_another_default_does(tmp_path):
    """The same compiler with a comment more in every file it digests, then with another default of one step."""
    import shutil

    replay = tool()
    now = compiled(replay, tmp_path)
    copy = tmp_path / "code"
    for name in ("kcompiler", "runtime", "schemas", "policies", "specs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (copy / "runtime").rglob("*.py"):
        path.write_text(path.read_text(encoding="utf-8") + "\n# a comment\n", encoding="utf-8")
    refactored = compiled(replay, tmp_path, copy)
    assert refactored != now
    assert list(replay.differences(replay.settled(now), replay.settled(refactored))) == []
    train = copy / "runtime/steps/train.py"
    text = train.read_text(encoding="utf-8")
    assert "version=1," in text
    train.write_text(text.replace("version=1,", "version=2,"), encoding="utf-8")
    changed = list(replay.differences(replay.settled(now), replay.settled(compiled(replay, tmp_path, copy))))
    assert changed
    assert all("/kind" in line for line in changed)


def test_every_leaf_is_compared():
    replay = tool()
    old = {"steps": [{"id": "a", "params": {"x": 1, "y": [1, 2]}}, {"id": "b"}], "budgets": {"usd": 1.0}}
    new = json.loads(json.dumps(old))
    new["steps"][0]["params"]["y"][1] = True
    new["steps"].pop()
    new["budgets"]["wall_s"] = 3
    assert list(replay.differences(old, new)) == [
        "+ /budgets/wall_s",
        "~ /steps/a/params/y: [1, 2] → [1, true]",
        "- /steps/b",
    ]

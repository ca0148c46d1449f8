"""What `init --ci` writes runs: each command of the workflows in a fresh git repository, with its exit code."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest
import yaml

from kcompiler.cli import _main

ROOT = Path(__file__).resolve().parents[4]
SPEC = "specs/eight-ball.yaml"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A newcomer's repository: nothing in it."""
    folder = tmp_path / "home"
    folder.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    monkeypatch.chdir(folder)
    return folder


def shell(home, text):
    """The exit code of a step, run as GitHub and GitLab run one, with `kcompiler` on the path."""
    bin_ = home.parent / "bin"
    if not bin_.exists():
        bin_.mkdir()
        script = f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom kcompiler.cli import main\nmain()\n"
        (bin_ / "kcompiler").write_text(script)
        (bin_ / "kcompiler").chmod(0o755)
    env = {**os.environ, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", text], cwd=home, env=env, capture_output=True
    ).returncode


def run(command):
    """The exit code of one command, without a shell of its own."""
    name, *arguments = shlex.split(command)
    assert name == "kcompiler"
    return _main(arguments)


def valid(text, name):
    """Whether a published schema of a code host says so (those that check-jsonschema carries)."""
    found = find_spec("check_jsonschema")
    if found is None:
        pytest.skip("check-jsonschema is not installed: pip install '.[dev]'")
    schema = json.loads((Path(found.origin).parent / "builtin_schemas/vendor" / name).read_text(encoding="utf-8"))
    # YAML 1.1 reads the key `on` as true
    document = {"on" if key is True else key: value for key, value in yaml.safe_load(text).items()}
    return jsonschema.Draft7Validator(schema).is_valid(document)


def _compares_with_what_was_there_before(home, script):
    """Of a push the revision before it; of the first push of all none; of a schedule, which changes nothing, itself."""
    asked = script.replace("kcompiler ci", "printf '%s ' ci")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "first"], cwd=home, check=True)
    base, push = ["--base", "HEAD"], "push"
    for event, before, wanted in ((push, "HEAD", base), (push, "0" * 40, []), (push, "", []), ("schedule", "", base)):
        around = {**os.environ, "BEFORE": before, "GITHUB_EVENT_NAME": event}
        found = subprocess.run(["bash", "-ec", asked], cwd=home, env=around, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        words = found.stdout.split()
        assert words[:4] == ["ci", SPEC, "--to", "kcompiler-out"]
        assert words[-len(wanted) :] == wanted if wanted else "--base" not in words


def test_a_workflow_of_github_is_one_and_its_commands_run(home, capsys):
    assert _main(["init", "--ci", "github"]) == 0
    text = (home / ".github/workflows/kcompiler.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    steps = {step.get("name"): step["run"] for step in jobs["plan"]["steps"] if "run" in step}
    assert shell(home, steps["Validate"]) == 0
    # no lock is committed yet, and the comment says so
    assert shell(home, steps["Plan"]) == 1
    assert "generated/eight-ball/plan.lock does not exist" in (home / "kcompiler-out/plan.md").read_text()
    assert _main(["plan", SPEC]) == 0
    assert shell(home, steps["Plan"]) == 0
    hooks = yaml.safe_load((home / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [run(f"{hook['entry']} {'' if 'pass_filenames' in hook else SPEC}") for hook in hooks] == [0, 0]
    # a comment needs a right, and nothing of a pull request is written into a command
    assert jobs["plan"]["permissions"]["pull-requests"] == "write"
    assert not [said for job in jobs.values() for step in job["steps"] if "${{" in (said := step.get("run", ""))]
    ci = next(step["run"] for step in jobs["evaluate"]["steps"] if "kcompiler ci" in step.get("run", ""))
    assert f"kcompiler ci {SPEC} --to kcompiler-out" in ci
    _compares_with_what_was_there_before(home, ci)
    (home / SPEC).write_text((home / SPEC).read_text().replace("risk_tier: 3", "risk_tier: 9"))
    assert run(steps["Validate"]) == 1


@pytest.mark.parametrize(("host", "file", "schema"), [
    ("github", ".github/workflows/kcompiler.yml", "github-workflows.json"),
    ("gitlab", ".gitlab-ci.yml", "gitlab-ci.json"),
])  # fmt: skip
def test_the_schema_of_the_code_host_accepts_it_and_nothing_is_overwritten(home, capsys, host, file, schema):
    shutil.copytree(ROOT / "specs/data", home / "specs/data")
    shutil.copy(ROOT / SPEC, home / SPEC)
    assert _main(["init", "--ci", host]) == 0
    text = (home / file).read_text()
    assert "@" not in text.replace("actions/", "").replace("@v", "")
    assert valid(text, schema)
    assert not valid(text.replace("rules:", "rulez:").replace("runs-on:", "run-on:"), schema)
    if host == "github" and shutil.which("actionlint"):
        assert subprocess.run(["actionlint", home / file]).returncode == 0
    (home / file).write_text("mine\n")
    capsys.readouterr()
    assert _main(["init", "--ci", host]) == 0
    assert f"kept     {file}" in capsys.readouterr().err
    assert (home / file).read_text() == "mine\n"


def test_a_spec_whose_name_a_shell_could_read_is_refused(home, capsys):
    (home / "specs").mkdir()
    (home / "specs/a$(touch x).yaml").write_text("")
    assert _main(["init", "--ci", "github"]) == 2
    assert "a pipeline names its specs by" in capsys.readouterr().err
    assert not (home / ".github").exists()


def test_this_repository_offers_hooks(home):
    hooks = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    assert _main(["init"]) == 0
    assert run(f"{hooks['kcompiler-validate']['entry']} {SPEC}") == 0
    assert run(f"{hooks['kcompiler-plan']['entry']} {SPEC}") == 1
    assert _main(["plan", SPEC]) == 0
    assert run(f"{hooks['kcompiler-plan']['entry']} {SPEC}") == 0

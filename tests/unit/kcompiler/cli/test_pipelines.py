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


WHO = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]


def _asked(home, script, gh, code=0, **env):
    """The words of `kcompiler ci` in a step, where `gh` prints so, or fails for None."""
    bin_ = home.parent / "fake"
    bin_.mkdir(exist_ok=True)
    said = "exit 4" if gh is None else f"echo {gh}"
    (bin_ / "gh").write_text(f"#!/bin/sh\ncase \"$*\" in *'--branch main --event push --status success'*) {said} ;; *) exit 9 ;; esac\n")  # fmt: skip
    (bin_ / "gh").chmod(0o755)
    env = {**os.environ, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "BRANCH": "main", **env}
    script = script.replace("kcompiler ci", "echo ci")
    found = subprocess.run(["bash", "-ec", script], cwd=home, env=env, capture_output=True, text=True)
    assert found.returncode == code, found.stderr
    return found.stdout.splitlines()[-1].partition(" --to kcompiler-out")[2].split() if code == 0 else []


def _compares_with_what_passed(home, script):
    """The last revision that passed, not the one before; where none has, the one before; and no answer is an end."""
    form = ["--format", "github"]
    for event in ({"BEFORE": "weak"}, {"BEFORE": ""}):
        assert _asked(home, script, "green", **event) == [*form, "--base", "green"]
        assert _asked(home, script, "green", TRUSTED="given", **event) == [*form, "--base", "given"]
        assert _asked(home, script, None, code=4, **event) == []
    assert _asked(home, script, "", BEFORE="gone") == [*form, "--base", "gone"]
    assert _asked(home, script, "", BEFORE="", GITHUB_EVENT_NAME="schedule") == [*form, "--base", "HEAD"]
    for nothing in ("0" * 40, ""):
        assert _asked(home, script, "", BEFORE=nothing) == form


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
    _compares_with_what_passed(home, ci)
    # a pull request is held to its target, and what is not there is no target
    subprocess.run(["git", "add", "-A"], cwd=home, check=True)
    subprocess.run(["git", *WHO, "commit", "-qm", "first"], cwd=home, check=True)
    weaker = steps["Nothing is weaker"]
    assert f"kcompiler ci {SPEC} --plan-only" in weaker
    assert shell(home, "BASE=HEAD\n" + weaker) == 0
    parts = json.loads((home / "kcompiler-out/ci/result.json").read_text())["parts"]
    assert [part["verb"] for part in parts] == ["policy diff", "validate", "plan", "policy"]
    # by its full name: a tag that is called so goes before a short one
    bases = [step["env"]["BASE"] for step in jobs["plan"]["steps"] if "BASE" in step.get("env", {})]
    assert bases == ["refs/remotes/origin/${{ github.base_ref }}"]
    assert shell(home, "BASE=refs/remotes/origin/none\n" + weaker) == 2
    subprocess.run(["git", "update-ref", "refs/tags/refs/remotes/origin/none", "HEAD"], cwd=home, check=True)
    assert shell(home, "BASE=refs/remotes/origin/none\n" + weaker) == 2
    edited = (home / SPEC).read_text()
    (home / SPEC).write_text(edited.replace("usd: 0", "usd: 9"))
    assert (home / SPEC).read_text() != edited
    assert _main(["plan", SPEC]) == 0
    assert shell(home, "BASE=HEAD\n" + weaker) == 1
    (home / SPEC).write_text(edited)
    (home / SPEC).write_text((home / SPEC).read_text().replace("risk_tier: 3", "risk_tier: 9"))
    assert run(steps["Validate"]) == 1


def test_a_workflow_for_a_mac_delivers_verifies_and_keeps_the_report(home, capsys):
    (home / "specs").mkdir()
    (home / "specs/desk.yaml").write_text("")
    (home / "specs/judge-3b.yaml").write_text("")
    assert _main(["init", "--ci", "github"]) == 0
    text = (home / ".github/workflows/kcompiler-device.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    deliver, device = (
        {step.get("name", step.get("uses", "")): step for step in jobs[name]["steps"]} for name in ("deliver", "device")
    )
    assert (jobs["device"]["needs"], "macos-15" in jobs["device"]["runs-on"]) == ("deliver", True)
    assert not [said for job in jobs.values() for step in job["steps"] if "${{" in (said := step.get("run", ""))]
    # a Mac gets the artifact that was delivered, and its report is kept whatever it says
    kept = deliver["actions/upload-artifact@v4"]["with"], device["actions/download-artifact@v4"]["with"]
    assert [(one["name"], one["path"]) for one in kept] == [("kcompiler-delivery", "kcompiler-delivery")] * 2
    assert (device["Keep the reports"]["if"], device["Keep the reports"]["with"]["path"]) == (
        "always()",
        "kcompiler-device",
    )
    said = [line for line in deliver["Deliver what passes"]["run"].splitlines() if line.startswith("kcompiler")]
    assert said == [
        "kcompiler apply specs/desk.yaml",
        "kcompiler deliver specs/desk.yaml --goldens --to kcompiler-delivery/desk",
        "kcompiler apply specs/judge-3b.yaml",
        "kcompiler deliver specs/judge-3b.yaml --goldens --to kcompiler-delivery/judge-3b",
    ]
    script = device["Verify on the device"]["run"]
    said = [line.partition(" ||")[0] for line in script.splitlines() if line.startswith("kcompiler")]
    assert [one.split("--to ")[1].split()[0] for one in said] == [
        "kcompiler-device/desk.json",
        "kcompiler-device/judge-3b.json",
    ]
    # both are options that the verbs have: what is missing is the delivery alone
    for one in said:
        capsys.readouterr()
        assert run(one.replace('"$LEVEL"', "3").replace('"$UNITS"', "all")) == 2
        assert "Directory 'kcompiler-delivery/" in capsys.readouterr().err
    # one delivery that is not attested ends the job, after all of them were asked
    env = "LEVEL=3\nUNITS=all\n"
    asked = script.replace(
        "kcompiler verify", "verify() { echo >> asked; [ $2 != kcompiler-delivery/desk ] || return 4; }; verify"
    )
    assert shell(home, env + asked) == 4
    assert (home / "asked").read_text() == "\n\n"
    assert shell(home, env + script.replace("kcompiler verify", "true")) == 0
    # the Mac needs no torch
    (home / "kcompiler-requirements.txt").write_text("kcompiler[run] @ git+https://example.org/k@1\n")
    assert (
        shell(home, device["Install what predicts, and nothing that trains"]["run"].replace("python -m pip", "echo"))
        == 0
    )
    assert (home / "kcompiler-device.txt").read_text() == "kcompiler[device] @ git+https://example.org/k@1\n"


def test_a_pipeline_of_gitlab_compares_with_what_passed(home):
    assert _main(["init", "--ci", "gitlab"]) == 0
    jobs = yaml.safe_load((home / ".gitlab-ci.yml").read_text())
    request = jobs["kcompiler-plan"]["script"][-1]
    assert request.endswith('--plan-only --to kcompiler-out/ci --base "$CI_MERGE_REQUEST_DIFF_BASE_SHA"')
    subprocess.run(["git", *WHO, "commit", "-q", "--allow-empty", "-m", "first"], cwd=home, check=True)
    script = "\n".join(jobs[".kcompiler-evaluate"]["script"][1:])
    # nobody knows which one passed
    assert shell(home, script.replace("kcompiler ci", "echo > asked")) == 1
    assert not (home / "kcompiler-green").exists()
    # a job that fails leaves no mark, one that passes its revision, which the next is held to
    assert shell(home, "KCOMPILER_BASE=given\n" + script.replace("kcompiler ci", "false")) == 1
    assert not (home / "kcompiler-green").exists()
    assert shell(home, "KCOMPILER_BASE=given\n" + script.replace("kcompiler ci", "echo > asked")) == 0
    assert (home / "asked").read_text().split()[-2:] == ["--base", "given"]
    assert shell(home, script.replace("kcompiler ci", "echo > asked")) == 0
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=home, capture_output=True, text=True).stdout.strip()
    assert (home / "asked").read_text().split()[-2:] == ["--base", head]
    caches = [jobs[".kcompiler-evaluate"]["cache"], *jobs["kcompiler-apply"]["cache"]]
    assert [one["paths"] for one in caches] == [["kcompiler-green"], ["kcompiler-green"], [".kcompiler"]]


@pytest.mark.parametrize(("host", "file", "schema"), [
    ("github", ".github/workflows/kcompiler.yml", "github-workflows.json"),
    ("github", ".github/workflows/kcompiler-device.yml", "github-workflows.json"),
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

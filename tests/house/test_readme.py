"""The README promises two commands; CI runs the second one to the letter."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {
    "pyproject.toml",
    "specs",
    "kcompiler",
    "runtime",
    "policies",
    "schemas",
    "generated",
    "tests",
    "README.md",
    "LICENSE",
    "findings",
}


def commands() -> list[str]:
    text = (ROOT / "README.md").read_text()
    return [
        line
        for block in re.findall(r"```sh\n(.*?)```", text, re.S)
        for line in block.splitlines()
        if line.startswith("python3 -m venv")
    ]


def test_readme_has_exactly_the_two_commands():
    first, second = commands()
    assert first.endswith("kcompiler apply specs/eight-ball.yaml")
    assert "pytest" in second


def test_ci_runs_the_readme_test_command():
    assert commands()[1] in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_top_level_holds_what_the_design_names_and_nothing_else():
    import subprocess

    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    top = {path.split("/")[0] for path in tracked if path}
    assert {name for name in top if not name.startswith(".")} <= ALLOWED

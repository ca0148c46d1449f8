"""The README promises two commands; CI runs the second one to the letter."""

import re
from pathlib import Path

from click.testing import CliRunner

from kcompiler.cli import VERBS, cli
from kcompiler.cli.outcome import EXITS

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


def exits_of(text: str, row: str) -> dict[int, str]:
    found = re.findall(row, text, re.M)
    assert len(found) == len(dict(found))
    return {int(code): meaning.replace("`", "") for code, meaning in found}


def test_the_readme_and_help_say_the_same_about_every_exit_code():
    assert exits_of((ROOT / "README.md").read_text(), r"^\| (\d+) \| (.*) \|$") == EXITS
    assert exits_of(CliRunner().invoke(cli, ["--help"]).output, r"^ +(\d+)  (.*)$") == EXITS
    assert {1, 2, 3, 4, 5, 6, 7, 10, 70, 129, 130, 134, 137, 143} <= set(EXITS)


def test_no_verb_ends_with_a_code_that_is_not_explained():
    source = "".join(path.read_text() for path in (ROOT / "kcompiler").rglob("*.py"))
    used = {int(code) for code in re.findall(r"Outcome\(\s*(\d+),", source)}
    assert {1, 2, 3, 4, 5, 6, 7, 10, 70, 130} <= used <= set(EXITS)


def test_the_readme_names_every_verb():
    text = (ROOT / "README.md").read_text()
    rows = [re.findall(r"`(\w+)", row) for row in re.findall(r"^\| (`[a-z`, ]+) \|", text, re.M)]
    assert set(VERBS) <= {verb for row in rows for verb in row}


def test_the_top_level_holds_what_the_design_names_and_nothing_else():
    import subprocess

    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    top = {path.split("/")[0] for path in tracked if path}
    assert {name for name in top if not name.startswith(".")} <= ALLOWED

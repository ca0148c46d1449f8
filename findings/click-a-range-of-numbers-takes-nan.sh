#!/usr/bin/env bash
# Guess: `click.FloatRange(0, 1)` lets numbers from 0 to 1 through and nothing else.
# Behaviour: `nan` is a float, is not below 0 and not above 1, and passes, also with open ends; `inf` passes a range without
#   an upper end.
# Versions: click 8.5.1, Python 3.11.
# Seen: "0.5: taken as 0.5", "1.5: exit 2", "nan: taken as nan", "inf from 0 on: taken as inf"
# Why it costs: an option that was declared with its range arrives as a value outside of it, and fails deep inside, or, in a
#   comparison, nowhere.
# Here: the numbers of `generate` are of a range that also asks whether they are finite.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q click==8.5.1
"$work/venv/bin/python" - <<'PY'
import sys
import click
from click.testing import CliRunner

def ask(kind, text):
    @click.command()
    @click.option("--x", type=kind)
    def command(x):
        click.echo(f"taken as {x}")

    done = CliRunner().invoke(command, ["--x", text])
    return done.output.strip() if done.exit_code == 0 else f"exit {done.exit_code}"

half = click.FloatRange(0, 1, min_open=True)
said = [ask(half, "0.5"), ask(half, "1.5"), ask(half, "nan"), ask(click.FloatRange(0), "inf")]
for name, one in zip(("0.5", "1.5", "nan", "inf from 0 on"), said):
    print(f"{name}: {one}")
sys.exit(said != ["taken as 0.5", "exit 2", "taken as nan", "taken as inf"])
PY

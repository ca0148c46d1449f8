"""The CSV files of CMMLU → rows of multiple choice, byte for byte the same everywhere, so that a spec can pin them.

CMMLU (Li et al., arXiv 2306.09212; github.com/haonan-li/CMMLU, CC BY-NC-SA 4.0) is not shipped. Its licence travels
with what is made from it: non-commercial, and shared alike.

    python -m runtime.data.cmmlu CMMLU/data/dev specs/data/cmmlu/dev.jsonl
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import cast

from runtime.contract import Refusal
from runtime.contract.rows import Row, checked
from runtime.contract.strict_json import Json
from runtime.data import converting

#: "These are single-choice questions; give the letter of the right answer."
ASKED = "以下是单项选择题，请直接给出正确答案的选项。"
CHOICES = ("A", "B", "C", "D")
FIELDS = ("Question", *CHOICES, "Answer")


def rows_of(path: Path) -> list[Row]:
    """The questions of one subject, in their order. Raises Refusal for a file of another form."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refusal(f"not a CSV file in UTF-8: {error}", place=path.name, action="take the file again") from None
    found: list[Row] = []
    for number, line in enumerate(lines, start=2):
        here = f"{path.name}:{number}"
        values = {name: (line.get(name) or "").strip() for name in FIELDS}
        if not all(values.values()) or values["Answer"] not in CHOICES:
            raise Refusal(f"not a question with {', '.join(FIELDS)}", place=here, action="take the file again")
        choices = "\n".join(f"{letter}. {values[letter]}" for letter in CHOICES)
        row: dict[str, Json] = {
            "id": f"{path.stem}-{number - 2}",
            "prompt": f"{ASKED}\n题目：{values['Question']}\n{choices}\n答案是：",
            "response": values["Answer"],
            "class": path.stem,
            "spans": {"choice": [[0, 1]]},
            "source": "cmmlu",
        }
        found.append(checked(row, here))
    return found


def convert(folder: Path, target: Path) -> tuple[int, str]:
    """Every subject of a folder in the order of their names → one JSON Lines file. Returns rows and SHA-256."""
    rows = (cast(dict[str, Json], row) for path in sorted(folder.glob("*.csv")) for row in rows_of(path))
    lacking = Refusal("no *.csv in it", place=folder.name, action="name the folder `dev` or `test` of CMMLU")
    return converting.written(rows, target, lacking)


if __name__ == "__main__":
    sys.exit(converting.main(sys.argv[1:], convert, str(__doc__)))

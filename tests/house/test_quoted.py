"""What README quotes is of the plans that are committed: where one of them asks something else by now, its reports are due.

`python -m tests.bench.quoted` makes them anew, and README's numbers with them. Other code alone is told by `claims` as a
warning, and breaks nothing here.
"""

from pathlib import Path

from kcompiler.claims import check_document, shipped
from kcompiler.claims.current import LOCK, RUN

ROOT = Path(__file__).resolve().parents[2]


def test_no_quoted_report_is_of_a_plan_that_asks_something_else():
    text = (ROOT / "README.md").read_text()
    found = check_document("README.md", text, folder=ROOT, root=ROOT, policy=shipped())
    due = [f"{one.place}: {one.summary}" for one in found.diagnostics if one.code == "KC5613"]
    assert due == [], "python -m tests.bench.quoted"


def test_every_quoted_folder_says_of_which_run_and_plan_it_is():
    folders = list(ROOT.glob("generated/*/quoted"))
    assert folders
    for folder in folders:
        assert {LOCK, RUN} <= {path.name for path in folder.iterdir()}, folder

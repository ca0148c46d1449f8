"""Markdown fits where it is posted, says what it leaves out, and nothing in it ends its own block."""

import hypothesis.strategies as st
from hypothesis import given, settings

from kcompiler.render import markdown
from kcompiler.render.view import Section, View

DIGEST = "sha256:" + "a" * 64
rows = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=300), max_size=60)


def view(*blocks: list[str]) -> View:
    return View(
        headline="h", digest=DIGEST, sections=[Section(title=f"t{i}", rows=block) for i, block in enumerate(blocks)]
    )


@given(rows, rows, st.integers(500, 5000))
@settings(max_examples=200)
def test_the_budget_is_never_exceeded_and_the_digest_always_stands_there(first, second, budget):
    text = markdown.text(view(first, second), whole="kcompiler plan --full", budget=budget)
    assert len(text.encode()) <= budget
    assert DIGEST in text
    everything = all(row in text for row in [*first, *second])
    assert everything or "lines are left out here; the whole text: `kcompiler plan --full`" in text


def test_a_comment_of_a_code_host_holds_it():
    text = markdown.text(view(["é" * 200] * 5000), whole="x")
    assert 60_000 < len(text.encode()) <= 65_536


def test_a_row_cannot_close_its_block():
    text = markdown.text(view(["```", "# heading", "`````"]), whole="x")
    assert "\n``````text\n" in text
    assert text.rstrip().endswith("\n``````")

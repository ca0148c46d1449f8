"""What is denied or left open is not said; what only bounds a value is."""

import pytest

from runtime.data.denied import denied


@pytest.mark.parametrize(
    ("text", "is_denied"),
    [
        ("It is X.", False),
        ("It is not X.", True),
        ("It isn't X.", True),
        ("It was never sent to X.", True),
        ("It is not the case that X", True),
        ("not one two three four X", True),
        ("not one two three four five X", False),
        ("neither Y nor X", True),
        ("Das ist kein X.", True),
        ("Es kommt nicht nach X.", True),
        ("Nicht Y, sondern X.", False),
        ("It is not Y but X.", False),
        ("Do not worry: X", False),
        ("It has no stops and arrives at X.", False),
        ("It is not only X.", False),
        ("It comes no later than X.", False),
        ("booking no. 5 for X", False),
        ("It is Y or X.", True),
        ("It is X or Y.", True),
        ("Y oder X", True),
        ("X, or Y", True),
        ("For X", False),
        ("X is wrong", True),
        ("X is right", False),
        ("X orders", False),
    ],
)
def test_a_negation_reaches_closely_and_within_its_clause(text, is_denied):
    at = text.index("X")
    assert denied(text, at, at + 1) is is_denied

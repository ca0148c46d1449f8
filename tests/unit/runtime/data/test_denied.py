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
        ("X is not the distance", True),
        ("X isn't right", True),
        ("X is simply incorrect", True),
        ("X is not far", False),
        ("It goes to X. That is false.", True),
        ("It goes to X, which is not true.", True),
        ("It goes to X. That's wrong.", True),
        ("It goes to X, not true.", True),
        ("It goes to X. That is true. Something else is wrong.", False),
        ("It goes to X. It is right.", False),
        ("It goes to X. Later. That is false.", False),
        ("It is anything but X", True),
        ("It is hardly X", True),
        ("I doubt that it is X", True),
        ("It is no doubt X", False),
        ("I deny that it is X", True),
        ("It is Y rather than X", True),
        ("It is not true, as you might perhaps have guessed, that it goes to X", True),
        ("It is false, as people who were there have told us, that it goes to X", True),
        ("It is not true that it goes to Y, but it goes to X", False),
        ("It is true that it goes to X", False),
        ("Is it, as I think, X?", True),
        ("It goes to X, is that fine?", False),
        ("It goes to X?", True),
        ("It goes to X. Anything else?", False),
        ("Es ist alles andere als X", True),
        ("X ist nicht richtig", True),
        ("X ist nicht weit", False),
    ],
)
def test_a_negation_reaches_closely_and_within_its_clause(text, is_denied):
    at = text.index("X")
    assert denied(text, at, at + 1) is is_denied

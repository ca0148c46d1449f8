"""What is denied or left open is not said; what only bounds a value is."""

import pytest

from runtime.data.denied import denied, supposed, supposing


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


@pytest.mark.parametrize(
    "text",
    ["False: X.", "Wrong answer: X", "**Incorrect:** X", "Myth: it goes to X", "Right: Y; false: X", "Falsch: X",
     "X (incorrect)", "X km (wrong)", "X - wrong.", "X: false", "X = wrong", "X (no, Y)", "X (this is wrong)", "X, wrong.",
     "X is a myth.", "X km to Y is a myth.", "X to Y is made up", "X is no longer true", "X nach Y stimmt nicht.",
     "X to Y does not apply.", "~~It is X.~~", "~~Y~~ ~~X~~", "<del>X</del>", "<s>It is X", "❌ X", "X ❌", "✅ Y ❌ X",
     "The opposite of X km", "Nobody says that it is really as far as X", "No one ever claimed X", "None of them said X",
     "It is unclear whether it is X", "I do not know if it is X", "It is not known, whether it goes to X",
     "The following is false: X", "I made this up: X", "It is X. I made that up.", "It is X, but it isn't.",
     "X. I lied."],
)  # fmt: skip
def test_what_is_called_wrong_before_or_behind_is_not_said(text):
    at = text.index("X")
    assert denied(text, at, at + 1)


@pytest.mark.parametrize(
    "text",
    ["False: Y. True: X", "False: Y; it is X", "Wrong turn at X", "X (no stops)", "X (not far)", "X - no stops", "X: fine",
     "X is made up of Y", "X, because the map is wrong.", "X. The map, which is old, is wrong.", "~~Y~~ X", "<del>Y</del> X",
     "✅ X ❌ Y", "❌ Y ✅ X", "X ✅", "On the contrary, X", "Nobody was late at X", "It is unclear whether it rains, but it is X",
     "I do not know a better one than the one here: X", "Fact: X", "It is X, but the train isn't.", "X; I was wrong earlier.",
     "True or false: X"],
)  # fmt: skip
def test_what_only_looks_so_is_said(text):
    at = text.index("X")
    assert not denied(text, at, at + 1)


@pytest.mark.parametrize(
    ("text", "is_supposed"),
    [
        ("It used to be X.", True),
        ("It would be X if the road were open.", True),
        ("If the road were open, it would be X.", True),
        ("It would have been X", True),
        ("Imagine it is X", True),
        ("Es wäre X, wenn die Straße offen wäre", True),
        ("It would be X.", False),
        ("If you go now, it is X.", False),
        ("He used to walk. It is X.", False),
        ("It would rain, but it is X", False),
        ("They would have to go to X", False),
    ],
)
def test_what_was_or_would_be_is_only_supposed(text, is_supposed):
    at = text.index("X")
    assert supposed(text, at, at + 1) is is_supposed


def test_a_question_may_ask_for_what_was_or_would_be():
    assert supposing("How far did it use to be?")
    assert supposing("How far would it be if the road were open?")
    assert not supposing("How far would that be?")

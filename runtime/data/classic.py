"""The twenty classic answers of a Magic 8-Ball by category; generator and suite read them here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ANSWERS: Mapping[str, Sequence[str]] = {
    "affirmative": (
        "It is certain.",
        "It is decidedly so.",
        "Without a doubt.",
        "Yes definitely.",
        "You may rely on it.",
        "As I see it, yes.",
        "Most likely.",
        "Outlook good.",
        "Yes.",
        "Signs point to yes.",
    ),
    "non-committal": (
        "Reply hazy, try again.",
        "Ask again later.",
        "Better not tell you now.",
        "Cannot predict now.",
        "Concentrate and ask again.",
    ),
    "negative": (
        "Don't count on it.",
        "My reply is no.",
        "My sources say no.",
        "Outlook not so good.",
        "Very doubtful.",
    ),
}

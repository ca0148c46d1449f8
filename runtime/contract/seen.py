"""A text → the text as it looks: without characters that nobody sees, its letters and digits of one width."""

from __future__ import annotations

import re
import unicodedata

#: of Unicode's Default_Ignorable_Code_Point what is no format character: joiners, fillers, selectors of a variant
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def seen(text: str) -> str:
    """Unicode's NFKC, without format characters (zero-width spaces, marks of direction, soft hyphens) and fillers."""
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFKC", _UNSEEN.sub("", text))
    return "".join(one for one in _UNSEEN.sub("", plain) if unicodedata.category(one) != "Cf")

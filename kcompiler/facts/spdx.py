"""SPDX expression → the ways to satisfy it, and what each licence asks of a model made from the rows.

The grammar is annex D of the SPDX 2.3 specification. `KNOWN` is a part of the SPDX License List 3.27
(spdx.org/licenses): the ids that data sets, model weights and code commonly carry. An id outside it may be right all
the same, so that it costs a warning and no more.
"""

from __future__ import annotations

import re

_CC = " ".join(
    f"CC-BY{kind}-{version}"
    for kind in ("", "-NC", "-NC-ND", "-NC-SA", "-ND", "-SA")
    for version in ("1.0", "2.0", "2.5", "3.0", "4.0")
)
_OTHERS = """
0BSD AFL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 Artistic-2.0 BlueOak-1.0.0 BSD-2-Clause
BSD-2-Clause-Patent BSD-3-Clause BSD-3-Clause-Clear BSD-4-Clause BSL-1.0 BUSL-1.1 C-UDA-1.0 CAL-1.0 CC-PDDC CC0-1.0
CDDL-1.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0 CDLA-Sharing-1.0 CECILL-2.1 Community-Spec-1.0 DL-DE-BY-2.0 ECL-2.0
EPL-1.0 EPL-2.0 etalab-2.0 EUPL-1.1 EUPL-1.2 GFDL-1.3-only GFDL-1.3-or-later GPL-2.0-only GPL-2.0-or-later GPL-3.0-only
GPL-3.0-or-later Hippocratic-2.1 HPND ISC JSON LAL-1.3 LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later
MIT MIT-0 MPL-1.1 MPL-2.0 MS-PL MS-RL MulanPSL-2.0 NCSA NLOD-2.0 O-UDA-1.0 ODbL-1.0 ODC-By-1.0 OFL-1.1 OGC-1.0
OGL-UK-3.0 OpenSSL OSL-3.0 PDDL-1.0 PolyForm-Noncommercial-1.0.0 PolyForm-Small-Business-1.0.0 PostgreSQL PSF-2.0
Python-2.0 SSPL-1.0 Unicode-3.0 Unicode-DFS-2016 Unlicense UPL-1.0 W3C WTFPL X11 Zlib ZPL-2.1
"""
KNOWN = frozenset((_CC + _OTHERS).split())
_BY_FOLDED = {name.casefold(): name for name in KNOWN}
#: SPDX calls these deprecated: they do not say whether later versions count
RENAMED = {
    name: (f"{name}-only", f"{name}-or-later")
    for name in ("AGPL-3.0", "GFDL-1.3", "GPL-2.0", "GPL-3.0", "LGPL-2.1", "LGPL-3.0")
}
_NON_COMMERCIAL = re.compile(r"CC-BY-NC(-|$)|PolyForm-Noncommercial-", re.IGNORECASE)
_NO_DERIVATIVES = re.compile(r"CC-BY(-NC)?-ND(-|$)", re.IGNORECASE)
_SHARE_ALIKE = re.compile(r"(CC-BY(?:-NC)?-SA|ODbL|CDLA-Sharing)(-|$)", re.IGNORECASE)
_TOKEN = re.compile(r"\s*([()]|[A-Za-z0-9][A-Za-z0-9.:-]*\+?)")
#: nested deeper, or with more ways than this, an expression is no licence that somebody has read
_DEEPEST, _MOST_WAYS = 32, 256

Way = frozenset[str]


def ways(expression: str) -> list[Way]:
    """The sets of licences each of which satisfies an expression. Raises ValueError when it is no SPDX expression."""
    tokens, at = [], 0
    text = expression.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"`{text[at]}` cannot stand in it")
        tokens.append(match[1])
        at = match.end()
    parser = _Parser(tokens)
    found = parser.either(0)
    if parser.tokens:
        raise ValueError(f"`{parser.tokens[0]}` is too much")
    return found


class _Parser:
    """OR binds weakest, then AND, then WITH; one operator between two licences."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def _next(self, *operators: str) -> bool:
        if self.tokens and self.tokens[0] in operators:
            self.tokens.pop(0)
            return True
        return False

    def either(self, depth: int) -> list[Way]:
        found = self.both(depth)
        while self._next("OR", "or"):
            found = found + self.both(depth)
        return _bounded(found)

    def both(self, depth: int) -> list[Way]:
        found = self.one(depth)
        while self._next("AND", "and"):
            right = self.one(depth)
            found = _bounded([a | b for a in found for b in right])
        return found

    def one(self, depth: int) -> list[Way]:
        if self._next("("):
            if depth == _DEEPEST:
                raise ValueError("it is nested too deeply")
            found = self.either(depth + 1)
            if not self._next(")"):
                raise ValueError("`)` is missing")
            return found
        name = self._name()
        if self._next("WITH", "with"):
            self._name()
        return [frozenset({name})]

    def _name(self) -> str:
        if not self.tokens or self.tokens[0] in "()" or self.tokens[0].upper() in {"AND", "OR", "WITH"}:
            raise ValueError("a licence is missing")
        return self.tokens.pop(0)


def _bounded(found: list[Way]) -> list[Way]:
    kept = list(dict.fromkeys(found))
    if len(kept) > _MOST_WAYS:
        raise ValueError("it has too many alternatives")
    return kept


def canonical(name: str) -> str | None:
    """The list's own spelling of an id (ids ignore case), a licence of one's own as it is, or None when unknown."""
    bare = name.removesuffix("+")
    if bare.startswith(("LicenseRef-", "DocumentRef-")):
        return name
    found = _BY_FOLDED.get(bare.casefold())
    return found and found + name[len(bare) :]


def non_commercial(way: Way) -> list[str]:
    """The licences of a way that forbid commercial use."""
    return sorted(name for name in way if _NON_COMMERCIAL.match(name))


def no_derivatives(way: Way) -> list[str]:
    """The licences of a way that forbid passing on adapted material."""
    return sorted(name for name in way if _NO_DERIVATIVES.match(name))


def share_alike(way: Way) -> dict[str, str]:
    """Licence → family, of those that ask what is made from the material to carry the same licence."""
    matches = {name: _SHARE_ALIKE.match(name) for name in sorted(way)}
    return {name: match[1] for name, match in matches.items() if match}

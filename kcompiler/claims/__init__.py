"""A document or a model's answers → the claims in it, and which of them their evidence does not bear out.

A claim is typed: a number, a share (`k of n`), an interval, a comparison with a number, a relation of two measured
things, a status, the existence of a file. Its evidence is named by an *anchor* behind it, visible or in a comment:

    708 of 987 are right [evidence: reports/tools.json#data.exact.student]
    708 of 987 are right <!-- evidence: reports/tools.json#data.exact.student -->

The anchor is resolved and its value compared with what is written: rounded as the written digits say, its unit
converted, a comparison evaluated exactly. `evidence: = FILE#key` quotes what a rule asks, `evidence: A > B` bears out a
relation, `evidence: none, REASON` says that there is none (told, and counted as such), `evidence: FILE` before a fenced
block that its lines stand in that record.
What counts as a claim and what evidence shows is data: `kcompiler/tables/claims.yaml`. More kinds of claim are added in
`extract` from the text that `markup` says a reader sees, more kinds of evidence in `evidence`.
"""

from __future__ import annotations

from kcompiler.claims.answers import check_answers
from kcompiler.claims.check import Checked, check_document
from kcompiler.claims.policy import Policy, document, shipped

__all__ = ["Checked", "Policy", "check_answers", "check_document", "document", "shipped"]

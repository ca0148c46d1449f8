"""What an audit found: a code, the file it is about, and whether evidence is broken or somebody disagrees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["evidence", "disagreement", "unfinished", "unsigned", "note"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding. `subject` is a file, relative to the project, where one is meant with `:line` or `#pointer`."""

    code: str
    severity: Severity
    subject: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The outcome of an audit. `checked` counts what was recomputed, `verdict` is the word of the recomputed verdict.

    An audit is about whether the evidence is sound and says what is recorded; a sound FAIL is a sound FAIL.
    """

    findings: Sequence[Finding]
    checked: Mapping[str, int]
    verdict: str
    #: where the waivers stand at the time of the audit, and what ends or begins to block later
    standing: Sequence[str] = ()

    @property
    def exit_code(self) -> int:
        """3 for broken evidence, 1 for a disagreement or an unfinished run, 7 for a bundle that nobody who is trusted
        vouches for, 0 when everything was recomputed as it stands."""
        found = self._severities
        apart = 1 if found & {"disagreement", "unfinished"} else 7 if "unsigned" in found else 0
        return 3 if "evidence" in found else apart

    @property
    def word(self) -> str:
        """The outcome in one word, for the last line of the command."""
        apart = "disagreement" if "disagreement" in self._severities else "unfinished"
        return {0: "sound", 1: apart, 3: "evidence-broken", 7: "self-consistent-unsigned"}[self.exit_code]

    @property
    def _severities(self) -> set[Severity]:
        return {finding.severity for finding in self.findings}


def broken(code: str, subject: str, message: str) -> Finding:
    """Evidence is damaged, lost or forged: exit 3."""
    return Finding(code=code, severity="evidence", subject=subject, message=message)


def differs(code: str, subject: str, message: str) -> Finding:
    """Two sound things do not say the same: exit 1."""
    return Finding(code=code, severity="disagreement", subject=subject, message=message)


def note(subject: str, message: str) -> Finding:
    """Something to know; it changes no exit code."""
    return Finding(code="KA90", severity="note", subject=subject, message=message)

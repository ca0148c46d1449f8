"""Results whose every text may be hostile."""

from hypothesis import strategies as st

from kcompiler.diagnostic import Diagnostic, Related
from kcompiler.result import AuditFinding, Result, RuleOutcome, StepState, Where

#: what ends an element, a command, a fence, a cell or a line somewhere; mentions, controls, halves of characters
HOSTILE = [
    "]]>", "</testcase>", "<script>alert(1)</script>", "&amp;", "%0A::error::x", "\n::error file=a::b", "##[add-mask]x",
    "```\n# x", "`", "|", "@everyone", "#1", "\x00", "\x1b[2J", "\u202e", "\ud800", "\ufffe", "\uffff", "\r\n", "a,b:c", "a%b",
    "::stop-commands::x", "é", "e\u0301", "'\"", "http://x.example/",
]  # fmt: skip
TEXT = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=6)), max_size=3).map("".join)
LINE = st.integers(0, 9)
WHERE = st.builds(Where, file=TEXT, line=LINE, column=LINE, pointer=TEXT)
RELATED = st.builds(Related, file=TEXT, line=LINE, column=LINE, end_column=LINE, message=TEXT)
DIAGNOSTIC = st.builds(
    Diagnostic,
    code=st.sampled_from(["", "KC2104", "KC9999", "KR0133"]),
    severity=st.sampled_from(["error", "warning", "note"]),
    summary=TEXT,
    detail=TEXT,
    file=TEXT,
    line=LINE,
    column=LINE,
    end_line=LINE,
    end_column=LINE,
    pointer=TEXT,
    help=TEXT,
    notes=st.lists(TEXT, max_size=1).map(tuple),
    related=st.lists(RELATED, max_size=1).map(tuple),
)
STATUS = ("pass", "fail", "waived", "inconclusive", "not_evaluated", "skipped", "error")


def _outcome(status, advisory, **texts):
    mode = "skip" if status == "skipped" else "warn" if advisory else "block"
    blocks = mode == "block" and status not in ("pass", "waived")
    return RuleOutcome(status=status, mode=mode, blocks=blocks, **texts)


OUTCOME = st.builds(
    _outcome,
    st.sampled_from(STATUS),
    st.booleans(),
    **dict.fromkeys(
        [
            "rule",
            "pack",
            "title",
            "step",
            "report",
            "reason",
            "remedy",
            "observed",
            "threshold",
            "distance",
            "counterfactual",
        ],
        TEXT,
    ),
    evidence=WHERE,
    declared=WHERE,
)
STEP = st.builds(
    StepState, step=TEXT, action=st.sampled_from(["committed", "failed", "run", "reuse", "blocked"]), why=TEXT,
    wall_s=st.one_of(st.none(), st.floats(0, 1e6)),
)  # fmt: skip
FINDING = st.builds(
    AuditFinding,
    code=st.sampled_from(["KA22", "KA90"]),
    severity=st.sampled_from(["evidence", "disagreement", "unfinished", "note"]),
    message=TEXT,
    where=WHERE,
)
_FIELDS = {
    "verb": st.sampled_from(["validate", "plan", "apply", "gate", "audit"]),
    "subject": TEXT,
    "code": st.sampled_from([0, 1, 2, 3, 4, 5, 6, 10, 70, 130]),
    "word": TEXT,
    "next": TEXT,
    "message": TEXT,
    "root": TEXT,
    "diagnostics": st.lists(DIAGNOSTIC, max_size=2).map(tuple),
    "outcomes": st.lists(OUTCOME, max_size=2).map(tuple),
    "steps": st.lists(STEP, max_size=1).map(tuple),
    "findings": st.lists(FINDING, max_size=2).map(tuple),
    "headline": TEXT,
    "sections": st.lists(st.tuples(TEXT, st.lists(TEXT, max_size=2).map(tuple)), max_size=1).map(tuple),
}
PART = st.builds(Result, **_FIELDS)
RESULT = st.builds(Result, **_FIELDS, parts=st.lists(PART, max_size=2).map(tuple))


def outcome(status, *, mode="block", rule="team/rows/many", reason="60 of 100"):
    """One outcome as the judge makes it."""
    return RuleOutcome(
        rule=rule, pack="team/rows", title="Enough rows", mode=mode, status=status,
        blocks=mode == "block" and status not in ("pass", "waived"), step="data", report="data.splits", reason=reason,
        remedy="bring more rows", observed="60", threshold=">= 100", distance="-40",
        counterfactual="passes from 100 on",
        evidence=Where(file="generated/x/evidence/reports/data.json", line=7, pointer="/data/rows"),
        declared=Where(file="policies/team/rows/many/rule.yaml", line=1),
    )  # fmt: skip

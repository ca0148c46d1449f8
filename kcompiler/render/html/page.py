"""A result and its runs → the page: values for the template, its style, and the policy that forbids everything else.

Every text of others is written inert and escaped by the template engine; markup comes from the templates of this room
and from `render/svg.py`, which escapes by itself. The page has no script, and no address to fetch anything from.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

from kcompiler.render.html import curves, gates, history, metrics, samples, spend
from kcompiler.render.html.run import Run
from kcompiler.render.human import inert, shortened
from kcompiler.result import ANSWERED_YES, Result, RuleOutcome

HERE = Path(__file__).parent
#: characters that are no text in HTML, besides what `inert` makes visible
_NONE = re.compile(
    f"[\ufdd0-\ufdef{''.join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))}]"
)
#: lines of a text that is shown as it was printed
_LINES = 400
_VERDICTS: Mapping[str, tuple[str, str, str]] = {
    "PASS": ("pass", "✓", "Passed"),
    "WAIVED": ("warn", "~", "Passed with waivers"),
    "WAIVER_REQUIRED": ("fail", "✗", "Did not pass, waivers are required"),
    "FAIL": ("fail", "✗", "Did not pass"),
    "INCONCLUSIVE": ("warn", "?", "Undecided, which is no pass"),
    "NOTHING_EVALUATED": ("fail", "!", "Nothing was evaluated"),
}


#: verdicts that let through
_YES = ("PASS", "WAIVED")


class Lines(str):
    """A text whose ends of lines stay."""


def result(found: Result, runs: Mapping[str, Run] | None = None) -> str:
    """One HTML document; the same values give the same bytes. `runs`: subject of a result → the run it is about."""
    style, parts = _text("style.css"), found.parts or (found,)
    told = list(dict.fromkeys(one for part in parts for one in part.diagnostics))
    pin = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    groups = [_group(subject, mine, (runs or {}).get(subject), nth) for nth, (subject, mine) in _grouped(found)]
    page = _environment().get_template("page.html")
    return page.render(
        style=Markup(style),
        policy=f"default-src 'none'; style-src 'sha256-{pin}'; base-uri 'none'; form-action 'none'",
        head=_head(found, groups),
        command=_command(found),
        stages=found.parts,
        mistakes=[one for one in told if one.severity == "error"],
        findings=list(dict.fromkeys(one for part in parts for one in part.findings)),
        warnings=[one for one in told if one.severity != "error"],
        groups=groups,
    )


@cache
def _environment() -> SandboxedEnvironment:
    made = SandboxedEnvironment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_final,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(lines=Lines, short=shortened, rows=lambda rows: Lines("\n".join(rows)))
    made.globals.update(METRICS=metrics, CURVES=curves, HISTORY=history, sections=_contents)
    return made


def _final(value: Any) -> Any:
    """What is written for a value: markup as it is, of a text every character that cannot be seen as an escape."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    lines = value.split("\n") if isinstance(value, Lines) else [value]
    return _NONE.sub("\ufffd", "\n".join(map(inert, lines)))


@cache
def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _command(found: Result) -> str:
    return f"kcompiler {found.verb} {found.subject}".strip()


def _grouped(found: Result) -> Iterator[tuple[int, tuple[str, Sequence[Result]]]]:
    """The parts of a result by what they are about, numbered from 1; a result without parts is its own."""
    subjects: dict[str, list[Result]] = {}
    for part in found.parts or (found,):
        subjects.setdefault(part.subject, []).append(part)
    yield from enumerate(subjects.items(), start=1)


def _group(subject: str, parts: Sequence[Result], run: Run | None, nth: int) -> dict[str, Any]:
    """All of one subject."""
    told = list(dict.fromkeys(one for part in parts for one in part.outcomes))
    places = dict.fromkeys((one.rule, one.step, one.status, one.blocks) for one in told)
    outcomes: list[RuleOutcome] = [
        next(one for one in told if (one.rule, one.step, one.status, one.blocks) == place) for place in places
    ]
    if not told and run is not None:
        outcomes = list(run.outcomes)
    key = f"run-{nth}"
    judged = gates.section(outcomes, run, key)
    verdict = next((part.verdict for part in parts if part.verdict), "")
    if not verdict and run is not None and run.verdict is not None:
        verdict = str(run.verdict["verdict"])
    steps = next((part.steps for part in reversed(parts) if part.steps), ())
    trained = curves.section(run) if run is not None else []
    return {
        "key": key,
        "subject": subject,
        "name": run.name if run is not None else subject,
        "plan": run.digest if run is not None else next((part.plan for part in parts if part.plan), ""),
        "as_of": str((run.verdict or {}).get("as_of") or "") if run is not None else "",
        "verdict": verdict,
        "state": _VERDICTS.get(verdict, ("info", "·", verdict)) if verdict else None,
        "sentence": gates.sentence(judged) if verdict or outcomes else "",
        # of some steps alone, all of whose gates let through
        "part": run is not None and 0 < len(outcomes) < len(run.outcomes) and not any(one.blocks for one in outcomes),
        "next": "" if run is None or not verdict else run.next(verdict),
        "troubles": list(run.troubles) if run is not None else [],
        "forged": run is not None and any(one["environment"]["forged"] is not False for one in run.reports.values()),
        "gates": judged,
        "metrics": metrics.section(run, outcomes) if run is not None else [],
        "curves": trained,
        "samples": samples.section(run) if run is not None else [],
        "spend": _spend(run, steps),
        "told": [] if run is not None else list(steps),
        "history": history.section(run) if run is not None else None,
        "printed": [
            {"title": title, "rows": list(rows[:_LINES]), "left": len(rows[_LINES:])}
            for part in parts
            for title, rows in (*part.sections, ("approvals", run.approvals if run and part is parts[-1] else ()))
            if rows
        ],
    }


def _contents(group: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(end of the id, words) of each section that the page has of one run, in its order."""
    judged, took = group["gates"], group["spend"]
    known = (
        ("troubles", "Not whole", group["troubles"]),
        ("blocks", f"What blocks ({judged['blocks']})", judged["blocking"]),
        ("waiting", "Not asked yet", judged["waiting"]),
        ("waived", "Waived", judged["waived"]),
        ("advisory", "Advisory", judged["advisory"]),
        ("metrics", "Numbers", group["metrics"]),
        ("gates", f"All gates ({judged['total']})", judged["total"]),
        ("curves", "Training curves", group["curves"]),
        ("samples", "Worst answers", group["samples"]),
        ("steps", "Steps", took or group["told"]),
        ("spend", "What it took", took and (took["totals"] or took["money"] or took["budgets"])),
        ("history", "Earlier runs", group["history"] and (group["history"]["runs"] or group["history"]["numbers"])),
        ("printed", "As printed", group["printed"]),
    )
    return [(end, words) for end, words, there in known if there]


def _spend(run: Run | None, steps: Sequence[Any]) -> dict[str, Any] | None:
    if run is None:
        return None
    made = spend.section(run, steps)
    return {**made, "graph": Markup(_NONE.sub("\ufffd", made["graph"]))}


def _head(found: Result, groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How it ended, in a word and a sentence, and what to do."""
    words = dict.fromkeys(one["verdict"] for one in groups if one["verdict"])
    verdict = next(iter(words)) if len(words) == 1 else ""
    yes = found.code in ANSWERED_YES
    if verdict and (yes or found.word == verdict.lower() or (verdict not in _YES and found.code in (1, 7))):
        state = _VERDICTS.get(verdict, ("info", "·", verdict))
    elif not yes:
        state = ("fail", "✗", f"No: {found.word}")
    elif words:
        state = ("warn", "!", "Not all passed")
    elif any(one["spend"] is not None for one in groups):
        state = ("warn", "?", "Not judged")
    else:
        state = ("pass", "✓", "Yes")
    if state[2] in ("Yes", *(_VERDICTS[word][2] for word in _YES)) and any(one["troubles"] for one in groups):
        state = ("warn", "!", f"{state[2]}, but what lies here is not what was judged")
    alone = groups[0] if len(groups) == 1 else None
    if alone is not None and alone["part"] and yes:
        state = ("info", "·", "Part done, the whole is not judged")
    return {
        "state": state,
        "title": alone["name"] if alone is not None else found.subject,
        "sentence": alone["sentence"] if alone is not None else "",
        "code": found.code,
        "word": found.word,
        "next": found.next or (alone["next"] if alone is not None else ""),
        "message": found.message,
        "yes": yes,
    }

"""What a verb found, collected while it works → one `Result`, printed in the form that was asked for.

A verb is wrapped by `answers`; it and what it calls add to the answer, and however it ends (also by a mistake of
somebody, a signal or a bug of ours) the whole is printed once, on stdout. For people verbs print as they go.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler import project
from kcompiler.cli.outcome import Outcome, outcome_of

if TYPE_CHECKING:
    from kcompiler.diagnostic import Diagnostic
    from kcompiler.render.html.run import Run
    from kcompiler.render.view import View
    from kcompiler.result import AuditFinding, Result, RuleOutcome, StepState

#: forms of a result; `human` is what verbs print as they go
FORMS = ("human", "json", "sarif", "junit", "github", "markdown", "html")
FORM = click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    default="human",
    show_default=True,
    help="json and sarif for programs, junit for test reports, github for annotations and step summary, html for "
    "people: one page about the run, complete in itself.",
)
_CURRENT: ContextVar[Answer | None] = ContextVar("answer", default=None)


class Answer:
    """The answer of one run of one verb, while it is made. Form "" is that of a part of another answer: nothing is
    printed on stdout."""

    def __init__(self, verb: str, subject: str, form: str, path: Path) -> None:
        self.verb, self.subject, self.form = verb, subject, form
        self.home = project.find(path)
        self.plan = self.verdict = self.next = ""
        self.wall_s: float | None = None
        self.diagnostics: list[Diagnostic] = []
        self.outcomes: list[RuleOutcome] = []
        self.steps: list[StepState] = []
        self.findings: list[AuditFinding] = []
        self.data: dict[str, Any] = {}
        self.headline, self.sections = "", [("", [""])][:0]
        self.parts: list[Result] = []
        self.result: Result | None = None
        self._look: Callable[[], Run] | None = None

    @property
    def human(self) -> bool:
        """Whether the verb itself prints, for people."""
        return self.form == "human"

    def say(self, text: str) -> None:
        """Print for people."""
        if self.human:
            click.echo(text, nl=False)

    def found(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics += [one for one in diagnostics if one not in self.diagnostics]

    def laid_out(self, view: View) -> None:
        """Titled rows for the forms that people read."""
        self.headline = view.headline
        self.sections = [(section.title, list(section.rows)) for section in view.sections]

    def judged(
        self, verdict: Mapping[str, Any], name: str, file_of: Callable[[str], Path | None] | None = None
    ) -> None:
        """The outcomes of a verdict document about the spec `name`."""
        from kcompiler.render.places import outcomes

        self.verdict = str(verdict["verdict"])
        self.plan = str(verdict.get("lock") or self.plan)
        self.outcomes = outcomes(verdict, self.home, name, file_of)

    def about(
        self,
        home: project.Project,
        plan: Mapping[str, Any],
        verdict: Mapping[str, Any] | None = None,
        files: Mapping[str, Path] | None = None,
    ) -> None:
        """The answer is about the run of a plan, as its evidence lies there when the answer is written; or about
        `files` (step → report) that `verdict` is about."""

        def look() -> Run:
            from kcompiler.render.html import run

            return run.look(home, plan, verdict, files)

        self._look = look

    @contextlib.contextmanager
    def told(self) -> Iterator[Answer]:
        """While the verb works; afterwards the result is there and, unless for people, printed."""
        before = _CURRENT.set(self)
        ended = Outcome(0, "ok", "")
        try:
            yield self
        except BrokenPipeError:
            raise
        except (Exception, KeyboardInterrupt) as stopped:
            ended = outcome_of(stopped)
            self._leave(ended)
            raise
        else:
            self._leave(ended)
        finally:
            _CURRENT.reset(before)

    def made(self, ended: Outcome) -> Result:
        """The answer as it stands, ended so."""
        from kcompiler.result import Result

        self.found(ended.found)
        return Result(
            verb=self.verb,
            subject=self.subject,
            root=_below_checkout(self.home.root),
            code=ended.code,
            word=ended.word,
            # what comes next where nothing is wrong
            next=ended.next_command or self.next,
            message=ended.message,
            plan=self.plan,
            verdict=self.verdict,
            diagnostics=tuple(self.diagnostics),
            outcomes=tuple(self.outcomes),
            steps=tuple(self.steps),
            findings=tuple(self.findings),
            wall_s=self.wall_s,
            data=self.data,
            headline=self.headline,
            sections=tuple((title, tuple(rows)) for title, rows in self.sections),
            parts=tuple(self.parts),
        )

    def _leave(self, ended: Outcome) -> None:
        self.result = self.made(ended)
        if self.form in FORMS[1:]:
            runs = {} if self._look is None or self.form != "html" else {self.result.subject: self._look()}
            click.echo(rendered(self.result, self.form, runs), nl=False)
            if self.form == "github":
                # said by an annotation; a log is read by GitHub, so that no text of others may begin a line of it
                ended.message = ""
                _summarise(self.result)


def current() -> Answer | None:
    """The answer that is being made, if any."""
    return _CURRENT.get()


def say(line: str) -> None:
    """Print a line for people; nothing where the answer that is being made has another form."""
    answer = current()
    if answer is None or answer.human:
        click.echo(line)


def answers(verb: str, of: str = "", *, path: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A verb whose answer has every form: adds --format, hands the function an `answer`. `of` is the parameter that
    says what the verb is about: a path or several; where it is no `path`, or there is none, the project is that of the
    current folder."""

    def wrap(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*, form: str, **given: Any) -> None:
            named = () if not of else given[of] if isinstance(given[of], tuple) else (given[of],)
            profile = f" --profile {given['profile']}" if given.get("profile") else ""
            words = " ".join(str(one) for one in named) + profile
            with Answer(verb, words, form, Path(named[0]) if path and named else Path.cwd()).told() as answer:
                function(answer=answer, **given)

        return FORM(run)

    return wrap


def rendered(result: Result, form: str, runs: Mapping[str, Run] | None = None) -> str:
    """A result in a form that is written from it alone, or with what lies here of its runs (by subject)."""
    if form == "html":
        from kcompiler.render.html import page

        return page.result(result, runs)
    from kcompiler.render import github, json, junit, markdown, sarif

    write: Mapping[str, Callable[[Result], str]] = {
        "json": json.result,
        "sarif": sarif.result,
        "junit": junit.result,
        "github": github.result,
        "markdown": markdown.result,
    }
    return write[form](result)


def _summarise(result: Result) -> None:
    """Append the result to the summary of the step, where GitHub asks for it."""
    file = os.environ.get("GITHUB_STEP_SUMMARY", "")
    if file:
        from kcompiler.render import markdown

        with Path(file).open("a", encoding="utf-8", errors="backslashreplace") as summary:
            summary.write(markdown.result(result) + "\n")


def _below_checkout(root: Path) -> str:
    """Where the project lies below its git checkout, "" at its top or outside of one: code hosts count so."""
    root = root.resolve()
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), root)
    inside = root.relative_to(top).as_posix()
    return "" if inside == "." else inside

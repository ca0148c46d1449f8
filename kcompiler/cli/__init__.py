"""Arguments → verb → rendered text → exit code. The only printer: data on stdout, everything else on stderr.

What the codes mean stands in `outcome.EXITS`.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
from typing import Any

import click

from kcompiler import __version__
from kcompiler.cli.outcome import Outcome, exits, help_of, outcome_of

#: verb → module that defines it; a module is imported when its verb is asked for, so that --help stays fast
VERBS = {
    "init": ("start", "Begin: from a model and rows of your own, or a shipped spec."),
    "validate": ("author", "Check specs; print every mistake at once."),
    "pin": ("author", "Write the digests of what a spec names into its text."),
    "plan": ("author", "Write the locked plan of a spec and say what would run."),
    "data": ("data", "Look at rows as the student will read them: `data look`."),
    "fixtures": ("fixtures", "Tools answered from recordings: `fixtures record`, `check`, `stats`."),
    "apply": ("run", "Carry out a spec or a lock; resume what was interrupted."),
    "bench": ("bench", "Measure how fast the student answers here; pin a baseline."),
    "evaluate": ("evaluating", "Ask a model that exists what a spec's suites ask."),
    "trials": ("trials", "Say how often tasks are right in all of k trials: pass^k."),
    "generate": ("generate", "Let the student write: a prompt or a chat, freely or by a schema."),
    "serve": ("serve", "Answer OpenAI's chat completions over HTTP with the student."),
    "quantize": ("quantize", "Measure what fewer bits cost, part by part; suggest a recipe for a budget."),
    "mil": ("mil", "Look into a Core ML package and run it: `mil ops`, `run`, `check`, `lint`, `diff`, `bisect`."),
    "policy": ("policy", "Write policy packs: `policy new`, `test`, `lint`, `doc`, `diff`."),
    "waiver": ("waiving", "Exceptions with an end: `waiver new`, `approve`, `list`, `check`, `revoke`."),
    "approve": ("approving", "Sign a lock: apply asks for it where a pack or risk tier 1 does."),
    "approvals": ("approving", "Say who signed a lock, and what nobody has approved yet."),
    "gate": ("evidence", "Judge report files by the rules of a lock."),
    "show": ("evidence", "Print a lock, a run's summary, a report or the verdict."),
    "status": ("views", "Say where you stand: per stage what it waits for, done, next."),
    "state": ("state", "Look into .kcompiler: `state list`, `verify`, `gc`, `lock-info`, `unlock`, `resolve`."),
    "diff": ("views", "Compare two locks, specs or revisions by meaning."),
    "graph": ("views", "Draw the steps of a spec."),
    "explain": ("explain", "Explain a diagnostic code, a spec field, a step or a rule."),
    "claims": ("claiming", "Compare what documents and answers claim with their evidence."),
    "audit": ("auditing", "Recompute the evidence of a run, or a bundle of it, and compare."),
    "ci": ("ci", "The one verb of a pipeline: validate, plan --check, apply, gate, audit."),
    "deliver": ("delivering", "Pack what passed: packages, weights, contract, evidence, card."),
    "verify": ("verifying", "Predict a delivery's package in Core ML, on a Mac: `verify --on-device`."),
}


class Verbs(click.Group):
    """Lists all verbs without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command = getattr(importlib.import_module(f"kcompiler.cli.{VERBS[name][0]}"), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from kcompiler.diagnostic import suggest

            near = suggest(args[0], VERBS)
            hint = f", did you mean `{near[0]}`?" if near else f"; verbs are {', '.join(VERBS)}"
            raise click.UsageError(f"no such verb: `{args[0]}`{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in VERBS.items()])


@click.command(
    cls=Verbs, epilog=exits(), context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="kcompiler", message="%(prog)s %(version)s")
def cli() -> None:
    """From one spec to a distilled, quantized and verified Core ML student, with evidence an auditor can recompute.

    \b
    kcompiler validate SPEC    what arithmetic, types and hashes can prove wrong
    kcompiler plan SPEC        the locked plan, and what would run here
    kcompiler apply SPEC       run it; reports are judged as they appear
    kcompiler audit SPEC       recompute the verdict from the evidence
    """


def main() -> None:
    """Run one verb and leave with its exit code; never a traceback for somebody's mistake."""
    if sys.argv[1:2] not in (["data"], ["evaluate"], ["generate"], ["mil"], ["quantize"], ["serve"], ["verify"]):
        # every other verb ends before its garbage could matter, and on a large plan a collector that runs while a
        # million small objects are made costs a quarter more; `apply` switches it on when it begins to run steps
        gc.disable()
    sys.exit(_main(sys.argv[1:]))


def _main(arguments: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a terminal or pipe that knows no `…` shows an escape; it is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    # a plug-in of pydantic is any installed distribution's code, run when the first model is made: not while planning
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        cli.main(arguments, prog_name="kcompiler", standalone_mode=False)
        return 0
    except click.exceptions.Exit as leave:
        return int(leave.exit_code)
    except click.ClickException as mistake:
        mistake.show()
        return Outcome(2, "usage", help_of(mistake)).leave()
    except BrokenPipeError:
        # the reader went away (`| head`): nothing is wrong, and stdout must not be flushed again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as ended:
        outcome = outcome_of(ended)
        if outcome.code == 70 and os.environ.get("KCOMPILER_TRACEBACK"):
            import traceback

            traceback.print_exception(ended)
        return outcome.leave()

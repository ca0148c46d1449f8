"""The verb that answers over HTTP: serve. Says on stderr where it listens, and runs until it is told to stop."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from kcompiler.cli.answering import RUNNER, environment, explained, sources
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import PROFILE

_TOKEN = re.compile(r"env:[A-Z][A-Z0-9_]{0,63}\Z")


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Any but this machine's own asks for --token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: one that is free.")
@click.option("--token", metavar="env:NAME", help="What callers must bring, from this variable.")
@RUNNER
@click.option("--max-tokens", type=click.IntRange(1), default=1024, show_default=True, help="Longest answer.")
@click.option("--queue", type=click.IntRange(1), default=256, show_default=True, help="Requests that may wait.")
@click.option("--drain-s", type=click.IntRange(0), default=30, show_default=True, help="Seconds to finish in.")
@PROFILE
def serve(
    target: Path,
    host: str,
    port: int,
    token: str | None,
    runner: str,
    max_tokens: int,
    queue: int,
    drain_s: int,
    profile: str,
) -> None:
    """Answer OpenAI's chat completions with the student of TARGET: a spec that was applied, a delivery, or a
    Transformers folder."""
    secret = _secret(token)
    again = f"kcompiler serve {target}"
    environment()
    try:
        from runtime.serve import server
        from runtime.serve.app import Limits, Service
    except ModuleNotFoundError as absent:
        if (absent.name or "").partition(".")[0] not in ("starlette", "uvicorn", "prometheus_client", "h11"):
            raise
        click.echo(f"serving needs {absent.name}, which is not installed", err=True)
        raise Outcome(2, "unavailable", "pip install 'kcompiler[serve]'") from None
    if not secret and not server.loopback(host):
        click.echo(f"{host} can be reached by others: a token is needed", err=True)
        raise Outcome(2, "token-needed", f"{again} --host {host} --token env:NAME")
    with explained(again, target), server.bound(host, port) as listening:
        from runtime.generate import opening

        found = sources(target, profile, runner)
        limits = Limits(tokens=max_tokens, queue=queue, drain_s=drain_s)
        service = Service(opening.engine(found, runner), found.name, limits, secret)
        place = f"[{host}]" if ":" in host else host
        address = f"http://{place}:{listening.getsockname()[1]}/v1"
        cut = server.run(service, listening, lambda: click.echo(f"{found.name} ({runner}) at {address}", err=True))
    if cut:
        click.echo(f"{cut} answers were cut: they were not whole after {drain_s} s", err=True)
        raise Outcome(1, "cut", f"{again} --drain-s {2 * drain_s or 30}")


def _secret(token: str | None) -> str:
    """The text of the variable that was named. Raises Outcome for one that is none, or empty."""
    if token is None:
        return ""
    if not _TOKEN.match(token):
        # never shown: it may be the secret itself
        raise click.UsageError("--token takes env:NAME, the name of a variable, not the token itself")
    found = os.environ.get(token.removeprefix("env:"), "")
    if len(found) < 16 or not found.isascii() or found.split() != [found]:
        click.echo(f"{token}: the variable must hold at least 16 visible ASCII characters", err=True)
        raise Outcome(2, "no-token", f"export {token.removeprefix('env:')}=$(openssl rand -hex 24)")
    return found

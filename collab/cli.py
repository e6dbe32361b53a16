"""The command line: `collab serve`, and the commands of `collab.commands`."""

from __future__ import annotations

import os
import sys

import click

from collab import __version__
from collab.commands.backup import backup, restore
from collab.commands.docs import docs
from collab.commands.live import dashboard, drain, kick, recheck, say
from collab.commands.look import rooms, stats, users
from collab.commands.outcome import CommandLine
from collab.commands.quarantine import quarantine
from collab.commands.settings import remember
from collab.commands.token import token
from collab.commands.top import top
from collab.commands.versions import versions
from collab.server import OWN


@click.group(cls=CommandLine)
@click.version_option(__version__, prog_name="collab")
def main() -> None:
    """Real-time collaboration server for Yjs editors and everybody else."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error", "critical"]),
    help="The least that is logged.",
)
def serve(host: str, port: int, log_level: str) -> None:
    """Run the server until it is told to stop (Ctrl-C or SIGTERM)."""
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    arguments = ["-c", "python:collab.server", "--bind", bind, "--log-level", log_level, OWN]
    # gunicorn takes this process over, so that signals and the exit code are its own.
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *arguments])


@click.group("collab", cls=CommandLine)
@click.pass_context
def in_application(ctx: click.Context) -> None:
    """Documents and the running server, with this application's settings (`flask collab`)."""
    from flask.cli import ScriptInfo

    app = ctx.ensure_object(ScriptInfo).load_app()
    remember(ctx, app.config)
    ctx.with_resource(app.app_context())


for _command in (
    *(stats, rooms, users, top, dashboard, kick, recheck, say, drain),
    *(docs, versions, quarantine, backup, restore, token),
):
    main.add_command(_command)
    in_application.add_command(_command)

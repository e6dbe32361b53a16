"""How commands end: the exit codes, and errors as text for people or as JSON for scripts."""

from __future__ import annotations

import json
from typing import IO, Any, ClassVar, Final

import click

from collab.errors import CollabError, ConfigError, Damaged, Exists, InvalidUpdate, Quarantined

DAMAGED: Final = 1
"""Something is damaged, or only part was done."""
USAGE: Final = 2
"""The command was not understood; click's own."""
MISSING: Final = 3
"""There is no such document or version, or it is not open."""
UNUSABLE: Final = 4
"""The store, a file or the server cannot be reached or used."""
REFUSED: Final = 5
"""It would do harm, such as overwrite something or tell a secret, or nobody has confirmed it."""

_JSON: Final = "collab.json"


class Failed(click.ClickException):
    """A command that could not do all of what was asked, or has found damage.

    Args:
        code: what happened, in a word for scripts.
        message: what happened and what to do.
    """

    exit_code: ClassVar[int] = DAMAGED

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.as_json = False

    def show(self, file: IO[Any] | None = None) -> None:
        """Tell people on stderr, or scripts on stdout."""
        if self.as_json:
            click.echo(json.dumps({"error": {"code": self.code, "message": self.message}}))
        else:
            super().show(file)


class Misused(Failed):
    """What was asked makes no sense."""

    exit_code: ClassVar[int] = USAGE


class Missing(Failed):
    """What was asked for is not there."""

    exit_code: ClassVar[int] = MISSING


class Unusable(Failed):
    """The store or a file does not do what is needed."""

    exit_code: ClassVar[int] = UNUSABLE


class Refused(Failed):
    """What was asked could do harm."""

    exit_code: ClassVar[int] = REFUSED


_OUTCOMES: Final[tuple[tuple[type[CollabError], type[Failed], str], ...]] = (
    (Quarantined, Refused, "quarantined"),
    (Exists, Refused, "exists"),
    (Damaged, Failed, "damaged"),
    (InvalidUpdate, Failed, "damaged"),
    (ConfigError, Unusable, "setting"),
    (CollabError, Unusable, "store"),
)


class CommandLine(click.Group):
    """The command that all others are in: their errors come out as text or JSON, with the exit code that they have."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look for `--json` before anything can be wrong with the rest."""
        options = args[: args.index("--")] if "--" in args else args
        ctx.meta[_JSON] = "--json" in options
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, CollabError) as error:
            failed = _failed(error, ctx.meta[_JSON])
            if failed is error:
                raise
            raise failed from error


def _failed(error: click.ClickException | CollabError, as_json: bool) -> click.ClickException:
    if isinstance(error, CollabError):
        outcome, code = next((outcome, code) for kind, outcome, code in _OUTCOMES if isinstance(error, kind))
        error = outcome(code, str(error))
    elif as_json and not isinstance(error, Failed):
        error = Misused("usage", error.format_message())
    if isinstance(error, Failed):
        error.as_json = as_json
    return error

"""What commands print: one JSON document for scripts, lines and tables for people, questions and progress beside it.

Bound here: stdout has the answer and nothing else; and no name out of a document reaches a terminal with characters
in it that a terminal obeys.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TypeVar

import click

from collab.commands.outcome import Refused

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

MAX_NAMED: Final = 10
"""Documents that a sentence names; of the others it tells how many there are."""

_JOINER: Final = "\u200d"  # holds emoji together, and does nothing else


def json_option(command: F) -> F:
    """Give a command its `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document, errors included.")(command)


def emit(as_json: bool, data: dict[str, Any], lines: Iterable[str]) -> None:
    """Print the answer."""
    if as_json:
        click.echo(json.dumps(data, indent=2))
    else:
        for line in lines:
            click.echo(line)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], least: Sequence[int] | None = None) -> Iterator[str]:
    """Rows under headings; a heading that begins with ``>`` has its column on the right. The last one may be wide.

    `least` is how wide each column is at least, for tables that grow.
    """
    right = [heading.startswith(">") for heading in headings]
    lines = [[heading.lstrip(">") for heading in headings], *rows]
    narrowest = least or [0] * len(headings)
    widths = [max(narrowest[n], *(len(line[n]) for line in lines)) for n in range(len(headings) - 1)]
    for line in lines:
        cells = [
            text.rjust(width) if to_the_right else text.ljust(width)
            for text, width, to_the_right in zip(line, widths, right, strict=False)
        ]
        yield "  ".join([*cells, line[-1]]).rstrip()


def plain(text: str) -> str:
    """A text in one line, with escapes in place of all that a terminal would not simply show."""
    return "".join(
        c if c.isprintable() or c == _JOINER else c.encode("unicode_escape", "backslashreplace").decode() for c in text
    )


def quoted(document_id: str) -> str:
    """A document's id as an argument, for a command to be typed."""
    return ("-- " if document_id.startswith("-") else "") + shlex.quote(plain(document_id))


def named(ids: Sequence[str]) -> str:
    """Some ids in a sentence."""
    more = f" and {len(ids) - MAX_NAMED} more" if len(ids) > MAX_NAMED else ""
    return ", ".join(repr(plain(document_id)) for document_id in ids[:MAX_NAMED]) + more


def counted(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """Bytes for people."""
    value, unit = float(number), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{number} B" if unit == "B" else f"{value:.1f} {unit}"


def milliseconds(seconds: float | None) -> str:
    """A short time for people."""
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def duration(seconds: float) -> str:
    """A long time for people."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def unstored(store: Mapping[str, Any]) -> str:
    """How much a server has not stored yet, and for how long."""
    if not store["unstored_bytes"]:
        return "all is stored"
    return f"{size(store['unstored_bytes'])} not stored yet, for {duration(store['unstored_age'])}"


def short_moment(stamped: str) -> str:
    """A server's time (RFC 3339) for people, where they are."""
    return moment(datetime.fromisoformat(stamped).timestamp())


def moment(seconds: float) -> str:
    """A time for people, where they are."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def confirm(question: str, sure: bool) -> None:
    """Ask whoever is there; raise `Failed` unless the answer is yes."""
    if sure:
        return
    if not sys.stdin.isatty():
        message = f"{question} Nothing was done: there is nobody to ask, so say --yes."
        raise Refused("not_confirmed", message)
    if not click.confirm(question, err=True):
        raise Refused("not_confirmed", "Nothing was done.")


@contextmanager
def progress(items: Sequence[T], label: str) -> Iterator[Iterable[T]]:
    """The items, with a bar on stderr that tells how many have been taken, if that is a terminal."""
    if sys.stderr.isatty():
        with click.progressbar(items, label=label, file=sys.stderr) as bar:
            yield bar
    else:
        yield items

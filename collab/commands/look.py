"""`collab stats`, `collab rooms` and `collab users`: what a running server tells, once or again and again."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import click

from collab.commands.api import Answer, reach, room_argument, url_option
from collab.commands.console import (
    duration,
    emit,
    json_option,
    milliseconds,
    plain,
    short_moment,
    size,
    table,
    unstored,
)
from collab.commands.interval import Interval
from collab.commands.target import name

F = TypeVar("F", bound=Callable[..., Any])

HEAD_EVERY = 20
"""Lines between the headings of a table that grows."""


def watch_option(command: F) -> F:
    """Give a command its `--watch`."""
    return click.option(
        "--watch",
        metavar="[SECONDS]",
        is_flag=False,
        flag_value=2.0,
        type=click.FloatRange(0.1, 86400),
        help="Ask again every so many seconds (2), until Ctrl-C; with --json one document a line.",
    )(command)


def follow(ask: Callable[[], Answer], show: Callable[[Answer], Iterable[str]], seconds: float, as_json: bool) -> None:
    """Print answer after answer, until somebody interrupts."""
    try:
        while True:
            answer = ask()
            for line in [json.dumps(answer)] if as_json else show(answer):
                click.echo(line)
            time.sleep(seconds)
    except KeyboardInterrupt:
        return


def _answer(
    ask: Callable[[], Answer], show: Callable[[Answer], Iterable[str]], watch: float | None, as_json: bool
) -> None:
    if watch is None:
        answer = ask()
        emit(as_json, answer, show(answer))
    else:
        follow(ask, lambda answer: _screen(show(answer)), watch, as_json)


def _screen(lines: Iterable[str]) -> Iterator[str]:
    """An answer on a screen of its own, or behind the one before it where there is no screen."""
    if sys.stdout.isatty():
        click.clear()
    yield time.strftime("%H:%M:%S")
    yield from lines


# ---- the server


@click.command()
@watch_option
@url_option
@json_option
def stats(watch: float | None, url: str | None, as_json: bool) -> None:
    """Show how a running server is doing."""
    api = reach(url)
    if watch is None:
        answer = api.get("stats")
        emit(as_json, answer, summary(Interval(None, answer)))
    else:
        follow(lambda: api.get("stats"), Growing().rows, watch, as_json)


def summary(interval: Interval) -> Iterator[str]:
    """The present state in lines of words."""
    told = interval.after
    sessions, queues, store, process = (told[part] for part in ("sessions", "queues", "store", "process"))
    state = "ready" if told["ready"] else f"not ready: {'; '.join(told['reasons'])}"
    yield plain(f"collab {told['version']} on {told['node']}, up {duration(told['uptime'])}, {state}")
    kinds = ", ".join(f"{dialect} {count:,}" for dialect, count in sessions.items())
    yield f"connections  {told['connections']:,}, sessions {sum(sessions.values()):,} ({kinds})"
    yield f"users        {told['users']:,} in {told['rooms']:,} rooms"
    for word, direction in (("received", "received"), ("sent", "sent    ")):
        count, data = interval.gained(f"{word}_messages"), size(interval.gained(f"{word}_bytes"))
        yield f"{direction}     {count:,} messages, {data} since the start"
    yield f"updates      {interval.gained('updates'):,} in {interval.gained('commits'):,} commits"
    told_in, written_in = (
        f"p50 {milliseconds(interval.latency(which, 0.5))}, p99 {milliseconds(interval.latency(which, 0.99))}"
        for which in ("queued", "written")
    )
    yield f"latency      {told_in} until told; {written_in} until written; since the start"
    yield f"queues       {queues['messages']:,} messages, {size(queues['bytes'])}, {queues['slow']:,} slow readers"
    trouble = f"cannot be used: {plain(store['trouble'])}" if store["trouble"] else "ready"
    yield f"store        {store['kind']}, {trouble}; {unstored(store)}"
    memory = "unknown" if process["rss"] is None else size(process["rss"])
    yield (
        f"process      {process['pid']}, memory {memory}, cpu {duration(process['cpu_seconds'])}, "
        f"{process['greenlets']:,} greenlets, loop lag {milliseconds(process['loop_lag'])}"
    )


class Growing:
    """A table of the server's state that gets a line with each answer, as `vmstat` does."""

    HEADINGS = (
        *("TIME", ">CONNECTIONS", ">USERS", ">ROOMS", ">UPDATES/S", ">MESSAGES/S", ">IN/S", ">OUT/S", ">P50", ">P99"),
        *(">QUEUED", ">UNSTORED", ">LAG", "STATE"),
    )

    def __init__(self) -> None:
        self._before: Answer | None = None
        self._lines = 0

    def rows(self, told: Answer) -> Iterator[str]:
        """The next line, under headings when it is time for them."""
        interval = Interval(self._before, told)
        known = interval.first is not None
        row = (
            time.strftime("%H:%M:%S"),
            f"{told['connections']:,}",
            f"{told['users']:,}",
            f"{told['rooms']:,}",
            *(f"{interval.rate(total):,.0f}" if known else "" for total in ("updates", "received_messages")),
            *(size(int(interval.rate(total))) if known else "" for total in ("received_bytes", "sent_bytes")),
            *(milliseconds(interval.latency("queued", share)) if known else "" for share in (0.5, 0.99)),
            size(told["queues"]["bytes"]),
            size(told["store"]["unstored_bytes"]),
            milliseconds(told["process"]["loop_lag"]),
            "ready" if told["ready"] else plain("; ".join(told["reasons"])),
        )
        widths = [9, 11, 7, 7, 9, 10, 9, 9, 8, 8, 9, 9, 8, 0]
        head, line = table(self.HEADINGS, [row], widths)
        if not self._lines % HEAD_EVERY:
            yield head
        yield line
        self._lines += 1
        self._before = told


# ---- rooms and users


@click.command()
@click.argument("prefix", type=name, default="")
@watch_option
@url_option
@json_option
def rooms(prefix: str, watch: float | None, url: str | None, as_json: bool) -> None:
    """List the rooms that are open whose ids begin with PREFIX."""
    api = reach(url)
    _answer(lambda: {"rooms": api.rooms(prefix)}, _room_lines, watch, as_json)


def _room_lines(answer: Answer) -> Iterable[str]:
    rows = [
        (
            f"{room['sessions']:,}",
            f"{room['users']:,}",
            f"{room['updates']:,}",
            size(room["bytes"]),
            size(room["unstored"]),
            size(room["queued"]),
            short_moment(room["opened"]),
            plain(room["id"]),
        )
        for room in answer["rooms"]
    ]
    headings = (">SESSIONS", ">USERS", ">UPDATES", ">SIZE", ">UNSTORED", ">QUEUED", "OPENED", "ROOM")
    return table(headings, rows) if rows else ["No such room is open."]


@click.command()
@room_argument
@watch_option
@url_option
@json_option
def users(room: str, watch: float | None, url: str | None, as_json: bool) -> None:
    """List who is in a room, with each of their sessions."""
    api = reach(url)
    _answer(lambda: api.get("users", room=room), _user_lines, watch, as_json)


def _user_lines(answer: Answer) -> Iterable[str]:
    rows = [
        (
            user["rights"],
            session["dialect"],
            plain(session["address"]),
            short_moment(session["since"]),
            f"{session['updates']:,}",
            size(session["queued"]),
            plain(user["id"]),
            plain(user["name"]),
        )
        for user in answer["users"]
        for session in user["sessions"]
    ]
    headings = ("RIGHTS", "DIALECT", "ADDRESS", "SINCE", ">UPDATES", ">QUEUED", "USER", "NAME")
    return table(headings, rows) if rows else ["Nobody is in it now."]

"""The picture that `collab top` shows: lines of text for a screen of a given size.

Nothing here knows a terminal, asks anybody or reads a clock.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from collab.commands.api import Answer
from collab.commands.console import counted, duration, milliseconds, plain, size, unstored
from collab.commands.interval import Interval

PLAIN, HEADING, TROUBLE, FAINT = range(4)


class Line(NamedTuple):
    """A line, and how it looks."""

    text: str
    look: int = PLAIN


class Picture(NamedTuple):
    """What is known of a server.

    Attributes:
        interval: its last two answers.
        rooms: that are open.
        updates: that these had at the answer before, by id.
        trouble: why there is no newer answer, if there is none.
        clock: the time for people.
    """

    interval: Interval
    rooms: Sequence[Answer]
    updates: Mapping[str, int]
    trouble: str | None
    clock: str


def cells(text: str) -> int:
    """How wide a text is on a terminal."""
    return sum(_width(c) for c in text)


def _width(c: str) -> int:
    if unicodedata.combining(c) or unicodedata.category(c) in ("Cf", "Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def fit(text: str, width: int) -> str:
    """A text in exactly so many cells; `…` stands for what is left out."""
    if cells(text) <= width:
        return text + " " * (width - cells(text))
    taken, at = "", 0
    for c in text:
        if at + _width(c) > width - 1:
            break
        taken += c
        at += _width(c)
    return taken + "…" * (width > 0) + " " * (width - at - 1)


def draw(picture: Picture, width: int, height: int) -> list[Line]:
    """The whole screen: never more lines than its height, none wider than it is."""
    head = list(_head(picture))
    rooms = list(_rooms(picture, max(0, height - len(head) - 1)))
    lines = [*head, *rooms][: max(0, height - 1)]
    lines += [Line("")] * (height - 1 - len(lines)) + [Line(f"{picture.clock}  q quits", FAINT)]
    return [line._replace(text=fit(line.text, width)) for line in lines]


def _head(picture: Picture) -> Iterator[Line]:
    interval = picture.interval
    told = interval.after
    queues, store, process = told["queues"], told["store"], told["process"]
    state = "ready" if told["ready"] else plain("; ".join(told["reasons"]))
    yield Line(f"collab {told['version']} on {plain(told['node'])}, up {duration(told['uptime'])}", HEADING)
    if picture.trouble:
        yield Line(plain(picture.trouble), TROUBLE)
    yield Line(f"State     {state}", PLAIN if told["ready"] else TROUBLE)
    kinds = ", ".join(f"{dialect} {count:,}" for dialect, count in told["sessions"].items())
    people = counted(told["users"], "user")
    yield Line(
        f"People    {people} in {counted(told['rooms'], 'room')}, {counted(told['connections'], 'connection')}: {kinds}"
    )
    rates = ", ".join(f"{interval.rate(total):,.0f} {noun}/s" for total, noun in _RATES)
    in_, out = (size(int(interval.rate(total))) for total in ("received_bytes", "sent_bytes"))
    yield Line(f"Traffic   {rates}, {in_}/s in, {out}/s out")
    yield Line(f"Latency   {_latency(interval, 'queued')} until told; {_latency(interval, 'written')} until written")
    yield Line(
        f"Queues    {counted(queues['messages'], 'message')}, {size(queues['bytes'])}; "
        f"{counted(queues['slow'], 'slow reader')}",
        TROUBLE if queues["slow"] else PLAIN,
    )
    trouble = "" if store["ready"] else f"; {plain(store['trouble'])}"
    yield Line(f"Store     {store['kind']}: {unstored(store)}{trouble}", TROUBLE if trouble else PLAIN)
    memory = "" if process["rss"] is None else f"{size(process['rss'])}, "
    yield Line(
        f"Process   {process['pid']}: {memory}{interval.cpu():.0%} cpu, {counted(process['greenlets'], 'greenlet')}, "
        f"loop lag {milliseconds(process['loop_lag'])}"
    )
    yield Line("")


_RATES: Final = (("updates", "updates"), ("received_messages", "messages in"), ("commits", "commits"))


def _latency(interval: Interval, which: str) -> str:
    return ", ".join(f"p{share:.0f} {milliseconds(interval.latency(which, share / 100))}" for share in (50.0, 99.0))


_COLUMNS: Final = (("UPDATES/S", 9), ("MEMBERS", 7), ("SIZE", 8), ("QUEUED", 8), ("UNSTORED", 8))


def _rooms(picture: Picture, most: int) -> Iterator[Line]:
    """The rooms with most going on, and how many others there are."""
    rated = [(_rate(picture, room), room) for room in picture.rooms]
    rated.sort(key=lambda one: (-one[0], -one[1]["sessions"], one[1]["id"]))
    yield Line("  ".join([*(title.rjust(wide) for title, wide in _COLUMNS), "ROOM"]), HEADING)
    shown = rated if len(rated) < most else rated[: max(0, most - 2)]
    for rate, room in shown:
        numbers = (
            f"{rate:,.1f}",
            f"{room['sessions']:,}",
            *(size(room[part]) for part in ("bytes", "queued", "unstored")),
        )
        cellsful = [number.rjust(wide) for number, (_, wide) in zip(numbers, _COLUMNS, strict=True)]
        yield Line("  ".join([*cellsful, plain(room["id"])]), TROUBLE if room["queued"] else PLAIN)
    if len(shown) < len(rated):
        yield Line(f"and {counted(len(rated) - len(shown), 'room')} more", FAINT)
    elif not rated:
        yield Line("No room is open.", FAINT)


def _rate(picture: Picture, room: Answer) -> float:
    """Updates of a room in a second; all that it has had if it was opened since."""
    gained = room["updates"] - picture.updates.get(room["id"], 0)
    return max(0.0, gained / picture.interval.seconds) if picture.interval.before else 0.0

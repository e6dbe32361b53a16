"""`collab top`: a running server on a live screen.

Bound here: whatever ends it (q, Ctrl-C, SIGTERM, an error), the terminal is left as it was.
"""

from __future__ import annotations

import locale
import os
import signal
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

import click

from collab.commands.api import Answer, Api, reach, url_option
from collab.commands.interval import Interval
from collab.commands.outcome import Failed, Misused, Unusable
from collab.commands.screen import FAINT, HEADING, PLAIN, TROUBLE, Line, Picture, cells, draw

if TYPE_CHECKING:
    import curses

PATIENCE: Final = 2.0
"""Seconds that the server has for an answer: nothing else happens on the screen meanwhile."""


@click.command()
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 3600),
    default=2.0,
    show_default=True,
    help="Between looks.",
)
@url_option
def top(interval: float, url: str | None) -> None:
    """Show a running server on a live screen: rooms, members, rates, latency, queues. q quits."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        text = "This is no terminal, which a live screen needs: `collab stats --watch` prints line after line instead."
        raise Misused("no_terminal", text)
    watcher = Watcher(reach(url, PATIENCE))
    watcher.look()  # while an error can still be told as that of any command
    import curses

    # A handler that raises: what has to be put in order is put in order on the way out.
    before = signal.signal(signal.SIGTERM, _quit)
    locale.setlocale(locale.LC_ALL, "")
    try:
        curses.wrapper(Screen(watcher, interval).run)
    except curses.error as error:
        text = f"The terminal (TERM is {os.environ.get('TERM', 'not set')}) cannot show a screen: {error}."
        raise Unusable("no_terminal", text) from error
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


def _quit(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


class Watcher:
    """Looks at a server again and again.

    Args:
        api: how it is reached.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._before: Answer | None = None
        self._updates: dict[str, int] = {}
        self._stats: Answer = {}
        self._rooms: list[Answer] = []
        self._trouble: str | None = None

    def look(self) -> None:
        """Get newer answers; `Failed` if there are none."""
        stats, rooms = self._api.get("stats"), self._api.rooms()
        self._before = self._stats or None
        self._updates = {room["id"]: room["updates"] for room in self._rooms}
        self._stats, self._rooms, self._trouble = stats, rooms, None

    def look_again(self) -> None:
        """As `look`, but a server that does not answer is no reason to end: it may be about to be started anew."""
        try:
            self.look()
        except Failed as error:
            self._trouble = error.message

    def picture(self) -> Picture:
        """What is known by now."""
        interval = Interval(self._before, self._stats)
        return Picture(interval, self._rooms, self._updates, self._trouble, time.strftime("%H:%M:%S"))


class Screen:
    """Shows what a watcher sees, in curses.

    Args:
        watcher: who looks.
        interval: seconds between looks.
    """

    def __init__(self, watcher: Watcher, interval: float) -> None:
        self._watcher = watcher
        self._interval = interval

    def run(self, window: curses.window) -> None:
        """Draw, look and draw again until somebody wants to quit."""
        import curses

        looks = _looks()
        if curses.tigetstr("civis"):
            curses.curs_set(0)
        due = time.monotonic() + self._interval
        while True:
            self._draw(window, looks)
            window.timeout(max(0, int((due - time.monotonic()) * 1000)))
            key = window.getch()
            if key in (ord("q"), ord("Q")):
                return
            if time.monotonic() >= due:
                self._watcher.look_again()
                due = time.monotonic() + self._interval

    def _draw(self, window: curses.window, looks: dict[int, int]) -> None:
        height, width = window.getmaxyx()
        window.erase()
        for row, line in enumerate(draw(self._watcher.picture(), width, height)):
            self._put(window, row, line, looks[line.look], width)
        window.refresh()

    def _put(self, window: curses.window, row: int, line: Line, look: int, width: int) -> None:
        import curses

        text = line.text.encode(window.encoding, "replace").decode(window.encoding)
        try:
            window.addstr(row, 0, text, look)
        except curses.error:
            # The last cell of the screen: it is drawn, but there is nowhere for the cursor to go from it.
            if row + 1 < window.getmaxyx()[0] or cells(text) < width:
                raise


def _looks() -> dict[int, int]:
    import curses

    trouble = curses.A_BOLD
    if curses.has_colors():
        curses.use_default_colors()
        curses.init_pair(1, curses.COLOR_RED, -1)
        trouble |= curses.color_pair(1)
    return {PLAIN: curses.A_NORMAL, HEADING: curses.A_REVERSE, TROUBLE: trouble, FAINT: curses.A_DIM}

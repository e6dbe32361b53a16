"""The store is away while people type: they go on, nothing is acknowledged, and all is stored once it is back."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from interop.typists import DEADLINE, Typists
from postgres import PostgreSQL
from processes import Serve, Server, free_port
from wire import ask

Start = Callable[[int], Typists]

MEGABYTE = 1024 * 1024


class LimitedFiles:
    """A disk on which no file of the server's can grow, as where its user has used up what it may."""

    complaint = "disk I/O error"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, server: Server) -> None:
        self._limit(server, 1)

    def free(self, server: Server) -> None:
        self._limit(server, resource.RLIM_INFINITY)

    def _limit(self, server: Server, size: int) -> None:
        for pid in server.worker_pids():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


class SmallDisk:
    """A disk with little room, and none when it is full."""

    complaint = "disk is full"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, server: Server) -> None:
        with contextlib.suppress(OSError), (self.folder / "ballast").open("ab", buffering=0) as ballast:
            while ballast.write(bytes(512)):
                pass

    def free(self, server: Server) -> None:
        (self.folder / "ballast").unlink()


Disk = LimitedFiles | SmallDisk


@pytest.fixture(params=[LimitedFiles, SmallDisk], ids=["limit", "disk"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Somewhere to keep documents that can be filled up."""
    if request.param is LimitedFiles:
        yield LimitedFiles(tmp_path)
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={4 * MEGABYTE}", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    yield SmallDisk(tmp_path)
    # The server has its files open until it is stopped, which is after this.
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def readiness(server: Server) -> tuple[int, str]:
    """What the server tells a load balancer: status and text."""
    answer = ask(server.port, b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
    return answer.status, answer.body.decode()


def wait_readiness(server: Server, typists: Typists, status: int) -> str:
    """Return when that is its status; the text."""
    deadline = time.monotonic() + DEADLINE
    while (told := readiness(server))[0] != status:
        assert time.monotonic() < deadline, f"/readyz does not say {status}: {told}\n{typists.describe()}"
        typists.let_pass(0.02)
    return told[1]


def go_on_without_store(server: Server, typists: Typists) -> str:
    """While the store is away everybody hears of everybody, and nothing is acknowledged; what /readyz says."""
    reason = wait_readiness(server, typists, 503)
    typists.hear_more()  # behind the last acknowledgements
    acked = typists.acked.copy()
    typists.hear_more()
    assert typists.acked == acked
    assert readiness(server)[0] == 503
    return reason


def begin(server: Server, typists: Typists) -> None:
    """Let people of all kinds type into one document."""
    typists.join(server, "doc", ann="y-websocket-3", bob="y-websocket-1", cleo="native", dora="native")
    typists.type()
    typists.wait("something of each is stored", lambda: len(typists.acked) == 4)
    status, text = readiness(server)
    assert (status, json.loads(text)["ready"], json.loads(text)["reasons"]) == (200, True, [])


def go_on_with_store(server: Server, typists: Typists) -> None:
    """The store is back: what everybody has typed by now is stored."""
    typed = typists.typed()
    typists.wait("all is stored", lambda: all(typists.acked[name] >= edits for name, edits in typed.items()))
    wait_readiness(server, typists, 200)


def test_a_full_disk_stops_acknowledgements_and_nothing_else(disk: Disk, start_typists: Start, serve: Serve) -> None:
    url, typists, port = f"sqlite:///{disk.folder / 'collab.db'}", start_typists(7), free_port()
    server = serve(port=port, COLLAB_STORE=url)
    begin(server, typists)
    for _ in range(2):
        disk.fill(server)
        reason = go_on_without_store(server, typists)
        assert disk.complaint in reason and "COLLAB_STORE" in reason
        disk.free(server)
        go_on_with_store(server, typists)
    disk.fill(server)
    go_on_without_store(server, typists)
    server.kill()
    typists.wait_away()
    kept = typists.check_store(url, typists.acked)
    assert kept["doc"].edits() != typists.typed(), "some of it was with the clients only"
    if isinstance(disk, SmallDisk):
        disk.free(server)
    server = serve(port=port, COLLAB_STORE=url)
    typists.join(server, "doc", mute=True, emil="y-websocket-31")
    held = typists.finish()
    assert server.stop() == 0
    assert typists.check_store(url, typists.acked) == held


def test_a_database_that_vanishes_and_comes_back(own_postgres: PostgreSQL, start_typists: Start, serve: Serve) -> None:
    url, typists = own_postgres.new_database(), start_typists(8)
    server = serve(COLLAB_STORE=url)
    begin(server, typists)
    for room, late, kind in (
        ("first", "emil", "y-websocket-1"),
        ("second", "fay", "y-websocket-31"),
        ("third", "gus", "native"),
    ):
        own_postgres.stop(signal.SIGQUIT)
        assert "COLLAB_STORE" in go_on_without_store(server, typists)
        typists.join(server, room, False, **{late: kind})
        typists.wait_closed(late, 1013)
        own_postgres.start()
        go_on_with_store(server, typists)
        typists.wait_synced(late)
    held = typists.finish()
    assert len(held) == 4
    assert server.stop() == 0
    assert typists.check_store(url, typists.acked) == held


def test_updates_beyond_the_bound_are_refused_and_stored_when_the_store_is_back(
    tmp_path: Path, start_typists: Start, serve: Serve
) -> None:
    disk = LimitedFiles(tmp_path)
    url, typists, port = f"sqlite:///{disk.folder / 'collab.db'}", start_typists(9), free_port()
    server = serve(port=port, COLLAB_STORE=url, COLLAB_MAX_UNSTORED=3000)
    begin(server, typists)
    for _ in range(2):
        be_refused(server, typists, disk)
        acked = typists.acked.copy()
        disk.free(server)
        go_on_with_store(server, typists)
        assert all(typists.acked[name] > edit for name, edit in acked.items())
    be_refused(server, typists, disk)
    disk.free(server)
    typists.wait_stored(typists.stored + 1)
    server.kill()  # before it has asked for what it had refused
    typists.wait_away()
    typists.check_store(url, typists.acked)
    server = serve(port=port, COLLAB_STORE=url)
    typists.join(server, "doc", mute=True, emil="y-websocket-31")
    held = typists.finish()
    assert server.stop() == 0
    assert typists.check_store(url, typists.acked) == held


def be_refused(server: Server, typists: Typists, disk: Disk) -> None:
    """Fill the disk, and let everybody type until something of everybody was refused, as not storable."""
    disk.fill(server)
    wait_readiness(server, typists, 503)
    typists.refused.clear()
    typists.wait("something of each is refused", lambda: len(typists.refused) == 4)
    assert {why[:14] for refusals in typists.refused.values() for why in refusals} == {"not_storable: "}

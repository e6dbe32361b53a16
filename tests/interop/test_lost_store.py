"""A server that comes back with an empty store: what its clients hold is taken as it is, nothing is twice."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from interop.typists import Typists
from postgres import PostgreSQL
from processes import Serve, Server, free_port

Start = Callable[[int], Typists]
Place = Callable[[], str]

SEEDED = [sys.executable, "-m", "gunicorn", "--config", "python:collab.server", "--bind", "127.0.0.1:{port}"]
SEEDED += ["tests.interop.seeded:app"]
KINDS = {"ann": "y-websocket-1", "bob": "y-websocket-3", "cleo": "y-websocket-31", "dora": "native", "emil": "native"}


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Gives the URL of an empty store, another one each time."""
    if request.param == "postgresql":
        server: PostgreSQL = request.getfixturevalue("postgres")
        return server.new_database
    names = iter("abc")
    return lambda: f"sqlite:///{tmp_path / next(names)}.db"


def test_clients_bring_their_document_back_to_a_store_that_has_lost_it(
    place: Place, start_typists: Start, serve: Serve
) -> None:
    typists, port, url = start_typists(1), free_port(), place()
    server = serve(port=port, COLLAB_STORE=url)
    typists.join(server, "doc", False, **KINDS)
    typists.type()
    for in_order in (False, True):
        typists.wait_up(*KINDS)
        typists.wait_stored(typists.stored + 20)
        typists.hear_more()
        if in_order:
            server.stop()
        else:
            server.kill()
        typists.wait_away()
        assert typists.check_store(url, typists.acked)
        url = place()
        server = serve(port=port, COLLAB_STORE=url)
    typists.wait_up(*KINDS)
    typists.join(server, "doc", mute=True, fay="y-websocket-3")
    held = typists.finish()
    assert server.stop() == 0
    assert typists.check_store(url, typists.acked) == held
    for name in ("dora", "emil"):
        assert len(set(typists.epochs[name])) == len(typists.epochs[name]) == 3, "it can be told that it was lost"


@pytest.mark.parametrize("later", ["seed:1;", "seed:2;"], ids=["same", "another"])
def test_a_document_that_began_with_a_text_has_it_once_when_the_store_has_lost_it(
    tmp_path: Path, start_typists: Start, serve: Serve, later: str
) -> None:
    typists, port = start_typists(2), free_port()
    server = serve(SEEDED, port=port, COLLAB_STORE=f"sqlite:///{tmp_path / 'a.db'}", SEED="seed:1;")
    typists.join(server, "doc", False, **KINDS)
    typists.type()
    typists.wait("something of each is stored", lambda: len(typists.acked) == 5)
    typists.hear_more()
    server.kill()
    typists.wait_away()
    url = f"sqlite:///{tmp_path / 'b.db'}"
    server = serve(SEEDED, port=port, COLLAB_STORE=url, SEED=later)
    typists.wait_up(*KINDS)
    typists.hear_more()
    typists.join(server, "doc", mute=True, fay="y-websocket-3")
    held = typists.finish()
    assert held["doc"].seeds() == ["seed:1"], "what the clients had goes before"
    assert server.stop() == 0
    assert typists.check_store(url, typists.acked) == held


def test_a_document_that_two_servers_begin_at_once_has_its_text_once(
    place: Place, start_typists: Start, serve: Serve
) -> None:
    typists, ports, url = start_typists(3), (free_port(), free_port()), place()

    def start(port: int) -> Server:
        return serve(SEEDED, port=port, COLLAB_STORE=url, COLLAB_STOP_TIMEOUT=0.4, SEED="seed:1;")

    with ThreadPoolExecutor() as both:
        servers = list(both.map(start, ports))
        typists.type()
        rooms = [f"doc{number}" for number in range(6)]
        for number, room in enumerate(rooms):
            for server, kind in zip(servers, ("y-websocket-3", "native"), strict=True):
                typists.join(server, room, False, **{f"{kind[0]}{number}": kind})
        typists.wait("something of each is stored", lambda: len(typists.acked) == 2 * len(rooms))
        typed = typists.pause()
        typists.wait("all is stored", lambda: typists.acked == typed)
        assert list(both.map(Server.stop, servers)) == [0, 0]
        kept = typists.check_store(url, typed)
        assert [copy.seeds() for copy in kept.values()] == [["seed:1"]] * len(rooms)
        list(both.map(start, ports))
        assert typists.finish() == kept, "each server reads what the two have stored"

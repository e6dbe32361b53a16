"""Servers that are killed while people type: what was acknowledged is in the store, and in the end all is."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from interop.typists import Typists, at_rest
from postgres import PostgreSQL
from processes import Serve, Server, free_port

SETTINGS: dict[str, Any] = {
    "COLLAB_COMPACT_SIZE": 2000,
    "COLLAB_VERSION_INTERVAL": 1,
    "COLLAB_STOP_TIMEOUT": 0.4,
}
LEAST = 10
"""Edits that are acknowledged before a server is killed."""
FEWEST = 5
"""Rounds in which everything happens at least once."""


def end(server: Server, typists: Typists, in_order: bool) -> Mapping[str, int]:
    """End a server; up to which of its edits the store must have what each has typed."""
    if in_order:
        assert server.stop() == 0
    else:
        server.kill()
    typists.wait_away()
    # Who is told to stop loses nothing either of what had come.
    return Counter(typists.ask("heard")) | typists.acked if in_order else typists.acked


def crash(url: str, rounds: int, typists: Typists, serve: Serve) -> None:
    """End servers at random moments, and look each time at what is left of the documents."""
    choose, port = random.Random(typists.seed), free_port()
    records = versions = compacted = 0
    print(f"seed {typists.seed}")

    def start() -> Server:
        return serve(port=port, COLLAB_STORE=url, COLLAB_FLUSH_INTERVAL=choose.choice([0.02, 0.2]), **SETTINGS)

    server = start()
    typists.join(server, "one", ann="y-websocket-3", bob="y-websocket-1", cleo="native")
    typists.join(server, "two", dora="native", emil="y-websocket-3", fay="native")
    typists.type()
    for number in range(rounds):
        wanted = typists.stored + choose.randint(LEAST, 120)
        if number % 3 == 0:
            name = choose.choice(["cleo", "dora", "fay"])
            typists.wait_up(name)
            typists.cut(name)
        typists.wait_stored(wanted)
        typists.let_pass(choose.uniform(1.0, 1.4) if number % 7 == 2 else choose.uniform(0.0, 0.05))
        typists.check_store(url, end(server, typists, in_order=number % 4 == 3))
        print(f"round {number}: {dict(typists.acked)}")
        with at_rest(url) as store:
            entry = store.describe("one")
        assert entry is not None and not entry.quarantine
        compacted += entry.records < records
        records, versions = entry.records, entry.versions
        server = start()
    assert compacted and versions, "documents were kept in order meanwhile"
    assert typists.resumed.total() >= rounds // 3
    typists.join(server, "one", mute=True, gus="y-websocket-31")
    typists.join(server, "two", mute=True, hans="native")
    held = typists.finish()
    assert server.stop() == 0
    assert typists.check_store(url, typists.acked) == held
    assert not typists.refused


Start = Callable[[int], Typists]


def test_what_is_acknowledged_survives_sigkill_in_sqlite(
    request: pytest.FixtureRequest, tmp_path: Path, start_typists: Start, serve: Serve
) -> None:
    url = f"sqlite:///{tmp_path / 'collab.db'}"
    crash(url, max(FEWEST, request.config.getoption("--crash-rounds")), start_typists(1124), serve)


def test_what_is_acknowledged_survives_sigkill_in_postgresql(
    request: pytest.FixtureRequest, postgres: PostgreSQL, start_typists: Start, serve: Serve
) -> None:
    rounds = max(FEWEST, request.config.getoption("--crash-rounds") // 4)
    crash(postgres.new_database(), rounds, start_typists(2411), serve)

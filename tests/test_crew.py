"""The crew: no greenlet dies unheard, and that all are gone can be proved."""

from __future__ import annotations

import logging

import gevent
import pytest
from gevent import GreenletExit
from gevent.event import Event

from collab.crew import Crew
from collab.metrics import Metrics


class Panic(BaseException):
    """What a Rust library raises: no `Exception`."""


class Stage:
    """A crew, and an event that its workers wait for."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.crew = Crew(self.metrics)
        self.go = Event()
        self.done: list[str] = []

    def work(self, name: str) -> None:
        """Wait for `go`, and say so."""
        self.go.wait()
        self.done.append(name)

    def hire(self, *names: str) -> None:
        """Workers that have begun to wait."""
        for name in names:
            self.crew.spawn(name, self.work, name)
        gevent.idle()

    @property
    def deaths(self) -> int:
        return self.metrics.labelled["greenlet_deaths", ""]

    def assert_all_gone(self) -> None:
        assert self.crew.join(0)
        assert (len(self.crew), self.crew.names()) == (0, [])


@pytest.fixture
def stage() -> Stage:
    return Stage()


def fail(error: BaseException) -> None:
    raise error


def test_a_crew_without_work_is_gone(stage: Stage) -> None:
    stage.assert_all_gone()


def test_work_begins_at_the_end_of_the_pass_and_its_name_is_known_before(stage: Stage) -> None:
    stage.go.set()
    stage.crew.spawn("one", stage.work, "one")
    assert (stage.done, stage.crew.names()) == ([], ["one"])
    gevent.idle()
    assert stage.done == ["one"]
    stage.assert_all_gone()


def test_those_at_work_are_counted_and_named(stage: Stage) -> None:
    stage.hire("reader", "writer", "reader")
    assert (len(stage.crew), stage.crew.names()) == (3, ["reader", "writer", "reader"])


def test_join_says_whether_none_is_at_work(stage: Stage) -> None:
    stage.hire("one", "other")
    assert not stage.crew.join(0)
    stage.go.set()
    gevent.idle()
    assert sorted(stage.done) == ["one", "other"]
    stage.assert_all_gone()


def test_join_waits_for_the_last_one_and_those_that_it_spawned(stage: Stage) -> None:
    def chain(left: int) -> None:
        stage.done.append(str(left))
        if left:
            stage.crew.spawn("link", chain, left - 1)

    stage.crew.spawn("link", chain, 3)
    assert stage.crew.join(10)
    assert stage.done == ["3", "2", "1", "0"]
    stage.assert_all_gone()


@pytest.mark.parametrize(
    "error",
    [ValueError("why"), Panic("why"), KeyboardInterrupt(), SystemExit(0), gevent.Timeout(1)],
    ids=lambda error: type(error).__name__,
)
def test_a_death_is_logged_with_its_name_and_cause_and_counted(
    stage: Stage, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    stage.hire("survivor")
    stage.crew.spawn("victim", fail, error)
    gevent.idle()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "victim" in record.message
    assert record.exc_info is not None and record.exc_info[1] is error
    assert stage.deaths == 1
    assert stage.crew.names() == ["survivor"]


@pytest.mark.parametrize("started", [False, True])
def test_who_is_killed_is_gone_without_a_death(stage: Stage, caplog: pytest.LogCaptureFixture, started: bool) -> None:
    if started:
        stage.hire("one", "other")
    else:
        stage.crew.spawn("one", stage.work, "one")
    stage.crew.kill()
    gevent.idle()
    stage.go.set()
    gevent.idle()
    assert (stage.done, stage.deaths, caplog.records) == ([], 0, [])
    stage.assert_all_gone()


def test_who_ends_by_itself_as_if_killed_is_no_death(stage: Stage) -> None:
    stage.crew.spawn("one", fail, GreenletExit())
    gevent.idle()
    assert stage.deaths == 0
    stage.assert_all_gone()


def test_who_kills_all_lives_on_itself(stage: Stage) -> None:
    def boss() -> None:
        stage.crew.kill()
        stage.done.append("boss")

    stage.hire("one", "other")
    stage.crew.spawn("boss", boss)
    gevent.idle()
    assert stage.done == ["boss"]
    stage.assert_all_gone()


def test_an_error_on_the_way_out_of_being_killed_is_a_death(stage: Stage) -> None:
    def stubborn() -> None:
        try:
            stage.go.wait()
        finally:
            fail(ValueError("cannot clean up"))

    stage.crew.spawn("stubborn", stubborn)
    gevent.idle()
    stage.crew.kill()
    gevent.idle()
    assert stage.deaths == 1
    stage.assert_all_gone()


def test_a_crew_can_be_hired_again_after_all_were_gone(stage: Stage) -> None:
    stage.hire("one")
    stage.crew.kill()
    gevent.idle()
    stage.assert_all_gone()
    stage.hire("next")
    assert not stage.crew.join(0)

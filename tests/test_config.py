"""The settings: where they come from, and which cannot work."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest

from collab.config import PREFIX, Settings
from collab.errors import ConfigError

FIELDS = dataclasses.fields(Settings)
every_setting = pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
NUMBERS = [field for field in FIELDS if not isinstance(field.default, str)]
every_number = pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.name)


def key(field: dataclasses.Field[Any]) -> str:
    """The name of a setting on the outside."""
    return PREFIX + field.name.upper()


def test_nothing_needs_to_be_set() -> None:
    assert Settings.load({}, {}) == Settings.load() == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_message_size", 16 * 1024 * 1024), ("idle_timeout", 300.0), ("send_queue", 512)],
)
def test_the_defaults_are_those_of_the_protocol(name: str, value: float) -> None:
    assert getattr(Settings(), name) == value


@every_number
def test_a_setting_is_read_from_text_as_from_a_number(field: dataclasses.Field[Any]) -> None:
    kind = type(field.default)
    for source in ({key(field): "7"}, {key(field): 7}):
        settings = Settings.load(source)
        changed: dict[str, Any] = {field.name: 7}
        assert settings == dataclasses.replace(Settings(), **changed)
        assert type(getattr(settings, field.name)) is kind


@every_number
def test_a_setting_is_taken_from_its_least_value_on(field: dataclasses.Field[Any]) -> None:
    least = field.metadata["least"]
    assert getattr(Settings.load({key(field): str(least)}), field.name) == least
    with pytest.raises(ConfigError, match=key(field)):
        Settings.load({key(field): str(least - 1)})


@every_number
@pytest.mark.parametrize(
    "value",
    ["", "many", "nan", "inf", "-inf", "1e999", float("nan"), float("inf"), None, [], "9" * 5000],
    ids=lambda value: repr(value)[:12],
)
def test_a_value_that_cannot_work_is_refused_with_the_settings_name(
    field: dataclasses.Field[Any], value: object
) -> None:
    with pytest.raises(ConfigError, match=key(field)):
        Settings.load({key(field): value})


@pytest.mark.parametrize("value", ["1.5", 1.5, "1e3"])
def test_a_whole_number_must_be_one(value: object) -> None:
    with pytest.raises(ConfigError, match="COLLAB_SEND_QUEUE"):
        Settings.load({"COLLAB_SEND_QUEUE": value})


def test_a_number_that_need_not_be_whole_is_not_cut() -> None:
    assert Settings.load({"COLLAB_IDLE_TIMEOUT": "1.5"}).idle_timeout == 1.5


def test_an_error_says_what_the_setting_is() -> None:
    with pytest.raises(ConfigError, match="seconds between WebSocket pings"):
        Settings.load({"COLLAB_PING_INTERVAL": "often"})


def test_an_earlier_source_goes_before_a_later_one() -> None:
    settings = Settings.load({"COLLAB_SEND_QUEUE": 1}, {"COLLAB_SEND_QUEUE": "2", "COLLAB_MAX_INVALID": "3"})
    assert (settings.send_queue, settings.max_invalid) == (1, 3)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("COLLAB_SEND_QEUE", "did you mean COLLAB_SEND_QUEUE?"), ("COLLAB_XYZZY", "has no effect")],
)
def test_a_setting_that_nobody_knows_is_warned_of(caplog: pytest.LogCaptureFixture, name: str, hint: str) -> None:
    assert Settings.load({name: "1"}) == Settings()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert name in record.message
    assert record.message.endswith(hint)


def test_what_is_not_ours_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    assert Settings.load({"SEND_QUEUE": "1", "PATH": "/bin", "collab_send_queue": "1"}) == Settings()
    assert caplog.records == []


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().send_queue = 1  # type: ignore[misc]


@every_setting
def test_every_setting_is_described_and_its_default_works(field: dataclasses.Field[Any]) -> None:
    assert field.metadata["help"]
    assert getattr(Settings.load({key(field): field.default}), field.name) == field.default
    if not isinstance(field.default, str):
        assert field.default >= field.metadata["least"]


@pytest.mark.parametrize("value", ["", None, 5, "later", "Stored"])
def test_a_choice_is_one_of_those_there_are(value: object) -> None:
    with pytest.raises(ConfigError, match="COLLAB_ACK"):
        Settings.load({"COLLAB_ACK": value})
    assert Settings.load({"COLLAB_ACK": "applied"}).ack == "applied"


def test_the_database_that_a_platform_gives_is_the_store_unless_another_is_set() -> None:
    platform = {"DATABASE_URL": "postgres://u:p@h/n"}
    assert Settings.load(platform).store == "postgres://u:p@h/n"
    assert Settings.load({"COLLAB_STORE": "memory:"}, platform).store == "memory:"
    assert Settings.load(platform, {"COLLAB_STORE": "memory:"}).store == "memory:"
    assert Settings.load({}).store == "sqlite:///collab.db"


@pytest.mark.parametrize("token", ["x" * 15, "sixteen characters", "x" * 16 + "\n", "ö" * 16])
def test_a_token_that_can_be_guessed_or_that_no_header_can_carry_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(ConfigError, match="COLLAB_ADMIN_TOKEN") as refused:
        Settings.load({"COLLAB_ADMIN_TOKEN": token})
    assert token not in str(refused.value)
    assert Settings.load({"COLLAB_ADMIN_TOKEN": "x" * 16}).admin_token == "x" * 16

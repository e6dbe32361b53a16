"""Where commands take settings from: the environment, and before it the application's own under `flask collab`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import click

from collab.config import Settings

_APPLICATION: Final = "collab.application"


def remember(ctx: click.Context, config: Mapping[str, Any]) -> None:
    """Let the commands under `ctx` have the settings of an application."""
    ctx.meta[_APPLICATION] = config


def load_settings(given: Mapping[str, Any] | None = None) -> Settings:
    """The settings; those `given` go first.

    Raises:
        ConfigError: one cannot work.
    """
    ctx = click.get_current_context(silent=True)
    application: Mapping[str, Any] = ctx.meta.get(_APPLICATION, {}) if ctx is not None else {}
    return Settings.load(given or {}, application, os.environ)

"""The page at `/`: an editor, to try the server with and to write together in, for each document at `/d/<document>`.

It is part of the server's own application, not of one that embeds it, which has pages of its own.
"""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, current_app
from werkzeug.exceptions import NotFound

from collab.hub import Hub
from collab.web.assets import are_built, send_asset, send_page

DOCUMENT_PATH: Final = "/d/"
ASSETS_PATH: Final = "/assets"

blueprint = Blueprint("collab_pages", __name__)


@blueprint.get("/")
@blueprint.get(f"{DOCUMENT_PATH}<collab_document:document_id>", merge_slashes=False)
def editor(document_id: str = "") -> Response:
    """The editor, which reads the document's id from the address that it is shown at."""
    if not _is_on(current_app.extensions["collab"]):
        raise NotFound("This server shows no page here: see COLLAB_PAGES")
    return send_page("editor", ASSETS_PATH)


@blueprint.get(f"{ASSETS_PATH}/<name>")
def asset(name: str) -> Response:
    """What pages load."""
    return send_asset(name)


def are_shown(hub: Hub) -> bool:
    """Whether there is a page at `/`, and it is built."""
    return _is_on(hub) and are_built()


def _is_on(hub: Hub) -> bool:
    pages = hub.settings.pages
    return pages == "on" or (pages == "auto" and not hub.exposed)

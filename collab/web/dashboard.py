"""The dashboard at `/admin/`: a page that shows what the admin interface beside it tells, and steers by it.

Bound here: the page itself tells nothing and needs no sign-in; all that it shows it gets of `/admin/api`.
"""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response

from collab.web.assets import send_asset, send_page

# Relative, as all that the page asks for is, so that an application may be mounted anywhere.
ASSETS: Final = "assets"

blueprint = Blueprint("collab_dashboard", __name__, url_prefix="/admin")


@blueprint.get("/")
def page() -> Response:
    """The dashboard."""
    return send_page("admin", ASSETS)


@blueprint.get(f"/{ASSETS}/<name>")
def asset(name: str) -> Response:
    """What it loads."""
    return send_asset(name)

"""The pages that are built of `collab/web/frontend/`, and what they load, as answers to requests.

Invariants borne here:

* What bears its content's hash in its name is kept by browsers for good; a page, which names it, is asked for anew.
* A page runs no script and uses no style but those of its own server, and no other site can show it in a frame.
"""

from __future__ import annotations

import hashlib
import secrets
from functools import cache
from pathlib import Path
from typing import Final

from flask import Response, request
from werkzeug.exceptions import NotFound

STATIC: Final = Path(__file__).parent / "static"
ASSETS: Final = STATIC / "assets"
NOT_BUILT: Final = (
    "The pages of this server are not built. They are built when it is installed: run `pip install .` (or "
    "`pip install -e .`) in its source folder, with a Node that is recent enough, or none, and start it from there.\n"
)
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# CodeMirror makes its styles as it goes, in elements that bear the nonce.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def send_page(name: str, assets: str) -> Response:
    """Answer with a page, or with what to do where it is not built.

    Args:
        name: its folder's in `collab/web/frontend/src/`.
        assets: where `send_asset` answers, without a slash at the end.
    """
    html = _page(name, assets)
    if html is None:
        return Response(NOT_BUILT, 503, mimetype="text/plain")
    nonce = secrets.token_urlsafe(16)
    response = Response(html.replace("{{nonce}}", nonce), mimetype="text/html")
    response.headers["Cache-Control"] = "no-cache, private"
    response.headers["Content-Security-Policy"] = _POLICY.format(nonce=nonce)
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.set_etag(hashlib.sha256(html.encode()).hexdigest()[:16])
    response.make_conditional(request)
    if response.status_code == 304:
        # The browser shows the page that it has, which bears the nonce of the policy that came with it.
        del response.headers["Content-Security-Policy"]
    return response


def send_asset(name: str) -> Response:
    """Answer with what a page loads.

    Raises:
        NotFound: there is no such thing.
    """
    # Looked up, not opened: what is asked for may be any text, which a file system may not even take as a name.
    if name not in _names():
        raise NotFound
    path = ASSETS / name
    response = Response(path.read_bytes(), mimetype=_TYPES[path.suffix])
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.set_etag(path.stem)
    response.make_conditional(request)
    return response


def are_built() -> bool:
    """Whether there is anything to send."""
    return (STATIC / "manifest.json").exists()


@cache
def _page(name: str, assets: str) -> str | None:
    path = STATIC / f"{name}.html"
    return path.read_text().replace("{{assets}}", assets) if path.exists() else None


@cache
def _names() -> frozenset[str]:
    found = ASSETS.iterdir() if ASSETS.is_dir() else ()
    return frozenset(path.name for path in found if path.suffix in _TYPES and path.is_file())

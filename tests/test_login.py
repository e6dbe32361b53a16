"""The Flask way: an application's own function, and so its own login, decides who may come in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gevent
import issuer
import pytest
from flask import Flask, Request, abort, current_app, g, request, session
from issuer import SECRET, SECRETS
from processes import Server
from wire import ask, connect, is_event, is_step1
from wire import request as handshake

from collab import Collab, Rights, User
from collab.errors import Forbidden, HandshakeRefused, Unauthenticated
from collab.hub import Hub
from collab.identity import Credentials
from collab.protocol.lib0 import var_string
from collab.testing import settle
from collab.web.login import MAX_REQUEST, ApplicationAuthenticator, Decision

pytestmark = pytest.mark.usefixtures("nothing_secret_is_logged")

TOKEN = "t0k3n-of-the-application"
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def by_session(request: Request, token: str | None, document_id: str) -> User | None:
    """Whoever is logged in may write in documents that are theirs, and read the others."""
    name = session.get("user")
    if name is None:
        return None
    return User(name, name.title(), Rights.WRITE if document_id.startswith(f"{name}/") else Rights.READ)


def application(function: Decision | None = by_session, **config: Any) -> Flask:
    """An application with a login and an authenticator."""
    app = Flask(__name__)
    app.secret_key = SECRET
    app.config.update(config)
    collab = Collab(app)
    if function is not None:
        collab.authenticator(function)

    @app.get("/login/<name>")
    def login(name: str) -> str:
        session["user"] = name
        return "welcome"

    return app


def hub_of(app: Flask) -> Hub:
    """The hub of an application."""
    hub = app.extensions["collab"]
    assert isinstance(hub, Hub)
    return hub


def cookie_of(app: Flask, name: str) -> str:
    """The cookie of somebody who has logged in."""
    cookie = app.test_client().get(f"/login/{name}").headers["Set-Cookie"].partition(";")[0]
    SECRETS.add(cookie.partition("=")[2])
    return cookie


def arriving(app: Flask, cookie: str = "", token: str | None = None, **environ: Any) -> Credentials:
    """What is kept of an upgrade."""
    headers = {**HANDSHAKE, **({"Cookie": cookie} if cookie else {})}
    with app.test_request_context("/yjs/alice/doc?x=1", headers=headers, environ_overrides=environ):
        return hub_of(app).auth.kept(Credentials(token, request.environ))


def refusal(app: Flask, credentials: Credentials, document_id: str = "doc") -> HandshakeRefused:
    """The error that somebody is refused with."""
    with pytest.raises(HandshakeRefused) as caught:
        hub_of(app).auth.decide(document_id, credentials)
    return caught.value


# ---- who decides


def test_the_login_of_the_application_decides() -> None:
    app = application()
    credentials = arriving(app, cookie_of(app, "alice"))
    decide = hub_of(app).auth.decide
    assert decide("alice/doc", credentials) == User("alice", "Alice", Rights.WRITE)
    assert decide("bob/doc", credentials).rights is Rights.READ
    nobody = refusal(app, arriving(app))
    assert isinstance(nobody, Forbidden) and nobody.status == 403


def test_a_cookie_that_was_tampered_with_is_nobodys() -> None:
    app = application()
    name, _, value = cookie_of(app, "alice").partition("=")
    assert isinstance(refusal(app, arriving(app, f"{name}={value[:-1]}")), Forbidden)


def test_the_function_gets_the_request_the_token_and_the_document() -> None:
    seen: list[Any] = []

    def function(request: Request, token: str | None, document_id: str) -> User:
        seen.append((request.path, request.args["x"], request.headers["Upgrade"], token, document_id))
        return User("alice", "Alice")

    app = application(function)
    hub_of(app).auth.decide("é/😀", arriving(app, token=TOKEN))
    assert seen == [("/yjs/alice/doc", "1", "websocket", TOKEN, "é/😀")]


def test_during_the_upgrade_it_runs_in_the_request_itself() -> None:
    def function(request: Request, token: str | None, document_id: str) -> User | None:
        return User(g.user, request.environ["their.middleware"].name)

    app = application(function)
    with app.test_request_context("/yjs/doc", environ_overrides={"their.middleware": Path("a/b")}):
        g.user = "set before"
        assert hub_of(app).auth.decide("doc", Credentials(None, request.environ)) == User("set before", "b")


def test_another_connection_is_not_decided_by_the_request_that_happens_to_run() -> None:
    app = application()
    alice, bob = (arriving(app, cookie_of(app, name)) for name in ("alice", "bob"))
    with app.test_request_context("/yjs/doc", headers={"Cookie": alice.environ["HTTP_COOKIE"]}):
        auth = hub_of(app).auth
        assert auth.decide("doc", Credentials(None, request.environ)).id == "alice"
        assert auth.decide("doc", bob).id == "bob"
        assert session["user"] == "alice"


def test_afterwards_it_runs_in_a_request_of_its_own_which_ends() -> None:
    ended: list[BaseException | None] = []

    def function(request: Request, token: str | None, document_id: str) -> User:
        assert "seen" not in g
        g.seen = True
        return User(current_app.name, request.host_url)

    app = application(function)
    app.teardown_request(ended.append)
    credentials = arriving(app)
    ended.clear()
    for times in (1, 2):
        user = gevent.spawn(hub_of(app).auth.decide, "doc", credentials).get()
        assert user == User(app.name, "http://localhost/")
        assert ended == [None] * times


def test_what_runs_before_requests_has_run_at_the_upgrade_only() -> None:
    ran: list[str] = []
    app = application(lambda request, token, document_id: None)

    @app.before_request
    def note() -> None:
        ran.append(request.path)

    assert app.test_client().get("/yjs/doc", headers=HANDSHAKE).status_code == 403
    assert isinstance(refusal(app, arriving(app)), Forbidden)
    assert ran == ["/yjs/doc"]


def test_it_may_be_named_before_or_after_and_counts_for_all_applications() -> None:
    def function(request: Request, token: str | None, document_id: str) -> User:
        return User(current_app.name, "of this application")

    collab, apps = Collab(), [Flask(name) for name in ("one", "two", "three")]
    collab.init_app(apps[0])
    collab.init_app(apps[1])
    assert collab.authenticator(function) is function
    collab.init_app(apps[2])
    for app in apps:
        assert hub_of(app).auth.decide("doc", arriving(app)).id == app.name


@pytest.mark.parametrize("config", [{}, {"COLLAB_AUTH": "jwt", "COLLAB_JWT_SECRET": SECRET}])
def test_with_it_the_settings_are_not_asked(config: dict[str, str]) -> None:
    app = application(lambda request, token, document_id: User("app", "App"), **config)
    assert hub_of(app).auth.decide("doc", arriving(app, QUERY_STRING="user_id=mallory")).id == "app"
    assert not hub_of(app).auth.needs_token
    assert not hub_of(app).auth.believes


def test_without_it_they_are() -> None:
    app = application(None, COLLAB_AUTH="jwt", COLLAB_JWT_SECRET=SECRET)
    answer = app.test_client().get("/yjs/doc", headers=HANDSHAKE)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert hub_of(app).auth.needs_token


# ---- how it may end


def refuse(request: Request, token: str | None, document_id: str) -> User | None:
    raise Unauthenticated("Log in at /login first")


def forbid(request: Request, token: str | None, document_id: str) -> User | None:
    raise Forbidden("Ask Bob for an invitation", "not_invited")


ENDS: dict[str, tuple[Decision, int, str, str]] = {
    "none": (lambda request, token, document_id: None, 403, "forbidden", "You may not be in this document"),
    "unauthenticated": (refuse, 401, "unauthenticated", "Log in at /login first"),
    "forbidden": (forbid, 403, "not_invited", "Ask Bob for an invitation"),
    "abort 401": (lambda request, token, document_id: abort(401), 401, "unauthenticated", "does not know who you are"),
    "abort 403": (lambda request, token, document_id: abort(403), 403, "forbidden", "does not let you in"),
}


@pytest.mark.parametrize("end", ENDS)
def test_whom_it_refuses_is_told_so_at_the_upgrade_and_later(end: str) -> None:
    function, status, code, words = ENDS[end]
    app = application(function)
    answer = app.test_client().get("/yjs/doc", headers=HANDSHAKE)
    assert (answer.status_code, answer.headers.get("WWW-Authenticate")) == (status, "Bearer" if status == 401 else None)
    assert answer.json is not None and answer.json["error"]["code"] == code
    error = refusal(app, arriving(app))
    assert (error.status, error.code) == (status, code)
    assert words in error.message == answer.json["error"]["message"]


def raising(error: Callable[[str], BaseException]) -> Decision:
    def function(request: Request, token: str | None, document_id: str) -> User | None:
        raise error(f"{token} and {request.cookies}")

    return function


def returning(value: object) -> Decision:
    def function(request: Request, token: str | None, document_id: str) -> Any:
        return value

    return function


FAULTS: dict[str, Decision] = {
    "an error": raising(KeyError),
    "an error within an error": raising(lambda text: ExceptionGroup(text, [ValueError(text)])),
    "abort 500": lambda request, token, document_id: abort(500),
    "abort 404": lambda request, token, document_id: abort(404),
    "true": returning(True),
    "false": returning(False),
    "a tuple": returning(("alice", "Alice")),
    "an id that is a number": returning(User(7, "Alice")),  # type: ignore[arg-type]
    "an id that cannot be shown": returning(User("a\nb", "Alice")),
    "a name that is too long": returning(User("alice", "x" * 256)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_it_lets_nobody_in_and_is_logged_without_secrets(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = application(FAULTS[fault])
    cookie = cookie_of(app, "alice")
    SECRETS.add(TOKEN)
    answer = app.test_client().get(f"/yjs/doc?token={TOKEN}", headers={**HANDSHAKE, "Cookie": cookie})
    assert answer.status_code == 500
    assert answer.json == {"error": {"code": "authenticator_failed", "message": "It could not be decided who you are"}}
    error = refusal(app, arriving(app, cookie, TOKEN))
    assert (error.status, error.code) == (500, "authenticator_failed")
    settle()
    faults = [record for record in caplog.records if "authenticator failed" in record.message]
    assert len(faults) == 2
    assert all("Traceback" in str(record.exc_text) for record in faults)
    assert hub_of(app).metrics.snapshot()["upgrades_refused"] == {"authenticator_failed": 1}


# ---- what is kept


def test_of_a_request_what_is_text_is_kept_and_decides_as_before() -> None:
    app = application()
    cookie = cookie_of(app, "alice")
    kept = arriving(app, cookie, TOKEN, **{"wsgi.websocket": object(), "REMOTE_USER": "somebody", "SCRIPT_NAME": "/a"})
    assert kept.token == TOKEN
    assert all(isinstance(value, str) for value in kept.environ.values())
    assert (kept.environ["REMOTE_USER"], kept.environ["HTTP_COOKIE"]) == ("somebody", cookie)
    auth = hub_of(app).auth
    assert auth.kept(kept) == kept
    assert auth.decide("alice/doc", kept).id == "alice"
    assert "werkzeug.request" not in kept.environ


def test_more_than_may_be_kept_of_a_request_is_refused() -> None:
    app = application(lambda request, token, document_id: User("alice", "Alice"))
    small, large = (arriving(app, HTTP_X_LONG="x" * size) for size in (MAX_REQUEST - 2000, MAX_REQUEST))
    assert hub_of(app).auth.decide("doc", small).id == "alice"
    for credentials in (large, small._replace(token="x" * 2000)):
        error = refusal(app, credentials)
        assert (error.status, error.code) == (431, "request_too_large")


def test_it_is_the_applications_own_authenticator() -> None:
    assert isinstance(hub_of(application()).auth, ApplicationAuthenticator)


# ---- under gunicorn

APPLICATION = """
from flask import Flask, session
from collab import Collab, Rights, User

app = Flask(__name__)
app.secret_key = "the application's own"
collab = Collab(app)
rights = {"alice": Rights.WRITE, "bob": Rights.READ}


@collab.authenticator
def who(request, token, document_id):
    name = session.get("user") or token
    return User(name, name.title(), rights[name]) if name in rights else None


@app.get("/login/<name>")
def login(name):
    session["user"] = name
    return "welcome"


@app.get("/ban/<name>")
def ban(name):
    del rights[name]
    return str(app.extensions["collab"].recheck("doc", name))
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The application under gunicorn, on all addresses: it asks who people are."""
    folder = tmp_path_factory.mktemp("application")
    (folder / "their_app.py").write_text(APPLICATION)
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", "python:collab.server", "--chdir", str(folder)]
    running = Server([*gunicorn, "--bind", "0.0.0.0:{port}", "their_app:app"], {}).wait_ready()
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.output
    assert issuer.found_in(running.output) == []


def get(port: int, path: str, headers: Mapping[str, str] | None = None) -> Any:
    """A page of the application."""
    return ask(port, handshake(path, headers={"Upgrade": None, "Connection": None, **(headers or {})}))


def logged_in(host: Server, name: str) -> dict[str, str]:
    """The headers of a browser in which somebody has logged in."""
    cookie = get(host.port, f"/login/{name}").headers["set-cookie"].partition(";")[0]
    SECRETS.add(cookie.partition("=")[2])
    return {"Cookie": cookie}


def test_a_browser_comes_in_by_its_login_and_goes_when_that_is_taken_away(host: Server) -> None:
    with connect(host.port, "/ws/document/doc", headers=logged_in(host, "bob")) as bob:
        session = bob.read_message()["session"]
        assert (session["user_id"], session["user_name"]) == ("bob", "Bob")
        bob.read_until(is_step1)
        with connect(host.port, "/yjs/doc", headers=logged_in(host, "alice")) as alice:
            alice.read_until(is_step1)
            assert bob.read_until(is_event("join"))["user"]["id"] == "alice"
            assert get(host.port, "/ban/alice").body == b"1"
            assert alice.read_closed().code == 4403
    assert ask(host.port, handshake("/yjs/doc")).error["code"] == "forbidden"
    assert ask(host.port, handshake("/yjs/doc", headers=logged_in(host, "alice"))).status == 403


def test_a_hocuspocus_client_without_a_token_comes_in_by_the_login_of_its_browser(host: Server) -> None:
    address = var_string("hocus")
    step1 = address + b"\x00\x00\x01\x00"

    def answer(headers: dict[str, str], *messages: bytes) -> bytes:
        with connect(host.port, "/hocuspocus", headers=headers) as wire:
            for message in messages:
                wire.say(message)
            found = wire.read_until(lambda message: message[len(address) : len(address) + 1] == b"\x02")
            return bytes(found[len(address) + 1 :])

    assert answer(logged_in(host, "bob"), step1) == b"\x02" + var_string("readonly")
    assert answer({}, step1)[:1] == b"\x01"
    assert answer({}, address + b"\x02\x00" + var_string("bob")) == b"\x02" + var_string("readonly")
    assert answer({}, address + b"\x02\x00" + var_string("mallory"))[:1] == b"\x01"

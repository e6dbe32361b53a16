"""Who may come in: how a client says who it is, over real sockets, and what the settings let decide."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import issuer
import pytest
from issuer import SECRET, token
from processes import SERVE, Server
from wire import Answer, ask, connect, is_event, is_step1, request

from collab.auth import MAX_FIELDS, NOTHING, Trusting, by_settings
from collab.config import Settings
from collab.errors import ConfigError, HandshakeRefused
from collab.identity import Credentials, Rights, User
from collab.protocol.lib0 import var_string
from collab.tokens import HOW_TO_SEND, Tokens
from collab.web.handshake import choose, read_token

pytestmark = pytest.mark.usefixtures("nothing_secret_is_logged")

NATIVE = "/ws/document/"
YJS = "/yjs/"
PATHS = pytest.mark.parametrize("path", [NATIVE, YJS])


# ---- which authenticator it is


def test_by_itself_everybody_is_who_they_say() -> None:
    trusting = by_settings(Settings())
    assert isinstance(trusting, Trusting)
    assert trusting.believes and not trusting.needs_token


def test_tokens_decide_when_the_settings_say_so() -> None:
    assert isinstance(by_settings(issuer.settings()), Tokens)


@pytest.mark.parametrize("name", ["COLLAB_JWT_SECRET", "COLLAB_JWT_PUBLIC_KEY", "COLLAB_JWT_JWKS_URL"])
def test_a_key_that_nothing_would_be_checked_with_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is set, but COLLAB_AUTH is dev") as caught:
        by_settings(Settings.load({name: SECRET}))
    assert SECRET not in str(caught.value)


def trusted(query: str) -> User:
    return Trusting().decide("doc", Credentials("a token", {"QUERY_STRING": query}))


def test_a_trusted_user_is_who_the_query_says() -> None:
    assert trusted("user_id=a%20b&user_name=%C3%A9") == User("a b", "é", Rights.WRITE)
    assert trusted("user_id=alice") == User("alice", "alice")
    one, other = trusted(""), trusted("user_id=&user_name=")
    assert one.anonymous and other.anonymous and one.id != other.id
    assert (one.name, one.expires) == ("Anonymous", None)


def test_nothing_is_kept_of_a_trusted_user_who_stays_who_they_are() -> None:
    user = trusted("")
    assert Trusting().kept(Credentials("a token", {"QUERY_STRING": "token=a+token"})) == NOTHING
    assert Trusting().decide_again("doc", NOTHING, user) is user


@pytest.mark.parametrize("query", ["user_id=%00", "user_id=a&user_name=" + "x" * 256, "&".join(["a=1"] * 65)])
def test_a_query_that_names_nobody_is_refused(query: str) -> None:
    with pytest.raises(HandshakeRefused) as caught:
        trusted(query)
    assert (caught.value.status, caught.value.code) == (400, "bad_user")
    assert trusted("&".join(["a=1"] * (MAX_FIELDS - 1)) + "&user_id=last").id == "last"


# ---- where a token is


@pytest.mark.parametrize(
    ("header", "offers", "query", "found"),
    [
        ("Bearer one", [], {}, "one"),
        ("bearer  one ", [], {}, "one"),
        ("Bearer one", ["collab.token.three"], {"token": "two"}, "one"),
        ("", ["collab.token.three"], {"token": "two"}, "two"),
        ("Basic b25l", [], {"token": "two"}, "two"),
        ("Bearer", [], {"token": "two"}, "two"),
        ("Bearer ", ["yjs", "collab.token.three"], {}, "three"),
        ("", ["collab.token.three", "collab.token.four"], {"token": ""}, "three"),
        ("", ["collab.token.", "collab.token.four"], {}, "four"),
        ("", ["collab.token.a.b-c_d"], {}, "a.b-c_d"),
        ("", ["collab.token", "Collab.Token.x", "yjs"], {}, None),
        ("", [""], {}, None),
        ("Bearerone", [], {}, None),
    ],
)
def test_a_token_is_in_the_header_the_query_or_among_the_subprotocols(
    header: str, offers: list[str], query: dict[str, str], found: str | None
) -> None:
    environ = {"HTTP_AUTHORIZATION": header} if header else {}
    assert read_token(environ, offers, query) == found


@pytest.mark.parametrize(
    ("native", "offers", "dialect", "chosen"),
    [
        (True, [], "native", None),
        (True, ["collab.json"], "native", "collab.json"),
        (True, ["collab.token.x", "collab.json"], "native", "collab.json"),
        (True, ["collab.json", "collab.binary"], "native", "collab.binary"),
        (True, ["collab.json", "yjs"], "yjs", "yjs"),
        (True, ["collab.token.x"], "native", None),
        (False, ["collab.token.x"], "yjs", None),
        (False, ["collab.token.x", "yjs"], "yjs", "yjs"),
        (False, ["collab.json"], "yjs", None),
    ],
)
def test_a_token_is_never_the_subprotocol_that_is_chosen(
    native: bool, offers: list[str], dialect: str, chosen: str | None
) -> None:
    upgrade = choose(native, offers, {})
    assert (upgrade.dialect.name, upgrade.subprotocol) == (dialect, chosen)


# ---- a server that wants tokens


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """`collab serve` with `COLLAB_AUTH=jwt`, which tells no secrets in its log."""
    running = Server(SERVE, {"COLLAB_AUTH": "jwt", "COLLAB_JWT_SECRET": SECRET}).wait_ready()
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.output
    assert issuer.found_in(running.output) == []


def is_refused(answer: Answer, status: int, code: str) -> str:
    """The answer is this refusal, and has nothing of a token; its words."""
    assert (answer.status, answer.error["code"]) == (status, code)
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
    assert issuer.found_in(str(answer)) == []
    return answer.error["message"]


@PATHS
def test_who_shows_no_token_is_told_how_to(guarded: Server, path: str) -> None:
    for query in ("", "?user_id=alice", "?token="):
        assert is_refused(ask(guarded.port, request(f"{path}doc{query}")), 401, "unauthenticated") == HOW_TO_SEND


@PATHS
def test_a_token_may_be_sent_in_each_way(guarded: Server, path: str) -> None:
    def shown(user: str) -> str:
        return token(sub=user, name=f"{user.title()} A.")

    ways = {
        "alice": request(f"{path}way{len(path)}?token={shown('alice')}"),
        "bob": request(f"{path}way{len(path)}", headers={"Authorization": f"Bearer {shown('bob')}"}),
        "carol": request(f"{path}way{len(path)}", "yjs", f"collab.token.{shown('carol')}"),
    }
    with connect(guarded.port, f"{NATIVE}way{len(path)}?token={token(sub='watcher')}") as watcher:
        watcher.read_until(is_step1)
        for user, way in ways.items():
            answer = ask(guarded.port, way)
            assert answer.status == 101
            assert issuer.found_in(str(answer)) == []
            assert watcher.read_until(is_event("join"))["user"] == {"id": user, "name": f"{user.title()} A."}


@PATHS
def test_the_query_does_not_say_who_it_is_where_a_token_does(guarded: Server, path: str) -> None:
    with connect(guarded.port, f"{NATIVE}who?token={token(sub='watcher')}") as watcher:
        watcher.read_until(is_step1)
        with connect(guarded.port, f"{path}who?user_id=admin&user_name=Admin&token={token()}"):
            assert watcher.read_until(is_event("join"))["user"] == {"id": "alice", "name": "alice"}


@PATHS
def test_a_token_opens_the_documents_that_it_names(guarded: Server, path: str) -> None:
    shown = token(docs={"team/*": "write", "a b/é": "read"})
    for name in ("team/", "team/a/b", "a b/é"):
        with connect(guarded.port, f"{path}{quote(name)}?token={shown}") as wire:
            wire.read_until(is_step1)
    for name in ("team", "a b/e", "other", "x/team/a"):
        is_refused(ask(guarded.port, request(f"{path}{quote(name)}?token={shown}")), 403, "forbidden")


@PATHS
@pytest.mark.parametrize(
    ("made", "status", "code"),
    [
        (lambda: token(exp=1), 401, "unauthenticated"),
        (lambda: token("another secret, which is long enough"), 401, "unauthenticated"),
        (lambda: token()[:-2], 401, "unauthenticated"),
        (lambda: "x", 401, "unauthenticated"),
        (lambda: "%ff%00", 401, "unauthenticated"),
        (lambda: token(docs=None), 403, "forbidden"),
        (lambda: token(docs={}), 403, "forbidden"),
    ],
)
def test_a_token_that_does_not_open_a_document_is_refused(
    guarded: Server, path: str, made: object, status: int, code: str
) -> None:
    assert callable(made)
    is_refused(ask(guarded.port, request(f"{path}doc?token={made()}")), status, code)


def test_a_page_gets_a_subprotocol_back_that_is_not_its_token(guarded: Server) -> None:
    shown = f"collab.token.{token()}"
    for path, offers, chosen in (
        (NATIVE, ["collab.json", shown], "collab.json"),
        (NATIVE, [shown, "collab.binary"], "collab.binary"),
        (YJS, ["yjs", shown], "yjs"),
        (NATIVE, [shown], None),
        (YJS, [shown], None),
    ):
        answer = ask(guarded.port, request(f"{path}page", *offers))
        assert answer.status == 101
        assert answer.headers.get("sec-websocket-protocol") == chosen


def test_a_hocuspocus_connection_shows_its_tokens_in_band(guarded: Server) -> None:
    address = var_string("team/doc")

    def auth(shown: str) -> bytes:
        return address + b"\x02\x00" + var_string(shown)

    def answered(message: object) -> bool:
        return isinstance(message, bytes) and message[len(address) : len(address) + 1] == b"\x02"

    with connect(guarded.port, "/hocuspocus") as wire:
        for shown, words in {token(exp=1): "expired", token(docs={"other": "read"}): "not for this document"}.items():
            wire.say(auth(shown))
            denied = wire.read_until(answered)
            assert denied[len(address) :][:2] == b"\x02\x01"
            assert words.encode() in denied
            assert issuer.found_in(str(denied)) == []
        wire.say(auth(token(docs={"team/*": "read"})))
        assert wire.read_until(answered) == address + b"\x02\x02" + var_string("readonly")

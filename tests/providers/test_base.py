"""What no provider's own test shows: transport errors, TLS, idle connections, forks, words."""

import datetime as dt
import json
import socket
import subprocess
import sys
import threading
import time
from email.utils import format_datetime

import pytest
import responses
from requests import exceptions as outer
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPConnectionPool
from urllib3 import exceptions as inner
from urllib3.connection import HTTPConnection

from providers import connections
from providers.answers import Answer, masked, reason, retry_after
from providers.base import BadSettings, Provider, ProviderSetting, Timeouts
from providers.errors import ProviderFailure, Unavailable, Unknown
from providers.mailgun import MailgunProvider
from providers.transport import Call, Transport
from tests.providers.contract import DEADLINE, in_about
from tests.providers.server import Reply, answering, refusing_url, resetting_port, serving

OK = answering(Reply(200, b"{}"))
URL = "https://api.example.net"


def call(url: str) -> Call:
    return Call(f"{url}/send", {}, b"{}", ())


def transport_to(url: str, deadline: float = 5.0) -> Transport:
    return Transport(url, connect_timeout=2.0, read_timeout=2.0, deadline=deadline)


def exchange_with(url: str, deadline: float = 5.0) -> Answer | ProviderFailure:
    found = transport_to(url, deadline)
    try:
        return found.post(call(url))
    except ProviderFailure as failure:
        return failure
    finally:
        found.close()


# --- the table of transport errors, in the shapes that requests gives them

POOL = HTTPConnectionPool("api.example.net")
CONNECTION = HTTPConnection("api.example.net")


def retried(cause: Exception) -> inner.MaxRetryError:
    return inner.MaxRetryError(POOL, "/send", cause)


SHAPES = [
    (outer.ConnectTimeout(retried(inner.ConnectTimeoutError())), Unavailable),
    (outer.ProxyError(retried(inner.ProxyError("no", OSError()))), Unavailable),
    (outer.SSLError(retried(inner.SSLError("bad certificate"))), Unavailable),
    (
        outer.ConnectionError(
            retried(inner.NameResolutionError("api.example.net", CONNECTION, OSError()))
        ),
        Unavailable,
    ),
    (outer.ConnectionError(retried(inner.NewConnectionError(CONNECTION, "refused"))), Unavailable),
    (outer.InvalidProxyURL("no host"), Unavailable),
    (OSError("no TLS CA certificate bundle"), Unavailable),
    (inner.LocationParseError("?"), Unavailable),
    (outer.ReadTimeout(inner.ReadTimeoutError(POOL, "/send", "timed out")), Unknown),
    (outer.ConnectionError(inner.ProtocolError("aborted", ConnectionResetError())), Unknown),
    (outer.ConnectionError(inner.ProtocolError("aborted", TimeoutError())), Unknown),
    (outer.ConnectionError("something new"), Unknown),
    (outer.ConnectionError(), Unknown),
    (outer.RequestException("something new"), Unknown),
]


@pytest.mark.parametrize(("raised", "expected"), SHAPES, ids=lambda value: str(value)[:60])
def test_each_shape_of_transport_error_has_its_class(raised, expected):
    with responses.RequestsMock() as mock:
        mock.post(f"{URL}/send", body=raised)
        found = exchange_with(URL)
    assert type(found) is expected
    assert found.status is None


def test_an_answer_may_come_from_the_responses_library():
    with responses.RequestsMock() as mock:
        mock.post(f"{URL}/send", status=418, json={"tea": True}, headers={"X-A": "1"})
        found = exchange_with(URL)
    assert (found.status, found.fields, found.headers["x-a"]) == (418, {"tea": True}, "1")
    assert found.content_type == "application/json"


# --- connections


def test_a_connection_that_rested_too_long_is_not_used_again(monkeypatch):
    with serving(OK) as server:
        found = transport_to(server.url)
        found.post(call(server.url))
        found.post(call(server.url))
        assert server.connections == 1
        monkeypatch.setattr(connections, "IDLE_LIMIT", 0.0)
        found.post(call(server.url))
        assert server.connections == 2
        assert len(server.requests) == 3
        found.close()


def test_a_connection_that_the_server_closed_is_not_used_again():
    closed = threading.Semaphore(0)

    def once(line, request):
        OK(line, request)
        line.close()
        closed.release()

    with serving(once) as server:
        found = transport_to(server.url)
        for _ in range(3):
            assert found.post(call(server.url)).status == 200
            assert closed.acquire(timeout=5)
        assert server.connections == 3
        found.close()


def test_an_answer_that_closes_its_connection_is_read_to_its_end():
    def last(line, request):
        line.send(b"HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\nall of this")
        line.close()

    with serving(last) as server:
        found = exchange_with(server.url)
    assert (found.status, found.body) == (400, b"all of this")


def test_the_deadline_cuts_a_body_whose_connection_was_to_be_closed():
    def endless(line, request):
        line.send(b"HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n")
        line.drip(b"x" * 1000)

    with serving(endless) as server, in_about(DEADLINE):
        assert exchange_with(server.url, DEADLINE).status == 400


def test_an_interim_answer_does_not_count():
    def hesitant(line, request):
        line.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        line.reset()

    with serving(hesitant) as server:
        assert type(exchange_with(server.url)) is Unknown


def test_proxies_of_the_environment_serve_all_but_this_machine(monkeypatch):
    with refusing_url() as proxy, serving(OK) as server:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "")
        assert exchange_with(server.url).status == 200
        failure = exchange_with("http://api.example.net")
    assert type(failure) is Unavailable
    assert "proxy" in failure.reason


def test_a_forked_process_has_connections_and_deadlines_of_its_own():
    script = """
import os, sys
from providers.errors import Unknown
from providers.transport import Call, Transport
def post(found, url):
    return found.post(Call(url, {}, b"", ())).status
def transport_to(url, deadline):
    return Transport(url, connect_timeout=2.0, read_timeout=2.0, deadline=deadline)
url, slow = sys.argv[1:]
found = transport_to(url, 5.0)
assert post(found, url) == 200
child = os.fork()
assert post(found, url) == 200
if child == 0:
    try:
        post(transport_to(slow, 0.3), slow)
    except Unknown as failure:
        assert "deadline" in failure.reason
        os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""
    with serving(OK) as server, serving(lambda line, request: line.drip(b" " * 1000)) as slow:
        command = [sys.executable, "-c", script, server.url, slow.url]
        subprocess.run(command, check=True, timeout=20)
        assert len(server.requests) == 3
        assert server.connections == 2


# --- TLS


@pytest.fixture
def trusted(certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))


def test_a_certificate_that_is_not_trusted_is_unavailable(tls):
    with serving(OK, tls) as server:
        failure = exchange_with(server.url)
    assert type(failure) is Unavailable
    assert "self-signed" in failure.reason
    assert server.requests == []


def test_a_missing_certificate_bundle_is_unavailable(tls, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem")
    with serving(OK, tls) as server:
        assert type(exchange_with(server.url)) is Unavailable


def test_a_long_message_may_take_longer_to_send_than_a_connection_to_make():
    body, pause = b"x" * 4_000_000, threading.Event()

    def read_slowly(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with sock:
            got = 0
            while got < len(body):
                got += len(sock.recv(64 * 1024))
                pause.wait(0.02)
            sock.sendall(bytes(Reply(200, b"{}")))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        thread = threading.Thread(target=read_slowly, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        transport = Transport(url, connect_timeout=0.3, read_timeout=5, deadline=20)
        begun = time.monotonic()
        assert transport.post(Call(url, {}, body, ())).status == 200
        assert time.monotonic() - begun > 0.3
        thread.join(5)
        transport.close()


@pytest.mark.usefixtures("trusted")
def test_connections_over_tls_are_used_again(tls):
    with serving(OK, tls) as server:
        found = transport_to(server.url)
        assert [found.post(call(server.url)).status for _ in range(3)] == [200] * 3
        assert server.connections == 1
        found.close()


@pytest.mark.usefixtures("trusted")
def test_the_deadline_cuts_headers_that_drip_over_tls(tls):
    def drip(line, request):
        line.drip(b"HTTP/1.1" + b" " * 1000)

    with serving(drip, tls) as server, in_about(DEADLINE):
        assert type(exchange_with(server.url, DEADLINE)) is Unknown


@pytest.mark.usefixtures("trusted")
def test_a_reset_over_tls_after_the_request_is_unknown(tls):
    with serving(lambda line, request: line.reset(), tls) as server:
        assert type(exchange_with(server.url)) is Unknown


def test_a_handshake_that_hangs_is_cut_at_the_deadline_and_unavailable():
    # A server that speaks no TLS waits for the end of the first line.
    with serving(OK) as server, in_about(DEADLINE):
        failure = exchange_with(server.url.replace("http:", "https:"), DEADLINE)
    assert type(failure) is Unavailable


def test_a_reset_in_the_handshake_is_unavailable():
    with resetting_port() as port:
        failure = exchange_with(f"https://127.0.0.1:{port}")
    assert type(failure) is Unavailable
    assert "before" in failure.reason


# --- what an answer says

NOW = 1_795_461_034.0
LATER = dt.datetime.fromtimestamp(NOW + 90, dt.UTC)


def answer(status: int, message: str = "", **headers: str) -> Answer:
    found = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, CaseInsensitiveDict(found), json.dumps({"message": message}).encode())


@pytest.mark.parametrize(
    ("found", "seconds"),
    [
        (answer(429, Retry_After="90"), 90),
        (answer(503, Retry_After=format_datetime(LATER, usegmt=True)), 90),
        (answer(500, Retry_After="90"), 90),
        (answer(503, Retry_After=format_datetime(LATER.replace(tzinfo=None))), 90),
        (answer(503, Retry_After="Mon, 01 Jan 1990 00:00:00 GMT"), 0),
        (answer(503, Retry_After="soon"), None),
        (answer(503, Retry_After="-5"), None),
        (answer(503, Retry_After="99999999999"), 24 * 3600),
        (answer(429, X_RateLimit_Reset=str(NOW + 90)), 90),
        (answer(429, X_RateLimit_Reset="90"), 90),
        (answer(429, X_RateLimit_Reset="0"), 0),
        (answer(420, X_RateLimit_Reset=str(int(NOW) - 90)), 0),
        (answer(429, X_RateLimit_Reset=str(NOW + 90), Retry_After="5"), 5),
        (answer(401, X_RateLimit_Reset=str(NOW + 90)), None),
        (answer(429, "try again after 90 seconds"), 90),
        (answer(429, "limit exceeded, try again after 90.5 sec"), 90.5),
        (answer(420, f"try again after {format_datetime(LATER)}"), 90),
        (answer(420, f"try again after {LATER:%a, %d %b %Y %H:%M:%S} UTC"), 90),
        (answer(420, "try again after a while"), None),
        (answer(429), None),
    ],
    ids=str,
)
def test_the_wait_is_read_from_headers_and_words(found, seconds):
    assert retry_after(found, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ann@example.net", "a***@example.net"),
        ("<ann.lee+tag@example.net>, b@c.example", "<a***@example.net>, b***@c.example"),
        ("o'neill@example.net is bad", "o***@example.net is bad"),
        ('"ann lee"@example.net', '"***@example.net'),
        ("ann%40example.net", "a***%40example.net"),
        ("änne@bücher.example", "ä***@bücher.example"),
        ("at 5 @ home", "at 5 @ home"),
    ],
)
def test_addresses_are_masked(text, shown):
    assert masked(text) == shown


def test_a_reason_is_one_short_line():
    found = reason(Answer(400), "two\nlines\x00 and\u2028more " + "x" * 1000)
    assert found.startswith("400 two lines and more xxx")
    assert len(found) == 300


def test_a_very_long_word_is_cut():
    assert len(reason(Answer(400), "a" * 1_000_000)) <= 300


def test_a_reason_shows_a_plain_text_body_and_else_the_words_of_the_status():
    plain = CaseInsensitiveDict({"Content-Type": "text/plain; charset=utf-8"})
    page = CaseInsensitiveDict({"Content-Type": "text/html"})
    assert reason(Answer(401, plain, b"Forbidden"), "") == "401 Forbidden"
    assert reason(Answer(502, page, b"<html>"), "") == "502 Bad Gateway"
    assert reason(Answer(599), "") == "599 "


def test_what_is_not_an_object_of_json_has_no_fields():
    for body in (b"", b"[1]", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000):
        assert Answer(200, body=body).fields == {}


# --- settings


@pytest.mark.parametrize(
    "url",
    [
        "api.mailgun.net",
        "ftp://api.mailgun.net",
        "https://",
        "https://user:password@api.mailgun.net",
        "https://api.mailgun.net?x=1",
        "https://api.mailgun.net/#x",
        "https://api mailgun.net",
        "https://api..mailgun.net",
        f"https://{'a' * 64}.net",
        "https://api.mailgun.net:99999",
        "https://api.mailgun.net:0",
        "https://bücher.example",
    ],
)
def test_a_base_url_that_leads_nowhere_is_refused_without_repeating_it(url):
    values = {"MAILGUN_API_KEY": "k", "MAILGUN_DOMAIN": "mg.a.example", "MAILGUN_BASE_URL": url}
    with pytest.raises(BadSettings, match="MAILGUN_BASE_URL") as raised:
        MailgunProvider.configure(values, Timeouts())
    assert "password" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["https://api.eu.mailgun.net/", "http://[::1]:8025/mailgun", "http://mail_sim:80/a/b"]
)
def test_a_base_url_may_have_a_port_and_a_path(url):
    values = {"MAILGUN_API_KEY": "k", "MAILGUN_DOMAIN": "mg.a.example", "MAILGUN_BASE_URL": url}
    assert MailgunProvider.configure(values, Timeouts()).base_url == url.rstrip("/")


def test_a_key_with_characters_that_no_header_holds_is_refused():
    values = {"MAILGUN_API_KEY": "k\u00e9y", "MAILGUN_DOMAIN": "mg.a.example"}
    with pytest.raises(BadSettings, match="MAILGUN_API_KEY") as raised:
        MailgunProvider.configure(values, Timeouts())
    assert "k\u00e9y" not in str(raised.value)


def test_a_setting_has_its_default_where_it_is_empty():
    class Plain(Provider):
        name = "plain"
        settings = (ProviderSetting("PLAIN_A", default="a"), ProviderSetting("PLAIN_B"))

        def __init__(self, values, timeouts):
            self.values = values

        def send(self, email):
            raise NotImplementedError

    configured = Plain.configure({"PLAIN_A": " ", "PLAIN_B": " b ", "OTHER": "x"}, Timeouts())
    assert configured.values == {"PLAIN_A": "a", "PLAIN_B": "b"}

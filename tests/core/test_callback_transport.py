"""Requests to applications over real sockets: where they go, and where they never go."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.core.callback_targets import BadTarget, is_public, parse
from app.core.callback_transport import LONGEST_ANSWER, CallbackTransport, NotDelivered
from tests.receiver import Receiver

NAME = "app.example.com"


class Names:
    """A look-up that answers with these addresses, one list after the other."""

    def __init__(self, *answers: list[str], port: int | None = None) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)
        self._port = port

    def addresses(self, host, port, seconds):
        self.asked.append(host)
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            (socket.AF_INET6 if ":" in text else socket.AF_INET, (text, self._port or port))
            for text in found
        ]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A certificate for NAME with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def post(transport: CallbackTransport, url: str, body: bytes = b"{}", allow_private: bool = True):
    return transport.post(parse(url, allow_private), {"X-Test": "1"}, body)


def fault(transport: CallbackTransport, url: str, **options) -> str:
    with pytest.raises(NotDelivered) as caught:
        post(transport, url, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "100.127.255.255", "0.0.0.0", "0.1.2.3"),
        *("224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.0.1", "192.0.2.1"),
        *("198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1"),
        *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe"),
        *("64:ff9b::a00:1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:a00:1::1", "2002:7f00:1::"),
        *("fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
        *("2001::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1", "2606:4700::1%1"),
    ],
)
def test_no_address_near_this_machine_is_public(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1"),
        *("2606:4700:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"),
        *("64:ff9b::808:808", "2002:808:808::1"),
    ],
)
def test_the_internet_is_public(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        *("http://app.example.com/", "ftp://app.example.com/", "https://", "https:///x", "app"),
        *("https://user@app.example.com/", "https://user:pw@app.example.com/"),
        *(
            "https://app.example.com/#part",
            "https://app.example.com/a b",
            "https://app.example.com\\x",
        ),
        *(
            "https://app.example.com:25/",
            "https://app.example.com:22",
            "https://app.example.com:70000",
        ),
        *("https://app.example.com:0/", "https://127.0.0.1/", "https://169.254.169.254/latest"),
        *(
            "https://localhost/",
            "https://a.localhost:8443/",
            "https://[::1]/",
            "https://ex\nample.com",
        ),
        "https://app.example.com/" + "x" * 2000,
    ],
)
def test_a_url_that_leads_nowhere_good_is_refused_at_once(url):
    with pytest.raises(BadTarget):
        parse(url, allow_private=False)


def test_a_url_is_taken_apart():
    target = parse("https://App.example.com:8443/hook/1?a=b", allow_private=False)
    assert (target.host, target.port, target.path) == ("app.example.com", 8443, "/hook/1?a=b")
    assert parse("https://app.example.com?x", allow_private=False).path == "/?x"
    assert parse("http://localhost:5000", allow_private=True).origin == "http://localhost:5000"


def test_what_is_posted_arrives():
    with Receiver(lambda told: (202, {"Retry-After": "7"}, b"thanks")) as receiver:
        answered = post(CallbackTransport(True), f"{receiver.url}/hook?x=1", b'{"a": 1}')
    assert (answered.status, answered.text, answered.retry_after) == (202, "thanks", 7)
    (told,) = receiver.told
    assert (told.path, told.body, told.headers["X-Test"]) == ("/hook?x=1", b'{"a": 1}', "1")
    assert told.headers["Host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], ["::1"]],
)
def test_a_name_that_leads_to_a_private_address_is_not_connected_to(addresses):
    names = Names(addresses)
    with Receiver() as receiver:
        transport = CallbackTransport(False, look_ups=names)
        said = fault(transport, f"https://{NAME}:{receiver.port}/", allow_private=False)
    assert said == "its name leads to an address that is not public"
    assert receiver.told == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "0"])
def test_other_ways_to_write_an_address_are_looked_up_and_refused(host):
    said = fault(CallbackTransport(False), f"https://{host}:8443/", allow_private=False)
    assert said in (
        "its name leads to an address that is not public",
        "its name does not resolve",
    )


def test_the_address_that_was_checked_is_the_one_that_is_connected_to():
    """A name that leads elsewhere a moment later gains nothing: it is looked up once a try."""
    with Receiver() as first, Receiver() as other:
        names = Names(["127.0.0.1"], ["127.0.0.2"], port=first.port)
        transport = CallbackTransport(True, look_ups=names)
        assert post(transport, f"http://{NAME}:{other.port}/").status == 204
        assert names.asked == [NAME]
        assert len(first.told) == 1
        assert other.told == []
        # The next try looks it up anew.
        assert "could not connect" in fault(transport, f"http://{NAME}:{other.port}/")
        assert names.asked == [NAME] * 2


def test_a_proxy_in_the_environment_is_not_asked(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with Receiver() as receiver:
        assert post(CallbackTransport(True), receiver.url).status == 204


def test_a_redirect_is_an_answer_and_is_not_followed():
    with Receiver() as inner:
        location = {"Location": f"{inner.url}/secret"}
        with Receiver(lambda told: (307, location, b"")) as receiver:
            assert post(CallbackTransport(True), receiver.url).status == 307
        assert inner.told == []


def test_a_certificate_must_be_the_names_and_trusted(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    names = Names(["127.0.0.1"])
    with Receiver(tls=context) as receiver:
        trusting = CallbackTransport(True, look_ups=names, trusted=certificate)
        assert post(trusting, f"https://{NAME}:{receiver.port}/").status == 204
        said = fault(trusting, f"https://other.example.com:{receiver.port}/")
        assert "its certificate is not valid: Hostname mismatch" in said
        said = fault(CallbackTransport(True, look_ups=names), f"https://{NAME}:{receiver.port}/")
        assert "its certificate is not valid: self" in said
    assert len(receiver.told) == 1


@contextmanager
def server(talk):
    """Accepts connections and has `talk` deal with each, in a thread of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    open_ones = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            open_ones.append(connection)
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    for connection in open_ones:
        connection.close()
    thread.join(5)


def dripping(before: bytes):
    def talk(connection: socket.socket) -> None:
        try:
            connection.sendall(before)
            while True:
                connection.sendall(b"x")
                time.sleep(0.05)
        except OSError:
            return

    return talk


def test_a_server_that_drips_is_cut_off_at_the_deadline():
    began = time.monotonic()
    with server(dripping(b"HTTP/1.1 ")) as url:
        said = fault(CallbackTransport(True, deadline=0.4), url)
    assert said == "no answer within 0.4 s"
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("end", [b"X-Slow: ", b"\r\n"])
def test_the_status_counts_even_if_the_rest_never_ends(end):
    began = time.monotonic()
    with server(dripping(b"HTTP/1.1 200 OK\r\n" + end)) as url:
        assert post(CallbackTransport(True, deadline=0.6), url).status == 200
    assert time.monotonic() - began < 3


def test_a_server_that_says_nothing_is_left_at_the_deadline():
    with server(lambda connection: None) as url:
        assert fault(CallbackTransport(True, deadline=0.3), url) == "no answer within 0.3 s"


def test_only_the_beginning_of_an_answer_is_read():
    with Receiver(lambda told: (200, {}, b"\x00" + b"y" * 10**6)) as receiver:
        answered = post(CallbackTransport(True), receiver.url)
    assert answered.text == "y" * (LONGEST_ANSWER - 1)


def test_what_is_no_http_is_no_answer():
    with server(
        lambda connection: (connection.sendall(b"SSH-2.0\r\n\r\n"), connection.close())
    ) as url:
        assert fault(CallbackTransport(True), url) == "the connection broke before an answer came"


def test_where_nobody_listens_it_says_so():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    said = fault(CallbackTransport(True), f"http://127.0.0.1:{port}/")
    assert said == "could not connect: Connection refused"
    assert fault(CallbackTransport(True), "http://nobody.invalid/") == "its name does not resolve"

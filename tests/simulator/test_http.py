"""What clients may do with HTTP, byte by byte."""

import socket

import pytest

from simulator.http import MAX_BODY_BYTES
from tests.simulator.sending import send


@pytest.fixture
def client(running):
    with socket.create_connection(("127.0.0.1", running.simulator.port), timeout=5) as client:
        yield client


def talk(client, *pieces):
    for piece in pieces:
        client.sendall(piece)
    client.shutdown(socket.SHUT_WR)
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received


def ask(method, path, *headers, body=b""):
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_a_body_may_come_in_chunks_and_bytes_in_any_portions(running, client):
    request = ask(
        "POST",
        "/control/ses",
        "Transfer-Encoding: chunked",
        "Connection: close",
        body=b'8\r\n{"mode":\r\n6\r\n"slow"\r\n1\r\n}\r\n0\r\n\r\n',
    )
    for byte in request:
        client.sendall(bytes([byte]))
    assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
    assert running.session.get(f"{running.url}/control/ses").json()["mode"] == "slow"


def test_several_calls_at_once_are_answered_in_order(running, client):
    client.sendall(ask("GET", "/control/ses") + ask("GET", "/nowhere") + ask("GET", "/counts.json"))
    received = b""
    while received.count(b"HTTP/1.1") < 3 or not received.endswith(b"}"):
        received += client.recv(65536)
    statuses = [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"404", b"200"]


def test_a_client_that_asks_first_is_told_to_go_on(running, client):
    client.sendall(ask("POST", "/control/ses", "Content-Length: 13", "Expect: 100-continue"))
    assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(b'{"mode":"up"}')
    assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_head_has_the_headers_and_no_body(running):
    answer = running.session.head(running.url)

    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) > 1000
    assert answer.content == b""


def test_what_is_not_http_is_a_bad_request(running, client):
    assert talk(client, b"HELO x\r\n\r\n").startswith(b"HTTP/1.1 400 Bad Request")


def test_a_body_beyond_every_limit_is_not_read(running, client):
    length = f"Content-Length: {MAX_BODY_BYTES + 1}"
    client.sendall(ask("POST", "/ses/v2/email/outbound-emails", length))
    assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_port_of_one_provider_has_that_one_only(running):
    port = running.own_url("ses").removesuffix("/ses")

    assert running.session.get(f"{port}/mailgun/v3/x/messages").status_code == 404
    assert running.session.get(port).status_code == 404
    assert send(running, "ses", url=f"{port}/ses").status_code == 200

"""Every switch of every provider, seen by a client on real sockets."""

import socket

import pytest
import requests

from tests.simulator.sending import PROVIDERS, send

LATE = (requests.ReadTimeout,)
CUT = (requests.ConnectionError,)


def test_a_provider_that_is_up_takes_the_mail(running, provider):
    assert send(running, provider).status_code in (200, 202)
    assert running.mail()["provider"] == provider


@pytest.mark.parametrize("where", ["shared port", "own port"])
def test_refused_connections_are_refused_and_come_back(running, provider, where):
    url = running.own_url(provider) if where == "own port" else f"{running.url}/{provider}"
    send(running, provider, url=url)
    running.set(provider, "refuse-connections")
    # A connection that is kept alive may be cut a moment later than the switch is answered.
    running.session.close()
    with pytest.raises(requests.ConnectionError) as caught:
        send(running, provider, url=url)
    if where == "own port":
        assert "Connection refused" in str(caught.value)

    running.set(provider, "up")
    send(running, provider, url=url)
    assert len(running.mails()) == 2


def test_a_port_that_refuses_is_kept_from_others(running):
    port = int(running.own_url("ses").split(":")[2].split("/")[0])
    running.set("ses", "refuse-connections")
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))


def test_connections_that_are_open_end_when_connections_are_refused(running):
    host, port = running.own_url("mailgun").split("/")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=5) as idle:
        idle.sendall(b"GET /mailgun/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"Magnificent" in idle.recv(4096)
        running.set("mailgun", "refuse-connections")
        assert idle.recv(1) == b""


def test_on_the_shared_port_the_connection_is_reset_before_the_body(running):
    running.set("sendgrid", "refuse-connections")
    with socket.create_connection(("127.0.0.1", running.simulator.port), timeout=5) as client:
        head = "POST /sendgrid/v3/mail/send HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n"
        client.sendall(head.encode())
        with pytest.raises(ConnectionResetError):
            client.recv(1)


@pytest.mark.parametrize(
    ("mode", "statuses"),
    [
        ("http-500", (500, 500, 500, 500, 500, 500)),
        ("http-503", (503, 503, 503, 503, 503, 503)),
        ("rate-limit", (429, 429, 429, 429, 429, 429)),
        ("unauthorized", (401, 401, 403, 401, 403, 500)),
        ("unverified-sender", (403, 403, 400, 422, 403, 200)),
        ("garbage-200", (200, 200, 200, 200, 200, 200)),
    ],
)
def test_a_provider_in_trouble_says_so_and_takes_nothing(running, provider, mode, statuses):
    running.set(provider, mode)
    answer = send(running, provider)

    assert answer.status_code == statuses[PROVIDERS.index(provider)]
    assert running.mails() == []


def test_rate_limits_come_in_each_providers_form(running):
    for provider in PROVIDERS:
        running.set(provider, "rate-limit", seconds=7)

    mailgun = send(running, "mailgun")
    text = "account-requests-per-sec limit exceeded, try again after 7 seconds"
    assert mailgun.json() == {"message": text}
    assert "X-RateLimit-Reset" in mailgun.headers
    sendgrid = send(running, "sendgrid")
    assert sendgrid.json() == {"errors": [{"field": None, "message": "too many requests"}]}
    assert sendgrid.headers["X-RateLimit-Remaining"] == "0"
    ses = send(running, "ses")
    assert ses.headers["x-amzn-ErrorType"] == "TooManyRequestsException"
    assert ses.json() == {"message": "Maximum sending rate exceeded."}
    assert send(running, "postmark").json()["ErrorCode"] == 429
    resend = send(running, "resend")
    assert resend.json()["name"] == "rate_limit_exceeded"
    assert resend.headers["retry-after"] == resend.headers["ratelimit-reset"] == "7"
    assert send(running, "mandrill").json()["name"] == "GeneralError"


def test_unverified_senders_come_in_each_providers_form(running):
    for provider in PROVIDERS:
        running.set(provider, "unverified-sender")

    assert "is not allowed to send: " in send(running, "mailgun").json()["message"]
    (error,) = send(running, "sendgrid").json()["errors"]
    assert error["field"] == "from"
    assert "verified Sender Identity" in error["message"]
    ses = send(running, "ses")
    assert ses.headers["x-amzn-ErrorType"] == "MessageRejected"
    assert ses.json()["message"].endswith("in region EU-WEST-1: orders@shop.example")
    postmark = send(running, "postmark").json()
    assert postmark["ErrorCode"] == 400
    assert "(orders@shop.example) is not a Sender Signature" in postmark["Message"]
    resend = send(running, "resend").json()
    assert resend["name"] == "validation_error"
    assert resend["message"].startswith("The shop.example domain is not verified.")
    (item,) = send(running, "mandrill").json()
    assert (item["status"], item["reject_reason"]) == ("rejected", "unsigned")


def test_garbage_is_html_of_somebody_else(running, provider):
    running.set(provider, "garbage-200")

    assert send(running, provider).headers["Content-Type"].startswith("text/html")


def test_what_is_accepted_and_dropped_is_nowhere(running, provider):
    running.set(provider, "accept-and-drop")

    assert send(running, provider).status_code in (200, 202)
    assert running.mails() == []


def test_what_is_accepted_and_blocked_is_so_for_everybody(running, provider):
    running.set(provider, "accept-and-block")

    assert send(running, provider).status_code in (200, 202)
    assert [one["fate"] for one in running.mail()["recipients"]] == ["block"]


def test_a_slow_provider_takes_the_mail_and_answers_late(running, provider):
    running.set(provider, "slow", seconds=0.4)
    with pytest.raises(LATE):
        send(running, provider, timeout=0.2)
    answer = send(running, provider, timeout=5)

    assert answer.status_code in (200, 202)
    assert answer.elapsed.total_seconds() >= 0.3
    assert len(running.mails()) == 2


@pytest.mark.parametrize(
    ("mode", "raised", "taken"),
    [
        ("timeout-before-accept", LATE, 0),
        ("timeout-after-accept", LATE, 1),
        ("reset-after-accept", CUT, 1),
    ],
)
def test_without_an_answer_only_the_inbox_knows(running, provider, mode, raised, taken):
    running.set(provider, mode)
    with pytest.raises(raised):
        send(running, provider, timeout=0.2)

    assert len(running.mails()) == taken


def test_a_reset_is_a_real_one(running):
    running.set("sendgrid", "reset-after-accept")
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        send(running, "sendgrid")


def test_troubles_do_not_hide_a_wrong_key(running, provider):
    running.set(provider, "http-500")

    assert send(running, provider).status_code == 500
    answer = send(running, provider, key="wrong")
    if provider == "mandrill":
        assert (answer.status_code, answer.json()["name"]) == (500, "Invalid_Key")
    else:
        assert answer.status_code in (401, 403)


def test_a_switch_is_set_and_read_by_http(running):
    url = f"{running.url}/control"
    state = running.session.post(f"{url}/ses", json={"mode": "slow", "seconds": 2}).json()
    assert state["ses"] == {"mode": "slow", "seconds": 2.0, "lag": 0.2}
    assert state["mailgun"] == {"mode": "up", "seconds": 3.0, "lag": 0.2}
    assert running.session.get(url).json() == state

    everything = running.session.post(url, json={"mode": "http-503"}).json()
    assert {switch["mode"] for switch in everything.values()} == {"http-503"}


@pytest.mark.parametrize(
    ("path", "body", "status", "valid"),
    [
        ("/ses", {"mode": "down"}, 422, "timeout-after-accept"),
        ("/ses", {}, 422, "up"),
        ("/ses", ["up"], 422, "up"),
        ("/brevo", {"mode": "up"}, 404, "sendgrid"),
    ],
)
def test_an_unknown_mode_or_provider_is_told_what_is_valid(running, path, body, status, valid):
    answer = running.session.post(f"{running.url}/control{path}", json=body)

    assert answer.status_code == answer.json()["status"] == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert valid in answer.json()["valid"]


@pytest.mark.parametrize("seconds", [0, -1, 601, "3", True, None])
def test_a_time_that_makes_no_sense_is_refused(running, seconds):
    body = {"mode": "slow", "seconds": seconds}

    assert running.session.post(f"{running.url}/control/ses", json=body).status_code == 422


def test_what_is_not_json_is_refused(running):
    assert running.session.post(f"{running.url}/control/ses", data="{").status_code == 400


def test_counts_tell_calls_from_accepted_mails(running):
    send(running, "mailgun")
    running.set("mailgun", "http-500")
    send(running, "mailgun")

    counts = running.session.get(f"{running.url}/counts.json").json()
    assert counts["mailgun"] == {"calls": 2, "accepted": 1}
    assert counts["ses"] == {"calls": 0, "accepted": 0}


def test_a_provider_that_drops_what_it_takes_says_yes_and_has_nothing(running, provider):
    running.set(provider, "accept-and-drop")
    assert send(running, provider).status_code in (200, 202)
    assert running.mails() == []

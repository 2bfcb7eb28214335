"""Mailgun's answers to calls that are not as they should be, and to odd ones that are."""

import json

import pytest

from tests.simulator.sending import MAILGUN, send

BAD_TO = "'to' parameter is not a valid address. please check documentation"


def without(name):
    return {key: value for key, value in MAILGUN.items() if key != name}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (without("from"), "from parameter is missing"),
        (without("to"), "to parameter is missing"),
        (without("subject"), "subject parameter is missing"),
        (without("text"), "Need at least one of 'text', 'html'"),
        (MAILGUN | {"to": "ann"}, BAD_TO),
        (MAILGUN | {"to": "Ann <ann@example.net>, bo@"}, BAD_TO),
        (MAILGUN | {"to": "Smith, Ann <ann@example.net>"}, BAD_TO),
        (MAILGUN | {"cc": "a..b@example.net"}, BAD_TO.replace("to", "cc", 1)),
        (MAILGUN | {"bcc": "ann@example"}, BAD_TO.replace("to", "bcc", 1)),
        (MAILGUN | {"from": "jürgen@shop.example"}, BAD_TO.replace("to", "from", 1)),
        (MAILGUN | {"to": "reject+1@example.net"}, BAD_TO),
        (MAILGUN | {"cc": "reject@example.net"}, BAD_TO.replace("to", "cc", 1)),
        (MAILGUN | {"h:X-Name": "Jürgen"}, "h:X-Name parameter is not valid"),
        (MAILGUN | {"h:X-Name": "a\r\nBcc: b@example.net"}, "h:X-Name parameter is not a valid"),
        (MAILGUN | {"o:deliverytime": "tomorrow"}, "o:deliverytime parameter is not a valid"),
        (MAILGUN | {"o:dkim": "maybe"}, "o:dkim parameter is not valid"),
        (MAILGUN | {"o:tag": [str(number) for number in range(11)]}, "o:tag parameter"),
        (MAILGUN | {"recipient-variables": "[]"}, "recipient-variables parameter"),
        (MAILGUN | {"v:much": "x" * 16_384}, "The o:, h:, v: and t: parameters"),
        (MAILGUN | {"template": "welcome"}, "template welcome not found"),
        (MAILGUN | {"to": [f"a{n}@example.net" for n in range(1001)]}, "too many recipients"),
    ],
)
def test_a_bad_parameter_is_named(running, body, message):
    answer = send(running, "mailgun", body)

    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["message"].startswith(message)
    assert running.mails() == []


def test_a_wrong_key_is_answered_in_plain_text(running):
    answer = send(running, "mailgun", key="key-wrong")

    assert (answer.status_code, answer.text) == (401, "Forbidden")
    assert answer.headers["Content-Type"] == "text/plain"


def test_a_domain_of_somebody_else_is_not_found(running):
    url = f"{running.url}/mailgun/v3/other.example/messages"
    answer = running.session.post(url, MAILGUN, auth=("api", running.credentials.mailgun_api_key))

    assert answer.status_code == 404
    assert answer.json() == {"message": "Domain not found: other.example"}


@pytest.mark.parametrize("path", ["/v3/a%2Fb/messages", "/v3/messages", "/", ""])
def test_an_unknown_path_is_answered_200_with_a_banner(running, path):
    answer = running.session.post(f"{running.url}/mailgun{path}")

    assert answer.status_code == 200
    assert "Mailgun Magnificent API" in answer.text
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_json_is_no_form(running):
    answer = send(running, "mailgun", json.dumps(MAILGUN).encode())

    assert answer.json() == {"message": "from parameter is missing"}


def test_a_broken_multipart_body_is_refused(running):
    url = f"{running.url}/mailgun/v3/{running.credentials.mailgun_domain}/messages"
    answer = running.session.post(
        url,
        data=b"--b\r\n\r\nno end",
        headers={"Content-Type": "multipart/form-data; boundary=b"},
        auth=("api", running.credentials.mailgun_api_key),
    )

    assert answer.json() == {"message": "malformed multipart body"}


def test_the_id_is_in_brackets_and_at_the_domain(running):
    message_id = send(running, "mailgun").json()["id"]

    assert message_id.startswith("<20")
    assert message_id.endswith("@mg.steadpost.example>")


def test_who_comes_twice_gets_it_once(running):
    send(running, "mailgun", MAILGUN | {"to": ["Ann <ann@example.net>", "ANN@example.net"]})

    assert running.mail()["to"] == [{"email": "ann@example.net", "name": "Ann"}]


@pytest.mark.parametrize(
    ("text", "email", "name"),
    [
        ('"Smith, Ann \\"Annie\\"" <ann@example.net>', "ann@example.net", 'Smith, Ann "Annie"'),
        ("=?UTF-8?B?QsO8cm8=?= <buero@example.net>", "buero@example.net", "Büro"),
        ("Jürgen Groß <jürgen@bücher.example>", "jürgen@bücher.example", "Jürgen Groß"),
        ('"a b"@example.net', '"a b"@example.net', ""),
        ("  <ann@example.net> ", "ann@example.net", ""),
    ],
)
def test_addresses_are_read_as_mail_has_them(running, text, email, name):
    assert send(running, "mailgun", MAILGUN | {"to": text}).status_code == 200
    assert running.mail()["to"] == [{"email": email, "name": name}]


def test_test_mode_leaves_nothing_behind(running):
    assert send(running, "mailgun", MAILGUN | {"o:testmode": "yes"}).status_code == 200
    assert running.mails() == []


def test_every_character_survives_both_encodings_of_a_form(running):
    text = "".join(map(chr, [*range(32, 127), 0xE4, 0x20AC, 0x1F600])) + "%41 a+b=c&d \r\n\t."
    url = f"{running.url}/mailgun/v3/{running.credentials.mailgun_domain}/messages"
    auth = ("api", running.credentials.mailgun_api_key)
    running.session.post(url, data=MAILGUN | {"text": text}, auth=auth)
    parts = {name: (None, value) for name, value in (MAILGUN | {"text": text}).items()}
    running.session.post(url, files=parts, auth=auth)

    assert [mail["text"] for mail in running.mails()] == [text, text]


def test_files_may_have_any_name_and_without_one_are_dropped(running):
    body = (
        b'--b\r\nContent-Disposition: form-data; name="from"\r\n\r\no@shop.example\r\n'
        b'--b\r\nContent-Disposition: form-data; name="to"\r\n\r\nann@example.net\r\n'
        b'--b\r\nContent-Disposition: form-data; name="subject"\r\n\r\nHi\r\n'
        b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\nText\r\n'
        b'--b\r\nContent-Disposition: form-data; name="attachment"; '
        b"filename*=utf-8''M%C3%A4rz.pdf\r\nContent-Type: application/pdf\r\n\r\n1\r\n"
        b'--b\r\nContent-Disposition: form-data; name="attachment"; '
        b'filename="a%22b\\\\c.txt"\r\n\r\n\r\n2\r\n\r\n'
        b'--b\r\nContent-Disposition: form-data; name="attachment"\r\n'
        b"Content-Type: text/plain\r\n\r\n3\r\n--b--\r\n"
    )
    url = f"{running.url}/mailgun/v3/{running.credentials.mailgun_domain}/messages"
    running.session.post(
        url,
        data=body,
        headers={"Content-Type": 'multipart/form-data; boundary="b"'},
        auth=("api", running.credentials.mailgun_api_key),
    )

    files = running.mail()["attachments"]
    assert [(one["filename"], one["content_type"], one["size"]) for one in files] == [
        ("März.pdf", "application/pdf", 1),
        ('a"b\\c.txt', "application/octet-stream", 5),
    ]

"""Bodies: JSON read strictly, form fields that mean the same, and limits before any work."""

import io
import json

import fakeredis
import pytest

from tests.api.caller import MAIL, Caller, mail, problem

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def post(caller, data, content_type=JSON):
    """Posts a dict as form fields, and bytes as they are."""
    if isinstance(data, bytes):
        stream = {"input_stream": io.BytesIO(data), "content_length": len(data)}
        return caller.post("/messages", content_type=content_type, **stream)
    return caller.post("/messages", data=data, content_type=content_type)


def with_text(text: bytes) -> bytes:
    """The mail with this JSON as its text."""
    head, tail = json.dumps(mail(text="HERE")).encode().split(b'"HERE"')
    return head + text + tail


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b"{}}", b"{'from': 1}", b'{"from":}', b"from=ann@example.net"),
        json.dumps(MAIL).encode("utf-8-sig"),
        json.dumps(MAIL).encode("utf-16"),
        with_text(b'"a\\ud800b"'),
        with_text(b'"a\\udc00\\ud800b"'),
        with_text(b'"caf\\xe9"'),
        with_text(b'"\xed\xa0\x80"'),
        with_text(b'"\xe9"'),
        with_text(b'"a\nb"'),
        with_text(b"NaN"),
        with_text(b"-Infinity"),
        with_text(b"01"),
        with_text(b'"x",'),
        with_text(b'"x" /* y */'),
        with_text(b"[" * 100_000 + b"]" * 100_000),
        with_text(b'{"a":' * 2000 + b"1" + b"}" * 2000),
    ],
)
def test_what_is_no_json_is_malformed(shop, body):
    assert problem(post(shop, body)) == (400, "malformed")


@pytest.mark.parametrize(
    "body",
    [
        b'{"from": "ann@example.net", "from": "bob@example.net"}',
        with_text(b'"x", "metadata": {"a": "1", "\\u0061": "2"}'),
        with_text(b'"x", "to": [{"email": "a@b.example", "email": "c@d.example"}]'),
    ],
)
def test_a_key_that_stands_twice_is_malformed_wherever_it_stands(shop, body):
    response = post(shop, body)
    assert problem(response) == (400, "malformed")
    assert "twice" in response.json["detail"]


def test_text_beyond_the_first_plane_arrives_whole(shop):
    body = with_text(b'"x", "tags": ["\\ud83d\\ude00", "\xf0\x9f\x98\x80"]')
    message_id = post(shop, body).json["id"]
    assert shop.get(f"/messages/{message_id}").json["tags"] == ["😀", "😀"]


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "text/json", "application/xml", "json", "application/problem+json"],
)
def test_a_body_of_another_kind_is_not_read(shop, content_type):
    assert problem(post(shop, json.dumps(MAIL), content_type)) == (415, "unsupported_media_type")


def test_no_body_at_all_is_of_no_kind(shop):
    assert problem(shop.post("/messages")) == (415, "unsupported_media_type")


def test_the_charset_of_a_content_type_changes_nothing(shop):
    assert post(shop, json.dumps(MAIL), f"{JSON}; charset=latin-1").status_code == 202


FIELDS = {
    "from": "Shop <orders@shop.example>",
    "to": ["Ann <ann@example.net>", "bob@example.net"],
    "cc": "cy@example.net",
    "reply_to": "help@shop.example",
    "subject": "Grüße ✉",
    "html": "<p>Hello</p>",
    "headers": '{"X-Order": "17"}',
    "tags": ["order", "eu, and more"],
    "metadata": ' {"order": "17"} ',
    "providers": ["ses", "mailgun"],
    "on_unknown": "hold",
    "expires_at": "2026-11-23T14:00:00Z",
}


@pytest.mark.parametrize("content_type", [FORM, "multipart/form-data"])
def test_form_fields_mean_the_same_as_json(shop, content_type):
    response = post(shop, FIELDS, content_type)
    assert response.status_code == 202, response.json
    as_form = shop.get(f"/messages/{response.json['id']}").json
    values = FIELDS | {"headers": {"X-Order": "17"}, "metadata": {"order": "17"}}
    as_json = shop.get(f"/messages/{shop.post('/messages', json=values).json['id']}").json
    assert as_form == as_json | {"id": as_form["id"]}


@pytest.mark.parametrize("content_type", [FORM, "multipart/form-data"])
def test_all_faults_of_form_fields_are_named_at_once(shop, content_type):
    fields = {
        "from": "nobody",
        "to": ["ann@example.net", "bob"],
        "subject": ["one", "two"],
        "headers": "X-Order: 17",
        "metadata": '{"a": "1", "a": "2"}',
        "tags": ["ok", ""],
        "on_unknown": "shrug",
        "colour": "red",
    }
    response = post(shop, fields, content_type)
    assert problem(response) == (422, "invalid")
    assert set(response.json["errors"]) == {
        *("from", "to.1", "subject", "headers", "metadata", "tags.1", "on_unknown", "colour"),
        "text",
    }
    assert response.json["errors"]["subject"] == ["Given more than once."]
    assert "twice" in response.json["errors"]["metadata"][0]


@pytest.mark.parametrize("value", ["[]", '"x"', "null", "17", "", '{"X-Order": 17}'])
def test_an_object_in_a_form_is_an_object_of_texts(shop, value):
    response = post(shop, {**MAIL, "headers": value}, FORM)
    assert problem(response) == (422, "invalid")


def test_a_file_is_not_taken(shop):
    files = {"invoice": (io.BytesIO(b"%PDF"), "invoice.pdf"), "text": (io.BytesIO(b"x"), "x.txt")}
    response = post(shop, {**MAIL, **files}, "multipart/form-data")
    assert problem(response) == (422, "invalid")
    assert response.json["errors"] == {
        "invoice": ["Files are not taken here."],
        "text": ["Files are not taken here."],
    }


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"subject=%FF", FORM),
        (b"subject=\xff", FORM),
        (b"&".join([b"tags=x"] * 1001), FORM),
        (b"", "multipart/form-data"),
        (b"--x--", "multipart/form-data"),
        (b"", "multipart/form-data; boundary=x"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (
            b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb",
            "multipart/form-data; boundary=x",
        ),
        (
            b"--x\r\nContent-Disposition: form-data; name=subject\r\n\r\n\xff\r\n--x--\r\n",
            "multipart/form-data; boundary=x",
        ),
    ],
)
def test_what_is_no_form_is_malformed(shop, body, content_type):
    assert problem(post(shop, body, content_type)) == (400, "malformed")


def test_an_empty_form_lacks_everything(shop):
    response = post(shop, b"--x--\r\n", "multipart/form-data; boundary=x")
    assert set(response.json["errors"]) == {"from", "to", "subject", "text"}


@pytest.fixture
def small(make_app) -> Caller:
    """An app that takes 4 KiB."""
    return Caller(make_app(fakeredis.FakeRedis(decode_responses=True), MAX_BODY_BYTES="4KiB"))


class Untouchable:
    """A body that nobody may read."""

    def read(self, size: int = -1) -> bytes:
        raise AssertionError("the body was read")


@pytest.mark.parametrize("content_type", [JSON, FORM, "multipart/form-data; boundary=x"])
def test_a_body_that_says_it_is_too_large_is_not_even_read(small, content_type):
    environ = {"wsgi.input": Untouchable(), "CONTENT_LENGTH": "4097"}
    response = small.post("/messages", content_type=content_type, environ_overrides=environ)
    assert problem(response) == (413, "too_large")


@pytest.mark.parametrize(
    ("content_type", "fits"), [(JSON, 202), (FORM, 422), ("multipart/form-data; boundary=x", 422)]
)
def test_a_body_that_does_not_say_its_length_is_never_cut_off(small, content_type, fits):
    def status(size: int) -> int:
        if content_type == JSON:
            body = json.dumps(MAIL).ljust(size)
        elif content_type == FORM:
            body = "text=".ljust(size, "x")
        else:
            part = "--x\r\nContent-Disposition: form-data; name=text\r\n\r\nx\r\n--x--\r\n"
            body = part.ljust(size)
        environ = {
            "wsgi.input": io.BytesIO(body.encode()),
            "wsgi.input_terminated": True,
            "CONTENT_TYPE": content_type,
            "HTTP_TRANSFER_ENCODING": "chunked",
        }
        return small.post("/messages", environ_overrides=environ).status_code

    assert {size: status(size) for size in (4000, 4096, 5000, 1_000_000)} == {
        4000: fits,
        4096: 413,
        5000: 413,
        1_000_000: 413,
    }


def test_a_body_of_just_the_limit_is_taken(small):
    body = json.dumps(MAIL).encode().ljust(4096)
    assert post(small, body).status_code == 202
    assert problem(post(small, body + b" ")) == (413, "too_large")

"""Attachments in requests, and what is told of them."""

import io
from base64 import b64encode

import pytest

from tests.api.caller import MAIL, mail

PDF = b"%PDF-1.7\x00\xff\r\n--x"


def attached(**fields):
    return mail(attachments=[{"filename": "a.pdf", "content": b64encode(PDF).decode(), **fields}])


def told(caller, response):
    assert response.status_code == 202, response.json
    return caller.get(f"/messages/{response.json['id']}").json["attachments"]


def test_an_attachment_is_told_of_without_its_content(shop):
    response = shop.post("/messages", json=attached(content_id="inv"))
    assert told(shop, response) == [
        {"filename": "a.pdf", "content_type": "application/pdf", "size": 15, "content_id": "inv"}
    ]
    assert told(shop, shop.post("/messages", json=MAIL)) == []


@pytest.mark.parametrize(
    ("filename", "content_type"),
    [
        ("Rechnung März.PDF", "application/pdf"),
        ("данные.csv", "text/csv"),
        ("site.tar.gz", "application/gzip"),
        ("photo.jpg", "image/jpeg"),
        ("no ending", "application/octet-stream"),
        ("data:text,x", "application/octet-stream"),
        ("x.unheard-of", "application/octet-stream"),
    ],
)
def test_a_type_that_is_not_given_is_guessed_by_the_name(shop, filename, content_type):
    (file,) = told(shop, shop.post("/messages", json=attached(filename=filename)))
    assert (file["filename"], file["content_type"]) == (filename, content_type)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"content": "aGk"}, "attachments.0.content"),
        ({"content": "aG k="}, "attachments.0.content"),
        ({"content": 17}, "attachments.0.content"),
        ({"filename": "/etc/passwd"}, "attachments.0.filename"),
        ({"filename": "..\\a"}, "attachments.0.filename"),
        ({"filename": "a\r\nBcc: eve@evil.example"}, "attachments.0.filename"),
        ({"filename": "=?utf-8?q?a=0D=0Ab?="}, "attachments.0.filename"),
        ({"filename": None}, "attachments.0.filename"),
        ({"content_type": "pdf"}, "attachments.0.content_type"),
        ({"content_id": "<logo>"}, "attachments.0.content_id"),
        ({"kind": "x"}, "attachments.0.kind"),
    ],
)
def test_a_fault_is_told_by_its_path(shop, change, path):
    response = shop.post("/messages", json=attached(**change))
    assert response.status_code == 422
    assert set(response.json["errors"]) == {path}


def test_a_content_id_stands_for_one_attachment(shop):
    file = {"filename": "a.png", "content": "", "content_id": "logo"}
    response = shop.post("/messages", json=mail(attachments=[file, file, file]))
    assert set(response.json["errors"]) == {
        "attachments.1.content_id",
        "attachments.2.content_id",
    }


def part(name, filename, content, *headers):
    lines = [f'Content-Disposition: form-data; name="{name}"; filename="{filename}"', *headers]
    return "\r\n".join(["--b", *lines, "", ""]).encode() + content + b"\r\n"


def post_form(caller, *parts):
    fields = b"".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in MAIL.items()
    )
    body = fields + b"".join(parts) + b"--b--\r\n"
    return caller.post(
        "/messages",
        content_type="multipart/form-data; boundary=b",
        input_stream=io.BytesIO(body),
        content_length=len(body),
    )


def test_files_of_a_form_are_attachments_and_a_content_id_of_a_part_makes_one_inline(app, shop):
    response = post_form(
        shop,
        part("attachments", "Rechnung März.pdf", PDF),
        part("attachments", "data.bin", PDF, "Content-Type: text/csv; charset=utf-8"),
        part("attachments", "logo.png", b"PNG", "Content-Type: image/png", "Content-ID: <logo>"),
        part("attachments", "b.pdf", PDF, "Content-Type: application/octet-stream"),
        part("attachments", "", b""),
    )
    files = told(shop, response)
    assert [(f["filename"], f["content_type"], f["size"], f["content_id"]) for f in files] == [
        ("Rechnung März.pdf", "application/pdf", 15, None),
        ("data.bin", "text/csv", 15, None),
        ("logo.png", "image/png", 3, "logo"),
        ("b.pdf", "application/pdf", 15, None),
    ]


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ((part("attachments", "../a", b""),), "attachments.0.filename"),
        ((part("text", "a", b"x"),), "text"),
        ((part("colour", "a", b"x"),), "colour"),
    ],
)
def test_a_file_that_is_wrong_is_told_by_its_path(shop, parts, path):
    response = post_form(shop, *parts)
    assert response.status_code == 422
    assert path in response.json["errors"]


def test_a_text_is_no_file(shop):
    response = shop.post("/messages", data={**MAIL, "attachments": "hello"})
    assert set(response.json["errors"]) == {"attachments.0"}


def test_another_file_is_another_request_for_an_idempotency_key(shop):
    headers = {"Idempotency-Key": "17"}
    first = shop.post("/messages", json=attached(), headers=headers)
    again = shop.post("/messages", json=attached(), headers=headers)
    other = shop.post("/messages", json=attached(content=""), headers=headers)
    assert first.json["id"] == again.json["id"]
    assert other.status_code == 422

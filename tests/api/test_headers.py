"""What gets near a header of a mail: custom headers, subject and tags."""

import pytest

from app.api.texts import header_name
from tests.api.caller import mail, problem
from tests.api.test_addresses import LINE_BREAKS

HIDDEN = "=?utf-8?q?x=0D=0ABcc:_eve@example.net?="


@pytest.mark.parametrize("text", [*(f"a{char}b" for char in LINE_BREAKS), "a\n", "\ra", HIDDEN])
def test_no_line_break_gets_near_a_header(shop, text):
    faults = shop.faults(subject=text, headers={"X-Order": text}, tags=[text])
    assert set(faults) == {"subject", "headers.X-Order", "tags.0"}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "X-Order\r\nBcc",
            "X-Order\n",
            "\nX",
            "X Order",
            "X-Order:",
            "",
            "X-Ördre",
            "X\0",
            "X\x7f",
        ),
        *("x" * 127, 'X"', "X\\", "X@", "X/Y", "(X)"),
    ],
)
def test_what_is_no_name_of_a_header_is_refused(shop, name):
    assert set(shop.faults(headers={name: "1"})) == {f"headers.{name}"}


@pytest.mark.parametrize(
    "name",
    [
        *("From", "to", "CC", "Bcc", "Subject", "Sender", "Reply-To", "DATE", "message-id"),
        *("MIME-Version", "Content-Type", "content-transfer-encoding", "CONTENT-", "Received"),
        *("Return-Path", "DKIM-Signature"),
    ],
)
def test_a_header_that_is_not_the_callers_to_write_is_refused(shop, name):
    assert set(shop.faults(headers={name: "x"})) == {f"headers.{name}"}


@pytest.mark.parametrize(
    "name", ["X-Order", "x-from", "From-X", "Tokyo", "Contents", "Fromage", "List-Unsubscribe", "X"]
)
def test_any_other_header_is_the_callers(shop, name):
    assert header_name(name) == name
    assert shop.message(headers={name: "ja, grüß dich ✉"})["headers"] == {name: "ja, grüß dich ✉"}


@pytest.mark.parametrize("value", ["", "x" * 999, None, 17, ["a"]])
def test_a_header_has_a_value_of_one_line(shop, value):
    response = shop.post("/messages", json=mail(headers={"X-Order": value}))
    assert problem(response) == (422, "invalid")
    assert set(response.json["errors"]) == {"headers.X-Order"}


def test_there_is_an_end_to_headers_tags_and_metadata(shop):
    def many(count):
        return {f"x-{number}": "1" for number in range(count)}

    assert shop.send(headers=many(50), metadata=many(50), tags=list(many(20))).status_code == 202
    faults = shop.faults(headers=many(51), metadata=many(51), tags=list(many(21)))
    assert set(faults) == {"headers", "metadata", "tags"}


def test_a_subject_is_one_line_of_a_mail(shop):
    assert shop.send(subject="x" * 998).status_code == 202
    assert set(shop.faults(subject="x" * 999)) == {"subject"}


def test_an_encoded_word_in_a_subject_is_a_text_like_any_other(shop):
    assert shop.message(subject="=?utf-8?q?Hi?=")["subject"] == "=?utf-8?q?Hi?="


def test_metadata_may_hold_any_text_because_it_never_leaves(shop):
    metadata = {"lines": "a\r\nb", "emoji 🎉": "", "key": "x" * 1000}
    assert shop.message(metadata=metadata)["metadata"] == metadata


def test_a_huge_text_full_of_beginnings_of_encoded_words_is_refused_at_once(shop):
    assert set(shop.faults(subject="=?a?q?x" * 200_000)) == {"subject"}

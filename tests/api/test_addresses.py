"""Addresses as people and programs write them."""

import pytest
from marshmallow import ValidationError

from app.api.addresses import parse_address
from providers.types import Address

ENCODED = "=?utf-8?q?J=C3=BCrgen_M=C3=BCller?="
BASE64 = "=?UTF-8?B?4pyJ77iPIE1haWw=?="


@pytest.mark.parametrize(
    ("text", "email", "name"),
    [
        ("ann@example.net", "ann@example.net", ""),
        ("  ann@example.net ", "ann@example.net", ""),
        ("<ann@example.net>", "ann@example.net", ""),
        ("Ann <ann@example.net>", "ann@example.net", "Ann"),
        ("Ann<ann@example.net>", "ann@example.net", "Ann"),
        ("John Q. Public <john@example.net>", "john@example.net", "John Q. Public"),
        ("J.R.R. Tolkien <jrr@example.net>", "jrr@example.net", "J.R.R. Tolkien"),
        ("O'Brien & Sons <o@example.net>", "o@example.net", "O'Brien & Sons"),
        ('"Smith, Ann" <ann@example.net>', "ann@example.net", "Smith, Ann"),
        (r'"Ann \"Annie\" Smith" <ann@example.net>', "ann@example.net", 'Ann "Annie" Smith'),
        (r'"back\\slash" <ann@example.net>', "ann@example.net", "back\\slash"),
        ('"Ann" Smith <ann@example.net>', "ann@example.net", "Ann Smith"),
        ('"<b@c.example>" <ann@example.net>', "ann@example.net", "<b@c.example>"),
        ('"" <ann@example.net>', "ann@example.net", ""),
        ("Jürgen Müller <jm@example.net>", "jm@example.net", "Jürgen Müller"),
        ("山田太郎 <yamada@example.jp>", "yamada@example.jp", "山田太郎"),
        ("✉️ Mail 🎉 <mail@example.net>", "mail@example.net", "✉️ Mail 🎉"),
        (f"{ENCODED} <jm@example.net>", "jm@example.net", "Jürgen Müller"),
        (f"{BASE64} <m@example.net>", "m@example.net", "✉️ Mail"),
        (f"Dr. {ENCODED} <jm@example.net>", "jm@example.net", "Dr. Jürgen Müller"),
        (f'"{ENCODED}" <jm@example.net>', "jm@example.net", ENCODED),
        ("ann@bücher.example", "ann@bücher.example", ""),
        ("ann@xn--bcher-kva.example", "ann@bücher.example", ""),
        ("ann@EXAMPLE.net", "ann@example.net", ""),
        ("Ann.B+tag@example.net", "Ann.B+tag@example.net", ""),
        ("jürgen@example.net", "jürgen@example.net", ""),
        ("用户@例子.example", "用户@例子.example", ""),
        ('"ann smith"@example.net', '"ann smith"@example.net', ""),
        ('Ann <"a@b"@example.net>', '"a@b"@example.net', "Ann"),
        ("ann@example.test", "ann@example.test", ""),
    ],
)
def test_an_address_is_read(text, email, name):
    assert parse_address(text) == Address(email, name)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "ann",
            "@example.net",
            "ann@",
            "ann@example",
            "ann@@example.net",
            "<>",
            "Ann <>",
        ),
        *("ann@exa mple.net", "ann @example.net", "a..b@example.net", ".a@example.net"),
        *("ann@-example.net", "ann@example..net", "ann@[127.0.0.1]", "ann@localhost"),
        *("ann@example.net>", "<ann@example.net", "Ann <ann@example.net> Smith"),
        *("ann@example.net, bob@example.net", "ann@example.net; bob@example.net"),
        *("Ann <ann@example.net>, Bob <bob@example.net>", "Smith, Ann <ann@example.net>"),
        *("friends: ann@example.net, bob@example.net;", "undisclosed-recipients:;"),
        *('"Ann <ann@example.net>', 'Ann" <ann@example.net>', r'"Ann\" <ann@example.net>'),
        *("Ann @ Home <ann@example.net>", "ann@example.net (Ann)", "(Ann) <ann@example.net>"),
        *("Ann <mailto:ann@example.net>", "a@" + "x" * 250 + ".net"),
        "=?utf-8?b?a?= <ann@example.net>",
        "=?martian?q?hello?= <ann@example.net>",
        "=?utf-8?q?=FF=FE?= <ann@example.net>",
        f"{'x' * 321} <ann@example.net>",
        f"{' ' * 2000}<ann@example.net>",
    ],
)
def test_what_is_no_single_address_is_refused(text):
    with pytest.raises(ValidationError):
        parse_address(text)


LINE_BREAKS = ["\r\n", "\n", "\r", "\v", "\f", "\0", "\t", "\x1c", "\x7f", "\x85", "\u2028"]


@pytest.mark.parametrize("char", LINE_BREAKS)
@pytest.mark.parametrize(
    "text",
    [
        "Ann{}Bcc: eve@example.net <ann@example.net>",
        "{}Ann <ann@example.net>",
        "Ann{}<ann@example.net>",
        "Ann <ann@example.net>{}",
        '"Ann{}Smith" <ann@example.net>',
        '"Ann\\{}Smith" <ann@example.net>',
        "ann@example.net{}",
        "{}ann@example.net",
        "ann{}@example.net",
        '"ann{}x"@example.net',
        "ann@example{}.net",
    ],
)
def test_no_control_character_gets_through_an_address(text, char):
    with pytest.raises(ValidationError):
        parse_address(text.format(char))


@pytest.mark.parametrize(
    "word",
    [
        "=?utf-8?q?Ann=0D=0ABcc:_eve@example.net?=",
        "=?utf-8?q?Ann=0A?=",
        "=?us-ascii?b?QW5uDQpCY2M6IGV2ZUBleGFtcGxlLm5ldA==?=",
        "=?utf-7?q?Ann+AAo-Bcc:?=",
        "=?unicode_escape?q?Ann=5Cn?=",
        "=?utf-8?q?Ann?= =?utf-8?q?=0D=0A?=",
        "=?utf-8*en?q?Ann=0A?=",
    ],
)
@pytest.mark.parametrize("form", ["{} <ann@example.net>", '"{}" <ann@example.net>'])
def test_no_line_break_hides_in_an_encoded_word(form, word):
    with pytest.raises(ValidationError):
        parse_address(form.format(word))


@pytest.mark.parametrize("name", ["Ann\r\nBcc: eve@example.net", "=?utf-8?q?Ann=0A?=", "a\u2029b"])
def test_no_line_break_gets_into_the_name_of_an_address_object(shop, name):
    sender = {"email": "ann@example.net", "name": name}
    assert set(shop.faults(sender=sender, to=[sender])) == {"from", "to.0"}


def test_an_address_object_has_a_bare_address_and_a_name_that_may_lack(shop):
    message = shop.message(
        to=[
            {"email": "ann@example.net", "name": "Smith, Ann"},
            {"email": "bob@example.net", "name": None},
            {"email": "cy@example.net"},
        ]
    )
    assert [r["name"] for r in message["recipients"]] == ["Smith, Ann", "", ""]
    assert set(shop.faults(to=[{"email": "Ann <ann@example.net>"}, {}])) == {"to.0", "to.1.email"}


@pytest.mark.parametrize("name", [0, False, [], {}, 17])
def test_the_name_of_an_address_object_is_a_text(shop, name):
    assert set(shop.faults(to={"email": "ann@example.net", "name": name})) == {"to.name"}


def test_a_refusal_says_what_to_do(shop):
    assert "list" in shop.faults(to="Smith, Ann <ann@example.net>")["to"][0]

"""The signed links by which recipients unsubscribe."""

import pytest

from app.core.unsubscribing import UnsubscribeLinks, Unsubscriber

LINKS = UnsubscribeLinks("https://mail.example.com", b"k" * 32)
WHO = Unsubscriber("ann o'neil@bücher.example", "msg_" + "0" * 26)


def test_a_token_says_whom_it_stands_for():
    assert LINKS.read(LINKS.token(WHO)) == WHO


def test_a_token_is_the_same_every_time_and_another_under_another_key():
    assert LINKS.token(WHO) == LINKS.token(WHO)
    other = UnsubscribeLinks("https://mail.example.com", b"j" * 32)
    assert other.read(LINKS.token(WHO)) is None


@pytest.mark.parametrize("token", ["", ".", "a", "a.b", "a.b.c", "é.é", "==.==", "\x00.\x00"])
def test_what_is_no_token_stands_for_nobody(token):
    assert LINKS.read(token) is None


def test_a_token_with_any_character_changed_stands_for_nobody():
    token = LINKS.token(WHO)
    for place, character in enumerate(token):
        changed = token[:place] + ("A" if character != "A" else "B") + token[place + 1 :]
        assert LINKS.read(changed) is None
    assert LINKS.read(token + "=") is None

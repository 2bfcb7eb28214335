"""Reads addresses and headers as a provider or a mail program would."""

import re
from email.header import decode_header, make_header
from email.utils import getaddresses

from providers.types import Address


def decoded(value: str) -> str:
    """A header value without folds and encoded words."""
    return str(make_header(decode_header(re.sub(r"\r?\n(?=[ \t])", "", value))))


def addresses(*values: str) -> tuple[Address, ...]:
    """The mailboxes in header values that hold one or more each, in the form of RFC 5322."""
    unfolded = [re.sub(r"\r?\n(?=[ \t])", "", value) for value in values]
    return tuple(Address(email, decoded(name)) for name, email in getaddresses(unfolded))


def address(value: str) -> Address:
    (found,) = addresses(value)
    return found

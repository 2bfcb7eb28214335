"""Addresses and header values in the forms that providers take."""

import email.charset
import re
from email.header import Header
from email.utils import quote

import idna

from providers.types import Address

_UTF8 = email.charset.Charset("utf-8")
_ENCODED_WORD = re.compile(r"=\?[^?\s]+\?[bq]\?[^?\s]*\?=", re.IGNORECASE)
#: RFC 5322 specials: a name with one of them is a quoted string, or it would be read as syntax.
_SPECIALS = frozenset('()<>[]:;@\\,."')


def ascii_domain(address: Address) -> str:
    """The bare address with its domain in punycode; the local part as it is.

    Raises ValueError where the domain has no such form.
    """
    local, at, domain = address.email.rpartition("@")
    return local + at + (domain if domain.isascii() else idna.encode(domain, uts46=True).decode())


def raw(address: Address) -> str:
    """`Name <address>` with the name in plain UTF-8, quoted where RFC 5322 wants it."""
    if not address.name:
        return ascii_domain(address)
    if _ENCODED_WORD.search(address.name):
        # As it stands, it would be read as something else.
        return encoded(address)
    plain = _SPECIALS.isdisjoint(address.name)
    return f"{address.name if plain else quoted(address.name)} <{ascii_domain(address)}>"


def quoted(name: str) -> str:
    """A name as the quoted string of RFC 5322."""
    return f'"{quote(name)}"'


def encoded(address: Address) -> str:
    """`Name <address>` in ASCII: a name that is not is made of encoded words (RFC 2047)."""
    if is_plain(address.name):
        return raw(address)
    return f"{encoded_text(address.name)} <{ascii_domain(address)}>"


def encoded_text(text: str) -> str:
    """An unstructured header value in ASCII, on one line: encoded words where it must be."""
    if is_plain(text):
        return text
    # Not by email.policy: its folding drops spaces between long encoded words (CPython 3.11).
    return Header(text, _UTF8).encode(linesep="")


def is_plain(text: str) -> bool:
    """Whether text can stand in a header as it is: ASCII that nobody takes for encoded words."""
    return text.isascii() and _ENCODED_WORD.search(text) is None

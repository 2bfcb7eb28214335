"""Reading addresses as people and programs write them, in the form of RFC 5322."""

import re
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email
from marshmallow import ValidationError

from app.api.texts import LONGEST_LINE, OneLine, decoded
from providers.types import Address

_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|([^"<>(),;:@\[\]\\]+)')

address_text = OneLine(LONGEST_LINE)
address_name = OneLine(320)


# Whoever sends does so from few addresses, and says them with every message.
@lru_cache(maxsize=1024)
def parse_address(text: str) -> Address:
    """An address with or without a name: `Ann <ann@example.net>`. Raises ValidationError."""
    # Before anything is cut off or decoded: a line break must not vanish on the way.
    address_text(text)
    text = text.strip(" ")
    if not text.endswith(">") or "<" not in text:
        return make_address(text)
    phrase, _, email = text[:-1].rpartition("<")
    return make_address(email, _name(phrase.strip(" ")))


def make_address(email: str, name: str = "") -> Address:
    """The address with its domain in normal form. Raises ValidationError."""
    address_name(name)
    try:
        return Address(_normalized(email), name.strip())
    except EmailNotValidError as error:
        raise ValidationError(str(error)) from error


# Most mail comes from a few senders.
@lru_cache(maxsize=256)
def _normalized(email: str) -> str:
    # Without the test environment, `.test` would be refused, which is there to try things out.
    valid = validate_email(
        email, check_deliverability=False, allow_quoted_local=True, test_environment=True
    )
    return valid.normalized


def _name(phrase: str) -> str:
    """The name that a phrase stands for: words as they are, encoded, or quoted with escapes."""
    words = list(_WORD.finditer(phrase))
    if "".join(word[0] for word in words) != phrase:
        raise ValidationError(
            'Not an address. A name with commas or the like wants quotes: "Smith, Ann" '
            "<ann@example.net>; several addresses are a list."
        )
    return "".join(
        decoded(plain) if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        for quoted, plain in (word.groups() for word in words)
    )

"""Identifiers: sortable by time, and safe as RQ job ids and in providers' tags."""

import re
import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PREFIX = "msg_"
_TIME_CHARS, _RANDOM_CHARS = 10, 16

MESSAGE_ID = rf"{_PREFIX}[{_ALPHABET}]{{{_TIME_CHARS + _RANDOM_CHARS}}}"
"""The form of message ids, as a pattern."""


def _base32(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def new_message_id(now_ms: int) -> str:
    """A message id: a prefix, 50 bits of time (ms) and 80 random bits, in Crockford's base 32."""
    return _PREFIX + _base32(now_ms, _TIME_CHARS) + _base32(secrets.randbits(80), _RANDOM_CHARS)


def is_message_id(text: str) -> bool:
    """Whether the text has the form of a message id; what has not is never looked up."""
    return re.fullmatch(MESSAGE_ID, text) is not None


def time_bound(at_ms: int) -> str:
    """The least string that every id made at or after the time is greater than or equal to."""
    return _PREFIX + _base32(max(at_ms, 0), _TIME_CHARS)


def attempt_id(message_id: str, number: int) -> str:
    """The id of a message's attempt, counted from 1; it leads back to the message by itself."""
    return f"{message_id}-{number}"


def parse_attempt_id(text: str) -> tuple[str, int] | None:
    """The message and the number of an attempt, if the text has the form of an attempt's id."""
    found = re.fullmatch(rf"({MESSAGE_ID})-([1-9][0-9]{{0,4}})", text)
    return None if found is None else (found[1], int(found[2]))


def new_request_id() -> str:
    """An id for one HTTP request, which its log lines share."""
    return secrets.token_hex(8)

"""What may stand in or near a header, as patterns that the OpenAPI document shows too."""

import re

from marshmallow import ValidationError, validate

from app.core import one_line
from app.core.one_line import LONGEST_LINE

__all__ = ["LONGEST_LINE", "OneLine", "Pattern", "decoded", "header_name"]

_RESERVED_HEADERS = (
    *("From", "To", "Cc", "Bcc", "Subject", "Sender", "Reply-To", "Date", "Message-ID"),
    *("MIME-Version", "Received", "Return-Path", "DKIM-Signature"),
)


class Pattern(validate.Validator):
    """A text that matches as a whole; `^` and `$` are for the readers of the document."""

    def __init__(self, pattern: str, error: str) -> None:
        # The name under which the OpenAPI document looks for a pattern; limits have theirs, too.
        self.regex = re.compile(pattern)
        self.error: str = error

    def __call__(self, value: str) -> str:
        if self.regex.fullmatch(value) is None:
            raise ValidationError(self.error)
        return value


class OneLine(Pattern):
    """A text without control characters, line breaks above all, in encoded words (RFC 2047) too.

    Its length is checked first: what is longer than a line is not worth a closer look.
    """

    def __init__(self, most: int, least: int = 0) -> None:
        super().__init__(
            one_line.ONE_LINE.pattern,
            error="Line breaks and control characters are not allowed here.",
        )
        self.min, self.max, self.equal = least or None, most, None
        self._length = validate.Length(self.min, self.max)

    def __call__(self, value: str) -> str:
        self._length(value)
        super().__call__(value)
        super().__call__(decoded(value))
        return value


def decoded(text: str) -> str:
    """The text with its encoded words read. Raises ValidationError where nobody can read them."""
    try:
        return one_line.decoded(text)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def in_any_case(text: str) -> str:
    """A pattern for the text: those of JSON Schema cannot be told to ignore case."""
    return "".join(f"[{c.upper()}{c.lower()}]" if c.isalpha() else c for c in text)


HEADER_NAME = (
    f"(?!(?:{'|'.join(in_any_case(name) for name in _RESERVED_HEADERS)})$)"
    f"(?!{in_any_case('Content-')})"
    "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,126}"
)
header_name = Pattern(
    f"^{HEADER_NAME}$",
    error="Not a name for a header, or one that the service or the provider writes.",
)

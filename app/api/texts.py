"""What may stand in or near a header, as patterns that the OpenAPI document shows too."""

import re
from email.errors import HeaderParseError
from email.header import decode_header, make_header

from marshmallow import ValidationError, validate

LONGEST_LINE = 998
"""The most characters of a line in a message, by RFC 5322."""

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
            r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$",
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
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, ValueError) as error:
        raise ValidationError("It has an encoded word that cannot be read.") from error


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

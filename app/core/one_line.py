"""What may stand in a header: a text without line breaks, not even in disguise."""

import re
from email.errors import HeaderParseError
from email.header import decode_header, make_header

LONGEST_LINE = 998
"""The most characters of a line in a message, by RFC 5322."""

ONE_LINE = re.compile(r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$")
"""Without control characters, line breaks above all; as the OpenAPI document shows it."""


def decoded(text: str) -> str:
    """The text with its encoded words (RFC 2047) read. Raises ValueError where nobody can."""
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, ValueError) as error:
        raise ValueError("It has an encoded word that cannot be read.") from error


def is_one_line(text: str) -> bool:
    """Whether it is one line, as it stands and as it is read. Raises ValueError as `decoded`."""
    return all(ONE_LINE.fullmatch(each) is not None for each in (text, decoded(text)))

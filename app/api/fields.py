"""Fields that marshmallow does not have: addresses, texts for headers, one or a list."""

import re
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Any

from email_validator import EmailNotValidError, validate_email
from marshmallow import ValidationError, fields

from providers.types import Address

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAMED = re.compile(r"\s*(?P<name>.*?)\s*<(?P<email>[^<>]*)>\s*", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_NOT_IN_A_BARE_NAME = re.compile(r'["<>(),;:@\[\]\\]')
_ENCODED_WORD = re.compile(r"=\?[^?]+\?[bBqQ]\?[^?]*\?=")
_LONGEST_NAME = 320
_MOST_HEADERS = 50
_HEADER_NAME = re.compile(r"[!-9;-~]{1,126}")
_NOT_THE_CALLERS = frozenset(
    {
        "from",
        "to",
        "cc",
        "bcc",
        "subject",
        "sender",
        "reply-to",
        "date",
        "message-id",
        "mime-version",
        "received",
        "return-path",
        "dkim-signature",
    }
)

LONGEST_LINE = 998
"""The most characters of a line in a message, by RFC 5322."""


ADDRESS_FORM = {
    "oneOf": [
        {"type": "string", "examples": ["Ann <ann@example.net>"]},
        {
            "type": "object",
            "properties": {"email": {"type": "string"}, "name": {"type": ["string", "null"]}},
            "required": ["email"],
            "additionalProperties": False,
        },
    ]
}
HEADERS_FORM = {"type": "object", "additionalProperties": {"type": "string"}}


def has_control(text: str) -> bool:
    """Whether a text has a character that must never get near a header, CR and LF above all."""
    return _CONTROL.search(text) is not None


def parse_address(text: str) -> Address:
    """An address in the form of RFC 5322, with or without a name. Raises ValidationError."""
    named = _NAMED.fullmatch(text)
    if named is None:
        return checked_address(text.strip(" "), "")
    name = named["name"]
    quoted = _QUOTED.fullmatch(name)
    if quoted is not None:
        name = re.sub(r"\\(.)", r"\1", quoted[1])
    elif _NOT_IN_A_BARE_NAME.search(name):
        raise ValidationError(
            'Not an address. A name with commas or the like wants quotes: "Smith, Ann" '
            "<a@b.example>; several addresses are a list."
        )
    elif _ENCODED_WORD.search(name):
        try:
            name = str(make_header(decode_header(name)))
        except (HeaderParseError, LookupError, ValueError) as error:
            raise ValidationError("The name is encoded in a way that nobody can read.") from error
    return checked_address(named["email"], name)


def checked_address(email: str, name: str) -> Address:
    """The address with its domain in normal form. Raises ValidationError."""
    if has_control(name):
        raise ValidationError("A name cannot have line breaks or control characters.")
    if len(name) > _LONGEST_NAME:
        raise ValidationError(f"A name can have {_LONGEST_NAME} characters at most.")
    try:
        valid = validate_email(email, check_deliverability=False, allow_quoted_local=True)
    except EmailNotValidError as error:
        raise ValidationError(str(error)) from error
    return Address(valid.normalized, name.strip())


class AddressField(fields.Field[Address]):
    """An address as a string or as an object with `email` and `name`."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Address:
        if isinstance(value, str):
            return parse_address(value)
        if not isinstance(value, Mapping):
            raise ValidationError(
                "Not an address: it is a string or an object with email and name."
            )
        faults = {name: ["Unknown field."] for name in value.keys() - {"email", "name"}}
        if "email" not in value:
            faults["email"] = ["Missing data for required field."]
        email, name = value.get("email", ""), value.get("name") or ""
        if not isinstance(name, str):
            faults["name"] = ["Not a string."]
        if not isinstance(email, str):
            faults["email"] = ["Not a string."]
        if faults:
            raise ValidationError(faults)
        return checked_address(email, name)


class OneOrMany(fields.List[Any]):
    """A list whose only item may stand by itself."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, str | Mapping):
            try:
                return super()._deserialize([value], attr, data, **kwargs)
            except ValidationError as error:
                # There is no index in the request, so there is none in the path.
                messages = error.messages
                raise ValidationError(
                    messages[0] if isinstance(messages, dict) else messages
                ) from error
        return super()._deserialize(value, attr, data, **kwargs)


class HeaderText(fields.String):
    """A text of one line, without control characters."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text is not None and has_control(text):
            raise ValidationError("Line breaks and control characters are not allowed here.")
        return text


class HeadersField(fields.Field[dict[str, str]]):
    """Custom headers: names to values of one line, none of them ours or the provider's."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise ValidationError("Not an object.")
        if len(value) > _MOST_HEADERS:
            raise ValidationError(f"More than {_MOST_HEADERS} headers.")
        seen: set[str] = set()
        faults = {}
        for name, text in value.items():
            fault = self._fault(name, text, name.lower() in seen)
            if fault is not None:
                faults[name] = [fault]
            seen.add(name.lower())
        if faults:
            raise ValidationError(faults)
        return dict(value)

    def _fault(self, name: str, text: Any, repeated: bool) -> str | None:
        if not _HEADER_NAME.fullmatch(name):
            return "Not the name of a header."
        if name.lower() in _NOT_THE_CALLERS or name.lower().startswith("content-"):
            return "This header is written by the service or the provider."
        if repeated:
            return "Given twice."
        if not isinstance(text, str):
            return "Not a string."
        if not 1 <= len(text) <= LONGEST_LINE:
            return f"Must have 1 to {LONGEST_LINE} characters."
        if has_control(text):
            return "Line breaks and control characters are not allowed here."
        return None

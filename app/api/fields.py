"""Fields that marshmallow does not have; `json_schema` is what the OpenAPI document says of one."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, validate

from app.api.addresses import address_name, address_text, make_address, parse_address
from app.api.context import services
from app.core import callback_targets
from app.core.callback_targets import BadTarget
from providers.types import Address

_SCHEMAS = "#/components/schemas/"

COMPONENTS: Mapping[str, Mapping[str, Any]] = {
    "AddressText": {
        "type": "string",
        "format": "email",
        "maxLength": address_text.max,
        "description": "A bare address, or one with a name before it: `Ann <ann@example.net>`.",
        "examples": ["Ann <ann@example.net>"],
    },
    "Address": {
        "anyOf": [
            {"$ref": f"{_SCHEMAS}AddressText"},
            {
                "type": "object",
                "properties": {
                    "email": {"type": "string", "format": "email"},
                    "name": {
                        "type": ["string", "null"],
                        "maxLength": address_name.max,
                        "pattern": address_name.regex.pattern,
                    },
                },
                "required": ["email"],
                "additionalProperties": False,
            },
        ]
    },
}
"""Schemas that the fields refer to."""

_RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:)(\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


class AddressField(fields.Field[Address]):
    """An address as a string or as an object with `email` and `name`."""

    json_schema: ClassVar[Mapping[str, Any]] = {"$ref": f"{_SCHEMAS}Address"}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Address:
        if isinstance(value, str):
            return parse_address(value)
        if not isinstance(value, Mapping):
            raise ValidationError(
                "Not an address: it is a string or an object with email and name."
            )
        email, name = value.get("email"), value.get("name")
        faults = {part: ["Unknown field."] for part in value.keys() - {"email", "name"}}
        if not isinstance(email, str):
            faults["email"] = ["Not a string." if "email" in value else "Missing."]
        if not isinstance(name, str | None):
            faults["name"] = ["Not a string."]
        if faults or not isinstance(email, str):
            raise ValidationError(faults)
        return make_address(email, name or "")


class AddressesField(fields.List[Address]):
    """A list of addresses; one may stand by itself."""

    def __init__(self, most: int, **kwargs: Any) -> None:
        super().__init__(AddressField(), validate=validate.Length(max=most), **kwargs)
        item = AddressField.json_schema
        many = {"type": "array", "items": item, "maxItems": most}
        self.json_schema = {"anyOf": [item, many]}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, str | Mapping):
            return super()._deserialize(value, attr, data, **kwargs)
        # There is no index in the request, so there shall be none in the path of a fault.
        return [self.inner.deserialize(value, **kwargs)]


class MessagePart(fields.Nested):
    """A message that may be in part only: read as it is, and understood by whoever completes it."""

    json_schema: ClassVar[Mapping[str, Any]] = {"$ref": f"{_SCHEMAS}MessagePart"}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(Schema, **kwargs)

    def _deserialize(
        self, value: Any, attr: Any, data: Any, partial: Any = None, **kwargs: Any
    ) -> Any:
        return value


class CallbackUrl(fields.String):
    """A URL to which this service may report, as far as the text says."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.json_schema = {
            "type": ["string", "null"] if self.allow_none else "string",
            "format": "uri",
            "pattern": f"^{callback_targets.URL}$",
            "maxLength": callback_targets.LONGEST_URL,
            "examples": ["https://app.example.com/mail-events"],
        }

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        url = super()._deserialize(value, attr, data, **kwargs)
        try:
            callback_targets.parse(url, services().settings.callback_allow_private)
        except BadTarget as error:
            raise ValidationError(str(error)) from error
        return url


class TextMap(fields.Dict):
    """An object with texts only; what is wrong with an entry is told under its name."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> dict[str, str]:
        try:
            texts: dict[str, str] = super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-untyped-call]
        except ValidationError as error:
            if not isinstance(error.messages, dict):
                raise
            # marshmallow tells apart what is wrong with the `key` and with the `value`.
            raise ValidationError(
                {
                    name: [text for texts in parts.values() for text in texts]
                    for name, parts in error.messages.items()
                }
            ) from error
        return texts


class TextPairs(fields.Dict):
    """Pairs of texts, answered as an object."""

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> dict[str, str]:
        return dict(value)


class ProviderName(fields.String):
    """The name of one of this service's providers."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        name = super()._deserialize(value, attr, data, **kwargs)
        known = services().order
        if name not in known:
            raise ValidationError(f"No such provider here; there are: {', '.join(known)}.")
        return name


class ProvidersField(fields.List[str]):
    """Providers in the order in which they are to be asked, each of them once."""

    json_schema: ClassVar[Mapping[str, Any]] = {
        "type": "array",
        "items": {"$ref": f"{_SCHEMAS}ProviderName"},
        "uniqueItems": True,
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(ProviderName(), load_default=(), **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        names = super()._deserialize(value, attr, data, **kwargs)
        if len(set(names)) < len(names):
            raise ValidationError("A provider is named twice.")
        return names


class WholeNumber(fields.Integer):
    """A whole number as JSON writes it, and not all that Python reads as one."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        if isinstance(value, str) and not re.fullmatch("-?[0-9]{1,15}", value):
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)


class Switch(fields.Boolean):
    """True or false as JSON writes it, and not all that Python reads as one."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Moment(fields.AwareDateTime):
    """A time: read as RFC 3339 has it, written in UTC with milliseconds and a `Z`."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> datetime:
        match = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValidationError("Not a time with its offset, such as 2026-12-01T09:00:00Z.")
        date, minute, second, fraction, offset = match.groups("")
        # A leap second has no number of its own in a datetime.
        second = "59" if second == "60" else second
        try:
            at = datetime.fromisoformat(
                f"{date}T{minute}{second}{fraction[:7]}{offset.upper().replace('Z', '+00:00')}"
            )
        except ValueError as error:
            raise ValidationError("There is no such time.") from error
        try:
            return at.astimezone(UTC)
        except OverflowError:
            # An hour before the year 1 or after 9999, by its offset: as near as can be.
            return _FIRST if at.year == 1 else _LAST

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> str | None:
        if value is None:
            return None
        text: str = value.astimezone(UTC).isoformat(timespec="milliseconds")
        return text.replace("+00:00", "Z")

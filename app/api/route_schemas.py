"""The forms of routes; the OpenAPI document is made from them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from app.api.addresses import make_address
from app.api.context import services
from app.api.fields import WholeNumber
from app.api.texts import OneLine
from app.core.routes import WHOLE, Place, Route

_MOST_ROUTES = 100
_MOST_PATTERNS = 200


class PlaceField(fields.Field[Place]):
    """A provider by its name, or by its name and its share: `ses:10%`."""

    json_schema: ClassVar[Mapping[str, Any]] = {"$ref": "#/components/schemas/ProviderInRoute"}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Place:
        if not isinstance(value, str):
            raise ValidationError("Not a string.")
        known = services().order
        name, _, share = value.partition(":")
        if name not in known:
            raise ValidationError(f"No such provider here; there are: {', '.join(known)}.")
        try:
            return Place.parse(value)
        except ValueError as error:
            raise ValidationError(
                f"Not a share: {share[:20]!r}; it is like 10% or 0.5%, and less than 100%."
            ) from error

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> str:
        return str(value)


class DomainField(fields.String):
    """A domain, or with `*.` before it every domain below it."""

    def __init__(self) -> None:
        super().__init__(validate=validate.Length(1, 255))

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        below, domain = text.startswith("*."), text.removeprefix("*.")
        try:
            # As the addresses that it is compared with are written.
            domain = make_address(f"postmaster@{domain}").domain
        except ValidationError as error:
            raise ValidationError(
                "Not a domain such as example.net, nor all below one: *.example.net."
            ) from error
        return f"*.{domain}" if below else domain


class RouteForm(Schema):
    """An order of providers for some of the mail.

    It is for a message that has one of the tags, and all of whose recipients are in the domains;
    where either is empty, it does not matter. A provider with a share (`ses:10%`) is asked first
    for that share of the messages, and for the others after those without one.
    """

    name = fields.String(required=True, validate=OneLine(64, 1))
    tags = fields.List(
        fields.String(validate=OneLine(128, 1)),
        validate=validate.Length(max=_MOST_PATTERNS),
        load_default=(),
    )
    domains = fields.List(
        DomainField(),
        validate=validate.Length(max=_MOST_PATTERNS),
        load_default=(),
        metadata={"examples": [["gmail.com", "*.example.net"]]},
    )
    providers = fields.List(PlaceField(), required=True, validate=validate.Length(1, 20))

    @validates_schema
    def _adds_up(self, data: Mapping[str, Any], **_: Any) -> None:
        places: Sequence[Place] = data["providers"]
        if len({place.provider for place in places}) < len(places):
            raise ValidationError("A provider is named twice.", "providers")
        shares = [place.share for place in places if place.share is not None]
        if sum(shares) > WHOLE:
            raise ValidationError("The shares come to more than 100%.", "providers")
        if len(shares) == len(places) and sum(shares) < WHOLE:
            raise ValidationError(
                "The shares come to less than 100%; name somebody without one for the rest.",
                "providers",
            )

    @post_load
    def _route(self, data: dict[str, Any], **_: Any) -> Route:
        return Route(
            data["name"],
            tuple(data["providers"]),
            tuple(dict.fromkeys(data["tags"])),
            tuple(dict.fromkeys(data["domains"])),
        )


class RoutesRequest(Schema):
    """The routes, in place of those that there are; the first that is for a message counts."""

    routes = fields.List(
        fields.Nested(RouteForm), required=True, validate=validate.Length(max=_MOST_ROUTES)
    )
    version = WholeNumber(
        load_default=None,
        validate=validate.Range(0, 2**53),
        metadata={
            "description": "The version that was read. Where it is no longer that, nothing is "
            "written (412). If-Match says the same."
        },
    )

    @validates_schema
    def _consistent(self, data: Mapping[str, Any], **_: Any) -> None:
        faults: dict[str, Any] = {}
        names: set[str] = set()
        last: str | None = None
        for place, route in enumerate(data["routes"]):
            if last is not None:
                faults[str(place)] = [f"No mail gets here: the route '{last}' is for all of it."]
            elif route.name in names:
                faults[str(place)] = {"name": ["Another route has this name."]}
            elif route.is_for_all:
                last = route.name
            names.add(route.name)
        if faults:
            raise ValidationError({"routes": faults})


class RoutesAnswer(Schema):
    """The routes, and how many times they were changed. The first that is for a message counts."""

    routes = fields.List(fields.Nested(RouteForm), required=True)
    version = fields.Integer(required=True)

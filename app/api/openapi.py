"""The OpenAPI document: made from the routes and schemas that answer the requests."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar, cast

import orjson
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Flask, current_app
from flask_smorest import Api, Blueprint
from flask_smorest.utils import prepare_response
from marshmallow import Schema, fields
from werkzeug.routing import BaseConverter

from app.api import attachments, errors
from app.api.answers import ProblemAnswer
from app.api.arguments import RequestParser
from app.api.fields import COMPONENTS
from app.api.forms import add_forms
from app.api.schemas import IdempotencyHeader
from app.core import ids
from app.core.routes import SHARE
from app.version import VERSION

_View = TypeVar("_View", bound=Callable[..., Any])

_EXTENSION = "steadpost-openapi"
_DESCRIPTION = (
    "Hand over mail with POST /messages and ask what became of it with GET /status/{message_id}. "
    "A mail that was accepted is never lost, never sent twice without saying so, and its fate is "
    "known. Every error is a problem (RFC 9457), on every route."
)
_PROBLEMS: Mapping[int, Mapping[str, Any]] = {
    400: {"description": "The request cannot be read"},
    401: {
        "description": "No API key, or one that is not known",
        "headers": {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}},
    },
    403: {"description": "It is not allowed, or nothing shows that it is"},
    404: {"description": "There is no such thing, or no longer"},
    409: {"description": "Things are not in a state in which this can be done"},
    412: {"description": "It was changed since it was read"},
    413: {"description": "The request is too large"},
    415: {"description": "Neither JSON nor form fields"},
    422: {"description": "The request has faults, all of which are named"},
    503: {
        "description": "The store does not answer; try again later",
        "headers": {"Retry-After": {"schema": {"type": "integer"}, "required": True}},
    },
}


class _MessageId(BaseConverter):
    """A message id in a path; what has not its form is another path."""

    regex = ids.MESSAGE_ID


class ApiBlueprint(Blueprint):  # type: ignore[misc]
    """A blueprint whose arguments are read by our parser."""

    ARGUMENTS_PARSER = RequestParser()

    def undocumented_arguments(self, schema: Schema, location: str) -> Callable[[_View], _View]:
        """Hands a view arguments that its operation in the document does not list."""
        return cast(
            "Callable[[_View], _View]", self.ARGUMENTS_PARSER.use_args(schema, location=location)
        )

    def problems(self, *statuses: int) -> Callable[[_View], _View]:
        """Documents the errors of a view."""

        def decorate(view: _View) -> _View:
            for status in statuses:
                view = self.alt_response(status, HTTPStatus(status).name)(view)
            return view

        return decorate


class _Converter(OpenAPIConverter):
    """apispec's converter; `json_schema` is what a field or a schema says of itself."""

    def schema2jsonschema(self, schema: Schema) -> dict[str, Any]:
        about = {"description": inspect.getdoc(type(schema))}
        form = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        return {**about, **form, **getattr(schema, "json_schema", {})}

    def field2property(self, field: fields.Field[Any]) -> dict[str, Any]:
        own = getattr(field, "json_schema", None)
        if own is None:
            return cast("dict[str, Any]", super().field2property(field))
        return {**own, **self.field2default(field), **self.metadata2properties(field)}

    def field2default(self, field: fields.Field[Any], **kwargs: Any) -> dict[str, Any]:
        # None stands for what was not given.
        if field.load_default is None:
            return {}
        return cast("dict[str, Any]", super().field2default(field, **kwargs))

    def field2length(self, field: fields.Field[Any], **kwargs: Any) -> dict[str, Any]:
        limits = super().field2length(field, **kwargs)
        if not isinstance(field, fields.Dict):
            return cast("dict[str, Any]", limits)
        return {name.replace("Length", "Properties"): limit for name, limit in limits.items()}

    def dict2properties(self, field: fields.Field[Any], **kwargs: Any) -> dict[str, Any]:
        properties = super().dict2properties(field, **kwargs)
        if isinstance(field, fields.Dict) and field.key_field is not None:
            properties["propertyNames"] = self.field2property(field.key_field)
        return cast("dict[str, Any]", properties)


class _Plugin(MarshmallowPlugin):
    Converter = _Converter


class _ProblemApi(Api):  # type: ignore[misc]
    """flask-smorest's API with problems as its errors, in the document and in the answers."""

    DEFAULT_ERROR_RESPONSE_NAME = None

    def _register_responses(self) -> None:
        for status, about in _PROBLEMS.items():
            response = {**about, "schema": ProblemAnswer}
            prepare_response(response, self.spec, errors.CONTENT_TYPE)
            self.spec.components.response(HTTPStatus(status).name, response)

    def _register_etag_headers(self) -> None:
        """Nothing of ours refers to them."""

    def _register_pagination_header(self) -> None:
        """Nothing of ours refers to it."""

    def _register_error_handlers(self) -> None:
        errors.register(self._app)


def register(app: Flask, providers: Sequence[str], blueprints: Iterable[ApiBlueprint]) -> None:
    """Adds the routes to the application, and makes the document of them."""
    app.config.update(API_TITLE="Steadpost", API_VERSION=VERSION, OPENAPI_VERSION="3.1.0")
    api = _ProblemApi(
        app,
        spec_kwargs={
            "marshmallow_plugin": _Plugin(),
            "info": {"description": _DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}},
            "security": [{"bearer": []}, {"basic": []}],
        },
    )
    app.url_map.converters["message_id"] = _MessageId
    api.register_converter(_MessageId, lambda c: {"type": "string", "pattern": f"^{c.regex}$"})
    components = api.spec.components
    for name, schema in {**COMPONENTS, **attachments.COMPONENTS}.items():
        components.schema(name, dict(schema))
    components.schema("ProviderName", {"type": "string", "enum": list(providers)})
    names = "|".join(map(re.escape, providers))
    components.schema(
        "ProviderInRoute",
        {
            "type": "string",
            "pattern": f"^({names})(:{SHARE})?$",
            "description": "A provider, or one with a share of the route's messages.",
            "examples": ["ses:10%"],
        },
    )
    components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    components.security_scheme(
        "basic",
        {"type": "http", "scheme": "basic", "description": "User `api`, the key as password."},
    )
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    whole = api.spec.to_dict()
    _add_message_part(whole["components"]["schemas"])
    add_forms(whole)
    # Not among the operation's parameters: whoever draws requests from the document would soon draw
    # a key that was used before, with another request, and find that valid data is refused.
    (key,) = api.ma_plugin.converter.schema2parameters(IdempotencyHeader(), location="headers")
    whole["components"]["parameters"] = {"IdempotencyKey": key}
    app.extensions[_EXTENSION] = orjson.dumps(whole)


def _add_message_part(schemas: dict[str, Any]) -> None:
    """Adds a message of a batch: any field may be missing, as defaults may have it."""
    whole = schemas["MessageRequest"]
    part = {name: about for name, about in whole.items() if name not in ("required", "allOf")}
    schemas["MessagePart"] = {**part, "description": "A message, or a part of one."}


def document() -> bytes:
    """The document of the application that answers the current request, as JSON."""
    return cast("bytes", current_app.extensions[_EXTENSION])

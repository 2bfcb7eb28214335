"""The OpenAPI document: made from the routes and schemas that answer the requests."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from flask import Flask, Response
from flask_smorest import Api, Blueprint
from flask_smorest.utils import prepare_response
from marshmallow.fields import Field

from app.api import errors
from app.api.auth import open_route
from app.api.fields import ADDRESS_FORM, HEADERS_FORM, AddressField, HeadersField
from app.api.parsing import BodyParser
from app.api.schemas import ProblemAnswer
from app.version import VERSION

_View = TypeVar("_View", bound=Callable[..., Any])

_DESCRIPTION = (
    "Hand over mail with POST /messages and ask what became of it with GET /status/{id}. A mail "
    "that was accepted is never lost, never sent twice without saying so, and its fate is known."
)
_PROBLEMS = {
    400: "The request cannot be read",
    401: "No API key, or one that is not known",
    404: "There is no such thing, or no longer",
    413: "The request is too large",
    415: "Neither JSON nor form fields",
    422: "The request has faults, all of which are named",
    503: "The store does not answer; try again later",
}


class ApiBlueprint(Blueprint):  # type: ignore[misc]
    """A blueprint whose arguments are read by our parser."""

    ARGUMENTS_PARSER = BodyParser()

    def problems(self, *statuses: int) -> Callable[[_View], _View]:
        """Documents the errors of a view."""

        def decorate(view: _View) -> _View:
            for status in statuses:
                view = self.alt_response(status, HTTPStatus(status).name)(view)
            return view

        return decorate


class ProblemApi(Api):  # type: ignore[misc]
    """flask-smorest's API with problems as its errors, in the document and in the answers."""

    DEFAULT_ERROR_RESPONSE_NAME = None
    ERROR_SCHEMA = ProblemAnswer

    def _register_responses(self) -> None:
        for status, text in _PROBLEMS.items():
            response: dict[str, Any] = {"description": text, "schema": self.ERROR_SCHEMA}
            prepare_response(response, self.spec, errors.CONTENT_TYPE)
            self.spec.components.response(HTTPStatus(status).name, response)

    def _register_error_handlers(self) -> None:
        errors.register(self._app)

    @open_route
    def _openapi_json(self) -> Response:
        return Response(orjson.dumps(self.spec.to_dict()), content_type="application/json")


def make_api(app: Flask) -> ProblemApi:
    """The API of an application, to which blueprints can be added."""
    app.config.update(
        API_TITLE="Steadpost",
        API_VERSION=VERSION,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
    )
    api = ProblemApi(
        app,
        spec_kwargs={
            "info": {"description": _DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}},
            "security": [{"bearer": []}, {"basic": []}],
        },
    )
    for kind, form in ((AddressField, ADDRESS_FORM), (HeadersField, HEADERS_FORM)):
        _describe(api, kind, form)
    schemes = api.spec.components
    schemes.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    schemes.security_scheme(
        "basic",
        {"type": "http", "scheme": "basic", "description": "User `api`, the key as password."},
    )
    return api


def _describe(api: ProblemApi, kind: type[Field[Any]], form: Mapping[str, Any]) -> None:
    def attributes(_converter: object, field: object, **_: object) -> Mapping[str, Any]:
        return form if isinstance(field, kind) else {}

    api.ma_plugin.converter.add_attribute_function(attributes)

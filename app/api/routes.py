"""Routes that say which providers are asked for which mail."""

from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify, request

from app.api.context import services
from app.api.errors import Problem
from app.api.openapi import ApiBlueprint
from app.api.route_schemas import RoutesAnswer, RoutesRequest
from app.core.routes import RouteTable

blueprint = ApiBlueprint("routes", __name__, description="Which providers are asked, in what order")

_ANSWER = RoutesAnswer()
_ETAG = {"ETag": {"schema": {"type": "string"}, "required": True}}


def _header(name: str, description: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {"in": "header", "name": name, "description": description, "schema": schema}


_IF_NONE_MATCH = _header("If-None-Match", "The ETag of the answer that is known already.")
_IF_MATCH = _header("If-Match", "The ETag of the routes that are to be changed.")


@blueprint.route("/routes", methods=["GET"], parameters=[_IF_NONE_MATCH])
@blueprint.doc(operationId="getRoutes")
@blueprint.response(200, RoutesAnswer, headers=_ETAG)
@blueprint.alt_response(304, description="It is as If-None-Match says", headers=_ETAG)
@blueprint.problems(401, 503)
def get_routes() -> Response:
    """The routes, and their version"""
    table = services().routes.current()
    response = _answer(table)
    # Not by `make_conditional`, which looks at If-Match, too, and answers in a form of its own.
    if request.if_none_match.contains_weak(str(table.version)):
        response.status_code = 304
        response.set_data(b"")
    return response


@blueprint.route("/routes", methods=["PUT"], parameters=[_IF_MATCH])
@blueprint.doc(operationId="putRoutes")
@blueprint.arguments(RoutesRequest())
@blueprint.response(200, RoutesAnswer, headers=_ETAG)
@blueprint.problems(400, 401, 412, 413, 415, 422, 503)
def put_routes(wanted: Mapping[str, Any]) -> Response:
    """Replace the routes

    Workers go by the new ones within a second.
    """
    seen = wanted["version"]
    if request.if_match:
        now = services().routes.current()
        if not request.if_match.contains_weak(str(now.version)) or seen not in (None, now.version):
            raise _changed()
        seen = now.version
    table = services().routes.replace(wanted["routes"], seen)
    if table is None:
        raise _changed()
    return _answer(table)


def _changed() -> Problem:
    return Problem(
        412, "The routes have been changed since. Read them again, and then change them."
    )


def _answer(table: RouteTable) -> Response:
    response: Response = jsonify(_ANSWER.dump(table))
    response.headers["Cache-Control"] = "private, no-cache"
    response.set_etag(str(table.version))
    return response

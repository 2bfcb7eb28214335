"""Routes for those who run the service: its providers, its health and its version."""

from typing import Any

from app.api.auth import open_route
from app.api.context import services
from app.api.openapi import ApiBlueprint
from app.api.schemas import HealthAnswer, ProvidersAnswer, VersionAnswer
from app.version import VERSION

blueprint = ApiBlueprint("operation", __name__, description="How the service is")


@blueprint.route("/providers", methods=["GET"])
@blueprint.response(200, ProvidersAnswer)
@blueprint.problems(401)
def list_providers() -> dict[str, Any]:
    """The providers, in the order in which they are asked"""
    names = enumerate(services().order, 1)
    return {"providers": [{"name": name, "place": place} for place, name in names]}


@blueprint.route("/livez", methods=["GET"])
@open_route
@blueprint.doc(security=[])
@blueprint.response(200, HealthAnswer)
def live() -> dict[str, str]:
    """Whether the process answers"""
    return {}


@blueprint.route("/readyz", methods=["GET"])
@open_route
@blueprint.doc(security=[])
@blueprint.response(200, HealthAnswer)
@blueprint.problems(503)
def ready() -> dict[str, str]:
    """Whether the service can take mail: its store answers"""
    services().store.ping()
    return {}


@blueprint.route("/version", methods=["GET"])
@open_route
@blueprint.doc(security=[])
@blueprint.response(200, VersionAnswer)
def version() -> dict[str, str]:
    """Which program answers, and which version of it"""
    return {"name": "steadpost", "version": VERSION}

"""Routes for those who run the service: its providers, its health and its version."""

from collections.abc import Mapping
from typing import Any

from flask import Response

from app.api.answers import HealthAnswer, ProviderAnswer, ProvidersAnswer, VersionAnswer
from app.api.auth import open_route
from app.api.context import services
from app.api.errors import Problem
from app.api.openapi import ApiBlueprint, document
from app.core.breaker import Fitness
from app.core.event_inbox import Heard
from app.core.track_record import TrackRecord
from app.version import VERSION

blueprint = ApiBlueprint("operation", __name__, description="How the service is")

_NAME = {"in": "path", "name": "name", "schema": {"$ref": "#/components/schemas/ProviderName"}}


@blueprint.route("/providers", methods=["GET"])
@blueprint.doc(operationId="listProviders")
@blueprint.response(200, ProvidersAnswer)
@blueprint.problems(401, 503)
def list_providers() -> dict[str, Any]:
    """The providers, in the order in which they are asked, and whether they are fit"""
    known = services().breakers.all()
    return {"providers": _answers({n: known.get(n, Fitness()) for n in services().order})}


@blueprint.route("/providers/<string:name>/pause", methods=["POST"], parameters=[_NAME])
@blueprint.doc(operationId="pauseProvider")
@blueprint.response(200, ProviderAnswer)
@blueprint.problems(401, 404, 503)
def pause(name: str) -> dict[str, Any]:
    """Keep a provider from being asked, until it is resumed"""
    return _answers({name: services().breakers.pause(_own(name))})[0]


@blueprint.route("/providers/<string:name>/resume", methods=["POST"], parameters=[_NAME])
@blueprint.doc(operationId="resumeProvider")
@blueprint.response(200, ProviderAnswer)
@blueprint.problems(401, 404, 503)
def resume(name: str) -> dict[str, Any]:
    """Let a provider be asked again, with a closed breaker and without a rest"""
    return _answers({name: services().breakers.resume(_own(name))})[0]


def _own(name: str) -> str:
    if name not in services().order:
        raise Problem(404, f"There is no such provider. There are: {', '.join(services().order)}.")
    return name


def _answers(found: Mapping[str, Fitness]) -> list[dict[str, Any]]:
    used, records = services().quotas.used(), services().track_records.all()
    heard = services().event_inbox.heard()
    return [
        _answer(name, fitness, used.get(name, ()), records[name], heard.get(name, Heard()))
        for name, fitness in found.items()
    ]


def _answer(
    name: str, fitness: Fitness, used: tuple[int, ...], record: TrackRecord, heard: Heard
) -> dict[str, Any]:
    now = services().clock()
    fit_from = fitness.fit_from(now)
    return {
        "name": name,
        "place": services().order.index(name) + 1,
        "fit": fit_from is not None and fit_from <= now,
        "breaker": fitness.breaker,
        "failures": fitness.failures,
        "reason": fitness.reason,
        "changed_at": fitness.changed_at,
        "until": fitness.until,
        "rest_until": fitness.rest_until,
        "paused": fitness.paused,
        "quotas": [
            {"per": window.name, "limit": window.limit, "counts": window.unit, "used": count}
            for window, count in zip(services().quotas.of(name), used, strict=True)
        ],
        "track_record": record,
        "moved_back": record.reason is not None
        and services().settings.delivery_evidence == "demote",
        "webhooks": heard,
    }


@blueprint.route("/livez", methods=["GET"])
@open_route
@blueprint.doc(operationId="live", security=[])
@blueprint.response(200, HealthAnswer)
def live() -> dict[str, str]:
    """Whether the process answers"""
    return {}


@blueprint.route("/readyz", methods=["GET"])
@open_route
@blueprint.doc(operationId="ready", security=[])
@blueprint.response(200, HealthAnswer)
@blueprint.problems(503)
def ready() -> dict[str, str]:
    """Whether the service can take mail: its store takes writes"""
    services().store.check_ready()
    return {}


@blueprint.route("/version", methods=["GET"])
@open_route
@blueprint.doc(operationId="version", security=[])
@blueprint.response(200, VersionAnswer)
def version() -> dict[str, str]:
    """Which program answers, and which version of it"""
    return {"name": "steadpost", "version": VERSION}


@blueprint.route("/openapi.json", methods=["GET"])
@open_route
@blueprint.doc(operationId="openapi", security=[])
@blueprint.response(200, {"type": "object", "required": ["openapi", "info", "paths"]})
def openapi() -> Response:
    """This document"""
    return Response(document(), content_type="application/json")

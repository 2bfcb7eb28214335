"""Makes the Flask application out of its services."""

import time
from collections.abc import Callable
from typing import Any

import structlog
from flask import Flask, Response, g, request
from werkzeug.middleware.proxy_fix import ProxyFix

from app import web
from app.api import (
    auth,
    batch,
    callbacks,
    context,
    dead_letters,
    messages,
    openapi,
    ops,
    routes,
    stats,
    status,
    suppressions,
    templates,
    waiting,
    webhooks,
)
from app.core import ids
from app.services import Services

log = structlog.get_logger(__name__)


class _Application(Flask):
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself: none is a coroutine, which takes time to find out for each call."""
        return func


def create_app(services: Services) -> Flask:
    """The application: the JSON API and the pages."""
    settings = services.settings
    app = _Application(__name__, static_folder=None, template_folder=None)
    app.config.update(
        PUBLIC_URL=settings.public_url,
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        MAX_FORM_MEMORY_SIZE=settings.max_body_bytes,
    )
    # No redirects: a path is known or it is not.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    context.register(app, services)
    _log_requests(app)
    auth.register(app, services.api_keys)
    blueprints = (
        messages.blueprint,
        batch.blueprint,
        waiting.blueprint,
        status.blueprint,
        dead_letters.blueprint,
        routes.blueprint,
        templates.blueprint,
        suppressions.blueprint,
        callbacks.blueprint,
        stats.blueprint,
        webhooks.blueprint,
        ops.blueprint,
    )
    openapi.register(app, services.order, blueprints)
    web.register(app, services)
    return app


def _log_requests(app: Flask) -> None:
    """One line a request, with ids and without bodies."""

    def begin() -> None:
        g.started = time.perf_counter()
        g.request_id = ids.new_request_id()

    def end(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        # The route and not the path: a login link's path is a secret.
        route = request.url_rule.rule if request.url_rule is not None else None
        asked_for = (request.view_args or {}).get("message_id", "")
        log.info(
            "request",
            request=g.request_id,
            method=request.method,
            route=route,
            status=response.status_code,
            duration_ms=round((time.perf_counter() - g.started) * 1000, 1),
            key=g.get("api_key"),
            message=g.get("message_id") or (asked_for if ids.is_message_id(asked_for) else None),
        )
        return response

    app.before_request(begin)
    app.after_request(end)

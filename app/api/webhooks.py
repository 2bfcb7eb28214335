"""The route that providers report to: verified on the raw bytes, kept; a job applies it later."""

import structlog
from flask import request

from app.api.answers import HealthAnswer
from app.api.auth import open_route
from app.api.context import services
from app.api.errors import Problem
from app.api.openapi import ApiBlueprint
from providers.webhooks import (
    NotAuthentic,
    NotReadable,
    VerifierUnavailable,
    WebhookContent,
    WebhookFault,
    WebhookRequest,
    WebhooksNotSetUp,
)

log = structlog.get_logger(__name__)

blueprint = ApiBlueprint("webhooks", __name__, description="What providers report to")

MOST_BYTES = 4 * 1024 * 1024
"""The largest batch that any provider sends has less than 1 MB."""

_STATUSES: dict[type[WebhookFault], tuple[int, str]] = {
    WebhooksNotSetUp: (403, "webhooks_not_set_up"),
    NotAuthentic: (403, "not_authentic"),
    NotReadable: (400, "not_readable"),
    VerifierUnavailable: (503, "verifier_unavailable"),
}
_PROVIDER = {"in": "path", "name": "provider", "schema": {"type": "string"}}


@blueprint.route("/webhooks/<string:provider>", methods=["POST"], parameters=[_PROVIDER])
@open_route
@blueprint.doc(
    operationId="receiveWebhook",
    security=[],
    requestBody={"content": {"*/*": {"schema": {}}}, "description": "As the provider writes it"},
)
@blueprint.response(200, HealthAnswer)
@blueprint.problems(400, 403, 404, 413, 503)
def receive(provider: str) -> dict[str, str]:
    """Take in what a provider reports

    Not for applications: it is signed by the provider. Where to find what it is verified with is
    said in the README.
    """
    known = services().webhook_providers.get(provider)
    if known is None:
        raise Problem(404, "There is no such provider here.")
    request.max_content_length = MOST_BYTES
    try:
        content = known.read_webhook(
            WebhookRequest(
                url=f"{services().settings.public_url}{request.full_path.rstrip('?')}",
                headers={name.lower(): value for name, value in request.headers},
                body=request.get_data(cache=False),
                received_at=services().clock(),
                fetch=services().fetch,
            )
        )
    except WebhookFault as fault:
        raise _problem(provider, fault) from fault
    return _kept(provider, content)


@blueprint.route("/webhooks/<string:provider>", methods=["GET"], parameters=[_PROVIDER])
@open_route
@blueprint.doc(operationId="probeWebhook", security=[])
@blueprint.response(200, HealthAnswer)
@blueprint.problems(404)
def probe(provider: str) -> dict[str, str]:
    """Whether webhooks of a provider are taken in here: some look before they send any"""
    if provider not in services().webhook_providers:
        raise Problem(404, "There is no such provider here.")
    return {}


def _kept(provider: str, content: WebhookContent) -> dict[str, str]:
    if content == WebhookContent():
        # A provider may try the address before it can sign: that is nobody's news.
        return {}
    kept = services().event_inbox.receive(provider, content, services().clock())
    log.info(
        "webhook",
        provider=provider,
        events=len(content.events),
        ignored=len(content.ignored),
        repeated=not kept,
    )
    # Not 204: Mailgun takes nothing but 200 for an answer.
    return {}


def _problem(provider: str, fault: WebhookFault) -> Problem:
    status, code = next(row for kind, row in _STATUSES.items() if isinstance(fault, kind))
    log.warning("webhook refused", provider=provider, code=code, reason=str(fault))
    headers = {"Retry-After": "30"} if status == 503 else {}
    return Problem(status, str(fault), code=code, headers=headers)

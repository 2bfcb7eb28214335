"""What recipients open and click: a picture of one pixel, and links that lead on.

Both answer whatever state the service is in: nobody's click waits for our bookkeeping, and what
cannot be written down is lost. Whoever has a link may use it, from anywhere and as often as wanted.
"""

import secrets
from base64 import b64decode

from flask import Blueprint, Response, request

from app.api.auth import open_route
from app.api.context import services
from app.api.errors import Problem
from app.core.machines import is_machine
from providers.types import DeliveryEvent, EventType

blueprint = Blueprint("tracking", __name__)

_PIXEL = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_HEADERS = {
    "Cache-Control": "no-store, private",
    # The link is the recipient's: where it leads, nobody learns of it.
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
}


@blueprint.get("/o/<string:token>.gif")
@open_route
def pixel(token: str) -> Response:
    """One transparent pixel, which is fetched when the mail is opened."""
    attempt_id = services().tracking.opened(token)
    if attempt_id is None:
        raise _no_such_link()
    _note(EventType.OPENED, attempt_id)
    # A picture that others show.
    headers = {**_HEADERS, "Cross-Origin-Resource-Policy": "cross-origin"}
    return Response(_PIXEL, mimetype="image/gif", headers=headers)


@blueprint.get("/c/<string:token>")
@open_route
def follow(token: str) -> Response:
    """Leads to where the link in the mail has led."""
    click = services().tracking.clicked(token)
    if click is None:
        raise _no_such_link()
    _note(EventType.CLICKED, click.attempt_id, click.url)
    return Response(status=302, mimetype="text/plain", headers={**_HEADERS, "Location": click.url})


def _note(kind: EventType, attempt_id: str, url: str | None = None) -> None:
    """Writes down what has happened, if it can be; who only asks for the headers does not look."""
    if request.method == "HEAD":
        return
    headers = {name.lower(): value for name, value in request.headers}
    services().event_inbox.note(
        DeliveryEvent(
            id=secrets.token_urlsafe(12),
            type=kind,
            occurred_at=services().clock(),
            attempt_id=attempt_id,
            url=url,
            automatic=is_machine(kind, headers),
        )
    )


def _no_such_link() -> Problem:
    return Problem(404, "This link is not complete. Please use it as it stands in the mail.")

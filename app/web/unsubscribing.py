"""The page behind the link by which a recipient unsubscribes, and what mailbox providers post to.

Whoever holds the link may use it: there is no key, no session and no form token, and it may be sent
from any site. A GET changes nothing, as programs that check links make them, too.
"""

import structlog
from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from app.api.auth import open_route
from app.api.context import services
from app.api.errors import Problem
from app.core import ids
from app.core.suppression import Suppression, SuppressionReason, normal
from app.core.unsubscribing import Unsubscriber
from app.web.session import from_any_site
from providers.types import DeliveryEvent, EventType

log = structlog.get_logger(__name__)


blueprint = Blueprint("unsubscribing", __name__)


@blueprint.get("/u/<string:token>")
@open_route
def offer(token: str) -> ResponseReturnValue:
    """A page with a button."""
    return render_template("web/unsubscribe.html", email=_who(token).email, done=False)


@blueprint.post("/u/<string:token>")
@open_route
@from_any_site
def act(token: str) -> ResponseReturnValue:
    """Takes the recipient off; as often as it is asked."""
    who = _who(token)
    listed = services().suppressions.of(who.email)
    if not any(entry.reason is SuppressionReason.UNSUBSCRIBED for entry in listed):
        entry = Suppression(
            normal(who.email),
            SuppressionReason.UNSUBSCRIBED,
            "link",
            services().clock(),
            message_id=who.message_id,
        )
        services().suppressions.add([entry])
        log.info("unsubscribed", message=who.message_id)
    _tell(who)
    return render_template("web/unsubscribe.html", email=who.email, done=True)


def _tell(who: Unsubscriber) -> None:
    """Adds it to what is known of the message, once however often it is asked."""
    if who.attempt is None:
        return
    attempt_id = ids.attempt_id(who.message_id, who.attempt)
    services().event_inbox.note(
        DeliveryEvent(
            id=f"unsubscribed {attempt_id}",
            type=EventType.UNSUBSCRIBED,
            occurred_at=services().clock(),
            recipient=who.email,
            attempt_id=attempt_id,
        )
    )


def _who(token: str) -> Unsubscriber:
    who = services().unsubscribe_links.read(token)
    if who is None:
        raise Problem(404, "This link is not complete. Please use it as it stands in the mail.")
    return who

"""What was sent: the latest messages, each one's fate, and a form that asks for it."""

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.api.auth import caller, open_route
from app.api.context import services
from app.api.errors import Problem
from app.api.messages import own_message
from app.api.status import narrowed
from app.core import ids
from app.core.dead_letters import NotPossible
from app.core.models import Happening, Message, MessageState
from app.web.session import current_key, require_form_token, signed_in

blueprint = Blueprint("outbox", __name__)

_PAGE_LENGTH = 20


@blueprint.get("/outbox")
@signed_in
def latest() -> ResponseReturnValue:
    """The newest messages of the key, a page at a time."""
    state, after = request.args.get("status") or None, request.args.get("after") or None
    if state not in (None, *MessageState) or (after and not ids.is_message_id(after)):
        raise Problem(400, "There is no such part of the outbox.")
    store = services().store
    found = store.page(caller(), state, after, None, _PAGE_LENGTH + 1)
    shown = found[:_PAGE_LENGTH]
    return render_template(
        "web/outbox.html",
        messages=[message for message in store.get_many(shown) if message is not None],
        state=state,
        states=list(MessageState),
        is_first=after is None,
        older=shown[-1] if len(found) > len(shown) else None,
    )


@blueprint.get("/outbox/<string:message_id>")
@signed_in
def message(message_id: str) -> ResponseReturnValue:
    """One message; a script keeps its fate up to date."""
    found = own_message(services(), caller(), message_id)
    events = services().store.timeline(message_id)
    return render_template("web/message.html", message=found, events=events)


@blueprint.get("/outbox/<string:message_id>/fate")
@signed_in
def fate(message_id: str) -> ResponseReturnValue:
    """The part of a message's page that changes."""
    found = own_message(services(), caller(), message_id)
    events = services().store.timeline(message_id)
    response = make_response(render_template("web/fate.html", message=found, events=events))
    response.set_etag(f"{found.version}.{found.evidence}", weak=True)
    return response.make_conditional(request)


@blueprint.post("/outbox/<string:message_id>/cancel")
@open_route
def cancel(message_id: str) -> ResponseReturnValue:
    """Calls a message back, and shows what became of it."""
    page = url_for("web.outbox.message", message_id=message_id)
    if current_key() is None:
        return redirect(url_for("web.login.ask", next=page), 303)
    require_form_token()
    try:
        services().waiting.cancel(own_message(services(), caller(), message_id))
    except NotPossible as error:
        flash(f"It was not cancelled. {error}")
    return redirect(page, 303)


@blueprint.get("/check")
@signed_in
def check() -> ResponseReturnValue:
    """A form that asks for an id and perhaps a recipient, and the answer."""
    asked_id, email = request.args.get("id", "").strip(), request.args.get("email", "").strip()
    faults: dict[str, str] = {}
    found: Message | None = None
    events: tuple[Happening, ...] = ()
    if "id" in request.args:
        # Whoever pastes the address of a status or of a page means the id at its end.
        message_id = asked_id.rstrip("/").rpartition("/")[2].lower()
        try:
            found = own_message(services(), caller(), message_id)
            found = narrowed(found, email) if email else found
            events = services().store.timeline(found.id)
        except Problem as problem:
            found = None
            if problem.code == "recipient_not_found":
                faults["email"] = "This message did not go to this address."
            else:
                faults["id"] = _no_message(message_id)
    shown = {recipient.email for recipient in found.recipients} if found is not None else set()
    page = render_template(
        "web/check.html",
        asked_id=asked_id,
        email=email,
        message=found,
        events=[event for event in events if event.recipient in shown | {""}],
        faults=faults,
    )
    return make_response(page, 404 if faults else 200)


def _no_message(message_id: str) -> str:
    if not message_id:
        return "Please fill this in."
    if not ids.is_message_id(message_id):
        return "This is not the id of a message: those begin with msg_ and have 30 characters."
    return "There is no message with this id, or no longer."

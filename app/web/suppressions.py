"""The addresses that are no longer mailed: the list, a form to look for one, and to add one."""

import structlog
from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError

from app.api.addresses import parse_address
from app.api.auth import caller, open_route
from app.api.context import services
from app.core.suppression import Suppression, SuppressionReason, normal
from app.web.session import current_key, require_form_token, signed_in

blueprint = Blueprint("suppressions", __name__)

log = structlog.get_logger(__name__)

_PAGE_LENGTH = 50
_LONGEST_NOTE = 500


@blueprint.get("/suppressed")
@signed_in
def show() -> ResponseReturnValue:
    """A page of the list, or what stands against one address."""
    email, after = request.args.get("email", "").strip(), request.args.get("after") or None
    found, following = services().suppressions.page(after, _PAGE_LENGTH)
    if email:
        found, following = services().suppressions.of(email), None
    return render_template(
        "web/suppressions.html",
        entries=found,
        email=email,
        is_first=after is None,
        following=following,
    )


@blueprint.post("/suppressed")
@open_route
def add() -> ResponseReturnValue:
    """Puts an address on the list by hand."""
    if current_key() is None:
        return redirect(url_for("web.login.ask", next=url_for(".show")), 303)
    require_form_token()
    try:
        address = parse_address(request.form.get("email", ""))
    except ValidationError:
        flash("That is no address. Nothing was added.")
        return redirect(url_for(".show"), 303)
    entry = Suppression(
        normal(address.email),
        SuppressionReason.MANUAL,
        f"page:{caller()}",
        services().clock(),
        note=" ".join(request.form.get("note", "").split())[:_LONGEST_NOTE],
    )
    services().suppressions.add([entry])
    log.info("suppressions added", key=caller(), count=1)
    flash(f"{entry.email} gets no more mail.")
    return redirect(url_for(".show", email=entry.email), 303)


@blueprint.post("/suppressed/remove")
@open_route
def remove() -> ResponseReturnValue:
    """Takes an address off the list."""
    if current_key() is None:
        return redirect(url_for("web.login.ask", next=url_for(".show")), 303)
    require_form_token()
    email = request.form.get("email", "")
    if services().suppressions.remove(email):
        log.info("suppression removed", key=caller(), domain=email.rpartition("@")[2])
        flash(f"{email} is mailed again.")
    return redirect(url_for(".show"), 303)

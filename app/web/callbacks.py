"""Where applications are told what becomes of their mail: the callbacks, and how each went."""

from dataclasses import replace

import structlog
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.api.auth import caller, open_route
from app.api.context import services
from app.core import callback_targets
from app.core.callback_book import DEFAULT, Endpoint, TooManyCallbacks
from app.core.callback_queue import Condition, DeliveryState, is_taken
from app.core.callback_targets import BadTarget
from app.web.session import current_key, require_form_token, signed_in
from app.web.wording import Tone

blueprint = Blueprint("callbacks", __name__)

log = structlog.get_logger(__name__)

_PAGE_LENGTH = 25
_LONGEST_DESCRIPTION = 200
_ACTIONS = ("enable", "disable", "rotate", "remove")
_TONES = {
    DeliveryState.WAITING: Tone.WAITING,
    DeliveryState.DELIVERED: Tone.GOOD,
    DeliveryState.FAILED: Tone.BAD,
}


@blueprint.get("/notified")
@signed_in
def show() -> ResponseReturnValue:
    return _page()


@blueprint.get("/notified/<string:callback_id>")
@signed_in
def deliveries(callback_id: str) -> ResponseReturnValue:
    """What one of them was told, the latest first."""
    endpoint = _own(callback_id)
    after = request.args.get("after") or None
    found, following = services().callback_queue.page(endpoint, after, _PAGE_LENGTH)
    return render_template(
        "web/callback.html",
        endpoint=endpoint,
        deliveries=found,
        tones=_TONES,
        is_taken=is_taken,
        is_first=after is None,
        following=following,
    )


@blueprint.post("/notified")
@open_route
def add() -> ResponseReturnValue:
    """Registers one; its secret is on the page that answers, and nowhere after."""
    if current_key() is None:
        return redirect(url_for("web.login.ask", next=url_for(".show")), 303)
    require_form_token()
    url = request.form.get("url", "").strip()
    description = " ".join(request.form.get("description", "").split())[:_LONGEST_DESCRIPTION]
    try:
        callback_targets.parse(url, services().settings.callback_allow_private)
        endpoint = services().callback_book.add(caller(), url, description=description)
    except BadTarget as error:
        flash(f"{error} Nothing was added.")
        return redirect(url_for(".show"), 303)
    except TooManyCallbacks:
        flash("There are as many as there may be. Nothing was added.")
        return redirect(url_for(".show"), 303)
    log.info("callback added", key=caller(), callback=endpoint.id)
    return _page(endpoint)


@blueprint.post("/notified/<string:callback_id>")
@open_route
def change(callback_id: str) -> ResponseReturnValue:
    """Does what a button of one of them says."""
    if current_key() is None:
        return redirect(url_for("web.login.ask", next=url_for(".show")), 303)
    require_form_token()
    action = request.form.get("action", "")
    if action not in (("rotate",) if callback_id == DEFAULT else _ACTIONS):
        abort(404)
    book, now = services().callback_book, services().clock()
    if action == "remove":
        if book.remove(caller(), callback_id):
            log.info("callback removed", key=caller(), callback=callback_id)
            flash("It is told nothing more.")
        return redirect(url_for(".show"), 303)
    if action == "rotate":
        endpoint = book.change(caller(), callback_id, lambda seen: seen.rotated(now))
    else:
        enabled = action == "enable"
        endpoint = book.change(
            caller(),
            callback_id,
            lambda seen: replace(seen, enabled=enabled, disabled_because=None),
        )
    if endpoint is None:
        abort(404)
    log.info("callback changed", key=caller(), callback=callback_id, fields=[action])
    return _page(endpoint) if action == "rotate" else redirect(url_for(".show"), 303)


@blueprint.post("/notified/<string:callback_id>/replay")
@open_route
def replay(callback_id: str) -> ResponseReturnValue:
    """Tells something again."""
    here = url_for(".deliveries", callback_id=callback_id)
    if current_key() is None:
        return redirect(url_for("web.login.ask", next=here), 303)
    require_form_token()
    endpoint, delivery_id = _own(callback_id), request.form.get("delivery", "")
    if not endpoint.enabled:
        flash("It is disabled. Enable it first.")
    elif services().callback_queue.replay(endpoint, delivery_id, services().clock()) == "planned":
        log.info("callback replayed", key=caller(), callback=callback_id, delivery=delivery_id)
        flash("It is told again, now.")
    return redirect(here, 303)


def _own(callback_id: str) -> Endpoint:
    endpoint = services().callback_book.get(caller(), callback_id)
    if endpoint is None:
        abort(404)
    return endpoint


def _page(with_new_secret: Endpoint | None = None) -> ResponseReturnValue:
    endpoints = services().callback_book.all(caller())
    conditions = services().callback_queue.conditions(endpoints)
    return render_template(
        "web/callbacks.html",
        callbacks=[
            (endpoint, condition, *_state(endpoint, condition))
            for endpoint, condition in zip(endpoints, conditions, strict=True)
        ],
        shown=with_new_secret,
    )


def _state(endpoint: Endpoint, condition: Condition) -> tuple[Tone, str]:
    if not endpoint.enabled:
        return Tone.OVER, "disabled"
    if condition.last_fault is not None:
        return Tone.BAD, "failing"
    if condition.last_try_at is None:
        return Tone.WAITING, "not told anything yet"
    return Tone.GOOD, "told"

"""Logging in with an API key or with a link, and logging out."""

import structlog
from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.api.auth import open_route
from app.api.context import services
from app.web import session

blueprint = Blueprint("login", __name__)

log = structlog.get_logger(__name__)


@blueprint.get("/login")
@open_route
def ask() -> ResponseReturnValue:
    wanted = session.local_path(request.args.get("next"))
    if session.current_key() is not None:
        return redirect(wanted, 303)
    return _form(wanted)


@blueprint.post("/login")
@open_route
def with_key() -> ResponseReturnValue:
    wanted = session.local_path(request.form.get("next"))
    if not session.has_form_token():
        return _form(wanted, "This form was out of date. Please try again."), 403
    name = services().api_keys.name_of(request.form.get("key", "").strip())
    if name is None:
        log.warning("login refused", by="key")
        return _form(wanted, "There is no such key."), 401, session.UNAUTHORIZED
    return _begin(name, "key", wanted)


@blueprint.get("/login/<string:token>")
@open_route
def offer_link(token: str) -> ResponseReturnValue:
    """A page with a button: what only looks at a link, such as a preview, must not use it up."""
    return render_template("web/login_link.html", token=token)


@blueprint.post("/login/<string:token>")
@open_route
def with_link(token: str) -> ResponseReturnValue:
    session.require_form_token()
    name = services().logins.redeem(token)
    if name is None or name not in services().api_keys:
        log.warning("login refused", by="link")
        fault = "This link was used before, or is older than ten minutes. A key works, too."
        return _form(session.local_path(None), fault), 410
    return _begin(name, "link", session.local_path(None))


@blueprint.post("/logout")
@open_route
def log_out() -> ResponseReturnValue:
    if session.current_key() is not None:
        session.require_form_token()
    session.log_out()
    return redirect(url_for("web.login.ask"), 303)


def _form(wanted: str, fault: str | None = None) -> str:
    return render_template("web/login.html", wanted=wanted, fault=fault)


def _begin(name: str, by: str, wanted: str) -> ResponseReturnValue:
    session.log_in(name)
    log.info("logged in", key=name, by=by)
    return redirect(wanted, 303)

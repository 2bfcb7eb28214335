"""The first page: writing a mail and sending it."""

from collections.abc import Mapping

from flask import Blueprint, flash, g, redirect, render_template, url_for
from flask import request as http_request
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError

from app.api.attachments import FormFile
from app.api.auth import open_route
from app.api.context import services
from app.api.parsing import flatten
from app.core.scripting import StoreUnavailable
from app.core.submit import (
    AcceptInDoubt,
    BacklogFull,
    IdempotencyMismatch,
    Submitted,
    fingerprint,
)
from app.web import session
from app.web.mail_form import MailForm

blueprint = Blueprint("compose", __name__)

_SIMULATED_SENDER = "Steadpost <hello@mg.steadpost.example>"
_LATER = {"Retry-After": "2"}
_MUCH_LATER = {"Retry-After": "30"}


@blueprint.get("/")
@session.signed_in
def new() -> ResponseReturnValue:
    sender = _SIMULATED_SENDER if services().settings.simulator else ""
    return _page(MailForm.of({"from": sender}))


@blueprint.post("/")
@open_route
def send() -> ResponseReturnValue:
    """Sends the mail. Whatever stands in the way, what was typed is not lost."""
    form = MailForm.of(http_request.form, _files())
    key = session.current_key()
    if key is None:
        return _page(form, notice="logged-out"), 401, session.UNAUTHORIZED
    if not session.has_form_token():
        return _page(form, notice="out-of-date"), 403
    try:
        submitted = _submit(key, form)
    except ValidationError as error:
        return _page(form, faults=form.faults(flatten(error.messages))), 422
    except IdempotencyMismatch:
        return _page(form.afresh(), notice="sent-before"), 409
    except AcceptInDoubt:
        return _page(form, notice="in-doubt"), 503, _LATER
    except BacklogFull:
        return _page(form, notice="backlog-full"), 503, _MUCH_LATER
    except StoreUnavailable:
        return _page(form, notice="unavailable"), 503, _LATER
    if submitted.replayed:
        flash("This mail had been sent already. It was not sent again.")
    g.message_id = submitted.message_id
    return redirect(url_for("web.outbox.message", message_id=submitted.message_id), 303)


def _files() -> list[FormFile]:
    return [
        FormFile(file.filename or "", file.read(), file.mimetype)
        for file in http_request.files.getlist("attachments")
        # So do browsers send a field in which no file was chosen.
        if file.filename
    ]


def _submit(key: str, form: MailForm) -> Submitted:
    submission = form.submission()
    return services().submitter.submit(
        key, submission, form.idempotency_key, fingerprint(submission)
    )


def _page(
    form: MailForm, faults: Mapping[str, list[str]] | None = None, notice: str | None = None
) -> str:
    return render_template("web/compose.html", form=form, faults=faults or {}, notice=notice)

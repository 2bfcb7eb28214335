"""Routes for the list of addresses that are no longer mailed, as JSON and as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import structlog
from flask import Response, jsonify, request
from marshmallow import Schema, ValidationError, fields, validate

from app.api import arguments, parsing
from app.api.auth import caller
from app.api.context import services
from app.api.errors import Problem
from app.api.fields import AddressesField, Moment, WholeNumber
from app.api.openapi import ApiBlueprint
from app.api.texts import OneLine
from app.core.suppression import Suppression, SuppressionReason, normal

log = structlog.get_logger(__name__)

blueprint = ApiBlueprint("suppressions", __name__, description="Whom nobody mails any more")

CSV = "text/csv"
COLUMNS = ("email", "reason", "source", "created_at", "expires_at", "message_id", "note")

_MOST_AT_ONCE = 1000
_MOST_ADDRESSES = 500
"""As form fields they are parts, of which there may be a thousand."""
_MOST_ROWS = 100_000
_MOST_FAULTS = 100
_READ_COLUMNS = ("email", "reason", "expires_at", "note")
_CSV_TEXT = {"schema": {"type": "string"}}


class SuppressionsQuery(Schema):
    """Which part of the list."""

    email = fields.String(
        load_default=None,
        metadata={"description": "Only this address; neither case nor a domain's spelling counts."},
    )
    limit = WholeNumber(validate=validate.Range(1, _MOST_AT_ONCE), load_default=100)
    after = fields.String(
        load_default=None, metadata={"description": "The `next` of the page before."}
    )


class SuppressionRequest(Schema):
    """Addresses that are not to be mailed any more."""

    email = AddressesField(_MOST_ADDRESSES, required=True)
    reason = fields.Enum(
        SuppressionReason, by_value=fields.String, load_default=SuppressionReason.MANUAL
    )
    expires_at = Moment(
        load_default=None, metadata={"description": "Until when; if null, for good."}
    )
    note = fields.String(validate=OneLine(500), load_default="")


class SuppressionAnswer(Schema):
    """An address, once for each reason. `source` is a provider, `link`, or by whose key it was."""

    email = fields.String(required=True)
    reason = fields.Enum(SuppressionReason, by_value=fields.String, required=True)
    source = fields.String(required=True)
    created_at = Moment(required=True, attribute="at")
    expires_at = Moment(required=True, allow_none=True, attribute="until")
    message_id = fields.String(required=True, allow_none=True)
    note = fields.String(required=True)


class SuppressionPage(Schema):
    """A page of the list, in the order of addresses. `next` is null on the last one."""

    suppressions = fields.List(fields.Nested(SuppressionAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


class SuppressionsAdded(Schema):
    """How many addresses were put on the list, or were there already."""

    added = fields.Integer(required=True)


_REQUEST = SuppressionRequest()
_PAGE = SuppressionPage()


@blueprint.route("/suppressions", methods=["GET"])
@blueprint.doc(operationId="listSuppressions", responses={200: {"content": {CSV: _CSV_TEXT}}})
@blueprint.arguments(SuppressionsQuery(), location="query")
@blueprint.response(200, SuppressionPage)
@blueprint.problems(401, 503)
def list_suppressions(query: Mapping[str, Any]) -> Response:
    """List the addresses that are not mailed any more

    It is one list for all keys and providers. With `Accept: text/csv` the page is CSV, and the
    header Link leads to the next one.
    """
    following = None
    if query["email"] is not None:
        found = services().suppressions.of(query["email"])
    else:
        found, following = services().suppressions.page(query["after"], query["limit"])
    page = _PAGE.dump({"suppressions": found, "next": following})
    if request.accept_mimetypes.best_match(("application/json", CSV)) != CSV:
        response: Response = jsonify(page)
        return response
    response = Response(_as_csv(page["suppressions"]), content_type=f"{CSV}; charset=utf-8")
    if following is not None:
        part = urlencode({"limit": query["limit"], "after": following})
        response.headers["Link"] = f'</suppressions?{part}>; rel="next"'
    return response


@blueprint.route("/suppressions", methods=["POST"])
@blueprint.doc(
    operationId="addSuppressions",
    requestBody={
        "required": True,
        "content": {
            "application/json": {"schema": SuppressionRequest},
            CSV: {**_CSV_TEXT, "example": "email,reason,note\nann@example.net,manual,asked us\n"},
        },
    },
)
@blueprint.response(200, SuppressionsAdded)
@blueprint.problems(400, 401, 413, 415, 422, 503)
def add_suppressions() -> dict[str, int]:
    """Put addresses on the list

    One, several, or a whole file: CSV with a line of names first (`email`, and if wanted `reason`,
    `expires_at` and `note`; the other columns of our own CSV are passed over), of which all rows
    are taken or none. An address that is there for the same reason gets the new entry.
    """
    requests = _from_csv() if request.mimetype == CSV else [_from_body()]
    now, source = services().clock(), f"api:{caller()}"
    entries = {
        (normal(address.email), wanted["reason"]): Suppression(
            normal(address.email),
            wanted["reason"],
            source,
            now,
            wanted["expires_at"],
            note=wanted["note"],
        )
        for wanted in requests
        for address in wanted["email"]
    }
    services().suppressions.add(tuple(entries.values()))
    log.info("suppressions added", key=caller(), count=len(entries))
    return {"added": len(entries)}


@blueprint.route("/suppressions/<string:email>", methods=["DELETE"])
@blueprint.doc(operationId="removeSuppression")
@blueprint.response(204)
@blueprint.problems(401, 404, 503)
def remove_suppression(email: str) -> None:
    """Take an address off the list, whatever it was there for"""
    if not services().suppressions.remove(email):
        raise Problem(404, "This address is not on the list.")
    log.info("suppression removed", key=caller(), domain=email.rpartition("@")[2])


def _as_csv(entries: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(entries)
    return text.getvalue()


def _from_body() -> Mapping[str, Any]:
    value, faults = arguments.load(_REQUEST, "json")
    if faults:
        raise Problem(422, "The request has faults; see errors.", errors=faults)
    return dict(value)


def _from_csv() -> list[Mapping[str, Any]]:
    """The rows of the file. Raises Problem."""
    try:
        text = request.get_data(cache=False).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (ValueError, csv.Error) as error:
        raise Problem(400, f"The CSV cannot be read: {error}.") from error
    names = [name.strip().lower() for name in rows[0]] if rows else []
    unknown = [name for name in names if name not in COLUMNS]
    if "email" not in names or unknown or len(set(names)) < len(names):
        told = f"There is: {', '.join(names) or 'nothing'}."
        expected = f"The first line names the columns: email, and if wanted {_READ_COLUMNS[1:]}."
        raise Problem(422, "The CSV has faults.", errors={"rows.0": [f"{expected} {told}"]})
    if len(rows) > _MOST_ROWS:
        raise Problem(413, f"More than {_MOST_ROWS} rows.")
    found: list[Mapping[str, Any]] = []
    faults: parsing.Faults = {}
    for number, row in enumerate(rows[1:], 1):
        if not row:
            continue
        given = dict(zip(names, row, strict=False))
        try:
            found.append(_REQUEST.load({n: given[n] for n in _READ_COLUMNS if given.get(n)}))
        except ValidationError as error:
            faults |= parsing.flatten(error.messages, f"rows.{number}")
        if len(faults) >= _MOST_FAULTS:
            break
    if faults:
        raise Problem(422, "The CSV has faults; nothing was kept.", errors=faults)
    return found

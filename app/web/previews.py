"""Templates: which there are, and what each comes to with variables that can be changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Blueprint, Response, make_response, render_template, request
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError

from app.api.context import services
from app.api.errors import Problem
from app.api.parsing import strict_json
from app.api.values import ValuesField
from app.core.rendering import Content, TemplateFaults
from app.core.template_store import Template
from app.web import headers
from app.web.session import current_key, signed_in

blueprint = Blueprint("previews", __name__)

# They are part of an address, and those that are longer come to grief on the way.
_VALUES = ValuesField(16 * 1024)
# Nothing of a mail runs, and nothing is fetched for it.
_POLICY_OF_A_MAIL = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'self'; sandbox"
)
_POLICY_OF_THE_PAGE = f"{headers.POLICY}; frame-src 'self'"


@dataclass(frozen=True, slots=True)
class _Preview:
    """What a template comes to with the variables in the address, or what is in the way."""

    template: Template
    variables: str
    content: Content | None
    faults: Mapping[str, list[str]]


@blueprint.get("/previews")
@signed_in
def list_all() -> ResponseReturnValue:
    return render_template("web/templates.html", templates=services().templates.all(_key()))


@blueprint.get("/previews/<string:name>")
@signed_in
def show(name: str) -> ResponseReturnValue:
    """The variables stand in the address: nothing is kept or changed by looking."""
    preview = _preview(name)
    response = make_response(
        render_template(
            "web/template.html",
            preview=preview,
            described=services().templates.describe(_key(), preview.template),
        ),
        422 if preview.faults else 200,
    )
    response.headers["Content-Security-Policy"] = _POLICY_OF_THE_PAGE
    return response


@blueprint.get("/previews/<string:name>/html")
@signed_in
def show_html(name: str) -> ResponseReturnValue:
    """The HTML by itself, for a frame of the page."""
    content = _preview(name).content
    if content is None or content.html is None:
        raise Problem(404, "There is no HTML to show.")
    response = Response(content.html, mimetype="text/html")
    response.headers["Content-Security-Policy"] = _POLICY_OF_A_MAIL
    return response


def _preview(name: str) -> _Preview:
    version = request.args.get("version", type=int)
    template = services().templates.get(_key(), name, version)
    if template is None:
        raise Problem(404, "There is no such template, or no such version of it.")
    text = request.args.get("variables")
    try:
        variables = template.sample if text is None else _read(text)
        content = services().templates.preview(template, variables)
    except TemplateFaults as error:
        return _Preview(template, _shown(template, text), None, error.errors)
    return _Preview(template, _shown(template, text), content, {})


def _read(text: str) -> Mapping[str, Any]:
    """The variables. Raises TemplateFaults."""
    try:
        variables: Mapping[str, Any] = _VALUES.deserialize(strict_json(text.encode()))
    except ValidationError as error:
        raise TemplateFaults({"variables": [str(fault) for fault in error.messages]}) from error
    except ValueError as error:
        raise TemplateFaults({"variables": [f"Not JSON: {error}."]}) from error
    return variables


def _shown(template: Template, text: str | None) -> str:
    if text is not None:
        return text.replace("\r\n", "\n")
    return orjson.dumps(template.sample, option=orjson.OPT_INDENT_2).decode()


def _key() -> str:
    """Whose templates they are: that of whoever is signed in."""
    return current_key() or ""

"""Routes for the templates that messages are made by."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError

from app.api.auth import caller
from app.api.context import services
from app.api.errors import Problem
from app.api.openapi import ApiBlueprint
from app.api.template_schemas import (
    PreviewAnswer,
    PreviewRequest,
    TemplateAnswer,
    TemplateRequest,
    TemplatesAnswer,
    VersionQuery,
)
from app.api.values import template_name
from app.core.rendering import Sources
from app.core.template_store import MOST_TEMPLATES, Template, TooManyTemplates

blueprint = ApiBlueprint("templates", __name__, description="What messages can be made by")

_NAME = {
    "in": "path",
    "name": "name",
    "required": True,
    "schema": {"type": "string", "pattern": template_name.regex.pattern},
}


@blueprint.route("/templates", methods=["GET"])
@blueprint.doc(operationId="listTemplates")
@blueprint.response(200, TemplatesAnswer)
@blueprint.problems(401, 503)
def list_templates() -> dict[str, Any]:
    """List the templates, by name

    They are the caller's own, and those that are shipped and that none of its own covers.
    """
    return {"templates": services().templates.all(caller())}


@blueprint.route("/templates/<string:name>", methods=["GET"], parameters=[_NAME])
@blueprint.doc(operationId="getTemplate")
@blueprint.arguments(VersionQuery(), location="query")
@blueprint.response(200, TemplateAnswer)
@blueprint.problems(401, 404, 503)
def get_template(query: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A template, and the variables that it asks for"""
    return _answer(_template(name, query["version"]))


@blueprint.route("/templates/<string:name>", methods=["PUT"], parameters=[_NAME])
@blueprint.doc(operationId="putTemplate")
@blueprint.arguments(TemplateRequest())
@blueprint.response(200, TemplateAnswer)
@blueprint.problems(400, 401, 409, 413, 415, 503)
def put_template(wanted: tuple[Sources, Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Put a template, or a new version of it

    Messages are made by the new version from now on; the last ten can be looked at. What is put
    again as it is makes no version. 409 where there are too many templates.
    """
    try:
        template_name(name)
    except ValidationError as error:
        faults = {"name": [str(text) for text in error.messages]}
        raise Problem(422, "The request has faults; see errors.", errors=faults) from error
    try:
        template = services().templates.put(caller(), name, *wanted)
    except TooManyTemplates as error:
        raise Problem(
            409, f"There are {MOST_TEMPLATES} templates, the most there may be."
        ) from error
    return _answer(template)


@blueprint.route("/templates/<string:name>", methods=["DELETE"], parameters=[_NAME])
@blueprint.doc(operationId="deleteTemplate")
@blueprint.response(204)
@blueprint.problems(401, 404, 503)
def delete_template(name: str) -> None:
    """Delete a template of one's own, with all its versions

    Where it covered one that is shipped, that one is there again.
    """
    if not services().templates.delete(caller(), name):
        raise Problem(404, "There is no such template of yours.")


@blueprint.route("/templates/<string:name>/preview", methods=["POST"], parameters=[_NAME])
@blueprint.doc(operationId="previewTemplate")
@blueprint.arguments(PreviewRequest(), required=False)
@blueprint.arguments(VersionQuery(), location="query")
@blueprint.response(200, PreviewAnswer)
@blueprint.problems(400, 401, 404, 413, 415, 503)
def preview_template(
    request: Mapping[str, Any], query: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """What a template comes to, without sending it"""
    template = _template(name, query["version"])
    variables = request["variables"]
    content = services().templates.preview(
        template, template.sample if variables is None else variables
    )
    return {
        "name": template.name,
        "version": template.version,
        "subject": content.subject,
        "text": content.text,
        "html": content.html,
    }


def _template(name: str, version: int | None) -> Template:
    template = services().templates.get(caller(), name, version)
    if template is None:
        raise Problem(404, "There is no such template, or no such version of it.")
    return template


def _answer(template: Template) -> dict[str, Any]:
    described = services().templates.describe(caller(), template)
    return {
        "name": template.name,
        "version": template.version,
        "shipped": template.shipped,
        "updated_at": template.updated_at,
        "sources": template.sources,
        "sample": template.sample,
        "variables": described.variables,
        "versions": described.versions,
    }

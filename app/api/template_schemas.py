"""The forms of templates; the OpenAPI document is made from them."""

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from app.api.fields import Moment, WholeNumber
from app.api.values import MOST_VARIABLES, ValuesField
from app.core.rendering import Sources

_LONGEST_SUBJECT = 5_000
_LONGEST_PART = 100_000
"""Characters. A mail of more is cut off by those who show it."""
_MOST_OF_A_SAMPLE = 64 * 1024
"""Bytes, as JSON."""

_BODIES = ("text", "html", "mjml")


class TemplateRequest(Schema):
    """A template in Jinja2: a subject, and a text, HTML or both; MJML stands in place of HTML."""

    json_schema: ClassVar[Mapping[str, Any]] = {
        "allOf": [
            {"anyOf": [{"required": [n], "properties": {n: {"type": "string"}}} for n in _BODIES]},
            {"anyOf": [{"properties": {n: {"type": "null"}}} for n in ("html", "mjml")]},
        ]
    }

    subject = fields.String(
        required=True,
        validate=validate.Length(1, _LONGEST_SUBJECT),
        metadata={"examples": ["Welcome, {{ name }}"]},
    )
    text = fields.String(
        validate=validate.Length(1, _LONGEST_PART),
        load_default=None,
        metadata={"description": "Made from the HTML where there is none."},
    )
    html = fields.String(
        validate=validate.Length(1, _LONGEST_PART),
        load_default=None,
        metadata={"description": "What is put into it is escaped; its styles are inlined."},
    )
    mjml = fields.String(
        validate=validate.Length(1, _LONGEST_PART),
        load_default=None,
        metadata={"description": "Compiled to HTML; in place of html."},
    )
    sample = ValuesField(
        _MOST_OF_A_SAMPLE,
        load_default=dict,
        metadata={"description": "Variables to show it with.", "examples": [{"name": "Ann"}]},
    )

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _complete(self, _data: Mapping[str, Any], original: Any, **_: Any) -> None:
        if not isinstance(original, Mapping):
            return
        given = {name for name in _BODIES if original.get(name) is not None}
        if not given:
            raise ValidationError("A text, html or mjml is needed.", "text")
        if {"html", "mjml"} <= given:
            raise ValidationError("It stands in place of html: give one of them.", "mjml")

    @post_load
    def _sources(self, data: dict[str, Any], **_: Any) -> tuple[Sources, Mapping[str, Any]]:
        parts = {name: data[name] for name in ("subject", *_BODIES)}
        return Sources(**parts), data["sample"]


class PreviewRequest(Schema):
    """What to show a template with; its sample if there is nothing."""

    variables = ValuesField(MOST_VARIABLES, load_default=None, allow_none=False)


class VersionQuery(Schema):
    """Which version of a template."""

    version = WholeNumber(
        load_default=None,
        allow_none=False,
        validate=validate.Range(0, 2**31),
        metadata={"description": "The latest if not given; that of a shipped template is 0."},
    )


class TemplateSummary(Schema):
    """A template; those that are shipped have the version 0, and nobody knows since when."""

    name = fields.String(required=True)
    version = fields.Integer(required=True)
    shipped = fields.Boolean(required=True)
    updated_at = Moment(required=True, allow_none=True)


class TemplatesAnswer(Schema):
    """The templates that can be used, by name."""

    templates = fields.List(fields.Nested(TemplateSummary), required=True)


class TemplateVersion(Schema):
    """A version of a template that is kept, and when it was put."""

    version = fields.Integer(required=True)
    updated_at = Moment(required=True)


class TemplateAnswer(TemplateSummary):
    """A template as it is written; `variables` names what it asks for.

    `versions` are those that are kept, newest first; there are none of a shipped one.
    """

    subject = fields.String(required=True, attribute="sources.subject")
    text = fields.String(required=True, allow_none=True, attribute="sources.text")
    html = fields.String(required=True, allow_none=True, attribute="sources.html")
    mjml = fields.String(required=True, allow_none=True, attribute="sources.mjml")
    sample = fields.Dict(fields.String(), required=True)
    variables = fields.List(fields.String(), required=True)
    versions = fields.List(fields.Nested(TemplateVersion), required=True)


class PreviewAnswer(Schema):
    """What a template comes to; a text is made from HTML that comes alone."""

    name = fields.String(required=True)
    version = fields.Integer(required=True)
    subject = fields.String(required=True)
    text = fields.String(required=True, allow_none=True)
    html = fields.String(required=True, allow_none=True)

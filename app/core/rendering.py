"""Rendering templates: Jinja and MJML in, a subject, a text and HTML out.

Nothing here is bounded in time or memory: see `rendering_processes` for that.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import css_inline
from jinja2 import Template as JinjaTemplate
from jinja2 import TemplateError, TemplateSyntaxError
from jinja2.meta import find_undeclared_variables

from app.core import mjml, one_line, sandbox
from app.core.plain_text import text_of
from app.core.sandbox import Sandbox

LONGEST_PART = 1_000_000
"""The most characters of a rendered text or HTML."""

_TEMPLATES_KEPT = 32
_LINE_BREAKS = re.compile(r"\s*[\r\n]\s*")
_STYLE_FOR_SOME_MEDIA = re.compile(r"<style(?=[^>]*\smedia=)", re.IGNORECASE)
# What can go wrong in the expressions of a template.
_ITS_ERRORS = (
    TemplateError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Sources:
    """The parts of a template as they are written; it has `html` or `mjml`, or neither."""

    subject: str
    text: str | None = None
    html: str | None = None
    mjml: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What a template and variables come to."""

    subject: str
    text: str | None
    html: str | None


class TemplateFaults(Exception):
    """What is wrong with a template, or with what it was given: texts by the path of a field."""

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        super().__init__("the template cannot be rendered")
        self.errors = errors


@dataclass(frozen=True, slots=True)
class _Compiled:
    parts: Mapping[str, JinjaTemplate]
    variables: tuple[str, ...]


def check(sources: Sources) -> tuple[str, ...]:
    """The names of the variables that a template asks for. Raises TemplateFaults, by part."""
    return _compiled(sources).variables


def render(sources: Sources, variables: Mapping[str, Any]) -> Content:
    """The content. Raises TemplateFaults; what is missing is all named, by path."""
    parts = _compiled(sources).parts
    rendered: dict[str, str] = {}
    faults: dict[str, list[str]] = {}
    with sandbox.noting_what_is_missing() as missed:
        for name, template in parts.items():
            try:
                rendered[name] = _joined(template.generate(variables))
            except _ITS_ERRORS as error:
                faults.setdefault("template", []).append(f"Its {name}: {_told(error)}")
    if missed:
        raise TemplateFaults(_missing(missed, variables))
    if not faults:
        faults = _faults_of_the_subject(rendered["subject"].strip())
    if faults:
        raise TemplateFaults(faults)
    html = rendered.get("html")
    if html is not None and "<style" in html:
        html = _inlined(html)
    text = rendered.get("text")
    if text is None and html is not None:
        text = text_of(html)
    return Content(rendered["subject"].strip(), text, html)


@lru_cache(_TEMPLATES_KEPT)
def _compiled(sources: Sources) -> _Compiled:
    parts, names = {}, set()
    faults: dict[str, list[str]] = {}
    for part in ("subject", "text", "html", "mjml"):
        source = getattr(sources, part)
        if source is None:
            continue
        try:
            kind, template, asked_for = _compiled_part(part, source)
        except TemplateSyntaxError as error:
            faults[part] = [f"Line {error.lineno}: {error.message}."]
        except mjml.MarkupFault as error:
            faults[part] = [str(error)]
        except _ITS_ERRORS as error:
            faults[part] = [_told(error)]
        else:
            parts[kind] = template
            names |= asked_for
    if faults:
        raise TemplateFaults(faults)
    return _Compiled(parts, tuple(sorted(names)))


def _compiled_part(part: str, source: str) -> tuple[str, JinjaTemplate, set[str]]:
    if part == "subject":
        # The line breaks of a file are no line breaks of the subject.
        source = _LINE_BREAKS.sub(" ", source.strip())
    language = _language(part in ("html", "mjml"))
    tree = language.parsed(source)
    asked_for = find_undeclared_variables(tree) - language.globals.keys()
    if part == "mjml":
        source = mjml.compiled(source, language)
    if part in ("html", "mjml"):
        mjml.check_attributes(source, language)
        part = "html"
    return part, language.from_string(source), asked_for


@cache
def _language(escape: bool) -> Sandbox:
    return Sandbox(escape)


def _joined(pieces: Iterable[str]) -> str:
    kept, length = [], 0
    for piece in pieces:
        kept.append(piece)
        length += len(piece)
        if length > LONGEST_PART:
            raise ValueError(f"more than {LONGEST_PART:,} characters come out of it")
    return "".join(kept)


def _missing(missed: list[tuple[Any, Any]], variables: Mapping[str, Any]) -> dict[str, list[str]]:
    faults: dict[str, list[str]] = {}
    for container, name in missed:
        path = sandbox.path_of(container, name, variables)
        if path is not None:
            faults[f"variables.{path}"] = ["The template needs it."]
        else:
            faults["template"] = [f"It asks for {str(name)!r} of something that has no such thing."]
    return faults


def _faults_of_the_subject(subject: str) -> dict[str, list[str]]:
    try:
        fault = None if one_line.is_one_line(subject) else "They put a line break into the subject."
    except ValueError:
        fault = "They put an encoded word that cannot be read into the subject."
    if len(subject) > one_line.LONGEST_LINE:
        fault = f"They make the subject longer than {one_line.LONGEST_LINE} characters."
    if not subject:
        fault = "They leave the subject empty."
    return {} if fault is None else {"variables": [fault]}


def _inlined(html: str) -> str:
    """The HTML with its styles in the elements; rules that fit no element, or some media, stay."""
    inliner = css_inline.CSSInliner(
        load_remote_stylesheets=False,
        keep_style_tags=True,
        keep_at_rules=True,
        remove_inlined_selectors=True,
    )
    return inliner.inline(_STYLE_FOR_SOME_MEDIA.sub('<style data-css-inline="ignore"', html))


def _told(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return f"{text[:200]}."

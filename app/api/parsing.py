"""Reading requests, strictly: JSON or form fields into values, all faults into one answer."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson
from flask import Request
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.datastructures import MultiDict

from app.api.errors import Problem

_FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
_LISTS = frozenset({"to", "cc", "bcc", "reply_to", "tags", "providers"})
_OBJECTS = frozenset({"headers", "metadata"})


class BodyParser(FlaskParser):
    """webargs' parser with our reading of bodies and our answer to faults.

    Its location `json` takes form fields too: lists by repeating a field, objects as JSON text.
    """

    def load_json(self, req: Request, schema: Schema) -> Any:
        if req.mimetype == "application/json":
            return parse_json(req.get_data(cache=False))
        if req.mimetype in _FORM_TYPES:
            return form_values(req.form, req.files)
        raise Problem(415, "Send application/json, or form fields.")

    def handle_error(
        self,
        error: ValidationError,
        req: Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: Mapping[str, str] | None,
    ) -> NoReturn:
        messages = error.messages
        faults: dict[str, list[str]] = {}
        # webargs puts the location first; it is not part of a field's path.
        for by_field in messages.values() if isinstance(messages, dict) else [messages]:
            faults |= flatten(by_field)
        raise Problem(422, "The request has faults; see errors.", errors=faults)


def parse_json(raw: bytes) -> Any:
    """The value of a JSON text. A key that stands twice in an object is a fault."""
    try:
        value = orjson.loads(raw)
        # orjson is strict about everything else, and does not say when it drops a value.
        json.loads(raw, object_pairs_hook=_unique)
    except _DuplicateKeyError as error:
        raise Problem(400, f"The key {error.key!r} stands twice in an object.") from error
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Problem(422, "The body must be a JSON object.", errors={"": ["Not an object."]})
    return value


def form_values(form: "MultiDict[str, str]", files: "MultiDict[str, Any]") -> dict[str, Any]:
    """Form fields as the values that JSON would have had."""
    values: dict[str, Any] = {}
    faults: dict[str, list[str]] = {}
    for name, texts in form.lists():
        if name in _LISTS:
            values[name] = texts
        elif len(texts) > 1:
            faults[name] = ["Given more than once."]
        elif name in _OBJECTS:
            try:
                values[name] = parse_json(texts[0].encode())
            except (Problem, UnicodeEncodeError):
                faults[name] = ["Not a JSON object."]
        else:
            values[name] = texts[0]
    faults |= {name: ["Files are not taken here."] for name in files}
    if faults:
        raise Problem(422, "The request has faults; see errors.", errors=faults)
    return values


def flatten(messages: Any, path: str = "") -> dict[str, list[str]]:
    """marshmallow's nested messages as a map from a field's path to its texts."""
    if isinstance(messages, str):
        return {path: [messages]}
    if isinstance(messages, list | tuple):
        return {path: [str(message) for message in messages]}
    faults: dict[str, list[str]] = {}
    for name, inner in messages.items():
        # Messages about an item of a mapping stand under its `key` or its `value`.
        part = "" if name in ("_schema", "key", "value") and path else str(name)
        where = f"{path}.{part}" if path and part else path or part
        for field, texts in flatten(inner, where).items():
            faults.setdefault(field, []).extend(texts)
    return faults


class _DuplicateKeyError(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateKeyError(next(name for name in names if names.count(name) > 1))
    return value

"""Reading requests, strictly: values for a schema to load, and what is wrong before that."""

import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import orjson
from flask import Request
from marshmallow import Schema, fields
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder

from app.api.attachments import AttachmentsField, FormFile
from app.api.errors import Problem

Faults = dict[str, list[str]]
"""Texts by the path of the field that they are about."""

FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")

_MOST_FORM_FIELDS = 1000
_SWITCHES = {"true": True, "false": False}


def read_body(request: Request, schema: Schema) -> tuple[Any, Faults]:
    """The value of a body: JSON, or form fields with lists by repeating and objects as JSON text.

    Where nothing is required, there may be none. Raises Problem for what cannot be read at all.
    """
    if not request.mimetype and not request.content_length and not _required(schema):
        return {}, {}
    types = ("application/json", *FORM_TYPES) if takes_forms(schema) else ("application/json",)
    if request.mimetype not in types:
        optional = not any(field.required for field in schema.fields.values())
        if optional and not request.mimetype and not _raw(request):
            return {}, {}
        raise Problem(415, f"Send application/json{', or form fields' if types[1:] else ''}.")
    raw = _raw(request)
    try:
        if request.mimetype == "application/json":
            return strict_json(raw), {}
        if request.mimetype == "multipart/form-data":
            pairs = list(_multipart(raw, request.mimetype_params.get("boundary", "")))
        else:
            pairs = list(
                parse_qsl(raw.decode(), True, errors="strict", max_num_fields=_MOST_FORM_FIELDS)
            )
    except ValueError as error:
        raise Problem(400, f"The body cannot be read: {error}.") from error
    return _as_json(pairs, schema)


def takes_forms(schema: Schema) -> bool:
    """Whether a body may come as form fields, in which there are no lists of objects."""
    return not any(
        isinstance(field, fields.List) and isinstance(field.inner, fields.Nested)
        for field in schema.fields.values()
    )


def _required(schema: Schema) -> bool:
    return any(field.required for field in schema.fields.values())


def read_query(request: Request, schema: Schema) -> tuple[Any, Faults]:
    """The value of a query, in which everything stands once."""
    return _as_json(request.args.items(multi=True), schema)


def read_headers(request: Request, schema: Schema) -> tuple[Any, Faults]:
    """The value of those headers that the schema knows."""
    names = [field.data_key or name for name, field in schema.fields.items()]
    return {name: request.headers[name] for name in names if name in request.headers}, {}


def strict_json(raw: bytes) -> Any:
    """The value of a JSON text. Raises ValueError, also where a key stands twice in an object."""
    value = orjson.loads(raw)
    # orjson is strict about everything else, and does not say when it drops a value.
    try:
        json.loads(raw, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


def _raw(request: Request) -> bytes:
    raw = request.get_data(cache=False)
    # A body that did not tell its length is cut off at the limit, and nothing else says so.
    limit = request.max_content_length
    if request.content_length is None and limit is not None and len(raw) >= limit:
        raise RequestEntityTooLarge
    return raw


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in an object")
    return value


def _multipart(raw: bytes, boundary: str) -> Iterator[tuple[str, str | FormFile]]:
    """The names of the parts, and their texts or files."""
    if not boundary:
        raise ValueError("its boundary is missing")
    decoder = MultipartDecoder(boundary.encode(), max_parts=_MOST_FORM_FIELDS)
    decoder.receive_data(raw)
    decoder.receive_data(None)
    part: Field | File | None = None
    content = bytearray()
    while not isinstance(event := decoder.next_event(), Epilogue):
        if isinstance(event, Field | File):
            part, content = event, bytearray()
        elif isinstance(event, Data) and part is not None:
            content += event.data
            if event.more_data:
                continue
            if isinstance(part, Field):
                yield part.name, content.decode()
            # So do browsers send a field for files in which none was chosen.
            elif part.filename or content:
                yield part.name, _file(part, bytes(content))


def _file(part: File, content: bytes) -> FormFile:
    content_type = part.headers.get("Content-Type", "").partition(";")[0].strip()
    return FormFile(part.filename, content, content_type, part.headers.get("Content-ID", ""))


def _as_json(pairs: Iterable[tuple[str, str | FormFile]], schema: Schema) -> tuple[Any, Faults]:
    """Form fields as the value that JSON would have had."""
    known = {field.data_key or name: field for name, field in schema.fields.items()}
    value: dict[str, Any] = {}
    faults: Faults = {}
    for name, text in pairs:
        field = known.get(name)
        if isinstance(text, FormFile) and not isinstance(field, AttachmentsField):
            faults[name] = ["Files are not taken here."]
        elif isinstance(field, fields.List):
            value.setdefault(name, []).append(text)
        elif name in value:
            faults[name] = ["Given more than once."]
        elif isinstance(field, fields.Boolean) and text in _SWITCHES:
            value[name] = _SWITCHES[text]
        elif isinstance(field, fields.Dict | fields.Nested) and isinstance(text, str):
            try:
                value[name] = strict_json(text.encode())
            except ValueError as error:
                faults[name] = [f"Not JSON: {error}."]
        else:
            value[name] = text
    return value, faults


def flatten(messages: Any, path: str = "") -> Faults:
    """marshmallow's nested messages as a map from a field's path to its texts."""
    if isinstance(messages, str):
        return {path: [messages]}
    if isinstance(messages, list | tuple):
        return {path: [str(message) for message in messages]}
    faults: Faults = {}
    for name, inner in messages.items():
        # What is wrong with an object as a whole stands under `_schema`.
        where = path if name == "_schema" else f"{path}.{name}" if path else str(name)
        for field, texts in flatten(inner, where).items():
            faults.setdefault(field, []).extend(texts)
    return faults

"""Requests as form fields: what the OpenAPI document says of them, made from the forms of JSON."""

from collections.abc import Mapping
from typing import Any

from app.api.parsing import FORM_TYPES

_SCHEMAS = "#/components/schemas/"
_ADDRESS_TEXT = {"$ref": f"{_SCHEMAS}AddressText"}
_FILE = {"$ref": f"{_SCHEMAS}AttachedFile"}

_SPACE = r"[ \t\n\r]*"
_HEX = "[0-9A-Fa-f]"
_SURROGATE_PAIR = rf"\\u[Dd][89ABab]{_HEX}{{2}}\\u[Dd][C-Fc-f]{_HEX}{{2}}"


def add_forms(document: dict[str, Any]) -> None:
    """Completes an OpenAPI document: what form fields can say may also come as such."""
    schemas = document["components"]["schemas"]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    for operation in operations:
        content = operation["requestBody"]["content"] if "requestBody" in operation else {}
        if "application/json" in content:
            name = content["application/json"]["schema"]["$ref"].removeprefix(_SCHEMAS)
            if not _has_form(schemas, schemas[name]):
                continue
            form = _form(schemas[name])
            files = {n for n, field in form["properties"].items() if _FILE in _choices(field)}
            texts = {n: field for n, field in form["properties"].items() if n not in files}
            schemas[f"{name}Form"] = {**form, "properties": texts}
            if files:
                schemas[f"{name}Files"] = form
            for kind in FORM_TYPES:
                suffix = "Files" if files and kind == "multipart/form-data" else "Form"
                content[kind] = {"schema": {"$ref": f"{_SCHEMAS}{name}{suffix}"}}


def _has_form(schemas: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    """Whether form fields can say it: there are no lists of objects in them."""
    lists = [field for field in schema["properties"].values() if field.get("type") == "array"]
    items = [field["items"].get("$ref", "").removeprefix(_SCHEMAS) for field in lists]
    objects = {name for name in items if name and schemas[name].get("type") == "object"}
    # These may come as files.
    return objects <= {"Attachment"}


def _choices(field: Mapping[str, Any]) -> list[Any]:
    choices: list[Any] = field.get("anyOf", [])
    return choices


def _form(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **schema,
        "description": f"{schema['description']} Lists by repeating a field, objects as JSON text.",
        "properties": {name: _field(field) for name, field in schema["properties"].items()},
    }


def _field(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A field of a form is a text or a list of texts, and never null."""
    about = {"description": schema["description"]} if "description" in schema else {}
    match schema:
        case {"$ref": "#/components/schemas/Address"}:
            return _ADDRESS_TEXT
        case {"$ref": "#/components/schemas/TrackRequest"}:
            return {"type": "string", "pattern": f"^{_switches('opens', 'clicks')}$"}
        case {"anyOf": [{"$ref": "#/components/schemas/Address"}, many]}:
            return _one_or_many({**many, "items": _ADDRESS_TEXT}) | about
        case {"type": "array", "items": {"$ref": "#/components/schemas/Attachment"}}:
            return _one_or_many({**schema, "items": _FILE}) | about
        case {"type": "array"}:
            return _one_or_many(schema) | about
        case {"type": "object", "additionalProperties": {**anything}} if not anything:
            return {"type": "string", "pattern": f"^{_SPACE}\\{{[\\s\\S]*\\}}{_SPACE}$", **about}
        case {"type": "object"}:
            return {"type": "string", "pattern": f"^{_json_object(schema)}$", **about}
        case {"type": ["string", "null"]}:
            enum = {"enum": [item for item in schema["enum"] if item]} if "enum" in schema else {}
            return {**schema, "type": "string", **enum}
    return dict(schema)


def _one_or_many(many: Mapping[str, Any]) -> dict[str, Any]:
    """A field that may be repeated: whoever sends it once has not sent a list."""
    limits = {key: many[key] for key in ("maxItems", "uniqueItems") if key in many}
    return {"anyOf": [many["items"], {"type": "array", "items": many["items"], **limits}]}


def _switches(*names: str) -> str:
    """A pattern for an object of switches with these names as JSON, none of which stands twice."""
    name = "|".join(f'"{name}"' for name in names)
    more = len(names) - 1
    first = rf"({name}){_SPACE}:{_SPACE}(?:true|false){_SPACE}"
    further = rf",{_SPACE}(?!\1)(?:{name}){_SPACE}:{_SPACE}(?:true|false){_SPACE}"
    return rf"{_SPACE}\{{{_SPACE}(?:{first}(?:{further}){{0,{more}}})?\}}{_SPACE}"


def _json_object(schema: Mapping[str, Any]) -> str:
    """A pattern for an object of texts as JSON, without a name that stands twice.

    A pattern and not `contentSchema`, which says it better: that one is for information only.
    """
    name = _json_string(schema["propertyNames"])
    value = _json_string(schema["additionalProperties"])

    def entry(group: int) -> str:
        unique = rf"(?![\s\S]*[{{,]{_SPACE}\{group}{_SPACE}:)"
        return f"({name}){unique}{_SPACE}:{_SPACE}{value}{_SPACE}"

    more = schema["maxProperties"] - 1
    entries = rf"(?:{entry(1)}(?:,{_SPACE}{entry(2)}){{0,{more}}})?"
    return rf"{_SPACE}\{{{_SPACE}{entries}\}}{_SPACE}"


def _json_string(schema: Mapping[str, Any]) -> str:
    """A pattern for a text as JSON: each character as it is, or as an escape."""
    pattern: str | None = schema.get("pattern")
    if pattern is None:
        plain, escapes, hidden = r"\u0000-\u001f", r'["\\/bfnrt]', "[Dd][89A-Fa-f]"
    elif pattern.startswith("^[^"):
        plain = pattern.removeprefix("^[^").removesuffix("]*$")
        escapes = r'["\\/]'
        hidden = "00[0189]|007[Ff]|202[89]|[Dd][89A-Fa-f]"
    else:
        # A name of characters that have no need of escapes.
        return '"' + pattern.removeprefix("^").removesuffix("$").replace("$)", '")') + '"'
    char = rf'(?:[^"\\{plain}]|\\{escapes}|\\u(?!{hidden}){_HEX}{{4}}|{_SURROGATE_PAIR})'
    return f'"{char}{{{schema.get("minLength", 0)},{schema["maxLength"]}}}"'

"""The types of what v3/mail/send takes: what is checked before any rule looks at it."""

from typing import Any

# A shape is a type, a list with the shape of its items, a mapping from names to shapes, or
# `_STRINGS`: an object whose values are texts. Other names than those given may hold anything.
_STRINGS = object()
_PERSON = {"email": str, "name": str}
_SWITCH = {"enable": bool}
_ENVELOPE = {
    "to": [_PERSON],
    "cc": [_PERSON],
    "bcc": [_PERSON],
    "from": _PERSON,
    "subject": str,
    "headers": _STRINGS,
    "custom_args": _STRINGS,
    "substitutions": _STRINGS,
    "send_at": int,
}
_BODY = {
    "personalizations": [_ENVELOPE],
    "from": _PERSON,
    "reply_to": _PERSON,
    "reply_to_list": [_PERSON],
    "subject": str,
    "content": [{"type": str, "value": str}],
    "attachments": [
        {"content": str, "filename": str, "type": str, "disposition": str, "content_id": str}
    ],
    "headers": _STRINGS,
    "custom_args": _STRINGS,
    "categories": [str],
    "send_at": int,
    "template_id": str,
    "mail_settings": {"sandbox_mode": _SWITCH},
}

_NAMES = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def misfits(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Path and description of every value of a wrong type; the description may be empty."""
    found: list[tuple[str, str]] = []
    _collect(body, _BODY, (), found)
    return found


def _collect(
    value: Any, shape: Any, path: tuple[str | int, ...], found: list[tuple[str, str]]
) -> None:
    if type(shape) is dict:
        if type(value) is dict:
            for name, inner in value.items():
                if name in shape:
                    _collect(inner, shape[name], (*path, name), found)
        else:
            found.append(_misfit(value, dict, path))
    elif type(shape) is list:
        if type(value) is list:
            for place, one in enumerate(value):
                _collect(one, shape[0], (*path, place), found)
        else:
            found.append(_misfit(value, list, path))
    elif shape is _STRINGS:
        if type(value) is not dict or not all(type(one) is str for one in value.values()):
            found.append((_dotted(path), ""))
    elif type(value) is not shape:
        found.append(_misfit(value, shape, path))


def _misfit(value: Any, expected: type, path: tuple[str | int, ...]) -> tuple[str, str]:
    given = _NAMES[type(value)]
    return _dotted(path), f"Invalid type. Expected: {_NAMES[expected]}, given: {given}."


def _dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path))

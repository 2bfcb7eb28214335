"""The types of what v3/mail/send takes: what is checked before any rule looks at it."""

from typing import Any

from simulator import shape
from simulator.shape import NAMES, STRINGS, Misfit

_PERSON = {"email": str, "name": str}
_SWITCH = {"enable": bool}
_ENVELOPE = {
    "to": [_PERSON],
    "cc": [_PERSON],
    "bcc": [_PERSON],
    "from": _PERSON,
    "subject": str,
    "headers": STRINGS,
    "custom_args": STRINGS,
    "substitutions": STRINGS,
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
    "headers": STRINGS,
    "custom_args": STRINGS,
    "categories": [str],
    "send_at": int,
    "template_id": str,
    "mail_settings": {"sandbox_mode": _SWITCH},
    "tracking_settings": {
        "click_tracking": {**_SWITCH, "enable_text": bool},
        "open_tracking": {**_SWITCH, "substitution_tag": str},
    },
}


def misfits(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Path and description of every value of a wrong type; the description may be empty."""
    return [(one.dotted, _described(one)) for one in shape.misfits(body, _BODY)]


def _described(misfit: Misfit) -> str:
    if misfit.expected is None:
        return ""
    expected, given = NAMES[misfit.expected], NAMES[type(misfit.value)]
    return f"Invalid type. Expected: {expected}, given: {given}."

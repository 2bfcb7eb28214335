"""The form for a mail: what a person typed as a request of the API, and the faults back."""

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, cast

from marshmallow import fields

from app.api.attachments import FormFile
from app.api.schemas import MessageRequest
from app.core.submit import Submission

LISTS = ("reply_to", "to", "cc", "bcc")
TRACK = ("track_opens", "track_clicks")
FIELDS = ("from", *LISTS, "subject", "text", "html", "attachments", *TRACK, "send_at", "priority")

_REQUEST = MessageRequest()
_REQUIRED = fields.Field.default_error_messages["required"]
_IDEMPOTENCY_KEY = re.compile(r"page-[\w-]{32}", re.ASCII)


def _new_idempotency_key() -> str:
    return f"page-{secrets.token_urlsafe(24)}"


@dataclass(frozen=True, slots=True)
class MailForm:
    """What stands in the form. Its Idempotency-Key is made with it, and makes it safe to repeat.

    Its files are not shown again: no browser takes them from a page.
    """

    values: Mapping[str, str]
    idempotency_key: str = field(default_factory=_new_idempotency_key)
    files: tuple[FormFile, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, posted: Mapping[str, str], files: Iterable[FormFile] = ()) -> Self:
        """The form as it was posted; browsers write line breaks as CR LF."""
        values = {name: posted.get(name, "").replace("\r\n", "\n") for name in FIELDS}
        key = posted.get("idempotency_key", "")
        form = cls(values, key) if _IDEMPOTENCY_KEY.fullmatch(key) else cls(values)
        return replace(form, files=tuple(files))

    def afresh(self) -> Self:
        """The same as a new mail."""
        return replace(self, idempotency_key=_new_idempotency_key())

    def submission(self) -> Submission:
        """The request to send it. Raises ValidationError."""
        request: dict[str, Any] = {name: split_addresses(self.values[name]) for name in LISTS}
        for name in ("from", "subject", "priority"):
            request[name] = self.values[name].strip()
        request["send_at"] = _in_utc(self.values["send_at"].strip())
        for name in ("text", "html"):
            request[name] = self.values[name]
        request["attachments"] = list(self.files)
        request["track"] = {
            name.removeprefix("track_"): True for name in TRACK if self.values[name]
        }
        return cast("Submission", _REQUEST.load({n: v for n, v in request.items() if v}))

    def faults(self, errors: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """Faults by field of the form, in its order; an address that is one of several is named."""
        faults: dict[str, list[str]] = {}
        for path, texts in errors.items():
            name, _, index = path.partition(".")
            pieces = split_addresses(self.values[name]) if name in LISTS else []
            if name == "attachments":
                pieces, index = [file.filename for file in self.files], index.partition(".")[0]
            about = f"{pieces[int(index)]}: " if index.isdecimal() and len(pieces) > 1 else ""
            faults.setdefault(name, []).extend(
                "Please fill this in." if text == _REQUIRED else about + text for text in texts
            )
        return dict(sorted(faults.items(), key=lambda fault: _place(fault[0])))


def _in_utc(local: str) -> str:
    """What a field for a date and a time holds, which knows no zone, as a time in UTC."""
    return re.sub(r"^([\d-]+T\d\d:\d\d)(:[\d.]+)?$", lambda m: f"{m[1]}{m[2] or ':00'}Z", local)


def split_addresses(text: str) -> Sequence[str]:
    """The addresses in a line, parted by commas, semicolons or line breaks outside of quotes."""
    return [piece for piece in (piece.strip() for piece in _pieces(text)) if piece]


def _pieces(text: str) -> Iterator[str]:
    begin, quoted, escaped = 0, False, False
    for place, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char in ",;\n" and not quoted:
            yield text[begin:place]
            begin = place + 1
    yield text[begin:]


def _place(name: str) -> int:
    return FIELDS.index(name) if name in FIELDS else len(FIELDS)

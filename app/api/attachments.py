"""Attachments in requests: objects with base64 in JSON, files in a form."""

import binascii
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from marshmallow import ValidationError, fields, validate

from app.api.texts import OneLine, Pattern
from providers.types import Attachment

MOST_ATTACHMENTS = 100
_SCHEMAS = "#/components/schemas/"
_DEFAULT_TYPE = "application/octet-stream"
_PACKED = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
}
"""The types of files that are packed, by the encodings that names stand for."""

_filename = OneLine(255, 1)
_bare_name = Pattern(
    r"^(?! *\.{0,2} *$)[^/\\\u0000-\u001f\u007f-\u009f\u2028\u2029]+$",
    error="A name without a path is needed: no slashes, and not dots alone.",
)
_content_type = Pattern(
    r"^[A-Za-z0-9!#$&^_.+-]{1,38}/[A-Za-z0-9!#$&^_.+-]{1,39}$",
    error="Not a content type: it is a type and a subtype, such as application/pdf.",
)
_content_id = Pattern(
    r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,78}$",
    error="1 to 78 ASCII letters, digits and signs, without blanks and angle brackets.",
)

COMPONENTS: Mapping[str, Mapping[str, Any]] = {
    "Attachment": {
        "type": "object",
        "description": "A file that goes with the message. One with a `content_id` is shown within "
        "the HTML, which refers to it as `cid:<content_id>`; no two may have the same.",
        "properties": {
            "filename": {
                "type": "string",
                "maxLength": 255,
                "pattern": _bare_name.regex.pattern,
            },
            "content": {
                "type": "string",
                "contentEncoding": "base64",
                "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
            },
            "content_type": {
                "type": ["string", "null"],
                "pattern": _content_type.regex.pattern,
                "description": "If null, what the end of the name stands for.",
            },
            "content_id": {"type": ["string", "null"], "pattern": _content_id.regex.pattern},
        },
        "required": ["filename", "content"],
        "additionalProperties": False,
    },
    "AttachedFile": {
        "type": "string",
        "format": "binary",
        "description": "Its part has a filename, and may have a Content-Type and a Content-ID: "
        "one with the latter is shown within the HTML.",
    },
}
"""Schemas that the field refers to: an attachment in JSON, and one in a form."""


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file as it came in a form, and its headers: the empty text where it had none."""

    filename: str
    content: bytes
    content_type: str = ""
    content_id: str = ""


class AttachmentField(fields.Field[Attachment]):
    """An attachment as an object with `filename` and `content`, or as a file of a form."""

    json_schema: ClassVar[Mapping[str, Any]] = {"$ref": f"{_SCHEMAS}Attachment"}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Attachment:
        if isinstance(value, FormFile):
            return _from_form(value)
        if isinstance(value, str):
            raise ValidationError("Not a file: send multipart/form-data, or JSON.")
        if not isinstance(value, Mapping):
            raise ValidationError("Not an attachment: it is an object with filename and content.")
        return _from_json(value)


class AttachmentsField(fields.List[Attachment]):
    """A list of attachments, whose content ids tell them apart."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            AttachmentField(), validate=validate.Length(max=MOST_ATTACHMENTS), **kwargs
        )

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        attachments = cast(
            "Sequence[Attachment]", super()._deserialize(value, attr, data, **kwargs)
        )
        ids = [attachment.content_id for attachment in attachments]
        repeated = {
            str(place): {"content_id": ["Another attachment has the same."]}
            for place, content_id in enumerate(ids)
            if content_id is not None and content_id in ids[:place]
        }
        if repeated:
            raise ValidationError(repeated)
        return attachments


def _from_json(value: Mapping[str, Any]) -> Attachment:
    known = {"filename", "content", "content_type", "content_id"}
    faults = {name: ["Unknown field."] for name in value.keys() - known}
    texts: dict[str, str] = {}
    for name in ("filename", "content", "content_type", "content_id"):
        found = value.get(name)
        if isinstance(found, str):
            texts[name] = found
        elif found is not None or name in ("filename", "content"):
            faults[name] = ["Not a string." if name in value else "Missing."]
    content = b""
    if "content" in texts:
        try:
            content = binascii.a2b_base64(texts["content"], strict_mode=True)
        except ValueError:
            faults["content"] = ["Not base64, which is to stand by itself on one line."]
    return _checked(content, texts, faults)


def _from_form(file: FormFile) -> Attachment:
    texts = {
        "filename": file.filename,
        # What programs say that know nothing of a file, where its name may say more.
        "content_type": "" if file.content_type == _DEFAULT_TYPE else file.content_type,
        "content_id": file.content_id.strip().removeprefix("<").removesuffix(">"),
    }
    return _checked(file.content, {name: text for name, text in texts.items() if text}, {})


def _checked(content: bytes, texts: Mapping[str, str], faults: dict[str, list[str]]) -> Attachment:
    checks = (
        ("filename", _filename),
        ("filename", _bare_name),
        ("content_type", _content_type),
        ("content_id", _content_id),
    )
    for name, check in checks:
        if name in texts and name not in faults:
            try:
                check(texts[name])
            except ValidationError as error:
                faults[name] = [str(message) for message in error.messages]
    filename = texts.get("filename", "").strip(" ")
    if not filename and "filename" not in faults:
        faults["filename"] = ["Missing."]
    if faults:
        raise ValidationError(faults)
    kind = texts.get("content_type") or _guessed(filename)
    return Attachment(filename, kind.lower(), content, texts.get("content_id"))


def _guessed(filename: str) -> str:
    """The type that the end of a name stands for."""
    # The whole name could be taken for an address, which is what is guessed at otherwise.
    kind, encoding = mimetypes.guess_type(f"file{''.join(re.findall(r'[.][^.]*', filename))}")
    return (kind if encoding is None else _PACKED.get(encoding)) or _DEFAULT_TYPE

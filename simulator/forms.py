"""Form bodies, both encodings, as a lenient server reads them."""

import binascii
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^\s;]+))', re.IGNORECASE)
_PLAIN_FIELD = re.compile(rb'content-disposition: form-data; name="([^"\\%]+)"', re.IGNORECASE)
_PARAMETER = re.compile(r';\s*(name|filename\*?)=(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))', re.IGNORECASE)
# How browsers and urllib3 write the three characters that a quoted name cannot hold.
_ESCAPES = {"%22": '"', "%0D": "\r", "%0A": "\n"}


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part of a multipart form that has a filename."""

    name: str
    filename: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """Every value of every field, in the order sent."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: list[FilePart] = field(default_factory=list)

    def add(self, name: str, value: str) -> None:
        self.fields.setdefault(name, []).append(value)

    def first(self, name: str) -> str | None:
        values = self.fields.get(name)
        return values[0] if values else None


def parse_form(content_type: str, body: bytes) -> Form:
    """Read a form; of another content type, an empty one. Raises ValueError where it is broken."""
    kind = content_type.partition(";")[0].strip().lower()
    form = Form()
    if kind == "application/x-www-form-urlencoded":
        for pair in body.split(b"&"):
            name, _, value = pair.partition(b"=")
            if name:
                form.add(_unquoted(name), _unquoted(value))
    elif kind == "multipart/form-data":
        boundary = _BOUNDARY.search(content_type)
        if boundary is None:
            raise ValueError("no boundary")
        _read_parts(form, b"--" + (boundary[1] or boundary[2]).encode("latin-1"), body)
    return form


def _unquoted(text: bytes) -> str:
    text = text.replace(b"+", b" ")
    if b"%" in text:
        # The same as quoted-printable but for its mark; there is a decoder for that in C.
        text = binascii.a2b_qp(text.replace(b"=", b"=3D").replace(b"%", b"="))
    return text.decode("utf-8", "replace")


def _read_parts(form: Form, delimiter: bytes, body: bytes) -> None:
    sections = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if len(sections) < 2 or not sections[-1].startswith(b"--"):
        raise ValueError("no closing boundary")
    for section in sections[1:-1]:
        head, separator, content = section.partition(b"\r\n\r\n")
        if not separator:
            raise ValueError("a part without a body")
        if plain := _PLAIN_FIELD.fullmatch(head, 2):
            form.add(plain[1].decode("utf-8", "replace"), content.decode("utf-8", "replace"))
            continue
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (
                line.partition(":") for line in head.decode("utf-8", "replace").split("\r\n")
            )
        }
        names = _parameters(headers.get("content-disposition", ""))
        if "name" not in names:
            raise ValueError("a part without a name")
        if names.get("filename"):
            kind = headers.get("content-type", "application/octet-stream")
            form.files.append(FilePart(names["name"], names["filename"], kind, content))
        else:
            form.add(names["name"], content.decode("utf-8", "replace"))


def _parameters(disposition: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, quoted, bare in _PARAMETER.findall(disposition):
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted else bare
        for escape, character in _ESCAPES.items():
            value = value.replace(escape, character)
        found[key.lower()] = value
    # RFC 2231: charset'language'percent-encoded; it wins over the plain form.
    if "filename*" in found:
        charset, _, encoded = found["filename*"].split("'", 2)
        latin = charset.lower() == "iso-8859-1"
        found["filename"] = unquote(encoded, encoding="latin-1" if latin else "utf-8")
    return found

"""Changing where the links of an HTML mail lead, and nothing else in it, byte for byte.

It is read as browsers read it (https://html.spec.whatwg.org/multipage/parsing.html), as far as that
says where a tag begins and ends: quotes, comments (also those that only Outlook reads), styles and
scripts hide what looks like a link. All else is skipped by one expression that does not go back, so
that the time it takes grows with the length of the mail, whatever is in it.
"""

import html as entities
import re
from collections.abc import Callable
from html.entities import html5
from urllib.parse import quote

import idna

NOT_TRACKED = "data-no-track"
"""The attribute of a link that is to be left as it is."""

_MOST_TAGS = 10_000
_LONGEST_VALUE = 4000

_SPACE = r"[ \t\n\f\r]"
_VALUE = r"""(?:"[^"]*+"|'[^']*+'|(?=>)|(?!["'])[^ \t\n\f\r>]++)"""
_GIVEN = rf"{_SPACE}*+={_SPACE}*+"
# A tag in which a quote is never closed never ends.
_ATTRIBUTE = rf"[^ \t\n\f\r/>][^ \t\n\f\r/>=]*+(?:{_GIVEN}{_VALUE}|(?!{_GIVEN}))"
_REST = rf"(?:[ \t\n\f\r/]++|{_ATTRIBUTE})*+>"
_COMMENT = r"<!--(?:-?>|(?:[^-]++|-(?!-!?>))*+--!?>)"
# What is in these is text, whatever it looks like; nothing ends the last one.
_TEXTS = "script|style|title|textarea|xmp|iframe|noembed|noframes|plaintext"
_END = r"(?=[ \t\n\f\r/>])"
_OF_INTEREST = rf"(?:(?:a|area|{_TEXTS}){_END}|/(?:body|html){_END})"
_FLAGS = re.IGNORECASE | re.ASCII

_SKIPPED = re.compile(
    rf"(?:[^<]++|{_COMMENT}|<(?![a-zA-Z/!?])|<(?:!(?!--)|\?|/(?![a-zA-Z]))[^>]*+>"
    rf"|<(?!{_OF_INTEREST})/?[a-zA-Z][^ \t\n\f\r/>]*+{_REST})*+",
    _FLAGS,
)
_TAG = re.compile(rf"<(/?[a-zA-Z][^ \t\n\f\r/>]*+)({_REST})", _FLAGS)
_ATTRIBUTES = re.compile(rf"([^ \t\n\f\r/>][^ \t\n\f\r/>=]*+)(?:{_GIVEN}({_VALUE}))?+", _FLAGS)
_ENDS = {
    name: re.compile("(?!)" if name == "plaintext" else f"</{name}{_END}", _FLAGS)
    for name in _TEXTS.split("|")
}

_REFERENCE = re.compile(r"&(#[0-9]++;?|#[xX][0-9a-fA-F]++;?|[a-zA-Z][a-zA-Z0-9]*+;?)(=?)")
_WEB = re.compile(r"(https?://)([^/?#\\]++)([^\\]*+)", _FLAGS)
_BLANK = "".join(map(chr, range(0x21)))
_LEFT_OUT = str.maketrans("", "", "\t\n\r")
_AS_IT_IS = "".join(c for c in map(chr, range(0x21, 0x7F)) if c not in '"<>`')


def rewritten(
    html: str, link: Callable[[str], str | None] | None, most: int, pixel: str | None = None
) -> str:
    """The HTML with its first `most` links led to where `link` says, and with a `pixel` at the end.

    A link is the href of an <a> or <area> that is an absolute URL of http or https. `link` is given
    it as a browser would ask for it, in ASCII, and says None where it is to be left as it is. What
    it says, and `pixel`, are URLs that need no quotes and no escapes.
    """
    pieces: list[str] = []
    copied = at = tags = 0
    while (most > 0 and link is not None) or pixel is not None:
        skipped = _SKIPPED.match(html, at)
        at = at if skipped is None else skipped.end()
        tag = _TAG.match(html, at) if tags < _MOST_TAGS else None
        if tag is None:
            # Here is the end, or the beginning of what has none.
            break
        tags += 1
        name = tag[1].lower()
        if name in _ENDS:
            end = _ENDS[name].search(html, tag.end())
            if end is None:
                break
            at = end.start()
            continue
        at = tag.end()
        if name.startswith("/"):
            if pixel is not None:
                pieces += [html[copied : tag.start()], _image(pixel)]
                copied, pixel = tag.start(), None
        elif most > 0 and link is not None and (place := _href(html, tag)) is not None:
            target = _target(html[slice(*place)])
            led = None if target is None else link(target)
            if led is not None:
                pieces += [html[copied : place[0]], led]
                copied, most = place[1], most - 1
    if pixel is not None:
        pieces += [html[copied:at], _image(pixel)]
        copied = at
    return "".join((*pieces, html[copied:]))


def _image(url: str) -> str:
    style = "border:0;width:1px;height:1px"
    return f'<img src="{url}" width="1" height="1" alt="" style="{style}">'


def _href(html: str, tag: re.Match[str]) -> tuple[int, int] | None:
    """Where the value of the href of a tag stands, if it has one and may be tracked."""
    place = None
    for attribute in _ATTRIBUTES.finditer(html, tag.start(2), tag.end(2)):
        name = attribute[1].lower()
        if name == NOT_TRACKED:
            return None
        # Of two with the same name, the first counts.
        if name == "href" and place is None:
            place = attribute.span(2)
            if (attribute[2] or "").startswith(('"', "'")):
                place = place[0] + 1, place[1] - 1
    return place


def _target(value: str) -> str | None:
    """What a browser would ask for that follows an href of this value; None if not over http(s)."""
    if len(value) > _LONGEST_VALUE:
        return None
    url = _REFERENCE.sub(_character, value).strip(_BLANK).translate(_LEFT_OUT)
    found = _WEB.fullmatch(url)
    host = None if found is None else _host(found[2])
    if found is None or host is None:
        return None
    return found[1] + host + quote(found[3], safe=_AS_IT_IS, errors="replace")


def _host(text: str) -> str | None:
    """The host of a URL, with what else stands there, in ASCII; None if there can be no such."""
    if not text.isascii():
        name, colon, port = text.partition(":")
        try:
            text = idna.encode(name, uts46=True).decode() + colon + port
        except idna.IDNAError:
            return None
    return text if all(c in _AS_IT_IS for c in text) else None


def _character(reference: re.Match[str]) -> str:
    """What a character reference in an attribute stands for."""
    name, equals = reference.groups()
    if name.startswith("#"):
        return entities.unescape(f"&{name}") + equals
    # In `?a=1&copy=2` there is no copyright sign.
    if equals and not name.endswith(";"):
        return reference[0]
    return html5.get(name, f"&{name}") + equals

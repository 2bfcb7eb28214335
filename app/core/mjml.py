"""MJML as a Jinja template of HTML: it is compiled first, so that no value is read as MJML."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import mrml

from app.core.sandbox import Sandbox

_OPENING = ("variable_begin", "block_begin", "comment_begin", "raw_begin", "raw_end")
_CLOSING = ("variable_end", "block_end", "comment_end", "raw_begin", "raw_end")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_PLACE = re.compile(r" at position (\d+):\d+$")


class MarkupFault(Exception):
    """What is wrong with the markup of a template, in a sentence."""


class Veiled:
    """A template whose Jinja tags are hidden behind words that are no markup to anybody."""

    def __init__(self, source: str, sandbox: Sandbox) -> None:
        self._word = "jinja"
        while self._word in source:
            self._word += "j"
        self.tags: list[tuple[int, str]] = []
        self.text = "".join(self._veiled(source, sandbox))

    def _veiled(self, source: str, sandbox: Sandbox) -> Iterator[str]:
        tag: list[str] | None = None
        for line, kind, text in sandbox.lex(source):
            if kind in _OPENING:
                tag = []
                self.tags.append((line, ""))
            if tag is None:
                yield text
                continue
            tag.append(text)
            if kind in _CLOSING:
                number = len(self.tags) - 1
                self.tags[number] = (self.tags[number][0], "".join(tag))
                tag = None
                yield self.word(number)

    def word(self, number: int) -> str:
        return f"{self._word}{number}e"

    def unveiled(self, text: str) -> str:
        """The text with the tags in the places of their words."""
        return re.sub(f"{self._word}([0-9]+)e", lambda m: self.tags[int(m[1])][1], text)

    def numbers_in(self, text: str) -> list[int]:
        return [int(number) for number in re.findall(f"{self._word}([0-9]+)e", text)]


def compiled(source: str, sandbox: Sandbox) -> str:
    """The Jinja template of HTML that a Jinja template of MJML stands for. Raises MarkupFault."""
    veiled = Veiled(source, sandbox)
    if "<mjml" not in veiled.text:
        raise MarkupFault("There is no <mjml> in it.")
    try:
        html = mrml.to_html(
            veiled.text,
            mrml.ParserOptions(include_loader=mrml.noop_loader()),
            # Fonts would be fetched from elsewhere whenever the mail is opened.
            mrml.RenderOptions(disable_comments=True, fonts={}),
        ).content
    except OSError as error:
        raise MarkupFault(_told(str(error), veiled.text)) from error
    kept = set(veiled.numbers_in(html))
    for number, (line, tag) in enumerate(veiled.tags):
        if number not in kept and not tag.startswith("{#"):
            raise MarkupFault(f"Line {line}: {tag.strip()} stands where MJML does not keep it.")
    return veiled.unveiled(html)


def check_attributes(html: str, sandbox: Sandbox) -> None:
    """Raises MarkupFault where a value would stand in a tag without quotes, and could get out."""
    veiled = Veiled(html, sandbox)
    tags = _StartTags(veiled.text).found
    for tag in tags:
        for number in veiled.numbers_in(_QUOTED.sub("", tag)):
            line, text = veiled.tags[number]
            if text.startswith("{{"):
                raise MarkupFault(f"Line {line}: {text.strip()} wants quotes around the attribute.")


class _StartTags(HTMLParser):
    """The start tags of an HTML text, as they are written."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(self.get_starttag_text() or "")


def _told(error: str, text: str) -> str:
    """mrml's error, with a line in place of a position."""
    place = _PLACE.search(error)
    what = _PLACE.sub("", error).removesuffix(" in root template")
    if place is None:
        return f"MJML: {what}."
    line = text.encode()[: int(place[1])].count(b"\n") + 1
    return f"Line {line}: {what}."

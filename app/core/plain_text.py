"""A text made from HTML, for mail that has none of its own."""

from html2text import HTML2Text


def text_of(html: str) -> str | None:
    """The text in the HTML, with its links; None where there is none."""
    converter = HTML2Text(bodywidth=0)
    converter.ignore_images = True
    return converter.handle(html).strip() or None

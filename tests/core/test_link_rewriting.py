"""The links of an HTML mail lead elsewhere, and nothing else is changed."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.link_rewriting import rewritten

MARK = "https://m.example/c/{}/"
PIXEL = "https://m.example/o/p.gif"
IMAGE = rewritten("", None, 0, PIXEL)


def marked(html, most=500, pixel=None):
    """The HTML with its links replaced by numbers, and what they led to."""
    found = []

    def link(url):
        found.append(url)
        return MARK.format(len(found))

    return rewritten(html, link, most, pixel), found


@pytest.mark.parametrize(
    ("html", "url", "after"),
    [
        ('<a href="http://x.example/">x</a>', "http://x.example/", '<a href="{URL}">x</a>'),
        ("<A HREF='HTTPS://X.example'>x</A>", "HTTPS://X.example", "<A HREF='{URL}'>x</A>"),
        ("<a\n\thref = https://x.example/a/>", "https://x.example/a/", "<a\n\thref = {URL}>"),
        ("<a/href=http://x/ b>", "http://x/", "<a/href={URL} b>"),
        ('<area alt="a>b" href=" http://x/ ">', "http://x/", '<area alt="a>b" href="{URL}">'),
        ('<a href="http://x/?a=1&amp;b=2">', "http://x/?a=1&b=2", '<a href="{URL}">'),
        ('<a href="http://x/?a=1&copy=2">', "http://x/?a=1&copy=2", '<a href="{URL}">'),
        ('<a href="http://x/?a&copy;">', "http://x/?a%C2%A9", '<a href="{URL}">'),
        ('<a href="http&#58;//x/&#X2f;">', "http://x//", '<a href="{URL}">'),
        ('<a href="http://x/a b\n?q=ä#é">', "http://x/a%20b?q=%C3%A4#%C3%A9", '<a href="{URL}">'),
        (
            '<a href="http://bücher.example:8080/">',
            "http://xn--bcher-kva.example:8080/",
            '<a href="{URL}">',
        ),
        ('<a href="http://x/%7e%zz+">', "http://x/%7e%zz+", '<a href="{URL}">'),
        (
            '<a href="http://a/" href="http://b/">',
            "http://a/",
            '<a href="{URL}" href="http://b/">',
        ),
        (
            '<!--[if !mso]><!--><a href="http://x/"><!--<![endif]-->',
            "http://x/",
            '<!--[if !mso]><!--><a href="{URL}"><!--<![endif]-->',
        ),
        ("<!--><a href=http://x/>", "http://x/", "<!--><a href={URL}>"),
        ("<p <b><a href=http://x/>", "http://x/", "<p <b><a href={URL}>"),
        ("a < b <3 <a href=http://x/>", "http://x/", "a < b <3 <a href={URL}>"),
        (
            "<style>a>b{}</style ><a href=http://x/>",
            "http://x/",
            "<style>a>b{}</style ><a href={URL}>",
        ),
    ],
)
def test_a_link_leads_elsewhere_as_a_browser_would_have_followed_it(html, url, after):
    assert marked(html) == (after.replace("{URL}", MARK.format(1)), [url])


@pytest.mark.parametrize(
    "html",
    [
        '<a href="mailto:ann@example.net">',
        '<a href="tel:+123">',
        '<a href="#top">',
        '<a href="/relative">',
        '<a href="//x.example/">',
        '<a href="cid:logo">',
        '<a href="javascript:alert(1)">',
        '<a href="data:text/html,http://x/">',
        '<a href="http:x">',
        '<a href="http:///x">',
        '<a href="http://x\\@evil.example/">',
        '<a href="http://a b/">',
        '<a href="http://ä_ü.\u2028example/">',
        "<a href>",
        "<a href=>",
        '<a href="">',
        '<a data-no-track href="http://x/">',
        '<a href="http://x/" DATA-NO-TRACK="yes">',
        '<a data-href="http://x/">',
        '<abbr href="http://x/">',
        '<link href="http://x/">',
        '<img src="http://x/">',
        "<img alt=\"<a href='http://x/'>\">",
        "<!-- <a href='http://x/'> -->",
        "<!--[if mso]><a href='http://x/'><![endif]-->",
        "<!--[if mso]> -> <a href='http://x/'>",
        "<style>/* <a href='http://x/'> */</style>",
        "<script>'<a href=http://x/>'</script>",
        "<textarea><a href='http://x/'></textarea>",
        "<plaintext></plaintext><a href='http://x/'>",
        '<a title="never closed href="http://x/">',
        "<a href='http://x/",
        "</a href='http://x/'>",
        "<\u212aa href='http://x/'>",
        f"<a href='http://x/?{'a' * 5000}'>",
        f"<a href='http://x/?&#{'9' * 5000};'>",
    ],
)
def test_what_is_no_link_of_the_web_is_left_alone(html):
    assert marked(html) == (html, [])


def test_so_many_links_and_no_more():
    html = "<a href=http://x/>" * 5
    assert marked(html, most=3)[0].count("https://m.example/c/") == 3


def test_a_link_that_is_to_be_left_alone_is():
    html = "<a href='http://x/?a&amp;b'>x</a>"
    assert rewritten(html, lambda url: None, 500) == html


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<p>Hi</p>", ""),
        ("<p>Hi</p>", "</BODY ></html>"),
        ("<p>Hi</p>", "</html>"),
        ("<!-- </body> --><p>Hi", "</body><a href='#'>"),
        ("<p>Hi", "<!-- not closed"),
        ("<p>Hi", "<a title='"),
        ("<p>Hi", "<style>"),
    ],
)
def test_the_pixel_stands_at_the_end_where_it_is_seen(before, after):
    assert rewritten(before + after, None, 0, PIXEL) == before + IMAGE + after


PIECES = st.sampled_from(
    [
        *("<a ", "<A\n", "<area ", "</a>", "<p>", "<b ", ">", "/>", "<", "</", "<!--", "-->", "-"),
        *("href=", 'HREF = "', "href='", '"', "'", " ", "\n", "=", "/", "data-no-track", "alt="),
        *("http://x.example/", "https://é.example/?a&amp;b", "mailto:a@b", "#", "&amp;", "&#64;"),
        *("<style>", "</style>", "<script ", "</script>", "<!DOCTYPE html>", "<![endif]", "<?xml"),
        *("</body>", "</html>", "<title>", "</title>", "text", "ä", "\u2028", "\x00", "\ud800"),
    ]
)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_whatever_the_html_nothing_changes_but_what_was_replaced(html):
    after, found = marked(html, pixel=PIXEL)
    assert after.count(IMAGE) == 1
    pattern = re.escape(after.replace(IMAGE, ""))
    for number in range(1, len(found) + 1):
        pattern = pattern.replace(re.escape(MARK.format(number)), ".*?", 1)
    assert re.fullmatch(pattern, html, re.DOTALL)


@given(st.text(alphabet="<>a/!-='\" hrefstylbo&#;:0", max_size=200))
def test_without_links_and_pixel_everything_stays(html):
    assert rewritten(html, lambda url: None, 500) == html


@pytest.mark.parametrize(
    "piece",
    [
        "<b>",
        "<a>",
        "<!--",
        "<p a='",
        '<a href="',
        "<p a ",
        "</",
        "<style>",
        "<!",
        "&amp",
        "<a =",
        "-",
    ],
)
@pytest.mark.parametrize("before", ["", "<p ", "<!--", "<a href='http://x/"])
def test_hostile_html_takes_no_longer_than_its_length(before, piece):
    html = before + piece * (1_000_000 // len(piece))
    began = time.process_time()
    marked(html, pixel=PIXEL)
    assert time.process_time() - began < 2

"""The pages of templates: the list, and what a template comes to with variables."""

import re
from html import unescape
from urllib.parse import quote

import orjson
import pytest

from app.core.rendering import Sources

NEWS = Sources("News for {{ name }}", "Dear {{ name }}", "<p>Dear <b>{{ name }}</b></p>")


@pytest.fixture
def news(services):
    return services.templates.put("shop", "news", NEWS, {"name": "Ann <3"})


def words(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


def frame(page: str) -> str | None:
    found = re.search(r'<iframe[^>]* src="([^"]*)"', page)
    return found and unescape(found[1])


def with_variables(**variables) -> str:
    return f"/previews/news?variables={quote(orjson.dumps(variables))}"


@pytest.mark.usefixtures("news")
def test_the_templates_of_the_key_are_listed_with_those_that_are_shipped(visitor, services):
    services.templates.put("blog", "secret", NEWS, {})
    page = visitor.get("/previews")
    assert "news Version 1 just now News for {{ name }}" in words(page.text)
    assert "welcome Shipped" in words(page.text)
    assert 'href="/previews/welcome"' in page.text
    assert "secret" not in page.text
    assert visitor.get("/previews/secret").status_code == 404


@pytest.mark.usefixtures("news")
def test_a_template_is_shown_with_its_sample(visitor):
    page = visitor.get("/previews/news")
    text = words(page.text)
    assert page.status_code == 200
    assert "It asks for name." in text
    assert "News for Ann <3" in text
    assert "Dear Ann <3" in text
    assert "<b>Ann" not in page.text
    html = visitor.get(frame(page.text))
    assert html.mimetype == "text/html"
    assert html.text == "<p>Dear <b>Ann &lt;3</b></p>"


@pytest.mark.usefixtures("news")
def test_a_template_is_shown_with_other_variables(visitor):
    page = visitor.get(with_variables(name="Bob & Co"))
    assert "News for Bob & Co" in words(page.text)
    assert visitor.get(frame(page.text)).text == "<p>Dear <b>Bob &amp; Co</b></p>"
    assert '{"name":"Bob & Co"}' in words(page.text)


@pytest.mark.usefixtures("news")
def test_html_of_a_mail_is_shown_in_a_frame_in_which_nothing_runs(visitor):
    page = visitor.get("/previews/news")
    assert re.search(r'<iframe class="mail-frame" sandbox ', page.text)
    assert "frame-src 'self'" in page.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    headers = visitor.get("/previews/news/html").headers
    policy = [part.strip() for part in headers["Content-Security-Policy"].split(";")]
    assert policy == [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
        "sandbox",
    ]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ("{}", "variables.name : The template needs it."),
        ("{", "variables : Not JSON:"),
        ("[]", "variables : Not a valid mapping type."),
        ('{"name": "' + "x" * 16_384 + '"}', "variables : More than 16,384 bytes."),
        ('{"name": "a\\nb"}', "They put a line break into the subject."),
    ],
)
@pytest.mark.usefixtures("news")
def test_what_is_wrong_with_the_variables_is_told_and_they_are_kept(visitor, variables, fault):
    page = visitor.get(f"/previews/news?variables={quote(variables)}")
    assert page.status_code == 422
    assert fault in words(page.text)
    assert frame(page.text) is None
    assert variables in unescape(page.text)
    assert visitor.get(f"/previews/news/html?variables={quote(variables)}").status_code == 404


@pytest.mark.usefixtures("news")
def test_earlier_versions_can_be_looked_at(visitor, services):
    services.templates.put("shop", "news", Sources("Only text", "Just this"), {})
    page = visitor.get("/previews/news")
    assert "Versions that are kept: 2 , 1" in words(page.text)
    assert frame(page.text) is None
    old = visitor.get("/previews/news?version=1")
    assert "News for Ann" in words(old.text)
    assert visitor.get(frame(old.text)).text.startswith("<p>Dear <b>Ann")
    assert visitor.get("/previews/news?version=3").status_code == 404


@pytest.mark.parametrize("name", ["welcome", "password-reset", "receipt"])
def test_each_shipped_template_has_its_page(visitor, name):
    page = visitor.get(f"/previews/{name}")
    assert "Shipped with Steadpost." in words(page.text)
    assert "Ann" in visitor.get(frame(page.text)).text


@pytest.mark.parametrize("name", ["none", "..", "Welcome"])
def test_a_template_that_is_not_there_has_no_page(visitor, name):
    assert visitor.get(f"/previews/{quote(name)}").status_code == 404

"""What holds for every page: who sees it, what a browser may do with it, and how errors look."""

import re
from pathlib import Path

import pytest

from app.api.auth import is_open
from app.core.ids import new_message_id
from app.core.models import Finding, MessageState, Outcome, RecipientState, Source
from app.web import wording
from tests.web.conftest import BROWSER, MAIL, hidden_fields

ROOT = Path(__file__).parents[2]
OPEN_PAGES = {"/login", "/login/<string:token>"}


def page_rules(app):
    """The pages for those who log in; the links in mails are for whoever has them."""
    rules = (rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("web."))
    links = ("web.unsubscribing.", "web.tracking.")
    return [rule for rule in rules if not rule.endpoint.startswith(links)]


def path_of(rule) -> str:
    return rule.rule.replace("<string:message_id>", new_message_id(1)).replace(
        "<string:token>", "token"
    )


def test_every_page_but_the_login_asks_who_is_there(app, stranger):
    for rule in page_rules(app):
        if "GET" in rule.methods and rule.rule not in OPEN_PAGES:
            answer = stranger.get(path_of(rule))
            assert answer.status_code == 303, rule
            assert answer.location.startswith("/login"), rule


def test_every_page_guards_itself_and_wants_no_key_in_a_header(app):
    for rule in page_rules(app):
        assert is_open(app.view_functions[rule.endpoint]), rule


CROSS_SITE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8000"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:8025"},
]


@pytest.mark.parametrize("headers", CROSS_SITE)
def test_every_form_of_another_site_is_refused(app, visitor, headers):
    fields = {**hidden_fields(visitor.get("/").text, "/"), **MAIL}
    for rule in page_rules(app):
        if "POST" in rule.methods:
            answer = visitor.client.post(path_of(rule), data=fields, headers={**BROWSER, **headers})
            assert answer.status_code == 403, rule
            assert "another site" in answer.text, rule
            assert MAIL["text"] not in answer.text


def test_every_form_without_its_token_is_refused(app, visitor):
    visitor.get("/")
    for rule in page_rules(app):
        if "POST" in rule.methods:
            assert visitor.post(path_of(rule), MAIL).status_code == 403, rule


@pytest.mark.parametrize("origin", ["http://localhost", "http://127.0.0.1:8000"])
def test_a_browser_that_says_only_its_origin_can_send_forms(visitor, origin):
    fields = {**hidden_fields(visitor.get("/").text, "/"), **MAIL}
    answer = visitor.client.post("/", data=fields, headers={**BROWSER, "Origin": origin})
    assert answer.status_code == 303


@pytest.mark.parametrize("path", ["/", "/outbox", "/check", "/login/x", "/nowhere", "/check?id=1"])
def test_every_page_has_the_headers_that_protect_it(visitor, path):
    headers = visitor.get(path).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("template", sorted((ROOT / "templates/web").glob("*.html")), ids=str)
def test_no_template_needs_what_the_policy_forbids(template):
    source = template.read_text()
    assert not re.search(r"<script(?![^>]*\ssrc=)", source)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", source)
    assert not re.search(r"(?:src|href)=[\"']https?:", source)
    assert "|safe" not in source.replace(" ", "")


def test_files_are_kept_for_ever_at_an_address_that_changes_with_them(stranger):
    page = stranger.get("/login").text
    addresses = re.findall(r'(?:src|href)="(/assets/[^"]*)"', page)
    assert len(addresses) >= 4
    for address in addresses:
        answer = stranger.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        plain = stranger.get(address.split("?")[0])
        assert "immutable" not in plain.headers["Cache-Control"]
        tag = {"If-None-Match": plain.headers["ETag"]}
        assert stranger.get(address.split("?")[0], **tag).status_code == 304


@pytest.mark.parametrize("name", ["nothing.js", "../session.py", "..%2fsession.py", "vendor/"])
def test_nothing_else_is_served_as_a_file(stranger, name):
    assert stranger.get(f"/assets/{name}").status_code == 404


def test_bootstrap_comes_with_its_licence():
    sheet = (ROOT / "app/web/static/vendor/bootstrap.min.css").read_text()
    assert "Licensed under MIT" in sheet[:500]


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [(BROWSER["Accept"], True), ("*/*", False), ("application/json", False), ("text/html", True)],
)
def test_an_error_is_a_page_for_a_browser_and_a_problem_for_a_program(visitor, accept, is_page):
    for path in (f"/outbox/{new_message_id(1)}", "/nowhere"):
        answer = visitor.get(path, Accept=accept)
        assert answer.status_code == 404
        expected = "text/html" if is_page else "application/problem+json"
        assert answer.mimetype == expected
        assert ("<h1>Not found</h1>" in answer.text) == is_page


def test_a_wrong_method_on_a_page_is_a_page_for_a_browser(visitor):
    answer = visitor.get("/logout")
    assert (answer.status_code, answer.mimetype) == (405, "text/html")
    assert "POST" in answer.headers["Allow"]


def test_errors_of_the_api_are_problems_even_for_a_browser(visitor):
    for path, status in (("/messages", 401), ("/status", 405)):
        answer = visitor.get(path)
        assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")


def test_everything_that_can_happen_has_words():
    assert set(wording.MESSAGE_STATES) == set(MessageState)
    assert set(wording.RECIPIENT_STATES) == set(RecipientState)
    assert set(wording.OUTCOMES) == set(Outcome)
    assert set(wording.FINDINGS) == set(Finding)
    assert set(wording.SOURCES) == set(Source)

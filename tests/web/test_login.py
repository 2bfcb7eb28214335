"""Logging in and out: by key, by link, and what keeps others out."""

import pytest
from werkzeug.http import parse_cookie

from config import ApiKey, Settings
from tests.web.conftest import BROWSER, ENVIRONMENT, KEY, OTHER_KEY, hidden_fields, with_settings


def test_a_key_opens_the_pages(stranger):
    answer = stranger.log_in()
    assert (answer.status_code, answer.location) == (303, "/")
    page = stranger.get("/")
    assert page.status_code == 200
    assert "key <strong>shop</strong>" in page.text


def test_a_wrong_key_is_told_so_under_its_field(stranger):
    answer = stranger.log_in("shop-secret-0123456780")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert 'aria-invalid="true"' in answer.text
    assert "There is no such key." in answer.text
    assert "shop-secret" not in answer.text
    assert stranger.get("/outbox").status_code == 303


def test_the_page_that_was_wanted_comes_after_the_login(stranger):
    asked = stranger.get("/outbox?status=sent")
    assert asked.location == "/login?next=/outbox?status%3Dsent"
    page = stranger.get(asked.location).text
    answer = stranger.post("/login", {**hidden_fields(page, "/login"), "key": KEY})
    assert answer.location == "/outbox?status=sent"


@pytest.mark.parametrize(
    "next_page",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "/\t/evil.example/",
        "/\n/evil.example",
        "javascript:alert(1)",
        "evil.example",
        "",
        " /outbox",
    ],
)
def test_a_login_leads_to_no_other_site(stranger, next_page):
    token = hidden_fields(stranger.get("/login").text, "/login")["form_token"]
    fields = {"form_token": token, "next": next_page, "key": KEY}
    assert stranger.post("/login", fields).location == "/"


def test_a_link_logs_in_once(stranger, services):
    link = f"/login/{services.logins.issue('shop')}"
    answer = stranger.submit(link, link, {})
    assert (answer.status_code, answer.location) == (303, "/")
    assert stranger.get("/outbox").status_code == 200
    again = stranger.submit(link, link, {})
    assert again.status_code == 410
    assert "used before" in again.text


def test_looking_at_a_link_does_not_use_it_up(stranger, services):
    link = f"/login/{services.logins.issue('shop')}"
    for _ in range(3):
        assert stranger.get(link).status_code == 200
        assert stranger.client.head(link).status_code == 200
    assert stranger.submit(link, link, {}).status_code == 303


def test_a_link_of_a_key_that_is_gone_opens_nothing(stranger, services):
    link = f"/login/{services.logins.issue('gone')}"
    assert stranger.submit(link, link, {}).status_code == 410


def test_a_logout_ends_the_session(visitor):
    assert visitor.submit("/", "/logout", {}).location == "/login"
    assert visitor.get("/outbox").status_code == 303


def test_a_session_ends_after_twelve_hours_however_busy(visitor, clock):
    for _ in range(11):
        clock.tick(3600)
        assert visitor.get("/outbox").status_code == 200
    clock.tick(3600)
    assert visitor.get("/outbox").status_code == 303


def test_a_session_ends_with_its_key(visitor, services):
    services.api_keys.__init__([ApiKey("blog", OTHER_KEY)])
    assert visitor.get("/outbox").status_code == 303


def test_the_session_opens_no_route_of_the_api(visitor):
    for path in ("/messages", "/providers"):
        assert visitor.get(path).status_code == 401


def test_a_key_in_a_header_opens_no_page(stranger):
    assert stranger.get("/outbox", Authorization=f"Bearer {KEY}").status_code == 303


def cookie_of(visitor) -> str:
    return visitor.get("/login").headers["Set-Cookie"]


def test_the_cookie_is_kept_from_scripts_and_other_sites(stranger):
    parts = set(cookie_of(stranger).split("; "))
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= parts
    assert "Secure" not in parts


def test_the_cookie_is_secure_where_the_service_is(services):
    cookie = cookie_of(with_settings(services, PUBLIC_URL="https://mail.example.com"))
    assert cookie.startswith("__Host-steadpost-")
    assert "; Secure;" in cookie


def test_two_copies_on_one_host_keep_their_cookies_apart(stranger, services):
    def name(cookie):
        return next(iter(parse_cookie(cookie.split(";")[0])))

    other = with_settings(services, SECRET_KEY="another secret key of 32 letters")
    assert name(cookie_of(stranger)) != name(cookie_of(other))


def test_the_cookie_is_signed_by_a_key_of_its_own(app):
    secret = Settings.from_env(ENVIRONMENT).secret_key
    assert app.secret_key
    assert secret not in app.secret_key


def test_nothing_of_an_old_session_is_left_after_a_login(stranger):
    before = hidden_fields(stranger.get("/login").text, "/login")["form_token"]
    stranger.log_in()
    assert hidden_fields(stranger.get("/").text, "/")["form_token"] != before


def test_a_login_without_a_token_of_its_form_is_refused(stranger):
    stranger.get("/login")
    for fields in ({}, {"form_token": ""}, {"form_token": "x" * 32}):
        assert stranger.post("/login", {**fields, "key": KEY}).status_code == 403
    assert stranger.get("/outbox").status_code == 303


def test_a_link_without_a_token_of_its_form_is_not_used_up(stranger, services):
    link = f"/login/{services.logins.issue('shop')}"
    assert stranger.post(link, {}).status_code == 403
    assert stranger.submit(link, link, {}).status_code == 303


def test_a_store_that_is_away_does_not_look_like_a_used_link(stranger, services, redis_server):
    link = f"/login/{services.logins.issue('shop')}"
    fields = hidden_fields(stranger.get(link).text, link)
    redis_server.connected = False
    answer = stranger.post(link, fields)
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    redis_server.connected = True
    assert stranger.post(link, fields).status_code == 303


def test_somebody_who_is_logged_in_is_not_asked_again(visitor):
    assert visitor.client.get("/login?next=/check", headers=BROWSER).location == "/check"

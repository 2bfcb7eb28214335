"""Every error of every route is a problem, Flask's own included."""

import fakeredis
import pytest

from app.api.errors import Problem
from app.core.scripting import StoreUnavailable, WriteInDoubt
from tests.api.caller import Caller, problem


@pytest.mark.parametrize(
    "path", ["/nothing", "/messages/x/y", "/messages/x", "/%ff%fe", "/statu", "/v1"]
)
def test_a_path_that_leads_nowhere_is_not_found_with_a_key_or_without(shop, nobody, path):
    assert problem(shop.get(path)) == problem(nobody.get(path)) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/messages", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("GET", "/status", {"OPTIONS", "POST"}),
        ("GET", "/messages/resend", {"OPTIONS", "POST"}),
        ("POST", "/livez", {"GET", "HEAD", "OPTIONS"}),
        ("TRACE", "/livez", {"GET", "HEAD", "OPTIONS"}),
        ("FROB", "/providers", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_method_that_is_not_taken_comes_with_those_that_are(shop, method, path, allowed):
    response = shop.call(method, path)
    assert problem(response) == (405, "method_not_allowed")
    assert {name.strip() for name in response.headers["Allow"].split(",")} == allowed


def test_options_are_answered(shop):
    response = shop.call("OPTIONS", "/messages")
    assert response.status_code == 200
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


@pytest.mark.parametrize("host", ["a b", "[", "x:y", "\xff"])
def test_a_strange_host_is_no_error_of_ours(app, host):
    response = app.test_client().get("/livez", headers={"Host": host})
    assert response.status_code in (200, 400)
    if response.status_code == 400:
        assert problem(response) == (400, "malformed")


@pytest.fixture
def broken(make_app) -> Caller:
    """An app with routes that fail, each in another way."""
    app = make_app(fakeredis.FakeRedis(decode_responses=True))
    failures = {
        "bug": ZeroDivisionError("the secret of ann@example.net"),
        "teapot": Problem(418, "No coffee here.", code="teapot"),
        "store": StoreUnavailable("away"),
        "doubt": WriteInDoubt("lost"),
        "typed": TypeError("x"),
    }

    def fail(name: str) -> None:
        raise failures[name]

    app.add_url_rule("/fail/<name>", view_func=fail)
    return Caller(app)


@pytest.mark.parametrize("name", ["bug", "typed"])
def test_an_error_of_ours_says_nothing_to_the_caller_and_all_to_the_log(broken, log, name):
    response = broken.get(f"/fail/{name}")
    assert problem(response) == (500, "internal_error")
    assert b"secret" not in response.data
    (line,) = [line for line in log if line["event"] == "request failed"]
    assert line["exc_info"]
    assert line["request"] == response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("teapot", (418, "teapot")),
        ("store", (503, "unavailable")),
        ("doubt", (503, "in_doubt")),
    ],
)
def test_a_failure_that_is_known_has_its_own_problem(broken, name, expected):
    response = broken.get(f"/fail/{name}")
    assert problem(response) == expected
    assert ("Retry-After" in response.headers) == (expected[0] == 503)

"""API keys: who may call, and whose mail is whose."""

import base64
import hmac

import pytest

from tests.api.caller import KEYS, Caller, problem

OPEN = {
    "operation.live",
    "operation.ready",
    "operation.version",
    "operation.openapi",
    "webhooks.receive",
    "webhooks.probe",
    "asset",
}
"""Everything else of the API wants a key; the pages, `web.…`, guard themselves."""


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {KEYS['shop']}",
        f"bearer {KEYS['shop']}",
        f"BEARER {KEYS['shop']}",
        basic("api", KEYS["shop"]),
    ],
)
def test_a_key_comes_as_a_bearer_token_or_as_the_password_of_the_user_api(nobody, authorization):
    assert nobody.get("/messages", headers={"Authorization": authorization}).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong-secret-0123456789",
        f"Bearer {KEYS['shop']}x",
        f"Bearer {KEYS['shop'][:-1]}",
        f"Bearer {KEYS['shop'].upper()}",
        f"Bearer {KEYS['shop']} {KEYS['office']}",
        "Bearer shop",
        f"Token {KEYS['shop']}",
        KEYS["shop"],
        basic("shop", KEYS["shop"]),
        basic("", KEYS["shop"]),
        basic("api", ""),
        basic("api", "wrong"),
        "Basic ???",
        "Basic /////w==",
        "Digest username=api",
        "Bearer \xff\xfe",
    ],
)
def test_without_a_key_that_is_known_nothing_is_answered(nobody, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    response = nobody.get("/messages", headers=headers)
    assert problem(response) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_key_in_the_query_or_a_cookie_is_no_key(nobody):
    assert nobody.get(f"/messages?key={KEYS['shop']}").status_code == 401
    assert nobody.get("/messages", headers={"Cookie": f"key={KEYS['shop']}"}).status_code == 401


def test_the_secret_of_a_key_is_in_no_answer_and_no_line_of_the_log(app, log):
    for secret in (KEYS["shop"], "wrong-secret-0123456789"):
        response = Caller(app, None).get("/messages", headers={"Authorization": f"Bearer {secret}"})
        assert secret.encode() not in response.data
    assert not any(secret in str(log) for secret in (KEYS["shop"], "wrong-secret-0123456789"))


def test_keys_are_compared_in_constant_time_all_of_them(nobody, monkeypatch):
    compared, compare = [], hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(b) or compare(a, b))
    for secret in (KEYS["shop"], KEYS["office"], "wrong"):
        compared.clear()
        nobody.get("/messages", headers={"Authorization": f"Bearer {secret}"})
        assert len(compared) == len(KEYS)


def rules(app):
    return [rule for rule in app.url_map.iter_rules() if not rule.endpoint.startswith("web.")]


def path(app, rule) -> str:
    """A path that the rule matches."""
    values = {"message_id": "msg_" + "0" * 26, "name": "mailgun", "provider": "mailgun"}
    values["email"] = "ann@example.net"
    values |= {"callback_id": "cb_" + "0" * 24, "delivery_id": "evt_" + "0" * 26}
    with app.test_request_context():
        adapter = app.url_map.bind("localhost")
        return adapter.build(rule.endpoint, {name: values[name] for name in rule.arguments})


def test_every_route_but_the_open_ones_asks_for_a_key(app, nobody):
    asked = set()
    for rule in rules(app):
        for method in rule.methods:
            response = nobody.call(method, path(app, rule))
            if rule.endpoint in OPEN:
                assert response.status_code != 401, rule
            else:
                assert response.status_code == 401, (method, rule)
                if method != "HEAD":
                    assert problem(response) == (401, "unauthorized")
                asked.add(rule.endpoint)
    assert asked
    assert {rule.endpoint for rule in rules(app)} >= OPEN


def test_a_route_refuses_before_it_reads_the_body(nobody):
    response = nobody.post("/messages", data=b"{", content_type="application/json")
    assert response.status_code == 401


def test_the_mail_of_another_key_is_not_there_on_any_route(app, shop, office):
    message_id = shop.sent()
    bodies = {
        "status.ask_for_status": {"id": message_id},
        "dead letters.resolve": {"outcome": "sent"},
    }
    tried = 0
    for rule in rules(app):
        if "message_id" in rule.arguments or rule.endpoint in bodies:
            for method in rule.methods & {"GET", "POST"}:
                url = path(app, rule).replace("msg_" + "0" * 26, message_id)
                body = bodies.get(rule.endpoint, {}) if method == "POST" else None
                assert problem(office.call(method, url, json=body)) == (404, "not_found")
                assert shop.call(method, url, json=body).status_code != 404
                tried += 1
    assert tried >= 6
    assert office.get("/messages").json == {"messages": [], "next": None}


def test_a_session_of_the_pages_opens_no_route_of_the_api(app):
    client = app.test_client()
    with client.session_transaction() as session:
        session["key"], session["until"] = "shop", 4e9
    assert client.get("/messages").status_code == 401

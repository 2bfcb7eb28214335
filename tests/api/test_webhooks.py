"""The route for webhooks: the signed is kept, the rest changes nothing, and nothing breaks it."""

import hmac
import json

import pytest
from fakeredis import FakeRedis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core import keys
from app.services import connect
from config import Settings, simulator_environment

PROVIDERS = ("mailgun", "sendgrid", "ses")
NOW = "1795435200"


@pytest.fixture
def key(app):
    return simulator_environment(app.extensions["steadpost"].settings)[
        "MAILGUN_WEBHOOK_SIGNING_KEY"
    ]


def signed(key, token="t1", **event):
    signature = hmac.digest(key.encode(), f"{NOW}{token}".encode(), "sha256").hex()
    data = {"event": "delivered", "id": token, "timestamp": int(NOW), **event}
    body = {
        "signature": {"timestamp": NOW, "token": token, "signature": signature},
        "event-data": data,
    }
    return json.dumps(body)


def dump(redis):
    """Every key in the store."""
    return dict.fromkeys(redis.scan_iter())


def test_what_is_signed_is_kept_and_answered_with_200(app, fake, key):
    answer = app.test_client().post("/webhooks/mailgun", data=signed(key))
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})
    assert fake[1].zcard(keys.EVENTS) == 1


def test_a_repeated_token_is_answered_with_200_and_ignored(app, fake, key):
    for recipient in ("ann@example.net", "eve@evil.example"):
        body = signed(key, recipient=recipient)
        assert app.test_client().post("/webhooks/mailgun", data=body).status_code == 200
    (event,) = fake[1].zrange(keys.EVENTS, 0, -1)
    assert "ann@example.net" in event


def test_an_unknown_kind_is_answered_with_200_and_counted(app, fake, key):
    body = signed(key, event="list_member_uploaded")
    assert app.test_client().post("/webhooks/mailgun", data=body).status_code == 200
    assert fake[1].hget(keys.WEBHOOKS, "mailgun ignored list_member_uploaded") == "1"


def test_what_another_signed_is_403_and_changes_nothing(app, fake):
    answer = app.test_client().post("/webhooks/mailgun", data=signed("another"))
    assert (answer.status_code, answer.json["code"]) == (403, "not_authentic")
    assert dump(fake[1]) == {}


def test_an_unknown_provider_is_404_and_a_probe_of_a_known_one_is_200(app):
    client = app.test_client()
    assert client.post("/webhooks/acme").status_code == 404
    assert client.head("/webhooks/acme").status_code == 404
    assert client.head("/webhooks/ses").status_code == 200


def test_webhooks_that_are_not_set_up_are_403_with_the_reason(make_app):
    app = make_app(
        FakeRedis(decode_responses=True),
        SIMULATOR="off",
        PROVIDERS="mailgun",
        MAILGUN_API_KEY="k",
        MAILGUN_DOMAIN="mg.example.com",
    )
    answer = app.test_client().post("/webhooks/mailgun", data="{}")
    assert (answer.status_code, answer.json["code"]) == (403, "webhooks_not_set_up")


def test_a_body_without_end_is_413(app):
    answer = app.test_client().post("/webhooks/mailgun", data=b"x" * (4 * 1024 * 1024 + 1))
    assert answer.status_code == 413


def test_where_the_store_is_away_it_is_503_so_that_the_provider_tries_again(
    make_app, tmp_path, key
):
    cut_off = make_app(connect(f"unix://{tmp_path}/nobody.sock"))
    answer = cut_off.test_client().post("/webhooks/mailgun", data=signed(key))
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")


HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Content-Type",
            "X-Twilio-Email-Event-Webhook-Signature",
            "X-Twilio-Email-Event-Webhook-Timestamp",
            "X-Amz-Sns-Message-Type",
            "X-Amz-Sns-Rawdelivery",
            "Content-Encoding",
        ]
    ),
    st.text(
        st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
    ),
    max_size=4,
)
SHAPES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "signature",
                    "timestamp",
                    "token",
                    "event-data",
                    "Type",
                    "TopicArn",
                    "Message",
                    "MessageId",
                    "SigningCertURL",
                    "Signature",
                    "SignatureVersion",
                    "Timestamp",
                ]
            ),
            inner | st.sampled_from(["Notification", "1", "https://sns.eu-west-1.amazonaws.com/"]),
            max_size=8,
        )
    ),
    max_leaves=12,
).map(lambda shape: json.dumps(shape).encode())


@pytest.mark.parametrize("provider", PROVIDERS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary(max_size=300) | SHAPES, headers=HEADERS)
def test_whatever_comes_unsigned_is_refused_and_changes_nothing(app, fake, provider, body, headers):
    answer = app.test_client().post(f"/webhooks/{provider}", data=body, headers=headers)
    assert answer.status_code in (400, 403, 413, 503)
    assert answer.content_type == "application/problem+json"
    assert dump(fake[1]) == {}


def test_every_webhook_key_of_the_simulator_is_set_up(app):
    services = app.extensions["steadpost"]
    assert isinstance(services.settings, Settings)
    assert all(services.webhook_providers[name].hears for name in PROVIDERS)

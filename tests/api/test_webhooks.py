"""The route for webhooks: the signed is kept, the rest changes nothing, and nothing breaks it."""

import hmac
import json

import pytest
from fakeredis import FakeRedis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core import keys
from app.services import connect
from config import SIMULATED_PROVIDERS, Settings, simulator_environment
from tests.api.caller import Caller
from tests.providers.hooks import from_mandrill, from_resend

NOW = "1795435200"
TRIAL = {"mandrill_events": "[]"}


@pytest.fixture
def key(app):
    return simulator_environment(app.extensions["steadpost"].settings)[
        "MAILGUN_WEBHOOK_SIGNING_KEY"
    ]


@pytest.fixture
def everyone(make_app):
    """An app that uses every provider that there is a simulator of, and its store."""
    redis = FakeRedis(decode_responses=True)
    return make_app(redis, PROVIDERS=",".join(SIMULATED_PROVIDERS)), redis


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


def test_a_webhook_of_each_form_comes_through_the_route_as_it_was_signed(everyone, clock):
    app, redis = everyone
    set_up = simulator_environment(app.extensions["steadpost"].settings)
    client = app.test_client()
    record = {"RecordType": "Delivery", "MessageID": "m", "Recipient": "ann@example.net"}
    login = tuple(set_up["POSTMARK_WEBHOOK_CREDENTIALS"].split(":"))
    assert client.post("/webhooks/postmark", json=record, auth=login).status_code == 200

    body = b'{"type":"email.delivered","data":{"email_id":"m"}}'
    sent = from_resend(body, set_up["RESEND_WEBHOOK_SECRET"], clock())
    for _ in range(2):
        answer = client.post("/webhooks/resend", data=body, headers=sent.headers)
        assert answer.status_code == 200
    assert redis.hget(keys.WEBHOOKS, "resend repeated") == "1"

    url = "https://mail.example.com/webhooks/mandrill?shop=%C3%BC&n=1"
    batch = json.dumps([{"event": "send", "_id": "m", "ts": int(NOW)}]).encode()
    sent = from_mandrill(batch, set_up["MANDRILL_WEBHOOK_KEY"], url)
    answer = client.post(
        url.removeprefix("https://mail.example.com"),
        data=sent.body,
        headers=sent.headers,
        content_type="application/x-www-form-urlencoded",
    )
    assert answer.status_code == 200
    assert redis.zcard(keys.EVENTS) == 3


def test_a_trial_that_tells_nothing_is_answered_with_200_and_changes_nothing(everyone, make_app):
    app, redis = everyone
    assert app.test_client().post("/webhooks/mandrill", data=TRIAL).status_code == 200
    assert dump(redis) == {}
    without_key = make_app(
        redis, SIMULATOR="off", PROVIDERS="mandrill", MANDRILL_API_KEY="md-0123456789"
    ).test_client()
    assert without_key.head("/webhooks/mandrill").status_code == 200
    assert without_key.post("/webhooks/mandrill", data=TRIAL).status_code == 200
    answer = without_key.post("/webhooks/mandrill", data={"mandrill_events": "[{}]"})
    assert (answer.status_code, answer.json["code"]) == (403, "webhooks_not_set_up")
    assert dump(redis) == {}


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
    assert "MAILGUN_WEBHOOK_SIGNING_KEY" in answer.json["detail"]


def test_a_provider_without_webhooks_says_so(make_app):
    app = make_app(
        FakeRedis(decode_responses=True), SIMULATOR="off", PROVIDERS="smtp", SMTP_HOST="mx.example"
    )
    answer = app.test_client().post("/webhooks/smtp", data="{}")
    assert (answer.status_code, answer.json["code"]) == (403, "webhooks_not_set_up")
    assert answer.json["detail"] == "smtp has no webhooks here"


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
            "Authorization",
            "Svix-Id",
            "Svix-Timestamp",
            "Svix-Signature",
            "X-Mandrill-Signature",
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
BODIES = st.binary(max_size=300) | SHAPES | SHAPES.map(lambda shape: b"mandrill_events=" + shape)


@pytest.mark.parametrize("provider", SIMULATED_PROVIDERS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=BODIES, headers=HEADERS)
def test_whatever_comes_unsigned_is_refused_and_changes_nothing(everyone, provider, body, headers):
    app, redis = everyone
    answer = app.test_client().post(f"/webhooks/{provider}", data=body, headers=headers)
    assert dump(redis) == {}
    if provider == "mandrill" and body == b"mandrill_events=[]":
        assert answer.status_code == 200
        return
    assert answer.status_code in (400, 403, 413, 503)
    assert answer.content_type == "application/problem+json"


def test_every_webhook_key_of_the_simulator_is_set_up(everyone):
    services = everyone[0].extensions["steadpost"]
    assert isinstance(services.settings, Settings)
    assert all(services.webhook_providers[name].hears for name in SIMULATED_PROVIDERS)


def test_what_a_provider_has_told_is_shown(app, key, clock):
    for token, event in (("t1", "delivered"), ("t1", "delivered"), ("t2", "list_member_uploaded")):
        app.test_client().post("/webhooks/mailgun", data=signed(key, token=token, event=event))
    shop = Caller(app)
    mailgun, sendgrid, _ = shop.get("/providers").json["providers"]
    assert mailgun["webhooks"] == {
        "last_at": clock().strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "events": 1,
        "repeated": 1,
        "strays": 0,
        "given_up": 0,
        "ignored": {"list_member_uploaded": 1},
    }
    assert sendgrid["webhooks"]["last_at"] is None
    assert sendgrid["webhooks"]["events"] == 0
    metrics = shop.get("/metrics").text
    assert 'steadpost_provider_reports_total{provider="mailgun",what="events"} 1.0' in metrics
    assert 'steadpost_provider_reports_total{provider="mailgun",what="ignored"} 1.0' in metrics
    assert 'steadpost_provider_last_report_timestamp_seconds{provider="mailgun"}' in metrics
    assert 'timestamp_seconds{provider="sendgrid"}' not in metrics

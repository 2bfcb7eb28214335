"""Webhooks: whose they are, on the raw bytes, and what each provider's events mean."""

import hmac
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.base import BadSettings, Timeouts
from providers.mailgun import MailgunProvider
from providers.sendgrid import SendGridProvider
from providers.ses import SesProvider
from providers.types import Bounce, EventType
from providers.webhooks import NotAuthentic, NotReadable, VerifierUnavailable, WebhookFault
from tests.providers.hooks import NOW, TOPIC, SendGridKey, Topic, request

KEY = "key-test-signing-0123456789abcdef"
SENDGRID = SendGridKey()
SNS = Topic()


def mailgun(key=KEY):
    values = {"MAILGUN_API_KEY": "k", "MAILGUN_DOMAIN": "mg.example.com"}
    return MailgunProvider.configure({**values, "MAILGUN_WEBHOOK_SIGNING_KEY": key}, Timeouts())


def sendgrid(key=SENDGRID.public):
    values = {"SENDGRID_API_KEY": "k", "SENDGRID_WEBHOOK_PUBLIC_KEY": key}
    return SendGridProvider.configure(values, Timeouts())


def ses(topics=TOPIC):
    values = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-west-1"}
    return SesProvider.configure({**values, "SES_TOPIC_ARNS": topics}, Timeouts())


def from_mailgun(data, key=KEY, stamp="1767225600", token="t" * 50, **changed):
    signature = hmac.digest(key.encode(), f"{stamp}{token}".encode(), "sha256").hex()
    signed = {"timestamp": stamp, "token": token, "signature": signature, **changed}
    return request(json.dumps({"signature": signed, "event-data": data}).encode())


def mailgun_event(name, **more):
    return {
        "event": name,
        "id": "e1",
        "timestamp": 1767225600.25,
        "recipient": "ann@example.net",
        "user-variables": {"attempt_id": "msg_1-1"},
        "message": {"headers": {"message-id": "M1@mg.example.com", "to": "Ann <ann@example.net>"}},
        **more,
    }


def test_the_example_of_mailguns_signature_is_authentic():
    signed = {
        "timestamp": "1767225600",
        "token": "0123456789abcdef0123456789abcdef0123456789abcdef01",
        "signature": "63fd802669b31f708e86709fb9a1469791e44dcbc8bc53979f9be1089989b75b",
    }
    body = {"signature": signed, "event-data": mailgun_event("delivered")}
    content = mailgun().read_webhook(request(json.dumps(body).encode()))
    assert content.token == signed["token"]
    (event,) = content.events
    assert (event.type, event.recipient) == (EventType.DELIVERED, "ann@example.net")
    assert (event.attempt_id, event.provider_message_id) == ("msg_1-1", "<M1@mg.example.com>")


def test_an_example_of_sendgrids_signature_is_authentic_to_the_last_byte():
    key = (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEdhk4AkS4rhWwwIYruYkrzQKDLcUVtRF9DxTAClQAaLR+yDpDM96u"
        "zxPBmyDq04oPPixRtOnZ4chwo3obWwPF9g=="
    )
    body = (
        b'[{"email":"ann@example.net","event":"delivered","sg_event_id":"ev1",'
        b'"sg_message_id":"abc.recvd-1","timestamp":1767225600}]\r\n'
    )
    headers = {
        "x-twilio-email-event-webhook-signature": "MEUCIQDUhneStnunVSRdraSHx5qPLbohR3do/1wn4J39tjT"
        "gnwIgTzrMkRScGdHurzT1EDGmq7KNEPvN8M4sTYsnJWxLKpU=",
        "x-twilio-email-event-webhook-timestamp": "1767225601",
    }
    (event,) = sendgrid(key).read_webhook(request(body, headers)).events
    assert (event.id, event.provider_message_id) == ("ev1", "abc")
    for other in (body.rstrip(), body + b"\n", body.replace(b"ann", b"eve")):
        with pytest.raises(NotAuthentic):
            sendgrid(key).read_webhook(request(other, headers))
    later = {**headers, "x-twilio-email-event-webhook-timestamp": "1767225602"}
    with pytest.raises(NotAuthentic):
        sendgrid(key).read_webhook(request(body, later))


@pytest.mark.parametrize(
    "forged",
    [
        from_mailgun({}, key="another"),
        from_mailgun({}, signature="0" * 64),
        from_mailgun({}, signature=None),
        from_mailgun({}, signature=["x"]),
        from_mailgun({}, stamp="1767180000"),
        from_mailgun({}, stamp="1767229999"),
        from_mailgun({}, stamp="1e999"),
        request(b'{"event-data": {}}'),
        request(b'{"signature": "x"}'),
    ],
)
def test_what_mailgun_did_not_sign_just_now_is_not_believed(forged):
    with pytest.raises(NotAuthentic):
        mailgun().read_webhook(forged)


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b"null"])
def test_a_body_that_is_no_webhook_is_a_fault(body):
    for provider in (mailgun(), sendgrid(), ses()):
        with pytest.raises((NotReadable, NotAuthentic)):
            provider.read_webhook(request(body))


def test_the_parents_signature_is_good_for_a_subaccounts_event():
    good = hmac.digest(KEY.encode(), b"1767225600" + b"t" * 50, "sha256").hex()
    data = mailgun_event("opened")
    both = from_mailgun(data, key="subaccount", **{"parent-signature": good})
    assert mailgun().read_webhook(both).events


@pytest.mark.parametrize(
    ("name", "more", "kind", "bounce"),
    [
        ("accepted", {}, EventType.ACCEPTED, None),
        ("delivered", {}, EventType.DELIVERED, None),
        ("opened", {}, EventType.OPENED, None),
        ("clicked", {"url": "https://a.example/"}, EventType.CLICKED, None),
        ("complained", {}, EventType.COMPLAINED, None),
        ("unsubscribed", {}, EventType.UNSUBSCRIBED, None),
        ("rejected", {"recipient": None}, EventType.REJECTED, None),
        ("failed", {"severity": "temporary"}, EventType.DEFERRED, None),
        ("failed", {"severity": "permanent", "reason": "bounce"}, EventType.BOUNCED, Bounce.HARD),
        ("failed", {"severity": "permanent", "reason": "old"}, EventType.BOUNCED, Bounce.SOFT),
        (
            "failed",
            {"severity": "permanent", "reason": "espblock"},
            EventType.BOUNCED,
            Bounce.BLOCK,
        ),
        (
            "failed",
            {"severity": "permanent", "reason": "suppress-bounce"},
            EventType.REJECTED,
            Bounce.HARD,
        ),
        (
            "failed",
            {"severity": "permanent", "reason": "suppress-complaint"},
            EventType.REJECTED,
            None,
        ),
    ],
)
def test_mailguns_events(name, more, kind, bounce):
    content = mailgun().read_webhook(from_mailgun(mailgun_event(name, **more)))
    (event,) = content.events
    assert (event.type, event.bounce, event.recipient) == (kind, bounce, "ann@example.net")


def test_a_kind_that_nobody_knows_is_named_and_ignored():
    content = mailgun().read_webhook(from_mailgun(mailgun_event("list_member_uploaded")))
    assert (content.events, content.ignored) == ((), ("list_member_uploaded",))


SENDGRID_EVENTS = [
    ({"event": "processed"}, EventType.ACCEPTED, None),
    ({"event": "delivered", "response": "250 OK"}, EventType.DELIVERED, None),
    ({"event": "deferred"}, EventType.DEFERRED, None),
    ({"event": "bounce", "type": "bounce", "status": "5.1.1"}, EventType.BOUNCED, Bounce.HARD),
    ({"event": "bounce", "type": "blocked"}, EventType.BOUNCED, Bounce.BLOCK),
    (
        {"event": "bounce", "type": "bounce", "bounce_classification": "Mailbox Unavailable"},
        EventType.BOUNCED,
        Bounce.SOFT,
    ),
    ({"event": "dropped", "reason": "Bounced Address"}, EventType.REJECTED, Bounce.HARD),
    ({"event": "dropped", "reason": "Unsubscribed Address"}, EventType.REJECTED, None),
    ({"event": "open", "sg_machine_open": False}, EventType.OPENED, None),
    ({"event": "click", "url": "https://a.example/"}, EventType.CLICKED, None),
    ({"event": "spamreport"}, EventType.COMPLAINED, None),
    ({"event": "unsubscribe"}, EventType.UNSUBSCRIBED, None),
    ({"event": "group_unsubscribe"}, EventType.UNSUBSCRIBED, None),
]


def test_every_event_of_a_batch_of_sendgrids_counts():
    common = {"email": "ann@example.net", "timestamp": 1767225600, "attempt_id": "msg_1-1"}
    batch = [
        {**common, "sg_event_id": f"e{n}", **event} for n, (event, *_) in enumerate(SENDGRID_EVENTS)
    ]
    batch += [{**common, "event": "group_resubscribe"}, {"event": "account_status_change"}, 7]
    content = sendgrid().read_webhook(SENDGRID.signed(batch))
    assert [(e.type, e.bounce) for e in content.events] == [tuple(e[1:]) for e in SENDGRID_EVENTS]
    assert {e.attempt_id for e in content.events} == {"msg_1-1"}
    assert content.ignored == ("group_resubscribe", "account_status_change")


def test_sendgrids_signature_is_good_for_a_day():
    events = [{"event": "delivered"}]
    assert sendgrid().read_webhook(SENDGRID.signed(events, NOW - timedelta(hours=24))).events
    with pytest.raises(NotAuthentic):
        sendgrid().read_webhook(SENDGRID.signed(events, NOW - timedelta(hours=26)))


def test_a_key_of_sendgrids_that_is_none_is_a_fault_of_the_settings():
    with pytest.raises(BadSettings):
        sendgrid("not a key")


def ses_event(name, key=None, recipients=("ann@example.net",), **details):
    mail = {
        "timestamp": "2026-01-01T00:00:00.000Z",
        "messageId": "0102",
        "destination": list(recipients),
        "tags": {"attempt_id": ["msg_1-1"]},
    }
    return {"eventType": name, "mail": mail, key or name.lower(): details}


def bounced(kind, sub, *emails):
    people = [{"emailAddress": e, "status": "5.1.1", "diagnosticCode": "smtp; 550"} for e in emails]
    return ses_event("Bounce", bounceType=kind, bounceSubType=sub, bouncedRecipients=people)


@pytest.mark.parametrize(
    ("told", "kind", "bounce"),
    [
        (ses_event("Send"), EventType.ACCEPTED, None),
        (ses_event("Delivery", recipients=["ann@example.net"]), EventType.DELIVERED, None),
        (bounced("Permanent", "General", "ann@example.net"), EventType.BOUNCED, Bounce.HARD),
        (bounced("Permanent", "Suppressed", "ann@example.net"), EventType.REJECTED, Bounce.HARD),
        (bounced("Transient", "MailboxFull", "ann@example.net"), EventType.BOUNCED, Bounce.SOFT),
        (
            bounced("Transient", "ContentRejected", "ann@example.net"),
            EventType.BOUNCED,
            Bounce.BLOCK,
        ),
        (bounced("Undetermined", "Undetermined", "ann@example.net"), EventType.BOUNCED, "soft"),
        (
            ses_event(
                "DeliveryDelay", "deliveryDelay", delayedRecipients=[{"emailAddress": "a@b.c"}]
            ),
            EventType.DEFERRED,
            None,
        ),
        (
            ses_event("Complaint", complainedRecipients=[{"emailAddress": "a@b.c"}]),
            EventType.COMPLAINED,
            None,
        ),
        (ses_event("Reject", reason="Bad content"), EventType.REJECTED, Bounce.BLOCK),
        (ses_event("Rendering Failure", "failure"), EventType.REJECTED, None),
        (ses_event("Open"), EventType.OPENED, None),
        (ses_event("Click", link="https://a.example/"), EventType.CLICKED, None),
        (
            ses_event("Subscription", newTopicPreferences={"unsubscribeAll": True}),
            EventType.UNSUBSCRIBED,
            None,
        ),
    ],
)
def test_the_events_of_ses(told, kind, bounce):
    (event,) = ses().read_webhook(SNS.signed(told)).events
    assert (event.type, event.bounce, event.attempt_id) == (kind, bounce, "msg_1-1")


def test_every_recipient_of_a_record_of_ses_has_an_event_with_an_id_of_its_own():
    told = bounced("Permanent", "General", "ann@example.net", "bob@example.net")
    events = ses().read_webhook(SNS.signed(told)).events
    assert [e.recipient for e in events] == ["ann@example.net", "bob@example.net"]
    assert len({e.id for e in events}) == 2


def test_not_spam_is_no_complaint_and_plain_words_are_no_event():
    told = ses_event("Complaint", complaintFeedbackType="not-spam", complainedRecipients=[])
    assert not ses().read_webhook(SNS.signed(told)).events
    assert not ses().read_webhook(SNS.signed("Successfully validated SNS topic.")).events


@pytest.mark.parametrize("version", ["1", "2"])
def test_both_versions_of_the_signature_of_sns(version):
    told = ses_event("Delivery", recipients=["ann@example.net"])
    assert ses().read_webhook(SNS.signed(told, version)).events


@pytest.mark.parametrize(
    "changed",
    [
        {"TopicArn": "arn:aws:sns:eu-west-1:111122223333:other"},
        {"Timestamp": "2025-12-31T20:00:00.000Z"},
        {"SigningCertURL": "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem"},
        {"SigningCertURL": "https://sns.eu-west-1.amazonaws.com.evil.example/x.pem"},
        {"SigningCertURL": "https://evil.example/SimpleNotificationService-0.pem"},
        {"SigningCertURL": "https://sns.eu-west-1.amazonaws.com@evil.example/a.pem"},
        {"SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem"},
        {
            "SigningCertURL": "https://sns.eu-west-1.amazonaws.com:444/SimpleNotificationService-0.pem"
        },
        {"SigningCertURL": "https://sns.eu-west-1.amazonaws.com/other.pem"},
        {"SigningCertURL": ""},
    ],
)
def test_what_is_not_from_our_topic_or_points_elsewhere_is_not_believed_nor_fetched(changed):
    topic = Topic()
    with pytest.raises(NotAuthentic):
        ses().read_webhook(topic.signed(ses_event("Send"), **changed))
    if "Timestamp" not in changed:
        assert topic.fetched == []


@pytest.mark.parametrize("topic", [Topic(name="sns.evil.example"), Topic(days=-1)])
def test_a_certificate_of_somebody_else_or_of_another_time_is_not_believed(topic):
    with pytest.raises(NotAuthentic):
        ses().read_webhook(topic.signed(ses_event("Send")))


def test_a_changed_message_is_not_believed_and_headers_must_agree():
    signed = SNS.signed(ses_event("Send"))
    with pytest.raises(NotAuthentic):
        ses().read_webhook(replace(signed, body=signed.body.replace(b"msg_1-1", b"msg_2-1")))
    with pytest.raises(NotAuthentic):
        ses().read_webhook(SNS.signed(ses_event("Send"), headers={"x-amz-sns-message-id": "m-2"}))
    raw = {"x-amz-sns-rawdelivery": "true"}
    with pytest.raises(NotAuthentic):
        ses().read_webhook(SNS.signed(ses_event("Send"), headers=raw))


def test_a_certificate_is_fetched_once_and_one_that_lacks_is_not_asked_for_at_once_again():
    topic, provider = Topic(), ses()
    for _ in range(3):
        provider.read_webhook(topic.signed(ses_event("Send")))
    assert len(topic.fetched) == 1
    asked = []

    def away(url):
        asked.append(url)
        raise VerifierUnavailable("away")

    other = ses()
    for _ in range(2):
        with pytest.raises(VerifierUnavailable):
            other.read_webhook(replace(topic.signed(ses_event("Send")), fetch=away))
    assert len(asked) == 1


def test_a_subscription_is_confirmed_at_sns_and_for_our_topic_alone():
    url = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1"
    kind = {"Type": "SubscriptionConfirmation", "Subject": None}
    question = {**kind, "Token": "1", "SubscribeURL": url}
    topic = Topic()
    assert not ses().read_webhook(topic.signed("?", **question)).events
    assert topic.fetched[-1] == url
    for changed in (
        {"SubscribeURL": "https://evil.example/?x"},
        {"TopicArn": "arn:aws:sns:eu-west-1:111122223333:other"},
    ):
        other = Topic()
        with pytest.raises(NotAuthentic):
            ses().read_webhook(other.signed("?", **{**question, **changed}))
        assert all(".pem" in fetched for fetched in other.fetched)


@pytest.mark.parametrize("topic", ["mail", "arn:aws:sqs:eu-west-1:111122223333:mail"])
def test_what_is_no_topic_is_a_fault_of_the_settings(topic):
    with pytest.raises(BadSettings):
        ses(topic)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.dictionaries(st.text(max_size=20), st.text(max_size=40)))
def test_nothing_but_a_fault_comes_of_what_nobody_signed(body, headers):
    for provider in (mailgun(), sendgrid(), ses()):
        with pytest.raises(WebhookFault):
            provider.read_webhook(request(body, headers))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "event",
                    "eventType",
                    "mail",
                    "bounce",
                    "tags",
                    "attempt_id",
                    "recipient",
                    "email",
                    "message",
                    "headers",
                    "timestamp",
                    "delivery-status",
                    "destination",
                    "sg_event_id",
                ]
            )
            | st.text(max_size=5),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(JSON, st.sampled_from(["delivered", "Bounce", "Open", "failed", "bounce", "Subscription"]))
def test_whatever_is_signed_is_read_or_a_fault(data, name):
    data = {**data, "event": name, "eventType": name} if isinstance(data, dict) else data
    reads = (
        (mailgun(), from_mailgun(data)),
        (sendgrid(), SENDGRID.signed([data])),
        (sendgrid(), SENDGRID.signed(data)),
        (ses(), SNS.signed(data)),
    )
    for provider, signed in reads:
        try:
            content = provider.read_webhook(signed)
        except WebhookFault:
            continue
        assert all(event.occurred_at.tzinfo for event in content.events)

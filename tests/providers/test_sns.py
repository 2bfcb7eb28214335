"""What SNS signs for SES: which topic, which certificate, which moment, and which recipients."""

from dataclasses import replace

import pytest

from providers.base import BadSettings, Timeouts
from providers.ses import SesProvider
from providers.webhooks import NotAuthentic, VerifierUnavailable
from tests.providers.hooks import TOPIC, Topic

SNS = Topic()
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-west-1"}


def ses(topics=TOPIC):
    return SesProvider.configure({**KEYS, "SES_TOPIC_ARNS": topics}, Timeouts())


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

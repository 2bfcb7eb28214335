"""Webhooks: whose they are, on the raw bytes, and what each provider's events mean."""

import base64
import hmac
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from providers import mailgun, mandrill, postmark, resend, sendgrid, ses
from providers.base import BadSettings, Timeouts
from providers.mailgun import MailgunProvider
from providers.mandrill import MandrillProvider
from providers.postmark import PostmarkProvider
from providers.resend import ResendProvider
from providers.sendgrid import SendGridProvider
from providers.ses import SesProvider
from providers.smtp import SmtpProvider
from providers.types import Bounce, EventType
from providers.webhooks import (
    NotAuthentic,
    NotReadable,
    WebhookContent,
    WebhooksNotSetUp,
    status_code,
    word,
)
from tests.providers.hearing import ANN, ATTEMPT, Told, WebhookContract
from tests.providers.hooks import (
    NOW,
    TOPIC,
    URL,
    SendGridKey,
    Topic,
    from_mandrill,
    from_resend,
    request,
    stamped,
)

ACCEPTED, DELIVERED, DEFERRED = EventType.ACCEPTED, EventType.DELIVERED, EventType.DEFERRED
BOUNCED, REJECTED, COMPLAINED = EventType.BOUNCED, EventType.REJECTED, EventType.COMPLAINED
UNSUBSCRIBED, OPENED, CLICKED = EventType.UNSUBSCRIBED, EventType.OPENED, EventType.CLICKED
HARD, SOFT, BLOCK = Bounce.HARD, Bounce.SOFT, Bounce.BLOCK
AT = 1767225600
ISO = "2026-01-01T00:00:00.000Z"
LINK = "https://a.example/"
CLICK = (("url", LINK),)
ANSWER = "smtp; 550 5.1.1 no such user"
SAID = (("code", "5.1.1"), ("reason", ANSWER))


def from_mailgun(words, type, bounce=None, **more):
    common = {
        "id": "e1",
        "timestamp": AT + 0.25,
        "recipient": ANN,
        "user-variables": {"attempt_id": ATTEMPT},
        "message": {"headers": {"message-id": "M1@mg.example.com", "to": f"Ann <{ANN}>"}},
    }
    return Told({**common, **words}, type, bounce, tuple(more.items()))


def failed(severity, reason, **more):
    return {"event": "failed", "severity": severity, "reason": reason, **more}


class TestMailgunWebhooks(WebhookContract):
    provider = MailgunProvider
    settings = {  # noqa: RUF012
        "MAILGUN_API_KEY": "key-0123456789",
        "MAILGUN_DOMAIN": "mg.example.com",
        "MAILGUN_WEBHOOK_SIGNING_KEY": "key-test-signing-0123456789abcdef",
    }
    wanted = "MAILGUN_WEBHOOK_SIGNING_KEY"
    rows = mailgun._EVENTS
    name = "event"
    # The signature is in the body, and covers itself alone.
    headers = ()
    covers_body = False
    age = timedelta(hours=10)
    samples = (
        from_mailgun({"event": "accepted"}, ACCEPTED),
        from_mailgun({"event": "delivered"}, DELIVERED, provider_message_id="<M1@mg.example.com>"),
        from_mailgun({"event": "opened", "client-info": {"bot": "apple"}}, OPENED, automatic=True),
        from_mailgun({"event": "clicked", "url": LINK}, CLICKED, url=LINK),
        from_mailgun({"event": "complained"}, COMPLAINED),
        from_mailgun({"event": "unsubscribed"}, UNSUBSCRIBED),
        from_mailgun({"event": "rejected", "recipient": None}, REJECTED),
        from_mailgun(failed("temporary", "generic"), DEFERRED),
        from_mailgun(
            failed("permanent", "bounce", **{"delivery-status": {"code": 550, "message": "no"}}),
            BOUNCED,
            HARD,
            code="550",
            reason="no",
        ),
        from_mailgun(failed("permanent", "a\nb"), BOUNCED, SOFT, reason="a b"),
        from_mailgun(failed("permanent", "espblock"), BOUNCED, BLOCK),
        from_mailgun(failed("permanent", "suppress-bounce"), REJECTED, HARD),
        from_mailgun(failed("permanent", "suppress-complaint"), REJECTED),
        from_mailgun({"event": "list_member_uploaded"}, None),
    )

    def sealed(self, body, at=NOW):
        return request(body)

    def signed(self, event, at=NOW, key=None, stamp=None, **changed):
        token, stamp = "t" * 50, stamp or stamped(at)
        key = (key or self.settings[self.wanted]).encode()
        signature = hmac.digest(key, f"{stamp}{token}".encode(), "sha256").hex()
        signature = {"timestamp": stamp, "token": token, "signature": signature, **changed}
        return request(json.dumps({"signature": signature, "event-data": event}).encode())

    def forgeries(self):
        event = self.usual()
        for value in (None, "", "0" * 64, "é", ["x"], 7):
            yield self.signed(event, signature=value)
            yield self.signed(event, token=value)
            yield self.signed(event, timestamp=value)
        for stamp in ("1e999", "9" * 400, "-1", "nan", "2025-12-31T00:00:00Z"):
            yield self.signed(event, stamp=stamp)
        yield self.signed(event, key="another")
        yield request(b'{"event-data": {}}')
        yield request(b'{"signature": "x"}')

    def test_the_published_form_of_the_signature_is_authentic(self):
        signed = {
            "timestamp": "1767225600",
            "token": "0123456789abcdef0123456789abcdef0123456789abcdef01",
            "signature": "63fd802669b31f708e86709fb9a1469791e44dcbc8bc53979f9be1089989b75b",
        }
        body = {"signature": signed, "event-data": self.usual()}
        content = self.read(request(json.dumps(body).encode()))
        assert (content.token, len(content.events)) == (signed["token"], 1)

    def test_the_parents_signature_is_good_for_a_subaccounts_event(self):
        key = self.settings[self.wanted].encode()
        good = hmac.digest(key, f"{stamped(NOW)}{'t' * 50}".encode(), "sha256").hex()
        both = self.signed(self.usual(), key="subaccount", **{"parent-signature": good})
        assert self.read(both).events


def from_sendgrid(words, type, bounce=None, **more):
    common = {
        "email": ANN,
        "timestamp": AT,
        "attempt_id": ATTEMPT,
        "sg_message_id": "abc.recvd-1",
        "sg_event_id": f"e-{ANN}",
    }
    return Told({**common, **words}, type, bounce, tuple(more.items()))


SENDGRID = SendGridKey()


class TestSendGridWebhooks(WebhookContract):
    provider = SendGridProvider
    settings = {  # noqa: RUF012
        "SENDGRID_API_KEY": "SG.0123456789",
        "SENDGRID_WEBHOOK_PUBLIC_KEY": SENDGRID.public,
    }
    wanted = "SENDGRID_WEBHOOK_PUBLIC_KEY"
    rows = sendgrid._EVENTS
    name = "event"
    headers = (
        "x-twilio-email-event-webhook-signature",
        "x-twilio-email-event-webhook-timestamp",
    )
    age = timedelta(hours=25)
    samples = (
        from_sendgrid({"event": "processed"}, ACCEPTED),
        from_sendgrid({"event": "delivered", "response": "250 OK"}, DELIVERED, reason="250 OK"),
        from_sendgrid({"event": "deferred"}, DEFERRED),
        from_sendgrid(
            {"event": "bounce", "type": "bounce", "status": "5.1.1"}, BOUNCED, HARD, code="5.1.1"
        ),
        from_sendgrid({"event": "bounce", "type": "blocked"}, BOUNCED, BLOCK),
        *(
            from_sendgrid({"event": "bounce", "bounce_classification": kind}, BOUNCED, bounce)
            for kind, bounce in (
                ("Mailbox Unavailable", SOFT),
                ("Technical", SOFT),
                ("Content", BLOCK),
                ("Reputation", BLOCK),
                ("Frequency/Volume", BLOCK),
                ("Invalid Address", HARD),
            )
        ),
        from_sendgrid({"event": "dropped", "reason": "Bounced Address"}, REJECTED, HARD),
        from_sendgrid({"event": "dropped", "reason": "Invalid"}, REJECTED, HARD),
        from_sendgrid({"event": "dropped", "reason": "Spam Content"}, REJECTED, BLOCK),
        from_sendgrid({"event": "dropped", "reason": "Unsubscribed Address"}, REJECTED),
        from_sendgrid({"event": "open", "sg_machine_open": True}, OPENED, automatic=True),
        from_sendgrid({"event": "click", "url": LINK}, CLICKED, url=LINK),
        from_sendgrid({"event": "spamreport"}, COMPLAINED),
        from_sendgrid({"event": "unsubscribe"}, UNSUBSCRIBED),
        from_sendgrid({"event": "group_unsubscribe"}, UNSUBSCRIBED),
        from_sendgrid({"event": "group_resubscribe"}, None),
        from_sendgrid({"event": "account_status_change"}, None),
    )

    def sealed(self, body, at=NOW):
        return SENDGRID.signed(body + b"\r\n", at)

    def signed(self, event, at=NOW):
        return super().signed([event], at)

    def forgeries(self):
        yield SendGridKey().signed(b"[]")

    def test_an_example_is_authentic_to_the_last_byte(self):
        key = (
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEdhk4AkS4rhWwwIYruYkrzQKDLcUVtRF9DxTAClQAaLR+yDpDM"
            "96uzxPBmyDq04oPPixRtOnZ4chwo3obWwPF9g=="
        )
        body = (
            b'[{"email":"ann@example.net","event":"delivered","sg_event_id":"ev1",'
            b'"sg_message_id":"abc.recvd-1","timestamp":1767225600}]\r\n'
        )
        signature = (
            "MEUCIQDUhneStnunVSRdraSHx5qPLbohR3do/1wn4J39tjTgnwIgTzrMkRScGdHurzT1EDGmq7KNEPvN8M4sT"
            "YsnJWxLKpU="
        )
        provider = self.configured(SENDGRID_WEBHOOK_PUBLIC_KEY=key)
        sent = dict(zip(self.headers, (signature, "1767225601"), strict=True))
        (event,) = provider.read_webhook(request(body, sent)).events
        assert (event.id, event.provider_message_id) == ("ev1", "abc")
        for other in (body.rstrip(), body + b"\n"):
            with pytest.raises(NotAuthentic):
                provider.read_webhook(request(other, sent))

    def test_every_event_of_a_batch_counts(self):
        batch = [{**t.words, "sg_event_id": str(n)} for n, t in enumerate(self.samples)]
        content = self.read(self.sealed(json.dumps([*batch, 7]).encode()))
        known = [(t.type, t.bounce) for t in self.samples if t.type is not None]
        assert [(e.type, e.bounce) for e in content.events] == known
        assert content.ignored == ("group_resubscribe", "account_status_change")

    def test_a_key_that_is_none_is_a_fault_of_the_settings(self):
        with pytest.raises(BadSettings):
            self.configured(SENDGRID_WEBHOOK_PUBLIC_KEY="not a key")


def from_ses(name, type, bounce=None, *, key=None, people=None, more=(), **details):
    mail = {
        "timestamp": ISO,
        "messageId": "0102",
        "destination": [ANN],
        "tags": {"attempt_id": [ATTEMPT]},
    }
    if people is not None:
        details[people] = [{"emailAddress": ANN, "status": "5.1.1", "diagnosticCode": ANSWER}]
    told = {"eventType": name, "mail": mail, key or name.lower(): details}
    return Told(told, type, bounce, tuple(more))


def ses_bounce(kind, sub, type, bounce):
    people = "bouncedRecipients"
    more = {"bounceType": kind, "bounceSubType": sub}
    return from_ses("Bounce", type, bounce, people=people, more=SAID, **more)


SNS = Topic()


class TestSesWebhooks(WebhookContract):
    provider = SesProvider
    settings = {  # noqa: RUF012
        "AWS_ACCESS_KEY_ID": "AKIA0123456789",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
        "AWS_REGION": "eu-west-1",
        "SES_TOPIC_ARNS": TOPIC,
    }
    wanted = "SES_TOPIC_ARNS"
    rows = ses._EVENTS
    name = "eventType"
    headers = ()
    # That of SNS is tried in test_sns.py.
    age = None
    samples = (
        from_ses("Send", ACCEPTED),
        from_ses("Delivery", DELIVERED, recipients=[ANN]),
        from_ses("DeliveryDelay", DEFERRED, key="deliveryDelay", people="delayedRecipients"),
        ses_bounce("Permanent", "General", BOUNCED, HARD),
        ses_bounce("Permanent", "Suppressed", REJECTED, HARD),
        ses_bounce("Transient", "MailboxFull", BOUNCED, SOFT),
        ses_bounce("Transient", "ContentRejected", BOUNCED, BLOCK),
        ses_bounce("Undetermined", "Undetermined", BOUNCED, SOFT),
        from_ses("Complaint", COMPLAINED, people="complainedRecipients"),
        from_ses(
            "Complaint",
            REJECTED,
            people="complainedRecipients",
            complaintSubType="OnAccountSuppressionList",
        ),
        from_ses("Complaint", None, complaintFeedbackType="not-spam", complainedRecipients=[]),
        from_ses("Reject", REJECTED, BLOCK, reason="Bad content"),
        from_ses("Rendering Failure", REJECTED, key="failure"),
        from_ses("Open", OPENED),
        from_ses("Click", CLICKED, link=LINK, more=CLICK),
        from_ses("Subscription", UNSUBSCRIBED, newTopicPreferences={"unsubscribeAll": True}),
        from_ses("Subscription", None, newTopicPreferences={"unsubscribeAll": False}),
    )

    def sealed(self, body, at=NOW):
        return SNS.signed(body.decode("latin-1"))

    def forgeries(self):
        yield replace(Topic().signed(self.usual()), fetch=SNS.fetch)


def from_postmark(words, type, bounce=None, **more):
    common = {
        "MessageID": "0d1c2b3a-1111-4222-8333-444455556666",
        "ServerID": 23,
        "MessageStream": "outbound",
        "Tag": "invoice",
        "Metadata": {"attempt_id": ATTEMPT},
    }
    return Told({**common, **words}, type, bounce, tuple(more.items()))


def postmark_bounce(kind, type, bounce=None, record="Bounce"):
    words = {
        "RecordType": record,
        "ID": 900111222333,
        "Type": kind,
        "Description": "It came back.",
        "Details": ANSWER,
        "Email": ANN,
        "From": "billing@example.com",
        "BouncedAt": ISO,
    }
    return from_postmark(words, type, bounce, **(dict(SAID) if type else {}))


def changed(reason, type, bounce=None, suppress=True):
    words = {
        "RecordType": "SubscriptionChange",
        "ChangedAt": ISO,
        "Recipient": ANN,
        "Origin": "Recipient",
        "SuppressSending": suppress,
        "SuppressionReason": reason,
    }
    return from_postmark(words, type, bounce)


class TestPostmarkWebhooks(WebhookContract):
    provider = PostmarkProvider
    settings = {  # noqa: RUF012
        "POSTMARK_SERVER_TOKEN": "f3c1a2b4-1111-4222-8333-0123456789ab",
        "POSTMARK_WEBHOOK_CREDENTIALS": "postmark:correct:horse-battery",
    }
    wanted = "POSTMARK_WEBHOOK_CREDENTIALS"
    rows = postmark._EVENTS
    name = "RecordType"
    headers = ("authorization",)
    # There is no signature.
    covers_body = False
    age = None
    samples = (
        from_postmark(
            {"RecordType": "Delivery", "Recipient": ANN, "DeliveredAt": ISO, "Details": "250 OK"},
            DELIVERED,
            reason="250 OK",
            provider_message_id="0d1c2b3a-1111-4222-8333-444455556666",
        ),
        from_postmark(
            {"RecordType": "Open", "FirstOpen": True, "Recipient": ANN, "ReceivedAt": ISO}, OPENED
        ),
        from_postmark(
            {"RecordType": "Click", "Recipient": ANN, "ReceivedAt": ISO, "OriginalLink": LINK},
            CLICKED,
            url=LINK,
        ),
        postmark_bounce("SpamComplaint", COMPLAINED, record="SpamComplaint"),
        *(
            postmark_bounce(kind, type, bounce)
            for kinds, type, bounce in (
                ("HardBounce", BOUNCED, HARD),
                ("SoftBounce Unknown", BOUNCED, SOFT),
                ("Blocked DMARCPolicy VirusNotification", BOUNCED, BLOCK),
                ("Transient DnsError OpenRelayTest", DEFERRED, None),
                ("SpamNotification SpamComplaint", COMPLAINED, None),
                ("Unsubscribe ManualSuppression", UNSUBSCRIBED, None),
                ("BadEmailAddress", REJECTED, HARD),
                ("ManuallyDeactivated Unconfirmed", REJECTED, None),
                ("SMTPApiError TemplateRenderingFailed", REJECTED, None),
                ("AutoResponder AddressChange ChallengeVerification", None, None),
                ("Subscribe InboundError SomethingNew", None, None),
            )
            for kind in kinds.split()
        ),
        changed("HardBounce", BOUNCED, HARD),
        changed("SpamComplaint", COMPLAINED),
        changed("ManualSuppression", UNSUBSCRIBED),
        changed(None, None, suppress=False),
    )

    def sealed(self, body, at=NOW, credentials=None):
        credentials = (credentials or self.settings[self.wanted]).encode()
        return request(body, {"authorization": f"Basic {base64.b64encode(credentials).decode()}"})

    def forgeries(self):
        body = json.dumps(self.usual()).encode()
        for credentials in ("x", "postmark:", ":", "postmark:correct", "eve:correct:horse-battery"):
            yield self.sealed(body, credentials=credentials)
        login = self.sealed(body).headers["authorization"]
        yield request(body, {"authorization": f"{login[:12]}!{login[12:]}"})
        for scheme in ("Bearer", "Basic", ""):
            yield request(body, {"authorization": f"{scheme} {self.settings[self.wanted]}"})

    def test_a_bounce_goes_by_its_own_id_and_the_same_mail_may_have_several(self):
        first = postmark_bounce("SoftBounce", BOUNCED, SOFT).words
        found = [self.read(self.signed({**first, "ID": n})).events[0].id for n in (1, 2, 1)]
        assert len(set(found)) == 2

    @pytest.mark.parametrize("credentials", ["user", ":password", "user:"])
    def test_what_nobody_can_log_in_with_is_a_fault_of_the_settings(self, credentials):
        with pytest.raises(BadSettings, match="user:password"):
            self.configured(POSTMARK_WEBHOOK_CREDENTIALS=credentials)


def from_resend_of(name, type, why=None, recipients="1", to=(ANN,), more=(), **details):
    data = {
        "email_id": "7a6b5c4d-aaaa-4bbb-8ccc-ddddeeeeffff",
        "created_at": ISO,
        "from": "Billing <billing@example.com>",
        "to": list(to),
        "subject": "Invoice",
        "tags": {"attempt_id": ATTEMPT, "recipients": recipients},
        **details,
    }
    return Told({"type": name, "created_at": ISO, "data": data}, type, why, tuple(more))


def resend_bounce(kind, sub, type, bounce, message="It came back."):
    about = {"type": kind, "subType": sub, "message": message, "diagnosticCode": [ANSWER]}
    return from_resend_of("email.bounced", type, bounce, bounce=about, more=SAID)


class TestResendWebhooks(WebhookContract):
    provider = ResendProvider
    settings = {  # noqa: RUF012
        "RESEND_API_KEY": "re_0123456789_abcdefghijklmnopqrstuvwx",
        "RESEND_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    }
    wanted = "RESEND_WEBHOOK_SECRET"
    rows = resend._EVENTS
    name = "type"
    headers = ("svix-id", "svix-timestamp", "svix-signature")
    age = timedelta(minutes=5)
    samples = (
        from_resend_of("email.sent", ACCEPTED),
        from_resend_of("email.scheduled", ACCEPTED),
        from_resend_of("email.delivered", DELIVERED),
        from_resend_of("email.delivery_delayed", DEFERRED),
        resend_bounce("Permanent", "General", BOUNCED, HARD),
        resend_bounce("Permanent", "Suppressed", REJECTED, HARD),
        resend_bounce(
            "Permanent", "General", REJECTED, HARD, "Resend has suppressed sending to it"
        ),
        resend_bounce("Transient", "MailboxFull", BOUNCED, SOFT),
        resend_bounce("Transient", "ContentRejected", BOUNCED, BLOCK),
        resend_bounce("Undetermined", "Undetermined", BOUNCED, SOFT),
        from_resend_of("email.suppressed", REJECTED, suppressed={"reason": "complaint"}),
        from_resend_of("email.suppressed", REJECTED, HARD, suppressed={"message": "It bounced"}),
        from_resend_of(
            "email.failed", REJECTED, failed={"reason": "quota"}, more=(("reason", "quota"),)
        ),
        from_resend_of("email.complained", COMPLAINED),
        from_resend_of("email.opened", OPENED, open={}),
        from_resend_of("email.clicked", CLICKED, click={"link": LINK}, more=CLICK),
        from_resend_of("email.received", None),
        from_resend_of("contact.created", None),
    )

    def sealed(self, body, at=NOW, secret=None):
        return from_resend(body, secret or self.settings[self.wanted], at)

    def forgeries(self):
        body = json.dumps(self.usual()).encode()
        secret = self.settings[self.wanted]
        yield from_resend(body, "whsec_YW5vdGhlcg==")
        # What follows the dot would be signed just so as the time of another request.
        yield from_resend(body, secret, name="msg_1.1767225600")

    def test_the_example_of_the_signature_is_authentic(self):
        body = (
            b'{"type":"email.sent","created_at":"2026-01-01T00:00:00.000Z",'
            b'"data":{"email_id":"7a6b5c4d-aaaa-4bbb-8ccc-ddddeeeeffff"}}'
        )
        signature = "v1,nU906niOFLQaj3GzogAz9tgRRUdgKYvMoSWojn8BAo8="
        sent = dict(zip(self.headers, ("msg_test0001", "1767225600", signature), strict=True))
        content = self.read(request(body, sent))
        assert (content.token, content.events[0].type) == ("msg_test0001", ACCEPTED)
        assert content.token_lasts > timedelta(hours=28)

    def test_of_several_signatures_one_is_enough_while_the_secret_is_being_exchanged(self):
        sent = self.signed(self.usual())
        signature = sent.headers["svix-signature"]
        for several, good in (
            (f"v1a,x v1,b2xk {signature}", True),
            (f"{signature} v1,b2xk", True),
            (f"v1a,x v1,b2xk {signature.replace('v1,', 'v2,')}", False),
        ):
            headers = {**sent.headers, "svix-signature": several}
            if good:
                assert self.read(replace(sent, headers=headers)).events
            else:
                self.fault(replace(sent, headers=headers))

    @pytest.mark.parametrize(("recipients", "to"), [("2", [ANN]), (None, [ANN]), ("1", [])])
    def test_whose_an_event_is_is_only_told_where_there_is_no_question(self, recipients, to):
        # Somebody in Cc or Bcc may have bounced: the event names those in To all the same.
        told = from_resend_of("email.delivered", DELIVERED, recipients=recipients, to=to)
        (event,) = self.read(self.signed(told.words)).events
        assert (event.recipient, event.attempt_id) == ("", ATTEMPT)

    @pytest.mark.parametrize("secret", ["MDEyMzQ1Njc4OWFi", "whsec_", "whsec_é", "whsec_x", "re_1"])
    def test_what_is_no_secret_is_a_fault_of_the_settings(self, secret):
        with pytest.raises(BadSettings, match="RESEND_WEBHOOK_SECRET"):
            self.configured(RESEND_WEBHOOK_SECRET=secret)


def from_mandrill_of(name, type, bounce=None, more=(), url=None, **message):
    words = {
        "event": name,
        "_id": f"1c9e0a-{ANN}",
        "ts": AT,
        "msg": {
            "_id": "1c9e0a",
            "ts": AT,
            "subject": "Invoice",
            "email": ANN,
            "sender": "billing@example.com",
            "tags": ["invoice"],
            "metadata": {"attempt_id": ATTEMPT},
            **message,
        },
    }
    return Told({**words, "url": url} if url else words, type, bounce, tuple(more))


class TestMandrillWebhooks(WebhookContract):
    provider = MandrillProvider
    settings = {  # noqa: RUF012
        "MANDRILL_API_KEY": "md-0123456789abcdefABCDEF",
        "MANDRILL_WEBHOOK_KEY": "test-webhook-key",
    }
    wanted = "MANDRILL_WEBHOOK_KEY"
    rows = mandrill._EVENTS
    name = "event"
    headers = ("x-mandrill-signature",)
    # There is no time in what is signed.
    age = None
    samples = (
        from_mandrill_of("send", ACCEPTED),
        from_mandrill_of("delivered", DELIVERED),
        from_mandrill_of(
            "deferral",
            DEFERRED,
            smtp_events=[{"diag": "421 4.0.0 first"}, {"diag": "451 4.3.5 later"}],
            more=(("code", "4.3.5"), ("reason", "451 4.3.5 later")),
        ),
        from_mandrill_of(
            "hard_bounce",
            BOUNCED,
            HARD,
            bgtools_code=10,
            bounce_description="bad_mailbox",
            diag=ANSWER,
            more=SAID,
        ),
        from_mandrill_of(
            "soft_bounce",
            BOUNCED,
            SOFT,
            bgtools_code=22,
            bounce_description="mailbox_full",
            more=(("reason", "mailbox_full"),),
        ),
        from_mandrill_of("soft_bounce", BOUNCED, BLOCK, bgtools_code=51),
        from_mandrill_of("soft_bounce", BOUNCED, SOFT),
        from_mandrill_of("reject", REJECTED),
        from_mandrill_of("reject", REJECTED, HARD, reject={"reason": "hard-bounce"}),
        from_mandrill_of("spam", COMPLAINED),
        from_mandrill_of("unsub", UNSUBSCRIBED),
        from_mandrill_of("open", OPENED),
        from_mandrill_of("click", CLICKED, url=LINK, more=CLICK),
        from_mandrill_of("inbound", None),
    )

    def sealed(self, body, at=NOW, key=None):
        return from_mandrill(body, key or self.settings[self.wanted])

    def signed(self, event, at=NOW):
        return super().signed([event], at)

    def forgeries(self):
        body = json.dumps([self.usual()]).encode()
        yield from_mandrill(body, "another")
        # The address is signed, too.
        yield from_mandrill(body, self.settings[self.wanted], "https://mail.example/webhooks/y")
        yield self.sealed(body, key="test-webhook")

    def test_the_example_of_the_signature_is_authentic(self):
        url = "https://hooks.example.test/mandrill?tenant=7"
        body = b'[{"event":"send","_id":"abc123","ts":1767225600}]'
        sent = from_mandrill(body, self.settings[self.wanted], url)
        assert sent.headers == {"x-mandrill-signature": "vKrG93icHo1CYGNiYElm6SCqBZw="}
        (event,) = self.read(request(sent.body, sent.headers, url=url)).events
        assert (event.type, event.provider_message_id) == (ACCEPTED, "abc123")

    def test_every_event_of_a_batch_counts_and_news_of_lists_are_named(self):
        batch = [told.words for told in self.samples] + [{"type": "blacklist", "action": "add"}, 7]
        content = self.read(self.sealed(json.dumps(batch).encode()))
        assert len(content.events) == len(self.samples) - 1
        assert len({event.id for event in content.events}) > len(self.samples) // 2
        assert content.ignored == ("inbound", "blacklist")

    @pytest.mark.parametrize("key", ["", "test-webhook-key"])
    def test_the_trial_that_comes_before_there_is_a_key_is_welcome_and_tells_nothing(self, key):
        provider = self.configured(MANDRILL_WEBHOOK_KEY=key)
        for sent in (request(b"mandrill_events=%5B%5D"), from_mandrill(b"[]", "test-webhook")):
            assert provider.read_webhook(sent) == WebhookContent()

    def test_two_batches_in_one_form_are_not_readable_whoever_signed_them(self):
        # Of the same name, they are signed in the order of their values.
        signed = f"{URL}mandrill_events[]mandrill_events[{{}}]".encode()
        digest = hmac.digest(self.settings[self.wanted].encode(), signed, "sha1")
        headers = {"x-mandrill-signature": base64.b64encode(digest).decode()}
        body = b"mandrill_events=[{}]&mandrill_events=[]"
        assert type(self.fault(request(body))) is NotAuthentic
        assert type(self.fault(request(body, headers))) is NotReadable

    def test_a_form_that_is_no_utf_8_is_not_readable(self):
        assert type(self.fault(request(b"mandrill_events=%ff"))) is NotReadable


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("smtp; 550 5.1.1 no such user", "5.1.1"),
        ("421-4.7.28 slow down. 421 4.7.0 again", "4.7.28"),
        ("Status: 5.7.1.", "5.7.1"),
        ("from 5.1.1.7 or 192.0.2.1", None),
        ("550 no such user", None),
        (None, None),
        ({}, None),
    ],
)
def test_the_status_code_in_an_answer(said, code):
    assert status_code(said) == code


def test_only_texts_and_numbers_are_words():
    assert [word(found) for found in ("a", 7, 1.5, None, {}, ["a"])] == [
        "a",
        "7",
        "1.5",
        "",
        "",
        "",
    ]


def test_plain_smtp_has_no_webhooks_and_says_so():
    values = {"SMTP_HOST": "127.0.0.1", "SMTP_TLS": "off"}
    provider = SmtpProvider.configure(values, Timeouts())
    assert not provider.hears
    with pytest.raises(WebhooksNotSetUp, match="smtp has no webhooks"):
        provider.read_webhook(request(b"{}"))

"""Signing webhooks as the providers do; what is not genuine is signed with another key."""

import base64
import hmac
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import urlencode

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from simulator.switches import Provider
from simulator.webhook_bodies import iso

_SNS = "https://sns.eu-west-1.amazonaws.com"
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as it is sent, headers and all."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """What the receiver knows, but that SendGrid's is the private key; `topic` is that of SNS.

    `postmark` is `user:password`. Mandrill signs `mandrill_url` too, as the receiver knows it.
    """

    mailgun: bytes = field(repr=False)
    sendgrid: ec.EllipticCurvePrivateKey = field(repr=False)
    topic: str
    postmark: str = field(repr=False)
    resend: bytes = field(repr=False)
    mandrill: bytes = field(repr=False)
    mandrill_url: str

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str],
        sendgrid: ec.EllipticCurvePrivateKey,
        receiver: str,
    ) -> Self:
        """Out of the settings that the providers' adapters read; `receiver` is their base URL."""
        secret = environment["RESEND_WEBHOOK_SECRET"].removeprefix("whsec_")
        return cls(
            mailgun=environment["MAILGUN_WEBHOOK_SIGNING_KEY"].encode(),
            sendgrid=sendgrid,
            topic=environment["SES_TOPIC_ARNS"],
            postmark=environment["POSTMARK_WEBHOOK_CREDENTIALS"],
            resend=base64.b64decode(secret),
            mandrill=environment["MANDRILL_WEBHOOK_KEY"].encode(),
            mandrill_url=f"{receiver}/webhooks/mandrill",
        )


class Signer:
    """Writes and signs the bodies; those of SNS with a certificate of its own making."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys
        self._sns_key, self._other_key = (rsa.generate_private_key(65537, 2048) for _ in "ab")
        self.certificate = _certificate(self._sns_key)
        self.certificate_path = f"/SimpleNotificationService-{os.urandom(16).hex()}.pem"

    def signed(
        self, provider: Provider, events: list[dict[str, Any]], now: float, genuine: bool = True
    ) -> Signed:
        """One request; there are several events only where the provider sends batches."""
        match provider:
            case Provider.MAILGUN:
                return self.mailgun(events[0], now, genuine)
            case Provider.SENDGRID:
                return self.sendgrid(events, now, genuine)
            case Provider.SES:
                return self.ses(events[0], now, genuine)
            case Provider.POSTMARK:
                return self.postmark(events[0], genuine)
            case Provider.RESEND:
                return self.resend(events[0], now, genuine)
            case Provider.MANDRILL:
                return self.mandrill(events, genuine)

    def mailgun(self, event: dict[str, Any], now: float, genuine: bool = True) -> Signed:
        stamp, token = str(int(now)), os.urandom(25).hex()
        key = self._keys.mailgun if genuine else os.urandom(16)
        signature = hmac.digest(key, f"{stamp}{token}".encode(), "sha256").hex()
        signed = {"timestamp": stamp, "token": token, "signature": signature}
        body = orjson.dumps({"signature": signed, "event-data": event})
        return Signed((("Content-Type", _JSON),), body)

    def sendgrid(self, events: list[dict[str, Any]], now: float, genuine: bool = True) -> Signed:
        # Their bodies end like this.
        body = orjson.dumps(events) + b"\r\n"
        stamp = str(int(now))
        key = self._keys.sendgrid if genuine else ec.generate_private_key(ec.SECP256R1())
        signature = key.sign(stamp.encode() + body, ec.ECDSA(SHA256()))
        headers = (
            ("Content-Type", _JSON),
            ("X-Twilio-Email-Event-Webhook-Signature", base64.b64encode(signature).decode()),
            ("X-Twilio-Email-Event-Webhook-Timestamp", stamp),
        )
        return Signed(headers, body)

    def ses(self, event: dict[str, Any], now: float, genuine: bool = True) -> Signed:
        notification = {
            "Type": "Notification",
            "Subject": "Amazon SES Email Event Notification",
            "Message": orjson.dumps(event).decode() + "\n",
        }
        return self._sns(notification, now, genuine)

    def confirmation(self, token: str, now: float) -> Signed:
        """SNS's question whether the topic may be subscribed to."""
        query = f"Action=ConfirmSubscription&TopicArn={self._keys.topic}&Token={token}"
        question = {
            "Type": "SubscriptionConfirmation",
            "Token": token,
            "Message": "You have chosen to subscribe to the topic.",
            "SubscribeURL": f"{_SNS}/?{query}",
        }
        return self._sns(question, now, genuine=True)

    def postmark(self, event: dict[str, Any], genuine: bool = True) -> Signed:
        # They sign nothing: these are the credentials in the address that they were given.
        credentials = self._keys.postmark if genuine else f"postmark:{os.urandom(8).hex()}"
        authorization = f"Basic {base64.b64encode(credentials.encode()).decode()}"
        headers = (("Content-Type", _JSON), ("Authorization", authorization))
        return Signed(headers, orjson.dumps(event))

    def resend(self, event: dict[str, Any], now: float, genuine: bool = True) -> Signed:
        event = dict(event)
        id_, stamp = event.pop("svix-id"), str(int(now))
        body = orjson.dumps(event)
        key = self._keys.resend if genuine else os.urandom(24)
        signature = hmac.digest(key, f"{id_}.{stamp}.".encode() + body, "sha256")
        headers = (
            ("Content-Type", _JSON),
            ("svix-id", id_),
            ("svix-timestamp", stamp),
            ("svix-signature", f"v1,{base64.b64encode(signature).decode()}"),
        )
        return Signed(headers, body)

    def mandrill(self, events: list[dict[str, Any]], genuine: bool = True) -> Signed:
        name, value = "mandrill_events", orjson.dumps(events).decode()
        key = self._keys.mandrill if genuine else os.urandom(16)
        text = f"{self._keys.mandrill_url}{name}{value}"
        signature = base64.b64encode(hmac.digest(key, text.encode(), "sha1")).decode()
        headers = (
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("X-Mandrill-Signature", signature),
        )
        return Signed(headers, urlencode({name: value}).encode())

    def _sns(self, message: dict[str, str], now: float, genuine: bool) -> Signed:
        message = {
            **message,
            "MessageId": str(uuid.uuid4()),
            "TopicArn": self._keys.topic,
            "Timestamp": iso(now),
        }
        signed = "".join(f"{name}\n{message[name]}\n" for name in sorted(message))
        # Both versions are in use.
        version = "2" if message["MessageId"][0] in "01234567" else "1"
        key = self._sns_key if genuine else self._other_key
        hash_of = SHA256() if version == "2" else SHA1()  # noqa: S303
        signature = key.sign(signed.encode(), PKCS1v15(), hash_of)
        body = {
            **message,
            "SignatureVersion": version,
            "Signature": base64.b64encode(signature).decode(),
            "SigningCertURL": f"{_SNS}{self.certificate_path}",
        }
        headers = (
            ("Content-Type", "text/plain; charset=UTF-8"),
            ("x-amz-sns-message-type", message["Type"]),
            ("x-amz-sns-message-id", message["MessageId"]),
            ("x-amz-sns-topic-arn", message["TopicArn"]),
        )
        return Signed(headers, orjson.dumps(body))


def _certificate(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .sign(key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM)

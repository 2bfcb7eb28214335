"""Signing webhooks as the three providers do; what is not genuine is signed with another key."""

import base64
import hmac
import os
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

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
    """What the receiver knows: Mailgun's key, SendGrid's private key, and SNS's topic."""

    mailgun: bytes = field(repr=False)
    sendgrid: ec.EllipticCurvePrivateKey = field(repr=False)
    topic: str


class Signer:
    """Writes and signs the bodies; those of SNS with a certificate of its own making."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys
        self._sns_key, self._other_key = (rsa.generate_private_key(65537, 2048) for _ in "ab")
        self.certificate = _certificate(self._sns_key)
        self.certificate_path = f"/SimpleNotificationService-{os.urandom(16).hex()}.pem"

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

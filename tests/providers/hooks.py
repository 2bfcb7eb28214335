"""Webhooks as the providers would send them, for tests; signed with keys of the tests' own."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from providers.webhooks import VerifierUnavailable, WebhookRequest

NOW = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
URL = "https://mail.example/webhooks/x"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:mail"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b.pem"


def request(body, headers=(), fetch=None, at=NOW, url=URL):
    """A request as a provider is handed it."""

    def nothing(url):
        raise VerifierUnavailable(url)

    return WebhookRequest(url, dict(headers), body, at, fetch or nothing)


def stamped(at):
    return str(int(at.timestamp()))


def from_resend(body, secret, at=NOW, name=None):
    """Signed by Svix; its id is the same for the same event, unless it is named."""
    name, stamp = name or f"msg_{hashlib.sha256(body).hexdigest()[:24]}", stamped(at)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = hmac.digest(key, f"{name}.{stamp}.".encode() + body, "sha256")
    signature = f"v1,{base64.b64encode(signature).decode()}"
    headers = {"svix-id": name, "svix-timestamp": stamp, "svix-signature": signature}
    return request(body, headers)


def from_mandrill(body, key, url=URL):
    """A form of one field, signed with the address that it goes to."""
    signed = f"{url}mandrill_events{body.decode('latin-1')}"
    signature = base64.b64encode(hmac.digest(key.encode(), signed.encode(), "sha1")).decode()
    form = urlencode({"mandrill_events": body}).encode()
    return request(form, {"x-mandrill-signature": signature})


class SendGridKey:
    def __init__(self):
        self._key = ec.generate_private_key(ec.SECP256R1())
        der = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.public = base64.b64encode(der).decode()

    def signed(self, body, at=NOW):
        stamp = stamped(at)
        signature = self._key.sign(stamp.encode() + body, ec.ECDSA(SHA256()))
        headers = {
            "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
            "x-twilio-email-event-webhook-timestamp": stamp,
        }
        return request(body, headers)


class Topic:
    """SNS with a certificate of its own; `fetched` are the addresses that were asked for."""

    def __init__(self, name="sns.amazonaws.com", days=30):
        self._key = rsa.generate_private_key(65537, 1024)  # Quickly made.
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(NOW - timedelta(days=60))
            .not_valid_after(NOW + timedelta(days=days))
            .sign(self._key, SHA256())
        )
        self._pem = certificate.public_bytes(Encoding.PEM)
        self.fetched = []

    def fetch(self, url):
        self.fetched.append(url)
        if url.endswith(".pem") and url != CERTIFICATE_URL:
            raise VerifierUnavailable(url)
        return self._pem

    def signed(self, message, version="1", headers=(), **changed):
        """A notification whose text is `message`; what is `changed` is so before it is signed."""
        text = message if isinstance(message, str) else json.dumps(message)
        fields = {
            "Type": "Notification",
            "MessageId": "m-1",
            "TopicArn": TOPIC,
            "Subject": "Amazon SES Email Event Notification",
            "Message": text,
            "Timestamp": "2026-01-01T00:00:00.000Z",
            **{n: v for n, v in changed.items() if n != "SigningCertURL"},
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        names = sorted(fields)
        signed = "".join(f"{name}\n{fields[name]}\n" for name in names)
        hash_of = SHA1() if version == "1" else SHA256()
        signature = self._key.sign(signed.encode(), PKCS1v15(), hash_of)
        body = {
            **fields,
            "SignatureVersion": version,
            "Signature": base64.b64encode(signature).decode(),
            "SigningCertURL": changed.get("SigningCertURL", CERTIFICATE_URL),
        }
        return request(json.dumps(body).encode(), headers, self.fetch)

"""Amazon SNS over HTTP: whose a message is, by the signature in it, and confirming a subscription.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509.oid import NameOID

from providers.base import BadSettings
from providers.webhooks import (
    NotAuthentic,
    NotReadable,
    VerifierUnavailable,
    WebhookRequest,
    moment,
    parsed,
    within,
)

_TOPIC = re.compile(r"arn:aws(?:-[a-z-]+)?:sns:([a-z0-9-]{3,}):[0-9]{12}:[\w.-]{1,256}", re.ASCII)
_CERTIFICATE_PATH = re.compile(r"/SimpleNotificationService-[A-Za-z0-9]+\.pem")
#: What is signed, in this order. https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
    "UnsubscribeConfirmation": (
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}
_HEADERS = {
    "x-amz-sns-message-type": "Type",
    "x-amz-sns-message-id": "MessageId",
    "x-amz-sns-topic-arn": "TopicArn",
}
_HASHES = {"1": SHA1, "2": SHA256}
_NAME = re.compile(r"sns(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?")
#: SNS tries for an hour at most.
_AGE = timedelta(minutes=75)
_SKEW = timedelta(minutes=15)
_MOST_CERTIFICATES = 16
#: How long a certificate that could not be had is not asked for again.
_PAUSE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Notice:
    """A verified message of SNS: its type, its id, the same on retries, and its text."""

    kind: str
    id: str
    text: str


class Sns:
    """Takes messages of these topics and of no others; safe to use from several threads."""

    def __init__(self, topics: Iterable[str]) -> None:
        self.topics = frozenset(topics)
        for topic in self.topics:
            if not _TOPIC.fullmatch(topic):
                raise BadSettings(
                    "SES_TOPIC_ARNS must be like arn:aws:sns:eu-west-1:111122223333:mail,arn:…"
                )
        self._certificates: dict[str, x509.Certificate] = {}
        self._missing: dict[str, datetime] = {}

    def read(self, request: WebhookRequest) -> Notice:
        """The message in a request, after it was verified; one that confirms has been answered.

        Raises a WebhookFault.
        """
        if request.headers.get("x-amz-sns-rawdelivery", "").lower() == "true":
            raise NotAuthentic("raw delivery is not signed: switch it off")
        message = parsed(request.body)
        if not isinstance(message, dict):
            raise NotReadable("the body is not a message of SNS")
        fields = {name: value for name, value in message.items() if isinstance(value, str)}
        kind = fields.get("Type", "")
        if kind not in _SIGNED:
            raise NotReadable("the type of the message is none of SNS's")
        self._verify(fields, request)
        if kind == "SubscriptionConfirmation":
            self._confirm(fields, request)
        return Notice(kind, fields["MessageId"], fields["Message"])

    def _verify(self, fields: Mapping[str, str], request: WebhookRequest) -> None:
        topic = fields.get("TopicArn", "")
        if topic not in self.topics:
            raise NotAuthentic("the topic is not one of SES_TOPIC_ARNS")
        names = _SIGNED[fields["Type"]]
        if any(name not in fields for name in names if name != "Subject"):
            raise NotAuthentic("something that is signed is not there")
        for header, name in _HEADERS.items():
            said = request.headers.get(header)
            if said is not None and said != fields[name]:
                raise NotAuthentic("the headers say something else than the body")
        hash_of = _HASHES.get(fields.get("SignatureVersion", ""))
        if hash_of is None:
            raise NotAuthentic("the version of the signature is neither 1 nor 2")
        signed = "".join(f"{name}\n{fields[name]}\n" for name in names if name in fields)
        key = self._key(fields.get("SigningCertURL", ""), topic, request)
        try:
            signature = b64decode(fields.get("Signature", ""), validate=True)
            key.verify(signature, signed.encode("utf-8", "replace"), PKCS1v15(), hash_of())
        except (InvalidSignature, ValueError):
            raise NotAuthentic("the signature is not that of SNS") from None
        at = moment(fields["Timestamp"])
        if at is None or not within(at, request.received_at, _AGE, _SKEW):
            raise NotAuthentic("the message is of another time")

    def _key(self, url: str, topic: str, request: WebhookRequest) -> RSAPublicKey:
        if not (_is_of_sns(url, topic) and _CERTIFICATE_PATH.fullmatch(urlsplit(url).path)):
            raise NotAuthentic("its certificate is not where those of SNS are")
        now = request.received_at
        certificate = self._certificates.get(url)
        if certificate is None:
            if now < self._missing.get(url, now):
                raise VerifierUnavailable("its certificate could not be had just now")
            certificate = self._fetched(url, request)
        valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        key = certificate.public_key()
        named = any(_NAME.fullmatch(str(name.value)) for name in names)
        if not (valid and named and isinstance(key, RSAPublicKey)):
            raise NotAuthentic("its certificate is not one of SNS that is valid now")
        return key

    def _fetched(self, url: str, request: WebhookRequest) -> x509.Certificate:
        if len(self._missing) >= _MOST_CERTIFICATES:
            self._missing.clear()
        try:
            certificate = x509.load_pem_x509_certificate(request.fetch(url))
        except ValueError:
            self._missing[url] = request.received_at + _PAUSE
            raise VerifierUnavailable("what is there is no certificate") from None
        except VerifierUnavailable:
            self._missing[url] = request.received_at + _PAUSE
            raise
        if len(self._certificates) >= _MOST_CERTIFICATES:
            self._certificates.clear()
        self._certificates[url] = certificate
        return certificate

    def _confirm(self, fields: Mapping[str, str], request: WebhookRequest) -> None:
        url = fields["SubscribeURL"]
        if not (_is_of_sns(url, fields["TopicArn"]) and urlsplit(url).path == "/"):
            raise NotAuthentic("its subscription is not confirmed where those of SNS are")
        request.fetch(url)


def _is_of_sns(url: str, topic: str) -> bool:
    """Whether an address is one of SNS itself, in the region of the topic."""
    found = _TOPIC.fullmatch(topic)
    region = found[1] if found else ""
    host = f"sns.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
    try:
        parts = urlsplit(url)
        plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
        return plain and parts.scheme == "https" and parts.netloc == host
    except ValueError:
        return False

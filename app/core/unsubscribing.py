"""One-click unsubscribe (RFC 8058): links that name a recipient and a message, signed.

A link outlives the record of its message, so that it carries what it needs; whoever has it can do
nothing but to take that one recipient off.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from app.core.models import Message

_LABEL = b"unsubscribe"
_SIGNATURE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Unsubscriber:
    """Who asks not to get such mail again, and because of which message."""

    email: str
    message_id: str


class UnsubscribeLinks:
    """Makes and reads the links; their key is derived from the service's secret key."""

    def __init__(self, public_url: str, secret_key: bytes) -> None:
        self._public_url = public_url
        self._key = hmac.digest(secret_key, _LABEL, "sha256")

    def headers(self, message: Message) -> tuple[tuple[str, str], ...]:
        """The headers that a message carries, where it asks for them and has one recipient."""
        if not message.envelope.unsubscribe or len(message.recipients) != 1:
            return ()
        token = self.token(Unsubscriber(message.recipients[0].email, message.id))
        return (
            ("List-Unsubscribe", f"<{self._public_url}/u/{token}>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        )

    def token(self, who: Unsubscriber) -> str:
        payload = f"{who.message_id} {who.email}".encode()
        return f"{_base64(payload)}.{_base64(self._signature(payload))}"

    def read(self, token: str) -> Unsubscriber | None:
        """Whom a token stands for; None for one that is not ours."""
        first, _, second = token.partition(".")
        payload = _bytes(first)
        if payload is None or not hmac.compare_digest(
            _base64(self._signature(payload)).encode(), second.encode()
        ):
            return None
        message_id, _, email = payload.decode().partition(" ")
        return Unsubscriber(email, message_id)

    def _signature(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")[:_SIGNATURE_BYTES]


def _base64(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def _bytes(text: str) -> bytes | None:
    try:
        value = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    # Of the spellings of one value, only ours counts.
    return value if _base64(value) == text else None

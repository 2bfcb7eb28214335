"""Signed texts for links: whoever has one can read it, and nobody else can make one.

A token is the text and its signature (HMAC-SHA256, cut to 128 bits), each in URL-safe base64. Every
use has a key of its own, derived from the service's secret key, so that a token of one use is none
of another. The same text always has the same token.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

_SIGNATURE_BYTES = 16


class Signer:
    """Makes and reads the tokens of one use, which the label names."""

    def __init__(self, secret_key: bytes, label: bytes) -> None:
        self._key = hmac.digest(secret_key, label, "sha256")

    def token(self, text: str) -> str:
        payload = text.encode()
        return f"{_base64(payload)}.{_base64(self._signature(payload))}"

    def read(self, token: str) -> str | None:
        """The text that a token stands for; None for one that is not ours."""
        first, _, second = token.partition(".")
        payload = _bytes(first)
        if payload is None or not hmac.compare_digest(
            _base64(self._signature(payload)).encode(), second.encode()
        ):
            return None
        return payload.decode()

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

"""Signatures of callbacks, as Standard Webhooks (https://www.standardwebhooks.com) has them."""

import hmac
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable
from datetime import datetime

_PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> str:
    """A secret for signing, as applications are given it."""
    return _PREFIX + b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def headers(
    webhook_id: str, at: datetime, body: bytes, secrets_in_use: Iterable[str]
) -> dict[str, str]:
    """The headers that say what a body is and when it left, signed with each of the secrets.

    The id is the same on every try and the time is not: who checks refuses what is minutes old.
    """
    timestamp = str(int(at.timestamp()))
    signed = b".".join((webhook_id.encode(), timestamp.encode(), body))
    signatures = (
        b64encode(hmac.digest(b64decode(secret.removeprefix(_PREFIX)), signed, "sha256")).decode()
        for secret in secrets_in_use
    )
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }

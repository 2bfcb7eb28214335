"""The API keys that are known."""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Protocol


class _Key(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def secret(self) -> str: ...


class ApiKeys:
    """The keys that are known, as SHA-256 of their secrets."""

    def __init__(self, keys: Iterable[_Key]) -> None:
        self._digests = {key.name: _digest(key.secret) for key in keys}

    def name_of(self, secret: str) -> str | None:
        """The name of the key with this secret; takes the same time whichever it is."""
        digest = _digest(secret)
        found = None
        for name, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._digests


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()

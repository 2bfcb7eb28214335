"""Login links: tokens that open the pages once, within ten minutes."""

import hashlib
import secrets
from typing import cast

from redis import Redis
from redis.exceptions import RedisError

from app.core import keys
from app.core.scripting import translated

_LIFE_SECONDS = 600


class LoginTokens:
    """Tokens in Redis, each standing for an API key's name; only their hashes are kept."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def issue(self, key_name: str) -> str:
        """A new token for the pages in the name of an API key. Raises StoreUnavailable."""
        token = secrets.token_urlsafe(32)
        try:
            self._redis.set(_key(token), key_name, ex=_LIFE_SECONDS)
        except RedisError as error:
            raise translated(error) from error
        return token

    def redeem(self, token: str) -> str | None:
        """The name of the API key, the first time; None afterwards. Raises StoreUnavailable."""
        try:
            return cast("str | None", self._redis.getdel(_key(token)))
        except RedisError as error:
            raise translated(error) from error


def _key(token: str) -> str:
    return keys.login(hashlib.sha256(token.encode()).hexdigest())

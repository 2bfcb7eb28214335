"""AWS credentials by botocore's chain, and requests signed by botocore's signer."""

import datetime as dt
import logging
import threading
import time
from typing import Any

from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.credentials import ReadOnlyCredentials  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
from botocore.session import Session  # type: ignore[import-untyped]

from providers.base import MissingSettings
from providers.errors import AccountRefused, Unavailable

#: Looking where there are no credentials takes seconds on a machine that is not AWS's.
_LOOK_AGAIN = 30.0


class Credentials:
    """Keys as given, or as the chain has them: found at first use, renewed before they expire."""

    def __init__(self, access_key: str, secret_key: str, token: str) -> None:
        given = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
        missing = tuple(name for name, value in given.items() if not value)
        if len(missing) == 1:
            raise MissingSettings("ses", missing)
        self._given = (
            None if missing else ReadOnlyCredentials(access_key, secret_key, token or None)
        )
        self._session = Session()
        self._chain: Any = None
        self._looked_at = -_LOOK_AGAIN
        self._lock = threading.Lock()

    def region(self) -> str:
        """The region of the environment or the profile; empty where there is none."""
        try:
            return self._session.get_config_variable("region") or ""
        except BotoCoreError:
            return ""

    def current(self) -> Any:
        """`access_key`, `secret_key` and `token`. Raises AccountRefused or Unavailable, unsent."""
        if self._given is not None:
            return self._given
        try:
            return self._found().get_frozen_credentials()
        except ClientError as fault:
            code = fault.response.get("Error", {}).get("Code", "")
            raise AccountRefused(f"AWS gave no credentials: {code}") from None
        except BotoCoreError as fault:
            raise Unavailable(f"AWS gave no credentials: {type(fault).__name__}") from None

    def _found(self) -> Any:
        with self._lock:
            if self._chain is None and time.monotonic() - self._looked_at >= _LOOK_AGAIN:
                # At debug level it logs what STS answers, keys included.
                logging.getLogger("botocore").setLevel(logging.INFO)
                self._chain = self._session.get_credentials()
                self._looked_at = time.monotonic()
        if self._chain is None:
            raise AccountRefused(
                "no AWS credentials: set AWS_ACCESS_KEY_ID or give this host a role"
            )
        return self._chain


class _Signer(SigV4Auth):  # type: ignore[misc]
    """botocore's signature at a given time, without its debug log: that has the session token."""

    def sign(self, request: AWSRequest, now: float) -> None:
        moment = dt.datetime.fromtimestamp(now, dt.UTC)
        request.context["timestamp"] = moment.strftime(SIGV4_TIMESTAMP)
        self._modify_request_before_signing(request)
        text = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(request, self.signature(text, request))


def sign(url: str, body: bytes, keys: Any, region: str, now: float) -> dict[str, str]:
    """The headers of a signed POST of JSON; `now` is Unix time.

    The service is `ses` for both of its APIs.
    """
    request = AWSRequest("POST", url, {"Content-Type": "application/json"}, body)
    _Signer(keys, "ses", region).sign(request, now)
    return dict(request.headers.items())

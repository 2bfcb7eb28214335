"""AWS Signature Version 4, verified as a service does it."""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import parse_qsl, quote

from simulator.http import Call

LARGEST_SKEW = 15 * 60
SERVICE = "ses"

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/\s,]+)/([0-9]{8})/([^/\s,]+)/([^/\s,]+)/aws4_request,"
    r"\s*SignedHeaders=([^\s,]+),\s*Signature=([0-9a-f]{64})"
)
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS "
    "Secret Access Key and signing method. Consult the service documentation for details."
)


class BadSignature(Exception):
    """The caller is not who it says; `kind` is the error's name as AWS has it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True, slots=True)
class Verifier:
    """Knows one key pair of one region."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str

    def verify(self, call: Call, now: float) -> None:
        """Raises `BadSignature`; `now` is in Unix seconds."""
        authorization = call.headers.get("authorization")
        if not authorization:
            kind = "MissingAuthenticationTokenException"
            raise BadSignature(kind, "Missing Authentication Token")
        match = _AUTHORIZATION.fullmatch(authorization)
        moment = call.headers.get("x-amz-date", "")
        if match is None or not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", moment):
            raise BadSignature(
                "IncompleteSignatureException",
                "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' "
                "parameters, and requires existence of an 'X-Amz-Date' header.",
            )
        access_key, date, region, service, signed, signature = match.groups()
        # A key of long standing has no session: a token with it is somebody else's.
        if access_key != self.access_key or "x-amz-security-token" in call.headers:
            raise BadSignature(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            )
        self._check_scope(date, region, service, moment, now)
        names = signed.split(";")
        unsigned = [name for name in ("host", "x-amz-date") if name not in names]
        if unsigned or any(name not in call.headers for name in names):
            raise BadSignature("SignatureDoesNotMatch", _MISMATCH)
        text = "\n".join(
            (
                "AWS4-HMAC-SHA256",
                moment,
                f"{date}/{region}/{service}/aws4_request",
                hashlib.sha256(canonical_request(call, names).encode()).hexdigest(),
            )
        )
        key = _signing_key(self.secret_key, date, region, service)
        if not hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), signature):
            raise BadSignature("SignatureDoesNotMatch", _MISMATCH)

    def _check_scope(self, date: str, region: str, service: str, moment: str, now: float) -> None:
        fault = ""
        if service != SERVICE:
            fault = f"Credential should be scoped to correct service: '{SERVICE}'."
        elif region != self.region:
            fault = f"Credential should be scoped to a valid region, not '{region}'."
        elif date != moment[:8]:
            fault = "Date in Credential scope does not match the date of the request."
        else:
            skew = now - _seconds(moment)
            if abs(skew) > LARGEST_SKEW:
                clock = f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
                fault = (
                    f"Signature expired: {moment} is now earlier than {clock} - 15 min."
                    if skew > 0
                    else f"Signature not yet current: {moment} is later than {clock} + 15 min."
                )
        if fault:
            raise BadSignature("SignatureDoesNotMatch", fault)


def canonical_request(call: Call, signed_headers: list[str]) -> str:
    """The text that is signed; the path, sent percent-encoded, is encoded once more."""
    query = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(call.query, keep_blank_values=True)
    )
    return "\n".join(
        (
            call.method,
            quote(call.path, safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{' '.join(call.headers[name].split())}" for name in signed_headers),
            "",
            ";".join(signed_headers),
            hashlib.sha256(call.body).hexdigest(),
        )
    )


@lru_cache(maxsize=16)
def _seconds(moment: str) -> float:
    """A basic ISO 8601 time in Unix seconds; the beginning of all time if there is no such day."""
    try:
        return datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


@lru_cache(maxsize=16)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key

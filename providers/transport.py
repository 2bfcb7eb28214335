"""One request to a provider over `requests`: kept-alive connections, one deadline, no retries."""

import contextlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import requests
from requests import exceptions as outer
from requests.structures import CaseInsensitiveDict
from urllib3 import exceptions as inner

from providers.answers import Answer
from providers.connections import CuttableAdapter
from providers.deadline import Exchange, watchdog
from providers.errors import ProviderFailure, Unavailable, Unknown

#: An answer is a few hundred bytes; whatever is longer than this is not read to its end.
BODY_LIMIT = 1024 * 1024
#: What is longer is sent piece by piece.
_AT_ONCE = 256 * 1024

#: How many connections may rest at once: as many as a worker may have used.
MOST_CONNECTIONS = 4096

#: What was raised, what caused it, whether the message may have been taken, and what to say.
#: The first row that fits counts. The shapes are those of requests 2.34 with urllib3 2.8:
#: ConnectTimeout is a ConnectionError too, so it stands first.
_SHAPES: tuple[tuple[type[Exception], type[Exception], type[ProviderFailure], str], ...] = (
    (outer.ConnectTimeout, Exception, Unavailable, "no connection within the connect timeout"),
    (outer.ProxyError, Exception, Unavailable, "the proxy did not connect us"),
    (outer.SSLError, Exception, Unavailable, "TLS failed"),
    (outer.ConnectionError, inner.NameResolutionError, Unavailable, "its name does not resolve"),
    (outer.ConnectionError, inner.NewConnectionError, Unavailable, "could not connect"),
    (outer.ReadTimeout, Exception, Unknown, "no answer within the read timeout"),
    (outer.ConnectionError, inner.ProtocolError, Unknown, "the connection broke"),
    (outer.InvalidURL, Exception, Unavailable, "no valid way there"),
    (outer.RequestException, Exception, Unknown, "the exchange broke off"),
    # What requests did not make its own was raised before it had a connection.
    (Exception, Exception, Unavailable, "could not begin"),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a provider composes it; `secrets` are the texts in it that nobody may see."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


class Transport:
    """Sends requests to one provider, from any number of threads at once."""

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout: float,
        read_timeout: float,
        deadline: float,
        connections: int = MOST_CONNECTIONS,
    ) -> None:
        self._timeout = (connect_timeout, read_timeout)
        self._deadline = deadline
        self._adapter = CuttableAdapter(pool_connections=4, pool_maxsize=connections)
        # Proxies and certificate bundle as the environment has them, looked up once.
        found = requests.Session().merge_environment_settings(base_url, {}, True, None, None)
        proxies = {} if _is_loopback(base_url) else found["proxies"]
        self._route: dict[str, Any] = {
            "stream": True,
            "verify": found["verify"],
            "proxies": proxies,
        }

    def post(self, call: Call) -> Answer:
        """The answer as far as it came, its status at least; otherwise Unavailable or Unknown."""
        length = {"Content-Length": str(len(call.body))}
        return self._exchange("POST", call, call.body, length, self._deadline, "message")

    def get(self, call: Call, deadline: float) -> Answer:
        """The same for a GET, which has no body, within `deadline` seconds."""
        return self._exchange("GET", call, None, {}, min(deadline, self._deadline), "request")

    def ask(self, call: Call, deadline: float) -> Answer:
        """The same for a question that is put by POST: it sends no message."""
        length = {"Content-Length": str(len(call.body))}
        seconds = min(deadline, self._deadline)
        return self._exchange("POST", call, call.body, length, seconds, "request")

    def _exchange(
        self,
        method: str,
        call: Call,
        body: bytes | None,
        framing: Mapping[str, str],
        deadline: float,
        sent: str,
    ) -> Answer:
        # Built by hand: preparing costs as much as the rest of a send on a warm connection.
        request = requests.PreparedRequest()
        request.method, request.url = method, call.url
        # A socket's timeout is for all that is sent at once, however long that is.
        request.body = body if body is None or len(body) <= _AT_ONCE else BytesIO(body)  # type: ignore[assignment]
        request.headers = CaseInsensitiveDict(
            {"Accept": "application/json", "User-Agent": "steadpost", **framing, **call.headers}
        )
        with watchdog().exchange(deadline) as exchange:
            try:
                response = self._adapter.send(request, timeout=self._timeout, **self._route)
            except (OSError, inner.HTTPError) as fault:
                if exchange.status is not None:
                    return Answer(exchange.status, secrets=call.secrets)
                raise _failure(fault, exchange, deadline, sent) from fault
            with contextlib.closing(response):
                content = _read(response)
            return Answer(response.status_code, response.headers, content, call.secrets)

    def close(self) -> None:
        """Close the connections that rest; those in use end with their exchange."""
        self._adapter.close()


def _failure(fault: Exception, exchange: Exchange, deadline: float, sent: str) -> ProviderFailure:
    cause: object = fault.args[0] if fault.args else None
    if isinstance(cause, inner.MaxRetryError):
        cause = cause.reason
    failure, words = next(
        (failure, words)
        for raised, caused, failure, words in _SHAPES
        if isinstance(fault, raised) and (caused is Exception or isinstance(cause, caused))
    )
    if exchange.connecting:
        # No need to guess from the shape: a reset in the TLS handshake looks like one after the
        # body, and a TLS error in the answer like one in the handshake.
        failure = Unknown if exchange.began else Unavailable
    if exchange.passed:
        words = f"the deadline of {deadline:.3g} s passed"
    detail = _detail(cause)
    after = "after" if exchange.began or failure is Unknown else "before"
    return failure(f"{words}{detail}, {after} the {sent} was sent")


def _detail(cause: object) -> str:
    """The system's own words for a connection that could not be made; they name no address."""
    if isinstance(cause, inner.NewConnectionError) and isinstance(cause.__cause__, OSError):
        return f" ({cause.__cause__.strerror})" if cause.__cause__.strerror else ""
    if isinstance(cause, inner.SSLError) and cause.args:
        words = getattr(cause.args[0], "verify_message", "") or getattr(cause.args[0], "reason", "")
        return f" ({words})" if words else ""
    return ""


def _read(response: requests.Response) -> bytes:
    """The body as far as it came: the status has decided already whether the message was taken."""
    body = bytearray()
    with contextlib.suppress(OSError, inner.HTTPError):
        for piece in response.iter_content(16 * 1024):
            body += piece
            if len(body) > BODY_LIMIT:
                break
    return bytes(body)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")

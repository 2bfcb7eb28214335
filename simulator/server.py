"""The simulator put together: one port with everything, and one for each provider where wanted."""

import time
from collections.abc import Callable, Collection, Mapping
from urllib.parse import urlsplit

import structlog

from simulator.control import Control, problem
from simulator.credentials import Credentials
from simulator.gate import Gate
from simulator.http import Answer, Call, Reply
from simulator.inbox import Inbox
from simulator.listener import Listener
from simulator.pages import Pages
from simulator.switches import Mode, Provider, Switch, Switches
from simulator.webhooks import Webhooks

LOOPBACK = "127.0.0.1"
_READING = ("GET", "HEAD", "OPTIONS")

log = structlog.get_logger()


class Simulator:
    """`open` and `close` are called within the event loop that serves it.

    All providers are played; the page has the switches of those `in_use`.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        api_ports: Mapping[str, int] | None = None,
        clock: Callable[[], float] = time.time,
        webhooks: Webhooks | None = None,
        in_use: Collection[Provider] = tuple(Provider),
    ) -> None:
        self.inbox = Inbox(clock)
        self._webhooks = webhooks
        if webhooks is not None:
            self.inbox.on_mail = webhooks.on_mail
        self.switches = Switches(self._switched)
        gate = Gate(credentials, self.switches, self.inbox, clock)
        shared = _SharedPort(
            gate,
            self.switches,
            Control(self.switches, self.inbox, webhooks),
            Pages(self.switches, self.inbox, credentials, webhooks, in_use),
            webhooks,
        )
        self._shared = Listener(shared, host, port)
        # The providers' base URLs name 127.0.0.1, whatever address the page is on.
        reachable = host in (LOOPBACK, "0.0.0.0")  # noqa: S104
        self._loopback = None if reachable else Listener(shared, LOOPBACK, port)
        self._own = {
            Provider(name): Listener(_OwnPort(gate, Provider(name)), LOOPBACK, own_port)
            for name, own_port in (api_ports or {}).items()
        }

    def open(self) -> None:
        """Listen everywhere. Raises OSError, its text naming the port, where one is taken."""
        for listener in self._listeners():
            if listener is self._loopback:
                listener.port = self._shared.port
            try:
                listener.open()
            except OSError as error:
                self.close()
                raise OSError(error.errno, f"port {listener.port}: {error.strerror}") from error
        if self._webhooks is not None:
            self._webhooks.open()

    def close(self) -> None:
        """Stop listening and drop every connection, also those that wait for an answer."""
        for listener in self._listeners():
            listener.close()
        if self._webhooks is not None:
            self._webhooks.close()

    @property
    def port(self) -> int:
        return self._shared.port

    def base_url(self, provider: Provider) -> str:
        """Where a client finds the provider's API."""
        listener = self._own.get(provider, self._shared)
        return f"http://{LOOPBACK}:{listener.port}/{provider}"

    def _listeners(self) -> list[Listener]:
        shared = [self._shared, self._loopback] if self._loopback else [self._shared]
        return [*shared, *self._own.values()]

    def _switched(self, provider: Provider, switch: Switch) -> None:
        log.info("switched", provider=provider.value, mode=switch.mode.value)
        if listener := self._own.get(provider):
            if switch.mode is Mode.REFUSE_CONNECTIONS:
                listener.refuse()
            else:
                listener.open()


class _OwnPort:
    """One provider alone. Where connections are refused, nothing comes here."""

    def __init__(self, gate: Gate, provider: Provider) -> None:
        self._gate = gate
        self._provider = provider

    def resets(self, path: str) -> bool:
        return False

    def reply(self, call: Call) -> Reply:
        provider, path = _split(call.path)
        if provider is not self._provider:
            return problem(404, f"This port has /{self._provider} only.")
        return self._gate.reply(self._provider, call, path)


class _SharedPort:
    """The APIs, the page, the control and what SNS has for those who get its webhooks."""

    def __init__(
        self,
        gate: Gate,
        switches: Switches,
        control: Control,
        pages: Pages,
        webhooks: Webhooks | None,
    ) -> None:
        self._gate = gate
        self._switches = switches
        self._control = control
        self._pages = pages
        self._webhooks = webhooks

    def resets(self, path: str) -> bool:
        provider, _ = _split(path)
        if provider is None:
            return False
        return self._switches[provider].mode is Mode.REFUSE_CONNECTIONS

    def reply(self, call: Call) -> Reply:
        provider, path = _split(call.path)
        if provider:
            return self._gate.reply(provider, call, path)
        if call.method not in _READING and _is_cross_site(call):
            return problem(403, "Another site may not change anything here.")
        if self._webhooks is not None and (answer := self._webhooks.answer(call)):
            return answer
        return self._control.answer(call) or self._pages.answer(call) or _nothing_there(call)


_PREFIXES = {provider.value: provider for provider in Provider}


def _split(path: str) -> tuple[Provider | None, str]:
    """`/ses/v2/email` as SES and `/v2/email`."""
    prefix, slash, rest = path[1:].partition("/")
    return _PREFIXES.get(prefix), slash + rest


def _is_cross_site(call: Call) -> bool:
    """Whether a browser sent this on behalf of another site; programs send neither header."""
    site = call.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = call.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != call.headers.get("host")


def _nothing_there(call: Call) -> Answer:
    return problem(404, "There is nothing at this address; the page is at /.")

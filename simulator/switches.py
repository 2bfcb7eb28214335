"""How each provider behaves right now: the switches that a person or a test flips."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Provider(StrEnum):
    """Whom we play."""

    MAILGUN = "mailgun"
    SENDGRID = "sendgrid"
    SES = "ses"
    POSTMARK = "postmark"
    RESEND = "resend"
    MANDRILL = "mandrill"


class Mode(StrEnum):
    """What a switch can be set to."""

    UP = "up"
    REFUSE_CONNECTIONS = "refuse-connections"
    HTTP_500 = "http-500"
    HTTP_503 = "http-503"
    RATE_LIMIT = "rate-limit"
    UNAUTHORIZED = "unauthorized"
    UNVERIFIED_SENDER = "unverified-sender"
    SLOW = "slow"
    TIMEOUT_BEFORE_ACCEPT = "timeout-before-accept"
    TIMEOUT_AFTER_ACCEPT = "timeout-after-accept"
    RESET_AFTER_ACCEPT = "reset-after-accept"
    GARBAGE_200 = "garbage-200"
    ACCEPT_AND_DROP = "accept-and-drop"
    ACCEPT_AND_BLOCK = "accept-and-block"


MEANINGS: Mapping[Mode, str] = {
    Mode.UP: "takes mail",
    Mode.REFUSE_CONNECTIONS: "nobody listens on its port",
    Mode.HTTP_500: "answers every call with an internal error",
    Mode.HTTP_503: "says that it is not available",
    Mode.RATE_LIMIT: "asks to be left alone for some seconds",
    Mode.UNAUTHORIZED: "does not know the key any more",
    Mode.UNVERIFIED_SENDER: "does not accept the From address",
    Mode.SLOW: "takes mail, and says so some seconds later",
    Mode.TIMEOUT_BEFORE_ACCEPT: "drops the mail and never answers",
    Mode.TIMEOUT_AFTER_ACCEPT: "takes the mail and never answers",
    Mode.RESET_AFTER_ACCEPT: "takes the mail and cuts the connection",
    Mode.GARBAGE_200: "somebody else answers: the login page of a hotel's network",
    Mode.ACCEPT_AND_DROP: "says that it takes mail, and does nothing with it",
    Mode.ACCEPT_AND_BLOCK: "takes mail, and tells later that nobody would have it from there",
}

LONGEST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Switch:
    """`seconds` is how long `slow` takes and for how long `rate-limit` asks to be left alone.

    `lag` is how many seconds after an event the provider can first be asked about it.
    """

    mode: Mode = Mode.UP
    seconds: float = 3.0
    lag: float = 0.2


class Switches:
    """One switch for each provider; `on_change` hears of every one that moved."""

    def __init__(self, on_change: Callable[[Provider, Switch], None]) -> None:
        self._switches = dict.fromkeys(Provider, Switch())
        self._on_change = on_change

    def __getitem__(self, provider: Provider) -> Switch:
        return self._switches[provider]

    def set(self, provider: Provider, switch: Switch) -> None:
        if self._switches[provider] != switch:
            self._switches[provider] = switch
            self._on_change(provider, switch)

    def state(self) -> dict[str, dict[str, str | float]]:
        return {
            provider.value: {
                "mode": switch.mode.value,
                "seconds": switch.seconds,
                "lag": switch.lag,
            }
            for provider, switch in self._switches.items()
        }

"""The contract of a provider, and what those have in common that are asked over HTTP."""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import ClassVar, Self

from providers.answers import Answer, Complaint, Rule, judge, reason, retry_after
from providers.carrying import Limits, obstacle
from providers.errors import MessageRefused, ProviderFailure, Rejected, Unknown
from providers.records import Records, refuses_our_key
from providers.transport import MOST_CONNECTIONS, Call, Transport
from providers.types import Accepted, DeliveryEvent, Email
from providers.webhooks import WebhookContent, WebhookRequest, WebhooksNotSetUp

#: Scheme, host, port and path; neither query nor credentials.
_BASE_URL = re.compile(
    r"https?://(?:(?:[\w-]{1,63}\.)*[\w-]{1,63}|\[[0-9a-f:.]+\])(?::(\d{1,5}))?(?:/[\w.~/-]*)?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ProviderSetting:
    """One setting of a provider, by its name in the environment; `secret` ones are never shown."""

    name: str
    default: str | None = None
    required: bool = False
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, between two bytes of an answer, and for a whole send."""

    connect: float = 5.0
    read: float = 15.0
    deadline: float = 30.0


class BadSettings(ValueError):
    """A provider cannot work with its settings; the message is a line that says what to change."""


class MissingSettings(BadSettings):
    """Settings that a provider cannot do without are not set: their `names`."""

    def __init__(self, provider: str, names: tuple[str, ...]) -> None:
        super().__init__(f"{provider} needs {' and '.join(names)}")
        self.names = names


class Provider(ABC):
    """An outside service that takes mail from us. One object serves any number of threads."""

    name: ClassVar[str]
    settings: ClassVar[tuple[ProviderSetting, ...]] = ()
    rate_counts_recipients: ClassVar[bool] = False
    """Whether its limit a second is one of recipients, and not of messages."""
    names_recipients: ClassVar[bool] = True
    """Whether its events say whom they are about where a mail went to several."""
    can_tell: bool = False
    """Whether it can be asked afterwards what became of an attempt: see `find`."""
    repeatable: ClassVar[timedelta | None] = None
    """How long after an attempt began it may be sent again unchanged, because the provider knows it
    by its id and takes it only once; None where a second call could make a second copy."""

    @classmethod
    def configure(cls, values: Mapping[str, str], timeouts: Timeouts) -> Self:
        """A provider with its settings taken from `values`; an empty one counts as not set.

        Raises BadSettings, and nothing is asked of the provider yet.
        """
        chosen = {s.name: values.get(s.name, "").strip() or s.default or "" for s in cls.settings}
        missing = tuple(s.name for s in cls.settings if s.required and not chosen[s.name])
        if missing:
            raise MissingSettings(cls.name, missing)
        return cls(chosen, timeouts)

    def __init__(  # noqa: B027  (nothing to keep is a fair answer too)
        self, values: Mapping[str, str], timeouts: Timeouts
    ) -> None:
        """`values` has every one of `settings`, the empty text where it is not set."""

    @abstractmethod
    def send(self, email: Email) -> Accepted:
        """Hand the message over once. Raises a ProviderFailure, whose class says what happened."""

    def refusal(self, email: Email) -> str | None:
        """Why this provider cannot carry this message, as one line for people, or None."""
        return None

    def find(
        self, attempt_id: str, recipients: tuple[str, ...], since: datetime
    ) -> Accepted | None:
        """Whether the provider knows of having accepted an attempt; asked where `can_tell`.

        `recipients` are its bare addresses and `since` is when it began. None proves nothing: news
        come late everywhere. May raise a ProviderFailure.
        """
        return None

    @property
    def hears(self) -> bool:
        """Whether its webhooks are set up, so that `read_webhook` can verify them."""
        return False

    def read_webhook(self, request: WebhookRequest) -> WebhookContent:
        """What a webhook tells; verified first, on its raw bytes. Raises a WebhookFault.

        Every record of a batch counts, and every recipient of a record has an event of its own.
        """
        raise WebhooksNotSetUp(f"{self.name} has no webhooks here")

    def news(self, since: datetime) -> tuple[tuple[DeliveryEvent, ...], datetime]:
        """What the provider keeps of events since a time, oldest first, where it can be asked.

        A bounded number, and the time from which to ask on. May raise a ProviderFailure.
        """
        return (), since

    def close(self) -> None:  # noqa: B027  (nothing to give back is a fair answer)
        """Give back what the provider holds, such as connections."""


class HttpProvider(Provider):
    """A provider that takes a message by one POST.

    A subclass says what it takes (`limits`, `refusal`), how a message is written (`compose`), what
    a 2xx means (`accepted`), and what its errors say (`complaints`) and mean (`rules`). One that
    can be asked afterwards has `records`, and reads them in `find`.
    """

    limits: ClassVar[Limits]
    rules: ClassVar[tuple[Rule, ...]] = ()

    def __init__(
        self,
        values: Mapping[str, str],
        timeouts: Timeouts,
        *,
        clock: Callable[[], float] = time.time,
        connections: int = MOST_CONNECTIONS,
    ) -> None:
        """The base URL is the setting `<NAME>_BASE_URL`; `clock` gives Unix time."""
        for setting in self.settings:
            value = values[setting.name]
            # All of them go into a header or an address.
            if not (value.isascii() and value.isprintable()):
                raise BadSettings(f"{setting.name} holds characters that are not plain ASCII")
        self.base_url = _checked_url(self.name, values[f"{self.name.upper()}_BASE_URL"])
        self.records: Records | None = None
        self._clock = clock
        self._deadline = timeouts.deadline
        self._transport = Transport(
            self.base_url,
            connect_timeout=timeouts.connect,
            read_timeout=timeouts.read,
            deadline=timeouts.deadline,
            connections=connections,
        )

    # Not to be set here: it follows from what the provider last said to our key.
    @property
    def can_tell(self) -> bool:  # type: ignore[override]
        return self.records is not None and self.records.readable

    def send(self, email: Email) -> Accepted:
        obstacle = self.refusal(email)
        if obstacle is not None:
            raise MessageRefused(obstacle)
        answer = self._transport.post(self.compose(email))
        if 200 <= answer.status < 300:
            return self.taken(email, answer)
        raise self.failure(email, answer)

    def refusal(self, email: Email) -> str | None:
        return obstacle(email, self.limits)

    @abstractmethod
    def compose(self, email: Email) -> Call:
        """The request for a message that was not refused.

        May raise a ProviderFailure: nothing is sent then.
        """

    def taken(self, email: Email, answer: Answer) -> Accepted:
        """What a 2xx means where it may differ from recipient to recipient.

        May raise a ProviderFailure: some providers answer 200 and take the message for nobody.
        """
        return self.accepted(answer)

    def accepted(self, answer: Answer) -> Accepted:
        """What a 2xx means: acceptance, even if it is cut short or cannot be read."""
        message_id = self.message_id(answer)
        # An id marks the answer as the provider's own, whatever type it claims to be.
        if message_id is None and not answer.may_be_json:
            kind = answer.content_type[:80]
            raise Unknown(
                f"{answer.status} of type {kind}, which is not how {self.name} answers",
                status=answer.status,
            )
        return Accepted(message_id)

    def message_id(self, answer: Answer) -> str | None:
        """The provider's id for the message, where the answer came far enough."""
        return None

    def complaints(self, answer: Answer) -> tuple[Complaint, ...]:
        """What the provider says is wrong; none where it is not said in its usual form."""
        return ()

    def verdict(self, email: Email, answer: Answer, complaint: Complaint) -> type[ProviderFailure]:
        """What one complaint means."""
        return judge(self.rules, answer.status, complaint)

    def named(self, email: Email, complaint: Complaint) -> tuple[str, ...]:
        """The recipients whom a complaint names, spelt as in `email`."""
        return ()

    def failure(self, email: Email, answer: Answer) -> ProviderFailure:
        """What an answer other than a 2xx means.

        Of several complaints, one that keeps the message open to other providers counts: the
        message has not been judged while the account, say, is in the way.
        """
        complaints = self.complaints(answer) or (Complaint(""),)
        verdicts = [self.verdict(email, answer, complaint) for complaint in complaints]
        worst = next((v for v in verdicts if not issubclass(v, Rejected)), Rejected)
        words = "; ".join(dict.fromkeys(c.text for c in complaints if c.text))
        line = reason(answer, words)
        if worst is Rejected:
            named = [self.named(email, complaint) for complaint in complaints]
            # Something else is wrong with the message as well: leaving these out would not help.
            recipients = tuple(dict.fromkeys(chain.from_iterable(named))) if all(named) else ()
            return Rejected(line, status=answer.status, recipients=recipients)
        wait = retry_after(answer, self._clock())
        return worst(line, status=answer.status, retry_after=wait)

    def records_read_with(
        self,
        headers: Mapping[str, str],
        secrets: tuple[str, ...],
        may_not_read: Callable[[Answer], bool] = refuses_our_key,
    ) -> Records:
        """What the provider keeps, read over the same connections with these headers."""
        return Records(
            self._transport,
            headers,
            secrets,
            deadline=self._deadline,
            clock=self._clock,
            may_not_read=may_not_read,
        )

    def close(self) -> None:
        self._transport.close()


def _checked_url(provider: str, url: str) -> str:
    found = _BASE_URL.fullmatch(url)
    if found is None or int(found[1] or 1) not in range(1, 65536):
        raise BadSettings(
            f"{provider.upper()}_BASE_URL must be like https://api.example.com, without credentials"
        )
    return url.rstrip("/")

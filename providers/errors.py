"""What can go wrong with an attempt; the class of a failure is the routing policy.

    ProviderFailure
    ├── Rejected          bad for any provider: nobody else is asked
    ├── Refused           this provider will not, another may: the next one is asked at once
    │   ├── AccountRefused    our key, plan, quota or region; every message would fare the same
    │   ├── SenderRefused     this From address is not verified there
    │   └── MessageRefused    this provider cannot carry this message (size, feature)
    ├── Unavailable       certainly not taken, may work later: the next one is asked at once
    │   └── Limited           too many requests: it is left alone for a while
    └── Unknown           it may have been taken: `on_unknown` decides

A `reason` is shown to people and logged: it never holds a secret, a body or a whole address.
"""


class ProviderFailure(Exception):
    """An attempt that did not end in acceptance.

    `reason` is one line for people. `status` is the HTTP status, where one came. `retry_after` is
    the number of seconds for which the provider asked to be left alone, where it said so.
    """

    def __init__(
        self, reason: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.retry_after = retry_after


class Rejected(ProviderFailure):
    """The recipient or the content is bad for any provider.

    `recipients` are the bare addresses that the provider named, spelt as in the `Email`; empty
    means that it named nobody and the whole message fails.
    """

    def __init__(
        self, reason: str, *, status: int | None = None, recipients: tuple[str, ...] = ()
    ) -> None:
        super().__init__(reason, status=status)
        self.recipients = recipients


class Refused(ProviderFailure):
    """This provider will not take the message, for a reason that need not hold for another."""


class AccountRefused(Refused):
    """Our account there is not fit: key, suspension, plan, quota of the day, region, base URL."""


class SenderRefused(Refused):
    """The From address or its domain is not verified with this provider."""


class MessageRefused(Refused):
    """This provider cannot carry this message: its size, or a feature that it lacks."""


class Unavailable(ProviderFailure):
    """The message was certainly not taken, and a later try may work."""


class Limited(Unavailable):
    """The provider is up, and wants fewer requests: `retry_after` says for how long, if it did."""


class Unknown(ProviderFailure):
    """The message was sent, and no or no clear answer came: it may have been taken."""

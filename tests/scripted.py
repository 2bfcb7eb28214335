"""Providers that do what a test tells them to, and the messages that tests send."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from msgspec.structs import replace

from app.core.ids import new_message_id
from app.core.models import Body, Envelope, Message, MessageState, Recipient
from app.core.records import to_ms
from providers.base import Provider
from providers.errors import ProviderFailure
from providers.types import Accepted, Address, Email


@dataclass
class Scripted(Provider):
    """A provider that answers with the next of its `answers`, and accepts after the last."""

    name: str
    answers: list[ProviderFailure | Exception | Callable[[Email], Accepted]] = field(
        default_factory=list
    )
    obstacle: str | None = None
    asked: list[Email] = field(default_factory=list)
    can_tell: bool = False
    repeatable: timedelta | None = None
    known: dict[str, Accepted] = field(default_factory=dict)
    looked_for: list[str] = field(default_factory=list)

    def send(self, email: Email) -> Accepted:
        self.asked.append(email)
        if not self.answers:
            return Accepted(f"{self.name}-{len(self.asked)}")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer(email)

    def find(self, attempt_id, recipients, since) -> Accepted | None:
        self.looked_for.append(attempt_id)
        return self.known.get(attempt_id)

    def refusal(self, email: Email) -> str | None:
        return self.obstacle


def message(now, *to: str, key: str = "shop", **changes) -> Message:
    """A queued message from the shop to these addresses."""
    envelope = Envelope(
        sender=Address("orders@shop.example", "Shop"),
        reply_to=(),
        subject="Your order",
        headers=(),
        tags=("order",),
        metadata={"order": "17"},
        providers=(),
        on_unknown="failover",
    )
    asked_for = ("providers", "on_unknown", "failover_on_block", "override_suppression", "track")
    envelope = replace(envelope, **{n: changes.pop(n) for n in asked_for if n in changes})
    return replace(
        Message(
            id=new_message_id(to_ms(now)),
            key=key,
            envelope=envelope,
            recipients=tuple(Recipient(a, "", "to") for a in to or ("ann@example.net",)),
            state=MessageState.QUEUED,
            created_at=now,
            updated_at=now,
            expires_at=now + timedelta(hours=24),
        ),
        **changes,
    )


BODY = Body("Hello", "<p>Hello</p>")

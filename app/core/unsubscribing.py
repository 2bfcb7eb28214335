"""One-click unsubscribe (RFC 8058): links that name a recipient and a message, signed.

A link outlives the record of its message, so that it carries what it needs; whoever has it can do
nothing but to take that one recipient off.
"""

from dataclasses import dataclass

from app.core import ids
from app.core.models import Message
from app.core.signing import Signer

_LABEL = b"unsubscribe"


@dataclass(frozen=True, slots=True)
class Unsubscriber:
    """Who asks not to get such mail again, and because of which message.

    `attempt` is the number of the call to a provider that carried the link, where the link says.
    """

    email: str
    message_id: str
    attempt: int | None = None


class UnsubscribeLinks:
    """Makes and reads the links; their key is derived from the service's secret key."""

    def __init__(self, public_url: str, secret_key: bytes) -> None:
        self._public_url = public_url
        self._signer = Signer(secret_key, _LABEL)

    def headers(self, message: Message, attempt_id: str) -> tuple[tuple[str, str], ...]:
        """The headers that a message carries, where it asks for them and has one recipient."""
        if not message.envelope.unsubscribe or len(message.recipients) != 1:
            return ()
        token = self._signer.token(f"{attempt_id} {message.recipients[0].email}")
        return (
            ("List-Unsubscribe", f"<{self._public_url}/u/{token}>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        )

    def token(self, who: Unsubscriber) -> str:
        sent = who.message_id
        if who.attempt is not None:
            sent = ids.attempt_id(sent, who.attempt)
        return self._signer.token(f"{sent} {who.email}")

    def read(self, token: str) -> Unsubscriber | None:
        """Whom a token stands for; None for one that is not ours."""
        text = self._signer.read(token)
        if text is None:
            return None
        sent, _, email = text.partition(" ")
        message_id, attempt = ids.parse_attempt_id(sent) or (sent, None)
        return Unsubscriber(email, message_id, attempt)

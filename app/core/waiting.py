"""What a person does about mail that waits: calls it back, or has it sent at another time."""

from collections.abc import Callable
from datetime import datetime, timedelta

from app.core import lifecycle
from app.core.dead_letters import NotPossible
from app.core.models import Clock, Message, MessageState
from app.core.store import Change, MessageStore
from app.core.submit import IDEMPOTENCY_KEPT

_TRIES = 5


class TooLate(ValueError):
    """The message would expire before it is sent."""


class WaitingMail:
    """Cancels and moves messages that wait; `expiry` and `retention` as for any other."""

    def __init__(
        self, store: MessageStore, expiry: timedelta, retention: timedelta, clock: Clock
    ) -> None:
        self._store = store
        self._expiry = expiry
        self._retention = retention
        self._clock = clock

    def cancel(self, message: Message) -> Message:
        """Calls a waiting message back. One that has been called back already stays as it is.

        Raises NotPossible, also while a provider is being asked, and StoreUnavailable.
        """
        return self._until_written(message, self._cancelled)

    def move(self, message: Message, send_at: datetime) -> Message:
        """Has a scheduled message sent at another time; at once if that is past.

        Where it did not say when it expires, it has as long as before from then on. Raises TooLate,
        NotPossible and StoreUnavailable.
        """
        return self._until_written(message, lambda seen: self._moved(seen, send_at))

    def _cancelled(self, message: Message) -> Change | None:
        if message.state is MessageState.SENDING:
            raise NotPossible("A worker has the message in hand; a provider may be being asked.")
        if message.cancelled:
            return None
        if not lifecycle.is_waiting(message):
            raise NotPossible("Only a message that waits can be cancelled.")
        after = lifecycle.cancelled(message, self._clock())
        gone = after.state is MessageState.CANCELLED
        return Change(message, after, promised=True, drop_body=gone, keep=self._retention)

    def _moved(self, message: Message, send_at: datetime) -> Change:
        if message.state is not MessageState.SCHEDULED:
            raise NotPossible("Only a scheduled message can be moved.")
        now = self._clock()
        due = max(send_at, now)
        expires_at = message.envelope.expires_at or due + self._expiry
        if expires_at <= due:
            raise TooLate("It would expire before it is sent.")
        # Before the move: the key may last too long, but never too short.
        self._store.keep_idempotency(message.id, due + IDEMPOTENCY_KEPT)
        after = lifecycle.scheduled(message, send_at, expires_at, now)
        return Change(message, after, ring=after.state is MessageState.QUEUED, promised=True)

    def _until_written(
        self, message: Message, change: Callable[[Message], Change | None]
    ) -> Message:
        """Tries again with the message as it then is where others have moved it meanwhile."""
        for _ in range(_TRIES):
            wanted = change(message)
            if wanted is None:
                return message
            written = self._store.move(wanted)
            if written is not None:
                return written
            current = self._store.get(message.id)
            if current is None:
                raise NotPossible("The message is gone.")
            message = current
        raise NotPossible("Others keep moving the message; try again.")

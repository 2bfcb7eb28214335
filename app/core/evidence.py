"""Evidence: what settles an attempt whose outcome nobody knew, and what follows from it."""

from datetime import timedelta

from app.core import lifecycle
from app.core.block_failover import content_lasts
from app.core.models import Clock, Evidence, Message, MessageState
from app.core.store import Change, MessageStore

_TRIES = 5


class EvidenceBook:
    """Takes evidence in, from wherever it comes; safe to use from several threads at once.

    Evidence is appended, and moves the message at once if nobody has it in hand; a worker that has
    finds it with its next write, and takes it into account then.
    """

    def __init__(self, store: MessageStore, retention: timedelta, clock: Clock) -> None:
        self._store = store
        self._retention = retention
        self._clock = clock

    def add(self, message_id: str, *evidence: Evidence) -> Message | None:
        """Appends evidence and draws its conclusions; the message as it then is, if there is one.

        Raises StoreUnavailable.
        """
        for piece in evidence:
            self._store.append(message_id, piece)
        for _ in range(_TRIES):
            message = self._store.get(message_id)
            if message is None or message.state is MessageState.SENDING:
                return message
            after = lifecycle.weighed(message, self._clock())
            if after == message:
                return message
            written = self._store.move(self._change(message, after))
            if written is not None:
                return written
        return self._store.get(message_id)

    def _change(self, before: Message, after: Message) -> Change:
        return Change(
            before,
            after,
            ring=after.state is MessageState.QUEUED,
            body_lasts=content_lasts(after, after.updated_at),
            keep=self._retention if lifecycle.has_ended(after) else None,
        )

"""Tracking of our own, the same over every provider: a pixel that is fetched, links that lead on.

HTML is changed when it is sent, and only then: the content that is kept is what was given. A link
says by itself which attempt it came with and where it leads, and is signed: it works without Redis,
it outlives the record of its message, and it never leads anywhere that no mail of ours has named.
It holds no address: who opened or clicked follows from the attempt, where that was for one only.
"""

from dataclasses import dataclass

from msgspec.structs import replace

from app.core import ids
from app.core.link_rewriting import rewritten
from app.core.models import Body, Message
from app.core.signing import Signer

LONGEST_TARGET = 1500
"""Longer ones are left as they are: our link is a third longer, and mail gateways wrap it again."""

MOST_LINKS = 500
"""So many links of a mail are tracked, in their order."""

LONGEST_HTML = 2_000_000
"""Longer HTML is sent as it is: mailboxes cut it off long before, and reading it takes its time."""

_OPEN, _CLICK = b"tracking:open", b"tracking:click"


@dataclass(frozen=True, slots=True)
class Click:
    """A link that was followed: the attempt it came with, and where it leads."""

    attempt_id: str
    url: str


class Tracking:
    """Makes and reads the links; their keys are derived from the service's secret key."""

    def __init__(self, public_url: str, secret_key: bytes) -> None:
        self._pixels, self._links = f"{public_url}/o/", f"{public_url}/c/"
        self._ours = tuple(f"{public_url}/{path}/" for path in "ocu")
        self._opens, self._clicks = Signer(secret_key, _OPEN), Signer(secret_key, _CLICK)

    def tracked(
        self,
        message: Message,
        body: Body,
        attempt_id: str,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Body:
        """The body as it is sent with an attempt: its HTML with what the message is tracked by.

        The same attempt always gets the same. Links by which recipients unsubscribe are left alone:
        our own, and those in a List-Unsubscribe of the message or of the further `headers`.
        """
        track = message.envelope.track
        if body.html is None or len(body.html) > LONGEST_HTML or not track:
            return body
        spared = " ".join(
            text
            for name, text in (*message.envelope.headers, *headers)
            if name.lower() == "list-unsubscribe"
        )

        def link(url: str) -> str | None:
            if len(url) > LONGEST_TARGET or url.startswith(self._ours) or f"<{url}>" in spared:
                return None
            return self._links + self._clicks.token(f"{attempt_id} {url}")

        pixel = f"{self._pixels}{self._opens.token(attempt_id)}.gif"
        html = rewritten(
            body.html,
            link if track.clicks else None,
            MOST_LINKS,
            pixel if track.opens else None,
        )
        return replace(body, html=html)

    def opened(self, token: str) -> str | None:
        """The attempt whose pixel this is; None for a token that is not ours."""
        attempt_id = self._opens.read(token)
        return attempt_id if attempt_id is not None and ids.parse_attempt_id(attempt_id) else None

    def clicked(self, token: str) -> Click | None:
        """What a link stands for; None for a token that is not ours."""
        text = self._clicks.read(token)
        if text is None:
            return None
        attempt_id, _, url = text.partition(" ")
        return Click(attempt_id, url)

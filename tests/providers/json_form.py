"""What holds for every provider that is handed a message as one JSON object, field by field."""

from base64 import b64decode
from dataclasses import dataclass, replace
from typing import Any

import pytest

from providers.base import Provider
from providers.errors import MessageRefused
from providers.types import Address, Attachment
from tests.providers.contract import PLAIN, Copy, ProviderContract
from tests.providers.hard import HardContract
from tests.providers.reading import addresses, decoded
from tests.providers.server import Request, Server


@dataclass(frozen=True)
class Names:
    """What a provider calls the fields of a message, and those of a file."""

    sender: str
    to: str
    cc: str
    bcc: str
    reply_to: str
    subject: str
    text: str
    html: str
    headers: str
    files: str
    filename: str
    content: str
    content_type: str
    content_id: str


class JsonContract(HardContract, ProviderContract):
    """Inherit this as `Test…` in the place of `ProviderContract`, and write `opened`."""

    path: str
    names: Names
    #: What it cannot carry and others can: changes to a plain message, with words of its refusal.
    unfit: tuple[tuple[dict[str, Any], str], ...]

    def opened(self, request: Request) -> tuple[dict[str, Any], str]:
        """The message in a request, and the attempt's id; without what is the same in every one.

        Its headers are made an object, its addresses texts, lists of texts or of `Address`.
        """
        raise NotImplementedError

    # --- what the author need not look at

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        super().pytest_generate_tests(metafunc)
        if "changes" in metafunc.fixturenames:
            metafunc.parametrize(("changes", "words"), self.unfit, ids=[w for _, w in self.unfit])

    def copies(self, request: Request) -> list[Copy]:
        assert (request.method, request.path) == ("POST", self.path)
        assert request.headers["content-type"] == "application/json"
        assert request.headers["accept"] == "application/json"
        # Without one, Resend answers 403.
        assert request.headers["user-agent"]
        message, attempt_id = self.opened(request)
        names = self.names
        message.pop(names.files, None)
        headers = message.pop(names.headers, {})
        assert all(value.isascii() for value in headers.values())
        (sender,) = _mailboxes(message.pop(names.sender))
        copy = Copy(
            sender=sender,
            to=_mailboxes(message.pop(names.to)),
            cc=_mailboxes(message.pop(names.cc, [])),
            bcc=_mailboxes(message.pop(names.bcc, [])),
            reply_to=_mailboxes(message.pop(names.reply_to, [])),
            subject=message.pop(names.subject),
            text=message.pop(names.text, None),
            html=message.pop(names.html, None),
            headers=tuple((name, decoded(value)) for name, value in headers.items()),
            attempt_id=attempt_id,
        )
        assert message == {}
        return [copy]

    def files(self, request: Request) -> list[Attachment]:
        message, _ = self.opened(request)
        names = self.names
        return [
            Attachment(
                file[names.filename],
                file[names.content_type],
                b64decode(file[names.content], validate=True),
                file.get(names.content_id),
            )
            for file in message.get(names.files, [])
        ]

    def test_what_it_has_no_field_for_is_refused_and_not_sent(
        self, server: Server, configured: Provider, changes: dict[str, Any], words: str
    ) -> None:
        email = replace(PLAIN, **changes)
        assert words in (configured.refusal(email) or "")
        assert type(self.failure(configured, email)) is MessageRefused
        assert server.requests == []


def _mailboxes(found: str | list[str] | list[Address]) -> tuple[Address, ...]:
    if found and isinstance(found[0], Address):
        return tuple(found)
    return addresses(*([found] if isinstance(found, str) else found))

"""An SMTP server on a real socket that answers as a test wants it, or does not."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

#: The answer to a command, or None for the usual one.
Answer = str | None


@dataclass(frozen=True)
class Received:
    """A message that the server has read to its end, whatever it answered."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    encrypted: bool
    user: str | None


class MailServer:
    """It takes everything, but for what `answers` says by command, or by recipient."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[Received] = []
        self.answers: dict[str, str] = {}
        self.connections: list[SMTP] = []
        self.at_dot: Callable[[SMTP], Awaitable[str]] = taken
        self.cut_at_data = False
        self.loop: asyncio.AbstractEventLoop | None = None

    def drop(self) -> None:
        """Close every connection that there is, and wait until that is done."""

        async def close() -> None:
            for connection in self.connections:
                connection.transport.abort()

        asyncio.run_coroutine_threadsafe(close(), self.loop).result(5)

    # --- what aiosmtpd calls

    async def handle_EHLO(self, server, session, envelope, hostname, responses):  # noqa: N802
        session.host_name = hostname
        return responses

    async def handle_MAIL(self, server, session, envelope, address, options) -> str:  # noqa: N802
        envelope.mail_from = address
        return self.answers.get("MAIL", "250 2.1.0 Ok")

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:  # noqa: N802
        answer = self.answers.get(address, "250 2.1.5 Ok")
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_RSET(self, server, session, envelope) -> str:  # noqa: N802
        return self.answers.get("RSET", "250 2.0.0 Ok")

    async def handle_DATA(self, server, session: Session, envelope: Envelope) -> str:  # noqa: N802
        login = session.auth_data
        received = Received(
            envelope.mail_from,
            tuple(envelope.rcpt_tos),
            envelope.content,
            session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None,
            login.login.decode() if isinstance(login, LoginPassword) else None,
        )
        self.requests.append(received)
        return await self.at_dot(server)


class _Connection(SMTP):
    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        answer = self.event_handler.answers.get("DATA")
        if answer is not None:
            await self.push(answer)
        elif self.event_handler.cut_at_data:
            await self.push("354 Go on")
            self.transport.abort()
        else:
            await super().smtp_DATA(arg)


async def taken(connection: SMTP) -> str:
    return "250 2.0.0 Ok: queued as 4XyZ17"


async def hang(connection: SMTP) -> str:
    await asyncio.Event().wait()
    return ""


async def cut(connection: SMTP) -> str:
    connection.transport.abort()
    return "250 Ok"


def saying(answer: str) -> Callable[[SMTP], Awaitable[str]]:
    async def say(connection: SMTP) -> str:
        return answer

    return say


@contextlib.contextmanager
def serving_mail(
    context: ssl.SSLContext | None = None,
    *,
    implicit: bool = False,
    login: tuple[str, str] | None = None,
    smtputf8: bool = True,
    size: int = 100_000_000,
) -> Iterator[MailServer]:
    """A server at `port`; with a `context` it offers STARTTLS, or is `implicit`ly encrypted."""
    found = MailServer()
    loop = found.loop = asyncio.new_event_loop()

    def allow(server, session, envelope, mechanism, data: LoginPassword) -> AuthResult:
        good = (data.login.decode(), data.password.decode()) == login
        return AuthResult(success=good, handled=False, auth_data=data)

    def connected() -> SMTP:
        connection = _Connection(
            found,
            hostname="mx.example",
            loop=loop,
            data_size_limit=size,
            enable_SMTPUTF8=smtputf8,
            tls_context=None if implicit else context,
            authenticator=allow if login else None,
            auth_require_tls=context is not None and not implicit,
            auth_required=login is not None,
            auth_exclude_mechanism=() if login else ("LOGIN", "PLAIN"),
        )
        found.connections.append(connection)
        return connection

    listener = loop.run_until_complete(
        loop.create_server(connected, "127.0.0.1", 0, ssl=context if implicit else None)
    )
    found.port = listener.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield found
    finally:

        async def end() -> None:
            listener.close()
            for connection in found.connections:
                # One over TLS that was closed twice has let go of what it would abort.
                with contextlib.suppress(AttributeError):
                    connection.transport.abort()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

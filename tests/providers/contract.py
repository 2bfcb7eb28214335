"""What every provider must do; its author inherits the test case and feeds it with samples."""

import logging
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import idna
import pytest

from providers.base import MissingSettings, Provider, Timeouts
from providers.errors import (
    AccountRefused,
    Limited,
    MessageRefused,
    ProviderFailure,
    Rejected,
    SenderRefused,
    Unavailable,
    Unknown,
)
from providers.types import Accepted, Address, Email
from tests.providers.server import Line, Reply, Request, Server, answering, refusing_url, serving

#: Long enough for a busy machine, and short where a test waits for them.
TIMEOUTS = Timeouts(connect=2.0, read=2.0, deadline=5.0)
READ_TIMEOUT = 0.4
DEADLINE = 0.4

ANN = Address("ann@example.net", "Ann")
BOB = Address("bob@example.net")
PLAIN = Email(
    attempt_id="att_7f3-1",
    sender=Address("orders@shop.example", "Shop"),
    to=(ANN,),
    cc=(),
    bcc=(),
    reply_to=(),
    subject="Your order",
    text="Hello\nAnn",
    html="<p>Hello</p>",
)

#: Every provider carries these, field by field.
CARRIED = {
    "plain": PLAIN,
    "text only": replace(PLAIN, html=None),
    "HTML only": replace(PLAIN, text=None),
    "several of each kind": replace(
        PLAIN,
        to=(ANN, BOB),
        cc=(Address("carol@example.net", "Carol"), Address("chris@example.net")),
        bcc=(Address("dan@example.net", "Dan"), Address("dora@example.net")),
    ),
    "a comma in names": replace(
        PLAIN,
        sender=Address("orders@shop.example", "Shop, the one; and only"),
        to=(Address("ann@example.net", "Doe, Ann"), Address("bob@example.net", "Roe; Bob")),
        cc=(Address("carol@example.net", "Poe, Carol <c@example.org>"),),
    ),
    "quotes and backslashes in names": replace(
        PLAIN,
        to=(
            Address("ann@example.net", 'Ann "the, boss" O\'Neill'),
            Address("b@example.net", "a\\b"),
        ),
        reply_to=(Address("help@shop.example", 'The "help" desk'),),
    ),
    "dots, brackets and signs in names": replace(
        PLAIN, to=(Address("ann@example.net", "Dr. A. [x] (y) @home: z"),)
    ),
    "a subject with form characters": replace(PLAIN, subject='100 % of x=y & a+b; {} \\ "q"'),
    "other alphabets": replace(
        PLAIN,
        sender=Address("orders@shop.example", "Bücher & Çay"),
        to=(Address("ann@example.net", "Änne, 山田 太郎"), Address("bob@example.net", "Ольга 🎉")),
        reply_to=(Address("help@shop.example", "Hilfe, für Sie"),),
        subject="Überraschung: 注文 🎉",
        text="Grüße, 山田さん 🎉\n",
        html="<p>Grüße, 山田さん 🎉</p>",
    ),
    "long names in other alphabets": replace(
        PLAIN,
        sender=Address(
            "orders@shop.example", ("Überaus lange Namen sind 山田太郎 nicht fremd " * 3).strip()
        ),
        to=(Address("ann@example.net", ("Ещё одно очень длинное имя, и запятая " * 3).strip()),),
        subject=("Ein Betreff, der kein Ende nimmt: 注文 " * 6).strip(),
    ),
    "domains in other alphabets": replace(
        PLAIN,
        sender=Address("orders@bücher.example", "Bücher"),
        to=(Address("ann@例え.example", "Ann"), Address("bob@xn--bcher-kva.example")),
        reply_to=(Address("help@bücher.example"),),
    ),
    "one reply-to": replace(PLAIN, reply_to=(Address("help@shop.example", "Help"),)),
    "several reply-to": replace(
        PLAIN, reply_to=(Address("help@shop.example", "Help, desk"), Address("b@shop.example"))
    ),
    "custom headers": replace(
        PLAIN,
        headers=(
            ("X-Order", "17"),
            ("List-Unsubscribe", "<https://shop.example/u?a=1&b=2>, <mailto:u@shop.example>"),
        ),
    ),
    "a tab in a header": replace(PLAIN, headers=(("X-Blank", "a\tb: c"),)),
    "headers that look encoded": replace(
        PLAIN,
        headers=(("X-A", "=?utf-8?q?=C3=BC?="), ("List-Unsubscribe", "<https://a.example/=?u?>")),
    ),
    "a header in another alphabet": replace(PLAIN, headers=(("X-Name", "Grüße, 山田 🎉"),)),
    "twenty headers": replace(PLAIN, headers=tuple((f"X-No-{n}", str(n)) for n in range(20))),
    "a long header": replace(
        PLAIN, headers=(("References", ("<a.long.id@shop.example> " * 60).strip()),)
    ),
    "a long header without blanks": replace(PLAIN, headers=(("X-Token", "0123456789" * 150),)),
    "a body with form characters": replace(
        PLAIN, text="a=b&c=d%20e+f {{x}} \\ \"q\" 'r' \u00a0\t", html="<a href='?a=b&amp;c=%41'>"
    ),
}

#: Not every provider carries these: one that does not says so, and sends nothing.
CARRIED_OR_REFUSED = {
    "a local part in another alphabet": replace(PLAIN, to=(Address("änne@example.net"),)),
    "a sender's local part in another alphabet": replace(
        PLAIN, sender=Address("büro@shop.example")
    ),
    "a header that occurs twice": replace(PLAIN, headers=(("X-A", "1"), ("x-a", "2"))),
    "an empty subject": replace(PLAIN, subject=""),
    "an empty text": replace(PLAIN, text="", html=None),
}

#: Nobody can carry these. The second line would be a header, or the start of the body, of its own.
INJECTIONS = (
    "a\r\nBcc: eve@evil.example",
    "a\nBcc: eve@evil.example",
    "a\rb",
    "a\x00b",
    "a\u2028b",
)


@dataclass(frozen=True)
class Copy:
    """A message as its recipients will see it, and with `bcc` whom they will not."""

    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    subject: str
    text: str | None
    html: str | None
    headers: tuple[tuple[str, str], ...]
    attempt_id: str


@dataclass(frozen=True)
class Sample:
    """A documented error and the failure that it is; `recipients` are those that it names."""

    reply: Reply
    failure: type[ProviderFailure]
    recipients: tuple[str, ...] = ()
    retry_after: float | None = None
    email: Email = PLAIN


class Receiver(Protocol):
    """What stands in for a provider, and notes what it is sent."""

    requests: Sequence[Any]


class CarryingContract:
    """What holds for every provider, however it is spoken to.

    It wants two fixtures: the `server`, and the provider `configured` to send there.
    """

    provider: type[Provider]
    #: Enough to configure it; values of secret settings must be long enough to be searched for.
    settings: dict[str, str]

    def copies(self, request: Any) -> list[Copy]:
        """The messages that the provider would make of a request: one, as a rule."""
        raise NotImplementedError

    def as_seen(self, email: Email) -> Copy:
        """What `copies` should find of a message."""
        return as_seen(email)

    def sent(self, server: Receiver) -> list[Copy]:
        (request,) = server.requests
        return self.copies(request)

    def failure(self, provider: Provider, email: Email = PLAIN) -> ProviderFailure:
        """What sending raises; the kind of thing that may be raised, and never a secret in it."""
        with pytest.raises(ProviderFailure) as raised:
            provider.send(email)
        failure = raised.value
        assert type(failure) in {
            AccountRefused,
            Limited,
            MessageRefused,
            Rejected,
            SenderRefused,
            Unavailable,
            Unknown,
        }
        self.assert_fit_to_be_shown(failure, email)
        return failure

    def assert_fit_to_be_shown(self, failure: ProviderFailure, email: Email) -> None:
        assert 0 < len(failure.reason) <= 300
        assert failure.reason.isprintable()
        everything = [failure.reason, str(failure), repr(failure)]
        everything += traceback.format_exception(failure)
        for shown in everything:
            self.assert_no_secret(shown)
        for address in email.recipients:
            assert address.email not in failure.reason

    def assert_no_secret(self, text: str) -> None:
        for setting in self.provider.settings:
            if setting.secret and self.settings.get(setting.name):
                assert self.settings[setting.name] not in text

    # --- settings

    def test_required_settings_that_lack_are_named(self) -> None:
        required = tuple(s.name for s in self.provider.settings if s.required)
        for name in required:
            with pytest.raises(MissingSettings, match=name) as raised:
                self.provider.configure({**self.settings, name: " "}, TIMEOUTS)
            assert raised.value.names == (name,)

    # --- what is carried

    @pytest.mark.parametrize("email", CARRIED.values(), ids=CARRIED.keys())
    def test_every_field_arrives_as_it_was_given(
        self, server: Receiver, configured: Provider, email: Email
    ) -> None:
        assert configured.refusal(email) is None
        configured.send(email)
        assert self.sent(server) == [self.as_seen(email)]

    @pytest.mark.parametrize("email", CARRIED_OR_REFUSED.values(), ids=CARRIED_OR_REFUSED.keys())
    def test_what_cannot_be_carried_is_refused_and_not_sent(
        self, server: Receiver, configured: Provider, email: Email
    ) -> None:
        if configured.refusal(email) is None:
            configured.send(email)
            assert self.sent(server) == [self.as_seen(email)]
        else:
            assert type(self.failure(configured, email)) is MessageRefused
            assert server.requests == []

    @pytest.mark.parametrize("visible", [(), (ANN, BOB)], ids=["bcc only", "cc and bcc"])
    def test_with_nobody_in_to_everyone_else_is_written_to_and_blind_copies_stay_blind(
        self, server: Receiver, configured: Provider, visible: tuple[Address, ...]
    ) -> None:
        blind = (Address("dan@example.net", "Dan"), Address("dora@example.net"))
        email = replace(PLAIN, to=(), cc=visible, bcc=blind)
        if configured.refusal(email) is not None:
            assert type(self.failure(configured, email)) is MessageRefused
            return
        configured.send(email)
        copies = self.sent(server)
        everyone = [address for copy in copies for address in copy.to + copy.cc + copy.bcc]
        assert sorted(a.email for a in everyone) == sorted(a.email for a in visible + blind)
        for copy in copies:
            # Whoever is shown was to be shown, or is the only one who gets to see it.
            shown = copy.to + copy.cc
            assert set(shown) <= set(visible) or (len(shown) == 1 and not copy.bcc)
            assert copy.attempt_id == email.attempt_id

    @pytest.mark.parametrize(
        "field", ["subject", "sender", "to", "cc", "bcc", "reply_to", "email", "header", "name"]
    )
    def test_a_line_break_never_gets_near_a_header(
        self, server: Receiver, configured: Provider, field: str
    ) -> None:
        for text in INJECTIONS:
            named = (Address("ann@example.net", text),)
            changes = {
                "subject": {"subject": text},
                "sender": {"sender": named[0]},
                "email": {"to": (Address(f"{text}@example.net"),)},
                "header": {"headers": (("X-A", text),)},
                "name": {"headers": ((text, "1"),)},
            }
            email = replace(PLAIN, **changes.get(field, {field: named}))
            with pytest.raises((MessageRefused, ValueError)):
                configured.send(email)
        assert server.requests == []

    def test_text_that_no_encoding_has_is_refused(
        self, server: Receiver, configured: Provider
    ) -> None:
        email = replace(PLAIN, text="half of a pair: \ud83c")
        assert type(self.failure(configured, email)) is MessageRefused
        assert server.requests == []

    def test_a_message_of_50_mb_is_refused_unsent(
        self, server: Receiver, configured: Provider
    ) -> None:
        email = replace(PLAIN, text="x" * 50_000_000)
        assert "MB" in (configured.refusal(email) or "")
        assert type(self.failure(configured, email)) is MessageRefused
        assert server.requests == []


class ProviderContract(CarryingContract):
    """For a provider that is asked over HTTP; its author looks no further than this.

    Inherit it as `Test…`, set what stands without a value here and above, and write `copies` and
    `complaint`. The provider's base URL must be its setting `<NAME>_BASE_URL`.
    """

    #: The answer to a message that was taken, and the id in it.
    success: Reply
    success_id: str
    #: Every documented error.
    failures: tuple[Sample, ...]

    def complaint(self, words: str) -> Reply:
        """An error in the provider's own form, with these words in it."""
        raise NotImplementedError

    def credentials(self, request: Request) -> str:
        """What a request has to let it in: the last word of Authorization, as a rule."""
        return request.headers["authorization"].split()[-1]

    # --- what the author need not look at

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "sample" in metafunc.fixturenames:
            ids = [f"{s.reply.status} {s.failure.__name__}" for s in self.failures]
            metafunc.parametrize("sample", self.failures, ids=ids)

    @pytest.fixture
    def server(self) -> Iterator[Server]:
        with serving(answering(self.success)) as server:
            yield server

    @pytest.fixture
    def configured(self, server: Server) -> Iterator[Provider]:
        provider = self.configure(server.url)
        yield provider
        provider.close()

    def configure(self, url: str, **timeouts: float) -> Provider:
        values = {**self.settings, f"{self.provider.name.upper()}_BASE_URL": url}
        return self.provider.configure(values, replace(TIMEOUTS, **timeouts))

    # --- what answers mean

    def tracking_off(self, request: Request) -> tuple[bool, bool] | None:
        """Whether a request keeps it from tracking opens, and clicks; None if none can say that."""
        return None

    @pytest.mark.parametrize("shown_to", [None, (ANN, BOB)], ids=["to all", "to one of them"])
    @pytest.mark.parametrize("opens", [False, True], ids=["-", "opens"])
    @pytest.mark.parametrize("clicks", [False, True], ids=["-", "clicks"])
    def test_what_is_tracked_already_is_not_tracked_once_more(
        self,
        server: Server,
        configured: Provider,
        opens: bool,
        clicks: bool,
        shown_to: tuple[Address, ...] | None,
    ) -> None:
        email = replace(PLAIN, shown_to=shown_to, opens_tracked=opens, clicks_tracked=clicks)
        if configured.refusal(email) is None:
            configured.send(email)
            (request,) = server.requests
            assert self.tracking_off(request) in (None, (opens, clicks))

    def test_success_gives_the_providers_id(self, configured: Provider) -> None:
        assert configured.send(PLAIN) == Accepted(self.success_id)

    def test_every_documented_error_has_its_class(
        self, server: Server, configured: Provider, sample: Sample
    ) -> None:
        server.behaviour = answering(sample.reply)
        failure = self.failure(configured, sample.email)
        assert type(failure) is sample.failure
        assert failure.status == sample.reply.status
        assert str(sample.reply.status) in failure.reason
        if isinstance(failure, Rejected):
            assert failure.recipients == sample.recipients
        if sample.retry_after is not None:
            # A moment in a sample is as far away as it was when the tests were collected.
            within = 0.25 * sample.retry_after
            assert failure.retry_after == pytest.approx(sample.retry_after, abs=within)
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("statuses", "expected"),
        [
            ((408, 503), Unavailable),
            ((420, 429), Limited),
            ((500, 502, 504, *range(520, 528)), Unknown),
            ((300, 301, 302, 303, 304, 307, 308), AccountRefused),
            ((401, 402, 403, 404, 405), AccountRefused),
            ((413,), MessageRefused),
        ],
    )
    def test_a_status_counts_where_the_body_says_nothing(
        self,
        server: Server,
        configured: Provider,
        statuses: tuple[int, ...],
        expected: type[ProviderFailure],
    ) -> None:
        for status in statuses:
            location = (("Location", "https://elsewhere.example/"),)
            # 304 has no body.
            body = b"<html>gateway</html>" if status != 304 else b""
            server.behaviour = answering(Reply(status, body, "text/html", location))
            failure = self.failure(configured)
            assert type(failure) is expected, status
            assert failure.status == status
        assert len(server.requests) == len(statuses)

    @pytest.mark.parametrize("status", [429, 503])
    def test_the_wait_that_is_asked_for_is_passed_on(
        self, server: Server, configured: Provider, status: int
    ) -> None:
        server.behaviour = answering(Reply(status, headers=(("Retry-After", "17"),)))
        assert self.failure(configured).retry_after == 17

    def test_the_providers_words_are_shown_without_secrets_and_whole_addresses(
        self, server: Server, configured: Provider, caplog: pytest.LogCaptureFixture
    ) -> None:
        def repeat(line: Line, request: Request) -> None:
            headers = [*request.headers.values(), self.credentials(request)]
            said = f"bad <{ANN.email}>\r\n{headers}{'!' * 5000}"
            line.send(bytes(self.complaint(said)))

        server.behaviour = repeat
        with caplog.at_level(logging.DEBUG):
            failure = self.failure(configured)
        assert "bad <a***@example.net>" in failure.reason
        assert self.credentials(server.requests[0]) not in failure.reason
        for record in caplog.records:
            self.assert_no_secret(record.getMessage())
        self.assert_no_secret(repr(configured))
        self.assert_no_secret(repr(vars(failure)))

    # --- 2xx

    def test_a_2xx_whose_body_is_cut_short_is_accepted(
        self, server: Server, configured: Provider
    ) -> None:
        def cut(line: Line, request: Request) -> None:
            line.send(self.success.head(length=100_000) + self.success.body[:9])
            line.close()

        server.behaviour = cut
        assert isinstance(configured.send(PLAIN), Accepted)
        assert len(server.requests) == 1

    def test_a_2xx_whose_body_stalls_is_accepted(self, server: Server) -> None:
        def stall(line: Line, request: Request) -> None:
            line.send(self.success.head(length=100_000) + self.success.body[:9])
            line.hang()

        server.behaviour = stall
        provider = self.configure(server.url, read=READ_TIMEOUT)
        assert isinstance(provider.send(PLAIN), Accepted)

    def test_a_2xx_that_is_reset_after_its_first_line_is_accepted(
        self, server: Server, configured: Provider
    ) -> None:
        def reset(line: Line, request: Request) -> None:
            line.send(f"HTTP/1.1 {self.success.status} OK\r\nServer: x".encode())
            line.reset()

        server.behaviour = reset
        assert isinstance(configured.send(PLAIN), Accepted)

    def test_a_2xx_of_the_right_type_that_cannot_be_read_is_accepted(
        self, server: Server, configured: Provider
    ) -> None:
        server.behaviour = answering(replace(self.success, body=b'{"half": '))
        assert isinstance(configured.send(PLAIN), Accepted)

    def test_a_2xx_without_end_is_accepted_and_not_read_to_its_end(
        self, server: Server, configured: Provider
    ) -> None:
        def flood(line: Line, request: Request) -> None:
            line.send(self.success.head(length=10**12))
            while True:
                line.send(b" " * 65536)

        server.behaviour = flood
        assert isinstance(configured.send(PLAIN), Accepted)

    @pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8", "image/png"])
    def test_a_2xx_of_somebody_elses_type_is_unknown(
        self, server: Server, configured: Provider, kind: str
    ) -> None:
        server.behaviour = answering(Reply(self.success.status, b"<html>welcome</html>", kind))
        failure = self.failure(configured)
        assert type(failure) is Unknown
        assert failure.status == self.success.status

    # --- transport

    def test_a_refused_connection_is_unavailable(self) -> None:
        with refusing_url() as url:
            failure = self.failure(self.configure(url))
        assert type(failure) is Unavailable
        assert failure.status is None

    def test_a_name_that_does_not_resolve_is_unavailable(self) -> None:
        assert type(self.failure(self.configure("http://nowhere.invalid"))) is Unavailable

    @pytest.mark.parametrize("end", [Line.close, Line.reset], ids=["closed", "reset"])
    def test_a_connection_lost_before_the_answer_is_unknown_and_not_tried_again(
        self, server: Server, configured: Provider, end
    ) -> None:
        server.behaviour = lambda line, request: end(line)
        assert type(self.failure(configured)) is Unknown
        assert len(server.requests) == 1

    def test_no_answer_in_time_is_unknown(self, server: Server) -> None:
        server.behaviour = lambda line, request: line.hang()
        with in_about(READ_TIMEOUT):
            failure = self.failure(self.configure(server.url, read=READ_TIMEOUT))
        assert type(failure) is Unknown
        assert len(server.requests) == 1

    def test_what_is_not_http_is_unknown(self, server: Server, configured: Provider) -> None:
        def babble(line: Line, request: Request) -> None:
            line.send(b"220 mail.example.net ESMTP\r\n\r\n")
            line.close()

        server.behaviour = babble
        assert type(self.failure(configured)) is Unknown

    def test_a_connection_is_used_again_after_a_success_and_after_an_error(
        self, server: Server, configured: Provider
    ) -> None:
        configured.send(PLAIN)
        server.behaviour = answering(Reply(503, b"{}"))
        self.failure(configured)
        server.behaviour = answering(self.success)
        configured.send(PLAIN)
        assert len(server.requests) == 3
        assert server.connections == 1

    def test_the_provider_is_of_use_again_after_a_lost_connection(
        self, server: Server, configured: Provider
    ) -> None:
        server.behaviour = lambda line, request: line.reset()
        self.failure(configured)
        server.behaviour = answering(self.success)
        assert configured.send(PLAIN) == Accepted(self.success_id)

    # --- the deadline

    @pytest.mark.parametrize("head", [b"", b"HTTP/1.1 500 Oops\r\nX-Drip: "], ids=["line", "500"])
    def test_a_dripping_answer_is_cut_at_the_deadline_and_unknown(
        self, server: Server, head: bytes
    ) -> None:
        def drip(line: Line, request: Request) -> None:
            line.send(head)
            line.drip(b"HTTP/1.1" + b" " * 1000)

        server.behaviour = drip
        provider = self.configure(server.url, deadline=DEADLINE)
        with in_about(DEADLINE):
            assert type(self.failure(provider)) is Unknown
        assert len(server.requests) == 1

    def test_headers_that_drip_after_a_2xx_line_are_cut_and_accepted(self, server: Server) -> None:
        def drip(line: Line, request: Request) -> None:
            line.send(f"HTTP/1.1 {self.success.status} OK\r\nX-Drip: ".encode())
            line.drip(b"x" * 1000)

        server.behaviour = drip
        provider = self.configure(server.url, deadline=DEADLINE)
        with in_about(DEADLINE):
            assert isinstance(provider.send(PLAIN), Accepted)

    def test_a_body_that_drips_after_a_2xx_is_cut_and_accepted(self, server: Server) -> None:
        def drip(line: Line, request: Request) -> None:
            line.send(self.success.head(length=1000))
            line.drip(b" " * 1000)

        server.behaviour = drip
        provider = self.configure(server.url, deadline=DEADLINE)
        with in_about(DEADLINE):
            assert isinstance(provider.send(PLAIN), Accepted)

    def test_a_deadline_that_passes_before_anything_is_sent_is_unavailable(
        self, server: Server
    ) -> None:
        failure = self.failure(self.configure(server.url, deadline=1e-9))
        assert type(failure) is Unavailable
        assert server.requests == []

    # --- many at once

    def test_32_threads_send_at_once_and_a_slow_answer_delays_no_other(
        self, server: Server
    ) -> None:
        together = threading.Barrier(32)

        def mixed(line: Line, request: Request) -> None:
            if b"slow" in request.body:
                line.drip(b"HTTP/1.1" + b" " * 1000)
            else:
                line.send(bytes(self.success))

        server.behaviour = mixed
        provider = self.configure(server.url, deadline=1.0)

        def send(number: int) -> Accepted | type[ProviderFailure]:
            together.wait()
            try:
                if number % 2:
                    return provider.send(replace(PLAIN, attempt_id=f"slow{number}"))
                return [provider.send(PLAIN) for _ in range(3)][-1]
            except ProviderFailure as failure:
                return type(failure)

        with ThreadPoolExecutor(32) as pool:
            outcomes = list(pool.map(send, range(32)))
        assert outcomes[::2] == [Accepted(self.success_id)] * 16
        assert outcomes[1::2] == [Unknown] * 16
        assert len(server.requests) == 16 * 3 + 16
        provider.close()


class in_about:  # noqa: N801
    """What is done in here takes no less than `seconds`, and not much more."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, kind: object, *_: object) -> None:
        took = time.monotonic() - self._began
        if kind is None:
            assert self._seconds - 0.05 <= took < self._seconds + 1.0


def as_seen(email: Email) -> Copy:
    """A message as its recipients are to see it; a domain is compared in its ASCII form."""
    return Copy(
        sender=in_ascii(email.sender),
        to=tuple(map(in_ascii, email.to)),
        cc=tuple(map(in_ascii, email.cc)),
        bcc=tuple(map(in_ascii, email.bcc)),
        reply_to=tuple(map(in_ascii, email.reply_to)),
        subject=email.subject,
        text=email.text or None,
        html=email.html or None,
        headers=email.headers,
        attempt_id=email.attempt_id,
    )


def in_ascii(address: Address) -> Address:
    local, _, domain = address.email.rpartition("@")
    return replace(address, email=f"{local}@{idna.encode(domain, uts46=True).decode()}")

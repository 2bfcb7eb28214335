import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import parsedate_to_datetime

import pytest

from providers import smtp_session
from providers.base import BadSettings, MissingSettings, Provider, Timeouts
from providers.errors import (
    AccountRefused,
    Limited,
    MessageRefused,
    Rejected,
    SenderRefused,
    Unavailable,
    Unknown,
)
from providers.smtp import SmtpProvider
from providers.smtp_session import Tls
from providers.types import Accepted, Address, Attachment, Email, NotTaken
from tests.providers.contract import (
    ANN,
    BOB,
    DEADLINE,
    PLAIN,
    READ_TIMEOUT,
    TIMEOUTS,
    CarryingContract,
    Copy,
    as_seen,
    in_about,
)
from tests.providers.hard import HardContract
from tests.providers.mail_server import MailServer, Received, cut, hang, saying, serving_mail
from tests.providers.reading import address, addresses, content, files, parsed

PASSWORD = "correct-horse-battery"
LOGIN = ("shop", PASSWORD)
USER = {"SMTP_USERNAME": "shop", "SMTP_PASSWORD": PASSWORD}
TWO = replace(PLAIN, to=(ANN, BOB))
TAKEN = Accepted("4XyZ17")


def smtp(port: int, tls: str = Tls.OFF, *, timeouts: Timeouts = TIMEOUTS, **more: str) -> Provider:
    values = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(port), "SMTP_TLS": tls, **more}
    return SmtpProvider.configure(values, timeouts)


class TestSmtp(HardContract, CarryingContract):
    provider = SmtpProvider
    shows_others = True
    settings = {"SMTP_HOST": "127.0.0.1", "SMTP_TLS": "off", **USER}  # noqa: RUF012

    @pytest.fixture
    def server(self) -> Iterator[MailServer]:
        with serving_mail() as server:
            yield server

    @pytest.fixture
    def configured(self, server: MailServer) -> Iterator[Provider]:
        provider = smtp(server.port)
        yield provider
        provider.close()

    def as_seen(self, email: Email) -> Copy:
        # An envelope has no names.
        seen = as_seen(email)
        return ended(replace(seen, bcc=tuple(Address(one.email) for one in seen.bcc)))

    def copies(self, request: Received) -> list[Copy]:
        mime = parsed(request.content)
        sender = address(mime["From"])
        assert sender.email == request.sender
        assert "Bcc" not in mime
        assert parsedate_to_datetime(mime["Date"]).tzinfo is not None
        attempt_id, _, domain = mime["Message-ID"].strip("<>").partition("@")
        assert domain == sender.domain
        undisclosed = mime.get("To") == "undisclosed-recipients:;"
        to = () if undisclosed else addresses(*mime.get_all("To", []))
        cc = addresses(*mime.get_all("Cc", []))
        shown = {one.email for one in to + cc}
        copy = Copy(
            sender=sender,
            to=to,
            cc=cc,
            bcc=tuple(Address(one) for one in request.recipients if one not in shown),
            attempt_id=attempt_id,
            **content(mime, ("date", "message-id")),
        )
        return [ended(copy)]

    def files(self, request: Received) -> list[Attachment]:
        return files(parsed(request.content))

    # --- the message

    def test_lines_that_begin_with_dots_arrive(self, server, configured):
        email = replace(PLAIN, text=".\n..\n.hidden\nend.", html=None)
        configured.send(email)
        assert self.sent(server) == [as_seen(email)]

    def test_whoever_has_it_already_is_shown_and_gets_nothing(self, server, configured):
        configured.send(replace(PLAIN, to=(BOB,), shown_to=(ANN, BOB), shown_cc=()))
        (request,) = server.requests
        assert request.recipients == (BOB.email,)
        assert addresses(parsed(request.content)["To"]) == (ANN, BOB)

    def test_it_is_taken_under_the_servers_own_id(self, configured, server):
        assert configured.send(PLAIN) == TAKEN
        server.at_dot = saying("250 2.0.0 Thank you")
        assert configured.send(PLAIN) == Accepted(None)

    # --- what is refused

    def test_those_whom_the_server_refuses_are_told_apart(self, server, configured):
        others = tuple(Address(f"{name}@example.net") for name in ("full", "later", "blocked"))
        server.answers = {
            BOB.email: "550 5.1.1 <bob@example.net>: no such user",
            "full@example.net": "552 5.2.2 mailbox full",
            "later@example.net": "450 4.2.0 greylisted",
            "blocked@example.net": "554 5.7.1 blocked by policy",
        }
        accepted = configured.send(replace(TWO, cc=others))
        assert accepted.not_taken == (
            NotTaken(BOB.email, "550 5.1.1 <b***@example.net>: no such user", True),
            NotTaken("full@example.net", "552 5.2.2 mailbox full", False),
            NotTaken("later@example.net", "450 4.2.0 greylisted", False),
            NotTaken("blocked@example.net", "554 5.7.1 blocked by policy", False),
        )
        assert server.requests[0].recipients == (ANN.email,)

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ("550 5.1.1 no such user", Rejected),
            ("550 no such user", Rejected),
            ("553 5.1.3 bad syntax", Rejected),
            ("550 5.2.1 mailbox disabled", Rejected),
            ("552 5.2.2 mailbox full", MessageRefused),
            ("550 listed as a source of spam", MessageRefused),
            ("550 5.7.1 message refused by policy", MessageRefused),
            ("554 5.7.1 Relay access denied", AccountRefused),
            ("550 relaying denied", AccountRefused),
            ("530 5.7.0 Authentication required", AccountRefused),
            ("450 4.2.0 greylisted", Unavailable),
            ("451 4.3.0 try later", Unavailable),
            ("421 4.3.2 going down", Unavailable),
        ],
    )
    def test_what_a_refusal_of_everybody_means(self, server, configured, answer, expected):
        server.answers = {ANN.email: answer}
        failure = self.failure(configured)
        assert type(failure) is expected
        assert failure.status == int(answer[:3])
        assert answer[4:] in failure.reason
        if isinstance(failure, Rejected):
            assert failure.recipients == (ANN.email,)
        assert server.requests == []

    def test_of_several_that_are_refused_the_bad_ones_are_named(self, server, configured):
        server.answers = {ANN.email: "450 4.2.0 later", BOB.email: "550 5.1.1 no such user"}
        failure = self.failure(configured, TWO)
        assert isinstance(failure, Rejected)
        assert failure.recipients == (BOB.email,)

    @pytest.mark.parametrize(
        ("command", "answer", "expected"),
        [
            ("MAIL", "550 5.1.0 sender rejected", SenderRefused),
            ("MAIL", "553 5.7.1 not owned by you", SenderRefused),
            ("MAIL", "530 5.7.0 Must issue a STARTTLS command first", AccountRefused),
            ("MAIL", "552 5.3.4 too big", MessageRefused),
            ("MAIL", "452 4.3.1 no space", Unavailable),
            ("MAIL", "450 4.7.1 too many messages", Limited),
            ("MAIL", "421 4.7.0 rate limit", Limited),
            ("DATA", "451 4.3.0 queue full", Unavailable),
            ("DATA", "554 5.7.1 no", MessageRefused),
            ("DATA", "250 what", Unavailable),
        ],
    )
    def test_what_a_refusal_before_the_message_means(
        self, server, configured, command, answer, expected
    ):
        server.answers = {command: answer}
        failure = self.failure(configured)
        assert type(failure) is expected
        assert failure.status == int(answer[:3])
        assert server.requests == []

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ("451 4.3.0 try later", Unavailable),
            ("421 4.3.2 going down", Unavailable),
            ("452 4.7.1 rate limited", Limited),
            ("552 5.3.4 too big", MessageRefused),
            ("554 5.7.1 looks like spam", MessageRefused),
            ("554 transaction failed", MessageRefused),
            ("554 5.6.0 not well-formed", Rejected),
            ("550 5.7.1 Relaying denied", AccountRefused),
            ("354 go on", Unknown),
            ("hello", Unknown),
        ],
    )
    def test_what_an_answer_to_the_whole_message_means(self, server, configured, answer, expected):
        server.at_dot = saying(answer)
        assert type(self.failure(configured)) is expected
        assert len(server.requests) == 1
        server.at_dot = saying("250 Ok")
        assert configured.send(PLAIN) == Accepted(None)

    def test_the_servers_limit_is_kept_without_asking(self):
        with serving_mail(size=2000) as server:
            provider = smtp(server.port)
            failure = self.failure(provider, replace(PLAIN, text="x" * 3000))
            assert type(failure) is MessageRefused
            assert "MB" in failure.reason
            assert provider.send(PLAIN) == TAKEN
            assert len(server.connections) == 1
            provider.close()

    def test_a_local_part_in_another_alphabet_needs_a_server_that_takes_it(self):
        foreign = replace(PLAIN, to=(Address("änne@example.net"),))
        with serving_mail(smtputf8=False) as server:
            provider = smtp(server.port)
            failure = self.failure(provider, foreign)
            assert type(failure) is MessageRefused
            assert "SMTPUTF8" in failure.reason
            assert server.requests == []
            provider.close()

    @pytest.mark.parametrize("email", ["a b@example.net", "a>b@example.net"])
    def test_an_address_that_would_end_early_is_refused(self, configured, email):
        assert configured.refusal(replace(PLAIN, to=(Address(email),))) is not None

    # --- what breaks off

    def test_no_answer_to_the_whole_message_is_unknown(self, server):
        server.at_dot = hang
        timeouts = replace(TIMEOUTS, read=READ_TIMEOUT)
        with in_about(READ_TIMEOUT):
            failure = self.failure(smtp(server.port, timeouts=timeouts))
        assert type(failure) is Unknown
        assert len(server.requests) == 1

    def test_a_deadline_after_the_whole_message_is_unknown(self, server):
        server.at_dot = hang
        timeouts = replace(TIMEOUTS, deadline=DEADLINE)
        with in_about(DEADLINE):
            failure = self.failure(smtp(server.port, timeouts=timeouts))
        assert type(failure) is Unknown
        assert "deadline" in failure.reason

    def test_a_connection_lost_after_the_whole_message_is_unknown_and_not_tried_again(
        self, server, configured
    ):
        assert configured.send(PLAIN) == TAKEN
        server.at_dot = cut
        assert type(self.failure(configured)) is Unknown
        assert len(server.requests) == 2

    def test_a_connection_lost_within_the_message_is_unavailable(self, server, configured):
        server.cut_at_data = True
        failure = self.failure(configured, replace(PLAIN, text="x" * 20_000_000))
        assert type(failure) is Unavailable
        assert server.requests == []

    def test_a_server_that_says_nothing_is_unavailable_at_the_deadline(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            timeouts = replace(TIMEOUTS, deadline=DEADLINE)
            with in_about(DEADLINE):
                failure = self.failure(smtp(silent.getsockname()[1], timeouts=timeouts))
        assert type(failure) is Unavailable
        assert "deadline" in failure.reason

    def test_a_deadline_that_passes_before_anything_is_sent_is_unavailable(self, server):
        failure = self.failure(smtp(server.port, timeouts=replace(TIMEOUTS, deadline=1e-9)))
        assert type(failure) is Unavailable
        assert server.requests == []

    def test_where_nobody_listens_it_is_unavailable(self):
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        assert type(self.failure(smtp(port))) is Unavailable
        nowhere = smtp(25, SMTP_HOST="nowhere.invalid")
        failure = self.failure(nowhere)
        assert type(failure) is Unavailable
        assert "resolve" in failure.reason

    @pytest.mark.parametrize(
        ("greeting", "expected"),
        [
            (b"554 no service here\r\n", Unavailable),
            (b"421 too many connections\r\n", Limited),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", Unavailable),
            (b"", Unavailable),
        ],
    )
    def test_what_an_unfriendly_greeting_means(self, greeting, expected):
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def greet() -> None:
                line, _ = listener.accept()
                with line:
                    line.sendall(greeting)

            thread = threading.Thread(target=greet)
            thread.start()
            assert type(self.failure(smtp(listener.getsockname()[1]))) is expected
            thread.join()

    # --- connections

    def test_a_connection_serves_one_message_after_the_other(self, server, configured):
        assert configured.send(PLAIN) == TAKEN
        server.answers = {ANN.email: "550 5.1.1 no such user"}
        self.failure(configured)
        server.answers = {}
        server.at_dot = saying("554 5.6.0 no")
        self.failure(configured)
        server.at_dot = saying("250 queued as A1")
        assert configured.send(TWO) == Accepted("A1")
        assert len(server.connections) == 1

    @pytest.mark.parametrize("farewell", [None, "421 4.4.2 idle for too long"])
    def test_a_connection_that_went_while_it_rested_is_made_anew(
        self, server, configured, farewell
    ):
        configured.send(PLAIN)
        if farewell is None:
            server.drop()
        else:
            server.answers = {"RSET": farewell}
        assert configured.send(PLAIN) == TAKEN
        assert len(server.connections) == 2
        assert len(server.requests) == 2

    def test_a_connection_that_rested_for_long_is_not_used_again(
        self, server, configured, monkeypatch
    ):
        configured.send(PLAIN)
        monkeypatch.setattr(smtp_session, "IDLE_LIMIT", 0.0)
        assert configured.send(PLAIN) == TAKEN
        assert len(server.connections) == 2

    def test_a_fork_leaves_its_parents_connection_alone(self, server, configured):
        configured.send(PLAIN)
        child = os.fork()
        if child == 0:
            try:
                taken = configured.send(PLAIN) == TAKEN
                configured.close()
            finally:
                os._exit(0 if taken else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert configured.send(PLAIN) == TAKEN
        assert len(server.connections) == 2
        assert len(server.requests) == 3

    def test_many_send_at_once(self, server, configured):
        together = threading.Barrier(16)

        def send(number: int) -> list[Accepted]:
            together.wait()
            return [configured.send(replace(PLAIN, subject=f"{number}")) for _ in range(3)]

        with ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(send, range(16)))
        assert outcomes == [[TAKEN] * 3] * 16
        assert len(server.requests) == 48
        assert len(server.connections) <= 16

    # --- encryption and log-in

    def test_the_password_is_only_told_over_tls(self, tls, trusted):
        with serving_mail(tls, login=LOGIN) as server:
            provider = smtp(server.port, Tls.STARTTLS, **USER)
            assert provider.send(PLAIN) == TAKEN
            assert provider.send(PLAIN) == TAKEN
            assert {(one.encrypted, one.user) for one in server.requests} == {(True, "shop")}
            assert len(server.connections) == 1
            provider.close()

    def test_tls_from_the_first_byte(self, tls, trusted):
        with serving_mail(tls, implicit=True) as server:
            provider = smtp(server.port, Tls.IMPLICIT)
            assert provider.send(PLAIN) == TAKEN
            assert server.requests[0].encrypted
            provider.close()

    @pytest.mark.parametrize("kind", [Tls.STARTTLS, Tls.IMPLICIT])
    def test_a_certificate_that_is_not_trusted_is_unavailable(self, tls, kind):
        with serving_mail(tls, implicit=kind is Tls.IMPLICIT) as server:
            failure = self.failure(smtp(server.port, kind, **USER))
            assert type(failure) is Unavailable
            assert "self-signed" in failure.reason
            assert server.requests == []

    def test_a_server_without_starttls_is_told_nothing(self, server):
        failure = self.failure(smtp(server.port, Tls.STARTTLS, **USER))
        assert type(failure) is AccountRefused
        assert "STARTTLS" in failure.reason
        assert server.requests == []

    def test_a_wrong_password_is_our_account(self, tls, trusted):
        with serving_mail(tls, login=("shop", "another")) as server:
            failure = self.failure(smtp(server.port, Tls.STARTTLS, **USER))
            assert type(failure) is AccountRefused
            assert failure.status == 535

    def test_a_server_without_log_in_is_our_account(self, server):
        failure = self.failure(smtp(server.port, **USER))
        assert type(failure) is AccountRefused
        assert "log in" in failure.reason

    def test_a_server_that_wants_a_log_in_is_our_account(self, tls, trusted):
        with serving_mail(tls, login=LOGIN) as server:
            provider = smtp(server.port, Tls.STARTTLS)
            assert type(self.failure(provider)) is AccountRefused
            provider.close()


def ended(copy: Copy) -> Copy:
    """The copy without a line end that it has because every message over SMTP ends with one."""
    text, html = ((body or "").removesuffix("\n") or None for body in (copy.text, copy.html))
    return replace(copy, text=text, html=html)


@pytest.fixture
def trusted(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("SMTP_TLS", "maybe"),
        ("SMTP_PORT", "0"),
        ("SMTP_PORT", "smtp"),
        ("SMTP_HOST", "mail.example:25"),
        ("SMTP_HOST", "smtp://mail.example"),
        ("SMTP_PASSWORD", "pässword"),
    ],
)
def test_settings_that_cannot_be_are_named(setting, value):
    with pytest.raises(BadSettings, match=setting):
        SmtpProvider.configure({"SMTP_HOST": "mail.example", setting: value}, TIMEOUTS)


def test_a_user_without_a_password_is_not_enough():
    values = {"SMTP_HOST": "mail.example", "SMTP_USERNAME": "shop"}
    with pytest.raises(MissingSettings, match="SMTP_PASSWORD"):
        SmtpProvider.configure(values, TIMEOUTS)


GREENLETS = """
import sys
from gevent import monkey
monkey.patch_all(select=False)
import gevent
from providers.base import Timeouts
from providers.errors import Unknown
from providers.smtp import SmtpProvider
from tests.providers.contract import PLAIN
provider = SmtpProvider.configure(
    {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": sys.argv[1], "SMTP_TLS": sys.argv[2]},
    Timeouts(connect=5, read=5, deadline=float(sys.argv[3])),
)
def send():
    try:
        return provider.send(PLAIN).provider_message_id
    except Unknown as failure:
        return failure.reason
jobs = [gevent.spawn(send) for _ in range(20)]
gevent.joinall(jobs)
print({job.value for job in jobs})
"""


def in_greenlets(port: int, kind: Tls, deadline: float) -> str:
    found = subprocess.run(
        [sys.executable, "-c", GREENLETS, str(port), kind, str(deadline)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return found.stdout


def test_greenlets_send_at_once(tls, trusted):
    with serving_mail(tls) as server:
        assert in_greenlets(server.port, Tls.STARTTLS, 10) == "{'4XyZ17'}\n"
        assert len(server.requests) == 20


def test_greenlets_are_cut_at_the_deadline():
    with serving_mail() as server:
        server.at_dot = hang
        began = time.monotonic()
        assert "deadline of 1 s" in in_greenlets(server.port, Tls.OFF, 1)
        assert time.monotonic() - began < 10
        assert len(server.requests) == 20

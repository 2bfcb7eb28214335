import json
import re
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email.utils import formatdate
from urllib.parse import parse_qs, urlsplit

import pytest

from providers.base import BadSettings, Timeouts
from providers.errors import (
    AccountRefused,
    Limited,
    MessageRefused,
    Rejected,
    SenderRefused,
    Unavailable,
    Unknown,
)
from providers.mailgun import MailgunProvider
from providers.types import Accepted, Address
from tests.providers.contract import (
    ANN,
    BOB,
    PLAIN,
    TIMEOUTS,
    Copy,
    ProviderContract,
    Sample,
)
from tests.providers.finding import OURS, RECIPIENTS, SINCE, FindContract
from tests.providers.reading import address, addresses, decoded
from tests.providers.server import Behaviour, Line, Reply, Request, Server, answering, serving

KEY = "key-0123456789abcdef0123456789abcdef"
SETTINGS = {"MAILGUN_API_KEY": KEY, "MAILGUN_DOMAIN": "mg.shop.example"}
MESSAGE_ID = "<20261123191034.1.9F3C2A77D1B0E645@mg.shop.example>"
BANNER = b"Mailgun Magnificent API"


def error(status: int, message: str, *headers: tuple[str, str]) -> Reply:
    return Reply(status, json.dumps({"message": message}).encode(), headers=headers)


def not_allowed(status: int, why: str) -> Reply:
    return error(status, f"Domain mg.shop.example is not allowed to send: {why}")


INVALID = "'{}' parameter is not a valid address. please check documentation"
IN_AN_HOUR = time.time() + 3600


class TestMailgun(ProviderContract):
    provider = MailgunProvider
    settings = SETTINGS
    success = Reply(200, json.dumps({"id": MESSAGE_ID, "message": "Queued. Thank you."}).encode())
    success_id = MESSAGE_ID
    failures = (
        Sample(error(400, INVALID.format("to")), Rejected, (ANN.email,)),
        Sample(error(400, "to parameter is missing"), Rejected, (ANN.email,)),
        Sample(error(400, INVALID.format("cc")), Rejected),
        Sample(error(400, INVALID.format("bcc")), Rejected),
        Sample(error(400, INVALID.format("to")), Rejected, email=replace(PLAIN, to=(ANN, BOB))),
        Sample(
            error(400, INVALID.format("cc")),
            Rejected,
            (BOB.email,),
            email=replace(PLAIN, cc=(BOB,)),
        ),
        Sample(error(400, INVALID.format("from")), MessageRefused),
        Sample(error(400, "from parameter is missing"), MessageRefused),
        Sample(
            error(400, "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters"),
            Rejected,
        ),
        Sample(error(400, "Header name must be pure ASCII: X-Ü"), Rejected),
        Sample(error(400, "tomorrow is not an RFC-2822 compliant date"), Rejected),
        Sample(error(400, "'recipient-variables' parameter is not a valid JSON"), Rejected),
        Sample(error(400, "malformed multipart/form-data request"), Rejected),
        Sample(
            error(400, "Send options (starting with o:, h:, or v:) are limited to 16 kB total"),
            MessageRefused,
        ),
        Sample(error(400, "Too many recipients; max is 1000"), MessageRefused),
        Sample(error(400, "something that nobody documented"), MessageRefused),
        Sample(not_allowed(400, "Sandbox subdomains are for test purposes only."), AccountRefused),
        Sample(not_allowed(403, "Free accounts are for test purposes only."), AccountRefused),
        Sample(not_allowed(403, "The domain is unverified and requires DNS"), SenderRefused),
        Sample(not_allowed(403, "Please activate your Mailgun account."), AccountRefused),
        Sample(not_allowed(403, "The domain is disabled."), AccountRefused),
        Sample(Reply(401, b"Forbidden", "text/plain"), AccountRefused),
        Sample(Reply(401, b"Forbidden", None), AccountRefused),
        Sample(error(402, "Request failed"), AccountRefused),
        Sample(error(403, "Access denied"), AccountRefused),
        Sample(
            error(403, "Domain mg.shop.example is not allowed to send large batches yet"),
            AccountRefused,
        ),
        Sample(
            error(403, "Rejected: IP 192.0.2.1 can't be used to send the message"), AccountRefused
        ),
        Sample(error(404, "Domain not found: mg.shop.example"), AccountRefused),
        Sample(error(404, "Domain not found"), AccountRefused),
        Sample(error(413, "request size exceeds 52.4MiB limit"), MessageRefused),
        Sample(
            not_allowed(420, f"recipient limit exceeded, try again after {formatdate(IN_AN_HOUR)}"),
            Limited,
            retry_after=3600,
        ),
        Sample(
            not_allowed(
                403,
                f"recipient limit exceeded, try again after {formatdate(IN_AN_HOUR, usegmt=True)}",
            ),
            Limited,
            retry_after=3600,
        ),
        Sample(
            error(429, "account-requests-per-sec limit exceeded, try again after 7 seconds"),
            Limited,
            retry_after=7,
        ),
        Sample(
            error(429, "request limit exceeded", ("X-RateLimit-Reset", f"{IN_AN_HOUR:.3f}")),
            Limited,
            retry_after=3600,
        ),
        Sample(error(429, "daily message limit exceeded"), Limited),
        Sample(error(500, "Internal Server Error, try again after 5 seconds"), Unknown),
        Sample(error(503, "Service Unavailable"), Unavailable),
        Sample(error(502, "Bad Gateway"), Unknown),
        Sample(error(504, "Gateway Timeout"), Unknown),
    )

    def copies(self, request: Request) -> list[Copy]:
        assert (request.method, request.path) == ("POST", "/v3/mg.shop.example/messages")
        scheme, credentials = request.headers["authorization"].split()
        assert (scheme, b64decode(credentials)) == ("Basic", f"api:{KEY}".encode())
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        fields = parse_qs(request.body.decode(), keep_blank_values=True, strict_parsing=True)
        sender = address(*fields.pop("from"))
        kinds = {kind: tuple(map(address, fields.pop(kind, ()))) for kind in ("to", "cc", "bcc")}
        alone = "recipient-variables" in fields
        if alone:
            (variables,) = fields.pop("recipient-variables")
            assert json.loads(variables) == {to.email: {} for to in kinds["to"]}
        (attempt_id,) = fields.pop("v:attempt_id")
        (subject,) = fields.pop("subject")
        (text,) = fields.pop("text", [None])
        (html,) = fields.pop("html", [None])
        reply_to = addresses(*fields.pop("h:Reply-To", []))
        assert all(name.startswith("h:") for name in fields)
        assert all(value.isascii() for values in fields.values() for value in values)
        headers = tuple((name[2:], decoded(value)) for name, (value,) in fields.items())
        return [
            Copy(
                sender=sender,
                to=to,
                cc=kinds["cc"],
                bcc=kinds["bcc"],
                reply_to=reply_to,
                subject=subject,
                text=text,
                html=html,
                headers=headers,
                attempt_id=attempt_id,
            )
            for to in ([(one,) for one in kinds["to"]] if alone else [kinds["to"]])
        ]

    def tracking_off(self, request: Request) -> tuple[bool, bool]:
        if request.headers["content-type"].startswith("multipart/"):
            bodies = re.findall(rb'name="o:tracking-(\w+)"\r\n(?:.+\r\n)*\r\nno\r\n', request.body)
            return b"opens" in bodies, b"clicks" in bodies
        fields = parse_qs(request.body.decode())
        return tuple(fields.get(f"o:tracking-{what}") == ["no"] for what in ("opens", "clicks"))

    def complaint(self, words: str) -> Reply:
        return error(400, words)

    @pytest.mark.parametrize("kind", ["text/plain", "text/html", "application/json", None])
    def test_the_banner_of_an_unknown_path_is_a_fault_of_our_settings(
        self, server, configured, kind
    ):
        server.behaviour = answering(Reply(200, BANNER, kind))
        failure = self.failure(configured)
        assert type(failure) is AccountRefused
        assert "MAILGUN_BASE_URL" in failure.reason

    def test_a_non_ascii_local_part_is_carried_to_a_recipient_and_refused_in_from(self, configured):
        odd = Address("büro@shop.example")
        assert configured.refusal(replace(PLAIN, to=(odd,))) is None
        assert "sender" in configured.refusal(replace(PLAIN, sender=odd))
        assert "reply-to" in configured.refusal(replace(PLAIN, reply_to=(odd,)))

    def test_headers_over_16_kb_together_are_refused(self, configured):
        email = replace(PLAIN, headers=(("X-A", "a" * 9000), ("X-B", "b" * 9000)))
        assert "16 KB" in configured.refusal(email)

    def test_a_header_that_is_an_order_to_mailgun_is_refused(self, configured):
        email = replace(PLAIN, headers=(("X-Mailgun-Drop-Message", "yes"),))
        assert "x-mailgun-drop-message" in configured.refusal(email)

    def test_25_mb_are_the_limit(self, configured):
        assert configured.refusal(replace(PLAIN, text="x" * 24_990_000)) is None
        assert "25 MB" in configured.refusal(replace(PLAIN, text="x" * 25_000_000))


def event(attempt_id: str, what: str = "accepted", **more: object) -> dict[str, object]:
    return {
        "event": what,
        "recipient": ANN.email,
        "user-variables": {"attempt_id": attempt_id},
        "message": {"headers": {"message-id": MESSAGE_ID.strip("<>")}},
        **more,
    }


def paged(*pages: list[dict[str, object]], origin: str | None = None) -> Behaviour:
    """Pages of events, each with a link to the next one; after the last come empty ones."""

    def answer(line: Line, request: Request) -> None:
        number = int(request.path.rpartition("/")[2]) if "?" not in request.path else 0
        base = origin or f"http://{request.headers['host']}"
        link = f"{base}/v3/mg.shop.example/events/{number + 1}"
        items = pages[number] if number < len(pages) else []
        content = {"items": items, "paging": {"next": link, "previous": link}}
        line.send(bytes(Reply(200, json.dumps(content).encode())))

    return answer


class TestMailgunEvents(FindContract):
    provider = MailgunProvider
    settings = SETTINGS
    found_id = MESSAGE_ID

    def knowing(self, *attempt_ids: str) -> Behaviour:
        return paged([event(attempt_id) for attempt_id in attempt_ids])

    def test_the_events_of_the_recipient_since_then_are_asked_for(self, server, configured):
        configured.find(OURS, RECIPIENTS, SINCE)
        url = urlsplit(server.requests[0].path)
        query = {name: value for name, (value,) in parse_qs(url.query).items()}
        assert url.path == "/v3/mg.shop.example/events"
        assert SINCE.timestamp() - 300 <= float(query.pop("begin")) < SINCE.timestamp()
        assert 1 <= int(query.pop("limit")) <= 300
        assert query == {"ascending": "yes", "recipient": ANN.email}

    def test_pages_are_followed_until_one_is_empty(self, server, configured):
        server.behaviour = paged([event("a")], [event("b")], [event(OURS)])
        assert configured.find(OURS, RECIPIENTS, SINCE) == Accepted(MESSAGE_ID)
        assert len(server.requests) == 3
        server.behaviour = paged([event("a")], [event("b")])
        assert configured.find(OURS, RECIPIENTS, SINCE) is None
        assert len(server.requests) == 6

    def test_pages_without_end_are_left_at_some_point(self, server, configured):
        server.behaviour = paged(*[[event("a")]] * 1000)
        assert configured.find(OURS, RECIPIENTS, SINCE) is None
        assert len(server.requests) == 10

    @pytest.mark.parametrize(
        "origin", ["http://evil.example", "{}.evil.example", "{}@evil.example", "http://u@x", "//x"]
    )
    def test_our_key_is_taken_to_no_other_host(self, server, configured, origin):
        server.behaviour = paged([event("a")], origin=origin.format(server.url))
        assert configured.find(OURS, RECIPIENTS, SINCE) is None
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("what", "counts"),
        [
            *dict.fromkeys(
                ("accepted", "delivered", "failed", "opened", "clicked", "complained"), True
            ).items(),
            ("unsubscribed", True),
            ("rejected", False),
            ("stored", False),
        ],
    )
    def test_only_an_event_that_follows_acceptance_is_evidence(
        self, server, configured, what, counts
    ):
        server.behaviour = paged([event(OURS, what)])
        expected = Accepted(MESSAGE_ID) if counts else None
        assert configured.find(OURS, RECIPIENTS, SINCE) == expected

    def test_an_event_without_an_id_is_evidence_all_the_same(self, server, configured):
        server.behaviour = paged([event(OURS, message={"headers": {}})])
        assert configured.find(OURS, RECIPIENTS, SINCE) == Accepted(None)


class TestMailgunNews:
    """What the poll reads: all events since a time, some of them again."""

    NOW = SINCE + timedelta(hours=2)

    @pytest.fixture
    def server(self) -> Iterator[Server]:
        with serving(paged()) as server:
            yield server

    @pytest.fixture
    def configured(self, server: Server) -> Iterator[MailgunProvider]:
        settings = {s.name: s.default or "" for s in MailgunProvider.settings} | SETTINGS
        settings["MAILGUN_BASE_URL"] = server.url
        provider = MailgunProvider(settings, TIMEOUTS, clock=lambda: self.NOW.timestamp())
        yield provider
        provider.close()

    def at(self, minutes: float, **more: object) -> dict[str, object]:
        """An event so long after the time from which is asked."""
        moment = SINCE + timedelta(minutes=minutes)
        return event(f"m{minutes}", timestamp=moment.timestamp(), id=f"e{minutes}", **more)

    def test_all_events_since_then_are_asked_for_oldest_first(self, server, configured):
        configured.news(SINCE)
        url = urlsplit(server.requests[0].path)
        assert url.path == "/v3/mg.shop.example/events"
        query = {name: value for name, (value,) in parse_qs(url.query).items()}
        begin = f"{SINCE.timestamp():.3f}"
        assert query == {"begin": begin, "ascending": "yes", "limit": "100"}

    def test_pages_are_followed_until_one_is_empty(self, server, configured):
        server.behaviour = paged([self.at(1), self.at(2)], [self.at(3)])
        told, _ = configured.news(SINCE)
        assert [one.attempt_id for one in told] == ["m1", "m2", "m3"]
        assert told[0].occurred_at == SINCE + timedelta(minutes=1)
        assert len(server.requests) == 3

    def test_once_all_is_read_it_is_asked_on_from_the_latest_event(self, server, configured):
        server.behaviour = paged([self.at(1), self.at(7)])
        assert configured.news(SINCE)[1] == SINCE + timedelta(minutes=7)

    def test_of_the_last_half_hour_everything_is_read_again(self, server, configured):
        server.behaviour = paged([self.at(1), self.at(119)])
        assert configured.news(SINCE)[1] == self.NOW - timedelta(minutes=30)

    def test_it_never_goes_back_behind_where_it_was(self, server, configured):
        since = self.NOW - timedelta(minutes=5)
        assert configured.news(since) == ((), since)
        server.behaviour = paged([self.at(116)])
        told, until = configured.news(since)
        assert (len(told), until) == (1, since)

    def test_one_look_is_bounded_and_the_next_goes_on_after_it(self, server, configured):
        server.behaviour = paged(*([self.at(page)] for page in range(1000)))
        told, until = configured.news(SINCE)
        assert len(told) == len(server.requests) == 10
        assert until == SINCE + timedelta(minutes=9)

    def test_events_that_are_not_for_us_count_for_the_time_alone(self, server, configured):
        server.behaviour = paged([self.at(1), self.at(8, what="stored")])
        told, until = configured.news(SINCE)
        assert [one.attempt_id for one in told] == ["m1"]
        assert until == SINCE + timedelta(minutes=8)

    def test_our_key_is_taken_to_no_other_host(self, server, configured):
        server.behaviour = paged([self.at(1)], origin="http://evil.example")
        assert len(configured.news(SINCE)[0]) == len(server.requests) == 1

    def test_a_provider_that_is_down_is_a_failure_and_nothing_read(self, server, configured):
        server.behaviour = answering(error(503, "later"))
        with pytest.raises(Unavailable):
            configured.news(SINCE)


@pytest.mark.parametrize("domain", ["mg.shop.example/x", "mg.shop.example%2Fx", "mg", "bücher.de"])
def test_a_domain_that_would_be_another_path_is_no_domain(domain):
    with pytest.raises(BadSettings, match="MAILGUN_DOMAIN"):
        MailgunProvider.configure({**SETTINGS, "MAILGUN_DOMAIN": domain}, Timeouts())


def test_the_united_states_are_the_default_region():
    assert MailgunProvider.configure(SETTINGS, Timeouts()).base_url == "https://api.mailgun.net"

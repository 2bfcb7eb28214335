"""Routes: which one is for a message, the order that it gives, and how it is said."""

from collections import Counter
from datetime import datetime
from functools import cache

import pytest
from msgspec.structs import replace
from redis import Redis

from app.core.ids import new_message_id
from app.core.models import Message, RecipientState
from app.core.route_book import RouteBook
from app.core.router import Candidate, choose
from app.core.routes import Place, Route, RouteTable, order_of
from app.core.scripting import Scripts, StoreUnavailable
from tests.core.test_delivery import Service
from tests.scripted import message

CONFIGURED = ("mailgun", "sendgrid", "ses")


def route(*providers: str, name: str = "bulk", **more) -> Route:
    return Route(name, tuple(Place.parse(p) for p in providers), **more)


def order(mail, *routes: Route, configured=CONFIGURED):
    return order_of(mail, configured, RouteTable(routes, 1))


def why(mail, found) -> str:
    return choose(mail, [Candidate(name) for name in found.providers], found).why


def test_the_first_route_that_is_for_a_message_counts(clock):
    mail = message(clock())
    found = order(
        mail,
        route("ses", name="news", tags=("newsletter",)),
        route("sendgrid", name="orders", tags=("receipt", "order")),
        route("mailgun", name="rest"),
    )
    assert found.providers == ("sendgrid",)
    assert why(mail, found) == "first in the route 'orders'"


def test_without_a_route_for_it_a_message_has_the_order_of_the_settings(clock):
    mail = message(clock())
    found = order(mail, route("ses", tags=("newsletter",)))
    assert found.providers == CONFIGURED
    assert why(mail, found) == "first in the order"


@pytest.mark.parametrize(
    ("domains", "to", "holds"),
    [
        (("gmail.com",), ("ann@gmail.com",), True),
        (("gmail.com",), ("ann@GMail.com",), True),
        (("gmail.com",), ("ann@sub.gmail.com",), False),
        (("gmail.com",), ("ann@notgmail.com",), False),
        (("*.example.net",), ("ann@mail.example.net",), True),
        (("*.example.net",), ("ann@a.b.example.net",), True),
        (("*.example.net",), ("ann@example.net",), False),
        (("*.example.net", "example.net"), ("ann@example.net", "bob@x.example.net"), True),
        (("gmail.com",), ("ann@gmail.com", "bob@example.net"), False),
    ],
)
def test_a_route_by_domain_is_for_mail_all_of_whose_recipients_are_there(clock, domains, to, holds):
    found = order(message(clock(), *to), route("ses", domains=domains))
    assert (found.providers == ("ses",)) is holds


def test_only_recipients_to_whom_it_is_still_to_be_sent_count(clock):
    mail = message(clock(), "ann@gmail.com", "bob@example.net")
    gone = replace(mail.recipients[1], state=RecipientState.FAILED)
    rest = replace(mail, recipients=(mail.recipients[0], gone))
    assert order(rest, route("ses", domains=("gmail.com",))).providers == ("ses",)


def test_tags_and_domains_must_both_fit_where_both_are_named(clock):
    narrow = route("ses", tags=("order",), domains=("gmail.com",))
    assert order(message(clock(), "ann@gmail.com"), narrow).providers == ("ses",)
    assert order(message(clock(), "ann@example.net"), narrow).providers == CONFIGURED


def test_the_messages_own_order_and_that_of_a_resend_go_before_routes(clock):
    mail = message(clock(), providers=("sendgrid",))
    assert order(mail, route("ses")).providers == ("sendgrid",)
    again = replace(mail, order=("mailgun",))
    assert order(again, route("ses")).providers == ("mailgun",)
    assert why(again, order(again, route("ses"))) == "first in the message's own order"


@cache
def twenty_thousand(now: datetime) -> list[Message]:
    return [message(now, id=new_message_id(n)) for n in range(20_000)]


@pytest.mark.parametrize("share", [0.5, 10, 50, 99])
def test_a_share_of_the_messages_is_offered_to_that_provider_first(clock, share):
    shared = route(f"ses:{share}%", "mailgun", "sendgrid")
    mails = twenty_thousand(clock())
    firsts = Counter(order(mail, shared).providers for mail in mails)
    assert set(firsts) == {("ses", "mailgun", "sendgrid"), ("mailgun", "sendgrid", "ses")}
    drawn = firsts["ses", "mailgun", "sendgrid"] / len(mails)
    # Four standard deviations.
    assert drawn == pytest.approx(share / 100, abs=4 * (share / 100 / len(mails)) ** 0.5)


def test_shares_of_all_messages_split_them_among_the_providers(clock):
    halves = route("ses:50%", "mailgun:30%", "sendgrid:20%")
    mails = [message(clock(), id=new_message_id(n)) for n in range(10_000)]
    firsts = Counter(order(mail, halves).providers[0] for mail in mails)
    assert firsts["ses"] == pytest.approx(5000, abs=200)
    assert firsts["mailgun"] == pytest.approx(3000, abs=200)
    assert firsts["sendgrid"] == pytest.approx(2000, abs=200)


def test_a_message_falls_into_the_same_share_every_time_and_into_a_larger_one_too(clock):
    few, more = route("ses:10%", "mailgun"), route("ses:20%", "mailgun")
    for n in range(500):
        mail = message(clock(), id=new_message_id(n))
        assert order(mail, few) == order(mail, few)
        if order(mail, few).providers[0] == "ses":
            assert order(mail, more).providers[0] == "ses"
            assert why(mail, order(mail, few)) == "by its share of 10 % in the route 'bulk'"


def test_a_provider_of_a_route_that_is_no_longer_set_up_is_left_out_and_that_is_said(clock):
    mail = message(clock())
    found = order(mail, route("ses:10%", "pigeon", "sendgrid"), configured=("mailgun", "sendgrid"))
    assert found.providers == ("sendgrid",)
    assert why(mail, found) == (
        "first in the route 'bulk'; ses is in the route 'bulk' and not set up; "
        "pigeon is in the route 'bulk' and not set up"
    )


def test_a_route_without_any_provider_that_is_set_up_is_passed_over(clock):
    mail = message(clock())
    found = order(mail, route("pigeon"))
    assert found.providers == CONFIGURED
    assert why(mail, found) == "first in the order; no provider of the route 'bulk' is set up"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("ses", Place("ses")),
        ("ses:10%", Place("ses", 1000)),
        ("ses:0.5%", Place("ses", 50)),
        ("ses:12.34%", Place("ses", 1234)),
    ],
)
def test_a_place_is_written_as_it_is_read(text, place):
    assert Place.parse(text) == place
    assert str(place) == text


@pytest.mark.parametrize("text", ["", "ses:", "ses:0%", "ses:0.00%", "ses:100%", "ses:-1%", "a:b"])
def test_what_is_no_place_is_not_read_as_one(text):
    with pytest.raises(ValueError, match="neither a provider"):
        Place.parse(text)


TABLE = (route("ses:10%", "mailgun", tags=("ü",)), route("mailgun", domains=("*.example.net",)))


def test_what_is_written_is_read_by_all_and_every_write_counts(redis: Redis):
    scripts = Scripts(redis)
    book, other = RouteBook(scripts), RouteBook(scripts, freshness=0)
    assert book.current() == RouteTable()
    assert book.replace(TABLE) == RouteTable(TABLE, 1)
    assert other.table() == other.current() == RouteTable(TABLE, 1)
    assert book.replace(TABLE[:1], seen=1) == RouteTable(TABLE[:1], 2)
    assert other.table() == RouteTable(TABLE[:1], 2)


def test_whoever_has_seen_an_older_version_writes_nothing(redis: Redis):
    book = RouteBook(Scripts(redis))
    assert book.replace(TABLE, seen=0) is not None
    assert book.replace((), seen=0) is None
    assert book.current() == RouteTable(TABLE, 1)


class Away:
    """Scripts over a Redis that answers, and then does not."""

    def __init__(self, redis: Redis) -> None:
        self._scripts = Scripts(redis)
        self.away = False
        self.reads = 0

    def read(self, command):
        self.reads += 1
        if self.away:
            raise StoreUnavailable("away")
        return self._scripts.read(command)


def test_routes_are_read_once_in_a_while_and_kept_while_redis_is_away(redis: Redis):
    RouteBook(Scripts(redis)).replace(TABLE)
    scripts, now = Away(redis), [0.0]
    book = RouteBook(scripts, freshness=1, monotonic=lambda: now[0])
    assert {book.table().version for _ in range(100)} == {1}
    assert scripts.reads == 1
    scripts.away, now[0] = True, 1.5
    assert {book.table().version for _ in range(100)} == {1}
    assert scripts.reads == 2


def test_a_mail_goes_by_its_route_and_its_attempt_says_so(redis: Redis, clock):
    RouteBook(Scripts(redis)).replace((route("ses", "mailgun", tags=("order",)),))
    sent = Service(redis, clock).send()
    assert sent.provider == "ses"
    assert sent.attempts[0].why == "first in the route 'bulk'"

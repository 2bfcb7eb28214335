"""The suppression list: how addresses are compared, what puts them there, and what it keeps out."""

import dataclasses
from datetime import timedelta

import pytest
from msgspec.structs import replace

from app.core import keys, suppression
from app.core.models import Happening, MessageState, Outcome, RecipientState
from app.core.scripting import Scripts, StoreUnavailable
from app.core.steps import Step
from app.core.store import Change, MessageStore
from app.core.suppression import REPORTED, Suppression, SuppressionReason, Suppressions, normal
from providers.errors import Unavailable, Unknown
from providers.types import Bounce, DeliveryEvent, EventType
from tests.core.examples import NOW, attempt, changed
from tests.core.examples import message as example
from tests.core.test_delivery import Service, states
from tests.scripted import BODY, message

ANN, BEN = "ann@example.net", "ben@example.net"
HARD = SuppressionReason.HARD_BOUNCE


@pytest.fixture
def suppressions(redis, clock) -> Suppressions:
    return Suppressions(Scripts(redis), clock)


@pytest.fixture
def service(redis, clock) -> Service:
    return Service(redis, clock)


def entry(email=ANN, reason=SuppressionReason.MANUAL, **fields) -> Suppression:
    return Suppression(normal(email), reason, "api:shop", NOW, **fields)


def reported(type_, bounce=None, recipient=ANN) -> Happening:
    return Happening("h1", type_, NOW, "mailgun", 1, recipient, bounce)


def told(redis, happening, to=(ANN,)) -> None:
    """A report, written as the step says."""
    before = example(to=to, attempts=(attempt("mailgun"),))
    for command in suppression.observe(Step(before, changed(before), (happening,))):
        redis.execute_command(*command)


@pytest.mark.parametrize(
    "spelling",
    ["Ann@MÜNCHEN.example", "ANN@xn--mnchen-3ya.example", " ann@mu\u0308nchen.Example "],
)
def test_neither_case_nor_the_spelling_of_a_domain_tells_addresses_apart(spelling):
    assert normal(spelling) == "ann@xn--mnchen-3ya.example"


@pytest.mark.parametrize("bounce", [None, *Bounce])
@pytest.mark.parametrize("kind", EventType)
def test_only_what_is_final_about_an_address_suppresses_it(redis, suppressions, kind, bounce):
    told(redis, reported(kind, bounce))
    found = suppressions.find([ANN, BEN])
    expected = REPORTED.get((kind, bounce))
    assert {email: e.reason for email, e in found.items()} == ({ANN: expected} if expected else {})


def test_a_report_says_who_and_when_and_because_of_what(redis, suppressions):
    told(redis, reported(EventType.BOUNCED, Bounce.HARD, "ANN@example.net"))
    message_id = example().id
    assert suppressions.of(ANN) == [Suppression(ANN, HARD, "mailgun", NOW, None, message_id)]
    assert redis.ttl(keys.SUPPRESSIONS) == -1


def test_a_report_without_a_recipient_is_about_the_only_one(redis, suppressions):
    told(redis, reported(EventType.COMPLAINED, recipient=""), to=(ANN, BEN))
    assert suppressions.find([ANN, BEN]) == {}
    told(redis, reported(EventType.COMPLAINED, recipient=""))
    assert list(suppressions.find([ANN, BEN])) == [ANN]


def test_a_report_of_no_message_of_ours_counts_as_well(redis, suppressions):
    event = DeliveryEvent("e1", EventType.BOUNCED, NOW, ANN, bounce=Bounce.HARD)
    for command in suppression.observe_stray("ses", event):
        redis.execute_command(*command)
    (found,) = suppressions.of(ANN)
    assert (found.source, found.message_id) == ("ses", None)
    assert not list(suppression.observe_stray("ses", dataclasses.replace(event, recipient="")))


def test_the_store_writes_the_suppression_with_the_report(redis, suppressions, clock):
    store = MessageStore(redis, observers=[suppression.observe])
    message_id = Service(redis, clock).send(ANN).id
    seen = store.get(message_id)
    complained = reported(EventType.COMPLAINED)
    assert store.move(Change(seen, replace(seen, reason="x"), happenings=(complained,)))
    assert suppressions.find([ANN])[ANN].reason is SuppressionReason.COMPLAINT


def test_no_reason_hides_another(suppressions):
    suppressions.add([entry(reason=HARD), entry(reason=SuppressionReason.UNSUBSCRIBED)])
    assert [e.reason for e in suppressions.of(ANN)] == [SuppressionReason.UNSUBSCRIBED, HARD]
    assert suppressions.find([ANN])[ANN].reason is SuppressionReason.UNSUBSCRIBED


def test_what_has_an_end_holds_until_then_and_is_forgotten(redis, suppressions, clock):
    until = clock() + timedelta(hours=1)
    suppressions.add([entry(until=until), entry(BEN, note="left")])
    assert list(suppressions.find([ANN, BEN])) == [ANN, BEN]
    clock.tick(3600)
    assert list(suppressions.find([ANN, BEN])) == [BEN]
    assert [e.email for e in suppressions.page(None, 10)[0]] == [BEN]
    assert redis.hlen(keys.SUPPRESSIONS) == redis.zcard(keys.SUPPRESSION_ORDER) == 1


def test_the_list_is_read_page_by_page_each_entry_once(suppressions):
    wanted = [entry(f"u{n:04}@example.net") for n in range(2105)]
    suppressions.add(wanted)
    found, after = [], None
    while True:
        page, after = suppressions.page(after, 500)
        found += page
        if after is None:
            break
    assert found == wanted


def test_taking_an_address_off_takes_all_its_reasons(redis, suppressions):
    suppressions.add([entry(reason=reason) for reason in SuppressionReason])
    assert suppressions.remove("ANN@Example.net")
    assert not suppressions.remove(ANN)
    assert suppressions.find([ANN]) == {}
    assert redis.exists(keys.SUPPRESSIONS, keys.SUPPRESSION_ORDER) == 0


def test_a_suppression_made_after_accepting_holds_when_the_mail_is_sent(service):
    message_id = service.accept(ANN)
    service.suppressions.add([entry(ANN, HARD)])
    service.work()
    sent = service.store.get(message_id)
    assert sent.state is MessageState.SUPPRESSED
    assert sent.recipients[0].reason == "suppressed since 2026-11-23 (hard_bounce, api:shop)"
    assert not sent.attempts
    assert not service.mailgun.asked
    assert not service.store.has_body(message_id)


def test_the_others_get_theirs_and_see_whom_it_was_for(service):
    message_id = service.accept(ANN, BEN)
    service.suppressions.add([entry(ANN)])
    service.work()
    sent = service.store.get(message_id)
    assert sent.state is MessageState.SENT
    assert states(sent) == [RecipientState.SUPPRESSED, RecipientState.SENT]
    (email,) = service.mailgun.asked
    assert [a.email for a in email.recipients] == [BEN]
    assert [a.email for a in email.header_to] == [ANN, BEN]
    assert not service.store.has_body(message_id)


def test_the_list_is_looked_at_before_every_attempt(service):
    def refuse_and_suppress(email):
        service.suppressions.add([entry(ANN)])
        raise Unavailable("away")

    service.mailgun.answers = [refuse_and_suppress]
    sent = service.send(ANN)
    assert sent.state is MessageState.SUPPRESSED
    assert [a.outcome for a in sent.attempts] == [Outcome.UNAVAILABLE]
    assert not service.sendgrid.asked


def test_whoever_may_have_got_a_copy_already_is_not_said_to_have_none(service):
    def doubt_and_suppress(email):
        service.suppressions.add([entry(ANN)])
        raise Unknown("read timeout")

    service.mailgun.answers = [doubt_and_suppress]
    sent = service.send(ANN)
    assert sent.state is MessageState.UNKNOWN
    assert states(sent) == [RecipientState.UNKNOWN]
    assert not service.sendgrid.asked


def test_an_override_is_sent_whatever_the_list_says(service, clock):
    service.suppressions.add([entry(ANN)])
    mail = message(clock(), ANN)
    overridden = replace(mail.envelope, override_suppression="asked for it by phone")
    service.store.accept([(replace(mail, envelope=overridden), BODY)], None)
    service.work()
    sent = service.store.get(mail.id)
    assert sent.state is MessageState.SENT
    assert sent.envelope.override_suppression == "asked for it by phone"


def test_the_mail_waits_while_nobody_can_read_the_list(redis, clock):
    class Away(Suppressions):
        times = 2

        def find(self, emails):
            if self.times:
                self.times -= 1
                raise StoreUnavailable("away")
            return super().find(emails)

    service = Service(redis, clock)
    service.suppressions = Away(Scripts(redis), clock)
    service.worker = service.new_worker("w1")
    service.suppressions.add([entry(ANN)])
    assert service.send(ANN).state is MessageState.SUPPRESSED
    assert service.suppressions.times == 0


def test_mail_that_asks_for_it_carries_the_headers_to_unsubscribe(service, clock):
    mail = message(clock(), ANN)
    asking = replace(mail.envelope, unsubscribe=True)
    service.store.accept([(replace(mail, envelope=asking), BODY)], None)
    service.work()
    headers = dict(service.mailgun.asked[0].headers)
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = headers["List-Unsubscribe"]
    assert link.startswith("<https://mail.example.com/u/")
    who = service.links.read(link[1:-1].rpartition("/")[2])
    assert (who.email, who.message_id) == (ANN, mail.id)

"""Attachments: written with the message, read right before it is sent, and gone when it is."""

import threading

import pytest
from msgspec.structs import replace

from app.core.freight import Freight
from app.core.models import AttachedFile, Body, MessageState, RecipientState
from app.core.records import decode_attachments, encode_attachments
from app.core.store import Change
from providers.errors import AccountRefused, MessageRefused, Rejected, Unavailable
from providers.types import Attachment
from tests.core.test_delivery import POLICY, Service
from tests.scripted import message
from tests.waiting import until

FILES = (
    Attachment("Rechnung März.pdf", "application/pdf", b"%PDF\x00\xff\n\n"),
    Attachment("empty", "application/octet-stream", b""),
    Attachment("logo.png", "image/png", bytes(range(256)) * 1000, "logo"),
)


@pytest.fixture
def service(redis, clock) -> Service:
    return Service(redis, clock)


def accept(service, *to, **changes) -> str:
    sent = message(service.clock(), *to, **changes)
    about = tuple(
        AttachedFile(f.filename, f.content_type, len(f.content), f.content_id) for f in FILES
    )
    sent = replace(sent, envelope=replace(sent.envelope, attachments=about))
    service.store.accept([(sent, Body("Hello", None, FILES))], None)
    assert service.store.get(sent.id) == sent
    return sent.id


def kept(service, message_id: str) -> bool:
    return service.redis.exists(f"sp:attachments:{message_id}") == 1


@pytest.mark.parametrize("files", [(), FILES[:1], FILES])
def test_what_is_written_reads_back(files):
    assert decode_attachments(encode_attachments(files)) == files


def test_a_taken_message_comes_without_its_attachments(service):
    message_id = accept(service)
    claim = service.take()
    assert claim.body == Body("Hello", None)
    assert service.store.attachments(message_id) == FILES


def test_a_message_without_attachments_has_no_key_for_them(service):
    assert not kept(service, service.accept())


def test_attachments_are_sent_and_then_gone(service):
    message_id = accept(service)
    service.work()
    (email,) = service.mailgun.asked
    assert email.attachments == FILES
    assert not kept(service, message_id)
    assert service.store.get(message_id).envelope.attachments[2].size == 256_000


def test_the_next_provider_gets_them_too(service):
    service.mailgun.answers = [AccountRefused("key")]
    accept(service)
    service.work()
    assert service.mailgun.asked[0].attachments == service.sendgrid.asked[0].attachments == FILES


def test_a_provider_that_cannot_carry_them_is_passed_over_with_the_reason(service):
    service.mailgun.obstacle = "it has 26.0 MB, the limit is 25 MB"
    message_id = accept(service)
    service.work()
    (attempt,) = service.store.get(message_id).attempts
    assert attempt.provider == "sendgrid"
    assert "the limit is 25 MB" in attempt.why


def test_a_message_that_nobody_can_carry_fails_with_the_reason_and_keeps_them(service):
    for provider in service.providers.values():
        provider.answers = [MessageRefused("too large")]
    service.ses.obstacle = "it has 41.0 MB, the limit is 40 MB"
    message_id = accept(service)
    service.work()
    failed = service.store.get(message_id)
    assert failed.state is MessageState.FAILED
    assert failed.reason
    assert kept(service, message_id)
    assert service.redis.pttl(f"sp:attachments:{message_id}") > 0


def test_a_waiting_message_keeps_them_without_an_end(service):
    for provider in service.providers.values():
        provider.answers = [Unavailable("away")]
    message_id = accept(service)
    service.work()
    assert service.store.get(message_id).state is MessageState.RETRYING
    assert service.redis.pttl(f"sp:attachments:{message_id}") == -1


def test_a_dropped_dead_letter_loses_them(service):
    service.mailgun.answers = [Rejected("bad")]
    message_id = accept(service)
    service.work()
    assert kept(service, message_id)
    failed = service.store.get(message_id)
    service.store.move(Change(failed, failed, drop_body=True, keep=POLICY.retention))
    assert not kept(service, message_id)


def test_purging_takes_them_along(service):
    service.mailgun.answers = [Rejected("bad")]
    message_id = accept(service)
    service.work()
    service.clock.tick(8 * 24 * 3600)
    assert service.store.purge(service.clock(), 10) == 1
    assert not kept(service, message_id)


def test_a_message_whose_attachments_are_gone_is_not_sent_without_them(service):
    message_id = accept(service)
    service.redis.delete(f"sp:attachments:{message_id}")
    service.work()
    failed = service.store.get(message_id)
    assert (failed.state, failed.reason) == (MessageState.FAILED, "its attachments are gone")
    assert service.mailgun.asked == []


def test_those_who_are_left_out_are_still_shown_to_the_others(service):
    service.mailgun.answers = [Rejected("no such user", recipients=("bob@example.net",))]
    message_id = accept(service, "ann@example.net", "bob@example.net")
    service.work()
    sent = service.store.get(message_id)
    assert [r.state for r in sent.recipients] == [RecipientState.SENT, RecipientState.FAILED]
    first, second = service.mailgun.asked
    assert (first.shown_to, first.shown_cc, first.shows_others) == (None, None, False)
    assert [a.email for a in second.to] == ["ann@example.net"]
    assert [a.email for a in second.header_to] == ["ann@example.net", "bob@example.net"]
    assert second.header_cc == ()


def test_no_more_is_held_than_there_is_room_for_and_what_is_larger_is_held_alone():
    freight, entered = Freight(100), []

    def hold(size: int, over: threading.Event) -> threading.Thread:
        def held() -> None:
            with freight.holding(size):
                entered.append(size)
                over.wait(5)

        thread = threading.Thread(target=held)
        thread.start()
        return thread

    small, large, nothing = threading.Event(), threading.Event(), threading.Event()
    threads = [hold(60, small)]
    until(lambda: entered == [60])
    threads += [hold(500, large), hold(0, nothing)]
    # Nothing is there to wait for where nothing is held.
    until(lambda: entered == [60, 0])
    small.set()
    until(lambda: entered == [60, 0, 500])
    threads.append(hold(1, small))
    large.set()
    until(lambda: entered == [60, 0, 500, 1])
    nothing.set()
    for thread in threads:
        thread.join(5)


def test_ten_megabytes_are_written_and_read(valkey, clock):
    service = Service(valkey, clock)
    large = Attachment("large", "application/octet-stream", bytes(range(250)) * 40_000)
    sent = message(clock())
    service.store.accept([(sent, Body("Hello", None, (large,)))], None)
    assert service.store.attachments(sent.id) == (large,)

"""What was sent: the list, one message, its fate, and checking one."""

import re
from datetime import timedelta
from itertools import chain

import pytest
from msgspec.structs import replace

from app.core import ids, lifecycle
from app.core.lifecycle import Verdict
from app.core.models import Attempt, Message, MessageState, Outcome
from app.core.store import Change
from tests.scripted import BODY, message

LEASE = timedelta(seconds=45)


@pytest.fixture
def keep(services, clock):
    """Stores a message as it stands, of the key `shop`."""

    def kept(*to: str, key: str = "shop", subject: str = "Your order", **changes) -> Message:
        made = message(clock(), *to, key=key, **changes)
        made = replace(made, envelope=replace(made.envelope, subject=subject))
        services.store.accept([(made, BODY)], None)
        clock.tick(1)
        return made

    return kept


@pytest.fixture
def claim(services, clock):
    def claimed(kept: Message) -> Message:
        return services.store.claim(kept.id, "worker", clock(), LEASE).message

    return claimed


@pytest.fixture
def ask(services, clock):
    """One attempt at the message, with that end, or none yet."""

    def asked(seen: Message, provider: str, verdict: Verdict | None) -> Message:
        attempt_id = ids.attempt_id(seen.id, len(seen.attempts) + 1)
        attempt = Attempt(attempt_id, provider, "first in the order", seen.round, clock())
        after = lifecycle.attempt_opened(seen, attempt)
        clock.tick(1)
        if verdict is not None:
            after = lifecycle.attempt_closed(after, verdict, clock())
        return services.store.move(Change(seen, after))

    return asked


UNAVAILABLE = Verdict(Outcome.UNAVAILABLE, "503 Service Unavailable", duration_ms=12)
UNKNOWN = Verdict(Outcome.UNKNOWN, "no answer in time", duration_ms=15_000)
ACCEPTED = Verdict(Outcome.ACCEPTED, provider_message_id="<1@mg.example>", duration_ms=1500)
REFUSED = Verdict(Outcome.REFUSED, "403 key is not valid", scope="account", duration_ms=3)


def subjects(page: str) -> list[str]:
    return re.findall(r'class="mail-subject"[^>]*>([^<]*)<', page)


def text_of(page: str) -> str:
    """The words of a page, without its markup."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_an_empty_outbox_says_how_to_send_a_first_mail(visitor):
    page = visitor.get("/outbox").text
    assert "curl http://127.0.0.1:8000/messages" in page
    assert 'href="/"' in page


def test_the_outbox_has_the_newest_first_and_only_those_of_the_key(visitor, keep):
    keep(subject="first")
    keep(subject="of somebody else", key="blog")
    keep("ann@example.net", "bob@example.org", subject="second")
    page = visitor.get("/outbox").text
    assert subjects(page) == ["second", "first"]
    assert "and 1 more" in page


def test_the_outbox_is_paged(visitor, keep):
    for number in range(45):
        keep(subject=f"mail {number}")
    seen, path = [], "/outbox"
    while path:
        page = visitor.get(path).text
        seen.append(subjects(page))
        older = re.search(r'<a href="([^"]*)">Older</a>', page)
        path = older and older[1].replace("&amp;", "&")
    assert [len(page) for page in seen] == [20, 20, 5]
    assert list(chain(*seen)) == [f"mail {number}" for number in reversed(range(45))]


def test_a_full_last_page_has_no_older_one(visitor, keep):
    for _ in range(20):
        keep()
    assert ">Older<" not in visitor.get("/outbox").text


def test_the_outbox_is_filtered_by_state(visitor, keep, claim):
    keep(subject="waits")
    claim(keep(subject="is being sent"))
    assert subjects(visitor.get("/outbox?status=sending").text) == ["is being sent"]
    assert subjects(visitor.get("/outbox?status=queued").text) == ["waits"]
    empty = visitor.get("/outbox?status=sent").text
    assert subjects(empty) == []
    assert "There is nothing here." in empty


@pytest.mark.parametrize("query", ["status=lost", "after=msg_x", "after=%00"])
def test_a_part_of_the_outbox_that_cannot_be_is_a_400(visitor, query):
    assert visitor.get(f"/outbox?{query}").status_code == 400


def test_a_message_shows_everything_but_its_body(visitor, keep):
    kept = keep("ann@example.net", "bob@example.org", subject="Ann & <Bob>")
    page = visitor.get(f"/outbox/{kept.id}").text
    assert "<h1>Ann &amp; &lt;Bob&gt;</h1>" in page
    words = text_of(page)
    for word in (kept.id, "Shop &lt;orders@shop.example&gt;", "ann@example.net", "order: 17"):
        assert word in words
    assert "Hello" not in page


def test_a_message_of_another_key_is_not_there(visitor, keep):
    kept = keep(key="blog")
    for path in (f"/outbox/{kept.id}", f"/outbox/{kept.id}/fate", f"/check?id={kept.id}"):
        assert visitor.get(path).status_code == 404


def test_an_attempt_is_told_with_all_that_is_known(visitor, keep, claim, ask):
    sent = claim(keep())
    for provider, verdict in (
        ("mailgun", UNAVAILABLE),
        ("sendgrid", REFUSED),
        ("ses", ACCEPTED),
    ):
        sent = ask(sent, provider, verdict)
    words = text_of(visitor.get(f"/outbox/{sent.id}").text)
    assert "Sent Taken by ses." in words
    assert "mailgun Unavailable" in words
    assert "Why first in the order" in words
    assert "Reason 503 Service Unavailable" in words
    assert "2026-11-23 12:00:01 UTC, took 12 ms" in words
    assert "(account)" in words
    assert "took 1.5 s" in words
    assert "Its id &lt;1@mg.example&gt;" in words


def test_a_possible_duplicate_is_said_wherever_the_message_is_shown(visitor, keep, claim, ask):
    sent = ask(ask(claim(keep()), "mailgun", UNKNOWN), "sendgrid", ACCEPTED)
    for path in (f"/outbox/{sent.id}", f"/outbox/{sent.id}/fate", f"/check?id={sent.id}"):
        assert "It may have gone out twice." in visitor.get(path).text
    assert "Perhaps twice" in visitor.get("/outbox").text


def test_a_waiting_message_says_when_it_is_tried_again(visitor, services, keep, claim, ask, clock):
    seen = ask(claim(keep()), "mailgun", UNAVAILABLE)
    after = lifecycle.waiting(seen, clock() + timedelta(seconds=10), clock())
    services.store.move(Change(seen, after))
    words = text_of(visitor.get(f"/outbox/{seen.id}").text)
    assert "Retrying" in words
    assert "Next attempt in 10 seconds" in words


def test_a_message_that_has_not_ended_is_followed_without_scripts_too(visitor, keep, claim, ask):
    kept = keep()
    refresh = '<noscript><meta http-equiv="refresh"'
    page = visitor.get(f"/outbox/{kept.id}").text
    assert refresh in page
    assert "data-ended" not in page
    ask(claim(kept), "mailgun", ACCEPTED)
    page = visitor.get(f"/outbox/{kept.id}").text
    assert refresh not in page
    assert "data-ended" in page


def test_the_fate_is_a_fragment_that_is_sent_only_when_it_changed(visitor, keep, claim, ask):
    kept = keep()
    path = f"/outbox/{kept.id}/fate"
    first = visitor.get(path)
    assert first.text.lstrip().startswith('<div class="fate"')
    assert "<html" not in first.text
    assert visitor.get(path, **{"If-None-Match": first.headers["ETag"]}).status_code == 304
    ask(claim(kept), "mailgun", None)
    changed = visitor.get(path, **{"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert 'data-news="Sending. Asking mailgun to take it."' in changed.text
    assert "Under way" in changed.text


def test_many_attempts_are_shown_last_ones_first_in_sight(visitor, keep, claim, ask):
    seen = claim(keep())
    for _ in range(12):
        seen = ask(seen, "mailgun", UNAVAILABLE)
    page = visitor.get(f"/outbox/{seen.id}").text
    assert "Show the 3 attempts before these" in page
    assert page.count('class="attempt ') == 12


@pytest.mark.parametrize("state", MessageState)
def test_every_state_can_be_shown(visitor, keep, clock, state):
    due = clock() + timedelta(hours=1) if state in ("scheduled", "retrying") else None
    kept = keep(state=state, next_attempt_at=due)
    for path in ("/outbox", f"/outbox/{kept.id}", f"/check?id={kept.id}"):
        page = visitor.get(path)
        assert page.status_code == 200
        assert state.capitalize() in page.text


def test_a_check_says_what_became_of_a_message(visitor, keep):
    kept = keep("ann@example.net", "bob@example.org")
    words = text_of(visitor.get(f"/check?id={kept.id}").text)
    assert "Queued" in words
    assert "bob@example.org" in words


def test_a_check_is_narrowed_to_one_recipient(visitor, keep):
    kept = keep("ann@example.net", "bob@example.org")
    words = text_of(visitor.get(f"/check?id={kept.id}&email=Bob@Example.org").text)
    assert "To bob@example.org Queued" in words
    assert "ann@example.net" not in words


@pytest.mark.parametrize("before", ["http://127.0.0.1:8000/status/", "  ", "/outbox/"])
def test_a_check_takes_what_people_paste(visitor, keep, before):
    kept = keep()
    answer = visitor.client.get("/check", query_string={"id": f"{before}{kept.id.upper()} "})
    assert answer.status_code == 200
    assert "Queued" in answer.text


@pytest.mark.parametrize(
    ("query", "field", "text"),
    [
        ("id=", "id", "Please fill this in."),
        ("id=17", "id", "not the id of a message"),
        ("id=%00%F0", "id", "not the id of a message"),
        ("id=msg_00000000010000000000000000", "id", "no message with this id"),
        ("id={known}&email=eve@example.net", "email", "did not go to this address"),
    ],
)
def test_a_check_that_finds_nothing_says_why_under_the_field(visitor, keep, query, field, text):
    kept = keep()
    answer = visitor.get("/check?" + query.format(known=kept.id))
    assert answer.status_code == 404
    fault = re.search(rf'id="check-{field}-fault">([^<]*)<', answer.text)
    assert text in fault[1]


def test_a_store_that_is_away_is_said_on_a_page(visitor, keep, redis_server):
    kept = keep()
    redis_server.connected = False
    for path in ("/outbox", f"/outbox/{kept.id}", f"/check?id={kept.id}"):
        answer = visitor.get(path)
        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
        assert "<h1>Not available right now</h1>" in answer.text

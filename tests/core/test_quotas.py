"""Quotas: never more than they say, whoever asks, and what becomes of the mail beyond them.

What has to wait for a server's time is done over the real one alone.
"""

import itertools
import threading
import time
from datetime import timedelta

import pytest
from redis import Redis

from app.core import keys, lifecycle
from app.core.breaker import BreakerPolicy
from app.core.models import MessageState
from app.core.quotas import Quotas
from app.core.scripting import Scripts, StoreUnavailable
from app.core.store import Change
from app.core.tokens import Grant, Shortage, Window, a_day, a_second
from app.services import connect
from providers.errors import Unknown
from tests.core.test_delivery import Service, outcomes
from tests.waiting import until

POLICY = BreakerPolicy(3, timedelta(seconds=30), timedelta(seconds=45))


class Counted(Scripts):
    """Scripts that count their round trips, and can be away."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.trips = 0
        self.away = False

    def run(self, name, script_keys, arguments):
        self.trips += 1
        if self.away:
            raise StoreUnavailable("away")
        return super().run(name, script_keys, arguments)


def quotas(redis: Redis, **windows: Window | tuple[Window, ...]) -> Quotas:
    as_tuples = {n: of if isinstance(of, tuple) else (of,) for n, of in windows.items()}
    return Quotas(as_tuples, Counted(redis))


def taken(of: Quotas, name: str, recipients: int = 1, most: int = 1000) -> int:
    """How many mails find a place now, one after the other."""
    return next(n for n in range(most) if isinstance(of.take(name, recipients), Shortage))


def test_as_many_find_a_place_within_a_second_as_the_quota_says(valkey: Redis):
    of = quotas(valkey, ses=a_second(20, counts_recipients=False))
    began = time.monotonic()
    assert taken(of, "ses") == 20
    shortage = of.take("ses", 1)
    assert shortage.words == "has been given its 20 messages a second"
    assert shortage.seconds <= 1.1
    assert time.monotonic() - began + shortage.seconds >= 1
    until(lambda: isinstance(of.take("ses", 1), Grant))
    assert 1 <= time.monotonic() - began < 1.5


def test_all_processes_share_a_quota(redis: Redis):
    of, other = (quotas(redis, ses=a_second(20, counts_recipients=False)) for _ in range(2))
    assert taken(of, "ses") + taken(other, "ses") <= 20
    assert taken(other, "ses") == 0


def test_recipients_count_where_the_provider_counts_them(redis: Redis):
    of = quotas(
        redis,
        ses=a_second(20, counts_recipients=True),
        mailgun=a_second(20, counts_recipients=False),
    )
    assert taken(of, "ses", recipients=5) == 4
    assert taken(of, "mailgun", recipients=5) == 20


def test_a_days_quota_counts_recipients_and_holds_beside_that_of_a_second(redis: Redis):
    of = quotas(redis, ses=(a_second(50, counts_recipients=False), a_day(30)))
    assert taken(of, "ses", recipients=3) == 10
    shortage = of.take("ses", 1)
    assert shortage.words == "has been given its 30 recipients a day"
    assert 86_000 < shortage.seconds < 87_000
    assert 0 < redis.pttl(keys.quota("ses", "day")) <= 87_000_000
    assert of.used() == {"ses": (10, 30)}


def test_a_mail_to_more_than_a_seconds_worth_has_it_for_itself_and_is_paid_for_after(valkey: Redis):
    of = quotas(valkey, ses=a_second(10, counts_recipients=True))
    assert of.obstacle("ses", 35) is None
    began = time.monotonic()
    assert isinstance(of.take("ses", 35), Grant)
    assert isinstance(of.take("ses", 1), Shortage)
    until(lambda: isinstance(of.take("ses", 1), Grant))
    # 30 for three seconds, and room beside the other five in the fourth.
    assert 3 <= time.monotonic() - began < 4


def test_a_mail_to_more_than_a_days_worth_never_has_a_place(redis: Redis):
    of = quotas(redis, ses=a_day(30))
    assert of.obstacle("ses", 30) is None
    assert of.obstacle("ses", 31) == "it is given 30 recipients a day"
    assert of.obstacle("mailgun", 31) is None


def test_what_is_too_old_leaves_a_window_slot_by_slot(valkey: Redis):
    of = quotas(valkey, ses=Window("day", 10, 400, 50, counts_recipients=True))
    assert isinstance(of.take("ses", 6), Grant)
    time.sleep(0.25)
    assert isinstance(of.take("ses", 4), Grant)
    assert isinstance(of.take("ses", 1), Shortage)
    until(lambda: isinstance(of.take("ses", 6), Grant), seconds=2)
    assert isinstance(of.take("ses", 1), Shortage)
    until(lambda: isinstance(of.take("ses", 4), Grant), seconds=2)


class Worker:
    """A process with some threads, which takes what it gets until a time, and notes when.

    A place is taken at the moment at which the quotas look at the clock for the last time: a thread
    that is kept from going on after that has taken it all the same.
    """

    def __init__(self, url: str, window: Window, sizes: list[int]) -> None:
        self.client = connect(url)
        self.looked = threading.local()
        self.quotas = Quotas({"ses": (window,)}, Counted(self.client), self._look)
        self.notes: list[tuple[float, int]] = []
        self.threads = [threading.Thread(target=self._work, args=(size,)) for size in sizes]

    def _look(self) -> float:
        self.looked.at = time.monotonic()
        return self.looked.at

    def _work(self, size: int) -> None:
        while (now := time.monotonic()) < self.end:
            if isinstance(self.quotas.take("ses", size), Grant):
                self.notes.append((self.looked.at, size))
                time.sleep(0.001 * (hash(now) % 5))
            else:
                time.sleep(0.01)

    def start(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join()
        self.client.close()


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [
        (7, [1, 1]),
        pytest.param(60, [1, 2, 5], marks=pytest.mark.thorough),
        pytest.param(400, [1, 1, 1], marks=pytest.mark.thorough),
        (1500, [1, 3, 1, 2]),
    ],
)
def test_no_stretch_of_a_second_has_more_than_the_quota_however_many_ask(
    valkey: Redis, valkey_url: str, limit: int, sizes: list[int]
):
    workers = [Worker(valkey_url, a_second(limit, counts_recipients=True), sizes) for _ in "abc"]
    for worker in workers:
        worker.start(2.5)
    for worker in workers:
        worker.join()
    notes = sorted(note for worker in workers for note in worker.notes)
    first, within = 0, 0
    for at, size in notes:
        within += size
        while at - notes[first][0] >= 1:
            within -= notes[first][1]
            first += 1
        assert within <= limit
    # What is left over is given back: the quota is used up again and again.
    if limit < 1000:
        assert sum(size for _, size in notes) >= 1.8 * limit


def test_the_more_is_sent_the_more_mail_a_round_trip_serves(valkey: Redis):
    scripts = Counted(valkey)
    of = Quotas({"ses": (a_second(20_000, counts_recipients=False),)}, scripts)
    assert all(isinstance(of.take("ses", 1), Grant) for _ in range(5000))
    assert scripts.trips < 250


def test_who_takes_little_sets_little_aside(redis: Redis):
    of = quotas(redis, ses=a_second(1000, counts_recipients=False))
    for _ in range(3):
        assert isinstance(of.take("ses", 1), Grant)
        time.sleep(0.06)
    assert of.used() == {"ses": (3,)}


def test_a_provider_without_a_quota_costs_no_round_trip(redis: Redis):
    scripts = Counted(redis)
    of = Quotas({"ses": (a_day(1),), "mailgun": ()}, scripts)
    assert all(
        isinstance(of.take(name, 50), Grant) for name in ("mailgun", "sendgrid") for _ in range(99)
    )
    assert of.of("mailgun") == ()
    assert scripts.trips == 0


def test_that_a_quota_is_used_up_is_known_without_asking_again(redis: Redis):
    scripts = Counted(redis)
    of = Quotas({"ses": (a_day(5),)}, scripts)
    taken(of, "ses")
    trips = scripts.trips
    assert all(isinstance(of.take("ses", 1), Shortage) for _ in range(99))
    assert scripts.trips == trips


def test_who_comes_next_is_asked_in_the_same_round_trip(redis: Redis):
    one, two, three = (a_second(n, counts_recipients=False) for n in (2, 1, 30))
    of = quotas(redis, mailgun=one, sendgrid=two, ses=three)
    taken(of, "mailgun")
    taken(of, "sendgrid")
    scripts = Counted(redis)
    fresh = Quotas({"mailgun": (one,), "sendgrid": (two,), "ses": (three,)}, scripts)
    assert isinstance(fresh.take("mailgun", 1, ["sendgrid", "ses"]), Shortage)
    assert isinstance(fresh.take("sendgrid", 1, ["ses"]), Shortage)
    assert isinstance(fresh.take("ses", 1), Grant)
    assert scripts.trips == 1


def test_without_redis_nothing_more_is_given_and_it_is_not_asked_all_the_time(redis: Redis):
    scripts, now = Counted(redis), [0.0]
    of = Quotas({"ses": (a_second(5, False),)}, scripts, monotonic=lambda: now[0])
    scripts.away = True
    for _ in range(9):
        assert of.take("ses", 1).words == "has a quota that cannot be looked at now"
    assert scripts.trips == 1
    scripts.away, now[0] = False, 1.0
    assert isinstance(of.take("ses", 1), Grant)


def test_mail_without_a_place_stands_in_line(redis: Redis):
    of = quotas(redis, ses=a_second(10, counts_recipients=False))
    taken(of, "ses")
    turns = [of.line_up("ses", 1) for _ in range(5)]
    steps = [after - before for before, after in itertools.pairwise(turns)]
    assert steps == [pytest.approx(0.1, abs=0.05)] * 4
    assert 0 < turns[0] <= 1.1


def test_a_place_that_was_not_used_is_for_another_mail(redis: Redis):
    of = quotas(redis, mailgun=(a_second(5, counts_recipients=False), a_day(3)))
    grant = of.take("mailgun", 3)
    of.give_back(grant)
    assert isinstance(of.take("mailgun", 3), Grant)
    assert isinstance(of.take("mailgun", 1), Shortage)
    assert of.used() == {"mailgun": (1, 3)}


def test_a_place_of_earlier_tokens_stays_taken(redis: Redis):
    now = [0.0]
    of = Quotas({"ses": (a_day(4),)}, Counted(redis), monotonic=lambda: now[0])
    grant = of.take("ses", 1)
    now[0] = 1.0
    assert isinstance(of.take("ses", 1), Grant)
    of.give_back(grant)
    assert taken(of, "ses") == 2


def test_what_is_given_back_of_more_than_a_seconds_worth_is_not_given_all_at_once(redis: Redis):
    of = quotas(redis, ses=a_second(10, counts_recipients=True))
    of.give_back(of.take("ses", 35))
    assert isinstance(of.take("ses", 1), Shortage)


@pytest.fixture
def service(redis: Redis, clock) -> Service:
    made = Service(redis, clock)
    made.quotas = quotas(redis, mailgun=a_day(2), ses=a_day(1))
    made.worker = made.new_worker("w1")
    return made


def test_mail_beyond_a_quota_goes_to_the_next_provider_and_says_so(service):
    sent = [service.send() for _ in range(3)]
    assert [mail.provider for mail in sent] == ["mailgun", "mailgun", "sendgrid"]
    assert sent[2].attempts[0].why == (
        "next in the order; mailgun has been given its 2 recipients a day"
    )
    assert len(sent[2].attempts) == 1


def test_when_all_quotas_are_used_up_mail_waits_and_no_round_is_spent(service, clock):
    order = ("mailgun", "ses")
    sent = [service.send(providers=order) for _ in range(5)]
    assert [mail.provider for mail in sent] == ["mailgun", "mailgun", "ses", None, None]
    for waits in sent[3:]:
        assert waits.state is MessageState.RETRYING
        assert waits.round == 1
        assert outcomes(waits) == []
        # The day is over later than the message, which has a last chance before that.
        assert waits.next_attempt_at < waits.expires_at


def test_a_mail_that_is_too_much_for_a_days_quota_is_for_others(service):
    sent = service.send("a@example.net", "b@example.net", "c@example.net")
    assert sent.provider == "sendgrid"
    assert "mailgun cannot carry it: it is given 2 recipients a day" in sent.attempts[0].why


def test_a_shortage_of_seconds_is_over_in_seconds(valkey: Redis, clock):
    service = Service(valkey, clock)
    service.quotas = quotas(valkey, mailgun=a_second(1, counts_recipients=False))
    service.worker = service.new_worker("w1")
    order = ("mailgun",)
    assert service.send(providers=order).provider == "mailgun"
    waits = service.send(providers=order)
    assert waits.next_attempt_at - clock() <= timedelta(seconds=1.1)
    time.sleep(1.1)
    clock.tick(1.1)
    service.work()
    assert service.store.get(waits.id).provider == "mailgun"
    assert service.store.get(waits.id).round == 1


def test_a_call_that_is_made_again_takes_its_place(service, clock):
    service.mailgun.repeatable = timedelta(hours=23)
    service.mailgun.answers = [Unknown("read timeout")] * 9
    mail = service.send()
    clock.tick(1)
    service.work()
    assert service.store.get(mail.id).attempts[0].repeats == 1
    assert service.quotas.used()["mailgun"] == (2,)
    clock.tick(2)
    service.work()
    # The day's quota is used up: nobody asks again, and what is in doubt stays so.
    assert len(service.mailgun.asked) == 2
    assert service.store.get(mail.id).attempts[0].unresolved


def test_an_attempt_that_was_not_opened_gives_its_place_back(service, clock):
    service.accept()
    claim = service.take()
    # It is called out of the worker's hands, which does not know it yet.
    service.store.move(Change(claim.message, lifecycle.queued(claim.message, clock()), ring=True))
    service.worker.deliver(claim)
    assert service.mailgun.asked == []
    assert service.quotas.used()["mailgun"] == (1,)
    service.work()
    assert service.send().provider == "mailgun"
    assert service.send().provider == "sendgrid"


def test_a_quota_holds_for_the_last_chance_of_a_message_too(service, clock):
    order = ("mailgun",)
    for _ in range(2):
        service.send(providers=order)
    waits = service.send(providers=order, expires_at=clock() + timedelta(minutes=5))
    clock.tick(245)
    service.work()
    assert len(service.mailgun.asked) == 2
    clock.tick(60)
    service.work()
    assert service.store.get(waits.id).state is MessageState.EXPIRED

"""What a schedule is made of: drawn from its seed before it begins.

No two schedules have the same weather: each kind of trouble is often, seldom or not there at all,
so that what needs calm between two faults has its chance as well as what needs many at once.
"""

from dataclasses import dataclass
from datetime import timedelta
from random import Random

from app.core.breaker import BreakerPolicy
from app.core.delivery import DeliveryPolicy
from app.core.models import Priority
from app.core.submit import Submission
from providers.types import Address
from tests.simulation.world import START

NAMES = ("mailgun", "sendgrid", "ses")
RETENTION = timedelta(days=7)

ANSWERS = {
    "accept": 4,
    "accept slowly": 2,
    "reject": 1,
    "reject some": 3,
    "refuse account": 1,
    "refuse sender": 1,
    "refuse message": 1,
    "unavailable": 2,
    "unavailable for a while": 1,
    "too many": 1,
    "unknown, accepted": 3,
    "unknown, accepted later": 2,
    "unknown, not accepted": 3,
    "breaks off": 1,
}
"""What a provider may do with a call, and how often."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A submission that a client makes, under a key or not, `times` times."""

    submission: Submission
    key: str | None
    times: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Rates are chances for each step, `lost` for each exchange with Redis, times in seconds."""

    workers: int
    room: int
    batched: bool
    letters: tuple[Letter, ...]
    providers: tuple[str, ...]
    tellers: frozenset[str]
    obstacles: frozenset[tuple[str, str]]
    answers: dict[str, int]
    expiry: timedelta
    delivery: DeliveryPolicy
    breaker: BreakerPolicy
    freshness: float
    sweep: float
    steps: int
    pace: tuple[int, ...]
    stay: float
    lost: float
    burst: float
    split: float
    crash: float
    web_crash: float
    freeze: float
    stop: float
    jump: float
    outage: float
    queue_loss: float
    extra_ring: float
    script_loss: float
    late_renewal: float
    operator: float
    evidence: float
    webhooks: float
    cancel: float


def draw(random: Random) -> Plan:
    """The plan of a schedule."""

    steps = random.choice((50, 150, 400))

    def some(share: float, *counts: int) -> float:
        """A rate: in a share of the schedules, one of these counts over all the steps."""
        return random.choice(counts) / steps if random.random() < share else 0.0

    providers = NAMES[: random.choice((1, 2, 2, 3))]
    lease = timedelta(seconds=random.choice((15, 45)))
    retries = random.choice(((2.0, 5.0), (10.0, 30.0)))
    letters = tuple(
        _letter(random, number, providers) for number in range(random.choice((1, 1, 2, 2, 3, 4)))
    )
    return Plan(
        workers=random.choice((2, 2, 2, 3, 4)),
        room=random.choice((1, 2, 2, 4)),
        batched=random.random() < 0.5,
        letters=letters,
        providers=providers,
        tellers=frozenset(n for n in providers if random.random() < 0.3),
        obstacles=frozenset(
            (name, letter.submission.tags[0])
            for name in providers
            for letter in letters
            if random.random() < 0.05
        ),
        answers=_answers(random),
        expiry=timedelta(seconds=random.choice((20, 120, 600))),
        delivery=DeliveryPolicy(
            retries,
            lease,
            RETENTION,
            last_chance=timedelta(seconds=random.choice((5, 30))),
            grace=timedelta(seconds=random.choice((0, 20))),
        ),
        breaker=BreakerPolicy(
            random.choice((1, 2, 3)), timedelta(seconds=random.choice((5, 20))), lease
        ),
        freshness=random.choice((0.0, 0.0, 0.2)),
        sweep=5.0,
        steps=steps,
        pace=random.choice(((0,), (0, 1, 5), (0, 10, 100), (0, 0, 0, 0, 0, 4000))),
        stay=random.choice((0.0, 0.5, 0.9)),
        lost=random.choice((0.0, 0.0, 0.02, 0.1)),
        burst=random.choice((0.0, 0.5)),
        split=random.choice((0.0, 0.3)),
        crash=some(0.5, 1, 2, 5),
        web_crash=some(0.3, 1, 2),
        freeze=some(0.6, 1, 2, 5),
        stop=some(0.2, 1, 2),
        jump=some(0.3, 1, 3),
        outage=some(0.3, 1),
        queue_loss=some(0.3, 1, 3),
        extra_ring=some(0.3, 1, 5),
        script_loss=some(0.2, 1),
        late_renewal=random.choice((0.0, 0.0, 0.5)),
        operator=some(0.6, 2, 6),
        evidence=some(0.5, 2, 10),
        webhooks=some(0.5, 2, 8),
        cancel=some(0.3, 1, 3),
    )


def _answers(random: Random) -> dict[str, int]:
    """Some of the answers: some providers are well, some only ever refuse."""
    share = random.choice((0.2, 0.5, 1.0))
    chosen = {name: weight for name, weight in ANSWERS.items() if random.random() < share}
    return chosen or {"accept": 1}


def _letter(random: Random, number: int, providers: tuple[str, ...]) -> Letter:
    people = tuple(Address(f"{name}{number}@example.net") for name in ("ann", "bob", "eve"))
    keyed = random.random() < 0.5
    own_order = random.random() < 0.15
    later = random.choice((0.5, 10, 100)) if random.random() < 0.2 else None
    return Letter(
        Submission(
            sender=Address(random.choice(("orders@shop.example", "news@shop.example"))),
            to=people[: random.choice((1, 1, 2, 3))],
            subject=f"letter {number}",
            text=f"Hello, this is letter {number}.",
            tags=(f"letter-{number}",),
            providers=tuple(reversed(providers)) if own_order else (),
            on_unknown=random.choice(("failover", "hold")),
            failover_on_block=random.random() < 0.3,
            send_at=None if later is None else START + timedelta(seconds=later),
            priority=random.choice((Priority.NORMAL, Priority.NORMAL, *Priority)),
        ),
        key=f"key-{number}" if keyed else None,
        times=random.choice((1, 1, 2, 3)) if keyed else 1,
    )

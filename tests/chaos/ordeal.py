"""What every run has in common: mail flows, blows fall, then peace, then the reckoning."""

import time
from collections.abc import Callable

from tests.chaos import fates
from tests.chaos.judge import Judge
from tests.chaos.ledger import Blow, Row, balance
from tests.chaos.load import Load
from tests.chaos.service import Service

_SECONDS_TO_BE_ANSWERED = 60.0
# Long enough for blows to fall into calls that are under way.
_SECONDS_OF_A_CALL = 0.3


def undergo(
    name: str,
    service: Service,
    judge: Judge,
    seed: str,
    deal: Callable[[list[Blow]], None],
    seconds_to_end: float,
) -> Row:
    """The row of a run in which `deal` deals the blows, and notes them.

    When it is over every message has `seconds_to_end` to come to its end.
    """
    judge.switch_all("slow", _SECONDS_OF_A_CALL)
    load = Load(service.url, service.key, seed)
    blows: list[Blow] = []
    began = time.monotonic()
    try:
        load.start()
        deal(blows)
        lasted = time.monotonic() - began
        judge.switch_all("up")
        load.finish(_SECONDS_TO_BE_ANSWERED)
    finally:
        load.give_up()
    book = load.book
    statuses = fates.read(service.url, service.key, book.accepted, seconds_to_end)
    service.stop()
    # Counted when nobody is left who could send anything.
    return balance(
        name,
        book.accepted,
        judge.arrivals(),
        statuses,
        blows,
        lasted,
        book.in_doubt,
        [*service.faults, *book.odd],
    )

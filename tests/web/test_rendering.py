"""Times, durations and addresses as the pages show them."""

from datetime import timedelta, timezone

import pytest

from app.web.rendering import duration, exact, mailbox, relative
from providers.types import Address


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (0.4, "just now"),
        (-1, "1 second ago"),
        (-59, "59 seconds ago"),
        (-60, "1 minute ago"),
        (-3599, "59 minutes ago"),
        (-7200, "2 hours ago"),
        (-86400 * 3, "3 days ago"),
        (1, "in 1 second"),
        (90, "in 1 minute"),
        (86400, "in 1 day"),
    ],
)
def test_times_are_relative_in_the_largest_unit(clock, seconds, text):
    assert relative(clock() + timedelta(seconds=seconds), clock()) == text


def test_exact_times_are_in_utc(clock):
    assert exact(clock().astimezone(timezone(timedelta(hours=5)))) == "2026-11-23 12:00:00 UTC"


def test_durations_are_short():
    assert [duration(ms) for ms in (0, 999, 1000, 15_040)] == ["0 ms", "999 ms", "1.0 s", "15.0 s"]


def test_a_mailbox_is_shown_with_its_name_if_it_has_one():
    assert mailbox(Address("ann@example.net", "Ann")) == "Ann <ann@example.net>"
    assert mailbox(Address("ann@example.net")) == "ann@example.net"

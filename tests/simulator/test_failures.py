"""What each provider's class makes of each switch, and what the simulator has then."""

import dataclasses

import pytest

from providers.base import Timeouts
from providers.errors import (
    AccountRefused,
    Limited,
    Rejected,
    SenderRefused,
    Unavailable,
    Unknown,
)
from providers.types import Address
from tests.providers.hard import HARD
from tests.simulator.conftest import configured

EMAIL = HARD["text alone with a file"]
FAILURES = {
    "refuse-connections": Unavailable,
    "http-500": Unknown,
    "http-503": Unavailable,
    "rate-limit": Limited,
    "unauthorized": AccountRefused,
    "unverified-sender": SenderRefused,
    "timeout-before-accept": Unknown,
    "timeout-after-accept": Unknown,
    "reset-after-accept": Unknown,
    "garbage-200": Unknown,
}
TAKEN = ("timeout-after-accept", "reset-after-accept")


@pytest.fixture
def sender(running, provider):
    sender = configured(running, provider, Timeouts(connect=1, read=0.2, deadline=3))
    yield sender
    sender.close()


@pytest.mark.parametrize("mode", FAILURES)
def test_a_switch_is_what_it_is_meant_to_be_to_our_provider(running, sender, provider, mode):
    running.set(provider, mode)
    with pytest.raises(FAILURES[mode]) as caught:
        sender.send(EMAIL)

    assert type(caught.value) is FAILURES[mode]
    assert [mail["attempt_id"] for mail in running.mails()] == (
        [EMAIL.attempt_id] if mode in TAKEN else []
    )


def test_a_bad_recipient_is_rejected(running, sender):
    email = dataclasses.replace(EMAIL, to=(Address("reject@example.net"),))
    with pytest.raises(Rejected):
        sender.send(email)

    assert running.mails() == []


@pytest.mark.parametrize("provider", ["postmark", "mandrill"], indirect=True)
def test_the_others_get_it_where_one_is_left_out(running, sender):
    email = dataclasses.replace(EMAIL, cc=(Address("reject@example.net"),))
    accepted = sender.send(email)

    assert [(one.email, one.rejected) for one in accepted.not_taken] == [
        ("reject@example.net", True)
    ]
    assert accepted.provider_message_id == running.mail()["provider_message_id"]


@pytest.mark.parametrize("provider", ["resend"], indirect=True)
@pytest.mark.parametrize("mode", TAKEN)
def test_a_repeated_call_is_answered_and_not_sent_again(running, sender, mode):
    running.set("resend", mode)
    with pytest.raises(Unknown):
        sender.send(EMAIL)
    running.set("resend", "up")

    assert sender.send(EMAIL).provider_message_id == running.mail()["provider_message_id"]

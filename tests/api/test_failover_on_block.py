"""Asking for another provider after a block: by the message, or by the setting."""

import pytest
from fakeredis import FakeRedis

from tests.api.caller import Caller


@pytest.mark.parametrize(("asked", "expected"), [(True, True), (False, False), (None, False)])
def test_a_message_says_whether_it_wants_another_provider_after_a_block(shop, asked, expected):
    answer = shop.post("/messages/batch", json={"messages": [mail_with(asked)]}).json
    shown = shop.get(f"/messages/{answer['messages'][0]['id']}").json
    assert shown["failover_on_block"] is expected


@pytest.mark.parametrize(("asked", "expected"), [(True, True), (False, False), (None, True)])
def test_the_setting_is_for_messages_that_do_not_say(make_app, asked, expected):
    shop = Caller(make_app(FakeRedis(decode_responses=True), FAILOVER_ON_BLOCK="on"))
    assert shop.message(failover_on_block=asked)["failover_on_block"] is expected


@pytest.mark.parametrize("asked", ["yes", 1, "true"])
def test_what_is_neither_true_nor_false_is_a_fault(shop, asked):
    assert set(shop.faults(failover_on_block=asked)) == {"failover_on_block"}


def mail_with(asked):
    return {
        "from": "orders@shop.example",
        "to": "ann@example.net",
        "subject": "Your order",
        "text": "It is on its way.",
        **({} if asked is None else {"failover_on_block": asked}),
    }

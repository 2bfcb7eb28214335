"""The table of keys: whatever the code names is in it, and what does not fit it is found."""

import inspect

import pytest
from fakeredis import FakeRedis

from app.core import keys
from tests import key_table

NAMED = [
    (name, made(*("x" for _ in inspect.signature(made).parameters)))
    for name, made in inspect.getmembers(keys, inspect.isfunction)
]


@pytest.mark.parametrize(("name", "key"), NAMED)
def test_every_key_that_can_be_made_is_in_the_table(name, key):
    assert key_table.row_of(key) is not None


def test_every_name_is_in_the_table():
    known = [row.name for row in key_table.rows()]
    for name, text in vars(keys).items():
        if name.isupper() and isinstance(text, str) and text != keys.NOTHING:
            begins = any(row.startswith(text) for row in known)
            assert begins or key_table.row_of(text) is not None, name


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (("SET", "sp:new", 1), "not in the table"),
        (("SET", "sp:webhook-token:x", 1), "no expiry"),
        (("SET", "sp:totals", 1), "is a string"),
        (("SET", "sp:login:x", 1, "EX", 6000), "lasts"),
        (("HSET", "sp:message:m", "state", "sent"), "a message that is sent"),
        (("SET", "sp:body:m", 1), "a message that is None"),
    ],
)
def test_what_is_not_as_the_table_says_is_found(command, fault):
    redis = FakeRedis(decode_responses=True)
    redis.execute_command(*command)
    (found,) = key_table.faults(redis)
    assert fault in found


def test_an_unfinished_record_may_have_no_expiry():
    redis = FakeRedis(decode_responses=True)
    for state, more in (("queued", {}), ("unknown", {"next": "1"})):
        redis.hset(keys.message(state), mapping={"state": state, **more})
    assert key_table.faults(redis) == []
    redis.expire(keys.message("queued"), 10)
    assert len(key_table.faults(redis)) == 1

"""Connections: who hangs is noticed once and not by everybody, and who was demoted is left."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from app.core.connections import Patience, client
from app.core.scripting import StoreUnavailable
from app.core.store import MessageStore
from tests.redis_server import Server
from tests.scripted import BODY, message
from tests.waiting import until

PATIENCE = Patience(connect=0.3, answer=0.6)


def store_of(server: Server) -> MessageStore:
    return MessageStore(client(server.url, PATIENCE))


def ping(store: MessageStore) -> tuple[bool, float]:
    """Whether the server answered, and after how many seconds."""
    began = time.monotonic()
    try:
        store.ping()
    except StoreUnavailable:
        return False, time.monotonic() - began
    return True, time.monotonic() - began


def pings_at_once(store: MessageStore, count: int) -> list[tuple[bool, float]]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: ping(store), range(count)))


def test_a_server_that_hangs_is_waited_for_by_one_and_the_others_are_turned_away():
    with Server() as server:
        store = store_of(server)
        server.hang()
        answered, took = ping(store)
        assert not answered
        assert 0.5 < took < 2
        pings = pings_at_once(store, 20)
        assert not any(answered for answered, _ in pings)
        assert sum(took > 0.4 for _, took in pings) <= 1
        # Somebody has just found out.
        assert all(ping(store)[1] < 0.2 for _ in range(5))
        server.resume()
        until(lambda: ping(store)[0])


def test_all_go_on_as_soon_as_one_has_found_the_server_back():
    with Server() as server:
        store = store_of(server)
        server.hang()
        ping(store)
        server.resume()
        assert ping(store)[0]
        assert all(answered for answered, _ in pings_at_once(store, 20))


def test_a_server_that_refuses_a_command_has_answered():
    with Server() as server:
        store = store_of(server)
        server.admin.set("sp:fitness", "not a hash")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            store.fitness()
        assert all(answered for answered, _ in pings_at_once(store, 20))


def test_a_demoted_server_is_left_by_all_idle_connections(clock):
    with Server() as server:
        redis = client(server.url, PATIENCE)
        store = MessageStore(redis)
        connections = [redis.connection_pool.get_connection() for _ in range(3)]
        for connection in connections:
            redis.connection_pool.release(connection)
        server.admin.replicaof("127.0.0.1", 1)
        with pytest.raises(StoreUnavailable) as caught:
            store.accept([(message(clock()), BODY)], None)
        assert type(caught.value) is StoreUnavailable
        assert not any(connection.is_connected for connection in connections)
        with pytest.raises(StoreUnavailable):
            store.check_ready()
        server.admin.replicaof("NO", "ONE")
        store.check_ready()
        assert store.accept([(message(clock()), BODY)], None).kind == "accepted"


def test_readiness_writes_nothing_and_notices_what_cannot_be_written(valkey: Redis):
    store = MessageStore(valkey)
    store.check_ready()
    assert valkey.keys("*") == []
    valkey.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(StoreUnavailable):
            store.check_ready()
    finally:
        valkey.config_set("min-replicas-to-write", 0)

"""Failovers over real servers and Sentinels: who was the master is left, and no mail is lost."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from redis import Redis

from app.core.connections import Patience, master_client
from app.core.scripting import StoreUnavailable
from app.core.store import MessageStore
from app.services import check_server, utc_now
from config import Settings, SettingsError
from tests.chaos.table import breaks
from tests.scripted import BODY, message
from tests.sentinel.cluster import MASTER, Cluster, ServerLeash
from tests.sentinel.scenario import run
from tests.waiting import until

pytestmark = pytest.mark.sentinel


@pytest.fixture
def cluster(tmp_path) -> Iterator[Cluster]:
    with ServerLeash() as leash, Cluster(tmp_path, leash) as cluster:
        until(lambda: can_accept(store_of(cluster)))
        yield cluster


def store_of(cluster: Cluster, name: str = MASTER, url: str = "") -> MessageStore:
    return MessageStore(client_of(cluster, name, url), timedelta(seconds=1))


def client_of(cluster: Cluster, name: str = MASTER, url: str = "") -> Redis:
    sentinels = [f"redis://127.0.0.1:{port}" for port in cluster.sentinels]
    return master_client(sentinels, name, url, Patience(1.0, 2.0))


def accept(store: MessageStore) -> str:
    sent = message(utc_now())
    store.accept([(sent, BODY)], None)
    return sent.id


def can_accept(store: MessageStore) -> bool:
    try:
        return bool(accept(store))
    except StoreUnavailable:
        return False


def holds(cluster: Cluster, port: int, message_id: str) -> bool:
    return bool(cluster.client(port).exists(f"sp:message:{message_id}"))


def test_a_master_that_hung_and_comes_back_gets_no_more_mail(cluster):
    store = store_of(cluster)
    accept(store)
    # What is idle here is connected to the first master, and has not failed.
    idle = [store._scripts._redis.connection_pool.get_connection() for _ in range(3)]
    for connection in idle:
        store._scripts._redis.connection_pool.release(connection)
    first = cluster.master()
    cluster.hang(first)
    second = cluster.wait_for_another(first)
    cluster.resume(first)
    assert cluster.client(first).info("replication")["role"] == "master"
    time.sleep(1.0)
    accepted = until(lambda: can_accept(store) and accept(store))
    assert holds(cluster, second, accepted)
    assert not holds(cluster, first, accepted)
    assert cluster.client(first).info("replication")["role"] == "master"


def test_a_killed_master_is_replaced_within_seconds(cluster):
    store = store_of(cluster)
    accepted = accept(store)
    first = cluster.master()
    cluster.kill(first)
    began = time.monotonic()
    assert not can_accept(store)
    until(lambda: can_accept(store), seconds=20, every=0.05)
    assert time.monotonic() - began < 10
    assert store.get(accepted) is not None


def test_sentinels_that_hang_or_are_gone_delay_a_connection_by_a_second_at_most(cluster):
    dead, hung, _ = cluster.sentinels
    cluster.kill(dead)
    cluster.hang(hung)
    began = time.monotonic()
    accept(store_of(cluster))
    assert time.monotonic() - began < 2.0


def test_a_master_that_lost_its_replicas_takes_nothing(cluster):
    store = store_of(cluster)
    master = cluster.master()
    for port in cluster.servers:
        if port != master:
            cluster.kill(port)
    until(lambda: not can_accept(store))
    with pytest.raises(StoreUnavailable):
        store.check_ready()


def test_the_user_and_the_database_of_the_url_count_and_its_host_does_not(cluster):
    rules = {"passwords": ["+pw"], "commands": ["+@all"], "keys": ["*"]}
    cluster.client(cluster.master()).acl_setuser("app", True, **rules)
    wrong = store_of(cluster, url="redis://app:wrong@nobody.example:1/3")
    assert not can_accept(wrong)
    accepted = accept(store_of(cluster, url="redis://app:pw@nobody.example:1/3"))
    with Redis(port=cluster.master(), db=3) as third:
        assert third.exists(f"sp:message:{accepted}")


def test_a_master_that_the_sentinels_do_not_know_is_a_fault_of_the_settings(cluster):
    environment = {
        **cluster.environment,
        "API_KEYS": "shop:0123456789abcdef",
        "SECRET_KEY": "x" * 32,
    }
    check_server(Settings.from_env(environment), aloud=True)
    strange = {**environment, "REDIS_SENTINEL_MASTER": "post"}
    with pytest.raises(SettingsError, match="Sentinel knows no master post, but mail"):
        check_server(Settings.from_env(strange), aloud=True)


def test_no_mail_is_lost_and_no_copy_unsaid_when_masters_die_and_hang(tmp_path):
    row = run(["kill", "hang"], "1", tmp_path)
    assert not row.breaks, breaks([row])
    assert row.accepted > 50

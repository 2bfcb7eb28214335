"""The look at the server that we were given: what is unsafe is named, what cannot work refused."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import fakeredis
import pytest
from redis import Redis
from structlog.testing import capture_logs

from app.core.connections import Patience, client
from app.core.scripting import StoreUnavailable
from app.core.server_check import check
from app.services import check_server, connect
from config import Settings, SettingsError
from tests.redis_server import Server

SAFE = {"appendonly": "yes", "appendfsync": "always", "maxmemory": "100mb"}


def said(url: str, with_sentinel: bool = False) -> dict[str, str]:
    """What is said of a server: levels by the first words."""
    with connect(url) as redis:
        return {f.text.partition(":")[0]: f.level for f in check(redis, with_sentinel)}


def settings(url: str) -> Settings:
    environment = {"API_KEYS": "shop:0123456789abcdef", "SECRET_KEY": "x" * 32, "REDIS_URL": url}
    return Settings.from_env(environment)


def test_nothing_is_said_of_the_embedded_store(valkey_url):
    assert said(valkey_url) == {}


def test_every_unsafe_setting_of_a_server_is_named():
    with Server(**SAFE) as server:
        assert said(server.url) == {}
        for policy in ("allkeys-lru", "volatile-ttl"):
            server.admin.config_set("maxmemory-policy", policy)
            assert said(server.url) == {f"maxmemory-policy is {policy}": "warning"}
        server.admin.config_set("maxmemory-policy", "noeviction")
        server.admin.config_set("appendfsync", "everysec")
        assert said(server.url) == {"appendfsync is everysec": "info"}
        server.admin.config_set("appendfsync", "no")
        assert said(server.url) == {"appendfsync is no": "warning"}
        server.admin.config_set("appendonly", "no")
        assert said(server.url) == {"appendonly is no": "warning"}
        server.admin.config_set("appendonly", "yes")
        server.admin.config_set("maxmemory", "0")
        assert said(server.url) == {"appendfsync is no": "warning", "maxmemory is 0": "info"}


def test_a_replica_is_named_and_may_yet_become_the_master():
    with Server(**SAFE) as master, Server(**SAFE) as replica:
        replica.replicate(master)
        assert said(replica.url) == {"it is a replica": "warning"}


def test_with_sentinel_the_master_wants_replicas_and_is_to_refuse_writes_without():
    with Server(**SAFE) as master, Server(**SAFE) as replica:
        unsafe = {"min-replicas-to-write is 0": "warning"}
        assert said(master.url, True) == {**unsafe, "it has no replica": "warning"}
        replica.replicate(master)
        assert said(master.url, True) == unsafe
        master.admin.config_set("min-replicas-to-write", 1)
        assert said(master.url, True) == {}
        master.admin.acl_setuser(
            "app", True, passwords=["+pw"], commands=["+@all", "-config"], keys=["*"]
        )
        url = master.url.replace("//", "//app:pw@")
        assert said(url, True) == {"it does not tell, and so could not be checked": "warning"}
        master.admin.config_set("min-replicas-to-write", 0)
        assert unsafe.items() <= said(url, True).items()


def test_what_a_managed_server_does_not_tell_is_said_not_to_be_known():
    with Server(**SAFE) as server:
        commands = ["+@all", "-config", "-info"]
        server.admin.acl_setuser("app", True, passwords=["+pw"], commands=commands, keys=["*"])
        with connect(server.url.replace("//", "//app:pw@")) as redis:
            (finding,) = check(redis, with_sentinel=True)
        assert finding.level == "warning"
        for what in ("its version", "maxmemory-policy", "appendonly", "appendfsync", "its role"):
            assert what in finding.text


@pytest.mark.parametrize("forbidden", ["-eval", "-evalsha", "-@scripting"])
def test_a_server_without_scripts_cannot_work(forbidden):
    with Server(**SAFE) as server:
        commands = ["+@all", forbidden]
        server.admin.acl_setuser("app", True, passwords=["+pw"], commands=commands, keys=["*"])
        url = server.url.replace("//", "//app:pw@")
        assert said(url) == {"it forbids Lua scripts; allow this user EVAL and EVALSHA": "error"}


def test_with_sentinel_a_server_whose_replicas_cannot_be_waited_for_cannot_work():
    with Server(**SAFE) as server:
        commands = ["+@all", "-wait"]
        server.admin.acl_setuser("app", True, passwords=["+pw"], commands=commands, keys=["*"])
        url = server.url.replace("//", "//app:pw@")
        assert "error" not in said(url).values()
        assert "error" in said(url, with_sentinel=True).values()


def test_a_node_of_a_cluster_cannot_work():
    with Server(**SAFE, cluster_enabled="yes") as server:
        assert "error" in said(server.url).values()


class Old(fakeredis.FakeRedis):
    """A server that says how old it is."""

    version = "6.0.16"

    def info(self, section: str) -> dict[str, str]:
        return {"redis_version": self.version}


def test_a_server_that_is_too_old_cannot_work():
    (finding, *_) = check(Old(), with_sentinel=False)
    assert finding.level == "error"
    assert finding.text == "it is Redis 6.0.16; Redis 6.2 or newer, or any Valkey, is needed"
    Old.version = "6.2.0"
    assert "error" not in {finding.level for finding in check(Old(), with_sentinel=False)}


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that has one answer to everything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(4096):
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_a_server_that_does_not_take_our_first_words_cannot_work():
    with answering(b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n") as url:
        ((text, level),) = said(url).items()
    assert level == "error"
    assert "Redis 6.2 or newer" in text


def test_a_wrong_password_is_told_apart_from_a_server_that_is_away():
    with Server(**SAFE) as server:
        server.admin.config_set("requirepass", "right")
        for user in ("", ":wrong@", "nobody:wrong@"):
            assert said(server.url.replace("//", f"//{user}")) == {
                "it refuses the user or the password": "error"
            }
        assert said(server.url.replace("//", "//:right@")) == {}


def test_a_server_that_is_away_or_hangs_cannot_be_checked(tmp_path):
    with pytest.raises(StoreUnavailable):
        said(f"unix://{tmp_path}/nobody.sock")
    with Server() as server:
        server.hang()
        with client(server.url, Patience(0.2, 0.2)) as redis, pytest.raises(StoreUnavailable):
            check(redis, with_sentinel=False)


def test_what_is_unsafe_is_one_line_of_the_log_each_and_what_cannot_work_ends_the_process():
    with Server(appendonly="no", maxmemory_policy="allkeys-lru", maxmemory="100mb") as server:
        with capture_logs() as logs:
            check_server(settings(server.url), aloud=False)
            assert logs == []
            check_server(settings(server.url), aloud=True)
        assert [entry["log_level"] for entry in logs] == ["warning", "warning"]
        assert ["appendonly" in entry["event"] for entry in logs] == [False, True]
        server.admin.acl_setuser("default", True, nopass=True, commands=["-eval"], keys=["*"])
        with pytest.raises(SettingsError, match="REDIS_URL: it forbids Lua scripts"):
            check_server(settings(server.url), aloud=True)


def test_the_check_leaves_nothing_in_the_server(valkey: Redis, valkey_url):
    said(valkey_url, with_sentinel=True)
    assert valkey.keys("*") == []

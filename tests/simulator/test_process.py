"""`python -m simulator` as a process."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from config import Settings, simulator_environment
from tests.live import free_ports
from tests.simulator.sending import MAILGUN

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def environment(tmp_path):
    port, *own = free_ports(4)
    ports = ",".join(
        f"{name}:{number}" for name, number in zip(("mailgun", "sendgrid", "ses"), own, strict=True)
    )
    return {
        "PATH": os.environ.get("PATH", ""),
        "DATA_DIR": str(tmp_path / "data"),
        "SIMULATOR_PORT": str(port),
        "SIMULATOR_API_PORTS": ports,
        "LOG_FORMAT": "json",
    }


def start(environment):
    return subprocess.Popen(
        [sys.executable, "-m", "simulator"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_stops_at_once_though_calls_hang(environment, session, number):
    providers = simulator_environment(Settings.from_env(environment))
    failures = []

    def hang():
        try:
            requests.post(
                f"{providers['MAILGUN_BASE_URL']}/v3/{providers['MAILGUN_DOMAIN']}/messages",
                MAILGUN,
                auth=("api", providers["MAILGUN_API_KEY"]),
                timeout=20,
            )
        except requests.ConnectionError as error:
            failures.append(error)

    with start(environment) as process:
        url = json.loads(process.stdout.readline())["url"]
        assert url == f"http://127.0.0.1:{environment['SIMULATOR_PORT']}/"
        session.post(f"{url}control/mailgun", json={"mode": "timeout-after-accept"})
        caller = threading.Thread(target=hang)
        caller.start()
        deadline = time.monotonic() + 10
        while not session.get(f"{url}inbox.json").json()["mails"]:
            assert time.monotonic() < deadline
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == 0
        assert time.monotonic() - began < 2
        caller.join(5)
        assert failures
        assert process.stderr.read() == ""


@pytest.mark.parametrize("setting", ["SIMULATOR_PORT", "SIMULATOR_API_PORTS"])
def test_a_taken_port_is_one_clear_line(environment, setting):
    port = int(environment[setting].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)), start(environment) as process:
        assert process.wait(10) == 1
        (line,) = process.stderr.read().splitlines()

    assert f"port {port}: " in line
    assert setting in line


def test_a_bad_setting_is_one_clear_line(environment):
    with start({**environment, "SIMULATOR_PORT": "many"}) as process:
        assert process.wait(10) == 2
        (line,) = process.stderr.read().splitlines()

    assert line.startswith("SIMULATOR_PORT: ")

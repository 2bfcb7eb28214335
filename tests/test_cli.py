import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from app import ports, run
from config import Settings, SettingsError

ROOT = Path(__file__).parent.parent
SECONDS = 60


@pytest.fixture
def environment(tmp_path):
    web, simulator = ports.free_ports(2, "127.0.0.1")
    return {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(tmp_path / "data dir"),
        "PORT": str(web),
        "SIMULATOR_PORT": str(simulator),
        "WEB_PROCESSES": "1",
        "WORKER_PROCESSES": "1",
    }


def start(environment):
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", "run"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def greeting_of(process):
    """What is printed until everything runs; what went wrong where it does not."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("  curl "):
            return "".join(lines)
    pytest.fail("".join(lines))


def failure_of(environment):
    process = start(environment)
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    return output.splitlines()


def get(url, key):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_a_first_run_takes_mail_and_a_second_one_after_a_kill_still_has_it(environment):
    process = start(environment)
    try:
        greeting = greeting_of(process)
        line = greeting[greeting.index("curl ") :].strip()
        answer = json.loads(subprocess.check_output(["sh", "-c", line], cwd="/", timeout=30))
        key = Path(environment["DATA_DIR"], "api-key").read_text().strip()

        process.kill()
        process.communicate(timeout=SECONDS)
        process = start(environment)
        assert "/login/" in greeting_of(process)
        assert get(answer["status_url"], key)["id"] == answer["id"]

        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=SECONDS)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


def test_a_bad_setting_is_one_line_that_names_it(environment):
    assert failure_of({**environment, "PORT": "eighty"}) == [
        "PORT: must be a whole number from 1 to 65535, not 'eighty'"
    ]


def test_a_provider_without_credentials_is_one_line_that_names_what_lacks(environment):
    (line,) = failure_of({**environment, "PROVIDERS": "sendgrid"})
    assert "SENDGRID_API_KEY" in line


def test_a_redis_that_does_not_answer_is_one_line(environment):
    (port,) = ports.free_ports(1, "127.0.0.1")
    (line,) = failure_of(
        {
            **environment,
            "REDIS_URL": f"redis://:p4ssw0rd@127.0.0.1:{port}",
            "API_KEYS": "shop:s3cret-of-the-shop-0001",
            "SECRET_KEY": "0123456789abcdef0123456789abcdef",
        }
    )
    assert line.startswith("REDIS_URL: no answer from there")
    assert "p4ssw0rd" not in line


def test_a_port_that_is_taken_is_one_line_that_names_its_setting(environment):
    with socket.create_server(("127.0.0.1", int(environment["PORT"]))):
        (line,) = failure_of(environment)
    assert line.startswith(f"PORT: 127.0.0.1 port {environment['PORT']} is taken")


def test_a_port_that_another_shares_by_reuseport_counts_as_taken():
    (port,) = ports.free_ports(1, "127.0.0.1")
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        assert ports.obstacle("127.0.0.1", port) == f"127.0.0.1 port {port} is taken"
    assert ports.obstacle("127.0.0.1", port) is None


def test_a_port_that_is_becoming_free_is_waited_for():
    (port,) = ports.free_ports(1, "127.0.0.1")
    program = (
        "import socket, sys, time;"
        f"server = socket.create_server(('127.0.0.1', {port}));"
        "print(flush=True); time.sleep(0.5)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    holder.stdout.readline()
    assert ports.obstacle("127.0.0.1", port, patience=20.0) is None
    holder.communicate(timeout=SECONDS)


def test_an_address_of_another_machine_is_told_as_what_it_is():
    assert "cannot listen on 192.0.2.1 port 8000" in ports.obstacle("192.0.2.1", 8000)


def test_a_simulator_port_that_was_asked_for_and_is_taken_is_a_fault(environment):
    settings = Settings.from_env(environment)
    with (
        socket.create_server(("127.0.0.1", settings.simulator_port)),
        pytest.raises(SettingsError, match=r"SIMULATOR_PORT: .* is taken"),
    ):
        run.with_ports(settings, previous_run_died=False)


def test_the_simulator_gets_another_port_where_its_usual_one_is_taken(environment):
    del environment["SIMULATOR_PORT"]
    settings = Settings.from_env(environment)
    try:
        server = socket.create_server(("127.0.0.1", settings.simulator_port))
    except OSError:
        server = socket.socket()  # Somebody else has it, which serves as well.
    with server:
        chosen, notes = run.with_ports(settings, previous_run_died=False)
    assert chosen.simulator_port != settings.simulator_port
    assert notes == [
        f"127.0.0.1 port {settings.simulator_port} is taken,"
        f" so the simulator has port {chosen.simulator_port}."
    ]


def test_each_simulated_provider_gets_a_port_that_all_processes_are_told(environment):
    chosen, _ = run.with_ports(Settings.from_env(environment), previous_run_died=False)
    assert sorted(chosen.simulator_api_ports) == ["mailgun", "sendgrid", "ses"]
    assert Settings.from_env(chosen.environment) == chosen

    given = {**environment, "SIMULATOR_API_PORTS": "mailgun:20001"}
    chosen, _ = run.with_ports(Settings.from_env(given), previous_run_died=False)
    assert dict(chosen.simulator_api_ports) == {"mailgun": 20001}

    without, _ = run.with_ports(Settings.from_env({**environment, "SIMULATOR": "off"}), False)
    assert without.simulator_api_ports == {}


def test_only_what_is_wanted_runs(environment):
    environment |= {"SIMULATOR": "off", "WORKER_PROCESSES": "3"}
    names = [spec.name for spec in run.processes(Settings.from_env(environment), None)]
    assert names == ["web", "worker-1", "worker-2", "worker-3"]


def test_the_greeting_leads_to_everything(environment):
    settings = Settings.from_env({**environment, "PUBLIC_URL": "https://mail.example.com"})
    text = run.greeting(settings, "token", ["A note."])
    assert "https://mail.example.com/login/token" in text
    assert f"http://127.0.0.1:{settings.simulator_port}/" in text
    assert f"http://127.0.0.1:{settings.port}/messages" in text
    assert "A note." in text
    assert settings.api_keys[0].secret not in text


def test_a_greeting_without_a_login_link_leads_to_the_login(environment):
    text = run.greeting(Settings.from_env(environment), None, [])
    assert re.search(r"Log in +http://\S+/login  \(with the API key\)", text)


def test_the_greeting_shows_no_key_file_where_keys_are_given(environment):
    environment |= {"API_KEYS": "shop:s3cret-of-the-shop-0001", "SIMULATOR": "off"}
    text = run.greeting(Settings.from_env(environment), "token", [])
    assert "api-key" not in text
    assert "s3cret" not in text
    assert "Simulator" not in text
    assert "<secret of shop>" in text


def test_the_procfile_starts_the_web_process_as_the_supervisor_does(environment):
    lines = (ROOT / "Procfile").read_text().splitlines()
    web = next(line.removeprefix("web: ") for line in lines if line.startswith("web: "))
    environment |= {"HOST": "0.0.0.0", "WEB_PROCESSES": "2", "PORT": "8000"}
    expected = run.web_command(Settings.from_env(environment))
    assert shlex.split(re.sub(r"\$\{\w+:-(\w+)\}", r"\1", web)) == ["python", *expected[1:]]
    assert "worker: python -m workers" in lines

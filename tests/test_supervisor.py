import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SECONDS = 15

PROGRAM = """
import json, signal, sys
from pathlib import Path
from app import logs
from app.supervisor import ChildSpec, StartError, Supervisor

def spec(ready, orphan_signal=9, **fields):
    return ChildSpec(ready=lambda: not ready or Path(ready).exists(),
                     orphan_signal=signal.Signals(orphan_signal), **fields)

logs.configure("json", "info", sys.stderr)
specs = [spec(**fields) for fields in json.loads(sys.argv[1])]
try:
    Supervisor(specs, {"PATH": sys.argv[2]}, lambda: print("ready", flush=True)).run()
except StartError as error:
    sys.exit(str(error))
"""

# A stand-in that says what happens to it, and ends on SIGTERM.
STEADY = """
say() { echo "$1 NAME" >> LOG; }
trap 'say stop; exit 0' TERM
trap 'say interrupt' INT
say start; : > READY
while :; do sleep 0.02; done
"""


def until(condition, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return not Path("/proc").exists()


class Run:
    """A supervisor in a process of its own, over stand-ins that write to one log."""

    def __init__(self, directory):
        self.log = directory / "log"
        self.log.touch()
        self._directory = directory
        self._specs = []
        self.process = None

    def add(self, name, script=STEADY, stage=0, **fields):
        ready = str(self._directory / f"ready-{name}")
        for word, value in {"NAME": name, "LOG": str(self.log), "READY": ready}.items():
            script = script.replace(word, value)
        argv = fields.pop("argv", ["sh", "-c", script])
        self._specs.append({"name": name, "argv": argv, "stage": stage, "ready": ready, **fields})

    def start(self, until_ready=True):
        with (self._directory / "err").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, json.dumps(self._specs), os.environ["PATH"]],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        if until_ready:
            assert self.process.stdout.readline() == "ready\n", self.errors

    def end(self, number=signal.SIGTERM):
        """Send a signal and wait until every process that was started is gone; the exit status.

        All of them hold the pipe, and it is at its end when the last one is.
        """
        self.process.send_signal(number)
        self.process.communicate(timeout=SECONDS)
        return self.process.returncode

    @property
    def lines(self):
        return self.log.read_text().splitlines()

    @property
    def errors(self):
        return (self._directory / "err").read_text()

    @property
    def pauses(self):
        told = [json.loads(line) for line in self.errors.splitlines() if "process ended" in line]
        return [event["restart_in"] for event in told]


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    yield run
    if run.process is not None:
        run.process.kill()
        run.process.communicate(timeout=SECONDS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_processes_start_in_order_and_stop_in_the_opposite_order(run, number):
    for stage, name in [(2, "workers"), (0, "store"), (1, "web")]:
        run.add(name, stage=stage)
    run.start()
    assert run.lines == ["start store", "start web", "start workers"]
    assert run.end(number) == 0
    assert run.lines[3:] == ["stop workers", "stop web", "stop store"]


def test_a_stage_waits_until_the_one_before_is_ready(run):
    slow = STEADY.replace(": > READY", "sleep 0.3; say readied; : > READY")
    run.add("store", slow)
    run.add("web", stage=1)
    run.start()
    assert run.lines == ["start store", "readied store", "start web"]


def test_a_ctrl_c_on_the_terminal_reaches_the_supervisor_alone(run):
    run.add("web")
    run.start()
    os.killpg(run.process.pid, signal.SIGINT)
    run.process.communicate(timeout=SECONDS)
    assert run.lines == ["start web", "stop web"]


def test_a_process_that_dies_is_started_again_each_time_a_little_later(run):
    run.add("worker", "echo start NAME >> LOG; : > READY; sleep 0.1; exit 3")
    run.start()
    until(lambda: len(run.lines) >= 4)
    assert run.pauses[:3] == [0.25, 0.5, 1.0]
    assert run.end() == 0


def test_a_process_that_was_killed_is_started_again(run):
    run.add("worker", STEADY.replace("say start", "say $$"))
    run.start()
    os.kill(int(run.lines[0].split()[0]), signal.SIGKILL)
    until(lambda: len(run.lines) == 2)
    assert "signal 9" in run.errors


def test_what_a_dead_process_left_is_ended_before_it_starts_again(run):
    run.add(
        "web",
        "kill -0 $(cat LOG) 2>/dev/null && echo alive > LOG.bad;"
        " sleep 600 & echo $! >> LOG; : > READY; exit 1",
    )
    run.start()
    left = until(lambda: len(run.lines) >= 2 and run.lines)
    until(lambda: not is_alive(int(left[0])))
    assert run.end() == 0


def test_a_process_that_does_not_stop_is_killed_after_its_grace(run):
    run.add("deaf", "trap '' TERM; : > READY; while :; do sleep 0.05; done", grace=0.3)
    run.add("web", stage=1)
    run.start()
    began = time.monotonic()
    assert run.end() == 0
    assert 0.3 <= time.monotonic() - began < 10
    assert run.lines == ["start web", "stop web"]


def test_a_second_signal_ends_everything_at_once(run):
    run.add("store")
    run.add(
        "deaf",
        "trap 'echo heard >> LOG' TERM; : > READY; while :; do sleep 0.05; done",
        stage=1,
        grace=600.0,
    )
    run.start()
    run.process.send_signal(signal.SIGINT)
    until(lambda: "heard" in run.lines)
    assert run.end(signal.SIGINT) == 0


def test_a_process_that_never_comes_up_ends_the_start_with_one_line(run):
    run.add("store")
    run.add("web", "exit 7", stage=1, on_failure="look there")
    run.start(until_ready=False)
    run.process.communicate(timeout=SECONDS)
    assert run.process.returncode == 1
    assert run.errors.splitlines()[-1] == "web does not start (exit status 7): look there"
    assert run.lines == ["start store", "stop store"]


def test_a_program_that_is_missing_ends_the_start_with_one_line(run):
    run.add("web", argv=["/nonexistent/program"])
    run.start(until_ready=False)
    run.process.communicate(timeout=SECONDS)
    assert run.errors.splitlines()[-1].startswith("web does not start (")


def test_a_signal_during_the_start_stops_it(run):
    run.add("store", STEADY.replace(": > READY", ""), grace=600.0)
    run.add("web", stage=1)
    run.start(until_ready=False)
    until(lambda: run.lines)
    assert run.end() == 0
    assert "start web" not in run.lines


FAMILY = "sleep 600 & sleep 600 & : > READY; wait"


def test_children_and_their_children_are_gone_when_the_supervisor_was_killed(run):
    run.add("web", FAMILY)
    run.add("workers", FAMILY)
    run.start()
    assert run.end(signal.SIGKILL) == -signal.SIGKILL


def test_the_store_is_asked_to_stop_when_the_supervisor_was_killed(run):
    run.add("store", orphan_signal=15)
    run.start()
    run.end(signal.SIGKILL)
    assert run.lines[:2] == ["start store", "stop store"]


def test_a_store_that_does_not_stop_is_killed_after_all(run):
    run.add("store", "trap '' TERM; : > READY; while :; do sleep 0.05; done", orphan_signal=15)
    run.start()
    run.end(signal.SIGKILL)


def children_of(process):
    found = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = (line.split(None, 2) for line in found.splitlines())
    return {int(pid): args for pid, ppid, args in rows if int(ppid) == process}


def guard_of(run):
    children = children_of(run.process.pid)
    return next((pid for pid, args in children.items() if "guard.py" in args), None)


def test_a_guard_that_was_killed_is_replaced_and_knows_what_to_guard(run):
    run.add("web", FAMILY)
    run.start()
    until(lambda: guard_of(run) is not None)
    first = guard_of(run)
    os.kill(first, signal.SIGKILL)
    until(lambda: guard_of(run) not in (None, first))
    run.end(signal.SIGKILL)

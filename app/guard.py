"""The guard of a supervisor: ends its children when it is gone, even if it was killed.

Runs as a script with nothing but the standard library. Its arguments are the process groups that
there are, as `<group>:<signal>`; then it reads `+ <group> <signal>` for every one that begins and
`- <group>` for every one that is over. When the other end of the pipe is closed, what is left gets
its signal, and SIGKILL a little later.
"""

import contextlib
import os
import signal
import sys
import time

_SECONDS_TO_END = 3.0


def main() -> None:
    """Read until the supervisor is gone, then end what it left."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    known = (argument.split(":") for argument in sys.argv[1:])
    groups = {int(group): int(number) for group, number in known}
    for line in sys.stdin:
        sign, group, *rest = line.split()
        if sign == "+":
            groups[int(group)] = int(rest[0])
        else:
            groups.pop(int(group), None)
    alive = {group for group, number in groups.items() if _signalled(group, number)}
    deadline = time.monotonic() + _SECONDS_TO_END
    while alive and time.monotonic() < deadline:
        time.sleep(0.02)
        alive = {group for group in alive if _signalled(group, 0)}
    for group in alive:
        _signalled(group, signal.SIGKILL)


def _signalled(group: int, number: int) -> bool:
    """Send a signal to a group (0: none); whether the group was there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    main()

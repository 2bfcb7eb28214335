"""TCP ports: whether one is free, and finding some that are."""

import errno
import random
import socket
import time

# Below the range from which the system takes ports for outgoing connections. A closed port up there
# can be taken by one at any moment, and a connection to it can even find itself at the other end.
_CANDIDATES = range(20000, 32000)


def obstacle(host: str, port: int, patience: float = 0.0) -> str | None:
    """Why a server cannot listen there; None if it can.

    A port that is taken is given `patience` seconds to become free.
    """
    deadline = time.monotonic() + patience
    while True:
        error = _try(host, port)
        if error is None:
            return None
        if error.errno != errno.EADDRINUSE:
            return f"cannot listen on {host} port {port}: {error.strerror}"
        if time.monotonic() >= deadline:
            return f"{host} port {port} is taken"
        time.sleep(0.05)


def _try(host: str, port: int) -> OSError | None:
    # Without SO_REUSEPORT: with it, two servers would share the port and neither would know.
    # With SO_REUSEADDR: connections of an earlier server that are still closing do no harm.
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((host, port))
            server.listen()
        except OSError as error:
            return error
    return None


def free_ports(count: int, *hosts: str) -> list[int]:
    """Distinct ports on which nobody listens now, on any of the hosts."""
    found: list[int] = []
    for port in random.sample(_CANDIDATES, len(_CANDIDATES)):
        if len(found) == count:
            return found
        if not any(obstacle(host, port) for host in hosts):
            found.append(port)
    raise RuntimeError(f"fewer than {count} free ports on {' and '.join(hosts)}")

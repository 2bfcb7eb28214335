"""Where callbacks may go: the form of their URLs, and the addresses that are never connected to."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

LONGEST_URL = 2000

_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
URL = rf"https?://{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?(?:[/?][!\"$-~]*)?"
"""The form of URLs, as a pattern: a host by name or IPv4 address, no user, no fragment."""

_PORTS = {"http": 80, "https": 443}
_FIRST_FREE_PORT = 1024

_CLOSED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a provider's customers
        "127.0.0.0/8",  # this machine
        "169.254.0.0/16",  # this link; clouds answer with credentials there
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocols
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # protocols, Teredo
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is routed in public; what is outside is closed."""

_EMBEDDING = (
    (ipaddress.ip_network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (ipaddress.ip_network("64:ff9b::/96"), 0),  # NAT64
    (ipaddress.ip_network("2002::/16"), 80),  # 6to4
)
"""Networks whose addresses lead to an IPv4 address, and how many bits stand behind that."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart; `path` is with its query."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.host}:{self.port}"

    @property
    def host_header(self) -> str:
        usual = self.port == _PORTS["https" if self.secure else "http"]
        return self.host if usual else f"{self.host}:{self.port}"


class BadTarget(ValueError):
    """A URL to which nothing is sent; the text says why."""


def parse(url: str, allow_private: bool) -> Target:
    """Takes a URL apart. Raises BadTarget."""
    if len(url) > LONGEST_URL or re.fullmatch(URL, url) is None:
        raise BadTarget("Not a URL such as https://app.example.com/mail-events.")
    parts = urlsplit(url)
    host, port = str(parts.hostname), int(parts.netloc.partition(":")[2] or _PORTS[parts.scheme])
    if parts.scheme != "https" and not allow_private:
        raise BadTarget("Only https here: what is told is about people.")
    if not (port in _PORTS.values() or _FIRST_FREE_PORT <= port < 2**16):
        raise BadTarget("Not a port for this: 443, 80, or 1024 to 65535.")
    if not allow_private and (host == "localhost" or host.endswith(".localhost")):
        raise BadTarget("Not a public host.")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        if not allow_private and not is_public(address):
            raise BadTarget("Not a public address.")
    path = parts.path or "/"
    return Target(
        parts.scheme == "https", host, port, f"{path}?{parts.query}" if parts.query else path
    )


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address leads out into the internet, and nowhere near this machine."""
    if isinstance(address, ipaddress.IPv6Address):
        for network, behind in _EMBEDDING:
            if address in network:
                return is_public(ipaddress.IPv4Address(int(address) >> behind & 0xFFFFFFFF))
        if address.scope_id is not None or address not in _GLOBAL_UNICAST:
            return False
    return not any(address in network for network in _CLOSED)

"""The settings of a process: read from the environment once, checked together, frozen."""

import base64
import contextlib
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import quote, urlsplit
from uuid import UUID

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

SIMULATED_PROVIDERS = ("mailgun", "sendgrid", "ses", "postmark", "resend", "mandrill")

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_TEN_YEARS = 3650 * 86400.0
# The address of a unix socket ends at 104 bytes on macOS and 108 on Linux.
_SOCKET_PATH_BYTES = 100


class SettingsError(Exception):
    """Settings that cannot be used; the text has one line for each fault and says what to do."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that callers send; its name is for logs and for the messages that came with it."""

    name: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProviderQuota:
    """How much a provider is given at most within a second and within 24 hours; None: any."""

    a_second: int | None
    a_day: int | None


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,15}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return parse


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}, not {text!r}")
        return text.lower()

    return parse


def _switch(text: str) -> bool:
    return _choice("on", "off")(text) == "on"


def _processes(text: str) -> int:
    if text != "auto":
        return _number(1, 512)(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _duration(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([smhd]?)", text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= _TEN_YEARS:
        raise ValueError(f"must be a time such as 10s, 5m, 24h or 7d, not {text!r}")
    return seconds


def _durations(text: str) -> tuple[float, ...]:
    return tuple(_duration(part.strip()) for part in text.split(","))


def _share(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,3})\s?%", text)
    if match is None or not 1 <= int(match[1]) <= 100:
        raise ValueError(f"must be a share from 1% to 100%, not {text!r}")
    return int(match[1]) / 100


def _size(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,12})\s?((?:[KMG]iB)?)", text)
    if match is None or int(match[1]) == 0:
        raise ValueError(f"must be a number of bytes or a size such as 15MiB, not {text!r}")
    return int(match[1]) * _SIZES[match[2]]


def _host(text: str) -> str:
    if text == "localhost":
        return "127.0.0.1"
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"must be an IP address to listen on, not {text!r}") from None
    return text


def _public_url(text: str) -> str:
    url = _url(text)
    if path := urlsplit(url).path:
        # Pages, links and what providers sign would all have to know of it.
        raise ValueError(f"must have no path, and has {path!r}: give the service a host name")
    return url


def _url(text: str) -> str:
    parts = urlsplit(text)
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    if text and not (parts.scheme in ("http", "https") and parts.hostname and plain):
        raise ValueError(f"must be an address such as https://mail.example.com, not {text!r}")
    return text.rstrip("/")


def _webhooks(text: str) -> str:
    return text if text in ("auto", "off") else _url(text)


def _redis_url(text: str) -> str:
    # Not quoted in the fault: it may hold a password.
    if text and not re.match(r"(rediss?://[^/]|unix://)", text):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    return text


def _sentinels(text: str) -> tuple[str, ...]:
    """Their addresses, as URLs."""
    urls = []
    for place, part in enumerate(text.split(",") if text else (), start=1):
        url = f"redis://{part.strip()}"
        try:
            parts = urlsplit(url)
            complete = parts.hostname and parts.port
        except ValueError:
            complete = None
        if not complete or parts.path or parts.query or parts.fragment:
            # Not quoted in the fault: it may hold a password.
            raise ValueError(f"entry {place} must be host:port, or user:password@host:port")
        urls.append(url)
    return tuple(urls)


def _master_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]*", text):
        raise ValueError(f"must be the name that Sentinel's configuration gives it, not {text!r}")
    return text


def _limit(text: str) -> int | None:
    if text == "auto":
        return None
    return 0 if text == "0" else _size(text)


def _providers(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if not re.fullmatch(r"[a-z][a-z0-9_]*|[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
            raise ValueError(f"{name!r} is neither a name such as mailgun nor a path.to:Class")
    if len(set(names)) < len(names):
        raise ValueError("names a provider twice")
    return names


def _quotas(text: str) -> Mapping[str, ProviderQuota]:
    quotas: dict[str, ProviderQuota] = {}
    for part in text.split(",") if text else ():
        name, _, limits = part.strip().partition(":")
        if not re.fullmatch(r"[^\s/+]+(/s|/day|/s\+[^\s/+]+/day)", limits) or not name:
            raise ValueError(
                f"{part.strip()!r} is not like mailgun:100/s, ses:50000/day or ses:14/s+50000/day"
            )
        if name in quotas:
            raise ValueError(f"names {name} twice")
        by_unit = {unit: count for count, unit in (one.split("/") for one in limits.split("+"))}
        quotas[name] = ProviderQuota(
            _number(1, 10**6)(by_unit["s"]) if "s" in by_unit else None,
            _number(1, 10**10)(by_unit["day"]) if "day" in by_unit else None,
        )
    return MappingProxyType(quotas)


def _api_ports(text: str) -> Mapping[str, int]:
    ports: dict[str, int] = {}
    for part in text.split(",") if text else ():
        name, _, port = part.strip().partition(":")
        if _choice(*SIMULATED_PROVIDERS)(name) in ports:
            raise ValueError(f"names {name} twice")
        ports[name] = _number(1, 65535)(port)
    if len(set(ports.values())) < len(ports):
        raise ValueError("gives two providers the same port")
    return MappingProxyType(ports)


def _api_keys(text: str) -> tuple[ApiKey, ...]:
    keys: list[ApiKey] = []
    for place, part in enumerate(text.split(",") if text else (), start=1):
        name, colon, secret = part.strip().partition(":")
        if not colon or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
            raise ValueError(
                f"entry {place} must be name:secret, the name of letters, digits, '_', '.' and '-'"
            )
        if not re.fullmatch(r"[!-~]{16,}", secret):
            raise ValueError(f"the secret of {name} must be 16 or more characters without spaces")
        keys.append(ApiKey(name, secret))
    for what in ("name", "secret"):
        if len({getattr(key, what) for key in keys}) < len(keys):
            raise ValueError(f"two keys have the same {what}")
    return tuple(keys)


def _secret_key(text: str) -> bytes:
    if text and len(text) < 32:
        raise ValueError("must be 32 or more characters, and random")
    return text.encode()


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as its reader knows it: `default` is the text that gives the same as no text."""

    name: str
    default: str
    meaning: str
    parse: Callable[[str], Any]


_LEVELS = ("debug", "info", "warning", "error")

SETTINGS = (
    Setting("PORT", "8000", "where the web process listens", _number(1, 65535)),
    Setting("HOST", "127.0.0.1", "the address it listens on", _host),
    Setting("PUBLIC_URL", "", "for links, no path in it; `http://HOST:PORT` if empty", _public_url),
    Setting("REDIS_URL", "", "Redis ≥ 6.2 or Valkey; an embedded one if empty", _redis_url),
    Setting("REDIS_SENTINELS", "", "`host:port,…`: Sentinel says where Redis is", _sentinels),
    Setting("REDIS_SENTINEL_MASTER", "", "the name that Sentinel has for it", _master_name),
    Setting("DATA_DIR", "data", "the embedded store, the first key and secret", Path),
    Setting("API_KEYS", "", "`name:secret,…`; one is made if empty", _api_keys),
    Setting("SECRET_KEY", "", "for sessions and links; one is made if empty", _secret_key),
    Setting("SIMULATOR", "auto", "play the providers", _choice("auto", "on", "off")),
    Setting("SIMULATOR_PORT", "8025", "the simulator's page, inbox and APIs", _number(1, 65535)),
    Setting("SIMULATOR_WEBHOOKS", "auto", "`auto`: to PORT here; a URL, or `off`", _webhooks),
    Setting("SIMULATOR_API_PORTS", "", "`mailgun:41001,…`: APIs on ports of their own", _api_ports),
    Setting("PROVIDERS", "mailgun,sendgrid,ses", "whom to ask, in order", _providers),
    Setting("PROVIDER_QUOTAS", "", "`ses:14/s+50000/day,…`: more goes to the next", _quotas),
    Setting("CONNECT_TIMEOUT", "5s", "to reach a provider", _duration),
    Setting("READ_TIMEOUT", "15s", "between two bytes of its answer", _duration),
    Setting("SEND_DEADLINE", "30s", "for a whole provider call", _duration),
    Setting("ON_UNKNOWN", "failover", "what follows no clear answer", _choice("failover", "hold")),
    Setting("UNKNOWN_GRACE", "20s", "how long evidence is awaited, where it can come", _duration),
    Setting("FAILOVER_ON_BLOCK", "off", "offer blocked mail once to another provider", _switch),
    Setting("MESSAGE_EXPIRY", "24h", "how long a message is tried", _duration),
    Setting("RETENTION", "7d", "how long a finished message is kept", _duration),
    Setting("RETRY_SCHEDULE", "10s,30s,1m,2m,5m,10m", "between rounds; last repeats", _durations),
    Setting("BREAKER_FAILURES", "5", "in a row open a provider's breaker", _number(1, 10**9)),
    Setting("BREAKER_COOLDOWN", "30s", "how long it stays open before a probe", _duration),
    Setting(
        "DELIVERY_EVIDENCE",
        "show",
        "of providers that deliver nothing: `off`, `show`, or `demote` them in the order, too",
        _choice("off", "show", "demote"),
    ),
    Setting("EVIDENCE_AFTER", "1h", "how long mail may be without any news", _duration),
    Setting("EVIDENCE_MINIMUM", "50", "recipients; fewer say nothing", _number(1, 10**6)),
    Setting("EVIDENCE_SHARE", "50%", "without news, or blocked, that looks bad", _share),
    Setting("WEB_PROCESSES", "2", "`auto` is one a core", _processes),
    Setting("WORKER_PROCESSES", "auto", "`auto` is one a core", _processes),
    Setting("WORKER_CONCURRENCY", "128", "sends at once in a worker process", _number(1, 4096)),
    Setting("LEASE_SECONDS", "45s", "how long a silent worker keeps a message", _duration),
    Setting(
        "POLL_EVENTS",
        "auto",
        "`auto`: ask a provider that has no webhooks set up what became of mail",
        _choice("auto", "off"),
    ),
    Setting("SWEEP_INTERVAL", "5s", "between two looks for forgotten work", _duration),
    Setting("MAX_BODY_BYTES", "15MiB", "the largest request", _size),
    Setting("MAX_BACKLOG", "2000000", "unfinished messages; more are refused", _number(1, 10**12)),
    Setting(
        "MAX_BACKLOG_BYTES",
        "auto",
        "memory that Redis may use before mail is refused; `auto`: half of its limit, `0`: any",
        _limit,
    ),
    Setting(
        "CALLBACK_ALLOW_PRIVATE",
        "off",
        "callbacks may go to `http`, and to private addresses",
        _switch,
    ),
    Setting("TRUSTED_PROXIES", "0", "reverse proxies in front of us", _number(0, 16)),
    Setting(
        "LOG_FORMAT",
        "auto",
        "`auto`: `console` on a terminal, else `json`",
        _choice("auto", "console", "json", "logfmt"),
    ),
    Setting("LOG_LEVEL", "info", "the least that is logged", _choice(*_LEVELS)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting under its lower-case name; times are in seconds, sizes in bytes.

    `redis_url` is always usable but where there are Sentinels, who know the host and the port: then
    it may be empty. `max_backlog_bytes` is None where the server's own limit decides.
    """

    port: int
    host: str
    public_url: str
    redis_url: str = field(repr=False)
    redis_sentinels: tuple[str, ...] = field(repr=False)
    redis_sentinel_master: str
    embedded_store: bool
    data_dir: Path
    api_keys: tuple[ApiKey, ...]
    secret_key: bytes = field(repr=False)
    simulator: bool
    simulator_port: int
    simulator_webhooks: str
    simulator_api_ports: Mapping[str, int]
    providers: tuple[str, ...]
    provider_quotas: Mapping[str, ProviderQuota]
    connect_timeout: float
    read_timeout: float
    send_deadline: float
    on_unknown: str
    unknown_grace: float
    failover_on_block: bool
    message_expiry: float
    retention: float
    retry_schedule: tuple[float, ...]
    breaker_failures: int
    breaker_cooldown: float
    delivery_evidence: str
    evidence_after: float
    evidence_minimum: int
    evidence_share: float
    web_processes: int
    worker_processes: int
    worker_concurrency: int
    lease_seconds: float
    poll_events: str
    sweep_interval: float
    max_body_bytes: int
    max_backlog: int
    max_backlog_bytes: int | None
    callback_allow_private: bool
    trusted_proxies: int
    log_format: str
    log_level: str
    environment: Mapping[str, str] = field(repr=False)

    @property
    def local_url(self) -> str:
        """Where a process on this machine reaches the web process."""
        return _local_url(self.host, self.port)

    @property
    def simulator_url(self) -> str:
        """Where a process on this machine reaches the simulator's page."""
        return _local_url(self.host, self.simulator_port)

    @property
    def simulated_webhooks_url(self) -> str | None:
        """Where the simulator sends its webhooks; None for nowhere."""
        if self.simulator_webhooks == "off":
            return None
        return self.local_url if self.simulator_webhooks == "auto" else self.simulator_webhooks

    def is_given(self, name: str) -> bool:
        """Whether a setting came from the environment rather than from its default."""
        return bool(self.environment.get(name, "").strip())

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read the settings; an empty value counts as none.

        Without `REDIS_URL`, `DATA_DIR` and the first API key and secret key in it are made where
        they are missing. Raises `SettingsError` with everything that is wrong.
        """
        environment = MappingProxyType(dict(os.environ if env is None else env))
        faults: list[str] = []
        values: dict[str, Any] = {}
        for setting in SETTINGS:
            try:
                text = environment.get(setting.name, "").strip() or setting.default
                values[setting.name.lower()] = setting.parse(text)
            except ValueError as error:
                faults.append(f"{setting.name}: {error}")
        values["embedded_store"] = not any(
            environment.get(name, "").strip() for name in ("REDIS_URL", "REDIS_SENTINELS")
        )
        values["simulator"] = _simulator_is_on(environment, values.get("simulator", "off"))
        if values["embedded_store"]:
            faults += _prepare_data_dir(values)
        else:
            faults += [
                f"{name}: must be set where REDIS_URL or REDIS_SENTINELS is"
                for name in ("API_KEYS", "SECRET_KEY")
                if values.get(name.lower()) in ((), b"")
            ]
        if not faults:
            faults = _contradictions(values)
        if faults:
            raise SettingsError(faults)
        values["public_url"] = values["public_url"] or _local_url(values["host"], values["port"])
        return cls(environment=environment, **values)


def _simulator_is_on(environment: Mapping[str, str], choice: str) -> bool:
    # AWS_* variables lie about on many a laptop for other reasons: they never decide.
    deciding = ("PROVIDERS", "MAILGUN_API_KEY", "SENDGRID_API_KEY")
    if choice == "auto":
        return not any(environment.get(name, "").strip() for name in deciding)
    return choice == "on"


def _local_url(host: str, port: int) -> str:
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("::1" if address.version == 6 else "127.0.0.1")
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def _contradictions(values: dict[str, Any]) -> list[str]:
    faults = []
    if values["send_deadline"] >= values["lease_seconds"]:
        faults.append("SEND_DEADLINE: must be shorter than LEASE_SECONDS")
    faults += [
        f"{name}: must not be longer than SEND_DEADLINE"
        for name in ("CONNECT_TIMEOUT", "READ_TIMEOUT")
        if values[name.lower()] > values["send_deadline"]
    ]
    if bool(values["redis_sentinels"]) != bool(values["redis_sentinel_master"]):
        faults.append("REDIS_SENTINEL_MASTER: must be set where REDIS_SENTINELS is, and only there")
    if values["redis_sentinels"] and values["redis_url"].startswith("unix:"):
        faults.append("REDIS_URL: cannot be a unix socket where REDIS_SENTINELS is set")
    if values["simulator"]:
        taken = {values["port"], values["simulator_port"], *values["simulator_api_ports"].values()}
        if len(taken) < 2 + len(values["simulator_api_ports"]):
            faults.append("SIMULATOR_PORT: PORT and the simulator's ports must all differ")
    return faults


def _prepare_data_dir(values: dict[str, Any]) -> list[str]:
    directory: Path = values["data_dir"]
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(None, "not writable for this user")
        if values.get("api_keys") == ():
            secret = _kept_secret(directory / "api-key", "sp_" + secrets.token_urlsafe(32))
            values["api_keys"] = (ApiKey("default", secret),)
        if values.get("secret_key") == b"":
            secret = _kept_secret(directory / "secret-key", secrets.token_urlsafe(32))
            values["secret_key"] = secret.encode()
        values["redis_url"] = "unix://" + quote(str(store_socket(directory)))
    except OSError as error:
        reason = error.strerror or str(error)
        return [f"DATA_DIR: cannot use {error.filename or directory}: {reason}; choose another one"]
    except ValueError as error:
        return [f"DATA_DIR: {error}"]
    return []


def _kept_secret(path: Path, fresh: str) -> str:
    """What `path` holds; `fresh` if this process is the first of perhaps several to look."""
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(fresh + "\n")
                file.flush()
                os.fsync(file.fileno())
            # A link appears complete or not at all, and never replaces another's.
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    secret = path.read_text(encoding="ascii").strip()
    if not re.fullmatch(r"[!-~]{16,}", secret):
        raise ValueError(f"{path} holds no usable secret; delete it and a new one is made")
    return secret


def store_socket(data_dir: Path) -> Path:
    """Where the embedded store of `data_dir` listens, the same for every process of one user.

    A path too long for a socket's address is replaced by one in a private directory under /tmp.
    """
    path = data_dir.resolve() / "valkey.sock"
    if len(os.fsencode(path)) < _SOCKET_PATH_BYTES:
        return path
    # Not TMPDIR: processes that were started from different shells must come to the same place.
    private = Path(f"/tmp/steadpost-{os.geteuid()}")  # noqa: S108
    with contextlib.suppress(FileExistsError):
        private.mkdir(mode=0o700)
    found = private.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(None, "not a private directory of this user", str(private))
    return private / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.sock"


def simulator_environment(settings: Settings) -> dict[str, str]:
    """The providers' settings that lead to the simulator and its credentials.

    Credentials are derived from the secret key, so that all processes agree on them without a file.
    """

    def derived(label: str) -> bytes:
        return hmac.digest(settings.secret_key, f"simulator:{label}".encode(), "sha256")

    def url_safe(label: str, size: int) -> str:
        return base64.urlsafe_b64encode(derived(label)[:size]).rstrip(b"=").decode()

    def base_url(provider: str) -> str:
        port = settings.simulator_api_ports.get(provider, settings.simulator_port)
        return f"http://127.0.0.1:{port}/{provider}"

    return {
        "MAILGUN_API_KEY": f"key-{derived('mailgun').hex()[:32]}",
        "MAILGUN_DOMAIN": "mg.steadpost.example",
        "MAILGUN_BASE_URL": base_url("mailgun"),
        "MAILGUN_WEBHOOK_SIGNING_KEY": derived("mailgun-webhooks").hex()[:32],
        "SENDGRID_API_KEY": f"SG.{url_safe('sendgrid-id', 16)}.{url_safe('sendgrid', 32)}",
        "SENDGRID_BASE_URL": base_url("sendgrid"),
        "SENDGRID_WEBHOOK_PUBLIC_KEY": _public_key(simulated_signing_key(settings)),
        "AWS_ACCESS_KEY_ID": f"AKIA{base64.b32encode(derived('aws-id')[:10]).decode()}",
        "AWS_SECRET_ACCESS_KEY": base64.b64encode(derived("aws")[:30]).decode(),
        # What lies about for the real one does not belong here.
        "AWS_SESSION_TOKEN": "",
        "SES_CONFIGURATION_SET": "",
        "AWS_REGION": "eu-west-1",
        "SES_BASE_URL": base_url("ses"),
        "SES_TOPIC_ARNS": "arn:aws:sns:eu-west-1:000000000000:steadpost-simulator",
        "POSTMARK_SERVER_TOKEN": str(UUID(bytes=derived("postmark")[:16], version=4)),
        "POSTMARK_MESSAGE_STREAM": "outbound",
        "POSTMARK_BASE_URL": base_url("postmark"),
        "POSTMARK_WEBHOOK_CREDENTIALS": f"postmark:{url_safe('postmark-webhooks', 24)}",
        "RESEND_API_KEY": f"re_{derived('resend').hex()[:32]}",
        "RESEND_BASE_URL": base_url("resend"),
        "RESEND_WEBHOOK_SECRET": "whsec_"
        + base64.b64encode(derived("resend-webhooks")[:24]).decode(),
        "MANDRILL_API_KEY": f"md-{url_safe('mandrill', 16)}",
        "MANDRILL_BASE_URL": base_url("mandrill"),
        "MANDRILL_WEBHOOK_KEY": url_safe("mandrill-webhooks", 16),
    }


def simulated_signing_key(settings: Settings) -> ec.EllipticCurvePrivateKey:
    """What SendGrid's simulated webhooks are signed with."""
    number = hmac.digest(settings.secret_key, b"simulator:sendgrid-webhooks", "sha256")
    # Any number but 0 that is less than the order of the curve, which has 256 bits.
    return ec.derive_private_key(int.from_bytes(number[1:]) + 1, ec.SECP256R1())


def _public_key(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der = key.public_key().public_bytes(serialization.Encoding.DER, form)
    return base64.b64encode(der).decode()

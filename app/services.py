"""The composition root: makes everything that a process needs from its settings, once."""

import os
import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

import structlog
from redis import Redis

from app.core import connections, server_check
from app.core.api_keys import ApiKeys
from app.core.backlog import Backlog
from app.core.breaker import BreakerPolicy
from app.core.connections import Patience
from app.core.dead_letters import DeadLetters
from app.core.delivery import Delivery, DeliveryPolicy
from app.core.evidence import EvidenceBook
from app.core.fitness import Breakers
from app.core.leases import LeaseKeeper
from app.core.logins import LoginTokens
from app.core.models import Clock, OnUnknown
from app.core.store import MessageStore
from app.core.submit import Submitter
from app.core.sweeper import Sweeper
from config import Settings, SettingsError, simulator_environment
from providers.base import Provider, Timeouts
from providers.registry import load

log = structlog.get_logger(__name__)

# A request waits for one answer, at times for two.
_OF_WEB = Patience(connect=1.0, answer=2.0)
_OF_WORKERS = Patience(connect=2.0, answer=5.0)
_REPLICA_WITHIN = timedelta(seconds=1)


def utc_now() -> datetime:
    return datetime.now(UTC)


def connect(redis_url: str, decode: bool = True) -> Redis:
    """A client of the server at a URL, as a worker has it."""
    return connections.client(redis_url, _OF_WORKERS, decode)


def _client(settings: Settings, patience: Patience, decode: bool = True) -> Redis:
    url, sentinels = settings.redis_url, settings.redis_sentinels
    if not sentinels:
        return connections.client(url, patience, decode)
    return connections.master_client(
        sentinels, settings.redis_sentinel_master, url, patience, decode
    )


def _store(settings: Settings, client: Redis) -> MessageStore:
    return MessageStore(client, _REPLICA_WITHIN if settings.redis_sentinels else None)


def check_server(settings: Settings, aloud: bool) -> None:
    """Looks at the Redis of the settings, and says (`aloud`) what is unsafe about it.

    Raises SettingsError if the service cannot work with it, and StoreUnavailable if it is away.
    """
    with _client(settings, _OF_WEB) as client:
        found = server_check.check(client, with_sentinel=bool(settings.redis_sentinels))
    given = "REDIS_SENTINELS" if settings.redis_sentinels else "REDIS_URL"
    faults = [f"{given}: {finding.text}" for finding in found if finding.level == "error"]
    if faults:
        raise SettingsError(faults)
    for finding in found if aloud else ():
        tell = log.warning if finding.level == "warning" else log.info
        tell(f"of the Redis that was given: {finding.text}")


@dataclass(frozen=True, slots=True)
class Services:
    """What the web process needs."""

    settings: Settings
    store: MessageStore
    submitter: Submitter
    logins: LoginTokens
    api_keys: ApiKeys
    breakers: Breakers
    dead_letters: DeadLetters
    order: tuple[str, ...]
    clock: Clock


@dataclass(frozen=True, slots=True)
class WorkerServices:
    """What a worker process needs. `redis` leaves bytes as they are, as RQ wants it."""

    settings: Settings
    redis: Redis
    store: MessageStore
    leases: LeaseKeeper
    delivery: Delivery
    sweeper: Sweeper
    providers: Mapping[str, Provider]
    lease: timedelta
    clock: Clock


def build(settings: Settings, redis: Redis | None = None, clock: Clock = utc_now) -> Services:
    """The services of a web process. Raises SettingsError where a provider is not set up."""
    order = _names(make_providers(settings))
    client = redis or _client(settings, _OF_WEB)
    store = _store(settings, client)
    expiry = timedelta(seconds=settings.message_expiry)
    retention = timedelta(seconds=settings.retention)
    return Services(
        settings=settings,
        store=store,
        submitter=Submitter(
            store,
            cast("OnUnknown", settings.on_unknown),
            expiry,
            clock,
            Backlog(store, settings.max_backlog, settings.max_backlog_bytes),
        ),
        logins=LoginTokens(client),
        api_keys=ApiKeys(settings.api_keys),
        breakers=_breakers(settings, store, clock),
        dead_letters=DeadLetters(
            store,
            EvidenceBook(store, retention, clock),
            expiry,
            retention,
            clock,
        ),
        order=order,
        clock=clock,
    )


def build_worker(
    settings: Settings, pause: Callable[[float], bool], name: str | None = None
) -> WorkerServices:
    """The services of a worker process; `pause` is Delivery's. Raises SettingsError."""
    providers = make_providers(settings)
    store = _store(settings, _client(settings, _OF_WORKERS))
    owner = name or f"{socket.gethostname()}-{os.getpid()}-{random.randbytes(3).hex()}"  # noqa: S311
    lease = timedelta(seconds=settings.lease_seconds)
    retention = timedelta(seconds=settings.retention)
    leases = LeaseKeeper(store, owner, lease, utc_now)
    return WorkerServices(
        settings=settings,
        redis=_client(settings, _OF_WORKERS, decode=False),
        store=store,
        leases=leases,
        delivery=Delivery(
            store,
            providers,
            tuple(providers),
            DeliveryPolicy(
                settings.retry_schedule,
                lease,
                retention,
                grace=timedelta(seconds=settings.unknown_grace),
            ),
            leases,
            _breakers(settings, store, utc_now),
            EvidenceBook(store, retention, utc_now),
            utc_now,
            random.random,
            pause,
        ),
        sweeper=Sweeper(
            store,
            owner,
            settings.sweep_interval,
            retention,
            utc_now,
            # Whoever lives renews a lease three times within its length.
            patience=timedelta(seconds=settings.sweep_interval) + lease / 2,
        ),
        providers=providers,
        lease=lease,
        clock=utc_now,
    )


def _names(providers: Mapping[str, Provider]) -> tuple[str, ...]:
    """What the web process needs of them: whether they are set up, and what they are called."""
    for provider in providers.values():
        provider.close()
    return tuple(providers)


def _breakers(settings: Settings, store: MessageStore, clock: Clock) -> Breakers:
    policy = BreakerPolicy(
        failures=settings.breaker_failures,
        cooldown=timedelta(seconds=settings.breaker_cooldown),
        probe=timedelta(seconds=settings.lease_seconds),
    )
    return Breakers(store, policy, clock)


def make_providers(settings: Settings) -> dict[str, Provider]:
    """The configured providers by name, in their order.

    Raises SettingsError, which names everything that they lack.
    """
    timeouts = Timeouts(settings.connect_timeout, settings.read_timeout, settings.send_deadline)
    simulated = simulator_environment(settings) if settings.simulator else {}
    values = {**settings.environment, **simulated}
    providers: dict[str, Provider] = {}
    faults = []
    for name in settings.providers:
        try:
            provider = load(name).configure(values, timeouts)
        except (ImportError, ValueError) as error:
            faults.append(f"PROVIDERS: {error}, or leave {name} out")
            continue
        if provider.name in providers:
            faults.append(f"PROVIDERS: two providers have the name {provider.name}")
        providers[provider.name] = provider
    if faults:
        raise SettingsError(faults)
    return providers

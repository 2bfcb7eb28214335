"""The composition root: makes everything that a process needs from its settings, once."""

import os
import random
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import structlog
from redis import Redis

from app.core import (
    callback_events,
    connections,
    server_check,
    stats,
    suppression,
    track_record,
)
from app.core.api_keys import ApiKeys
from app.core.backlog import Backlog
from app.core.block_failover import BlockFailover
from app.core.breaker import BreakerPolicy
from app.core.callback_book import CallbackBook
from app.core.callback_events import Listeners
from app.core.callback_feed import CallbackFeed
from app.core.callback_queue import CallbackQueue
from app.core.callback_transport import CallbackTransport
from app.core.callbacks import Callbacks
from app.core.connections import Patience
from app.core.dead_letters import DeadLetters
from app.core.delivery import Delivery, DeliveryPolicy
from app.core.event_inbox import EventInbox
from app.core.event_poll import EventPoll
from app.core.events import MailEvents, StrayObserver
from app.core.evidence import EvidenceBook
from app.core.fitness import Breakers
from app.core.leases import LeaseKeeper
from app.core.logins import LoginTokens
from app.core.models import Clock, OnUnknown
from app.core.mover import Mover
from app.core.quotas import Quotas
from app.core.rendering_processes import RenderingProcesses
from app.core.route_book import RouteBook
from app.core.scripting import Scripts
from app.core.stats import Stats
from app.core.steps import Observer
from app.core.store import MessageStore
from app.core.submit import Submitter
from app.core.suppression import Suppressions
from app.core.sweeper import Sweeper
from app.core.template_store import TemplateStore, shipped_templates
from app.core.templates import Templates
from app.core.tokens import Window, a_day, a_second
from app.core.track_record import RecordPolicy, TrackRecords
from app.core.tracking import Tracking
from app.core.unsubscribing import UnsubscribeLinks
from app.core.waiting import WaitingMail
from config import Settings, SettingsError, simulator_environment
from providers import fetching
from providers.base import Provider, Timeouts
from providers.registry import load

log = structlog.get_logger(__name__)

# A request waits for one answer, at times for two.
_OF_WEB = Patience(connect=1.0, answer=2.0)
_OF_WORKERS = Patience(connect=2.0, answer=5.0)
_SHIPPED = Path(__file__).parents[1] / "templates" / "email"
_REPLICA_WITHIN = timedelta(seconds=1)

_OBSERVERS: Sequence[Observer] = (stats.observe, suppression.observe)
"""What is written together with every step of a message: see `app.core.steps`."""

_STRAY_OBSERVERS: Sequence[StrayObserver] = (suppression.observe_stray,)
"""What is written because of an event that belongs to no message: see `app.core.events`."""


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


def _store(settings: Settings, client: Redis, listeners: Listeners | None = None) -> MessageStore:
    within = _REPLICA_WITHIN if settings.redis_sentinels else None
    policy = _record_policy(settings)
    counting = () if policy is None else (track_record.observer(policy),)
    telling = callback_events.observer(listeners)
    return MessageStore(client, within, (*_OBSERVERS, telling, *counting))


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
    waiting: WaitingMail
    routes: RouteBook
    quotas: Quotas
    stats: Stats
    track_records: TrackRecords
    suppressions: Suppressions
    callback_book: CallbackBook
    callback_queue: CallbackQueue
    unsubscribe_links: UnsubscribeLinks
    tracking: Tracking
    webhook_providers: Mapping[str, Provider]
    event_inbox: EventInbox
    fetch: Callable[[str], bytes]
    templates: Templates
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
    events: MailEvents
    event_poll: EventPoll
    callback_feed: CallbackFeed
    callbacks: Callbacks
    providers: Mapping[str, Provider]
    lease: timedelta
    clock: Clock


def build(settings: Settings, redis: Redis | None = None, clock: Clock = utc_now) -> Services:
    """The services of a web process. Raises SettingsError where a provider is not set up."""
    providers = make_providers(settings)
    client = redis or _client(settings, _OF_WEB)
    store = _store(settings, client)
    expiry = timedelta(seconds=settings.message_expiry)
    retention = timedelta(seconds=settings.retention)
    suppressions = Suppressions(Scripts(client), clock)
    shipped = shipped_templates(_SHIPPED)
    templates = Templates(TemplateStore(client, shipped), RenderingProcesses(), clock)
    return Services(
        settings=settings,
        store=store,
        submitter=Submitter(
            store,
            cast("OnUnknown", settings.on_unknown),
            expiry,
            clock,
            Backlog(store, settings.max_backlog, settings.max_backlog_bytes),
            templates,
            suppressions,
            retention,
            settings.failover_on_block,
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
        waiting=WaitingMail(store, expiry, retention, clock),
        routes=RouteBook(Scripts(client)),
        quotas=_quotas(settings, providers, client),
        stats=Stats(Scripts(client)),
        track_records=_track_records(settings, providers, client, clock),
        suppressions=suppressions,
        callback_book=CallbackBook(Scripts(client), clock),
        callback_queue=CallbackQueue(Scripts(client)),
        unsubscribe_links=_unsubscribe_links(settings),
        tracking=_tracking(settings),
        templates=templates,
        webhook_providers=providers,
        event_inbox=EventInbox(Scripts(client)),
        fetch=_fetch(settings),
        order=tuple(providers),
        clock=clock,
    )


def build_worker(
    settings: Settings, pause: Callable[[float], bool], name: str | None = None
) -> WorkerServices:
    """The services of a worker process; `pause` is Delivery's. Raises SettingsError."""
    providers = make_providers(settings)
    client = _client(settings, _OF_WORKERS)
    listeners = Listeners()
    store = _store(settings, client, listeners)
    owner = name or f"{socket.gethostname()}-{os.getpid()}-{random.randbytes(3).hex()}"  # noqa: S311
    lease = timedelta(seconds=settings.lease_seconds)
    retention = timedelta(seconds=settings.retention)
    evidence = EvidenceBook(store, retention, utc_now)
    event_inbox = EventInbox(Scripts(client))
    callback_book = CallbackBook(Scripts(client), utc_now)
    # With connections of its own: they are used by a thread that shares nothing with the others.
    leases = LeaseKeeper(_store(settings, _client(settings, _OF_WORKERS)), owner, lease, utc_now)
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
            evidence,
            utc_now,
            random.random,
            pause,
            Mover(store, leases.__len__).move,
            routes=RouteBook(Scripts(client)),
            quotas=_quotas(settings, providers, client),
            suppressions=Suppressions(Scripts(client), utc_now),
            unsubscribe_links=_unsubscribe_links(settings),
            tracking=_tracking(settings),
            track_records=_track_records(settings, providers, client, utc_now)
            if settings.delivery_evidence == "demote"
            else None,
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
        events=MailEvents(
            event_inbox,
            store,
            evidence,
            retention,
            utc_now,
            _STRAY_OBSERVERS,
            BlockFailover(
                store,
                tuple(providers),
                timedelta(seconds=settings.message_expiry),
                RouteBook(Scripts(client)),
                Suppressions(Scripts(client), utc_now),
            ),
        ),
        event_poll=EventPoll(
            event_inbox,
            providers if settings.poll_events == "auto" else {},
            store,
            owner,
            utc_now,
        ),
        callback_feed=CallbackFeed(Scripts(client), callback_book, utc_now, listeners),
        callbacks=Callbacks(
            callback_book,
            CallbackQueue(Scripts(client)),
            CallbackTransport(settings.callback_allow_private),
            settings.callback_allow_private,
            utc_now,
            random.random,
        ),
        providers=providers,
        lease=lease,
        clock=utc_now,
    )


def _fetch(settings: Settings) -> Callable[[str], bytes]:
    """Where the documents that providers publish come from, such as certificates."""
    if not settings.simulator:
        return fetching.fetch
    # The addresses are those of the real world, and checked as such; who answers is not.
    simulated = f"http://127.0.0.1:{settings.simulator_port}/sns"

    def fetch(url: str) -> bytes:
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        return fetching.fetch(f"{simulated}{parts.path}{query}")

    return fetch


def _unsubscribe_links(settings: Settings) -> UnsubscribeLinks:
    return UnsubscribeLinks(settings.public_url, settings.secret_key)


def _tracking(settings: Settings) -> Tracking:
    return Tracking(settings.public_url, settings.secret_key)


def _breakers(settings: Settings, store: MessageStore, clock: Clock) -> Breakers:
    policy = BreakerPolicy(
        failures=settings.breaker_failures,
        cooldown=timedelta(seconds=settings.breaker_cooldown),
        probe=timedelta(seconds=settings.lease_seconds),
    )
    return Breakers(store, policy, clock)


def _record_policy(settings: Settings) -> RecordPolicy | None:
    if settings.delivery_evidence == "off":
        return None
    return RecordPolicy(
        timedelta(seconds=settings.evidence_after),
        settings.evidence_minimum,
        settings.evidence_share,
    )


def _track_records(
    settings: Settings, providers: Mapping[str, Provider], client: Redis, clock: Clock
) -> TrackRecords:
    hearing = {name: p.hears and p.names_recipients for name, p in providers.items()}
    return TrackRecords(Scripts(client), _record_policy(settings), hearing, clock, time.monotonic)


def _quotas(settings: Settings, providers: Mapping[str, Provider], client: Redis) -> Quotas:
    windows: dict[str, list[Window]] = {}
    for name, quota in settings.provider_quotas.items():
        windows[name] = []
        if quota.a_second is not None:
            windows[name].append(a_second(quota.a_second, providers[name].rate_counts_recipients))
        if quota.a_day is not None:
            windows[name].append(a_day(quota.a_day))
    return Quotas(windows, Scripts(client))


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
    if not faults:
        faults += [
            f"PROVIDER_QUOTAS: {name} is not one of PROVIDERS, {', '.join(providers)}"
            for name in settings.provider_quotas
            if name not in providers
        ]
    if faults:
        raise SettingsError(faults)
    return providers

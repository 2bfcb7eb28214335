"""What there is to say about the Redis that we were given: what is unsafe, and what cannot work."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from app.core.connections import unknown_master
from app.core.scripting import translated

_OLDEST_VERSION = (6, 2)
_SCRIPT = "return 1"
_SCRIPT_SHA1 = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
_NEEDED = "Redis 6.2 or newer, or any Valkey, is needed"
_WANTED = {
    "its version": "redis_version",
    "cluster mode": "cluster_enabled",
    "maxmemory-policy": "maxmemory_policy",
    "appendonly": "aof_enabled",
    "appendfsync": "appendfsync",
    "its role": "role",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A thing to say about the server. An `error`: the service cannot work with it."""

    level: Literal["error", "warning", "info"]
    text: str


def check(redis: Redis, with_sentinel: bool) -> list[Finding]:
    """What there is to say about the server, without writing anything.

    What the server does not tell, as managed ones may not, is said not to be known. Raises
    StoreUnavailable.
    """
    try:
        redis.ping()
        facts = _facts(redis)
        found = [*_errors(redis, facts), *_warnings(facts), *_notes(facts)]
        return [*found, *_with_sentinel(redis, facts)] if with_sentinel else found
    except AuthenticationError:
        return [Finding("error", "it refuses the user or the password")]
    except RedisError as error:
        fault = translated(error)
        if unknown := unknown_master(redis):
            return [Finding("error", unknown)]
        if fault is not error:
            raise fault from error
        # It does not even take the words that every connection begins with.
        return [Finding("error", f"it refuses us; {_NEEDED}: {error}")]


def _facts(redis: Redis) -> dict[str, str]:
    """What the server tells of itself, by INFO and CONFIG, which many forbid."""
    facts: dict[str, str] = {}
    for section in ("server", "cluster", "persistence", "memory", "replication"):
        with contextlib.suppress(ResponseError):
            info: dict[str, Any] = redis.info(section)
            facts.update((name, str(value)) for name, value in info.items())
    for setting in ("appendfsync", "min-replicas-to-write"):
        with contextlib.suppress(ResponseError):
            config: dict[Any, Any] = redis.config_get(setting)
            facts.update(config)
    if "role" in facts:
        # INFO has the count of good replicas where there have to be some.
        required = "1" if "min_slaves_good_slaves" in facts else "0"
        facts.setdefault("min-replicas-to-write", required)
    return facts


def _errors(redis: Redis, facts: Mapping[str, str]) -> Iterator[Finding]:
    text = facts.get("redis_version", "")
    version = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if version and version < _OLDEST_VERSION:
        yield Finding("error", f"it is Redis {text}; {_NEEDED}")
    if facts.get("cluster_enabled") == "1":
        yield Finding("error", "it is in cluster mode, where RQ does not run; use one that is not")
    try:
        redis.eval(_SCRIPT, 0)
        redis.evalsha(_SCRIPT_SHA1, 0)
    except ResponseError as error:
        if not isinstance(error, NoPermissionError) and "unknown command" not in str(error):
            raise
        yield Finding("error", "it forbids Lua scripts; allow this user EVAL and EVALSHA")


def _warnings(facts: Mapping[str, str]) -> Iterator[Finding]:
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        what = "unfinished mail" if policy.startswith("allkeys") else "Idempotency-Keys"
        text = f"maxmemory-policy is {policy}: short of memory, it forgets {what}; set noeviction"
        yield Finding("warning", text)
    if facts.get("aof_enabled") == "0":
        text = "appendonly is no: when it stops, the mail since its last snapshot is lost; set yes"
        yield Finding("warning", text)
    elif facts.get("appendfsync") == "no":
        text = "appendfsync is no: a power failure takes the mail of half a minute or more"
        yield Finding("warning", f"{text}; with everysec a second or two, with always none")
    if facts.get("role") == "slave":
        text = "it is a replica: no mail is accepted or sent until it is the master"
        yield Finding("warning", text)
    missing = [name for name, fact in _WANTED.items() if fact not in facts]
    if missing:
        text = f"it does not tell, and so could not be checked: {', '.join(missing)}"
        yield Finding("warning", text)


def _with_sentinel(redis: Redis, facts: Mapping[str, str]) -> Iterator[Finding]:
    try:
        redis.wait(0, 1)
    except NoPermissionError:
        yield Finding("error", "it forbids to wait for replicas; allow this user WAIT")
    except ResponseError:
        # Of a replica nobody can ask that.
        pass
    if facts.get("min-replicas-to-write") == "0":
        text = "min-replicas-to-write is 0: a master that is cut off takes writes that get lost"
        yield Finding("warning", f"{text}; set 1")
    if facts.get("role") == "master" and facts.get("connected_slaves") == "0":
        text = "it has no replica: no mail is accepted or sent until one can confirm it"
        yield Finding("warning", text)


def _notes(facts: Mapping[str, str]) -> Iterator[Finding]:
    if facts.get("aof_enabled") == "1" and facts.get("appendfsync") == "everysec":
        text = "appendfsync is everysec: a power failure takes the mail of a second or two"
        yield Finding("info", f"{text}; with always, none")
    if facts.get("maxmemory") == "0":
        text = "maxmemory is 0: only MAX_BACKLOG keeps mail from filling the machine's memory"
        yield Finding("info", text)

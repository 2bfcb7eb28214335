"""What a busy service leaves in its store: every key is known, and has the expiry that is said."""

from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from app.services import connect
from config import Settings
from tests import key_table
from tests.e2e import fates
from tests.live import Live, running
from tests.waiting import until

pytestmark = pytest.mark.e2e


def busy(live: Live) -> None:
    """A bit of everything that writes."""
    http, url = live.http, live.url

    def ok(method: str, path: str, **more) -> None:
        answer = http.request(method, f"{url}{path}", **more)
        assert answer.status_code < 400, (path, answer.text)

    template = {"subject": "Hello {{ name }}", "text": "Hello {{ name }}."}
    ok("PUT", "/templates/greeting", json=template)
    ok("PUT", "/templates/gone", json=template)
    ok("DELETE", "/templates/gone")
    ok("POST", "/suppressions", json={"email": "eve@example.net", "reason": "manual"})
    ok("PUT", "/routes", json={"routes": [{"name": "all", "providers": ["mailgun", "ses"]}]})
    ok("PUT", "/routes", json={"routes": []})
    ok("POST", "/providers/ses/pause")
    ok("POST", "/providers/ses/resume")
    ok("POST", "/callbacks", json={"url": f"{live.simulator}/nowhere"})
    file = {"filename": "a.txt", "content": "aGk="}
    for number, person in enumerate(("ann", "bounce", "complaint", "defer", "eve", "reject")):
        for priority in ("high", "normal", "bulk"):
            live.send(
                to=f"{person}+{number}@example.net",
                priority=priority,
                tags=["busy"],
                failover_on_block=number % 2 == 0,
                attachments=[file],
                unsubscribe=True,
                track={"opens": True, "clicks": True},
            )
    live.send(to="eve@example.net")
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    later = (datetime.now(UTC) + timedelta(days=300)).isoformat()
    live.send(send_at=soon)
    for priority in ("high", "normal", "bulk"):
        live.send(send_at=later, priority=priority)
    ok("POST", f"/messages/{live.send(send_at=later)}/cancel")
    headers = {"Idempotency-Key": "once"}
    mail = {"from": "a@shop.example", "to": "ann@example.net", "template": "greeting"}
    for _ in range(2):
        named = {**mail, "variables": {"name": "Ann"}}
        ok("POST", "/messages", json=named, headers=headers)
    live.switch("mailgun", "http-500")
    live.send(on_unknown="hold", providers=["mailgun"])
    live.send(on_unknown="failover")
    live.switch("mailgun", "unverified-sender")
    live.send(**{"from": "a@other.example"})
    live.switch("mailgun", "up")


def faults(redis: Redis) -> set[str]:
    """What is found twice: a key may change while it is looked at."""
    return set(key_table.faults(redis)) & set(key_table.faults(redis))


def test_every_key_is_known_and_lasts_as_long_as_is_said():
    with running(
        SIMULATOR_WEBHOOKS="auto",
        PROVIDER_QUOTAS="mailgun:1000/s+100000/day",
        CALLBACK_ALLOW_PRIVATE="on",
        UNKNOWN_GRACE="0.4s",
        SWEEP_INTERVAL="0.5s",
    ) as live:
        redis = connect(Settings.from_env({"DATA_DIR": str(live.data_dir)}).redis_url)
        busy(live)
        while_busy = faults(redis)
        until(lambda: not redis.exists("sp:queued", "sp:leased"), seconds=30)
        until(lambda: next(redis.scan_iter("sp:timeline:*"), None), seconds=30)
        until(lambda: fates.state(live)["pending"] == 0, seconds=60)
        until(lambda: not redis.exists("sp:events", "sp:leased"), seconds=30)
        at_rest = faults(redis)
        names = {row.name for key in redis.scan_iter() if (row := key_table.row_of(key))}
        redis.close()
    assert while_busy | at_rest == set()
    assert {"sp:timeline:<id>", "sp:idempotency:<key>:<hash>", "sp:totals"} <= names

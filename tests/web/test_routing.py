"""The page that shows the providers, their quotas and the routes."""

import re

import pytest

from app.core import keys
from app.core.breaker import Report
from app.core.models import Outcome
from app.core.routes import Place, Route
from app.core.tokens import Grant
from app.factory import create_app
from app.services import build
from config import Settings
from providers.webhooks import WebhookContent
from tests.web.conftest import ENVIRONMENT, Visitor


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_the_providers_are_shown_in_their_order_and_how_they_are(visitor, services, clock):
    services.breakers.pause("sendgrid")
    failed = Report(Outcome.REFUSED, clock(), scope="account", reason="401 no such key")
    services.breakers.report("ses", failed)
    text = words(visitor.get("/routing").text)
    assert "mailgun Fit State It is asked. Lately Taken for 0, heard of 0, blocked 0." in text
    assert "sendgrid Paused" in text
    assert "ses Out of order State It has an open breaker (401 no such key)." in text
    assert "There are none: all mail is offered in the order above." in text


def test_what_a_provider_has_told_is_shown_and_when_last(visitor, services, clock):
    content = WebhookContent((), ignored=("list_member_uploaded", "processed", "processed"))
    services.event_inbox.receive("sendgrid", content, clock())
    clock.tick(7200)
    text = words(visitor.get("/routing").text)
    assert "Reports 0 events, the last time 2 hours ago" in text
    assert "Ignored: list_member_uploaded (1), processed (2)." in text
    assert text.count("It has told nothing yet") == len(services.order) - 1


def test_a_provider_that_asked_to_be_left_alone_rests(visitor, services, clock):
    limited = Report(Outcome.UNAVAILABLE, clock(), limited=True, retry_after=60)
    services.breakers.report("mailgun", limited)
    assert "mailgun Resting" in words(visitor.get("/routing").text)


def test_what_of_a_quota_is_used_is_shown(redis_client, clock):
    settings = Settings.from_env({**ENVIRONMENT, "PROVIDER_QUOTAS": "ses:14/s+50000/day"})
    services = build(settings, redis_client, clock)
    assert isinstance(services.quotas.take("ses", 3), Grant)
    visitor = Visitor(create_app(services).test_client())
    visitor.log_in()
    page = visitor.get("/routing").text
    assert 'aria-label="ses, used of its quota a day"' in page
    assert "A second 3 of 14 recipients A day 3 of 50000 recipients" in words(page)


@pytest.mark.parametrize(
    ("tags", "domains", "text"),
    [
        ((), (), "all mail"),
        (("news", "<b>"), (), "mail with the tag news or &lt;b&gt;"),
        ((), ("gmail.com",), "mail to gmail.com alone"),
        (("news",), ("gmail.com", "*.x.example"), "mail with the tag news that goes to gmail.com"),
    ],
)
def test_the_routes_are_shown_in_words(visitor, services, tags, domains, text):
    places = (Place("ses", 1000), Place("mailgun"))
    services.routes.replace([Route("bulk", places, tags, domains)])
    page = words(visitor.get("/routing").text)
    assert f"bulk For {text}" in page
    assert "Order ses:10%, mailgun" in page
    assert "They were changed 1 time." in page


def test_a_provider_that_seems_to_deliver_nothing_is_pointed_out(redis_client, clock):
    settings = Settings.from_env(
        {**ENVIRONMENT, "DELIVERY_EVIDENCE": "demote", "EVIDENCE_MINIMUM": "3"}
    )
    services = build(settings, redis_client, clock)
    start = int(clock.now.timestamp() * 1000) // 600_000 * 600_000
    counted = {"taken": 9, "heard": 4, "blocked": 3}
    redis_client.hset(keys.track_record("mailgun", start), mapping=counted)
    visitor = Visitor(create_app(services).test_client())
    visitor.log_in()
    text = words(visitor.get("/routing").text)
    assert "Taken for 9, heard of 4, blocked 3. 3 of the last 4 that it told of were" in text
    assert "It is asked last." in text

"""The page of callbacks: adding one, its secret once, and telling something again."""

import re
from datetime import timedelta

import pytest

from app.core.callback_feed import CallbackFeed
from app.core.callback_queue import DeliveryState, Try
from app.core.scripting import Scripts
from tests.web.conftest import Visitor

URL = "https://app.example.com/mail-events"


@pytest.fixture
def hook(visitor, services) -> str:
    visitor.submit("/notified", "/notified", {"url": URL, "description": "the shop's"})
    _, endpoint = services.callback_book.all("shop")
    return endpoint.id


def secret(page: str) -> str:
    (found,) = re.findall(r"whsec_[\w&#;+/=]+", page)
    return found


def test_one_is_added_and_its_secret_is_shown_once(visitor, services):
    fields = {"url": URL, "description": "the shop's"}
    page = visitor.submit("/notified", "/notified", fields).text
    _, endpoint = services.callback_book.all("shop")
    assert endpoint.secret in page.replace("&#43;", "+")
    later = visitor.get("/notified").text
    assert "whsec_" not in later
    assert URL in later
    assert "the shop" in later


def test_what_is_no_url_for_this_is_not_added(visitor, services):
    visitor.submit("/notified", "/notified", {"url": "http://127.0.0.1/"})
    assert "Nothing was added." in visitor.get("/notified").text
    assert len(services.callback_book.all("shop")) == 1


def test_one_is_disabled_enabled_and_removed(visitor, services, hook):
    visitor.submit("/notified", f"/notified/{hook}", {"action": "disable"})
    assert "Disabled" in visitor.get("/notified").text
    visitor.submit("/notified", f"/notified/{hook}", {"action": "enable"})
    assert services.callback_book.get("shop", hook).enabled
    visitor.submit("/notified", f"/notified/{hook}", {"action": "remove"})
    assert services.callback_book.get("shop", hook) is None


def test_a_new_secret_is_shown_also_for_the_default(visitor, hook):
    for name in (hook, "default"):
        assert secret(visitor.submit("/notified", f"/notified/{name}", {"action": "rotate"}).text)


def test_what_was_told_is_shown_and_told_again(visitor, services, redis_client, clock, hook):
    message_id = visitor.send().location.rpartition("/")[2]
    services.waiting.cancel(services.store.get(message_id))
    CallbackFeed(Scripts(redis_client), services.callback_book, clock).work()
    (taken,) = services.callback_queue.take(clock(), timedelta(minutes=1), 9, 9)
    last = Try(clock(), 12, 500)
    assert services.callback_queue.done(taken, last, clock(), DeliveryState.FAILED)
    page = visitor.get(f"/notified/{hook}").text
    assert message_id in page
    assert "500 after 12 ms" in page
    assert "Failing" in visitor.get("/notified").text
    visitor.submit(f"/notified/{hook}", f"/notified/{hook}/replay", {})
    endpoint = services.callback_book.get("shop", hook)
    assert services.callback_queue.page(endpoint, None, 1)[0][0].state is DeliveryState.WAITING


def test_the_default_is_always_there(visitor):
    fields = {"action": "remove"}
    assert visitor.submit("/notified", "/notified/default", fields).status_code == 404


def test_only_whoever_is_logged_in_sees_or_changes_anything(stranger, services):
    assert stranger.get("/notified").status_code == 303
    assert stranger.get("/notified/default").status_code == 303
    for path in ("/notified", "/notified/default", "/notified/default/replay"):
        assert stranger.post(path, {"url": URL}).status_code == 303
    assert len(services.callback_book.all("shop")) == 1


@pytest.mark.parametrize("path", ["", "/default", "/default/replay"])
def test_a_form_without_its_token_changes_nothing(visitor, services, path):
    assert visitor.post(f"/notified{path}", {"url": URL, "action": "rotate"}).status_code == 403
    assert services.callback_book.get("shop", "default").secret == ""


def test_the_callbacks_of_another_key_are_not_there(visitor: Visitor, services):
    other = services.callback_book.add("blog", URL)
    assert visitor.get(f"/notified/{other.id}").status_code == 404
    assert other.id not in visitor.get("/notified").text

"""What is asked to be tracked, and the links that recipients open and click."""

import re
import time

import pytest
from fakeredis import FakeRedis
from msgspec.structs import replace

from app.core import keys
from app.core.models import Body, Track
from app.core.tracking import LONGEST_TARGET
from app.services import connect
from tests.api.conftest import make
from tests.core.examples import ID, message

ATTEMPT = f"{ID}-1"
URL = "https://shop.example/orders?id=17&x=%C3%A4#top"
PERSON = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Thunderbird/128.1.0"}


def asked(**fields):
    """A message whose application asked for something."""
    mail = message()
    return replace(mail, envelope=replace(mail.envelope, **fields))


def links(app, url=URL):
    """The paths of a pixel and of a link that leads there."""
    body = Body(None, f'<a href="{url}">x</a>')
    mail = asked(track=Track(opens=True, clicks=True))
    html = app.extensions["steadpost"].tracking.tracked(mail, body, ATTEMPT).html
    return re.findall(r'https://mail\.example\.com(/[oc]/[^"]+)', html)[::-1]


@pytest.fixture
def pixel(app):
    return links(app)[0]


@pytest.fixture
def link(app):
    return links(app)[1]


@pytest.fixture
def anybody(app):
    return app.test_client()


def events(fake):
    return fake[1].zrange(keys.EVENTS, 0, -1)


def test_tracking_is_off_unless_it_is_asked_for(shop):
    assert shop.message()["track"] == {"opens": False, "clicks": False}
    assert shop.message(track={"clicks": True})["track"] == {"opens": False, "clicks": True}
    assert shop.message(track={})["track"] == {"opens": False, "clicks": False}


@pytest.mark.parametrize(
    ("track", "path"),
    [
        (True, "track"),
        ("opens", "track"),
        (["opens"], "track"),
        ({"opens": "yes"}, "track.opens"),
        ({"opens": None}, "track.opens"),
        ({"views": True}, "track.views"),
    ],
)
def test_what_is_tracked_is_said_by_switches(shop, track, path):
    assert shop.faults(track=track).keys() == {path}


def test_a_form_says_it_as_json(shop):
    form = {"from": "a@shop.example", "to": "b@example.net", "subject": "Hi", "text": "Hi"}
    answer = shop.post("/messages", data={**form, "track": '{"opens": true}'})
    assert shop.get(f"/messages/{answer.json['id']}").json["track"]["opens"] is True
    answer = shop.post("/messages", data={**form, "track": "opens"})
    assert (answer.status_code, answer.json["errors"].keys()) == (422, {"track"})


def test_a_batch_may_have_it_for_all(shop):
    mail = {"from": "a@shop.example", "to": "b@example.net", "subject": "Hi", "text": "Hi"}
    batch = {"messages": [mail], "defaults": {"track": {"opens": True}}}
    (sent,) = shop.post("/messages/batch", json=batch).json["messages"]
    assert shop.get(f"/messages/{sent['id']}").json["track"]["opens"] is True


def test_a_click_leads_to_where_the_link_has_led_and_is_kept(anybody, fake, link):
    answer = anybody.get(link, headers=PERSON)
    assert (answer.status_code, answer.headers["Location"]) == (302, URL)
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in answer.headers
    (event,) = events(fake)
    assert '"clicked"' in event
    assert "automatic" not in event


def test_the_pixel_is_a_picture_that_nobody_stores_and_its_opening_is_kept(anybody, fake, pixel):
    answer = anybody.get(pixel, headers=PERSON)
    assert (answer.status_code, answer.mimetype) == (200, "image/gif")
    assert answer.data.startswith(b"GIF89a")
    assert "no-store" in answer.headers["Cache-Control"]
    assert '"opened"' in events(fake)[0]


def test_each_time_counts(anybody, fake, link, pixel):
    for _ in range(3):
        anybody.get(link, headers=PERSON)
        anybody.get(pixel, headers=PERSON)
    assert len(events(fake)) == 6


@pytest.mark.parametrize(
    "headers", [{"User-Agent": "curl/8"}, {"User-Agent": ""}, {**PERSON, "Sec-Purpose": "prefetch"}]
)
def test_machines_are_led_on_and_marked(anybody, fake, link, headers):
    assert anybody.get(link, headers=headers).status_code == 302
    assert '"automatic":true' in events(fake)[0]


def test_who_asks_for_the_headers_only_does_not_count(anybody, fake, link, pixel):
    assert anybody.head(link).status_code == 302
    assert anybody.head(pixel).status_code == 200
    assert events(fake) == []


def test_there_is_nothing_to_post(anybody, fake, link, pixel):
    for path in (link, pixel):
        answer = anybody.post(path)
        assert answer.status_code == 405
        assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert events(fake) == []


def test_a_forged_link_leads_nowhere(anybody, fake, link):
    token = link.removeprefix("/c/")
    payload, _, signature = token.partition(".")
    other = links(make(FakeRedis(decode_responses=True), fake[2], SECRET_KEY="9876543210" * 4))[1]
    forged = [
        "x",
        "https://evil.example/",
        payload,
        f"{payload}.",
        f"{payload}.{signature[::-1]}",
        f"{payload}A.{signature}",
        f"{token}=",
        f"{token}/../https://evil.example/",
        other.removeprefix("/c/"),
    ]
    for text in forged:
        answer = anybody.get(f"/c/{text}")
        assert answer.status_code == 404, text
        assert "Location" not in answer.headers
    more = anybody.get(f"{link}?url=https://evil.example/")
    assert more.headers["Location"] == URL
    assert len(events(fake)) == 1


def test_a_forged_pixel_is_not_found(anybody, fake, pixel, link):
    for path in ("/o/x.gif", pixel[:-5] + ".gif", f"/o/{link.removeprefix('/c/')}.gif"):
        assert anybody.get(path).status_code == 404
    assert events(fake) == []


def test_the_longest_link_is_led_on(app, anybody):
    url = "https://shop.example/".ljust(LONGEST_TARGET, "x")
    assert anybody.get(links(app, url)[1]).headers["Location"] == url


def test_nobodys_click_waits_for_the_store(make_app):
    app = make_app(connect("redis://127.0.0.1:1"))
    pixel, link = links(app)
    began = time.monotonic()
    assert app.test_client().get(link).headers["Location"] == URL
    assert app.test_client().get(pixel).status_code == 200
    assert time.monotonic() - began < 3


def test_a_line_of_the_log_has_no_token(anybody, log, link):
    anybody.get(link)
    assert link.removeprefix("/c/") not in str(log)
    assert "shop.example" not in str(log)


def test_unsubscribing_is_an_event_of_its_message(anybody, fake, app):
    unsubscribe_links = app.extensions["steadpost"].unsubscribe_links
    headers = unsubscribe_links.headers(asked(unsubscribe=True), ATTEMPT)
    path = dict(headers)["List-Unsubscribe"].strip("<>").removeprefix("https://mail.example.com")
    for _ in range(2):
        assert anybody.post(path, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    (event,) = events(fake)
    assert "unsubscribed" in event
    assert "ann@example.net" in event

"""GET /messages: pages, filters and what is not a page."""

from datetime import timedelta

import pytest

from tests.api.caller import Caller, problem


@pytest.fixture
def sent(shop, clock) -> list[str]:
    """Seven messages, one a minute from noon, newest first."""
    ids = []
    for number in range(7):
        ids.insert(0, shop.sent(subject=str(number)))
        clock.tick(60)
    return ids


def pages(caller: Caller, query: str) -> list[list[str]]:
    """The ids of every page."""
    found, after = [], ""
    while True:
        page = caller.get(f"/messages?{query}{after}").json
        found.append([message["id"] for message in page["messages"]])
        if page["next"] is None:
            return found
        assert len(found) < 50
        after = f"&after={page['next']}"


def ids(caller: Caller, query: str = "") -> list[str]:
    return [message_id for page in pages(caller, query) for message_id in page]


def test_messages_are_listed_newest_first(shop, sent):
    assert ids(shop) == sent


def test_messages_of_one_millisecond_are_all_listed_once(shop):
    sent = {shop.sent() for _ in range(25)}
    found = ids(shop, "limit=4")
    assert len(found) == 25
    assert set(found) == sent


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 100])
def test_pages_hold_every_message_once_whatever_their_length(shop, sent, limit):
    found = pages(shop, f"limit={limit}")
    assert [message_id for page in found for message_id in page] == sent
    assert all(len(page) <= limit for page in found)


def test_twenty_are_listed_if_nothing_is_said(shop):
    for _ in range(21):
        shop.sent()
    assert [len(page) for page in pages(shop, "")] == [20, 1]


def test_a_page_stays_where_it_is_when_new_mail_comes(shop, sent, clock):
    first = shop.get("/messages?limit=3").json
    shop.sent(subject="new")
    following = shop.get(f"/messages?limit=3&after={first['next']}").json
    assert [message["id"] for message in following["messages"]] == sent[3:6]


def test_each_key_lists_its_own(shop, office, sent):
    other = office.sent()
    assert ids(office) == [other]
    assert ids(shop) == sent


def test_messages_are_found_by_their_state(shop, sent, app, clock):
    store = app.extensions["steadpost"].store
    store.claim(sent[2], "worker", clock(), timedelta(seconds=45))
    assert ids(shop, "status=sending") == [sent[2]]
    assert ids(shop, "status=queued&limit=2") == sent[:2] + sent[3:]
    assert ids(shop, "status=sent") == []


def test_messages_are_found_by_a_recipient_whatever_the_case(shop, sent):
    wanted = shop.sent(to="ann@example.net", bcc="Di <Di@Example.net>")
    assert ids(shop, "recipient=di@EXAMPLE.net") == [wanted]
    assert ids(shop, "recipient=di") == []


def test_messages_are_found_by_a_tag(shop, sent):
    wanted = shop.sent(tags=["order", "eu"])
    assert ids(shop, "tag=eu") == [wanted]
    assert ids(shop, "tag=EU") == []


def test_nothing_is_found_by_a_provider_that_took_nothing(shop, sent):
    assert ids(shop, "provider=ses") == []


def test_messages_are_found_by_their_time_since_and_before(shop, sent):
    assert ids(shop, "since=2026-11-23T12:05:00Z") == sent[:2]
    assert ids(shop, "until=2026-11-23T12:05:00Z") == sent[2:]
    query = "since=2026-11-23T12:01:00Z&until=2026-11-23T14:04:00%2B02:00"
    assert ids(shop, f"{query}&limit=2") == sent[3:6]
    assert ids(shop, "since=9999-12-31T23:59:59Z") == ids(shop, "until=0001-01-01T00:00:00Z") == []


def test_filters_are_all_met_and_pages_go_on_behind_what_they_pass_over(shop, clock):
    wanted = []
    for number in range(30):
        tags = ["rare"] if number % 7 == 0 else []
        message_id = shop.sent(tags=tags, to=f"p{number % 2}@example.net")
        if tags and number % 2:
            wanted.insert(0, message_id)
        clock.tick(1)
    found = pages(shop, "limit=1&tag=rare&recipient=p1@example.net")
    assert [message_id for page in found for message_id in page] == wanted


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("limit=", "limit")),
        *(("limit=1.0", "limit"), ("limit=%D9%A3", "limit"), ("limit=1&limit=2", "limit")),
        *(("after=", "after"), ("after=x", "after"), ("after=msg_1", "after")),
        *(("after=MSG_" + "0" * 26, "after"), ("after=msg_" + "0" * 25 + "%0A", "after")),
        *(("status=lost", "status"), ("status=", "status"), ("status=QUEUED", "status")),
        *(("since=yesterday", "since"), ("until=2026-11-23T12:00:00", "until")),
        *(("colour=red", "colour"), ("Limit=3", "Limit")),
    ],
)
def test_what_is_no_query_is_refused(shop, query, field):
    response = shop.get(f"/messages?{query}")
    assert problem(response) == (422, "invalid")
    assert set(response.json["errors"]) == {field}


def test_all_faults_of_a_query_are_named_at_once(shop):
    response = shop.get("/messages?limit=0&after=x&colour=red")
    assert set(response.json["errors"]) == {"limit", "after", "colour"}

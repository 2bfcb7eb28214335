"""Mails for later on the pages: choosing when and how soon, finding them, calling them back."""

from datetime import timedelta

import pytest

from app.core.models import MessageState, Priority
from tests.web.conftest import MAIL, hidden_fields
from tests.web.test_compose import the_message, value_of


@pytest.fixture
def scheduled(visitor, services):
    return the_message(services, visitor.send(send_at="2026-11-24T09:30"))


def cancel(visitor, message_id):
    page = f"/outbox/{message_id}"
    return visitor.submit(page, f"{page}/cancel", {})


def test_a_mail_is_sent_at_the_time_and_with_the_priority_that_were_chosen(visitor, services):
    answer = visitor.send(send_at="2026-11-24T09:30", priority="bulk")
    sent = the_message(services, answer)
    assert sent.state is MessageState.SCHEDULED
    assert sent.send_at.isoformat() == "2026-11-24T09:30:00+00:00"
    assert sent.priority is Priority.BULK
    page = visitor.get(answer.location).text
    assert "2026-11-24 09:30:00 UTC" in page
    assert "It waits for its time." in page
    assert "bulk" in page


def test_a_mail_goes_at_once_and_with_normal_priority_where_nothing_was_chosen(visitor, services):
    sent = the_message(services, visitor.send(send_at="", priority="normal"))
    assert (sent.state, sent.priority) == (MessageState.QUEUED, Priority.NORMAL)


@pytest.mark.parametrize("typed", ["2028-01-01T00:00", "tomorrow"])
def test_a_time_that_cannot_be_is_said_to_be_one_and_is_kept(visitor, typed):
    answer = visitor.send(send_at=typed, priority="bulk")
    assert answer.status_code == 422
    assert 'id="send_at-fault"' in answer.text
    assert f'value="{typed}"' in answer.text
    assert '<option value="bulk" selected>' in answer.text
    assert value_of(answer.text, "subject") == MAIL["subject"]


def test_seconds_may_be_chosen_too(visitor, services):
    sent = the_message(services, visitor.send(send_at="2026-11-24T09:30:15"))
    assert sent.send_at.second == 15


def test_the_outbox_shows_what_is_scheduled(visitor, scheduled):
    visitor.send(subject="Another")
    page = visitor.get("/outbox?status=scheduled").text
    assert MAIL["subject"] in page
    assert "Another" not in page
    assert scheduled.send_at.isoformat() in page


def test_a_waiting_mail_is_cancelled_with_its_button(visitor, services, scheduled):
    answer = cancel(visitor, scheduled.id)
    assert answer.status_code == 303
    assert services.store.get(scheduled.id).state is MessageState.CANCELLED
    page = visitor.get(answer.location).text
    assert "It was called back." in page
    assert f'action="/outbox/{scheduled.id}/cancel"' not in page


def test_what_cannot_be_cancelled_any_more_says_so(visitor, services, clock, redis_client):
    sent = the_message(services, visitor.send())
    form = visitor.get(f"/outbox/{sent.id}").text
    services.store.take(1, "w1", clock(), timedelta(seconds=45))
    action = f"/outbox/{sent.id}/cancel"
    answer = visitor.post(action, hidden_fields(form, action))
    assert answer.status_code == 303
    assert "It was not cancelled." in visitor.get(answer.location).text
    assert services.store.get(sent.id).state is MessageState.SENDING


def test_nobody_else_cancels_a_mail(visitor, stranger, services, scheduled):
    action = f"/outbox/{scheduled.id}/cancel"
    assert visitor.post(action, {}).status_code == 403
    page = visitor.get(f"/outbox/{scheduled.id}").text
    fields = hidden_fields(page, action)
    assert visitor.post(action, fields, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    stranger.client.delete_cookie(next(iter(stranger.client._cookies.values())).key)
    assert stranger.post(action, fields).location.startswith("/login?next=")
    assert services.store.get(scheduled.id).state is MessageState.SCHEDULED

"""Routes for mail that did not arrive, and for the providers that did not take it."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from app.core.models import MessageState, RecipientState
from app.core.store import Change
from tests.api.caller import Caller, problem

FAILED = {MessageState.FAILED: RecipientState.FAILED, MessageState.EXPIRED: RecipientState.EXPIRED}


@pytest.fixture
def store(app):
    return app.extensions["steadpost"].store


def dead(shop: Caller, store, state=MessageState.FAILED, **fields) -> str:
    """The id of a message that came to no good end."""
    before = store.get(shop.sent(**fields))
    recipients = tuple(replace(r, state=FAILED[state]) for r in before.recipients)
    after = replace(before, state=state, recipients=recipients, reason="nobody took it")
    assert store.move(Change(before, after, keep=timedelta(days=7)))
    return before.id


def states(shop: Caller, message_id: str) -> dict[str, str]:
    recipients = shop.get(f"/status/{message_id}").json["recipients"]
    return {recipient["email"]: recipient["status"] for recipient in recipients}


@pytest.mark.parametrize("options", [{}, {"json": {}}, {"json": {"recipients": []}}, {"data": {}}])
def test_a_dead_letter_is_sent_again_to_all_whom_it_did_not_reach(shop, store, options):
    message_id = dead(shop, store, to=["ann@example.net", "bob@example.net"])
    response = shop.post(f"/messages/{message_id}/resend", **options)
    assert (response.status_code, response.json["status"]) == (202, "queued")
    assert states(shop, message_id) == {"ann@example.net": "queued", "bob@example.net": "queued"}


def test_a_dead_letter_is_sent_again_to_some_of_them_by_a_named_provider(shop, store):
    message_id = dead(shop, store, to=["ann@example.net", "Bob <bob@example.net>"])
    choice = {"recipients": ["Bob <BOB@example.net>"], "providers": ["ses"]}
    assert shop.post(f"/messages/{message_id}/resend", json=choice).status_code == 202
    assert states(shop, message_id) == {"ann@example.net": "failed", "bob@example.net": "queued"}


def test_a_choice_with_faults_is_refused(shop, store):
    message_id = dead(shop, store)
    choice = {"recipients": [17], "providers": ["ses", "pigeon"], "colour": "red"}
    response = shop.post(f"/messages/{message_id}/resend", json=choice)
    assert problem(response) == (422, "invalid")
    assert set(response.json["errors"]) == {"recipients.0", "providers.1", "colour"}
    response = shop.post(f"/messages/{message_id}/resend", json={"recipients": ["eve@x.example"]})
    assert problem(response) == (409, "conflict")


def test_a_dead_letter_is_given_up_once_and_for_all(shop, store):
    message_id = dead(shop, store)
    assert shop.post(f"/messages/{message_id}/drop").status_code == 200
    assert problem(shop.post(f"/messages/{message_id}/resend")) == (409, "conflict")


@pytest.mark.parametrize(
    ("verb", "body"), [("resend", {}), ("drop", {}), ("resolve", {"outcome": "sent"})]
)
def test_mail_that_is_under_way_is_left_alone(shop, verb, body):
    message_id = shop.sent()
    assert problem(shop.post(f"/messages/{message_id}/{verb}", json=body)) == (409, "conflict")
    assert states(shop, message_id) == {"ann@example.net": "queued"}


@pytest.mark.parametrize("body", [{}, {"outcome": "perhaps"}, {"outcome": None}])
def test_a_word_about_an_unknown_message_is_sent_or_not_sent(shop, body):
    response = shop.post(f"/messages/{shop.sent()}/resolve", json=body)
    assert problem(response) == (422, "invalid")
    assert problem(shop.post(f"/messages/{shop.sent()}/resolve"))[0] == 415


def test_dead_letters_are_sent_again_in_bulk_page_by_page(shop, office, store):
    letters = {dead(shop, store, state) for state in FAILED for _ in range(3)}
    alive, others = shop.sent(), dead(office, store)
    resent, after = [], ""
    while after is not None:
        answer = shop.post(f"/messages/resend?limit=4{after}")
        assert answer.status_code == 202
        resent += answer.json["resent"]
        after = answer.json["next"] and f"&after={answer.json['next']}"
    assert set(resent) == letters
    assert len(resent) == 6
    assert store.get(others).state is MessageState.FAILED
    assert alive not in resent


def test_dead_letters_are_chosen_by_the_filters_of_the_list(shop, store):
    dead(shop, store, tags=["order"])
    wanted = dead(shop, store, MessageState.EXPIRED, tags=["order"])
    dead(shop, store, MessageState.EXPIRED)
    assert shop.post("/messages/resend?status=expired&tag=order").json["resent"] == [wanted]
    assert shop.post("/messages/resend?status=lost").status_code == 422


def test_providers_are_listed_in_their_order_with_how_they_are(shop):
    providers = shop.get("/providers").json["providers"]
    assert [(p["place"], p["name"]) for p in providers] == [
        (1, "mailgun"),
        (2, "sendgrid"),
        (3, "ses"),
    ]
    assert all(p["fit"] and p["breaker"] == "closed" and not p["paused"] for p in providers)


def test_a_provider_is_paused_and_resumed(shop):
    def paused() -> list[str]:
        return [p["name"] for p in shop.get("/providers").json["providers"] if p["paused"]]

    answer = shop.post("/providers/ses/pause")
    assert (answer.status_code, answer.json["fit"]) == (200, False)
    assert paused() == ["ses"]
    assert shop.post("/providers/ses/resume").json["fit"] is True
    assert paused() == []


@pytest.mark.parametrize("name", ["pigeon", "SES", "ses%0a", "*"])
def test_a_provider_that_is_not_here_is_not_found(shop, name):
    for verb in ("pause", "resume"):
        assert problem(shop.post(f"/providers/{name}/{verb}")) == (404, "not_found")


def test_a_message_that_never_was_is_not_found(shop):
    never = "msg_" + "0" * 26
    for verb, body in (("resend", {}), ("drop", None), ("resolve", {"outcome": "sent"})):
        assert problem(shop.post(f"/messages/{never}/{verb}", json=body)) == (404, "not_found")


def test_what_a_provider_did_with_its_mail_is_shown(shop):
    for provider in shop.get("/providers").json["providers"]:
        assert provider["moved_back"] is False
        assert provider["track_record"] == {
            "impression": "unknown",
            "reason": None,
            "taken": 0,
            "heard": 0,
            "blocked": 0,
        }

"""Suppression and unsubscribing in the whole service: workers, webhooks and every provider."""

import pytest

from tests.live import Live, running

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def live():
    with running(SIMULATOR_WEBHOOKS="auto") as live:
        yield live


def taken(live: Live, message_id: str) -> dict:
    """The mail as its provider got it."""
    mails = live.http.get(f"{live.simulator}/inbox.json", params={"limit": 1000}).json()["mails"]
    (mail,) = (m for m in mails if m["attempt_id"].startswith(f"{message_id}-"))
    return mail


@pytest.mark.parametrize(
    ("to", "state", "reason"),
    [
        ("bounce+e2e@example.net", "bounced", "hard_bounce"),
        ("complaint+e2e@example.net", "complained", "complaint"),
    ],
)
def test_what_a_provider_reports_keeps_the_next_mail_from_every_provider(live, to, state, reason):
    live.until_status(live.send(to=to), state)
    again = live.until_status(live.send(to=to.upper(), providers=["ses"]), "suppressed")
    assert reason in again["recipients"][0]["reason"]
    assert not again["attempts"]


@pytest.mark.parametrize("provider", ["mailgun", "sendgrid", "ses"])
def test_the_link_to_unsubscribe_gets_through_and_works(live, provider):
    ann, ben = f"{'ann.' * 12}{provider}@example.net", f"ben.{provider}@example.net"
    message_id = live.send(to=ann, unsubscribe=True, providers=[provider])
    live.until_status(message_id, "sent", "delivered")
    headers = {h["name"].lower(): h["value"] for h in taken(live, message_id)["headers"]}
    assert headers["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    link = headers["list-unsubscribe"].removeprefix("<").removesuffix(">")
    assert link.startswith(f"{live.url}/u/")
    one_click = {"List-Unsubscribe": "One-Click"}
    assert live.http.post(link, data=one_click, headers={"Authorization": ""}).status_code == 200
    both = live.send(to=[ann, ben], providers=[provider])
    fates = live.until_status(both, "sent", "delivered")["recipients"]
    assert fates[0]["status"] == "suppressed"
    assert "unsubscribed" in fates[0]["reason"]
    assert taken(live, both)["recipients"]

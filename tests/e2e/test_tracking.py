"""Tracking in the whole service: what providers are given, and what comes back from it."""

import re

import pytest
import requests

from tests.live import Live, running
from tests.waiting import until

pytestmark = pytest.mark.e2e

PERSON = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko Thunderbird/128.1.0"}
HTML = (
    "<html><body><!--[if mso]><a href='https://mso.example/'>x</a><![endif]-->"
    '<p>Grüße <A Href="https://shop.example/?a=1&amp;b=ü">x</A></p></body></html>'
)


@pytest.fixture(scope="module")
def live():
    with running() as live:
        yield live


def taken(live: Live, message_id: str) -> str:
    """The HTML of a mail as its provider got it."""
    mails = live.http.get(f"{live.simulator}/inbox.json", params={"limit": 1000}).json()["mails"]
    (html,) = (m["html"] for m in mails if m["attempt_id"].startswith(f"{message_id}-"))
    return str(html)


@pytest.mark.parametrize("provider", ["mailgun", "sendgrid", "ses"])
def test_over_every_provider_what_is_opened_and_clicked_is_counted(live, provider):
    message_id = live.send(
        to=f"{provider}@example.net",
        html=HTML,
        track={"opens": True, "clicks": True},
        providers=[provider],
    )
    live.until_status(message_id, "sent")
    html = taken(live, message_id)
    (link,) = re.findall(rf'"({live.url}/c/[^"]+)"', html)
    (pixel,) = re.findall(rf'"({live.url}/o/[^"]+)"', html)
    before, _, rest = HTML.partition("https://shop.example/?a=1&amp;b=ü")
    assert html.startswith(f"{before}{link}{rest.partition('</body>')[0]}<img ")
    assert html.strip().endswith("</body></html>")

    with requests.Session() as mailbox:
        mailbox.trust_env = False

        def counted() -> dict | None:
            assert mailbox.get(pixel, headers=PERSON).content.startswith(b"GIF89a")
            answer = mailbox.get(link, headers=PERSON, allow_redirects=False)
            assert answer.headers["Location"] == "https://shop.example/?a=1&b=%C3%BC"
            (recipient,) = live.status(message_id)["recipients"]
            return recipient if recipient["opened"] and recipient["clicked"] else None

        # Until some seconds have gone by, it is taken for a machine.
        recipient = until(counted, seconds=20, every=0.2)
    assert recipient["status"] == "delivered"

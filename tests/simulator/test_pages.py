"""The pages as a browser gets them."""

import html
import re

import pytest

from simulator.http import Call
from simulator.inbox import Inbox
from simulator.pages import Pages
from simulator.switches import Provider, Switches
from tests.simulator.conftest import CREDENTIALS
from tests.simulator.sending import MAILGUN, send

HOSTILE = "<script>alert(1)</script>"


def test_an_empty_inbox_tells_what_to_do(running):
    page = running.session.get(running.url).text

    assert "No mail yet" in page
    assert "curl line" in page


def test_the_inbox_shows_what_arrived_and_who_took_it(running):
    send(running, "ses")
    page = running.session.get(running.url).text

    assert 'href="/mails/1"' in page
    assert "Your order" in page
    assert "Amazon SES</span>" in page


def test_credentials_are_shown(running):
    page = html.unescape(running.session.get(running.url).text)

    assert running.credentials.mailgun_api_key in page
    assert running.credentials.sendgrid_api_key in page
    assert running.credentials.aws_secret_access_key in page
    assert running.credentials.postmark_server_token in page
    assert running.credentials.resend_api_key in page
    assert running.credentials.mandrill_api_key in page
    assert all(f"{running.url}/{provider}" in page for provider in Provider)


def test_switches_are_shown_of_the_providers_in_use_and_of_who_was_called():
    inbox = Inbox()
    switches = Switches(lambda provider, switch: None)
    pages = Pages(switches, inbox, CREDENTIALS, in_use=[Provider.RESEND, Provider.SES])

    def shown():
        page = pages.answer(Call("GET", "/", "", {}))
        return re.findall(r'id="state-([a-z]+)"', page.body.decode())

    assert shown() == ["resend", "ses"]
    inbox.counts[Provider.MAILGUN].calls += 1
    assert shown() == ["resend", "ses", "mailgun"]


def test_what_senders_write_is_never_markup(running):
    body = MAILGUN | {
        "from": f'"{HOSTILE}" <o@shop.example>',
        "subject": HOSTILE,
        "text": HOSTILE,
        "h:X-Evil": HOSTILE,
        "v:evil": HOSTILE,
        "o:tag": HOSTILE,
    }
    send(running, "mailgun", body)

    for path in ("/", "/mails/1"):
        page = running.session.get(running.url + path).text
        assert HOSTILE not in page
        assert html.escape(HOSTILE) in page


def test_pages_allow_nothing_from_elsewhere_and_nothing_inline(running):
    send(running, "mailgun")
    for path in ("/", "/mails/1", "/mails/7"):
        answer = running.session.get(running.url + path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", answer.text)


def test_the_html_of_a_mail_stays_in_its_sandbox(running):
    send(running, "mailgun", MAILGUN | {"html": f"<p style='color: red'>Hi</p>{HOSTILE}"})
    page = running.session.get(f"{running.url}/mails/1").text
    assert '<iframe class="mail-html" sandbox="" src="/mails/1/html"' in page

    frame = running.session.get(f"{running.url}/mails/1/html")
    directives = frame.headers["Content-Security-Policy"].split("; ")
    assert "sandbox" in directives
    assert "default-src 'none'" in directives
    assert not any(directive.startswith("script-src") for directive in directives)
    assert frame.text.startswith("<p style='color: red'>Hi</p>")


def test_images_that_a_mail_carries_are_shown_in_it(running):
    url = f"{running.url}/mailgun/v3/{running.credentials.mailgun_domain}/messages"
    running.session.post(
        url,
        data=MAILGUN | {"html": '<img src="cid:logo.png"><img src="cid:other">'},
        files=[("inline", ("logo.png", b"PNG", "image/png"))],
        auth=("api", running.credentials.mailgun_api_key),
    )
    frame = running.session.get(f"{running.url}/mails/1/html").text

    assert frame == '<img src="data:image/png;base64,UE5H"><img src="cid:other">'


def test_files_are_downloads_and_nothing_else(running):
    url = f"{running.url}/mailgun/v3/{running.credentials.mailgun_domain}/messages"
    running.session.post(
        url,
        data=MAILGUN,
        files=[("attachment", ('März".html', HOSTILE.encode(), "text/html"))],
        auth=("api", running.credentials.mailgun_api_key),
    )
    answer = running.session.get(f"{running.url}/mails/1/attachments/0")

    assert answer.content == HOSTILE.encode()
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    disposition = answer.headers["Content-Disposition"]
    assert disposition == "attachment; filename*=UTF-8''M%C3%A4rz%22.html"
    assert running.session.get(f"{running.url}/mails/1/attachments/1").status_code == 404


def test_a_form_flips_a_switch(running):
    answer = running.session.post(
        f"{running.url}/switches/ses", data={"mode": "slow", "seconds": "1.5"}
    )

    assert answer.history[0].status_code == 303
    assert "Takes mail, and says so some seconds later (1.5 s)" in answer.text
    state = running.session.get(f"{running.url}/control/ses").json()
    assert state == {"mode": "slow", "seconds": 1.5, "lag": 0.2}


def test_a_form_flips_all_switches(running):
    running.session.post(f"{running.url}/switches", data={"mode": "http-503"})

    state = running.session.get(f"{running.url}/control").json()
    assert {switch["mode"] for switch in state.values()} == {"http-503"}


@pytest.mark.parametrize("form", [{}, {"mode": "down"}, {"mode": "slow", "seconds": "nan"}])
def test_a_form_that_makes_no_sense_changes_nothing(running, form):
    assert running.session.post(f"{running.url}/switches/ses", data=form).status_code == 422
    assert running.session.get(f"{running.url}/control/ses").json()["mode"] == "up"


def test_a_form_clears_the_inbox(running):
    send(running, "ses")
    page = running.session.post(f"{running.url}/inbox/clear").text

    assert "No mail yet" in page
    assert "It is not here" in running.session.get(f"{running.url}/mails/1").text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/switches/ses"),
        ("POST", "/switches"),
        ("POST", "/inbox/clear"),
        ("POST", "/control/ses"),
        ("DELETE", "/inbox"),
    ],
)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_change_nothing(running, method, path, headers):
    send(running, "ses")
    answer = running.session.request(
        method, running.url + path, headers=headers, data=b'{"mode": "http-500"}'
    )

    assert answer.status_code == 403
    assert len(running.mails()) == 1
    assert running.session.get(f"{running.url}/control/ses").json()["mode"] == "up"


def test_the_page_itself_may_change_things(running):
    headers = {"Origin": running.url, "Sec-Fetch-Site": "same-origin"}
    answer = running.session.post(
        f"{running.url}/switches/ses", data={"mode": "http-500"}, headers=headers
    )

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "name", ["bootstrap.min.css", "simulator.css", "theme.js", "live.js", "icon.svg"]
)
def test_what_pages_need_is_served(running, name):
    answer = running.session.get(f"{running.url}/static/{name}")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(("text/", "image/svg+xml"))


def test_files_outside_are_not_served(running):
    assert running.session.get(f"{running.url}/static/..%2Fserver.py").status_code == 404
    assert running.session.get(f"{running.url}/static/server.py").status_code == 404


def test_an_unknown_address_is_a_problem(running):
    answer = running.session.get(f"{running.url}/nowhere")

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_long_inboxes_have_pages(running):
    for number in range(26):
        send(running, "mailgun", MAILGUN | {"subject": f"Mail {number}"})
    first = running.session.get(running.url).text
    older = re.search(r'id="older"[^>]*href="([^"#]*)', first)[1]
    second = running.session.get(running.url + older).text

    assert first.count("stretched-link") == 25
    assert "Mail 0<" in second
    assert second.count("stretched-link") == 1

"""Machines that open and click, as far as they can be told from people."""

import pytest

from app.core.machines import is_machine
from providers.types import EventType

OPENED, CLICKED = EventType.OPENED, EventType.CLICKED
PERSON = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)


@pytest.mark.parametrize(
    "user_agent",
    [
        PERSON,
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.1.0",
        "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
        "Microsoft Office/16.0 (Microsoft Outlook 16.0.17628; Pro)",
        "Mozilla/5.0 (Linux; Android 13; CUBOT KINGKONG 9) AppleWebKit/537.36 Chrome/126 Mobile",
    ],
)
def test_people_and_the_proxies_they_look_through_are_none(user_agent):
    assert not is_machine(OPENED, {"user-agent": user_agent})
    assert not is_machine(CLICKED, {"user-agent": user_agent})


@pytest.mark.parametrize(
    "user_agent",
    [
        "",
        "curl/8.5.0",
        "python-requests/2.32.3",
        "Go-http-client/2.0",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 HeadlessChrome/126.0 Safari/537.36",
        "Mozilla/5.0 (compatible; BarracudaCentral/1.0)",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/42.0.2311.135 Gmail-content-sampling",
        "WhatsApp/2.23.20.0",
        "bot " * 1000,
    ],
)
def test_scanners_previews_and_libraries_are_machines(user_agent):
    assert is_machine(CLICKED, {"user-agent": user_agent})
    assert is_machine(OPENED, {"user-agent": user_agent})


@pytest.mark.parametrize(
    "user_agent",
    [
        "Mozilla/5.0",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0",
    ],
)
def test_what_fetches_images_before_anybody_looks_is_a_machine_where_it_opens(user_agent):
    assert is_machine(OPENED, {"user-agent": user_agent})
    assert not is_machine(CLICKED, {"user-agent": user_agent})


@pytest.mark.parametrize("name", ["sec-purpose", "purpose", "x-purpose", "x-moz"])
def test_a_browser_that_fetches_ahead_is_a_machine(name):
    assert is_machine(CLICKED, {"user-agent": PERSON, name: "prefetch;prerender"})
    assert not is_machine(CLICKED, {"user-agent": PERSON, name: "navigate"})
